//! Choices that come again with the same seed: a small generator of its own for everybody who chooses.
//!
//! What the threads of a soak choose is the same each time; how they meet is not.

/// The increment of splitmix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Splitmix64.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Two who have different names choose differently.
    pub fn new(seed: u64, name: &str) -> Self {
        Self(mix(seed ^ hash(name)))
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// `0..n`, and 0 of nothing.
    pub fn below(&mut self, n: u64) -> u64 {
        self.roll() % n.max(1)
    }

    /// `first..=last`
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// `0..=max`, small ones as often as large ones: each number of bits is as likely as any other.
    pub fn size(&mut self, max: u64) -> u64 {
        let bits = self.below(u64::from(64 - max.leading_zeros()) + 1);
        self.below(1 << bits).min(max)
    }
}

/// Spreads a number over all 64 bits.
pub fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// FNV-1a.
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// The n-th word of an endless row that belongs to a key.
pub fn word(key: u64, n: u64) -> u64 {
    mix(key.wrapping_add(n.wrapping_mul(STEP)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_chooses_the_same() {
        let rolls = |seed, name| (0..4).map(|_| Dice::new(seed, name).roll()).collect::<Vec<_>>();
        assert_eq!(rolls(1, "a"), rolls(1, "a"));
        assert_ne!(rolls(1, "a"), rolls(2, "a"));
        assert_ne!(rolls(1, "a"), rolls(1, "b"));
    }

    #[test]
    fn sizes_are_small_and_large() {
        let mut dice = Dice::new(1, "sizes");
        let sizes: Vec<u64> = (0..1000).map(|_| dice.size(1 << 20)).collect();
        assert!(sizes.iter().all(|&size| size <= 1 << 20));
        assert!(sizes.contains(&0) && sizes.iter().any(|&size| size > 500_000));
        assert!(sizes.iter().filter(|&&size| size < 1024).count() > 300);
    }
}
