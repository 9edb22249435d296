//! Repeatable randomness: a test that fails names its seed, and the seed makes the same test again.

use search::generate::SplitMix64;

/// A generator with the choices that tests make.
#[derive(Clone, Debug)]
pub struct Random(SplitMix64);

/// The seed that `TRIBUTARY_TEST_SEED` names, or this one; printed, so that a failed test shows it.
pub fn seed(usual: u64) -> u64 {
    let named = std::env::var("TRIBUTARY_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = named.unwrap_or(usual);
    println!("TRIBUTARY_TEST_SEED={seed}");
    seed
}

impl Random {
    /// Begins at this seed.
    pub fn seeded(seed: u64) -> Self {
        Random(SplitMix64::new(seed))
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0.below(limit)
    }

    /// One of these, of which there is at least one.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// One of these words.
    pub fn word(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.below(choices.len())]
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}
