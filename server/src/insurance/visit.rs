//! Visits: what a payer's service says of a patient's sessions, and what it is told of ours.
//!
//! | operation | asks the payer | writes |
//! |---|---|---|
//! | `$fetch-visit` | sessions that are PENDING, and the member of each | CoverageEligibilityRequest, Coverage, CoverageEligibilityResponse, Organization |
//! | `$merge-visit` | our visit number for a session | the Encounter's identifiers, the session's status |
//! | `$close-visit` | to close the session | the session's status |
//!
//! A Patient is made only where a person says so; else it must have the payer's patient number among its identifiers.
//! Whose a session is says `whose`, not the Encounter that names it. What the payer was told cannot be taken back, so who
//! could not write its answer is refused before it is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use adapters::payer::Question;
use adapters::{Context, Mapping, Refusal};
use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};
use search::parse::literal;
use search::view::Compartment;
use store::insurance_sessions::{self, Session};

use super::account::{Account, Answer as Answered};
use super::gather::{self, with};
use super::whose::{self, identifier, system};
use super::{DEFAULT_PAYER, account, overview, refused};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::bundle::{self, Also};
use crate::rest::operation::Invocation;
use crate::rest::response::{Answer, etag};

/// What the answer about one session is written as, beside the insurer.
const OF_SESSION: &[(Interaction, &str)] =
    &[(Interaction::Update, "CoverageEligibilityRequest"), (Interaction::Search, "CoverageEligibilityRequest")];

/// What the answer about sessions and members is written as.
const OF_MEMBER: &[(Interaction, &str)] = &[
    (Interaction::Create, "CoverageEligibilityRequest"),
    (Interaction::Update, "CoverageEligibilityRequest"),
    (Interaction::Search, "CoverageEligibilityRequest"),
    (Interaction::Update, "Coverage"),
    (Interaction::Search, "Coverage"),
    (Interaction::Update, "CoverageEligibilityResponse"),
    (Interaction::Search, "CoverageEligibilityResponse"),
    (Interaction::Create, "Organization"),
    (Interaction::Search, "Organization"),
    (Interaction::Search, "Patient"),
];

/// `CoverageEligibilityRequest/$fetch-visit`.
pub async fn fetch(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    may_write(caller, OF_MEMBER)?;
    if is_confined(caller) {
        let text = "covers and insurers are written by whoever may write those of all patients";
        return Err(Error::forbidden(text));
    }
    let patient = invocation.input.text("patient-number").unwrap_or_default();
    let create = invocation.input.text("create-patient") == Some("true");
    if create {
        access::decide(caller, Interaction::Create, "Patient")?;
    }
    let account = account::open(app, DEFAULT_PAYER).await?;
    // The payer is asked about nobody whom the caller does not know.
    if !create && whose::known(app, caller, account.payer.vendor, patient).await?.is_none() {
        let text = format!("no patient here has the number {patient}; give them the identifier first");
        return Err(Error::unprocessable(Issue::error(IssueCode::NotFound, text).at("Patient.identifier")));
    }
    let asked = ask(app, &account, &Question::Visit { patient }).await?;
    let visits = mapped(app, &account, "visit", &asked, &fhir::object! { "patientNumber": patient })?;
    let (mut entries, mut issues, mut sessions) = (Vec::new(), visits.issues.clone(), Vec::new());
    let names = system(app, account.payer.vendor, "session");
    for request in visits.of_type("CoverageEligibilityRequest") {
        let Some(session) = identifier(request, &names) else { continue };
        let asked = ask(app, &account, &Question::Member { patient, session }).await?;
        let told = fhir::object! { "sessionId": session, "patientNumber": patient };
        let member = mapped(app, &account, "member", &asked, &told)?;
        issues.extend(member.issues.iter().cloned());
        nobody_elses(app, caller, &account, &member, patient).await?;
        let known = insurance_sessions::find(&app.store, account.payer.vendor, session).await?;
        sessions.push(Session {
            payer: account.payer.vendor.to_owned(),
            session: session.to_owned(),
            patient_number: patient.to_owned(),
            visit_number: None,
            status: status(request),
            seen_at: known.as_ref().map_or_else(|| app.clock.now(), |known| known.seen_at),
            facts: facts(app, &account, &member).to_string(),
            told_at: None,
        });
        entries.extend(member.entries);
    }
    let mut all = visits.entries;
    all.extend(entries);
    let bundle = one(all, if create { &[] } else { &["Patient"] });
    let written = write(app, caller, bundle, sessions).await?;
    Ok(answer(&written, &issues))
}

