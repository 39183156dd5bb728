//! Lists against a plain vector, over both encodings and small nodes.

use super::*;
use proptest::prelude::*;

fn limits(list_max_listpack_size: i32) -> Limits {
    Limits {
        list_max_listpack_size,
        ..Limits::default()
    }
}

fn list_of(values: &[&str], limits: &Limits) -> List {
    let mut list = List::new();
    list.extend(Side::Tail, values.iter().map(|v| v.as_bytes()), limits);
    list
}

fn contents(list: &List) -> Vec<Vec<u8>> {
    list.iter().map(|e| e.to_vec()).collect()
}

/// Sums what the list keeps as running numbers, and checks that no node is empty.
fn check(list: &List) {
    let Repr::Quick(quick) = &list.repr else {
        return;
    };
    let (mut len, mut heap) = (0, 0);
    for node in quick.nodes() {
        let (count, bytes) = match node {
            NodeRef::Packed(listpack) => (listpack.len(), listpack.heap_bytes()),
            NodeRef::Plain(bytes) => (1, allocation_bytes(bytes.len())),
        };
        assert!(count > 0, "an empty node");
        len += count;
        heap += bytes;
    }
    assert_eq!(len, list.len());
    let chain = quick.heap_bytes() - heap;
    let nodes = quick.nodes().count();
    assert!(chain >= nodes * 24 && chain <= allocation_bytes(24 * 32.max(nodes * 5)));
}

#[test]
fn a_list_turns_into_a_quicklist_at_the_limit_and_back_at_half_of_it() {
    let limits = limits(4);
    let mut list = list_of(&["a", "b", "c", "d"], &limits);
    assert_eq!(list.encoding(), "listpack");
    list.push(Side::Tail, b"e", &limits);
    assert_eq!(list.encoding(), "quicklist");
    // a b c d | e: the first node leaves, one element is at most half.
    list.drop_end(Side::Head, 3, &limits);
    assert_eq!(list.encoding(), "quicklist");
    list.drop_end(Side::Head, 1, &limits);
    assert_eq!(list.encoding(), "listpack");
    assert_eq!(contents(&list), [b"e"]);
}

#[test]
fn a_batch_is_measured_before_it_is_added() {
    let limits = Limits::default();
    let mut list = List::new();
    list.extend(Side::Tail, (0..8000).map(|_| b"x".as_slice()), &limits);
    assert_eq!(list.encoding(), "listpack");
    list.push(Side::Tail, b"x", &limits);
    assert_eq!(list.encoding(), "quicklist");
    assert_eq!(list.len(), 8001);
    check(&list);
}

#[test]
fn a_list_by_size_turns_back_at_half_the_bytes() {
    let limits = Limits::default();
    let value = [b'x'; 1000];
    let mut list = List::new();
    for _ in 0..8 {
        list.push(Side::Tail, &value, &limits);
    }
    assert_eq!(list.encoding(), "listpack");
    list.push(Side::Tail, &value, &limits);
    assert_eq!(list.encoding(), "quicklist");
    list.drop_end(Side::Tail, 4, &limits);
    assert_eq!((list.len(), list.encoding()), (5, "quicklist"));
    list.drop_end(Side::Tail, 1, &limits);
    assert_eq!((list.len(), list.encoding()), (4, "listpack"));
}

#[test]
fn an_element_too_big_for_a_node_gets_one_alone() {
    let limits = Limits::default();
    let big = vec![b'x'; 10_000];
    let mut list = list_of(&["a", "c"], &limits);
    assert!(list.insert(b"c", &big, true, &limits));
    assert_eq!(list.encoding(), "quicklist");
    assert_eq!(list.nodes().count(), 3);
    assert!(matches!(list.nodes().nth(1), Some(NodeRef::Plain(bytes)) if bytes == big));
    assert!(list.set(1, b"b", &limits));
    assert_eq!(contents(&list), [b"a", b"b", b"c"]);
    assert!(list.set(0, &big, &limits));
    assert!(matches!(list.nodes().next(), Some(NodeRef::Plain(_))));
    check(&list);
}

#[test]
fn a_lone_big_element_is_a_listpack_again_where_elements_are_counted() {
    let limits = limits(10);
    let big = "x".repeat(20_000);
    let mut list = list_of(&[&big, "b"], &limits);
    assert_eq!(list.encoding(), "quicklist");
    list.drop_end(Side::Tail, 1, &limits);
    assert_eq!(list.encoding(), "listpack");
    assert_eq!(contents(&list), [big.as_bytes()]);
}

