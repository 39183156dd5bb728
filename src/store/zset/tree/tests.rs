//! The tree against a sorted vector.

use super::node::NodeCount;
use super::*;
use proptest::prelude::*;

/// Entries ordered by (score, id): the id stands for its member.
fn seek(score: f64, id: u32) -> impl Seek {
    move |entry: Entry| {
        entry
            .score
            .total_cmp(&score)
            .then_with(|| entry.id.cmp(&id))
    }
}

fn add(tree: &mut Tree, score: f64, id: u32) {
    tree.insert(Entry { score, id }, seek(score, id));
}

impl Tree {
    pub fn len(&self) -> usize {
        self.len
    }

    /// Checks every node, and that the running counts are what a recount says.
    pub fn check(&self) {
        let mut nodes = NodeCount::default();
        self.root.check(self.root.depth(), &mut nodes);
        assert_eq!(nodes, self.nodes);
        assert_eq!(self.range(0, usize::MAX).count(), self.len);
    }
}

#[test]
fn nodes_fill_their_allocations() {
    assert_eq!(size_of::<Leaf>(), 760);
    assert_eq!(size_of::<Child>(), 40);
}

#[test]
fn ascending_entries_leave_full_leaves() {
    let mut tree = Tree::new();
    for id in 0..63 * 200 {
        add(&mut tree, f64::from(id), id);
    }
    tree.check();
    assert_eq!(tree.nodes.leaves, 200);
}

#[test]
fn memory_stays_within_bounds_while_most_entries_leave() {
    let mut tree = Tree::new();
    for id in 0..100_000u32 {
        // A stride that is prime to the size: a scattered order without repeats.
        let scattered = (u64::from(id) * 7919 % 100_000) as u32;
        add(&mut tree, f64::from(scattered), scattered);
    }
    tree.check();
    assert!(tree.heap_bytes() < 100_000 * 26);
    for id in (0..100_000).filter(|id| id % 10 != 0) {
        assert!(tree.remove(seek(f64::from(id), id)));
    }
    tree.check();
    assert_eq!(tree.len(), 10_000);
    assert!(tree.heap_bytes() < 10_000 * 50);
    for id in (0..100_000).filter(|id| id % 10 == 0) {
        assert!(tree.remove(seek(f64::from(id), id)));
    }
    assert_eq!((tree.len(), tree.nodes), (0, Tree::new().nodes));
}

#[test]
fn ranges_meet_from_both_ends() {
    let mut tree = Tree::new();
    for id in 0..1000 {
        add(&mut tree, 0.0, id);
    }
    let mut range = tree.range(100, 900);
    let (mut front, mut back) = (100, 900);
    while let Some(entry) = range.next() {
        assert_eq!(entry.id, front);
        front += 1;
        if let Some(entry) = range.next_back() {
            back -= 1;
            assert_eq!(entry.id, back);
        }
    }
    assert_eq!(front, back);
    assert_eq!(tree.range(5, 3).count(), 0);
    assert_eq!(tree.range(990, 5000).rev().nth(2).map(|e| e.id), Some(997));
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u8, u32),
    RemoveAt(usize),
    Renumber(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        5 => (any::<u8>(), 0..1_000_000u32).prop_map(|(score, id)| Op::Insert(score, id)),
        3 => any::<usize>().prop_map(Op::RemoveAt),
        1 => any::<usize>().prop_map(Op::Renumber),
    ];
    prop::collection::vec(op, 0..1500)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn behaves_like_a_sorted_vector(ops in ops()) {
        let (mut tree, mut model) = (Tree::new(), Vec::<(u8, u32)>::new());
        for op in ops {
            match op {
                Op::Insert(score, id) => {
                    if let Err(at) = model.binary_search(&(score, id)) {
                        model.insert(at, (score, id));
                        add(&mut tree, f64::from(score), id);
                    }
                }
                Op::RemoveAt(at) if !model.is_empty() => {
                    let (score, id) = model.remove(at % model.len());
                    prop_assert!(tree.remove(seek(f64::from(score), id)));
                    prop_assert!(!tree.remove(seek(f64::from(score), id)));
                }
                Op::Renumber(at) if !model.is_empty() => {
                    let at = at % model.len();
                    let (score, id) = model[at];
                    // The next number keeps the order, as a moved member does.
                    if model.get(at + 1) != Some(&(score, id + 1)) {
                        tree.renumber(id + 1, seek(f64::from(score), id));
                        model[at].1 = id + 1;
                    }
                }
                _ => {}
            }
            prop_assert_eq!(tree.len(), model.len());
        }
        tree.check();
        prop_assert!(tree.range(0, usize::MAX).map(|e| (e.score as u8, e.id)).eq(model.iter().copied()));
        for (rank, &(score, id)) in model.iter().enumerate() {
            let found = seek(f64::from(score), id);
            prop_assert_eq!(tree.rank(|e| found(e) == Ordering::Less), rank);
            prop_assert_eq!(tree.at(rank), Entry { score: f64::from(score), id });
        }
        let copy = tree.clone();
        copy.check();
        prop_assert_eq!(copy.heap_bytes(), tree.heap_bytes());
    }
}
