//! What is known of claims and sessions as one caller may see it: for the operation `$worklist` and the page of billing
//! officers.
//!
//! Rows of the outbox say how far claims are; whether somebody may know of a row is decided by the Claim itself, which
//! is searched through the caller's view. So is a session by its CoverageEligibilityRequest.

use std::collections::BTreeMap;

use adapters::money;
use fhir::decimal::Decimal;
use fhir::json::Json;
use search::parse::{Options, literal, parse};
use search::view::{Compartment, TypeRule};
use store::Stored;
use store::claim_submissions::{self, State, Submission, Wanted};
use store::insurance_sessions::{self, Session};

use super::account::{self, Times};
use super::whose;
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;

/// Rows that are looked at together.
const BATCH: usize = 250;

/// Most rows that one list looks at, and most that sums are made of.
pub const MOST: usize = 10_000;

/// Most sessions of a list.
pub const MOST_SESSIONS: usize = 200;

/// How long a session that expired is shown, microseconds: a week.
const SHOWN: i64 = 7 * 24 * 3_600_000_000;

/// A claim on its way that the caller may see.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The row of the outbox.
    pub submission: Submission,
    /// The Claim.
    pub claim: Json,
}

/// Claims of a list.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// The claims, the longest unchanged first.
    pub shown: Vec<Seen>,
    /// Where the list goes on, if it may: when the state of the last one changed, and its Claim.
    pub next: Option<(i64, String)>,
}

/// How many claims, for how much, by payer, state and currency.
pub type Sums = BTreeMap<(String, &'static str, String), (u64, Decimal)>;

/// A session that is about to expire, or has expired.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The session.
    pub session: Session,
    /// When it expires or did, microseconds since 1970.
    pub expires_at: i64,
    /// Logical id of the patient.
    pub patient: Option<String>,
    /// How far its claim is; none where none was submitted.
    pub claim: Option<State>,
}

/// Up to `count` claims of those wanted.
pub async fn claims(app: &App, caller: &Caller, wanted: &Wanted<'_>, count: usize) -> Result<Claims, Error> {
    access::decide(caller, Interaction::Search, "Claim")?;
    let mut found = Claims::default();
    let mut wanted = wanted.clone();
    for _ in 0..MOST.div_ceil(BATCH) {
        let rows = claim_submissions::list(&app.store, &wanted, BATCH as u64).await?;
        let is_last = rows.len() < BATCH;
        let mut claims = visible(app, caller, "Claim", rows.iter().map(|row| row.claim.as_str())).await?;
        for submission in rows {
            wanted.after = Some((submission.changed_at, submission.claim.clone()));
            let Some(claim) = claims.remove(&submission.claim) else { continue };
            if found.shown.len() == count {
                let last = found.shown.last().map(|seen| &seen.submission);
                found.next = last.map(|last| (last.changed_at, last.claim.clone()));
                return Ok(found);
            }
            found.shown.push(Seen { submission, claim });
        }
        if is_last {
            return Ok(found);
        }
    }
    found.next = wanted.after;
    Ok(found)
}

/// The sums of those wanted, and whether there are more than were looked at.
pub async fn sums(app: &App, caller: &Caller, wanted: &Wanted<'_>) -> Result<(Sums, bool), Error> {
    let wanted = Wanted { without_bodies: true, ..wanted.clone() };
    let found = claims(app, caller, &wanted, MOST).await?;
    let mut sums = Sums::new();
    for Seen { submission, .. } in &found.shown {
        let key = (submission.payer.clone(), submission.state.as_str(), submission.currency.clone());
        let sum = sums.entry(key).or_insert_with(|| (0, Decimal::from(0)));
        let net = Decimal::parse(&submission.net).ok_or_else(|| Error::internal("a submission without an amount"))?;
        sum.0 += 1;
        sum.1 = money::sum([&sum.1, &net]).ok_or_else(|| Error::internal("a sum that is too large"))?;
    }
    Ok((sums, found.next.is_some()))
}

