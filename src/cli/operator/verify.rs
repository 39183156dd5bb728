//! `ringfort verify`: are all copies equal? The text is made from values alone.

use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::json;

use super::failure::{Failure, Outcome};
use super::table::{Align, Cell, Mood, Paint, Table};
use super::terminal::Terminal;
use super::text::{clean, count, counted, digits_to_tell_apart, short};
use super::Session;
use crate::admin::api::{VerifiedShard, VerifyView};

pub(super) fn verify(
    session: &Session,
    terminal: &mut Terminal,
    shard: Option<u32>,
    within: Duration,
) -> Result<Outcome, Failure> {
    let spinner = spinner(terminal);
    let answer =
        session
            .client
            .post_within::<VerifyView>("/v1/verify", &json!({ "shard": shard }), within);
    spinner.finish_and_clear();
    let answer = match answer {
        Ok(answer) => answer,
        // Nothing is changed by looking: that the outcome is unknown is no reason to worry.
        Err(Failure::Unknown(reason)) => {
            return Err(Failure::Unreachable(format!(
                "the copies were not compared: {reason}"
            )));
        }
        Err(failure) => return Err(failure),
    };
    session.print(terminal, &answer, |paint| render(&answer.value, paint))?;
    Ok(
        match answer.value.differ == 0 && answer.value.incomplete == 0 {
            true => Outcome::Done,
            false => Outcome::Found,
        },
    )
}

fn spinner(terminal: &Terminal) -> ProgressBar {
    if !terminal.err_is_terminal {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message("comparing the digests of all copies");
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}

/// The digest that is not that of the others, or that is not there.
fn is_sound(shard: &VerifiedShard) -> bool {
    let mut digests = shard.replicas.iter().map(|replica| replica.digest.as_ref());
    match digests.next() {
        Some(Some(first)) => digests.all(|digest| digest == Some(first)),
        _ => false,
    }
}

fn render(view: &VerifyView, paint: Paint) -> String {
    let equal = match view.equal {
        1 => "1 shard has equal copies".into(),
        equal => format!("{} shards have equal copies", count(equal.into())),
    };
    let mut text = format!("{equal}.\n");
    if view.differ > 0 {
        let what = counted(view.differ.into(), "shard has", "shards have");
        text.push_str(&paint.apply(&format!("{what} copies that differ."), Mood::Bad));
        text.push('\n');
    }
    if view.incomplete > 0 {
        let what = counted(view.incomplete.into(), "shard was", "shards were");
        text.push_str(&paint.apply(&format!("{what} not compared whole."), Mood::Doubtful));
        text.push('\n');
    }
    let odd: Vec<&VerifiedShard> = view
        .shards
        .iter()
        .filter(|shard| !is_sound(shard))
        .collect();
    if !odd.is_empty() {
        text.push('\n');
        text.push_str(&table(&odd, paint));
    }
    text
}

fn table(shards: &[&VerifiedShard], paint: Paint) -> String {
    use Align::{Left, Right};
    let nodes = shards
        .iter()
        .flat_map(|shard| &shard.replicas)
        .map(|replica| replica.node.as_str());
    let digits = digits_to_tell_apart(nodes);
    let mut table = Table::new(&[
        ("SHARD", Right),
        ("INDEX", Right),
        ("NODE", Left),
        ("REPLICA", Right),
        ("KEYS", Right),
        ("DIGEST", Left),
    ]);
    for shard in shards {
        for replica in &shard.replicas {
            let digest = match (&replica.digest, &replica.error) {
                (Some(digest), _) => clean(digest).into(),
                (None, Some(error)) => Cell::new(clean(error), Mood::Doubtful),
                (None, None) => Cell::new("none", Mood::Doubtful),
            };
            table.row(vec![
                shard.shard.to_string().into(),
                count(shard.index).into(),
                short(&replica.node, digits).into(),
                replica.replica.to_string().into(),
                count(replica.keys).into(),
                digest,
            ]);
        }
    }
    table.render(paint)
}

#[cfg(test)]
mod tests {
    use super::super::testing::id;
    use super::*;
    use crate::admin::api::VerifiedReplica;

    fn replica(node: &str, digest: Result<&str, &str>) -> VerifiedReplica {
        VerifiedReplica {
            replica: 5,
            node: id(node),
            digest: digest.ok().map(id),
            keys: 1000,
            error: digest.err().map(str::to_string),
        }
    }

    fn shard(shard: u32, replicas: Vec<VerifiedReplica>) -> VerifiedShard {
        VerifiedShard {
            shard,
            index: 1234,
            replicas,
        }
    }

    #[test]
    fn equal_copies_are_one_line() {
        let view = VerifyView {
            equal: 1,
            shards: vec![shard(
                1,
                vec![replica("a1", Ok("d")), replica("b2", Ok("d"))],
            )],
            ..VerifyView::default()
        };
        assert_eq!(render(&view, Paint(false)), "1 shard has equal copies.\n");
    }

    #[test]
    fn shards_whose_copies_differ_are_listed() {
        let view = VerifyView {
            equal: 62,
            differ: 1,
            incomplete: 1,
            shards: vec![
                shard(1, vec![replica("a1", Ok("d")), replica("b2", Ok("d"))]),
                shard(2, vec![replica("a1", Ok("d")), replica("b2", Ok("e"))]),
                shard(
                    3,
                    vec![
                        replica("a1", Ok("d")),
                        replica("b2", Err("its node\x1b is down")),
                    ],
                ),
            ],
        };
        assert_eq!(
            render(&view, Paint(false)),
            "62 shards have equal copies.\n\
             1 shard has copies that differ.\n\
             1 shard was not compared whole.\n\
             \n\
             SHARD  INDEX  NODE      REPLICA   KEYS  DIGEST\n    \
                 2  1,234  a1000000        5  1,000  d000000000000000000000000000000000000000\n    \
                 2  1,234  b2000000        5  1,000  e000000000000000000000000000000000000000\n    \
                 3  1,234  a1000000        5  1,000  d000000000000000000000000000000000000000\n    \
                 3  1,234  b2000000        5  1,000  its node? is down\n"
        );
    }
}
