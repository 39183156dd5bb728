//! Simulated time: an agenda of what happens when, and the clocks that nodes see of it. Nothing here waits.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// True time of the simulation, in microseconds since its beginning.
pub type Micros = u64;

/// What lies ahead, in order of time; what falls on the same instant comes in the order in which it was planned.
#[derive(Debug)]
pub struct Agenda<E> {
    heap: BinaryHeap<Planned<E>>,
    now: Micros,
    planned: u64,
}

#[derive(Debug)]
struct Planned<E> {
    at: Micros,
    number: u64,
    event: E,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            now: 0,
            planned: 0,
        }
    }
}

impl<E> Agenda<E> {
    /// The instant of the last event taken.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.now
    }

    /// Plans an event; one in the past happens now.
    pub fn at(&mut self, at: Micros, event: E) {
        self.planned += 1;
        self.heap.push(Planned {
            at: at.max(self.now),
            number: self.planned,
            event,
        });
    }

    /// Plans an event so many microseconds from now.
    pub fn after(&mut self, delay: Micros, event: E) {
        self.at(self.now.saturating_add(delay), event);
    }

    /// Takes the next event; time goes on to its instant.
    pub fn pop(&mut self) -> Option<(Micros, E)> {
        let next = self.heap.pop()?;
        self.now = next.at;
        Some((next.at, next.event))
    }

    /// Events planned and not yet taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing lies ahead.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl<E> Eq for Planned<E> {}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Planned<E> {
    /// The earliest is the greatest: the heap gives that first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// The clocks of one node: a monotonic one that is a little too fast or too slow, and a wall clock that may also jump.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// How much faster than true time it runs, in millionths.
    drift_ppm: i64,
    /// What the wall clock shows when the monotonic one shows 0, in microseconds of the Unix epoch.
    wall_offset_us: i64,
}

impl Clock {
    /// A clock that runs so many millionths too fast and shows `wall_us` at the beginning.
    #[must_use]
    pub fn new(drift_ppm: i64, wall_us: u64) -> Self {
        Self {
            drift_ppm,
            wall_offset_us: wall_us as i64,
        }
    }

    /// The monotonic clock at a true instant, in microseconds. Never goes back, whatever the wall clock does.
    #[must_use]
    pub fn monotonic_us(&self, now: Micros) -> u64 {
        (now as i64 + now as i64 * self.drift_ppm / 1_000_000).max(0) as u64
    }

    /// The wall clock at a true instant, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn wall_ms(&self, now: Micros) -> u64 {
        (self.monotonic_us(now) as i64 + self.wall_offset_us).max(0) as u64 / 1000
    }

    /// Sets the wall clock forwards or backwards.
    pub fn jump(&mut self, by_us: i64) {
        self.wall_offset_us += by_us;
    }

    /// The true length of what this clock measures as `own_us`.
    #[must_use]
    pub fn true_length(&self, own_us: u64) -> Micros {
        let length = own_us as i64 * 1_000_000 / (1_000_000 + self.drift_ppm).max(1);
        length.max(1) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_of_planning() {
        let mut agenda = Agenda::default();
        for (at, name) in [(30, 'd'), (10, 'a'), (20, 'b'), (20, 'c')] {
            agenda.at(at, name);
        }
        assert_eq!(agenda.len(), 4);
        let order: String = std::iter::from_fn(|| agenda.pop().map(|(_, name)| name)).collect();
        assert_eq!((order.as_str(), agenda.now()), ("abcd", 30));
        assert!(agenda.is_empty());
    }

    #[test]
    fn time_never_goes_back() {
        let mut agenda = Agenda::default();
        agenda.at(50, 1);
        agenda.pop();
        agenda.at(10, 2);
        agenda.after(5, 3);
        assert_eq!(agenda.pop(), Some((50, 2)));
        assert_eq!(agenda.pop(), Some((55, 3)));
    }

    #[test]
    fn a_jump_moves_the_wall_clock_alone() {
        let mut clock = Clock::new(0, 1_000_000_000);
        let before = clock.monotonic_us(2_000_000);
        clock.jump(-3_000_000);
        assert_eq!(clock.monotonic_us(2_000_000), before);
        assert_eq!(clock.wall_ms(2_000_000), 1_000_000 + 2000 - 3000);
    }

    #[test]
    fn a_fast_clock_measures_more_in_the_same_time() {
        let clock = Clock::new(10_000, 0);
        assert_eq!(clock.monotonic_us(1_000_000), 1_010_000);
        assert_eq!(clock.true_length(1_010_000), 1_000_000);
        let slow = Clock::new(-10_000, 0);
        assert!(slow.true_length(1_000_000) > 1_000_000);
    }
}
