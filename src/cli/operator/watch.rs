//! Looking again and again, beside a command that minds Ctrl-C. Knows nothing of what is looked at.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{signal, SignalKind};

use super::failure::Failure;

/// How soon a stop is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Whoever is told to stop twice does so at once.
const EXIT_INTERRUPTED: i32 = 130;

/// Whether the command was told to stop.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on Ctrl-C, SIGTERM and a terminal that goes away are noted and do not end the process; the second one does.
    ///
    /// # Errors
    /// When the system does not let them be caught.
    pub(super) fn catch() -> io::Result<Self> {
        let stop = Self::default();
        let told = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut signals = {
            let _within = runtime.enter();
            [
                SignalKind::interrupt(),
                SignalKind::terminate(),
                SignalKind::hangup(),
            ]
            .map(signal)
            .into_iter()
            .collect::<io::Result<Vec<_>>>()?
        };
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                runtime.block_on(async {
                    any(&mut signals).await;
                    told.tell();
                    any(&mut signals).await;
                    std::process::exit(EXIT_INTERRUPTED);
                });
            })?;
        Ok(stop)
    }

    pub(super) fn tell(&self) {
        self.0.store(true, Relaxed);
    }

    pub(super) fn is_told(&self) -> bool {
        self.0.load(Relaxed)
    }
}

async fn any(signals: &mut [tokio::signal::unix::Signal]) {
    std::future::poll_fn(|context| {
        let caught = signals
            .iter_mut()
            .any(|signal| signal.poll_recv(context).is_ready());
        match caught {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

/// What was seen, in order; at most one waits to be taken.
pub(super) struct Observations<T>(Receiver<Result<T, Failure>>);

/// Looks once, and then again and again with this pause, on a thread of its own, until nobody takes what is seen.
pub(super) fn observe<T: Send + 'static>(
    pause: Duration,
    mut look: impl FnMut() -> Result<T, Failure> + Send + 'static,
) -> Observations<T> {
    let (seen, observations) = sync_channel(0);
    std::thread::spawn(move || {
        while seen.send(look()).is_ok() {
            std::thread::sleep(pause);
        }
    });
    Observations(observations)
}

/// What came of waiting for an observation.
pub(super) enum Seen<T> {
    Something(Result<T, Failure>),
    /// The command was told to stop.
    Stopped,
    /// The time is over.
    Late,
}

impl<T> Observations<T> {
    /// The next one; none once the command is told to stop.
    pub(super) fn next(&self, stop: &Stop) -> Option<Result<T, Failure>> {
        match self.next_until(stop, None) {
            Seen::Something(observation) => Some(observation),
            Seen::Stopped | Seen::Late => None,
        }
    }

    pub(super) fn next_until(&self, stop: &Stop, end: Option<Instant>) -> Seen<T> {
        while !stop.is_told() {
            if end.is_some_and(|end| Instant::now() >= end) {
                return Seen::Late;
            }
            match self.0.recv_timeout(LOOK_EVERY) {
                Ok(observation) => return Seen::Something(observation),
                Err(RecvTimeoutError::Timeout) => {}
                // It looks as long as somebody takes what it sees: it has panicked, and said so.
                Err(RecvTimeoutError::Disconnected) => return Seen::Stopped,
            }
        }
        Seen::Stopped
    }

    /// The next one, if there is one by now.
    pub(super) fn ready(&self) -> Option<Result<T, Failure>> {
        self.0.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_comes_in_order_until_it_is_stopped() {
        let mut number = 0;
        let observations = observe(Duration::ZERO, move || {
            number += 1;
            match number {
                2 => Err(Failure::Unreachable("gone".into())),
                number => Ok(number),
            }
        });
        let stop = Stop::default();
        assert!(matches!(observations.next(&stop), Some(Ok(1))));
        assert!(matches!(
            observations.next(&stop),
            Some(Err(Failure::Unreachable(_)))
        ));
        assert!(matches!(observations.next(&stop), Some(Ok(3))));
        assert!(matches!(
            observations.next_until(&stop, Some(Instant::now())),
            Seen::Late
        ));
        stop.tell();
        assert!(observations.next(&stop).is_none());
    }
}
