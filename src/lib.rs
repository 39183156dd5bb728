//! ringfort: a Redis-protocol-compatible cache and key-value tier. `src/README.md` maps the rooms.

pub mod admin;
pub mod cli;
pub mod commands;
pub mod durability;
pub mod node;
pub mod protocol;
pub mod server;
pub mod settings;
pub mod store;
