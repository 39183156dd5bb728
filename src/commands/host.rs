//! What a node offers to the commands that ask or change it: the seam between the command table, which knows
//! no node, and the node, which knows the table.

/// Services of a node. Every call returns at once.
pub trait Host {
    /// The node's clock.
    fn now(&self) -> crate::store::Timestamp;
}
