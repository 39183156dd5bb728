//! `ringfort recover`: the operator's word that nodes are lost for good. The text is made from values alone.

use std::time::Duration;

use serde_json::json;

use super::client::Answer;
use super::failure::{Failure, Outcome};
use super::table::{Align, Cell, Mood, Paint, Table};
use super::terminal::Terminal;
use super::text::{clean, count, counted, digits_to_tell_apart, short};
use super::Session;
use crate::admin::api::RecoverView;

/// All that is left is asked, and waited for.
const WITHIN: Duration = Duration::from_secs(180);
/// Shards that a line names.
const NAMED_MAX: usize = 20;

pub(super) fn recover(
    session: &Session,
    terminal: &mut Terminal,
    lost: &[String],
    has_consent: bool,
) -> Result<Outcome, Failure> {
    let body = json!({ "lost": lost, "accept_data_loss": has_consent });
    let answer: Result<Answer<RecoverView>, Failure> =
        session.client.post_within("/v1/recover", &body, WITHIN);
    if has_consent {
        let answer = answer?;
        session.print(terminal, &answer, |paint| render(&answer.value, paint))?;
        return Ok(Outcome::Done);
    }
    match answer {
        Ok(answer) => session.print(terminal, &answer, |paint| render(&answer.value, paint))?,
        Err(failure) => terminal.note(&format!(
            "What exactly it would mean is not known: {failure}"
        ))?,
    }
    Err(Failure::Usage(EXPLANATION.into()))
}

/// What is at stake, for whoever has not said yet that it is accepted.
const EXPLANATION: &str = "nothing was done, because data may be lost by it:
- writes that were acknowledged, where only the lost nodes had them;
- shards of which no copy is left, with all their keys.
It is for good: the lost nodes can never come back with what they hold. If even one of them can still be started, start it
instead, and nothing is lost. Else say it again with --accept-data-loss.";

fn render(view: &RecoverView, paint: Paint) -> String {
    let nodes = view
        .groups
        .iter()
        .flat_map(|group| group.others.iter().chain([&group.node]));
    let digits = digits_to_tell_apart(nodes.chain(&view.lost).map(String::as_str));
    let names = |nodes: &[String]| {
        let names: Vec<String> = nodes.iter().map(|node| short(node, digits)).collect();
        names.join(" ")
    };
    let mut text = match view.done {
        true => format!("The cluster goes on without {}.\n", names(&view.lost)),
        false => format!(
            "What would be done to go on without {}:\n",
            names(&view.lost)
        ),
    };
    let without_majority = view.groups.len() + view.empty_shards.len();
    text.push_str(&format!(
        "{} lost their majority; {} a majority without them.\n",
        counted(without_majority as u64, "group", "groups"),
        counted(view.left_alone.into(), "group has", "groups have"),
    ));
    if !view.empty_shards.is_empty() {
        let what = counted(
            view.empty_shards.len() as u64,
            "shard begins",
            "shards begin",
        );
        let line = format!("{what} again, empty: {}", named(&view.empty_shards));
        text.push_str(&format!("{}\n", paint.apply(&line, Mood::Bad)));
    }
    for note in &view.notes {
        text.push_str(&format!("- {}\n", clean(note)));
    }
    if !view.groups.is_empty() {
        text.push('\n');
        text.push_str(&table(view, digits, paint));
    }
    text
}

fn named(shards: &[u32]) -> String {
    let names: Vec<String> = shards.iter().take(NAMED_MAX).map(u32::to_string).collect();
    let more = if shards.len() > NAMED_MAX {
        ", ..."
    } else {
        ""
    };
    format!("{}{more}", names.join(", "))
}

/// Who goes on with each group.
fn table(view: &RecoverView, digits: usize, paint: Paint) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("SHARD", Right),
        ("GOES ON AT", Left),
        ("TERM", Right),
        ("INDEX", Right),
        ("UNSURE", Right),
        ("OTHER COPIES", Left),
        ("", Left),
    ]);
    for group in &view.groups {
        let others: Vec<String> = group
            .others
            .iter()
            .map(|node| short(node, digits))
            .collect();
        table.row(vec![
            group
                .shard
                .map_or("meta".into(), |shard| shard.to_string())
                .into(),
            short(&group.node, digits).into(),
            group.term.to_string().into(),
            count(group.index).into(),
            count(group.index.saturating_sub(group.committed)).into(),
            others.join(" ").into(),
            Cell::new(
                if group.suspect { "lost power" } else { "" },
                Mood::Doubtful,
            ),
        ]);
    }
    table.render(paint)
}

#[cfg(test)]
mod tests {
    use super::super::testing::id;
    use super::*;
    use crate::admin::api::RecoveredGroup;

    #[test]
    fn what_would_be_done_names_groups_and_what_is_lost() {
        let group = |shard, others: &[&str], suspect| RecoveredGroup {
            shard,
            node: id("a1"),
            term: 4,
            index: 1200,
            committed: 1190,
            suspect,
            others: others.iter().map(|node| id(node)).collect(),
        };
        let mut view = RecoverView {
            done: false,
            lost: vec![id("b2"), id("c3")],
            groups: vec![group(None, &[], false), group(Some(3), &["d4"], true)],
            empty_shards: vec![7],
            left_alone: 1,
            notes: vec!["Nothing was\x1b changed.".into()],
        };
        assert_eq!(
            render(&view, Paint(false)),
            "What would be done to go on without b2000000 c3000000:\n\
             3 groups lost their majority; 1 group has a majority without them.\n\
             1 shard begins again, empty: 7\n\
             - Nothing was? changed.\n\
             \n\
             SHARD  GOES ON AT  TERM  INDEX  UNSURE  OTHER COPIES\n \
              meta  a1000000       4  1,200      10\n    \
                 3  a1000000       4  1,200      10  d4000000      lost power\n"
        );
        view.done = true;
        view.empty_shards = (0..30).collect();
        let text = render(&view, Paint(false));
        assert!(
            text.starts_with("The cluster goes on without b2000000 c3000000.\n"),
            "{text}"
        );
        assert!(
            text.contains("30 shards begin again, empty: 0, 1, 2,") && text.contains("19, ...\n"),
            "{text}"
        );
    }
}
