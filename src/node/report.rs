//! What the HTTP port asks of a node.

pub use crate::commands::report::{
    ClientsReport, CommandUse, CpuReport, DatabaseSize, Identity, LogReport, MemoryReport, Rates,
    Report as NodeReport, State, Totals, WorkerReport, REDIS_VERSION, RINGFORT_VERSION,
};

use crate::settings::Settings;

use super::operator::{Answering, OperatorQuestion};

/// A node as the HTTP port sees it, from a thread of its own.
pub trait NodeHandle: Send + Sync + 'static {
    /// Whether the node serves. Cheap: probes ask often.
    fn state(&self) -> State;

    /// Everything at this moment.
    fn report(&self) -> NodeReport;

    fn settings(&self) -> &Settings;

    /// Has a question or an order of an operator answered: by this node, or by the one that leads its cluster.
    fn operate(&self, question: OperatorQuestion) -> Answering;
}
