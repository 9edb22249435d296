//! `GET /portal/billing`: the worklist of whoever bills insurers: claims that are not billed, sessions that are about to
//! expire, and what it all comes to.
//!
//! Only for accounts with the role (`tributary user billing NAME`), where a second factor was given (OA-25): they see
//! all patients' claims. To everybody else these pages are not there. What they show is what the operation `$worklist`
//! answers to a caller who may see all claims.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use fhir::json::Json;
use search::view::Compartment;
use smart::scope::ScopeSet;
use store::claim_submissions::{STATES, State, Wanted};
use url::form_urlencoded::Serializer;

use super::frame::Frame;
use super::page;
use super::words::moment;
use crate::access;
use crate::account::second_factor;
use crate::account::visitor::{Refused, State as AppState, Visitor, show};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::insurance::overview::{self, Ending, Seen};
use crate::insurance::{response, worklist};
use crate::oauth::form::Parameters;
use crate::oauth::patients::of_patient;

pub mod claim;
mod sums;

use sums::Drawing;

/// Claims of a page.
const SHOWN: usize = 25;

/// Longest text that is looked for.
const MAX_FIND: usize = 100;

/// What whoever bills may do, at the level of the whole server: claims, and what claims are made of.
const SCOPES: &str = "system/Claim.rus system/ClaimResponse.crus system/Coverage.rs \
     system/CoverageEligibilityRequest.rs system/CoverageEligibilityResponse.rs system/Patient.rs system/Encounter.rs \
     system/Condition.r system/Procedure.r system/Organization.r system/Location.r system/Practitioner.r \
     system/PractitionerRole.r";

#[derive(Template)]
#[template(path = "billing.html")]
struct BillingPage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    sessions: Vec<SessionLine>,
    drawings: Vec<Drawing>,
    is_cut: bool,
    choices: Vec<(&'static str, String, bool)>,
    payers: Vec<(&'static str, &'static str, bool)>,
    find: String,
    claims: Vec<ClaimLine>,
    next: Option<String>,
}

struct SessionLine {
    who: String,
    session: String,
    payer: String,
    what: String,
    is_over: bool,
    claim: String,
}

struct ClaimLine {
    id: String,
    invoice: String,
    who: String,
    payer: String,
    amount: String,
    tag: Tag,
    since: String,
    reasons: Vec<String>,
    advice: &'static str,
}

/// A state as a person sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag {
    /// In words.
    words: &'static str,
    /// Its colour.
    class: &'static str,
}

/// What is chosen in the list.
#[derive(Clone, Debug, Default)]
struct Choice {
    state: String,
    payer: String,
    find: String,
    from: Option<(i64, String)>,
}

/// The page.
pub async fn get(app: AppState, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let caller = biller(&app, &visitor).await?.attached(&request);
    let choice = Choice::of(&Parameters::parse(request.query_string().as_bytes())?);
    let states = choice.states()?;
    let wanted = Wanted {
        states: &states,
        payer: Some(choice.payer.as_str()).filter(|payer| !payer.is_empty()),
        named: Some(choice.find.as_str()).filter(|find| !find.is_empty()),
        ..Wanted::default()
    };
    let of_page = Wanted { after: choice.from.clone(), ..wanted.clone() };
    let found = overview::claims(&app, &caller, &of_page, SHOWN).await?;
    let all = Wanted { states: STATES, payer: wanted.payer, ..Wanted::default() };
    let (sums, is_cut) = overview::sums(&app, &caller, &all).await?;
    let endings = overview::sessions(&app, &caller).await?;
    let people = found.shown.iter().filter_map(|seen| patient_of(&seen.claim));
    let people: Vec<String> = people.chain(endings.iter().filter_map(|it| it.patient.clone())).collect();
    let people = overview::visible(&app, &caller, "Patient", people.iter().map(String::as_str)).await?;
    let name = |id: Option<String>| {
        let patient = id.as_ref().and_then(|id| people.get(id).map(|patient| of_patient(id, patient).name));
        patient.or(id).unwrap_or_default()
    };
    let now = app.clock.now();
    let page = BillingPage {
        style: page::STYLE,
        frame: Frame::of(&visitor, "billing"),
        sessions: endings.iter().filter(|it| is_open(it.claim)).map(|it| session_line(it, now, &name)).collect(),
        drawings: sums::draw(&sums),
        is_cut,
        choices: choice.offered(),
        payers: adapters::payer::PAYERS.iter().map(|it| (it.vendor, it.name, it.vendor == choice.payer)).collect(),
        next: found.next.as_ref().map(|next| choice.link(next)),
        claims: found.shown.into_iter().map(|seen| claim_line(&seen, &name)).collect(),
        find: choice.find,
    };
    Ok(show(&page, StatusCode::OK, None))
}

