//! What `ringfort top` shows, as lines. Pure: the size of the window and the state of the cluster in, text out.

use std::cmp::Reverse;
use std::collections::HashMap;

use console::measure_text_width;

use super::super::failure::Failure;
use super::super::status::{address, digits, moves_line, p99, sorted, state};
use super::super::table::{Align, Cell, Mood, Paint, Table};
use super::super::text::{bytes, clean, count, counted, short};
use crate::admin::api::{ClusterView, NodeView, ShardView};

/// A window narrower or lower than this shows less.
const BAR_CHARS: (usize, usize) = (4, 24);
const SHARDS_MIN: usize = 3;
const PROBLEMS_MAX: usize = 2;

/// By what the nodes are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Ops,
    P99,
    Memory,
    Leads,
    Address,
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Ops => Self::P99,
            Self::P99 => Self::Memory,
            Self::Memory => Self::Leads,
            Self::Leads => Self::Address,
            Self::Address => Self::Ops,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ops => "ops/s",
            Self::P99 => "p99",
            Self::Memory => "memory",
            Self::Leads => "shards led",
            Self::Address => "address",
        }
    }

    fn key(self, node: &NodeView) -> u64 {
        match self {
            Self::Ops => node.ops_per_sec,
            Self::P99 => node.p99_us.unwrap_or(0),
            Self::Memory => node.memory_bytes,
            Self::Leads => node.leads.into(),
            Self::Address => 0,
        }
    }
}

/// All that is known.
pub(super) struct View {
    cluster: ClusterView,
    pub(super) shards: Vec<ShardView>,
    /// Log entries a second, by shard.
    pub(super) rates: HashMap<u32, u64>,
    pub(super) sort: Sort,
    /// Why nothing newer is known.
    trouble: Option<String>,
}

impl View {
    pub(super) fn new(cluster: ClusterView) -> Self {
        Self {
            cluster,
            shards: Vec::new(),
            rates: HashMap::new(),
            sort: Sort::default(),
            trouble: None,
        }
    }

