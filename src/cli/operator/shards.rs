//! `ringfort shards`: all shards, or one with its copies. The text is made from values alone.

use super::failure::{Failure, Outcome};
use super::table::{Align, Cell, Mood, Paint, Table};
use super::terminal::Terminal;
use super::text::{bytes, clean, count, digits_to_tell_apart, short};
use super::Session;
use crate::admin::api::{ReplicaState, ReplicaView, Role, ShardView};

pub(super) fn list(session: &Session, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let answer = session.client.get::<Vec<ShardView>>("/v1/shards")?;
    session.print(terminal, &answer, |paint| render(&answer.value, paint))?;
    Ok(Outcome::Done)
}

pub(super) fn show(
    session: &Session,
    terminal: &mut Terminal,
    shard: u32,
) -> Result<Outcome, Failure> {
    let answer = session
        .client
        .get::<ShardView>(&format!("/v1/shards/{shard}"))?;
    session.print(terminal, &answer, |paint| render_one(&answer.value, paint))?;
    Ok(Outcome::Done)
}

fn digits(shards: &[ShardView]) -> usize {
    let replicas = shards.iter().flat_map(|shard| &shard.replicas);
    digits_to_tell_apart(replicas.map(|replica| replica.node.as_str()))
}

fn leader(shard: &ShardView, digits: usize) -> Cell {
    match &shard.leader {
        Some(leader) => short(leader, digits).into(),
        None => Cell::new("none", Mood::Bad),
    }
}

fn slots(shard: &ShardView) -> String {
    format!("{}-{}", shard.slots.0, shard.slots.1)
}

/// Entries that its copies lack at most.
fn lag(shard: &ShardView) -> u64 {
    shard
        .replicas
        .iter()
        .filter_map(|replica| replica.lag_entries)
        .max()
        .unwrap_or(0)
}

/// The copies beside the leader's; whatever is unusual about one stands behind it.
fn others(shard: &ShardView, digits: usize) -> String {
    let others = shard
        .replicas
        .iter()
        .filter(|replica| replica.role != Role::Leader);
    let others: Vec<String> = others
        .map(|replica| match unusual(replica) {
            Some(what) => format!("{} ({what})", short(&replica.node, digits)),
            None => short(&replica.node, digits),
        })
        .collect();
    others.join(" ")
}

fn unusual(replica: &ReplicaView) -> Option<&'static str> {
    match (replica.role, replica.state) {
        (_, ReplicaState::Lost) => Some("lost"),
        (_, ReplicaState::Down) => Some("down"),
        (_, ReplicaState::Leaving) => Some("leaving"),
        (Role::Learner, ReplicaState::Behind) => Some("being filled"),
        (Role::None, _) => Some("to come"),
        (_, ReplicaState::Behind) => Some("behind"),
        (Role::Learner, _) => Some("learner"),
        _ => None,
    }
}

fn render(shards: &[ShardView], paint: Paint) -> String {
    use Align::{Left, Right};
    let digits = digits(shards);
    let mut table = Table::new(&[
        ("SHARD", Right),
        ("SLOTS", Left),
        ("LEADER", Left),
        ("TERM", Right),
        ("SIZE", Right),
        ("LAG", Right),
        ("", Left),
        ("OTHER COPIES", Left),
    ]);
    for shard in shards {
        let moving = match shard.moving {
            true => Cell::new("moving", Mood::Doubtful),
            false => Cell::default(),
        };
        table.row(vec![
            shard.shard.to_string().into(),
            slots(shard).into(),
            leader(shard, digits),
            shard.term.to_string().into(),
            bytes(shard.bytes).into(),
            count(lag(shard)).into(),
            moving,
            others(shard, digits).into(),
        ]);
    }
    table.render(paint)
}