/// Refuses a cover that is somebody else's here: what the payer says of this patient does not make it theirs. (LK-51)
async fn nobody_elses(
    app: &App,
    caller: &Caller,
    account: &Account,
    member: &Mapped,
    patient: &str,
) -> Result<(), Error> {
    let system = system(app, account.payer.vendor, "coverage");
    for coverage in member.of_type("Coverage") {
        let Some(name) = identifier(coverage, &system) else { continue };
        let value = format!("{system}|{}", literal(name));
        let found = overview::search(app, caller, "Coverage", "identifier", &[value]).await?;
        let own = whose::known(app, caller, account.payer.vendor, patient).await?.map(|id| format!("Patient/{id}"));
        let is_other =
            |(_, it): &(String, Json)| it.at(&["beneficiary", "reference"]).and_then(Json::as_str) != own.as_deref();
        if found.iter().any(is_other) {
            let text = "the payer names a cover that is another patient's here; clear with the insurer whose it is";
            return Err(Error::conflict(Issue::error(IssueCode::Conflict, text).at("Coverage.beneficiary")));
        }
    }
    Ok(())
}

/// `Encounter/[id]/$merge-visit`.
pub async fn merge(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    may_tell(caller)?;
    let id = invocation.target.id.as_str();
    let (encounter, version) = encounter(app, caller, id).await?;
    let account = account::open(app, DEFAULT_PAYER).await?;
    let payer = account.payer.vendor;
    let session = invocation.input.text("session").unwrap_or_default();
    let found = insurance_sessions::find(&app.store, payer, session).await?;
    let owner = match &found {
        Some(found) => whose::known(app, caller, payer, &found.patient_number).await?,
        None => None,
    };
    let (Some(known), Some(owner)) = (found, owner) else {
        let text = format!("session {session} is not known here; fetch the visit first");
        return Err(Error::unprocessable(Issue::error(IssueCode::NotFound, text)));
    };
    if whose::subject(app, &encounter) != Some(owner) {
        let text = format!("session {session} is that of another patient");
        return Err(Error::unprocessable(Issue::error(IssueCode::BusinessRule, text).at("Encounter.subject")));
    }
    let own = identifier(&encounter, &system(app, payer, "visit-number"));
    let visit = invocation.input.text("visit-number").or(own).unwrap_or(id).to_owned();
    let asked = ask(app, &account, &Question::Merge { session, visit: &visit }).await?;
    let encounter = named(&encounter, app, &account, &[("visit-number", &visit), ("session", session)]);
    let known = Session { visit_number: Some(visit), ..known };
    told(app, caller, &account, &asked, known, Some((encounter, version))).await
}

/// `Encounter/[id]/$close-visit`.
pub async fn close(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    may_tell(caller)?;
    let (encounter, _) = encounter(app, caller, &invocation.target.id).await?;
    let account = account::open(app, DEFAULT_PAYER).await?;
    let known = session(app, &account, &encounter).await?;
    if whose::known(app, caller, account.payer.vendor, &known.patient_number).await?.is_none() {
        return Err(without_session());
    }
    let asked = ask(app, &account, &Question::Close { session: &known.session }).await?;
    told(app, caller, &account, &asked, known, None).await
}

/// The session that an Encounter was merged with; one of somebody else is none.
pub(super) async fn session(app: &App, account: &Account, encounter: &Json) -> Result<Session, Error> {
    let named = identifier(encounter, &system(app, account.payer.vendor, "session")).unwrap_or_default();
    let subject = whose::subject(app, encounter);
    whose::session(app, account, named, subject.as_deref()).await?.ok_or_else(without_session)
}

fn without_session() -> Error {
    let text = "the Encounter has no session of the payer; fetch the visit and merge it first";
    Error::unprocessable(Issue::error(IssueCode::BusinessRule, text).at("Encounter.identifier"))
}

/// Refuses who may not change visits, or could not write what the payer says of one session.
fn may_tell(caller: &Caller) -> Result<(), Error> {
    access::decide(caller, Interaction::Update, "Encounter")?;
    access::decide(caller, Interaction::Search, "Patient")?;
    access::decide(caller, Interaction::Search, "Organization")?;
    if !is_confined(caller) {
        access::decide(caller, Interaction::Create, "Organization")?;
    }
    may_write(caller, OF_SESSION)
}

pub(super) fn may_write(caller: &Caller, interactions: &[(Interaction, &str)]) -> Result<(), Error> {
    interactions.iter().try_for_each(|(interaction, of)| access::decide(caller, *interaction, of))
}

/// Whether the caller may write of some patients only: nothing that all share.
fn is_confined(caller: &Caller) -> bool {
    *caller.view.compartment() != Compartment::Everyone
}

