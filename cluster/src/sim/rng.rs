//! The simulator's only source of chance: SplitMix64 over a seed. Knows nothing of what is drawn for.

/// The sequence's step: the golden ratio in 64 bits.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of chance.
#[derive(Debug, Clone)]
pub struct SimRng(u64);

impl SimRng {
    /// The stream of that seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for a part of the simulation: what one part draws does not move the others.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.next_u64())
    }

    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `bound`; 0 when there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias is below one in a thousand for every bound that a simulation uses.
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// A place in a list of that length; 0 in an empty one.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below((high - low).saturating_add(1))
    }

    /// True so many times out of a thousand.
    pub fn per_mille(&mut self, chance: u64) -> bool {
        self.below(1000) < chance
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// Spreads the bits of a number; also what traces are summed with.
#[must_use]
pub fn mix(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
        let draw = |seed| -> Vec<u64> {
            let mut rng = SimRng::new(seed);
            (0..8).map(|_| rng.next_u64()).collect()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_fork_is_not_moved_by_what_others_draw() {
        let (mut one, mut two) = (SimRng::new(1), SimRng::new(1));
        let (mut first, mut second) = (one.fork(), two.fork());
        one.next_u64();
        assert_eq!(first.next_u64(), second.next_u64());
    }

    #[test]
    fn numbers_stay_within_their_bounds_and_reach_them() {
        let mut rng = SimRng::new(3);
        let drawn: Vec<u64> = (0..1000).map(|_| rng.between(5, 8)).collect();
        for number in 5..=8 {
            assert!(drawn.contains(&number));
        }
        assert!(drawn.iter().all(|number| (5..=8).contains(number)));
        assert_eq!((rng.below(0), rng.index(0)), (0, 0));
        let hits = (0..10_000).filter(|_| rng.per_mille(100)).count();
        assert!((800..1200).contains(&hits), "{hits}");
    }
}
