//! Workers that stand still while one of them runs a command over keys of several.
//!
//! One command at a time may do so (`Shared::gather_lock`), so no two workers wait for each other: whoever waits
//! for the lock goes on serving as a guest, and whoever is a guest waits for the holder alone.

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::MutexGuard;
use std::time::Duration;

use super::gather::{Effect, Gathered, Scope};
use super::io::Message;
use super::worker::Worker;
use super::Shared;

/// How long a guest is waited for. It answers at the end of its turn, so only one that is stopping does not.
const GUEST_WAIT: Duration = Duration::from_secs(10);

enum Request {
    Fetch { keys: Vec<Vec<u8>>, scope: Scope },
    Apply(Vec<Effect>),
}

enum Answer {
    Found(Vec<Gathered>),
    Applied(Result<(), String>),
}

/// One worker that stands still until this is dropped.
struct Guest {
    worker: u16,
    requests: Sender<Request>,
    answers: Receiver<Answer>,
}

/// The workers that stand still for one command.
#[derive(Default)]
pub(super) struct Guests {
    guests: Vec<Guest>,
}

impl Guests {
    /// Has `worker` stand still and give the values of keys.
    pub fn fetch(
        &mut self,
        host: &mut Worker,
        worker: u16,
        keys: Vec<Vec<u8>>,
        scope: Scope,
    ) -> Result<Vec<Gathered>, String> {
        if !self.guests.iter().any(|guest| guest.worker == worker) {
            self.guests.push(invite(host, worker));
        }
        match self.ask(worker, Request::Fetch { keys, scope }) {
            Some(Answer::Found(found)) => Ok(found),
            _ => Err("TRYAGAIN a worker is stopping; the command was not applied".into()),
        }
    }

    /// Has a worker that stands still apply effects on its shards.
    pub fn apply(&mut self, worker: u16, effects: Vec<Effect>) -> Result<(), String> {
        match self.ask(worker, Request::Apply(effects)) {
            Some(Answer::Applied(result)) => result,
            _ => Err("ERR a worker is stopping; whether the command was applied is unknown".into()),
        }
    }

    fn ask(&self, worker: u16, request: Request) -> Option<Answer> {
        let guest = self.guests.iter().find(|guest| guest.worker == worker)?;
        guest.requests.send(request).ok()?;
        guest.answers.recv_timeout(GUEST_WAIT).ok()
    }
}

fn invite(host: &Worker, worker: u16) -> Guest {
    let (requests, incoming) = channel();
    let (outgoing, answers) = channel();
    let task = Message::Task(Box::new(move |there: &mut Worker| {
        there.be_guest(&incoming, &outgoing)
    }));
    host.shared.inboxes[usize::from(worker)].send(&mut vec![task]);
    Guest {
        worker,
        requests,
        answers,
    }
}

impl Worker {
    /// Serves the holder of the lock until it lets go.
    fn be_guest(&mut self, requests: &Receiver<Request>, answers: &Sender<Answer>) {
        while let Ok(request) = requests.recv() {
            let answer = match request {
                Request::Fetch { keys, scope } => Answer::Found(self.fetch(&keys, scope)),
                Request::Apply(effects) => Answer::Applied(self.apply_effects(&effects)),
            };
            if answers.send(answer).is_err() {
                return;
            }
        }
    }

    /// Waits until no other command gathers over workers; serves those meanwhile.
    pub(super) fn lock_gathers<'a>(&mut self, shared: &'a Shared) -> MutexGuard<'a, ()> {
        loop {
            match shared.gather_lock.try_lock() {
                Ok(guard) => return guard,
                Err(std::sync::TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(std::sync::TryLockError::WouldBlock) => {
                    self.receive();
                    self.flush();
                    std::thread::yield_now();
                }
            }
        }
    }
}
