//! Orders that are given and not waited for: `ringfort rebalance`, `ringfort shard transfer`.

use serde_json::json;

use super::client::Answer;
use super::failure::{Failure, Outcome};
use super::terminal::Terminal;
use super::text::clean;
use super::Session;
use crate::admin::api::Done;

pub(super) fn rebalance(session: &Session, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let done = session.client.post("/v1/rebalance", &json!({}))?;
    print_done(session, terminal, &done)
}

pub(super) fn transfer(
    session: &Session,
    terminal: &mut Terminal,
    shard: u32,
    to: &str,
) -> Result<Outcome, Failure> {
    let path = format!("/v1/shards/{shard}/transfer");
    let done = session.client.post(&path, &json!({ "to": to }))?;
    print_done(session, terminal, &done)
}

/// What the cluster says of an order that it took.
pub(super) fn print_done(
    session: &Session,
    terminal: &mut Terminal,
    done: &Answer<Done>,
) -> Result<Outcome, Failure> {
    session.print(terminal, done, |_| format!("{}\n", said(&done.value)))?;
    Ok(Outcome::Done)
}

/// In words, in any case.
pub(super) fn said(done: &Done) -> String {
    match (done.message.is_empty(), done.changed) {
        (false, _) => clean(&done.message),
        (true, true) => "Done.".into(),
        (true, false) => "It was so before.".into(),
    }
}
