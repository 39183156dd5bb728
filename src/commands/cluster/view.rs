//! What cluster-aware clients are told of the cluster: which node leads which slots, and where it is. Plain data: who
//! gathers it is the node's business. Leaders alone, every slot at most once (DESIGN 7).

/// How many slots there are, as in Redis Cluster.
pub const SLOTS: u16 = 16_384;

/// Stands for no node in the table of owners.
const NOBODY: u16 = u16::MAX;

/// Slots in a row, first and last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotRange {
    pub first: u16,
    pub last: u16,
}

/// One node, as clients reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewNode {
    /// 40 hexadecimal digits.
    pub id: String,
    /// A name or an address.
    pub host: String,
    /// For cluster-aware clients.
    pub port: u16,
    /// For plain clients.
    pub plain_port: u16,
    /// For other nodes.
    pub peer_port: u16,
    /// What it leads, or is last known to have led. In a [`ClusterView`] ascending, and neighbours merged.
    pub ranges: Vec<SlotRange>,
    pub is_up: bool,
}

/// The cluster at one moment, as one node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// Of the topology. Leaders change without it.
    pub epoch: u64,
    /// The id of the node that shows the view, whether or not it is among the nodes.
    pub own_id: String,
    /// By id, so that every node shows them in the same order.
    nodes: Vec<ViewNode>,
    /// By slot: the leader's place in `nodes`.
    owners: Box<[u16]>,
    /// The place of the node that shows the view.
    own_place: u16,
}

impl Default for ClusterView {
    /// Nothing known yet.
    fn default() -> Self {
        Self::new(0, String::new(), Vec::new())
    }
}