#[test]
fn a_rotated_list_keeps_its_encoding() {
    let limits = Limits::default();
    let mut list = List::new();
    (0..90).for_each(|i| list.push(Side::Tail, format!("{i:0>91}").as_bytes(), &limits));
    assert_eq!((list.nodes().count(), list.encoding()), (2, "quicklist"));
    // Down to one node just above half of the limit.
    list.drop_end(Side::Tail, 46, &limits);
    assert_eq!((list.nodes().count(), list.encoding()), (1, "quicklist"));
    assert_eq!(
        list.rotate(Side::Head, Side::Tail, &limits).unwrap().len(),
        91
    );
    assert_eq!((list.len(), list.encoding()), (44, "quicklist"));
    list.drop_end(Side::Head, 1, &limits);
    assert_eq!((list.len(), list.encoding()), (43, "listpack"));
    assert!(list
        .peek(Side::Tail)
        .unwrap()
        .eq_bytes(format!("{:0>91}", 0).as_bytes()));
    assert_eq!(List::new().rotate(Side::Head, Side::Tail, &limits), None);
}

#[test]
fn settling_chooses_the_encoding_by_size_alone() {
    let limits = limits(4);
    let node = |values: &[&str]| OwnedNode::Packed(values.iter().map(|v| v.as_bytes()).collect());
    let mut one = List::from_nodes([node(&["a", "b", "c", "d"]), node(&[])]);
    assert_eq!(one.encoding(), "quicklist");
    one.settle(&limits);
    assert_eq!(one.encoding(), "listpack");
    let mut two = List::from_nodes([node(&["a"]), node(&["b"])]);
    two.settle(&limits);
    assert_eq!(two.encoding(), "quicklist");
    let mut long = List::from_listpack(
        ["a", "b", "c", "d", "e"]
            .iter()
            .map(|v| v.as_bytes())
            .collect(),
    );
    long.settle(&limits);
    assert_eq!((long.encoding(), long.len()), ("quicklist", 5));
    let built = List::from_values(contents(&long).iter().map(|v| v.as_slice()), &limits);
    assert_eq!((built.encoding(), &built), ("quicklist", &long));
}

#[test]
fn positions_come_in_the_order_they_are_met() {
    let list = list_of(&["a", "b", "c", "b", "b"], &limits(2));
    let from = |side, max_len| list.positions(b"b", side, max_len).collect::<Vec<_>>();
    assert_eq!(from(Side::Head, usize::MAX), [1, 3, 4]);
    assert_eq!(from(Side::Tail, usize::MAX), [4, 3, 1]);
    assert_eq!(from(Side::Tail, 2), [4, 3]);
    assert_eq!(from(Side::Head, 1), [0usize; 0]);
    assert_eq!(List::new().positions(b"b", Side::Tail, 9).count(), 0);
}

#[test]
fn nodes_rebuild_the_same_list() {
    let limits = limits(3);
    let mut list = List::new();
    (0..20).for_each(|i| list.push(Side::Tail, i.to_string().as_bytes(), &limits));
    let copy = List::from_nodes(list.nodes().map(|node| match node {
        NodeRef::Packed(listpack) => OwnedNode::Packed(listpack.clone()),
        NodeRef::Plain(bytes) => OwnedNode::Plain(bytes.into()),
    }));
    assert_eq!(copy, list);
    assert_eq!(copy.nodes().count(), list.nodes().count());
    assert_eq!(list.clone(), list);
}

#[test]
fn a_node_costs_24_bytes_in_the_chain() {
    assert_eq!(std::mem::size_of::<node::Node>(), 24);
}

#[derive(Clone, Debug)]
enum Change {
    Extend(bool, Vec<Vec<u8>>),
    Pop(bool),
    Set(i64, Vec<u8>),
    Insert(Vec<u8>, Vec<u8>, bool),
    Remove(i64, Vec<u8>),
    RemoveRange(usize, usize),
    Trim(usize, usize),
}

fn small() -> impl Strategy<Value = Vec<u8>> {
    (0u8..12).prop_map(|v| v.to_string().into_bytes())
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => small(),
        2 => (0usize..300).prop_map(|len| vec![b'y'; len]),
        1 => (3000usize..9000).prop_map(|len| vec![b'z'; len]),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (any::<bool>(), proptest::collection::vec(value(), 1..8)).prop_map(|(h, v)| Change::Extend(h, v)),
        2 => any::<bool>().prop_map(Change::Pop),
        3 => (-40i64..40, value()).prop_map(|(i, v)| Change::Set(i, v)),
        6 => (small(), value(), any::<bool>()).prop_map(|(p, v, b)| Change::Insert(p, v, b)),
        1 => (-3i64..4, small()).prop_map(|(n, v)| Change::Remove(n, v)),
        1 => (0usize..40, 0usize..10).prop_map(|(s, n)| Change::RemoveRange(s, n)),
        1 => (0usize..5, 10usize..60).prop_map(|(s, n)| Change::Trim(s, n)),
    ]
}

