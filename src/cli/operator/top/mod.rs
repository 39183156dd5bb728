//! `ringfort top`: the cluster live, in a terminal. Asks on threads of its own, so that keys and the window's size are minded meanwhile.

mod raw;
mod screen;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::failure::{Failure, Outcome};
use super::terminal::Terminal;
use super::watch::{observe, Stop};
use super::Session;
use crate::admin::api::{ClusterView, Role, ShardView};
use raw::Screen;
use screen::View;

const CLUSTER_EVERY: Duration = Duration::from_secs(1);
const SHARDS_EVERY: Duration = Duration::from_secs(2);
/// Asking for thousands of shards may cost the cluster something: it is left in peace this many times as long as it took.
const SHARDS_PAUSE_FACTOR: u32 = 10;

/// Until it is told to stop, or refused.
pub(super) fn top(session: &Session, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    if !terminal.out_is_terminal {
        return Err(Failure::Usage(
            "`ringfort top` needs a terminal to draw on. `ringfort status --watch` prints the same without one".into(),
        ));
    }
    // Before the screen is taken: what is wrong now is said in plain lines.
    let first = session.client.get::<ClusterView>("/v1/cluster")?;
    let stop = Stop::catch()?;
    let client = session.polling_client();
    let clusters = observe(CLUSTER_EVERY, move || {
        client.get::<ClusterView>("/v1/cluster")
    });
    let client = session.polling_client();
    let shards = observe(SHARDS_EVERY, move || {
        let began = Instant::now();
        let answer = client.get::<Vec<ShardView>>("/v1/shards");
        std::thread::sleep((began.elapsed() * SHARDS_PAUSE_FACTOR).saturating_sub(SHARDS_EVERY));
        answer
    });

    let mut view = View::new(first.value);
    let mut rates = Rates::default();
    let screen = Screen::enter()?;
    let mut drawn = None;
    while !stop.is_told() {
        let mut is_new = false;
        while let Some(observation) = clusters.ready() {
            is_new = true;
            view.heard(observation.map(|answer| answer.value))?;
        }
        while let Some(Ok(answer)) = shards.ready() {
            is_new = true;
            view.rates = rates.next(&answer.value, Instant::now());
            view.shards = answer.value;
        }
        let size = screen.size();
        if is_new || drawn != Some((size, view.sort)) {
            screen.draw(&view.lines(size, terminal.paint))?;
            drawn = Some((size, view.sort));
        }
        match screen.key() {
            Some(b'q' | b'Q' | CTRL_C | CTRL_D) => break,
            Some(b's' | b'S') => view.sort = view.sort.next(),
            _ => {}
        }
    }
    drop(screen);
    Ok(Outcome::Done)
}

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;

/// How fast the shards' logs grow.
#[derive(Default)]
struct Rates {
    before: Option<(Instant, HashMap<u32, u64>)>,
}

impl Rates {
    /// Entries a second of each shard since the last time.
    fn next(&mut self, shards: &[ShardView], now: Instant) -> HashMap<u32, u64> {
        let applied: HashMap<u32, u64> = shards
            .iter()
            .filter_map(|shard| Some((shard.shard, applied(shard)?)))
            .collect();
        let mut rates = HashMap::new();
        if let Some((then, before)) = &self.before {
            let millis = now.duration_since(*then).as_millis().max(1) as u64;
            for (shard, applied) in &applied {
                if let Some(before) = before.get(shard) {
                    rates.insert(
                        *shard,
                        applied.saturating_sub(*before).saturating_mul(1000) / millis,
                    );
                }
            }
        }
        self.before = Some((now, applied));
        rates
    }
}

fn applied(shard: &ShardView) -> Option<u64> {
    let leader = shard
        .replicas
        .iter()
        .find(|replica| replica.role == Role::Leader);
    leader.and_then(|replica| replica.applied)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Printed;
    use super::super::{Format, Session, Target};
    use super::*;
    use crate::admin::api::ReplicaView;

    #[test]
    fn the_rate_of_a_shard_is_what_its_leader_applied_meanwhile() {
        let shard = |applied: u64| {
            let leader = ReplicaView {
                role: Role::Leader,
                applied: Some(applied),
                ..ReplicaView::default()
            };
            ShardView {
                shard: 3,
                replicas: vec![leader],
                ..ShardView::default()
            }
        };
        let mut rates = Rates::default();
        let now = Instant::now();
        assert!(rates.next(&[shard(100)], now).is_empty());
        assert_eq!(
            rates
                .next(&[shard(500)], now + Duration::from_secs(2))
                .get(&3),
            Some(&200)
        );
        assert_eq!(
            rates
                .next(&[shard(7)], now + Duration::from_secs(3))
                .get(&3),
            Some(&0)
        );
    }

    #[test]
    fn without_a_terminal_it_names_what_does_without_one() {
        let mut printed = Printed::default();
        let session = Session::new(&Target::default(), Format::Text);
        let failure = top(&session, &mut printed.terminal()).err().unwrap();
        assert_eq!(failure.exit_code(), 2);
        assert!(failure.to_string().contains("status --watch"));
    }
}
