//! ACL, as far as one user goes: `default`, who may do everything once logged in.

mod log;
mod password;
mod sha256;
mod table;
#[cfg(test)]
mod tests;
mod users;

pub use table::ACL;
