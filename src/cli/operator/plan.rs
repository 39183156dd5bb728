//! `ringfort plan`: what would move. The text is made from values alone.

use std::time::Duration;

use super::client::{segment, Answer};
use super::failure::{Failure, Outcome};
use super::table::{Align, Paint, Table};
use super::terminal::Terminal;
use super::text::{bytes, clean, count, counted, digits_to_tell_apart, duration, short};
use super::Session;
use crate::admin::api::PlanView;

pub(super) fn add(
    session: &Session,
    terminal: &mut Terminal,
    count: u16,
    weight: u16,
    zone: &str,
) -> Result<Outcome, Failure> {
    let path = format!(
        "/v1/plan/add?count={count}&weight={weight}&zone={}",
        segment(zone)
    );
    let answer = session.client.get::<PlanView>(&path)?;
    print(session, terminal, &answer)
}

pub(super) fn remove(
    session: &Session,
    terminal: &mut Terminal,
    node: &str,
    is_forced: bool,
) -> Result<Outcome, Failure> {
    let answer = session
        .client
        .get::<PlanView>(&removal_path(node, is_forced))?;
    print(session, terminal, &answer)
}

pub(super) fn removal_path(node: &str, is_forced: bool) -> String {
    format!("/v1/plan/remove/{}?force={is_forced}", segment(node))
}

fn print(
    session: &Session,
    terminal: &mut Terminal,
    answer: &Answer<PlanView>,
) -> Result<Outcome, Failure> {
    session.print(terminal, answer, |paint| render(&answer.value, paint))?;
    match &answer.value.refused {
        Some(reason) => {
            terminal.note(&format!("It would be refused: {}", clean(reason)))?;
            Ok(Outcome::Found)
        }
        None => Ok(Outcome::Done),
    }
}

/// What moves, in one line.
pub(super) fn summary(plan: &PlanView) -> String {
    if plan.copies == 0 && plan.leaders == 0 {
        return "no copy has to be made, no leader moves".into();
    }
    let copies = match plan.copies {
        0 => "no copy has to be made".into(),
        copies => format!(
            "{} made anew ({:.1} % of all, {})",
            counted(copies.into(), "copy is", "copies are"),
            plan.copies_percent,
            bytes(plan.bytes)
        ),
    };
    let leaders = match plan.leaders {
        0 => String::new(),
        leaders => format!(
            ", {} at least",
            counted(leaders.into(), "leader moves", "leaders move")
        ),
    };
    format!("{copies}{leaders}{}", pace(plan))
}

fn pace(plan: &PlanView) -> String {
    if plan.copies == 0 {
        return String::new();
    }
    let time = duration(Duration::from_secs(plan.seconds));
    match plan.bytes_per_sec {
        0 => format!("; {time} or more"),
        pace => format!("; {time} or more, at {}/s", bytes(pace)),
    }
}

/// A line, and the nodes before and after.
fn render(plan: &PlanView, paint: Paint) -> String {
    use Align::{Left, Right};
    let digits = digits_to_tell_apart(plan.nodes.iter().map(|share| share.node.as_str()));
    let mut table = Table::new(&[
        ("NODE", Left),
        ("COPIES", Right),
        ("AFTER", Right),
        ("CHANGE", Right),
        ("DATA", Right),
        ("AFTER", Right),
    ]);
    for share in &plan.nodes {
        let change = i64::from(share.holds_after) - i64::from(share.holds_before);
        table.row(vec![
            short(&share.node, digits).into(),
            count(share.holds_before.into()).into(),
            count(share.holds_after.into()).into(),
            match change {
                0 => "0".into(),
                change => format!("{change:+}").into(),
            },
            bytes(share.bytes_before).into(),
            bytes(share.bytes_after).into(),
        ]);
    }
    format!(
        "What would move: {}.\n\n{}",
        summary(plan),
        table.render(paint)
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::id;
    use super::*;
    use crate::admin::api::ShareView;

    fn share(node: String, holds: (u32, u32), bytes: (u64, u64)) -> ShareView {
        ShareView {
            node,
            holds_before: holds.0,
            holds_after: holds.1,
            bytes_before: bytes.0,
            bytes_after: bytes.1,
        }
    }

    #[test]
    fn a_plan_is_a_line_and_the_nodes_before_and_after() {
        let plan = PlanView {
            copies: 48,
            copies_percent: 25.04,
            bytes: 12 << 30,
            leaders: 1,
            bytes_per_sec: 256 << 20,
            seconds: 185,
            nodes: vec![
                share(id("a1"), (64, 48), (16 << 30, 12 << 30)),
                share(id("b2"), (64, 64), (0, 0)),
                share("new-1".into(), (0, 48), (0, 12 << 30)),
            ],
            ..PlanView::default()
        };
        assert_eq!(
            render(&plan, Paint(false)),
            "What would move: 48 copies are made anew (25.0 % of all, 12 GiB), 1 leader moves at least; 3 min 5 s or more, at 256 MiB/s.\n\
             \n\
             NODE      COPIES  AFTER  CHANGE    DATA   AFTER\n\
             a1000000      64     48     -16  16 GiB  12 GiB\n\
             b2000000      64     64       0     0 B     0 B\n\
             new-1          0     48     +48     0 B  12 GiB\n"
        );
    }

    #[test]
    fn a_plan_that_moves_nothing_says_so() {
        let mut plan = PlanView::default();
        assert_eq!(summary(&plan), "no copy has to be made, no leader moves");
        plan.leaders = 3;
        assert_eq!(
            summary(&plan),
            "no copy has to be made, 3 leaders move at least"
        );
        plan.copies = 1;
        plan.copies_percent = f64::INFINITY;
        assert!(summary(&plan).starts_with("1 copy is made anew (inf % of all, 0 B)"));
    }
}
