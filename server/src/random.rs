//! Randomness, as a parameter: the only place that asks the machine for random bytes. (Invariant 10)

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Where random bytes come from.
#[derive(Clone, Debug)]
pub struct Random(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Seeded { seed: u64, counter: Arc<AtomicU64> },
}

impl Random {
    /// The operating system's generator, fit for secrets.
    pub fn system() -> Self {
        Random(Source::System)
    }

    /// A repeatable sequence for tests: never for secrets.
    pub fn seeded(seed: u64) -> Self {
        Random(Source::Seeded { seed, counter: Arc::default() })
    }

    /// `N` random bytes.
    ///
    /// # Panics
    /// Where the operating system has no randomness to give: nothing secure can go on then.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's randomness")]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.0 {
            Source::System => getrandom::fill(&mut bytes).expect("the operating system gives random bytes"),
            Source::Seeded { seed, counter } => {
                for chunk in bytes.chunks_mut(32) {
                    let mut block = Sha256::new();
                    block.update(seed.to_be_bytes());
                    block.update(counter.fetch_add(1, Ordering::SeqCst).to_be_bytes());
                    chunk.copy_from_slice(&block.finalize()[..chunk.len()]);
                }
            }
        }
        bytes
    }

    /// A 256-bit token as 43 characters of base64url. (OA: unguessable)
    pub fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<32>())
    }

    /// A version 7 UUID of an instant (microseconds since 1970) in lower case, for logical ids: those that are given
    /// one after the other stand side by side in an index, so many of them change few of its pages.
    pub fn ordered_uuid(&self, now: i64) -> String {
        let milliseconds = u64::try_from(now / 1000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(milliseconds, &self.bytes::<10>()).into_uuid().to_string()
    }

    /// A version 4 UUID in lower case.
    pub fn uuid(&self) -> String {
        uuid::Builder::from_random_bytes(self.bytes::<16>()).into_uuid().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_43_characters_and_differ() {
        let random = Random::system();
        let (one, other) = (random.token(), random.token());
        assert_eq!(one.len(), 43);
        assert_ne!(one, other);
    }

    #[test]
    fn a_seed_repeats_its_sequence_and_clones_continue_it() {
        let random = Random::seeded(7);
        let first = random.uuid();
        assert_ne!(first, random.clone().uuid());
        assert_eq!(first, Random::seeded(7).uuid());
    }
}
