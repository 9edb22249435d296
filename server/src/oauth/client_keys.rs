//! Public keys of clients: as registered, or from the address that is registered. (SM-65)
//!
//! What was fetched is kept no longer than the answer allows. A key that is not in it is looked for once more, but not
//! more often than [`REFETCH`], so that nobody can make this server hammer another. A failure is kept for a moment too.

use std::sync::Arc;

use moka::sync::Cache;
use openidconnect::http::HeaderMap;
use smart::client::ClientKeys;
use smart::jwk::JwkSet;
use tokio::sync::Mutex;

use crate::app::App;

const SECOND: i64 = 1_000_000;
/// How long keys are kept whose answer does not say.
const DEFAULT_AGE: i64 = 15 * 60;
/// Longest that keys are kept, whatever the answer says.
const MAX_AGE: i64 = 24 * 3600;
/// Shortest time between two requests to one address, seconds, also for keys that may not be kept.
const PAUSE: i64 = 1;
/// How long after a request a failure or an unknown key may cause another, seconds.
const REFETCH: i64 = 5;
/// Most addresses that are remembered.
const ADDRESSES: u64 = 10_000;

/// Fetched key sets by address; clones share them.
#[derive(Clone, Debug)]
pub struct ClientKeyCache(Cache<String, Arc<Mutex<Option<Fetched>>>>);

#[derive(Clone, Debug)]
struct Fetched {
    /// None where it failed.
    keys: Option<Arc<JwkSet>>,
    /// Microseconds since 1970.
    at: i64,
    /// Until when it may be used, microseconds since 1970.
    until: i64,
}

impl Default for ClientKeyCache {
    fn default() -> Self {
        ClientKeyCache(Cache::new(ADDRESSES))
    }
}

/// The keys of a client in which `kid` is looked for; none if there are none to be had.
pub(super) async fn of(app: &App, registered: &ClientKeys, kid: &str) -> Option<Arc<JwkSet>> {
    match registered {
        ClientKeys::None => None,
        ClientKeys::Inline(text) => JwkSet::parse(text.as_bytes()).ok().map(Arc::new),
        ClientKeys::Url(url) => fetched(app, url, kid).await,
    }
}

async fn fetched(app: &App, url: &str, kid: &str) -> Option<Arc<JwkSet>> {
    let slot = app.client_keys.0.get_with(url.to_owned(), Arc::default);
    // whoever comes while it is being fetched waits for that answer
    let mut slot = slot.lock().await;
    let now = app.clock.now();
    if let Some(known) = slot.as_ref().filter(|known| now < known.until) {
        let has = known.keys.as_ref().is_some_and(|keys| keys.has(kid));
        if has || now < known.at + REFETCH * SECOND {
            return known.keys.clone();
        }
    }
    let fresh = fetch(app, url, now).await;
    let keys = fresh.keys.clone();
    *slot = Some(fresh);
    keys
}

async fn fetch(app: &App, url: &str, now: i64) -> Fetched {
    let failed = |cause: &dyn std::fmt::Display| {
        tracing::warn!(url, %cause, "keys of a client");
        Fetched { keys: None, at: now, until: now + REFETCH * SECOND }
    };
    let answer = match app.outbound.get(url, "application/jwk-set+json, application/json").await {
        Ok(answer) if answer.status() == 200 => answer,
        Ok(answer) => return failed(&answer.status()),
        Err(error) => return failed(&error),
    };
    match JwkSet::parse(answer.body()) {
        Ok(keys) => {
            let until = now + age(answer.headers(), now).clamp(PAUSE, MAX_AGE) * SECOND;
            Fetched { keys: Some(Arc::new(keys)), at: now, until }
        }
        Err(error) => failed(&error),
    }
}

/// How long an answer may be kept, seconds. <https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1>
fn age(headers: &HeaderMap, now: i64) -> i64 {
    let texts = |name: &str| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let directives = || texts("cache-control").flat_map(|text| text.split(',')).map(str::trim);
    let is = |directive: &str, name: &str| directive.eq_ignore_ascii_case(name);
    if directives().any(|directive| is(directive, "no-store") || is(directive, "no-cache")) {
        return 0;
    }
    let seconds = |text: &str| text.trim().trim_matches('"').parse::<i64>().unwrap_or(0).max(0);
    let max_age = directives().find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        is(name, "max-age").then(|| seconds(value))
    });
    let passed = texts("age").next().map_or(0, seconds);
    if let Some(max_age) = max_age {
        return max_age.saturating_sub(passed);
    }
    match texts("expires").next() {
        // a date that cannot be read has passed
        Some(date) => jiff::fmt::rfc2822::parse(date).map_or(0, |date| date.timestamp().as_second() - now / SECOND),
        None => DEFAULT_AGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openidconnect::http::{HeaderName, HeaderValue};

    #[test]
    fn sm_65_keys_are_kept_no_longer_than_the_answer_allows() {
        let now = 1_700_000_000 * SECOND; // Tue, 14 Nov 2023 22:13:20 GMT
        for (headers, expected) in [
            (&[][..], DEFAULT_AGE),
            (&[("cache-control", "max-age=2")], 2),
            (&[("cache-control", "public, Max-Age=60, must-revalidate")], 60),
            (&[("cache-control", "max-age=\"60\"")], 60),
            (&[("cache-control", "max-age=60"), ("age", "50")], 10),
            (&[("cache-control", "max-age=60"), ("age", "70")], -10),
            (&[("cache-control", "max-age=x")], 0),
            (&[("cache-control", "max-age=-5")], 0),
            (&[("cache-control", "max-age=60, no-cache")], 0),
            (&[("cache-control", "no-store")], 0),
            (&[("expires", "Tue, 14 Nov 2023 22:14:20 GMT")], 60),
            (&[("expires", "Tue, 14 Nov 2023 22:14:20 GMT"), ("cache-control", "max-age=5")], 5),
            (&[("expires", "0")], 0),
        ] {
            let pairs = headers.iter().map(|(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            assert_eq!(age(&pairs.collect(), now), expected, "{headers:?}");
        }
    }
}