/// Whoever bills insurers, and gave a second factor; to others these pages are not there.
async fn biller(app: &App, visitor: &Visitor) -> Result<Caller, Refused> {
    if !visitor.is_billing {
        return Err(Refused::NotFound);
    }
    second_factor::required(app, visitor).await?;
    let mut caller = Caller::person("portal", &visitor.account, None);
    caller.scopes = ScopeSet::parse(SCOPES).unwrap_or_default();
    caller.view = access::of_page(app, &caller.scopes, Compartment::Everyone);
    Ok(caller)
}

impl Choice {
    fn of(query: &Parameters) -> Self {
        let text = |name: &str| query.get(name).map(str::trim).filter(|text| text.len() <= MAX_FIND);
        Choice {
            state: text("state").unwrap_or_default().to_owned(),
            payer: text("payer").unwrap_or_default().to_owned(),
            find: text("find").unwrap_or_default().to_owned(),
            from: text("from").and_then(worklist::cursor),
        }
    }

    fn states(&self) -> Result<Vec<State>, Refused> {
        if self.state == "all" || (self.state.is_empty() && !self.find.is_empty()) {
            return Ok(STATES.to_vec());
        }
        let named = Some(self.state.as_str()).filter(|state| !state.is_empty());
        worklist::states(named.into_iter()).map_err(|error: Error| Refused::Invalid(error.to_string()))
    }

    /// Value, words, and whether it is chosen.
    fn offered(&self) -> Vec<(&'static str, String, bool)> {
        let mut offered = vec![("", "not billed yet".to_owned(), self.state.is_empty())];
        offered.push(("all", "all".to_owned(), self.state == "all"));
        let one = |state: &State| (state.as_str(), tag(*state).words.to_owned(), self.state == state.as_str());
        offered.extend(STATES.iter().map(one));
        offered
    }

    /// The query of the rest of the list.
    fn link(&self, (at, claim): &(i64, String)) -> String {
        let mut query = Serializer::new(String::new());
        for (name, value) in [("state", &self.state), ("payer", &self.payer), ("find", &self.find)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.append_pair("from", &format!("{at}:{claim}")).finish()
    }
}

/// Whether a session still needs its claim to be billed.
fn is_open(claim: Option<State>) -> bool {
    claim.is_none_or(|state| !state.stands() && !state.is_done())
}

fn session_line(ending: &Ending, now: i64, name: &impl Fn(Option<String>) -> String) -> SessionLine {
    let is_over = ending.session.status == "EXPIRED" || ending.expires_at <= now;
    let minutes = (ending.expires_at - now) / 60_000_000;
    let what = match minutes {
        _ if is_over => format!("expired {}", moment(ending.expires_at)),
        0 => "expires now".to_owned(),
        1..=59 => format!("expires in {minutes} min"),
        _ => format!("expires in {} h {} min", minutes / 60, minutes % 60),
    };
    SessionLine {
        who: name(ending.patient.clone()),
        session: ending.session.session.clone(),
        payer: payer_name(&ending.session.payer),
        what,
        is_over,
        claim: ending.claim.map_or_else(|| "no claim yet".to_owned(), |state| format!("claim {}", tag(state).words)),
    }
}

fn claim_line(Seen { submission, claim }: &Seen, name: &impl Fn(Option<String>) -> String) -> ClaimLine {
    ClaimLine {
        id: submission.claim.clone(),
        invoice: submission.invoice.clone(),
        who: name(patient_of(claim)),
        payer: payer_name(&submission.payer),
        amount: format!("{} {}", submission.net, submission.currency),
        tag: tag(submission.state),
        since: moment(submission.changed_at),
        reasons: response::reasons(submission).take(3).collect(),
        advice: response::advice(submission.state),
    }
}

fn patient_of(claim: &Json) -> Option<String> {
    let reference = claim.at(&["patient", "reference"])?.as_str()?;
    reference.strip_prefix("Patient/").map(str::to_owned)
}

fn payer_name(vendor: &str) -> String {
    adapters::payer::find(vendor).map_or(vendor, |payer| payer.name).to_owned()
}

fn tag(state: State) -> Tag {
    let (words, class) = match state {
        State::Waiting | State::Sending => ("to be sent", "wait"),
        State::Unknown => ("being asked for", "wait"),
        State::Taken => ("with the payer", "wait"),
        State::Refused => ("refused", "bad"),
        State::Billed => ("billed", "good"),
        State::Approved => ("approved", "good"),
        State::Partial => ("approved in part", "bad"),
        State::Denied => ("denied", "bad"),
        State::Replaced => ("replaced", "wait"),
        State::Cancelled => ("cancelled", "wait"),
        State::Rejected => ("rejected", "bad"),
        State::Differs => ("other amount", "bad"),
        State::GivenUp => ("given up", "bad"),
    };
    Tag { words, class }
}
