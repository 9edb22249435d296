//! The life of a signing key: published before it signs, kept after it signs (SM-71, SM-72).
//! <https://openid.net/specs/openid-connect-core-1_0.html#RotateSigKeys>
//!
//! ```text
//! made ──PUBLISHED_BEFORE──▶ active_from ──ROTATE──▶ retired_at ──KEPT_AFTER──▶ forgotten
//!      published, signs nothing    published, signs       published, signs nothing
//! ```
//!
//! A client that fetched the keys at any moment of the last [`PUBLISHED_BEFORE`] knows the key of every token that it
//! gets, and whoever holds a token can fetch its key as long as the token lives: rotation breaks nobody.

use crate::id_token;

const HOUR: i64 = 3_600_000_000;

/// How long a key signs before its successor is made, microseconds.
pub const ROTATE: i64 = 90 * 24 * HOUR;
/// How long a key is published before it signs.
pub const PUBLISHED_BEFORE: i64 = 24 * HOUR;
/// How long it stays published when it signs no more: longer than any `id_token` lives, with a day for caches.
pub const KEPT_AFTER: i64 = id_token::LIFETIME + 24 * HOUR;
/// How long clients may keep the published keys, seconds: much shorter than [`PUBLISHED_BEFORE`].
pub const CACHE_SECONDS: u32 = 3600;

/// When a key is used. Microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// From when it signs.
    pub active_from: i64,
    /// From when it does not any more; none as long as it has no successor.
    pub retired_at: Option<i64>,
}

/// What a key is at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Published, does not sign yet.
    Next,
    /// Signs.
    Active,
    /// Published, does not sign any more.
    Retired,
    /// Not published any more: no token that it signed lives.
    Over,
}

impl Term {
    /// What the key is.
    pub fn stage(&self, now: i64) -> Stage {
        match self.retired_at {
            Some(retired) if retired + KEPT_AFTER <= now => Stage::Over,
            Some(retired) if retired <= now => Stage::Retired,
            _ if now < self.active_from => Stage::Next,
            _ => Stage::Active,
        }
    }

    /// Whether it stands in the published set.
    pub fn is_published(&self, now: i64) -> bool {
        self.stage(now) != Stage::Over
    }
}

impl Stage {
    /// Name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Next => "next",
            Stage::Active => "active",
            Stage::Retired => "retired",
            Stage::Over => "over",
        }
    }
}

/// The key that signs: of those that are active, the one that became so last. If none is, the one that will be first:
/// a node made it whose clock is a little ahead of this one's.
pub fn signer<T>(keys: &[(Term, T)], now: i64) -> Option<&T> {
    let of_stage = |stage| keys.iter().filter(move |(term, _)| term.stage(now) == stage);
    let active = of_stage(Stage::Active).max_by_key(|(term, _)| term.active_from);
    active.or_else(|| of_stage(Stage::Next).min_by_key(|(term, _)| term.active_from)).map(|(_, key)| key)
}

/// From when a key that is made now should sign, if one should be made: at once where nothing signs, later where the
/// newest has signed for [`ROTATE`]. None while a successor waits already.
pub fn due(terms: &[Term], now: i64) -> Option<i64> {
    let newest = terms.iter().filter(|term| matches!(term.stage(now), Stage::Active | Stage::Next));
    match newest.map(|term| term.active_from).max() {
        None => Some(now),
        Some(from) if from + ROTATE <= now => Some(now + PUBLISHED_BEFORE),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(active_from: i64, retired_at: Option<i64>) -> Term {
        Term { active_from, retired_at }
    }

    #[test]
    fn sm_71_a_key_is_published_before_and_after_it_signs() {
        let key = term(100, Some(200));
        let stages = [99, 100, 199, 200, 200 + KEPT_AFTER - 1, 200 + KEPT_AFTER].map(|now| key.stage(now));
        let expected = [Stage::Next, Stage::Active, Stage::Active, Stage::Retired, Stage::Retired, Stage::Over];
        assert_eq!(stages, expected);
        const { assert!(KEPT_AFTER > id_token::LIFETIME, "a token that was signed at the last moment can be verified") };
        assert!(i64::from(CACHE_SECONDS) * 1_000_000 < PUBLISHED_BEFORE, "no cache misses a key before it signs");
    }

    #[test]
    fn sm_71_the_first_key_signs_at_once_and_the_next_ones_are_announced() {
        assert_eq!(due(&[], 5), Some(5));
        assert_eq!(due(&[term(5, None)], 5 + ROTATE - 1), None);
        let now = 5 + ROTATE;
        assert_eq!(due(&[term(5, None)], now), Some(now + PUBLISHED_BEFORE));
        let next = term(now + PUBLISHED_BEFORE, None);
        assert_eq!(due(&[term(5, Some(next.active_from)), next], now + 1), None, "a successor waits");
        assert_eq!(due(&[term(5, Some(10))], 11), Some(11), "all are retired");
    }

    #[test]
    fn the_key_that_became_active_last_signs() {
        let keys = [(term(0, Some(10)), "old"), (term(5, None), "new"), (term(20, None), "next")];
        assert_eq!([5, 9, 15, 20].map(|now| signer(&keys, now).copied()), ["new", "new", "new", "next"].map(Some));
        assert_eq!(signer(&keys[2..], 19), Some(&"next"), "the clock of the node that made it is ahead");
        assert_eq!(signer(&keys[..1], 10), None);
    }

    /// The promise of this module over ten years, with a server that looks once an hour.
    #[test]
    fn sm_72_rotation_breaks_nobody() {
        let mut keys: Vec<(Term, usize)> = Vec::new();
        let mut published_at: Vec<Vec<usize>> = Vec::new();
        for hour in 0..(10 * 365 * 24) {
            let now = hour * HOUR;
            let terms: Vec<Term> = keys.iter().map(|(term, _)| *term).collect();
            if let Some(from) = due(&terms, now) {
                for (term, _) in &mut keys {
                    term.retired_at = term.retired_at.or(Some(from));
                }
                keys.push((term(from, None), keys.len()));
            }
            let signs = *signer(&keys, now).expect("there is always one that signs");
            let all: Vec<usize> = keys.iter().filter(|(term, _)| term.is_published(now)).map(|(_, key)| *key).collect();
            // Whoever fetched the keys within the last 23 hours (since there are any) knows the signer.
            let stale = published_at.get(published_at.len().saturating_sub(23)).unwrap_or(&all);
            assert!(stale.contains(&signs), "hour {hour}");
            // The key of every token that still lives is published now.
            for (term, key) in keys.iter().filter(|(term, _)| term.active_from <= now) {
                let last = term.retired_at.unwrap_or(now).min(now);
                assert!(last + id_token::LIFETIME <= now || all.contains(key), "hour {hour}");
            }
            assert!(all.len() <= 3, "old keys are forgotten");
            published_at.push(all);
        }
        assert!(keys.len() > 35, "it did rotate");
    }
}
