//! `Claim/$submit` with the Claim in the body, or with a Bundle of Claims. <https://hl7.org/fhir/R4/claim-operation-submit.html>
//!
//! ```text
//! Claim ─▶ known by its invoice number?  no ─▶ all checks ─▶ stored as a draft ─▶ submitted
//!                                        a draft, or refused ─▶ submitted as it is given now
//!                                        on its way ─▶ the same: how far it is; another: 409
//! ```
//!
//! So whoever sends it again, because the answer was lost, bills once. Nothing but Claims is taken from a Bundle: who
//! is meant is this server's to say, so what a Claim refers to must be stored here.

use std::collections::BTreeMap;

use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};
use search::parse::literal;
use store::claim_submissions::{self, Submission};

use super::gather::{self, with};
use super::submit::{self, Choice};
use super::visit::renamed;
use super::{DEFAULT_PAYER, overview};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::{Error, Kind};
use crate::rest::bundle;
use crate::rest::operation::Invocation;
use crate::rest::response::Answer;

/// Most claims of one Bundle.
const MOST: usize = 100;

/// What two texts of one claim may differ in.
const KEPT_HERE: [&str; 4] = ["id", "meta", "status", "text"];

/// Submits what is in the body: of a Claim the ClaimResponse, of a Bundle a Bundle with one for each Claim, or what was
/// wrong with it.
pub(super) async fn execute(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    access::decide(caller, Interaction::Create, "Claim")?;
    let resource = invocation.input.resource("resource")?;
    let choice = Choice::of(invocation);
    match resource.str("resourceType") {
        Some("Claim") => one(app, caller, resource, &choice).await,
        Some("Bundle") => several(app, caller, resource, &choice).await,
        _ => Err(wrong("the body must be a Claim, or a Bundle of Claims", "resource")),
    }
}

async fn several(app: &App, caller: &Caller, given: &Json, choice: &Choice<'_>) -> Result<Answer, Error> {
    let mut claims = Vec::new();
    // A Bundle in it holds a Claim with what it refers to.
    let inner = given.list("entry").iter().filter_map(|entry| entry.get("resource"));
    let mut bundles = vec![given];
    bundles.extend(inner.filter(|it| it.str("resourceType") == Some("Bundle")));
    if bundles.len() > MOST + 1 {
        return Err(wrong(&format!("the Bundle holds more than {MOST} Bundles"), "Bundle.entry"));
    }
    for bundle in bundles {
        let names = names(app, caller, bundle).await?;
        let resources = bundle.list("entry").iter().filter_map(|entry| entry.get("resource"));
        let of_it = resources.filter(|it| it.str("resourceType") == Some("Claim"));
        claims.extend(of_it.map(|claim| renamed(claim, &names)));
    }
    if claims.is_empty() || claims.len() > MOST {
        let text = format!("the Bundle holds {} Claims; it must be 1 to {MOST}", claims.len());
        return Err(wrong(&text, "Bundle.entry"));
    }
    let mut entries = Vec::with_capacity(claims.len());
    for claim in &claims {
        entries.push(match one(app, caller, claim, choice).await {
            Ok(answer) => {
                let response = Json::parse(answer.body.unwrap_or_default().as_bytes()).map_err(Error::internal)?;
                fhir::object! { "resource": response, "response": fhir::object! { "status": "200" } }
            }
            Err(error) => {
                let outcome = fhir::outcome::outcome(error.issues());
                let status = error.status().to_string();
                fhir::object! { "response": fhir::object! { "status": status, "outcome": outcome } }
            }
        });
    }
    let bundle = fhir::object! { "resourceType": "Bundle", "type": "batch-response", "entry": entries };
    Ok(Answer::resource(bundle.to_string()))
}

/// What the names of entries stand for: resources of this server that the caller can see.
async fn names(app: &App, caller: &Caller, bundle: &Json) -> Result<BTreeMap<String, String>, Error> {
    let mut names = BTreeMap::new();
    for (index, entry) in bundle.list("entry").iter().enumerate().take(2 * MOST) {
        let Some(resource) = entry.get("resource") else { continue };
        let resource_type = resource.str("resourceType").unwrap_or_default();
        let Some(url) = entry.str("fullUrl").filter(|_| !matches!(resource_type, "Claim" | "Bundle")) else { continue };
        let id = resource.str("id").unwrap_or_default();
        let is_type = fhir::definitions::is_resource_type(resource_type);
        if !is_type || gather::stored(app, caller, resource_type, id).await.is_err() {
            let text = "this is not on this server; store it first: nothing but Claims is taken from the Bundle";
            return Err(Error::unprocessable(
                Issue::error(IssueCode::NotFound, text).at(format!("Bundle.entry[{index}]")),
            ));
        }
        names.insert(url.to_owned(), format!("{resource_type}/{id}"));
    }
    Ok(names)
}

