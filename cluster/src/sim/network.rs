//! What becomes of a message between two nodes: lost, doubled, late, overtaken, or cut off by a partition. Decides when a
//! message arrives; carrying it there is the caller's. Knows nothing of what messages say.

use super::rng::SimRng;
use super::time::Micros;

/// Nodes that a network may have: a set of them is a bit mask.
pub const NODES_MAX: usize = 32;

/// How bad the network is.
#[derive(Debug, Clone, Copy)]
pub struct NetworkSettings {
    /// The usual delay, from and to, in microseconds. Different delays are what overtaking comes from.
    pub delay_us: (Micros, Micros),
    /// Messages lost.
    pub loss_per_mille: u64,
    /// Messages that arrive twice, each time with a delay of its own.
    pub duplicate_per_mille: u64,
    /// Messages that arrive much later: perhaps when their sender or receiver has died and come back.
    pub late_per_mille: u64,
    /// The most that those are late.
    pub late_us_max: Micros,
}

impl Default for NetworkSettings {
    /// A good network.
    fn default() -> Self {
        Self {
            delay_us: (100, 400),
            loss_per_mille: 0,
            duplicate_per_mille: 0,
            late_per_mille: 0,
            late_us_max: 0,
        }
    }
}

/// A partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Everybody hears everybody.
    Whole,
    /// One node hears nobody and is heard by nobody.
    Isolated(usize),
    /// One node is heard and hears nobody.
    Deaf(usize),
    /// One node hears and is heard by nobody.
    Mute(usize),
    /// The nodes of the mask and the others do not hear each other.
    Halves(u32),
    /// What the first sends does not reach the second; the other way it does.
    OneWay(usize, usize),
    /// Two nodes do not hear each other, though a third hears both.
    Pair(usize, usize),
    /// Two halves that only one node hears both of.
    Bridge(usize),
    /// Every node hears only its neighbours on a circle: each sees a majority (of five), no two the same.
    Ring,
}

/// Who can hear whom, as of now.
#[derive(Debug, Clone)]
pub struct Links {
    nodes: usize,
    shape: Shape,
    /// The partition comes and goes with this half period; 0: it stays.
    flap_us: Micros,
}

impl Links {
    /// All nodes connected.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        assert!(
            nodes <= NODES_MAX,
            "a network has at most {NODES_MAX} nodes"
        );
        Self {
            nodes,
            shape: Shape::Whole,
            flap_us: 0,
        }
    }

    /// Partitions the network; with a half period the partition comes and goes.
    pub fn set(&mut self, shape: Shape, flap_us: Micros) {
        self.shape = shape;
        self.flap_us = flap_us;
    }

    /// The present partition, whether it flaps or not.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Draws a partition of any kind.
    pub fn draw(&self, rng: &mut SimRng) -> Shape {
        let node = rng.index(self.nodes);
        let other = (node + 1 + rng.index(self.nodes.saturating_sub(1))) % self.nodes;
        match rng.below(9) {
            0 | 1 => Shape::Isolated(node),
            2 => Shape::Deaf(node),
            3 => Shape::Mute(node),
            4 => Shape::Halves(rng.below(1 << self.nodes) as u32),
            5 => Shape::OneWay(node, other),
            6 => Shape::Pair(node, other),
            7 => Shape::Bridge(node),
            _ => Shape::Ring,
        }
    }

    /// Whether what one node sends at that instant is on its way to the other.
    #[must_use]
    pub fn carries(&self, now: Micros, from: usize, to: usize) -> bool {
        let is_away = now
            .checked_div(self.flap_us)
            .is_some_and(|half| half % 2 == 1);
        if from == to || is_away {
            return true;
        }
        match self.shape {
            Shape::Whole => true,
            Shape::Isolated(node) => from != node && to != node,
            Shape::Deaf(node) => to != node,
            Shape::Mute(node) => from != node,
            Shape::Halves(mask) => (mask >> from & 1) == (mask >> to & 1),
            Shape::OneWay(sender, receiver) => (from, to) != (sender, receiver),
            Shape::Pair(one, two) => (from, to) != (one, two) && (from, to) != (two, one),
            Shape::Bridge(node) => {
                let side = |other: usize| (other + self.nodes - node) % self.nodes * 2 > self.nodes;
                from == node || to == node || side(from) == side(to)
            }
            Shape::Ring => {
                let apart = (from + self.nodes - to) % self.nodes;
                // Of three everybody is everybody's neighbour: there it is a circle in one direction.
                match self.nodes {
                    0..=3 => apart == 1,
                    _ => apart == 1 || apart == self.nodes - 1,
                }
            }
        }
    }
}

/// What the network has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkCounts {
    pub sent: u64,
    pub cut_off: u64,
    pub lost: u64,
    pub doubled: u64,
    pub late: u64,
}

/// A network that is as bad as its settings.
#[derive(Debug)]
pub struct Network {
    pub settings: NetworkSettings,
    pub links: Links,
    pub counts: NetworkCounts,
    rng: SimRng,
}

/// When the copies of one message arrive: none, one or two.
pub type Arrivals = [Option<Micros>; 2];

impl Network {
    /// A good network of so many nodes.
    #[must_use]
    pub fn new(nodes: usize, rng: SimRng) -> Self {
        Self {
            settings: NetworkSettings::default(),
            links: Links::new(nodes),
            counts: NetworkCounts::default(),
            rng,
        }
    }

