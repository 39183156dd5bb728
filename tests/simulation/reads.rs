//! What clients ask of a shard, on the ways of production: reads at once under a lease or later when there is one, writes and
//! what follows them through the log.

use ringfort::commands::{registry, Registered, Run};
use ringfort::node::outbox::{Seq, Target, Waiter};
use ringfort::protocol::{OwnedArgs, Proto};
use ringfort::store::Timestamp;
use ringfort_cluster::{Monotonic, ShardId};

use crate::context::Context;
use crate::plan::Bug;
use crate::worker::{Answers, Place, Worker};

/// What a client asks of a shard.
pub struct Question<'a> {
    pub op: u32,
    pub attempt: u32,
    pub args: &'a OwnedArgs,
    pub shard: ShardId,
}

/// A read that waits for a lease.
pub struct Held {
    op: u32,
    attempt: u32,
    args: OwnedArgs,
}

impl Question<'_> {
    fn target(&self) -> Target {
        target(self.op, self.attempt)
    }
}

fn target(op: u32, attempt: u32) -> Target {
    Target {
        worker: 0,
        waiter: Waiter::Client {
            conn: op,
            uses: attempt,
            seq: Seq(0),
        },
        proto: Proto::Resp2,
        untouched: false,
    }
}

fn find(args: &OwnedArgs) -> &'static Registered {
    let found = registry().find(args.as_args().at(0));
    found.expect("a known command")
}

impl Place {
    /// Refuses what waits for a lease.
    pub fn refuse_waiting(&mut self, reply: &[u8], answers: &mut Answers) {
        for held in self.waiting.drain(..) {
            answers.put(held.op, held.attempt, reply.to_vec());
        }
    }

    /// A mistake keeps the lease that is given up here.
    pub fn note_lease(&mut self, context: &Context) {
        if context.has_bug(Bug::LeaseKeptInTransfer) {
            self.kept_lease = self.shard.replica.lease_end();
        }
    }

    /// Whether a read may see what is applied here.
    fn may_read(&self, now: Monotonic, context: &Context) -> bool {
        let replica = &self.shard.replica;
        let mistaken = match context.plan.bug {
            Some(Bug::ReadFromFollower) => true,
            Some(Bug::ReadWithoutLease) => self.shard.leads(),
            Some(Bug::LeaseKeptInTransfer) => {
                replica.is_leader() && self.kept_lease.is_some_and(|until| now < until)
            }
            _ => false,
        };
        mistaken || self.shard.may_read(now)
    }

    /// Says who leads, by the number of the machine and one more.
    fn not_leader(&self) -> Vec<u8> {
        let leader = self.shard.replica.leader();
        let nodes = self.shard.standing.nodes.iter();
        let known = nodes.clone().find(|(id, _)| Some(*id) == leader);
        let hint = known.map_or(0, |(_, node)| crate::cluster::machine_of(*node) + 1);
        format!("-NOTLEADER {hint}\r\n").into_bytes()
    }
}

impl Worker {
    /// Takes a client's command; what cannot be taken is answered at once.
    pub fn ask(
        &mut self,
        question: &Question,
        (wall, now): (Timestamp, Monotonic),
        context: &mut Context,
    ) {
        let bug = context.plan.bug;
        let Some(place) = self.place(question.shard) else {
            return;
        };
        let args = question.args.as_args();
        let command = find(question.args);
        let is_read = matches!(command.command.run, Run::Read(_));
        let mut answers = Answers::default();
        // Invariant 2: who has not applied an entry of its own term does not know the last stamp of its log.
        let too_early = bug == Some(Bug::ProposesTooEarly) && place.shard.replica.is_leader();
        let leads = place.shard.standing.is_held && (place.shard.leads() || too_early);
        // Now and then as behind a write of the same connection.
        let through_log = is_read && context.rng.one_in(8);
        if !place.shard.standing.is_held {
            answers.put(question.op, question.attempt, place.not_leader());
        } else if is_read && !through_log && place.may_read(now, context) {
            let mut reply = Vec::new();
            let call = place.shard.read_call(args, 0, wall, 0, Proto::Resp2);
            place.shard.read(command, &call, &mut reply);
            context.lease_reads += 1;
            answers.put(question.op, question.attempt, reply);
        } else if !leads {
            answers.put(question.op, question.attempt, place.not_leader());
        } else if is_read && !through_log {
            place.waiting.push(Held {
                op: question.op,
                attempt: question.attempt,
                args: OwnedArgs::copy_of(&args),
            });
            place.shard.replica.renew_lease(now);
        } else {
            if is_read {
                // The read runs where this write is applied.
                let fence = OwnedArgs::new([&b"DEL"[..], b"fence"]);
                let (del, fence) = (find(&fence), fence.as_args());
                let asked = (place.shard).ask_write(0, &fence, del, None, Target::NOBODY);
                asked.expect("room for a fence");
                let asked = (place.shard).ask_read(0, &args, command, question.target());
                asked.expect("room for a read");
            } else {
                let target = question.target();
                let asked = place.shard.ask_write(0, &args, command, None, target);
                asked.expect("room for a write");
            }
            if bug == Some(Bug::ReplyBeforeCommit) && args.at(0) == b"SET" {
                answers.put(question.op, question.attempt, b"+OK\r\n".to_vec());
            }
        }
        answers.send(context);
        self.wake(context);
    }

    /// Looks again at the reads that wait for a lease: with one they join the turn.
    pub fn retry_waiting(&mut self, now: Monotonic, context: &mut Context) {
        let mut answers = Answers::default();
        for place in &mut self.places {
            if place.waiting.is_empty() {
                continue;
            }
            if !place.shard.leads() {
                let reply = place.not_leader();
                place.refuse_waiting(&reply, &mut answers);
            } else if place.may_read(now, context) {
                for held in std::mem::take(&mut place.waiting) {
                    let (args, command) = (held.args.as_args(), find(&held.args));
                    let target = target(held.op, held.attempt);
                    let asked = place.shard.ask_read(0, &args, command, target);
                    asked.expect("room for a read");
                    context.lease_reads += 1;
                }
            } else {
                place.shard.replica.renew_lease(now);
            }
        }
        answers.send(context);
    }
}
