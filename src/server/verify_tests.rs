//! Copies on real nodes in one process are compared while clients write: equal ones are found equal, others are named.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::node::operator::{
    OperatorAnswer, OperatorError, OperatorQuestion, Refusal, VerifiedShard, VerifyView,
};
use crate::node::report::NodeHandle;
use crate::store::{Deadline, Timestamp};

use super::peers_tests::Client;
use super::revival_tests::{all_whole, three, until, Member, SHARDS};

impl Member {
    fn try_verify(&self, shard: Option<u32>) -> Result<VerifyView, OperatorError> {
        let answer = self.shared().operate(OperatorQuestion::Verify { shard });
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        match runtime.unwrap().block_on(answer) {
            OperatorAnswer::Verify(view) => Ok(view),
            OperatorAnswer::Refused(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    fn verify(&self) -> VerifyView {
        self.try_verify(None).unwrap()
    }

    fn name(&self) -> String {
        self.shared().node_id().to_string()
    }

    /// Changes a key past the log.
    fn corrupt(&self, shard: u16) {
        let (tell, told) = channel();
        self.shared().task(0, move |worker| {
            let place = worker.place(shard);
            let keyspace = worker.shards[place].databases.keyspace_mut(0);
            keyspace.set_str(b"odd", b"one", Deadline::None, Timestamp(0));
            tell.send(()).unwrap();
        });
        told.recv().unwrap();
    }
}

/// Clients that write all types of values until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Load {
    fn on(members: &[Member]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writes = |(seed, member): (usize, &Member)| {
            let (stop, client) = (stop.clone(), member.client());
            std::thread::spawn(move || write_on(client, seed as u64, &stop))
        };
        let threads = members.iter().enumerate().map(writes).collect();
        Self { stop, threads }
    }

    /// How many commands were carried out.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let threads = self.threads.into_iter();
        threads.map(|thread| thread.join().unwrap()).sum()
    }
}

fn write_on(mut client: Client, seed: u64, stop: &AtomicBool) -> u64 {
    let mut done = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let n = done.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(seed) >> 40;
        let commands = commands(n);
        let lines: Vec<&str> = commands.iter().map(String::as_str).collect();
        client.send(&lines);
        for line in lines {
            // A leader may change: what is refused or unknown then is no matter here.
            let reply = client.reply();
            assert!(!reply.starts_with("-ERR"), "{line}: {reply}");
            done += 1;
        }
    }
    done
}

fn commands(n: u64) -> [String; 8] {
    let key = n % 300;
    [
        format!("SET str:{key} {n}"),
        format!("SET due:{n} {n} PX {}", 1 + n % 40),
        format!("RPUSH list:{key} {n}"),
        format!("SADD set:{key} {n} a{n}"),
        format!("SPOP set:{}", n % 7),
        format!("HSET hash:{key} f{} {n}", n % 50),
        format!("ZADD zset:{key} {n} m{}", n % 50),
        format!("DEL list:{}", n % 11),
    ]
}

fn is_equal(shard: &VerifiedShard) -> bool {
    let first = shard.replicas[0].digest.clone();
    first.is_some() && shard.replicas.iter().all(|copy| copy.digest == first)
}

#[test]
fn copies_are_equal_behind_one_entry_while_clients_write() {
    let first = Member::new(None);
    let mut client = first.client();
    for n in 0..500 {
        for line in commands(n) {
            client.ask(&line);
        }
    }
    // The others get what there is as snapshots.
    let join = Some(first.peer_port);
    let members = [first, Member::new(join), Member::new(join)];
    all_whole(&members);
    let load = Load::on(&members);
    let mut before = [0; SHARDS];
    for _ in 0..3 {
        for member in &members {
            let view = member.verify();
            let counts = (view.equal as usize, view.differ, view.incomplete);
            assert_eq!(counts, (SHARDS, 0, 0), "{view:?}");
            for (number, shard) in view.shards.iter().enumerate() {
                assert_eq!((shard.shard as usize, shard.replicas.len()), (number, 3));
                assert!(is_equal(shard) && shard.index > before[number]);
                assert!(shard.replicas.iter().all(|copy| copy.keys > 0));
                before[number] = shard.index;
            }
        }
    }
    assert!(load.stop() > 0);
}

#[test]
fn a_copy_that_differs_is_told_and_the_others_are_equal() {
    let members = three();
    members[1].corrupt(2);
    let view = members[0].verify();
    let counts = (view.equal as usize, view.differ, view.incomplete);
    assert_eq!(counts, (SHARDS - 1, 1, 0), "{view:?}");
    let odd = members[1].name();
    let digest = |view: &VerifyView, is_odd: bool| {
        let shard = view.shards.iter().find(|shard| shard.shard == 2).unwrap();
        let copies = shard.replicas.iter();
        let copies = copies.filter(|copy| (copy.node == odd) == is_odd);
        let mut all: Vec<_> = copies
            .map(|copy| (copy.digest.clone(), copy.keys))
            .collect();
        all.dedup();
        assert_eq!(all.len(), 1, "{shard:?}");
        all.remove(0)
    };
    let (ours, theirs) = (digest(&view, false), digest(&view, true));
    assert_ne!(ours.0, theirs.0);
    assert_eq!(ours.1 + 1, theirs.1);
    let one = members[2].try_verify(Some(2)).unwrap();
    assert_eq!((one.differ, one.shards.len()), (1, 1));
    assert_eq!(digest(&one, false), ours, "nobody has written since");
    let error = members[2].try_verify(Some(SHARDS as u32)).unwrap_err();
    assert_eq!(error.kind, Refusal::NotFound);
}

/// A copy that moved while it was compared made its shard incomplete, and an operator had to find out by hand that nothing was wrong.
#[test]
fn copies_that_were_disturbed_are_compared_again() {
    let members = three();
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, disturbed) = (stop.clone(), members[1].shared().clone());
    // Nothing can be compared while this goes on.
    let disturber = std::thread::spawn(move || {
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until && !stopped.load(Ordering::Relaxed) {
            disturbed.task(0, |worker| worker.give_up_digests("a test disturbs it"));
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let view = members[0].verify();
    stop.store(true, Ordering::Relaxed);
    disturber.join().unwrap();
    let counts = (view.equal as usize, view.differ, view.incomplete);
    assert_eq!(counts, (SHARDS, 0, 0), "{view:?}");
}

#[test]
fn a_node_that_is_down_leaves_the_comparison_incomplete_and_is_named() {
    let mut members = three();
    let gone = members[2].name();
    members[2].end();
    let began = Instant::now();
    let view = members[0].verify();
    assert!(began.elapsed() < Duration::from_secs(30), "{view:?}");
    let counts = (view.equal, view.differ, view.incomplete as usize);
    assert_eq!(counts, (0, 0, SHARDS), "{view:?}");
    for shard in &view.shards {
        for copy in &shard.replicas {
            let is_gone = copy.node == gone;
            assert_eq!(
                (copy.digest.is_none(), copy.error.is_some()),
                (is_gone, is_gone),
                "{copy:?}"
            );
        }
    }
    members[2].start();
    until("all are compared again", || {
        let view = members[2].try_verify(None);
        view.is_ok_and(|view| view.equal as usize == SHARDS)
    });
}