    /// Decides about a message that is sent now. A partition that begins later does not stop it.
    pub fn send(&mut self, now: Micros, from: usize, to: usize) -> Arrivals {
        self.counts.sent += 1;
        if !self.links.carries(now, from, to) {
            self.counts.cut_off += 1;
            return [None, None];
        }
        if self.rng.per_mille(self.settings.loss_per_mille) {
            self.counts.lost += 1;
            return [None, None];
        }
        let first = Some(self.arrival(now));
        let second = self.rng.per_mille(self.settings.duplicate_per_mille);
        self.counts.doubled += u64::from(second);
        [first, second.then(|| self.arrival(now))]
    }

    /// A delay for something that is never lost, such as a client's request.
    pub fn delay(&mut self) -> Micros {
        let (low, high) = self.settings.delay_us;
        self.rng.between(low, high)
    }

    fn arrival(&mut self, now: Micros) -> Micros {
        let mut delay = self.delay();
        if self.rng.per_mille(self.settings.late_per_mille) {
            self.counts.late += 1;
            delay += self.rng.below(self.settings.late_us_max + 1);
        }
        now + delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who hears whom, as pairs of sender and receiver that are cut off.
    fn cut(nodes: usize, shape: Shape) -> Vec<(usize, usize)> {
        let mut links = Links::new(nodes);
        links.set(shape, 0);
        let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
        pairs
            .filter(|&(from, to)| !links.carries(0, from, to))
            .collect()
    }

    #[test]
    fn each_partition_cuts_what_its_name_says() {
        assert_eq!(cut(3, Shape::Whole), []);
        assert_eq!(cut(3, Shape::Isolated(1)), [(0, 1), (1, 0), (1, 2), (2, 1)]);
        assert_eq!(cut(3, Shape::Deaf(1)), [(0, 1), (2, 1)]);
        assert_eq!(cut(3, Shape::Mute(1)), [(1, 0), (1, 2)]);
        assert_eq!(
            cut(3, Shape::Halves(0b100)),
            [(0, 2), (1, 2), (2, 0), (2, 1)]
        );
        assert_eq!(cut(3, Shape::OneWay(0, 2)), [(0, 2)]);
        assert_eq!(cut(3, Shape::Pair(0, 2)), [(0, 2), (2, 0)]);
        assert_eq!(cut(3, Shape::Bridge(1)), [(0, 2), (2, 0)]);
        assert_eq!(cut(3, Shape::Ring), [(0, 1), (1, 2), (2, 0)]);
    }

    #[test]
    fn in_a_ring_of_five_each_node_hears_a_majority_and_no_two_the_same() {
        let mut links = Links::new(5);
        links.set(Shape::Ring, 0);
        let heard = |node| -> Vec<usize> {
            let others = 0..5;
            others
                .filter(|&from| links.carries(0, from, node))
                .collect()
        };
        let all: Vec<Vec<usize>> = (0..5).map(heard).collect();
        assert!(all.iter().all(|heard| heard.len() == 3));
        assert!((0..5).all(|at| (at + 1..5).all(|other| all[at] != all[other])));
    }

    #[test]
    fn a_bridge_of_five_joins_two_halves() {
        let cut = cut(5, Shape::Bridge(0));
        assert_eq!(cut.len(), 8);
        assert!(cut.iter().all(|&(from, to)| from != 0 && to != 0));
    }

    #[test]
    fn a_flapping_partition_comes_and_goes() {
        let mut links = Links::new(3);
        links.set(Shape::Isolated(0), 1000);
        let carried: Vec<bool> = (0..4)
            .map(|half| links.carries(half * 1000, 0, 1))
            .collect();
        assert_eq!(carried, [false, true, false, true]);
    }

    #[test]
    fn messages_are_lost_doubled_late_and_overtaken_as_set() {
        let mut network = Network::new(3, SimRng::new(5));
        network.settings = NetworkSettings {
            delay_us: (100, 1000),
            loss_per_mille: 100,
            duplicate_per_mille: 100,
            late_per_mille: 50,
            late_us_max: 1_000_000,
        };
        let arrivals: Vec<Arrivals> = (0..2000).map(|now| network.send(now, 0, 1)).collect();
        let counts = network.counts;
        assert_eq!((counts.sent, counts.cut_off), (2000, 0));
        for count in [counts.lost, counts.doubled] {
            assert!((120..300).contains(&count), "{counts:?}");
        }
        assert!((50..200).contains(&counts.late), "{counts:?}");
        let first: Vec<Micros> = arrivals.iter().filter_map(|both| both[0]).collect();
        assert!(first.windows(2).any(|pair| pair[0] > pair[1]));
        let mut again = Network::new(3, SimRng::new(5));
        again.settings = network.settings;
        assert!((0..2000).all(|now| again.send(now, 0, 1) == arrivals[now as usize]));
    }

    #[test]
    fn a_partition_cuts_off_what_is_sent_while_it_lasts() {
        let mut network = Network::new(3, SimRng::new(5));
        network.links.set(Shape::OneWay(0, 1), 0);
        assert_eq!(network.send(0, 0, 1), [None, None]);
        assert!(network.send(0, 1, 0)[0].is_some());
        assert_eq!(network.counts.cut_off, 1);
    }

    #[test]
    fn every_kind_of_partition_is_drawn() {
        let links = Links::new(3);
        let mut rng = SimRng::new(1);
        let drawn: Vec<Shape> = (0..300).map(|_| links.draw(&mut rng)).collect();
        let kinds = drawn.iter().map(std::mem::discriminant);
        let kinds: std::collections::HashSet<_> = kinds.collect();
        assert_eq!(kinds.len(), 8);
        for shape in drawn {
            if let Shape::OneWay(one, two) | Shape::Pair(one, two) = shape {
                assert!(one != two && one < 3 && two < 3);
            }
        }
    }
}
