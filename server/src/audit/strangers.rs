//! Requests by nobody known: anybody can send them, as many as the line carries. So only so many of them become an
//! event each; the others are counted, and an event a minute tells how many there were from one address. (CO-01)
//!
//! | bound | |
//! |---|---|
//! | [`MOST_OF_ONE`] | events a minute of requests from one address, or one network of IPv6 |
//! | [`MOST`] | the same, from all addresses together |
//! | [`MOST_ADDRESSES`] | addresses that are told apart; what comes from further ones is counted together |
//!
//! Whoever shows a token or has signed in is not meant: each of their requests is an event. What was counted and not
//! yet told is lost when the process is killed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use store::audit::{Entity, Event, Kind, id_at};

use crate::app::App;
use crate::client_address::network;

/// Events a minute of one address.
pub const MOST_OF_ONE: u32 = 120;

/// Events a minute of all addresses.
pub const MOST: u32 = 1_200;

/// Addresses that are told apart.
pub const MOST_ADDRESSES: usize = 1_000;

/// A minute, microseconds.
const MINUTE: i64 = 60_000_000;

/// Counts of the present minute.
#[derive(Debug, Default)]
pub struct Strangers(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    since: i64,
    written: u32,
    of: HashMap<Option<IpAddr>, Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    written: u32,
    counted: u32,
}

impl Strangers {
    /// Whether a request from `address` becomes an event of its own; else it is counted.
    pub fn admit(&self, address: Option<IpAddr>, now: i64) -> bool {
        let mut counts = self.lock();
        if counts.of.is_empty() {
            counts.since = now;
            counts.written = 0;
        }
        let is_all = counts.written >= MOST;
        let network = address.map(network);
        let key = if counts.of.contains_key(&network) || counts.of.len() < MOST_ADDRESSES { network } else { None };
        let count = counts.of.entry(key).or_default();
        if is_all || count.written >= MOST_OF_ONE {
            count.counted = count.counted.saturating_add(1);
            return false;
        }
        count.written += 1;
        counts.written += 1;
        true
    }

    /// What was counted in a minute that is over, by address; a new minute begins.
    fn take(&self, now: i64, at_once: bool) -> Vec<(Option<IpAddr>, u32)> {
        let mut counts = self.lock();
        if counts.of.is_empty() || (!at_once && (counts.since..counts.since + MINUTE).contains(&now)) {
            return Vec::new();
        }
        let counted = counts.of.drain().filter(|(_, count)| count.counted > 0);
        let mut counted: Vec<_> = counted.map(|(address, count)| (address, count.counted)).collect();
        counted.sort_unstable();
        counted
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an event is of nobody known: without app and person, or of an attempt to be one that failed.
pub fn is_one(event: &Event) -> bool {
    let failed = event.kind == Kind::Authentication && event.status >= 400;
    event.account.is_none() && (event.client.is_none() || failed)
}

/// Tells of what was counted, if the minute is over.
pub async fn tell(app: &App, at_once: bool) {
    let now = app.clock.now();
    for (address, count) in app.strangers.take(now, at_once) {
        let mut event = Event {
            id: id_at(now, app.random.bytes()),
            kind: Kind::Authentication,
            subtype: "strangers".into(),
            action: 'E',
            status: 401,
            address: address.map(|address| address.to_string()),
            ..Event::default()
        };
        let reference = format!("{count} further requests by nobody known");
        event.touch(Entity { action: 'E', status: 401, reference: &reference });
        if let Err(error) = app.store.audit(event).await {
            tracing::error!(%error, count, "requests by nobody known that the audit trail does not tell of");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u16) -> IpAddr {
        IpAddr::from([0x2001, 0xdb8, last, 0, 1, 2, 3, 4])
    }

    #[test]
    fn co_01_of_very_many_requests_by_nobody_known_the_number_is_told() {
        let strangers = Strangers::default();
        let admitted = (0..1_000).filter(|_| strangers.admit(Some(address(1)), 5)).count();
        assert_eq!(admitted, MOST_OF_ONE as usize);
        assert!(strangers.admit(Some(address(2)), 6), "others are not bothered");
        assert_eq!(strangers.take(MINUTE, false), []);
        let told = strangers.take(MINUTE + 5, false);
        assert_eq!(told, [(Some(network(address(1))), 1_000 - MOST_OF_ONE)]);
        assert!(strangers.admit(Some(address(1)), MINUTE + 6), "a new minute");
    }

    #[test]
    fn all_together_are_bounded() {
        let strangers = Strangers::default();
        let admitted = || (0..u16::MAX).filter(|number| strangers.admit(Some(address(*number)), 0)).count();
        let of_each_once = admitted();
        assert_eq!(of_each_once, MOST_ADDRESSES + MOST_OF_ONE as usize, "further addresses are as one");
        assert_eq!(of_each_once + admitted(), MOST as usize);
        assert!(strangers.lock().of.len() <= MOST_ADDRESSES + 1);
        let told: u32 = strangers.take(0, true).iter().map(|(_, count)| count).sum();
        assert_eq!(told + MOST, 2 * u32::from(u16::MAX));
    }

    #[test]
    fn whoever_is_known_is_not_meant() {
        let with = |client: Option<&str>, kind, status| {
            let client = client.map(str::to_owned);
            is_one(&Event { client, kind, status, ..Event::default() })
        };
        assert!(with(None, Kind::Rest, 401) && with(Some("app"), Kind::Authentication, 400));
        assert!(!with(Some("app"), Kind::Rest, 403) && !with(Some("app"), Kind::Authentication, 200));
        assert!(!is_one(&Event { account: Some("a".to_owned()), status: 401, ..Event::default() }));
    }
}
