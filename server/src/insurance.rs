//! Insured visits and claims: what a payer's service is asked, and claims that are billed once.
//!
//! ```text
//! $fetch-visit, $merge-visit, $close-visit ─▶ visit   payer ─▶ adapter (pure) ─▶ rest::bundle, session row
//! Claim/[id]/$submit                       ─▶ route, submit   checks ─▶ Claim active, ClaimResponse, outbox row: one transaction
//! $fetch-copay                             ─▶ copay   asked when somebody wants to know
//! $send-diagnoses, $withdraw               ─▶ in the row of the claim: what follows it, or that it is taken back
//! sessions                                 ─▶ told to be about to expire, then marked as expired
//! outbox row                               ─▶ worker  lease ─▶ "sending" ─▶ payer ─▶ ClaimResponse and state together
//!                                                     outcome unknown ─▶ ask ─▶ known, or sent again
//! ```
//!
//! What the payers' formats are is in package `adapters`; nothing here knows a payer by name but [`DEFAULT_PAYER`].

pub mod account;
pub mod assertion;
pub mod copay;
pub mod diagnoses;
mod gather;
mod given;
pub mod overview;
pub mod response;
mod route;
mod sessions;
pub mod submit;
pub mod visit;
mod whose;
pub mod withdraw;
pub mod worker;
pub mod worklist;

use adapters::Refusal;
use fhir::outcome::Issue;

use crate::error::{Error, Kind};

/// The payer that visits are asked of, and that claims go to where no other connection is meant.
pub const DEFAULT_PAYER: &str = "smartlink";

/// What whoever asked us is answered when the payer refused.
fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Malformed(issue) => Error::new(Kind::BadGateway, issue),
        Refusal::Unprocessable(issues) => Error::unprocessable(issues),
        Refusal::Vendor { status, issues, retry_after } => of_status(status, issues, retry_after),
    }
}

fn of_status(status: u16, issues: Vec<Issue>, retry_after: Option<u64>) -> Error {
    match status {
        404 | 422 => Error::unprocessable(issues),
        409 => Error::conflict(issues),
        503 => Error::unavailable(issues).with_header("Retry-After", retry_after.unwrap_or(60).to_string()),
        _ => Error::new(Kind::BadGateway, issues),
    }
}
