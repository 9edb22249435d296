//! How many requests a client makes a second, so that none of them takes the server from all others: the setting
//! `client-requests`. (LK-52) <https://www.rfc-editor.org/rfc/rfc6585#section-4>
//!
//! Each person of a client counts by themselves, and a client without people as one: what one of them is answered says
//! nothing of how much others ask. Each process counts for itself, in memory.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;

/// Parts of the counts, each with a lock of its own.
const PARTS: usize = 32;

/// Counts of one part, above which those of earlier seconds are forgotten.
const MOST_OF_PART: usize = 4_096;

/// A second, microseconds.
const SECOND: i64 = 1_000_000;

/// Requests of this second.
#[derive(Debug, Default)]
pub struct Rates {
    hasher: RandomState,
    parts: [Mutex<HashMap<u64, Count>>; PARTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    second: i64,
    requests: u32,
}

impl Rates {
    /// Counts a request; 429 if its client has made all that it may in this second.
    pub fn admit(&self, caller: &Caller, app: &App) -> Result<(), Error> {
        let limit = app.config.client_requests;
        if limit == 0 || self.counted((&caller.client_id, caller.user.as_deref()), app.clock.now()) <= limit {
            return Ok(());
        }
        let text = format!("this client makes more than {limit} requests a second; wait a second");
        Err(Error::too_many_requests(text).with_header("Retry-After", "1"))
    }

    /// How many requests that makes in this second.
    fn counted(&self, whose: (&str, Option<&str>), now: i64) -> u32 {
        let (key, second) = (self.hasher.hash_one(whose), now / SECOND);
        let part = &self.parts[key as usize % PARTS];
        let mut counts = part.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST_OF_PART && !counts.contains_key(&key) {
            counts.retain(|_, count| count.second == second);
        }
        let count = counts.entry(key).or_default();
        if count.second != second {
            *count = Count { second, requests: 0 };
        }
        count.requests = count.requests.saturating_add(1);
        count.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lk_52_each_client_and_each_of_its_people_counts_alone() {
        let rates = Rates::default();
        let count = |whose: (&str, Option<&str>), now| rates.counted(whose, now);
        assert_eq!([count(("a", None), 0), count(("a", None), 5), count(("a", Some("u")), 5)], [1, 2, 1]);
        assert_eq!([count(("b", None), 9), count(("a", None), SECOND)], [1, 1]);
        for number in 0..400_000_i64 {
            count((&number.to_string(), None), number * 10);
        }
        let kept: usize = rates.parts.iter().map(|part| part.lock().expect("a lock").len()).sum();
        assert!(kept <= PARTS * (MOST_OF_PART + SECOND as usize / 10 / PARTS), "{kept}");
    }
}
