//! Requests and errors of the last days as a drawing that needs no script, with a table that says the same.

use std::fmt::Write as _;

use store::usage::Day;

use super::words::{DAY, day};

/// Days that are drawn.
pub const DAYS: i64 = 30;

/// Width and height of the drawing, in its own units.
pub const SIZE: (i64, i64) = (600, 160);

/// What is drawn, and what it says in words.
#[derive(Clone, Debug, Default)]
pub struct Plot {
    /// Paths of the bars of requests that went well.
    pub good: String,
    /// Paths of the bars of errors, on top of them.
    pub bad: String,
    /// The largest number of requests of a day.
    pub top: i64,
    /// First day.
    pub from: String,
    /// Last day.
    pub to: String,
    /// What the drawing says.
    pub summary: String,
    /// Days with requests, latest first: day, requests, errors.
    pub rows: Vec<(String, i64, i64)>,
}

/// The day of an instant, counted from 1970.
pub fn day_of(micros: i64) -> i64 {
    micros.div_euclid(DAY)
}

/// Draws the days up to today.
pub fn draw(days: &[Day], today: i64) -> Plot {
    let (width, height) = SIZE;
    let shown = days.iter().filter(|it| it.day > today - DAYS && it.day <= today);
    let top = shown.clone().map(|it| it.requests).max().unwrap_or(0);
    let step = width / DAYS;
    let (mut good, mut bad) = (String::new(), String::new());
    for it in shown.clone() {
        let x = (it.day - (today - DAYS + 1)) * step + 2;
        // what happened at all is to be seen, however little it is
        let scaled = |count: i64| if count == 0 { 0 } else { (count * height / top.max(1)).max(2) };
        let (all, failed) = (scaled(it.requests), scaled(it.errors).min(scaled(it.requests)));
        let bar = step - 4;
        if all > failed {
            let _infallible = write!(good, "M{x} {height}v-{}h{bar}v{}z", all - failed, all - failed);
        }
        if failed > 0 {
            let _infallible = write!(bad, "M{x} {}v-{failed}h{bar}v{failed}z", height - (all - failed));
        }
    }
    let (requests, errors) = shown.clone().fold((0, 0), |sum, it| (sum.0 + it.requests, sum.1 + it.errors));
    let rows = shown.rev().map(|it| (day(it.day * DAY), it.requests, it.errors)).collect();
    let summary = match requests {
        0 => format!("No requests in the last {DAYS} days."),
        1 => format!("1 request in the last {DAYS} days, {errors} of them failed."),
        _ => format!("{requests} requests in the last {DAYS} days, {errors} of them failed; at most {top} on a day."),
    };
    Plot { good, bad, top, from: day((today - DAYS + 1) * DAY), to: day(today * DAY), summary, rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_end_at_the_top_and_errors_stand_on_the_rest() {
        let days = [Day { day: 99, requests: 10, errors: 5 }, Day { day: 100, requests: 5, errors: 0 }];
        let plot = draw(&days, 100);
        assert_eq!(plot.good, "M562 160v-80h16v80zM582 160v-80h16v80z");
        assert_eq!(plot.bad, "M562 80v-80h16v80z");
        assert_eq!(plot.summary, "15 requests in the last 30 days, 5 of them failed; at most 10 on a day.");
        assert_eq!(plot.rows.len(), 2);
    }

    #[test]
    fn other_days_are_not_drawn() {
        let plot = draw(&[Day { day: 70, requests: 1, errors: 0 }, Day { day: 101, requests: 1, errors: 0 }], 100);
        assert_eq!((plot.good.as_str(), plot.top), ("", 0));
    }
}
