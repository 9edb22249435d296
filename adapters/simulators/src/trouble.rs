//! What goes wrong on the vendor's side, on purpose and repeatably: every so many answers, and in outages.

use std::time::Duration;

/// Troubles of a simulated vendor; without any it behaves.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Trouble {
    /// How late every answer is, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    pub delay: u64,
    /// Every so many requests are answered with 500.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub fail_every: u64,
    /// Every so many requests are answered with 429.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub throttle_every: u64,
    /// Seconds that a throttled sender is told to wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    pub retry_after: u64,
    /// Every so many requests the connection is closed without an answer.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub drop_every: u64,
    /// Every so many messages are sent twice.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub duplicate_every: u64,
    /// Messages are held back until there are so many, and sent in reverse order.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub reorder: usize,
    /// Everything is answered with 403: the quota is spent.
    #[arg(long)]
    pub quota: bool,
    /// Everything is answered with 503.
    #[arg(long)]
    pub outage: bool,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// It fails with this status; seconds to wait.
    Refused(u16, Option<u64>),
    /// The connection is closed.
    Dropped,
}

impl Trouble {
    /// What becomes of the request of this number, counted from 1.
    pub fn fate(&self, number: u64) -> Fate {
        if self.outage {
            return Fate::Refused(503, Some(self.retry_after));
        }
        if self.quota {
            return Fate::Refused(403, Some(self.retry_after));
        }
        if every(self.drop_every, number) {
            return Fate::Dropped;
        }
        if every(self.throttle_every, number) {
            return Fate::Refused(429, Some(self.retry_after));
        }
        if every(self.fail_every, number) { Fate::Refused(500, None) } else { Fate::Answered }
    }

    /// How often the message of this number is sent.
    pub fn copies(&self, number: u64) -> usize {
        if every(self.duplicate_every, number) { 2 } else { 1 }
    }

    /// How late an answer is.
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.delay)
    }
}

/// What happens by chance, and the same again with the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The chance of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Chance(seed | 1)
    }

    /// Whether something happens that happens so many times in a thousand.
    pub(crate) fn happens(&mut self, per_mille: u64) -> bool {
        // Marsaglia's xorshift: enough to spread faults.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % 1000 < per_mille
    }
}

fn every(count: u64, number: u64) -> bool {
    count > 0 && number.is_multiple_of(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_come_every_so_many_times() {
        let trouble = Trouble { fail_every: 3, drop_every: 4, ..Trouble::default() };
        let fates: Vec<Fate> = (1..=4).map(|number| trouble.fate(number)).collect();
        assert_eq!(fates, [Fate::Answered, Fate::Answered, Fate::Refused(500, None), Fate::Dropped]);
        assert_eq!(Trouble::default().copies(7), 1);
    }
}
