//! `ringfort recover`: the operator's word that nodes are lost for good.

use serde_json::json;

use super::failure::{Failure, Outcome};
use super::order;
use super::terminal::Terminal;
use super::text::clean;
use super::Session;
use crate::admin::api::Done;

pub(super) fn recover(
    session: &Session,
    terminal: &mut Terminal,
    lost: &[String],
    has_consent: bool,
) -> Result<Outcome, Failure> {
    if !has_consent {
        return Err(Failure::Usage(explanation(lost)));
    }
    let body = json!({ "lost": lost, "accept_data_loss": true });
    let done = session.client.post::<Done>("/v1/recover", &body)?;
    order::print_done(session, terminal, &done)
}

/// What is at stake, for whoever has not said yet that it is accepted.
fn explanation(lost: &[String]) -> String {
    let lost: Vec<String> = lost.iter().map(|node| clean(node)).collect();
    format!(
        "recover would go on without {}, for good.\n\
         Shards that have lost most of their copies would be led by the most advanced copy that is left. What may be lost:\n\
         - writes that were acknowledged shortly before, where only the lost copies had them;\n\
         - shards of which no copy is left, with all their keys.\n\
         The lost nodes can never come back with what they hold: wipe them before they are used again. If even one of them can still\n\
         be started, start it instead: nothing is lost then.\n\
         Say it again with --accept-data-loss to do it.",
        lost.join(", ")
    )
}
