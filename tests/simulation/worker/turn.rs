//! A turn of a worker, in its two halves: what the replicas want sent is sent, what they want written is written; then what was
//! written counts, and what is committed is applied and answered.

use ringfort::durability::wal::{record_bytes, Purpose};
use ringfort::durability::DurabilityMode;
use ringfort::node::shard::Shard;
use ringfort::store::Timestamp;
use ringfort_cluster::replica::EntryKind;
use ringfort_cluster::LogEntry;

use super::{died, Answers, Ended, Worker};
use crate::context::{Context, Event};
use crate::plan::{Bug, MILLISECOND};
use crate::snapshots;

impl Worker {
    /// The first half of a turn: what the replicas want sent is sent, what they want written is written.
    pub fn turn(&mut self, now: Timestamp, context: &mut Context) -> Result<(), Ended> {
        self.turn_planned = false;
        if self.is_writing {
            return Ok(());
        }
        self.propose(now, context)?;
        self.wal.begin();
        let mut is_active = false;
        for at in 0..self.places.len() {
            is_active |= self.collect(at, context)?;
        }
        if !is_active {
            return Ok(());
        }
        let has_record = !self.wal.is_record_empty();
        let always = context.plan.mode == DurabilityMode::Always;
        self.write_late = has_record && context.has_bug(Bug::AnswerBeforeWrite);
        if has_record && !self.write_late {
            self.last_record = Some(self.wal.write().map_err(died)?);
        }
        self.is_writing = true;
        self.said_early =
            self.write_late || has_record && always && context.has_bug(Bug::AnswerBeforeSync);
        if self.said_early {
            self.persisted(context)?;
        }
        let mut delay = 10;
        if has_record {
            delay += match always {
                true => context.rng.between(50, 400) + self.slowness_us,
                false => context.rng.between(5, 20) + self.slowness_us / 10,
            };
        }
        if self.said_early {
            delay += context.rng.below(3 * MILLISECOND);
        }
        let (node, life, worker) = (self.home.node, self.home.life, self.number);
        context
            .agenda
            .after(delay, Event::Written { node, life, worker });
        Ok(())
    }

    /// The second half: what was written counts, what is committed is applied and answered.
    pub fn written(&mut self, context: &mut Context) -> Result<(), Ended> {
        if self.write_late {
            self.last_record = Some(self.wal.write().map_err(died)?);
        }
        if context.plan.mode == DurabilityMode::Always {
            self.wal.sync().map_err(died)?;
        }
        if !self.said_early {
            self.persisted(context)?;
        }
        self.is_writing = false;
        self.wake(context);
        Ok(())
    }

    pub fn sync(&mut self) -> Result<(), Ended> {
        self.wal.sync().map(drop).map_err(died)
    }

    /// Every shard's pending commands become one entry, if the log has room for all of them.
    fn propose(&mut self, now: Timestamp, context: &mut Context) -> Result<(), Ended> {
        let mut answers = Answers::default();
        let mut writing = Vec::new();
        for (at, place) in self.places.iter_mut().enumerate() {
            match place.shard.has_writes() {
                true => writing.push(at),
                // Reads need no room in the log.
                false if !place.shard.is_idle() => place.shard.propose(now, 0, &mut answers),
                false => {}
            }
        }
        let bytes = writing
            .iter()
            .map(|&at| self.places[at].shard.pending_bytes());
        let bytes = record_bytes(2 * writing.len(), writing.len(), bytes.sum());
        let reserved = match writing.is_empty() {
            true => Ok(()),
            false => self.wal.reserve(bytes, Purpose::Grows),
        };
        for at in writing {
            let shard = &mut self.places[at].shard;
            match &reserved {
                Ok(()) => shard.propose(now, context.rng.next_u64(), &mut answers),
                Err(error) if error.is_full() => {
                    shard.refuse(b"-MISCONF the disk is full\r\n", &mut answers);
                }
                Err(_) => return Err(Ended::Died),
            }
        }
        answers.send(context);
        Ok(())
    }

    /// Puts what one replica wants written into the record; false when it wants nothing.
    fn collect(&mut self, at: usize, context: &mut Context) -> Result<bool, Ended> {
        let mut outputs = std::mem::take(&mut self.outputs);
        let place = &mut self.places[at];
        let shard = &mut place.shard;
        place.is_writing = shard.standing.is_held && shard.replica.ready(&mut outputs);
        let id = place.shard.id;
        if place.is_writing {
            place.post(&self.home, &mut outputs.messages, context);
            snapshots::send(place, &mut outputs, &self.home, context);
            if let Some(snapshot) = outputs.snapshot.take() {
                snapshots::take_in(place, &snapshot, &self.home, context)?;
                place.taken_in = Some(snapshot.index);
            }
            let commit = place.shard.replica.known_commit_if_persisted();
            for entry in &outputs.entries {
                self.wal.push(id, commit, entry);
            }
            if let Some(state) = outputs.hard_state {
                if !context.has_bug(Bug::VoteNotWritten) {
                    self.wal.push_hard_state(id, state);
                }
            }
        }
        let is_active = place.is_writing;
        self.outputs = outputs;
        Ok(is_active)
    }

    fn persisted(&mut self, context: &mut Context) -> Result<(), Ended> {
        for at in 0..self.places.len() {
            if std::mem::take(&mut self.places[at].is_writing) {
                self.finish(at, context)?;
                self.look_at_leadership(at, context)?;
            }
        }
        Ok(())
    }

    /// One replica's write is done.
    fn finish(&mut self, at: usize, context: &mut Context) -> Result<(), Ended> {
        let place = &mut self.places[at];
        place.shard.replica.persisted(&mut self.outputs);
        let id = place.shard.id;
        place.post(&self.home, &mut self.outputs.messages, context);
        snapshots::send(place, &mut self.outputs, &self.home, context);
        if let Some(index) = place.taken_in.take() {
            place.shard.replica.applied(index);
        }
        let mut answers = Answers::default();
        for entry in &self.outputs.committed {
            let asked = answers.0.len();
            place.shard.apply(entry, &mut answers);
            if entry.kind == EntryKind::Membership {
                carry_out_change(&mut place.shard, entry, context)?;
            }
            context.oracle.applied(entry, &place.shard)?;
            context.note(entry.index.get() ^ entry.term.get() << 32);
            if answers.0.len() > asked && entry.kind == EntryKind::Commands {
                context.oracle.acknowledged(id, entry.index);
            }
        }
        if let Some(last) = self.outputs.committed.last() {
            place.shard.replica.applied(last.index);
        }
        answers.send(context);
        Ok(())
    }
}

/// Has the replica carry out a change of the membership, as the shard has.
fn carry_out_change(
    shard: &mut Shard,
    entry: &LogEntry,
    context: &mut Context,
) -> Result<(), Ended> {
    let carried_out = shard.replica.apply_membership(entry);
    let membership = carried_out.map_err(|error| Ended::Violation(error.to_string()))?;
    if membership != shard.membership {
        let (id, known) = (shard.id, &shard.membership);
        let text = format!("invariant 8: shard {id} has {membership:?} and {known:?}");
        return Err(Ended::Violation(text));
    }
    let (group, replica) = (shard.replica.shard(), shard.replica.id());
    context.losses.holds(group, &membership);
    context.tell(|| format!("shard {group}: replica {replica} has {membership:?}"));
    Ok(())
}