/// Writes what the payer says of one session after it was told something, and the Encounter that it belongs to.
async fn told(
    app: &App,
    caller: &Caller,
    account: &Account,
    asked: &Answered,
    known: Session,
    encounter: Option<(Json, i64)>,
) -> Result<Answer, Error> {
    let created = fhir::date::format_instant(known.seen_at);
    let context = fhir::object! { "patientNumber": known.patient_number.as_str(), "created": created };
    let visit = mapped(app, account, "visit", asked, &context)?;
    let names = system(app, account.payer.vendor, "session");
    let found = visit.of_type("CoverageEligibilityRequest").find(|it| identifier(it, &names) == Some(&known.session));
    let Some(status) = found.map(status) else {
        let text = "the payer answered about another session";
        return Err(Error::new(crate::error::Kind::BadGateway, text));
    };
    // The hospital's Encounter says more than the payer knows of it, so only its identifiers change.
    let is_ours = |entry: &Json| entry.get("resource").and_then(|it| it.str("resourceType")) != Some("Encounter");
    let mut entries: Vec<Json> = visit.entries.into_iter().filter(is_ours).collect();
    if let Some((encounter, version)) = encounter {
        let url = format!("Encounter/{}", encounter.str("id").unwrap_or_default());
        entries.push(fhir::object! {
            "resource": encounter,
            "request": fhir::object! { "method": "PUT", "url": url, "ifMatch": etag(version) },
        });
    }
    let known = Session { status, facts: "{}".to_owned(), told_at: None, ..known };
    // The insurer was written with the session; who may not write what all share refers to it.
    let others: &[&str] = if is_confined(caller) { &["Patient", "Organization"] } else { &["Patient"] };
    let written = write(app, caller, one(entries, others), vec![known]).await?;
    Ok(answer(&written, &visit.issues))
}

/// An Encounter and its version.
pub(super) async fn encounter(app: &App, caller: &Caller, id: &str) -> Result<(Json, i64), Error> {
    gather::stored(app, caller, "Encounter", id).await
}

pub(super) async fn ask(app: &App, account: &Account, question: &Question<'_>) -> Result<Answered, Error> {
    let context = Context { namespace: &app.config.adapter_namespace, ..Context::default() };
    let answer = account.ask(app, &(account.payer.ask)(question, &context)).await?;
    match (account.payer.refusal)(answer.status, &answer.body) {
        Some(Refusal::Vendor { status, issues, retry_after }) => {
            Err(refused(Refusal::Vendor { status, issues, retry_after: retry_after.or(answer.retry_after) }))
        }
        Some(refusal) => Err(refused(refusal)),
        None => Ok(answer),
    }
}

/// An answer as FHIR.
pub(super) struct Mapped {
    pub(super) entries: Vec<Json>,
    pub(super) issues: Vec<Issue>,
}

impl Mapped {
    fn of_type<'a>(&'a self, resource_type: &'a str) -> impl Iterator<Item = &'a Json> {
        let resources = self.entries.iter().filter_map(|entry| entry.get("resource"));
        resources.filter(move |it| it.str("resourceType") == Some(resource_type))
    }
}

pub(super) fn mapped(
    app: &App,
    account: &Account,
    shape: &str,
    answer: &Answered,
    told: &Json,
) -> Result<Mapped, Error> {
    let adapter = adapters::find(account.payer.vendor);
    let shape = adapter.and_then(|adapter| adapter.shape(shape));
    let shape = shape.ok_or_else(|| Error::internal(format!("{} has no shape {shape:?}", account.payer.vendor)))?;
    (shape.receive)(&answer.body).map_err(refused)?;
    let now = app.clock.now();
    let context = Context { namespace: &app.config.adapter_namespace, now, visit: Some(told), ..Context::default() };
    match (shape.map)(&answer.body, &context) {
        Mapping::Publish(publication) => {
            Ok(Mapped { entries: publication.bundle.list("entry").to_vec(), issues: publication.issues })
        }
        Mapping::Quarantine { issues } | Mapping::Refuse { issues } | Mapping::Send { issues, .. } => {
            Err(Error::new(crate::error::Kind::BadGateway, issues))
        }
    }
}

/// What has to be known of a member before a claim is sent.
fn facts(app: &App, account: &Account, member: &Mapped) -> Json {
    let named = |it, kind| identifier(it, &system(app, account.payer.vendor, kind));
    let mut facts = Object::new();
    let mut say = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            facts.insert(name, value);
        }
    };
    let coverage = member.of_type("Coverage").next();
    say("payerCode", member.of_type("Organization").next().and_then(|it| named(it, "payer")));
    say("coverage", coverage.and_then(|it| named(it, "coverage")));
    say("memberNumber", coverage.and_then(|it| it.str("subscriberId")));
    let response = member.of_type("CoverageEligibilityResponse").next();
    let insurance = response.and_then(|it| it.list("insurance").first());
    let items = insurance.map_or(&[][..], |it| it.list("item"));
    let text = |item: &Json, path: &[&str]| item.at(path).cloned().unwrap_or(Json::Null);
    say("currency", items.iter().find_map(|it| it.at(&["benefit", "allowedMoney", "currency"])?.as_str()));
    let benefits = items.iter().map(|item| {
        fhir::object! {
            "id": text(item, &["extension", "valueIdentifier", "value"]),
            "pool": text(item, &["category", "coding", "code"]),
            "name": text(item, &["name"]),
            "amount": text(item, &["benefit", "allowedMoney", "value"]),
            "claimable": item.get("excluded").and_then(Json::as_bool) == Some(false),
        }
    });
    let benefits: Vec<Json> = benefits.collect();
    facts.insert("benefits", benefits);
    facts.into()
}