fn apply(list: &mut List, model: &mut Vec<Vec<u8>>, change: Change, limits: &Limits) {
    match change {
        Change::Extend(head, values) => {
            let side = if head { Side::Head } else { Side::Tail };
            list.extend(side, values.iter().map(|v| v.as_slice()), limits);
            for v in values {
                model.insert(if head { 0 } else { model.len() }, v);
            }
        }
        Change::Pop(head) => {
            let side = if head { Side::Head } else { Side::Tail };
            let wanted = match head {
                true if !model.is_empty() => Some(model.remove(0)),
                _ => model.pop(),
            };
            assert_eq!(list.pop(side, limits), wanted);
        }
        Change::Set(i, v) => {
            let at = if i < 0 { i + model.len() as i64 } else { i };
            let exists = at >= 0 && (at as usize) < model.len();
            assert_eq!(list.set(i, &v, limits), exists);
            if exists {
                model[at as usize] = v;
            }
        }
        Change::Insert(pivot, v, before) => {
            let at = model.iter().position(|e| *e == pivot);
            assert_eq!(list.insert(&pivot, &v, before, limits), at.is_some());
            if let Some(at) = at {
                model.insert(if before { at } else { at + 1 }, v);
            }
        }
        Change::Remove(count, v) => {
            let mut left = if count == 0 {
                usize::MAX
            } else {
                count.unsigned_abs() as usize
            };
            let before = model.len();
            if count < 0 {
                model.reverse();
            }
            model.retain(|e| {
                *e != v || left == 0 || {
                    left -= 1;
                    false
                }
            });
            if count < 0 {
                model.reverse();
            }
            assert_eq!(list.remove(count, &v, limits), before - model.len());
        }
        Change::RemoveRange(start, count) => {
            list.remove_range(start, count, limits);
            let start = start.min(model.len());
            model.drain(start..(start + count).min(model.len()));
        }
        Change::Trim(start, count) => {
            list.trim(start, count, limits);
            model.truncate(start + count);
            model.drain(..start.min(model.len()));
        }
    }
}

proptest! {
    #[test]
    fn any_changes_do_what_a_vector_does(
        size in prop_oneof![Just(-2), Just(-1), Just(-9), Just(0), 1i32..12],
        changes in proptest::collection::vec(change(), 0..60),
    ) {
        let limits = limits(size);
        let mut list = List::new();
        let mut model: Vec<Vec<u8>> = Vec::new();
        for change in changes {
            apply(&mut list, &mut model, change, &limits);
            check(&list);
            prop_assert_eq!(list.len(), model.len());
            prop_assert_eq!(&contents(&list), &model);
            prop_assert_eq!(list.is_empty(), model.is_empty());
            for i in 0..model.len() {
                prop_assert!(list.get(i as i64).unwrap().eq_bytes(&model[i]));
                prop_assert!(list.get(i as i64 - model.len() as i64).unwrap().eq_bytes(&model[i]));
                prop_assert_eq!(list.iter_from(i).count(), model.len() - i);
                let back: Vec<_> = list.iter_back_from(i).map(|e| e.to_vec()).collect();
                prop_assert!(back.iter().eq(model[..=i].iter().rev()));
            }
            prop_assert_eq!(list.get(model.len() as i64), None);
            prop_assert_eq!(list.get(-(model.len() as i64) - 1), None);
            let values = model.iter().map(|v| v.as_slice());
            prop_assert_eq!(&List::from_values(values, &limits), &list);
        }
        check(&list.clone());
    }

    #[test]
    fn inserting_and_setting_keep_nodes_within_the_limit(changes in proptest::collection::vec(change(), 0..80)) {
        let limits = limits(-1);
        let mut list = List::from_nodes([]);
        let mut model = Vec::new();
        for change in changes {
            apply(&mut list, &mut model, change, &limits);
            if list.encoding() == "quicklist" {
                for node in list.nodes() {
                    if let NodeRef::Packed(listpack) = node {
                        prop_assert!(listpack.bytes() <= 4096 + 8 * 8);
                    }
                }
            }
        }
    }
}
