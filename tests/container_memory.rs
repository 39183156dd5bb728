//! What containers say they take is what the allocator handed out: eviction and MEMORY USAGE
//! rest on it.

use ringfort::store::list::Side;
use ringfort::store::{Hash, Limits, List, Set, ZSet};
use tikv_jemalloc_ctl::thread;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Bytes this thread holds more after `make` than before, and what `make` made.
fn measured<T>(make: impl FnOnce() -> T) -> (i64, T) {
    let held = || {
        let allocated = thread::allocatedp::read().expect("jemalloc counts").get();
        let freed = thread::deallocatedp::read().expect("jemalloc counts").get();
        allocated as i64 - freed as i64
    };
    let before = held();
    let made = make();
    (held() - before, made)
}

#[track_caller]
fn assert_close(truth: i64, told: usize) {
    let apart = (truth - told as i64).abs() as f64 / truth as f64;
    assert!(apart < 0.05, "{told} bytes told, {truth} taken");
}

#[test]
fn sets_know_their_memory() {
    let limits = Limits::default();
    for (count, width) in [(100, 1), (500, 3), (100, 20), (3000, 16), (200_000, 9)] {
        let (truth, mut set) = measured(|| {
            let mut set = Set::new();
            for n in 0..count {
                set.add(format!("{n:0width$}").as_bytes(), &limits);
            }
            set
        });
        assert_close(truth, set.heap_bytes());
        let (change, set) = measured(|| {
            for n in 0..count * 3 / 4 {
                set.remove(format!("{n:0width$}").as_bytes());
            }
            set
        });
        assert_close(truth + change, set.heap_bytes());
        let (truth, copy) = measured(|| set.clone());
        assert_close(truth, copy.heap_bytes());
    }
}

#[test]
fn sorted_sets_know_their_memory() {
    let limits = Limits::default();
    for (count, width) in [(100, 4), (100, 70), (3000, 16), (200_000, 9)] {
        let (truth, mut zset) = measured(|| {
            let mut zset = ZSet::default();
            for n in 0..count {
                let score = (n * 7919 % count) as f64 / 4.0;
                zset.insert(format!("{n:0width$}").as_bytes(), score, &limits);
            }
            zset
        });
        assert_close(truth, zset.heap_bytes());
        let (change, zset) = measured(|| {
            for n in 0..count * 3 / 4 {
                zset.remove(format!("{n:0width$}").as_bytes());
            }
            zset
        });
        assert_close(truth + change, zset.heap_bytes());
        let (truth, copy) = measured(|| zset.clone());
        assert_close(truth, copy.heap_bytes());
    }
}

#[test]
fn lists_know_their_memory() {
    let limits = Limits::default();
    for (count, width) in [(10, 20), (100, 1), (3000, 16), (200_000, 9), (2000, 9000)] {
        let (truth, mut list) = measured(|| {
            let mut list = List::new();
            for n in 0..count {
                let side = if n % 3 == 0 { Side::Head } else { Side::Tail };
                list.push(side, format!("{n:0width$}").as_bytes(), &limits);
            }
            list
        });
        assert_close(truth, list.heap_bytes());
        let (change, list) = measured(|| {
            list.trim(count / 2, count / 4, &limits);
            list
        });
        assert_close(truth + change, list.heap_bytes());
        let (truth, copy) = measured(|| list.clone());
        assert_close(truth, copy.heap_bytes());
    }
}

#[test]
fn hashes_know_their_memory() {
    let limits = Limits::default();
    for (count, width) in [(10, 20), (100, 1), (100, 70), (3000, 16), (200_000, 9)] {
        let (truth, mut hash) = measured(|| {
            let mut hash = Hash::new();
            for n in 0..count {
                let field = format!("field:{n:0width$}");
                hash.set(field.as_bytes(), &field.as_bytes()[..width], &limits);
            }
            hash
        });
        assert_close(truth, hash.heap_bytes());
        let (change, hash) = measured(|| {
            for n in 0..count * 3 / 4 {
                hash.remove(format!("field:{n:0width$}").as_bytes());
            }
            hash
        });
        assert_close(truth + change, hash.heap_bytes());
        let (truth, copy) = measured(|| hash.clone());
        assert_close(truth, copy.heap_bytes());
    }
}