/// One transaction: each resource once, references to what is in it by its `fullUrl`, nothing of the types of `others`:
/// to those it refers by their identifiers.
pub(super) fn one(entries: Vec<Json>, others: &[&str]) -> Json {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut kept: Vec<Json> = Vec::new();
    for entry in entries {
        let url = entry.str("fullUrl").unwrap_or_default().to_owned();
        let request = entry.get("request");
        let criteria = match request.and_then(|it| it.str("ifNoneExist")) {
            Some(criteria) => format!("{}?{criteria}", request.and_then(|it| it.str("url")).unwrap_or_default()),
            None => request.and_then(|it| it.str("url")).unwrap_or_default().to_owned(),
        };
        let conditional = criteria.replace("%7C", "|");
        let resource_type = entry.get("resource").and_then(|it| it.str("resourceType"));
        if resource_type.is_some_and(|it| others.contains(&it)) {
            names.insert(url, conditional);
        } else if url.is_empty() || kept.iter().all(|other| other.str("fullUrl") != Some(url.as_str())) {
            if !url.is_empty() {
                names.insert(conditional, url);
            }
            kept.push(entry);
        }
    }
    let entries: Vec<Json> = kept.iter().map(|entry| renamed(entry, &names)).collect();
    fhir::object! { "resourceType": "Bundle", "type": "transaction", "entry": entries }
}

pub(super) fn renamed(json: &Json, names: &BTreeMap<String, String>) -> Json {
    match json {
        Json::Object(members) => {
            let mut result = Object::new();
            for (name, member) in members.iter() {
                let other = (name == "reference").then(|| member.as_str().and_then(|text| names.get(text))).flatten();
                match other {
                    Some(other) => result.insert(name, other.as_str()),
                    None => result.insert(name, renamed(member, names)),
                }
            }
            result.into()
        }
        Json::Array(items) => Json::Array(items.iter().map(|item| renamed(item, names)).collect()),
        other => other.clone(),
    }
}

/// The Encounter with these identifiers of the payer, and all others that it had.
fn named(encounter: &Json, app: &App, account: &Account, with_values: &[(&str, &str)]) -> Json {
    let system = |kind: &str| system(app, account.payer.vendor, kind);
    let is_other = |it: &&Json| with_values.iter().all(|(kind, _)| it.str("system") != Some(&system(kind)));
    let mut identifiers: Vec<Json> = encounter.list("identifier").iter().filter(is_other).cloned().collect();
    identifiers
        .extend(with_values.iter().map(|(kind, value)| fhir::object! { "system": system(kind), "value": *value }));
    with(encounter, "identifier", identifiers)
}

/// The payer's word for how a session is.
fn status(request: &Json) -> String {
    request.at(&["extension", "valueCode"]).and_then(Json::as_str).unwrap_or_default().to_owned()
}

pub(super) async fn write(app: &App, caller: &Caller, bundle: Json, sessions: Vec<Session>) -> Result<Json, Error> {
    let sessions = Arc::new(sessions);
    let also: Also = Arc::new(move |tx| {
        let sessions = sessions.clone();
        Box::pin(async move {
            for session in sessions.iter() {
                insurance_sessions::put(tx, session).await?;
            }
            Ok(())
        })
    });
    bundle::execute_with(app, caller, bundle, also).await
}

/// What was written, with what a person should know.
pub(super) fn answer(written: &Json, issues: &[Issue]) -> Answer {
    let resources = written.list("entry").iter().filter_map(|entry| entry.get("resource").cloned());
    let mut entries: Vec<Json> = resources.map(|resource| fhir::object! { "resource": resource }).collect();
    if !issues.is_empty() {
        entries.push(fhir::object! { "resource": fhir::outcome::outcome(issues) });
    }
    let mut bundle = Object::new();
    bundle.insert("resourceType", "Bundle");
    bundle.insert("type", "collection");
    if !entries.is_empty() {
        bundle.insert("entry", entries);
    }
    Answer::resource(Json::from(bundle).to_string())
}
