//! Numbers from a seed, the same on every machine.
//!
//! Each purpose has a stream of its own, so that taking one thing out of a run changes as little as possible of the rest.

use cairn_primitives::hash::sha256_concat;

/// A stream of numbers: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The stream of a seed for one purpose.
    #[must_use]
    pub fn new(seed: u64, purpose: &str) -> Self {
        let hash = sha256_concat(&[b"cairn/simulation/1", &seed.to_le_bytes(), purpose.as_bytes()]);
        let first = hash.0.first_chunk().copied().unwrap_or_default();
        Self { state: u64::from_le_bytes(first) }
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is above zero.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A number from `low` to `high`, both included.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True with a chance of so many percent.
    pub const fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// A place in a list of `length` entries, which is above zero.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a usize")
    }

    /// One entry of a list that is not empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let place = self.index(list.len());
        &list[place]
    }

    /// Puts a list into a random order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let other = self.index(last + 1);
            list.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn numbers_of_a_seed_never_change() {
        let mut rng = Rng::new(7, "plan");
        let first: Vec<_> = (0..3).map(|_| rng.below(1_000)).collect();
        let mut again = Rng::new(7, "plan");
        assert_eq!(first, (0..3).map(|_| again.below(1_000)).collect::<Vec<_>>());
        let mut other = Rng::new(7, "net");
        assert_ne!(first, (0..3).map(|_| other.below(1_000)).collect::<Vec<_>>());
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut rng = Rng::new(1, "bounds");
        assert!((0..1_000).all(|_| (3..=9).contains(&rng.between(3, 9))));
        assert!((0..1_000).all(|_| !rng.percent(0) && rng.percent(100)));
    }
}