async fn one(app: &App, caller: &Caller, given: &Json, choice: &Choice<'_>) -> Result<Answer, Error> {
    let usual = format!("{}/{DEFAULT_PAYER}/invoice", app.config.adapter_namespace);
    let named = |it: &Json| Some((it.str("system")?.to_owned(), it.str("value")?.to_owned()));
    let numbers: Vec<_> = given.list("identifier").iter().filter_map(named).filter(|it| !it.1.is_empty()).collect();
    let number = numbers.iter().find(|it| it.0 == usual).or(numbers.first());
    let Some((system, invoice)) = number else {
        let text = format!("the invoice number is missing: an identifier with a system, for SmartLink {usual}");
        return Err(Error::unprocessable(Issue::error(IssueCode::Required, text).at("Claim.identifier")));
    };
    let identifier = format!("{}|{}", literal(system), literal(invoice));
    if let Some((known, version)) = known(app, caller, &identifier).await? {
        return again(app, caller, (&known, version), given, choice).await;
    }
    // All that can be wrong is told before anything is stored.
    submit::ready(app, caller, &with(given, "status", "draft"), choice, None).await?;
    let draft = create(app, caller, given, &identifier).await?;
    let (stored, version) = submit::stored(app, caller, &draft).await?;
    again(app, caller, (&stored, version), given, choice).await
}

/// Submits a Claim that is stored, as it is given now; if it is on its way, only how far it is is answered.
async fn again(
    app: &App,
    caller: &Caller,
    (stored, version): (&Json, i64),
    given: &Json,
    choice: &Choice<'_>,
) -> Result<Answer, Error> {
    let id = stored.str("id").unwrap_or_default();
    let before = claim_submissions::find(&app.store, id).await?;
    let is_changeable = |it: &Submission| it.state == claim_submissions::State::Refused;
    let same = same(stored, given);
    if before.as_ref().is_some_and(|it| !is_changeable(it)) && !same {
        return Err(submitted_before());
    }
    let given = with(&with(given, "id", id), "status", stored.str("status").unwrap_or("draft"));
    match submit::one(app, caller, if same { stored } else { &given }, version, choice).await {
        // Somebody else was faster with the same.
        Err(error) if matches!(error.kind(), Kind::Conflict | Kind::PreconditionFailed) => {
            match claim_submissions::find(&app.store, id).await? {
                Some(other) if same => submit::standing(app, caller, &other).await,
                _ => Err(error),
            }
        }
        done => done,
    }
}

/// The Claim with an invoice number, as far as the caller can see.
async fn known(app: &App, caller: &Caller, identifier: &str) -> Result<Option<(Json, i64)>, Error> {
    let found = overview::search(app, caller, "Claim", "identifier", &[identifier.to_owned()]).await?;
    match found.as_slice() {
        [] => Ok(None),
        [(id, _)] => submit::stored(app, caller, id).await.map(Some),
        _ => Err(submitted_before()),
    }
}

/// Stores a draft unless somebody else just did; its id.
async fn create(app: &App, caller: &Caller, given: &Json, identifier: &str) -> Result<String, Error> {
    let mut draft = with(given, "status", "draft");
    if let Some(members) = draft.as_object_mut() {
        members.remove("id");
    }
    let criteria: String = url::form_urlencoded::byte_serialize(identifier.as_bytes()).collect();
    let request = fhir::object! { "method": "POST", "url": "Claim", "ifNoneExist": format!("identifier={criteria}") };
    let entry = fhir::object! { "resource": draft, "request": request };
    let transaction = fhir::object! { "resourceType": "Bundle", "type": "transaction", "entry": fhir::array![entry] };
    let answer = bundle::execute(app, caller, transaction).await?;
    let location = answer.at(&["entry", "response", "location"]).and_then(Json::as_str).unwrap_or_default();
    let id = location.split("/_history/").next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    if id.is_empty() { Err(Error::internal("a stored Claim has no location")) } else { Ok(id.to_owned()) }
}

fn same(one: &Json, other: &Json) -> bool {
    let told = |json: &Json| {
        let members = json.as_object().into_iter().flat_map(Object::iter);
        let told = members.filter(|(name, _)| !KEPT_HERE.contains(name));
        told.map(|(name, value)| (name.to_owned(), value.to_string())).collect::<BTreeMap<_, _>>()
    };
    told(one) == told(other)
}

fn submitted_before() -> Error {
    let text = "another Claim was submitted with this invoice number; write a new one with a number of its own";
    Error::conflict(Issue::error(IssueCode::Duplicate, text).at("Claim.identifier"))
}

fn wrong(text: &str, at: &str) -> Error {
    Error::bad_request(Issue::error(IssueCode::Invalid, text).at(at))
}