    /// Takes in what came of asking for the cluster; a failure that does not pass is given back.
    pub(super) fn heard(&mut self, answer: Result<ClusterView, Failure>) -> Result<(), Failure> {
        match answer {
            Ok(cluster) => {
                self.cluster = cluster;
                self.trouble = None;
            }
            Err(failure) if failure.may_pass() => self.trouble = Some(failure.to_string()),
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// As many lines as the window has rows.
    pub(super) fn lines(&self, (rows, columns): (usize, usize), paint: Paint) -> Vec<String> {
        let mut lines = self.head(paint);
        lines.push(String::new());
        let mut nodes = self.nodes(columns, paint);
        // Below the nodes: a blank, the shards' headings and some shards, the line of keys.
        let room = rows.saturating_sub(lines.len() + SHARDS_MIN + 3);
        cut(&mut nodes, room, "nodes");
        lines.append(&mut nodes);
        lines.push(String::new());
        let room = rows.saturating_sub(lines.len() + 1);
        lines.extend(self.shards(paint).into_iter().take(room));
        lines.truncate(rows.saturating_sub(1));
        lines.resize(rows.saturating_sub(1), String::new());
        lines.push(paint.apply(
            &format!("q quits   s sorts: nodes by {}", self.sort.name()),
            Mood::Quiet,
        ));
        lines
    }

    fn head(&self, paint: Paint) -> Vec<String> {
        let cluster = &self.cluster;
        let sum = |of: fn(&NodeView) -> u64| {
            cluster
                .nodes
                .iter()
                .fold(0u64, |sum, node| sum.saturating_add(of(node)))
        };
        let mut lines = vec![
            format!(
                "ringfort {}, epoch {}: {}, {}, {}",
                short(&cluster.id, 8),
                count(cluster.epoch),
                counted(cluster.nodes.len() as u64, "node", "nodes"),
                counted(cluster.shards.into(), "shard", "shards"),
                counted(sum(|node| node.clients.into()), "client", "clients"),
            ),
            format!(
                "{} ops/s   {} of memory, {} of it keys",
                count(sum(|node| node.ops_per_sec)),
                bytes(sum(|node| node.memory_bytes)),
                bytes(sum(|node| node.data_bytes)),
            ),
            moves_line(cluster),
        ];
        if let Some(trouble) = &self.trouble {
            let text = clean(trouble.lines().next().unwrap_or_default());
            lines.push(paint.apply(&format!("! what is below is old: {text}"), Mood::Bad));
        }
        let problems = cluster.problems.iter().take(PROBLEMS_MAX);
        lines.extend(
            problems.map(|problem| paint.apply(&format!("! {}", clean(problem)), Mood::Bad)),
        );
        if cluster.problems.len() > PROBLEMS_MAX {
            lines.push(format!(
                "! and {} more: see `ringfort status`",
                cluster.problems.len() - PROBLEMS_MAX
            ));
        }
        lines
    }

    fn sorted_nodes(&self) -> Vec<&NodeView> {
        let mut nodes = sorted(&self.cluster.nodes);
        nodes.sort_by_key(|node| Reverse(self.sort.key(node)));
        nodes
    }

    /// Bars take the room that is left.
    fn nodes(&self, columns: usize, paint: Paint) -> Vec<String> {
        let narrow = self.nodes_table(BAR_CHARS.0, Paint(false));
        let widest = narrow.lines().map(measure_text_width).max().unwrap_or(0);
        let spare = columns.saturating_sub(widest);
        let bar = (BAR_CHARS.0 + spare).min(BAR_CHARS.1);
        self.nodes_table(bar, paint)
            .lines()
            .map(str::to_string)
            .collect()
    }

    fn nodes_table(&self, bar_chars: usize, paint: Paint) -> String {
        use Align::{Left, Right};
        let digits = digits(&self.cluster);
        let mut table = Table::new(&[
            ("NODE", Left),
            ("ADDRESS", Left),
            ("STATE", Left),
            ("OPS/S", Right),
            ("", Left),
            ("P99", Right),
            ("MEMORY", Right),
            ("LEADS", Right),
            ("HOLDS", Right),
        ]);
        let most = self
            .cluster
            .nodes
            .iter()
            .map(|node| node.ops_per_sec)
            .max()
            .unwrap_or(0);
        for node in self.sorted_nodes() {
            table.row(vec![
                short(&node.id, digits).into(),
                address(node).into(),
                state(node),
                count(node.ops_per_sec).into(),
                Cell::new(bar(node.ops_per_sec, most, bar_chars), Mood::Good),
                p99(node).into(),
                bytes(node.memory_bytes).into(),
                count(node.leads.into()).into(),
                count(node.holds.into()).into(),
            ]);
        }
        table.render(paint)
    }

    /// The busiest first.
    fn shards(&self, paint: Paint) -> Vec<String> {
        use Align::{Left, Right};
        let digits = digits(&self.cluster);
        let rate = |shard: &ShardView| self.rates.get(&shard.shard).copied();
        let mut shards: Vec<&ShardView> = self.shards.iter().collect();
        shards.sort_by_key(|shard| (Reverse(rate(shard)), Reverse(shard.bytes), shard.shard));
        let mut table = Table::new(&[
            ("BUSIEST SHARD", Right),
            ("ENTRIES/S", Right),
            ("SIZE", Right),
            ("SLOTS", Left),
            ("LEADER", Left),
            ("", Left),
        ]);
        for shard in shards {
            let leader = match &shard.leader {
                Some(leader) => short(leader, digits).into(),
                None => Cell::new("none", Mood::Bad),
            };
            table.row(vec![
                shard.shard.to_string().into(),
                rate(shard).map_or("-".into(), count).into(),
                bytes(shard.bytes).into(),
                format!("{}-{}", shard.slots.0, shard.slots.1).into(),
                leader,
                Cell::new(if shard.moving { "moving" } else { "" }, Mood::Doubtful),
            ]);
        }
        table.render(paint).lines().map(str::to_string).collect()
    }
}

/// A heading and rows: what does not fit is counted instead.
fn cut(lines: &mut Vec<String>, room: usize, what: &str) {
    if lines.len() > room {
        let shown = room.saturating_sub(1);
        let hidden = lines.len().saturating_sub(shown);
        lines.truncate(shown);
        lines.push(format!("... and {hidden} more {what}"));
    }
}

/// `value` of `most` as a bar.
fn bar(value: u64, most: u64, chars: usize) -> String {
    if most == 0 {
        return String::new();
    }
    let filled = (u128::from(value) * chars as u128).div_ceil(u128::from(most)) as usize;
    "|".repeat(filled.min(chars))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{cluster, id};
    use super::*;

    fn shard(shard: u32, bytes: u64) -> ShardView {
        ShardView {
            shard,
            bytes,
            slots: (256 * shard as u16, 256 * shard as u16 + 255),
            leader: Some(id("a1")),
            ..ShardView::default()
        }
    }

    #[test]
    fn a_small_terminal_holds_nodes_and_shards() {
        let mut view = View::new(cluster());
        view.shards = (0..64).map(|number| shard(number, 1 << 20)).collect();
        view.rates = HashMap::from([(17, 1200), (3, 40)]);
        view.cluster.problems = vec!["node c3 is\x1b slow".into()];
        let lines = view.lines((24, 80), Paint(false));
        assert_eq!(lines.len(), 24);
        assert!(
            lines.iter().all(|line| measure_text_width(line) <= 80),
            "{lines:#?}"
        );
        let expected = "\
            ringfort c1000000, epoch 1,012: 3 nodes, 64 shards, 0 clients\n\
            81,330 ops/s   1.4 GiB of memory, 192 MiB of it keys\n\
            Nothing moves.\n\
            ! node c3 is? slow\n\
            \n\
            NODE      ADDRESS         STATE   OPS/S               P99   MEMORY  LEADS  HOLDS\n\
            a1000000  10.0.0.9:6379   up     81,200  ||||||||  1.2 ms  1.2 GiB     22     64\n\
            b2000000  10.0.0.10:6379  up        130  |         870 us   98 MiB     21     64\n\
            c3000000  10.0.0.11:6379  up          0                 -   98 MiB     21     64\n\
            \n\
            BUSIEST SHARD  ENTRIES/S     SIZE  SLOTS        LEADER";
        assert_eq!(lines[..11].join("\n"), expected);
        assert_eq!(
            lines[11].trim(),
            "17      1,200  1.0 MiB  4352-4607    a1000000"
        );
        assert_eq!(lines[23], "q quits   s sorts: nodes by ops/s");
    }

    #[test]
    fn nodes_are_sorted_by_what_is_asked_for() {
        let mut view = View::new(cluster());
        let order = |view: &View| {
            view.sorted_nodes()
                .iter()
                .map(|node| node.id[..2].to_string())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(order(&view), "a1 b2 c3");
        view.cluster.nodes[0].memory_bytes = 1 << 40;
        let mut orders = Vec::new();
        for _ in 0..5 {
            view.sort = view.sort.next();
            orders.push(order(&view));
        }
        assert_eq!(
            orders,
            ["a1 b2 c3", "c3 a1 b2", "a1 b2 c3", "a1 b2 c3", "a1 b2 c3"]
        );
        assert_eq!(view.sort, Sort::Ops);
    }

    #[test]
    fn a_silence_is_shown_until_there_is_an_answer_and_a_refusal_ends_it() {
        let mut view = View::new(cluster());
        view.heard(Err(Failure::Unreachable("nobody answers".into())))
            .unwrap();
        let shows = |view: &View| {
            view.head(Paint(false))
                .join("\n")
                .contains("nobody answers")
        };
        assert!(shows(&view));
        view.heard(Ok(cluster())).unwrap();
        assert!(!shows(&view));
        let failure = view.heard(Err(Failure::refused("no"))).unwrap_err();
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn any_size_of_window_is_filled_and_not_overfilled() {
        let mut view = View::new(cluster());
        view.cluster.nodes = (0..100).flat_map(|_| cluster().nodes).collect();
        view.shards = (0..64).map(|number| shard(number, 1)).collect();
        view.trouble = Some("nobody answers\nat all".into());
        for rows in 1..40 {
            let lines = view.lines((rows, 10), Paint(true));
            assert_eq!(lines.len(), rows);
        }
        let text = view.lines((24, 80), Paint(false)).join("\n");
        assert!(
            text.contains("more nodes") && text.contains("BUSIEST"),
            "{text}"
        );
        assert!(
            text.contains("! what is below is old: nobody answers\n"),
            "{text}"
        );
    }

    #[test]
    fn bars_stay_within_their_room() {
        assert_eq!(bar(0, 0, 8), "");
        assert_eq!(bar(0, 9, 8), "");
        assert_eq!(bar(1, 1000, 8), "|");
        assert_eq!(bar(9, 9, 8), "||||||||");
        assert_eq!(bar(u64::MAX, 1, 8), "||||||||");
    }
}