impl ClusterView {
    /// Orders what is given. A slot that several nodes claim goes to the first of them by id; ranges beyond the last slot are cut.
    pub fn new(epoch: u64, own_id: String, mut nodes: Vec<ViewNode>) -> Self {
        // One place stands for nobody.
        nodes.truncate(usize::from(NOBODY));
        nodes.sort_by(|a, b| a.id.cmp(&b.id));
        nodes.dedup_by(|a, b| a.id == b.id);
        let mut owners = vec![NOBODY; usize::from(SLOTS)].into_boxed_slice();
        for (place, node) in (0..).zip(&nodes) {
            for range in &node.ranges {
                let last = range.last.min(SLOTS - 1);
                let free = (range.first..=last).filter(|&slot| owners[usize::from(slot)] == NOBODY);
                let free: Vec<u16> = free.collect();
                free.into_iter()
                    .for_each(|slot| owners[usize::from(slot)] = place);
            }
        }
        let own_place = (0..).zip(&nodes).find(|(_, node)| node.id == own_id);
        let own_place = own_place.map_or(NOBODY, |(place, _)| place);
        let mut view = Self {
            epoch,
            own_id,
            nodes,
            owners,
            own_place,
        };
        let ranges = view.runs();
        view.nodes.iter_mut().for_each(|node| node.ranges.clear());
        for (range, place) in ranges {
            view.nodes[usize::from(place)].ranges.push(range);
        }
        view
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> &[ViewNode] {
        &self.nodes
    }

    /// The node of this id.
    pub fn node(&self, id: &[u8]) -> Option<&ViewNode> {
        self.nodes.iter().find(|node| node.id.as_bytes() == id)
    }

    /// The node that shows the view, if it belongs to the cluster.
    pub fn own(&self) -> Option<&ViewNode> {
        self.nodes.get(usize::from(self.own_place))
    }

    /// Whether the node that shows the view leads this slot.
    #[inline]
    pub fn leads(&self, slot: u16) -> bool {
        self.owners[usize::from(slot)] == self.own_place && self.own_place != NOBODY
    }

    /// The (last known) leader of a slot below [`SLOTS`].
    pub fn leader(&self, slot: u16) -> Option<&ViewNode> {
        self.nodes.get(usize::from(self.owners[usize::from(slot)]))
    }

    /// Ranges with their leaders, by slot: no two neighbours have the same leader.
    pub fn ranges(&self) -> impl Iterator<Item = (SlotRange, &ViewNode)> {
        let runs = self.runs().into_iter();
        runs.map(|(range, place)| (range, &self.nodes[usize::from(place)]))
    }

    /// Slots that have a leader of which `counts` holds.
    pub fn slots(&self, counts: impl Fn(&ViewNode) -> bool) -> usize {
        let ranges = self.ranges().filter(|(_, node)| counts(node));
        ranges
            .map(|(range, _)| usize::from(range.last - range.first) + 1)
            .sum()
    }

    /// Slots in a row that have the same leader.
    fn runs(&self) -> Vec<(SlotRange, u16)> {
        let mut runs: Vec<(SlotRange, u16)> = Vec::new();
        for (slot, &place) in (0..).zip(self.owners.iter()) {
            match runs.last_mut() {
                Some((range, owner)) if *owner == place => range.last = slot,
                _ => runs.push((
                    SlotRange {
                        first: slot,
                        last: slot,
                    },
                    place,
                )),
            }
        }
        runs.retain(|(_, place)| *place != NOBODY);
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, ranges: &[(u16, u16)]) -> ViewNode {
        let ranges = ranges
            .iter()
            .map(|&(first, last)| SlotRange { first, last });
        ViewNode {
            id: id.into(),
            host: "h".into(),
            port: 1,
            plain_port: 2,
            peer_port: 3,
            ranges: ranges.collect(),
            is_up: true,
        }
    }

    fn ranges_of(view: &ClusterView, id: &str) -> Vec<(u16, u16)> {
        let node = view.node(id.as_bytes()).expect("a node");
        let ranges = node.ranges.iter();
        ranges.map(|range| (range.first, range.last)).collect()
    }

    #[test]
    fn neighbouring_ranges_of_one_leader_are_merged() {
        let shards = [(300, 399), (0, 99), (100, 199), (16_000, 16_383)];
        let view = ClusterView::new(1, "a".into(), vec![node("a", &shards)]);
        assert_eq!(
            ranges_of(&view, "a"),
            [(0, 199), (300, 399), (16_000, 16_383)]
        );
        assert_eq!(view.slots(|_| true), 200 + 100 + 384);
    }

    #[test]
    fn a_slot_has_one_leader_whatever_is_claimed() {
        let view = ClusterView::new(
            1,
            "b".into(),
            vec![node("b", &[(50, 149)]), node("a", &[(0, 99)])],
        );
        assert_eq!(ranges_of(&view, "a"), [(0, 99)]);
        assert_eq!(ranges_of(&view, "b"), [(100, 149)]);
        assert!(view.leads(100) && !view.leads(99) && !view.leads(150));
        assert_eq!(view.leader(99).map(|node| node.id.as_str()), Some("a"));
        assert_eq!(view.leader(150), None);
    }

    #[test]
    fn ranges_of_all_leaders_follow_each_other() {
        let even: Vec<(u16, u16)> = (0..64)
            .step_by(2)
            .map(|at| (at * 256, at * 256 + 255))
            .collect();
        let odd: Vec<(u16, u16)> = (1..64)
            .step_by(2)
            .map(|at| (at * 256, at * 256 + 255))
            .collect();
        let view = ClusterView::new(1, "x".into(), vec![node("b", &odd), node("a", &even)]);
        let mut next = 0;
        for (range, leader) in view.ranges() {
            assert_eq!(range.first, next);
            assert_eq!(leader.id, if next / 256 % 2 == 0 { "a" } else { "b" });
            next = range.last + 1;
        }
        assert_eq!(next, SLOTS);
        assert!(view.own().is_none() && !view.leads(0));
    }

    #[test]
    fn nothing_known_is_a_view_too() {
        let view = ClusterView::default();
        assert_eq!(view.ranges().count(), 0);
        assert!(!view.leads(0) && view.leader(SLOTS - 1).is_none());
    }

    #[test]
    fn ranges_beyond_the_last_slot_are_cut() {
        let view = ClusterView::new(1, "a".into(), vec![node("a", &[(16_000, u16::MAX)])]);
        assert_eq!(ranges_of(&view, "a"), [(16_000, 16_383)]);
    }
}
