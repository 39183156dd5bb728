//! The 24 bits an entry keeps about its last use: approximated LRU and LFU as in Redis.
//!
//! LRU: seconds modulo 2^24. LFU: 16 bits minutes of the last decrement, 8 bits logarithmic counter.
//! Source: <https://redis.io/docs/latest/develop/reference/eviction/>. None of this is replicated data: it
//! only steers which key the leader proposes for eviction.

use std::cell::Cell;

use super::{Rng, Timestamp};

/// Counter of a new key under LFU, so that it is not evicted at once.
const LFU_INIT: u32 = 5;
const CLOCK_MASK: u64 = 0xff_ffff;

/// How accesses are recorded; follows `maxmemory-policy`, `lfu-log-factor` and `lfu-decay-time`.
pub struct AccessClock {
    pub lfu: bool,
    pub lfu_log_factor: u32,
    /// Minutes after which the counter loses one; 0 never.
    pub lfu_decay_minutes: u32,
    marking: Cell<Marking>,
    chance: Cell<u64>,
}

/// What a look does to the bits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Marking {
    Lru,
    Lfu,
    /// Nothing: the client that looks is not to be seen (CLIENT NO-TOUCH).
    Nothing,
}

impl Default for AccessClock {
    fn default() -> Self {
        Self::new(false, 10, 1)
    }
}

impl AccessClock {
    /// LRU, or LFU with its two settings.
    pub fn new(lfu: bool, lfu_log_factor: u32, lfu_decay_minutes: u32) -> Self {
        Self {
            lfu,
            lfu_log_factor,
            lfu_decay_minutes,
            marking: Cell::new(Self::marking(lfu)),
            chance: Cell::new(1),
        }
    }

    /// While set, a look leaves the bits as they are.
    pub fn set_untouched(&self, untouched: bool) {
        let marking = match untouched {
            true => Marking::Nothing,
            false => Self::marking(self.lfu),
        };
        self.marking.set(marking);
    }

    pub fn is_untouched(&self) -> bool {
        self.marking.get() == Marking::Nothing
    }

    fn marking(lfu: bool) -> Marking {
        match lfu {
            true => Marking::Lfu,
            false => Marking::Lru,
        }
    }

    /// The bits of a key that is made at `now`.
    pub fn fresh(&self, now: Timestamp) -> u32 {
        if self.lfu {
            (minutes(now) << 8) | LFU_INIT
        } else {
            seconds(now)
        }
    }

    /// The bits after an access at `now`.
    #[inline]
    pub fn touched(&self, access: u32, now: Timestamp) -> u32 {
        match self.marking.get() {
            Marking::Lru => seconds(now),
            Marking::Lfu => self.more_frequent(access, now),
            Marking::Nothing => access,
        }
    }

    /// The bits of a key that gets a new value at `now`. The value is as young as can be; how often it was asked
    /// for is the key's.
    #[inline]
    pub fn replaced(&self, access: u32, now: Timestamp) -> u32 {
        match self.marking.get() {
            Marking::Nothing if !self.lfu => seconds(now),
            _ => self.touched(access, now),
        }
    }

    /// As [`AccessClock::touched`], also while looks leave no mark (TOUCH).
    pub fn marked(&self, access: u32, now: Timestamp) -> u32 {
        match self.lfu {
            true => self.more_frequent(access, now),
            false => seconds(now),
        }
    }

    fn more_frequent(&self, access: u32, now: Timestamp) -> u32 {
        let counter = self.frequency(access, now);
        (minutes(now) << 8) | self.incremented(counter)
    }

    /// Seconds since the last access, under LRU.
    pub fn idle_seconds(&self, access: u32, now: Timestamp) -> u64 {
        (now.0 / 1000).wrapping_sub(u64::from(access)) & CLOCK_MASK
    }

    /// The logarithmic counter after decay, under LFU.
    pub fn frequency(&self, access: u32, now: Timestamp) -> u32 {
        let counter = access & 0xff;
        if self.lfu_decay_minutes == 0 {
            return counter;
        }
        let elapsed = minutes(now).wrapping_sub(access >> 8) & 0xffff;
        counter.saturating_sub(elapsed / self.lfu_decay_minutes)
    }

    /// Bits for RESTORE's IDLETIME (seconds) or FREQ.
    pub fn restored(&self, idle_seconds: Option<u64>, freq: Option<u8>, now: Timestamp) -> u32 {
        match (self.lfu, idle_seconds, freq) {
            (false, Some(idle), _) => ((now.0 / 1000).wrapping_sub(idle) & CLOCK_MASK) as u32,
            (true, _, Some(freq)) => (minutes(now) << 8) | u32::from(freq),
            _ => self.fresh(now),
        }
    }

    fn incremented(&self, counter: u32) -> u32 {
        if counter == 255 {
            return 255;
        }
        let mut rng = Rng::new(self.chance.get());
        let drawn = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        self.chance.set(rng.next_u64());
        let above_init = f64::from(counter.saturating_sub(LFU_INIT));
        let chance = 1.0 / (above_init * f64::from(self.lfu_log_factor) + 1.0);
        counter + u32::from(drawn < chance)
    }
}

fn seconds(now: Timestamp) -> u32 {
    ((now.0 / 1000) & CLOCK_MASK) as u32
}

fn minutes(now: Timestamp) -> u32 {
    ((now.0 / 60_000) & 0xffff) as u32
}
