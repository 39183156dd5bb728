//! What should be where, and what to do next to get there. Pure: from state to wishes and steps, without acting on them.

mod propose;
mod shares;

pub use propose::{propose, Candidate};