/// Sessions that are about to expire, the first to expire first, and those that expired lately; each with its claim.
pub async fn sessions(app: &App, caller: &Caller) -> Result<Vec<Ending>, Error> {
    if *caller.view.rule("CoverageEligibilityRequest") == TypeRule::Denied {
        return Ok(Vec::new());
    }
    access::decide(caller, Interaction::Search, "CoverageEligibilityRequest")?;
    let (now, mut endings) = (app.clock.now(), Vec::new());
    for payer in adapters::payer::PAYERS {
        let Some(times) = account::times(app, payer.vendor).await? else { continue };
        let soon = now - times.open + times.soon;
        let mut sessions =
            insurance_sessions::used(&app.store, payer.vendor, soon, false, MOST_SESSIONS as u64).await?;
        let since = now - times.open - SHOWN;
        sessions.extend(insurance_sessions::expired(&app.store, payer.vendor, since, MOST_SESSIONS as u64).await?);
        endings.extend(of_payer(app, caller, payer.vendor, &times, sessions).await?);
    }
    Ok(endings)
}

async fn of_payer(
    app: &App,
    caller: &Caller,
    vendor: &str,
    times: &Times,
    sessions: Vec<Session>,
) -> Result<Vec<Ending>, Error> {
    let names: Vec<String> = sessions.iter().map(|session| session.session.clone()).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let system = whose::system(app, vendor, "session");
    let requests = named(app, caller, &system, &names).await?;
    let submissions = claim_submissions::of_sessions(&app.store, vendor, &names).await?;
    let is_confined = *caller.view.compartment() != Compartment::Everyone;
    let mut endings = Vec::new();
    for session in sessions {
        let Some(patient) = requests.get(&session.session).cloned() else { continue };
        // A request that names the session of somebody else shows nothing of it.
        if is_confined && (patient.is_none() || whose::owner(app, vendor, &session.patient_number).await? != patient) {
            continue;
        }
        let claim = submissions.iter().find(|it| it.session == session.session).map(|it| it.state);
        endings.push(Ending { expires_at: session.seen_at + times.open, patient, claim, session });
    }
    Ok(endings)
}

/// The patients of the requests of sessions that the caller may see, by session.
async fn named(
    app: &App,
    caller: &Caller,
    system: &str,
    sessions: &[String],
) -> Result<BTreeMap<String, Option<String>>, Error> {
    let mut found = BTreeMap::new();
    for some in sessions.chunks(BATCH) {
        let identifiers: Vec<String> = some.iter().map(|it| format!("{system}|{}", literal(it))).collect();
        let requests = search(app, caller, "CoverageEligibilityRequest", "identifier", &identifiers).await?;
        for (_, request) in requests {
            let own = request.list("identifier").iter().find(|it| it.str("system") == Some(system));
            let Some(session) = own.and_then(|it| it.str("value")) else { continue };
            let patient = request.at(&["patient", "reference"]).and_then(Json::as_str);
            let patient = patient.and_then(|it| it.strip_prefix("Patient/")).map(str::to_owned);
            found.insert(session.to_owned(), patient);
        }
    }
    Ok(found)
}

/// Those of these resources that the caller may see, by id.
pub async fn visible<'a>(
    app: &App,
    caller: &Caller,
    resource_type: &str,
    ids: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, Json>, Error> {
    let ids: Vec<String> = ids.map(str::to_owned).collect();
    let mut found = BTreeMap::new();
    for some in ids.chunks(BATCH) {
        found.extend(search(app, caller, resource_type, "_id", some).await?);
    }
    Ok(found)
}

/// Those of a type that the caller may see and that have one of these values, by id.
pub(super) async fn search(
    app: &App,
    caller: &Caller,
    resource_type: &str,
    parameter: &str,
    values: &[String],
) -> Result<Vec<(String, Json)>, Error> {
    let found = matches(app, caller, resource_type, parameter, values).await?;
    let read = |body: &str| Json::parse(body.as_bytes()).map_err(Error::internal);
    found.iter().map(|stored| Ok((stored.id.clone(), read(&stored.body)?))).collect()
}

/// The same as they are stored.
pub(super) async fn matches(
    app: &App,
    caller: &Caller,
    resource_type: &str,
    parameter: &str,
    values: &[String],
) -> Result<Vec<Stored>, Error> {
    let options = Options::at_most(values.len().max(2), app.config.fhir_base(), app.clock.now());
    let pairs = [(parameter.to_owned(), values.join(","))];
    let parsed = parse(resource_type, &pairs, &options).map_err(|issues| Error::internal(format!("{issues:?}")))?;
    let page = app.store.search(&caller.view, &parsed.query).await?;
    caller.saw_page(&page);
    Ok(page.matches)
}
