//! Sums by payer and state as a drawing that needs no script, with a table that says the same. Amounts are decimals as
//! they are; only the lengths of bars are rounded.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fhir::decimal::Decimal;

use super::{payer_name, tag};
use crate::insurance::overview::Sums;
use store::claim_submissions::State;

/// Width of a drawing, in its own units.
const WIDTH: i128 = 600;

/// Height of a bar.
const HEIGHT: i128 = 24;

/// Classes of parts of bars, in their order, with what they are.
const PARTS: [(&str, &str); 4] =
    [("billed", "billed"), ("way", "on the way"), ("trouble", "to be looked at"), ("ended", "cancelled")];

/// The sums of one currency.
#[derive(Clone, Debug)]
pub(super) struct Drawing {
    /// The currency.
    pub(super) currency: String,
    /// A bar for each payer.
    pub(super) bars: Vec<Bar>,
    /// What the parts of bars are: class and words.
    pub(super) legend: Vec<(&'static str, &'static str)>,
    /// Payer, state, number and amount.
    pub(super) rows: Vec<(String, &'static str, u64, String)>,
}

/// A payer's bar.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    /// The payer's name.
    pub(super) payer: String,
    /// The parts: class and path.
    pub(super) parts: Vec<(&'static str, String)>,
    /// The same in words.
    pub(super) words: String,
}

/// Draws all currencies.
pub(super) fn draw(sums: &Sums) -> Vec<Drawing> {
    let mut currencies: Vec<&str> = sums.keys().map(|(_, _, currency)| currency.as_str()).collect();
    currencies.sort_unstable();
    currencies.dedup();
    currencies.into_iter().map(|currency| of_currency(sums, currency)).collect()
}

fn of_currency(sums: &Sums, currency: &str) -> Drawing {
    let own = || sums.iter().filter(|((_, _, it), _)| it == currency);
    let mut rows = Vec::new();
    let mut payers: BTreeMap<&str, [i128; PARTS.len()]> = BTreeMap::new();
    let mut words: BTreeMap<&str, String> = BTreeMap::new();
    for ((payer, state, _), (count, amount)) in own() {
        let Some(state) = State::parse(state) else { continue };
        let said = tag(state).words;
        rows.push((payer_name(payer), said, *count, amount.as_str().to_owned()));
        let parts = payers.entry(payer).or_default();
        parts[part(state)] = parts[part(state)].saturating_add(cents(amount));
        let text = words.entry(payer).or_default();
        let comma = if text.is_empty() { "" } else { ", " };
        let _infallible = write!(text, "{comma}{said} {} {currency}", amount.as_str());
    }
    let widest = payers.values().map(|parts| total(parts)).max().unwrap_or(0).max(1);
    let bars = payers.iter().map(|(payer, parts)| Bar {
        payer: payer_name(payer),
        parts: paths(parts, widest),
        words: words.remove(payer).unwrap_or_default(),
    });
    let bars: Vec<Bar> = bars.collect();
    let is_used = |index: &usize| payers.values().any(|parts| parts[*index] > 0);
    let legend = (0..PARTS.len()).filter(is_used).map(|index| PARTS[index]).collect();
    Drawing { currency: currency.to_owned(), bars, legend, rows }
}

fn paths(parts: &[i128; PARTS.len()], widest: i128) -> Vec<(&'static str, String)> {
    let (mut from, mut paths) = (0, Vec::new());
    for (amount, (class, _)) in parts.iter().zip(PARTS) {
        if *amount > 0 {
            // what is there at all is to be seen, however little it is
            let width = (amount.saturating_mul(WIDTH) / widest).max(2);
            paths.push((class, format!("M{from} 0h{width}v{HEIGHT}h-{width}z")));
            from += width;
        }
    }
    paths
}

fn total(parts: &[i128]) -> i128 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(*part))
}

/// An amount in hundredths, rounded down: exact enough for a length.
fn cents(amount: &Decimal) -> i128 {
    let Some((mantissa, scale)) = amount.to_scaled() else { return 0 };
    let power = |places: u32| 10_i128.checked_pow(places).unwrap_or(i128::MAX);
    let cents = if scale > 2 { mantissa / power(scale - 2) } else { mantissa.saturating_mul(power(2 - scale)) };
    cents.max(0)
}

fn part(state: State) -> usize {
    match state {
        State::Billed | State::Approved => 0,
        State::Waiting | State::Sending | State::Unknown | State::Taken => 1,
        State::Refused | State::Rejected | State::Differs | State::GivenUp | State::Partial | State::Denied => 2,
        State::Cancelled | State::Replaced => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_what_they_stand_for_and_amounts_are_exact() {
        let of = |state: &'static str, currency: &str, count, text: &str| {
            let key = ("smartlink".to_owned(), state, currency.to_owned());
            (key, (count, Decimal::parse(text).expect("a decimal")))
        };
        let sums: Sums =
            [of("billed", "KES", 3, "300.10"), of("refused", "KES", 1, "100.033"), of("taken", "UGX", 1, "0.01")]
                .into();
        let drawings = draw(&sums);
        assert_eq!(drawings.len(), 2);
        let kes = &drawings[0];
        assert_eq!(kes.bars[0].words, "billed 300.10 KES, refused 100.033 KES");
        let paths: Vec<&str> = kes.bars[0].parts.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(paths, ["M0 0h450v24h-450z", "M450 0h149v24h-149z"]);
        assert_eq!(kes.legend, [("billed", "billed"), ("trouble", "to be looked at")]);
        assert_eq!(drawings[1].rows, [("SmartLink".to_owned(), "with the payer", 1, "0.01".to_owned())]);
        assert_eq!(drawings[1].bars[0].parts, [("way", "M0 0h600v24h-600z".to_owned())]);
    }
}
