//! The engine of the deterministic simulator: chance from a seed, simulated time, a network with faults, and the judge of
//! what clients saw. Knows nothing of replicas, disks or commands' code: `tests/simulation` puts these together.
//!
//! Everything here is a function of its arguments. The same seed and the same calls give the same results.

pub mod history;
pub mod linear;
pub mod mistake;
pub mod network;
pub mod register;
pub mod rng;
pub mod time;

pub use history::{History, Operation, Outcome};
pub use linear::{check, Model, Verdict};
pub use mistake::Mistake;
pub use network::{Links, Network, NetworkSettings, Shape};
pub use register::{Command, Register, Reply};
pub use rng::SimRng;
pub use time::{Agenda, Clock, Micros};