fn render_one(shard: &ShardView, paint: Paint) -> String {
    use Align::{Left, Right};
    let leader = match &shard.leader {
        Some(leader) => format!("led by {}", clean(leader)),
        None => paint.apply("led by nobody", Mood::Bad),
    };
    let moving = if shard.moving { ", moving" } else { "" };
    let mut table = Table::new(&[
        ("NODE", Left),
        ("REPLICA", Right),
        ("ROLE", Left),
        ("STATE", Left),
        ("APPLIED", Right),
        ("LAG", Right),
        ("SIZE", Right),
    ]);
    for replica in &shard.replicas {
        let or_dash = |value: Option<u64>, text: fn(u64) -> String| value.map_or("-".into(), text);
        table.row(vec![
            clean(&replica.node).into(),
            replica.replica.to_string().into(),
            role(replica.role).into(),
            replica_state(replica.state),
            or_dash(replica.applied, count).into(),
            or_dash(replica.lag_entries, count).into(),
            or_dash(replica.bytes, bytes).into(),
        ]);
    }
    format!(
        "Shard {}, slots {}, {leader}, term {}, {}{moving}\n\n{}",
        shard.shard,
        slots(shard),
        shard.term,
        bytes(shard.bytes),
        table.render(paint)
    )
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Voter => "voter",
        Role::Learner => "learner",
        Role::None => "none",
    }
}

fn replica_state(state: ReplicaState) -> Cell {
    match state {
        ReplicaState::CaughtUp => Cell::new("caught up", Mood::Good),
        ReplicaState::Behind => Cell::new("behind", Mood::Doubtful),
        ReplicaState::Lost => Cell::new("lost", Mood::Bad),
        ReplicaState::Down => Cell::new("down", Mood::Bad),
        ReplicaState::Leaving => Cell::new("leaving", Mood::Doubtful),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::id;
    use super::*;

    fn replica(node: &str, replica: u64, role: Role, state: ReplicaState) -> ReplicaView {
        ReplicaView {
            replica,
            node: id(node),
            role,
            state,
            applied: Some(1200),
            lag_entries: Some(0),
            bytes: Some(1 << 20),
        }
    }

    fn shard() -> ShardView {
        ShardView {
            shard: 17,
            slots: (4352, 4607),
            leader: Some(id("a1")),
            term: 3,
            bytes: 1 << 20,
            moving: true,
            replicas: vec![
                replica("a1", 18, Role::Leader, ReplicaState::CaughtUp),
                replica("b2", 1_000_019, Role::Voter, ReplicaState::CaughtUp),
                ReplicaView {
                    applied: None,
                    lag_entries: Some(4000),
                    bytes: None,
                    ..replica("c3", 20, Role::Learner, ReplicaState::Behind)
                },
            ],
        }
    }

    #[test]
    fn shards_are_listed_with_their_copies() {
        let leaderless = ShardView {
            shard: 9,
            leader: None,
            replicas: vec![replica("b2", 7, Role::Voter, ReplicaState::Down)],
            ..ShardView::default()
        };
        assert_eq!(
            render(&[leaderless, shard()], Paint(false)),
            "SHARD  SLOTS      LEADER    TERM     SIZE    LAG          OTHER COPIES\n    \
                 9  0-0        none         0      0 B      0          b2000000 (down)\n   \
                17  4352-4607  a1000000     3  1.0 MiB  4,000  moving  b2000000 c3000000 (being filled)\n"
        );
    }

    #[test]
    fn a_shard_is_shown_copy_by_copy() {
        assert_eq!(
            render_one(&shard(), Paint(false)),
            "Shard 17, slots 4352-4607, led by a100000000000000000000000000000000000000, term 3, 1.0 MiB, moving\n\
             \n\
             NODE                                      REPLICA  ROLE     STATE      APPLIED    LAG     SIZE\n\
             a100000000000000000000000000000000000000       18  leader   caught up    1,200      0  1.0 MiB\n\
             b200000000000000000000000000000000000000  1000019  voter    caught up    1,200      0  1.0 MiB\n\
             c300000000000000000000000000000000000000       20  learner  behind           -  4,000        -\n"
        );
    }
}
