//! What a payer's answer means. <https://hl7.org/fhir/us/davinci-pas/specification.html>
//!
//! | status | answer | meaning |
//! |---|---|---|
//! | 2xx | a ClaimResponse that names this claim | what it says |
//! | 2xx | one that names this claim and another patient or subscriber | nothing: it is kept for a person |
//! | 2xx | anything else | not known: ask |
//! | 401 | | the token was not good: ask |
//! | 408, 425, 429 | | later: ask first |
//! | 409 | | there is one already, perhaps this one: ask |
//! | other 4xx | an OperationOutcome, or none | refused for good |
//! | 5xx, none | | not known: ask |

use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use super::parcel::{Sources, name};
use super::{DEFINITIONS, inquiry, kept, request};
use crate::payer::{Known, Sent, Standing, Submitted};
use crate::{Refusal, json, money};

/// Most issues of an OperationOutcome that are told on.
const MOST_ISSUES: usize = 20;

/// What the answer to a claim means.
pub(super) fn submitted(status: u16, bytes: &[u8], sent: &Sent<'_>) -> Submitted {
    let body = json(bytes).unwrap_or(Json::Null);
    if !(200..300).contains(&status) {
        return of_status(status, &body);
    }
    match known(&body, sent) {
        Ok(Some(known)) => Submitted::Answered(Box::new(known)),
        Ok(None) => Submitted::Unknown(told(status, &body)),
        Err(issue) => Submitted::Mismatched(vec![issue]),
    }
}

/// What the payer knows of a claim; none only where it says that there is nothing.
pub(super) fn followed(status: u16, bytes: &[u8], sent: &Sent<'_>) -> Result<Option<Known>, Submitted> {
    let body = json(bytes).unwrap_or(Json::Null);
    if !(200..300).contains(&status) {
        return Err(match of_status(status, &body) {
            // A question that is refused says nothing of the claim.
            Submitted::Refused(issues) => Submitted::Unknown(issues),
            other => other,
        });
    }
    if let Some(known) = known(&body, sent).map_err(|issue| Submitted::Mismatched(vec![issue]))? {
        return Ok(Some(known));
    }
    let is_list = matches!(body.str("resourceType"), Some("Parameters" | "Bundle"));
    let held_back = outcomes(&body).flat_map(|it| it.list("issue")).any(|it| it.str("severity") != Some("information"));
    let nameless = responses(&body).any(|it| it.get("request").is_none());
    if !is_list || held_back || nameless { Err(Submitted::Unknown(told(status, &body))) } else { Ok(None) }
}

/// Each `ClaimResponse` of an answer.
pub(super) fn responses(json: &Json) -> impl Iterator<Item = &Json> {
    resources(json).into_iter().filter(|it| it.str("resourceType") == Some("ClaimResponse"))
}

/// The refusal that an answer without a ClaimResponse is.
pub(super) fn refusal(json: &Json) -> Refusal {
    if json.str("resourceType") == Some("OperationOutcome") {
        return Refusal::Vendor { status: 422, issues: issues(json, 422), retry_after: None };
    }
    Refusal::Vendor { status: 502, issues: told(200, json), retry_after: None }
}

/// What a ClaimResponse says of the claim; the payer's word for it besides.
pub(super) fn standing(response: &Json) -> (Standing, String) {
    if matches!(response.str("status"), Some("cancelled" | "entered-in-error")) {
        return (Standing::Cancelled, "cancelled".to_owned());
    }
    let outcome = response.str("outcome").unwrap_or_default();
    let codes = review_codes(response);
    let all = |wanted: &[&str]| !codes.is_empty() && codes.iter().all(|code| wanted.contains(code));
    let any = |wanted: &[&str]| codes.iter().any(|code| wanted.contains(code));
    let known = ["A1", "A2", "A3", "A4", "A6", "C", "CT", "NA"];
    let standing = match outcome {
        "error" => Standing::Rejected,
        "queued" => Standing::Pending,
        // What waits for a person there is not decided; nor is what is not understood here.
        _ if any(&["A4", "CT"]) || codes.iter().any(|code| !known.contains(code)) => Standing::Pending,
        _ if all(&["C"]) => Standing::Cancelled,
        _ if all(&["A1", "NA"]) => Standing::Approved,
        _ if all(&["A3", "C"]) => Standing::Denied,
        _ if !codes.is_empty() => Standing::Partial,
        "partial" => Standing::Partial,
        _ => of_amounts(response),
    };
    let word = if codes.is_empty() { outcome.to_owned() } else { codes.join(", ") };
    (standing, word)
}

/// The ClaimResponse of this claim, the newest if there are several; an issue if it is about somebody else.
fn known(body: &Json, sent: &Sent<'_>) -> Result<Option<Known>, Issue> {
    let request = Json::parse(sent.body.as_bytes()).unwrap_or(Json::Null);
    let sources = Sources::of(&request, "");
    let (Some(first), Some(subject)) = (sources.all.first(), inquiry::subject(&sources)) else { return Ok(None) };
    // Of a withdrawal, the answer may name what was sent or what it withdraws.
    let is_ours = |it: &&Json| names(it, &first.url, first.resource) || names(it, &subject.url, subject.resource);
    let newest = responses(body).filter(is_ours).max_by_key(|it| it.str("created").and_then(moment));
    let Some(newest) = newest else { return Ok(None) };
    if let Some(who) = stranger(newest, body, &sources, subject.resource) {
        let text = format!("the payer answers about this claim with another {who}; clear that with the payer");
        return Err(Issue::error(IssueCode::Security, text));
    }
    let (mut standing, word) = standing(newest);
    let withdrew = request::is_cancellation(first.resource) && names(newest, &first.url, first.resource);
    if withdrew && matches!(standing, Standing::Approved | Standing::Billed) {
        standing = Standing::Cancelled; // the withdrawal was granted
    }
    let submitted =
        |total: &&Json| total.at(&["category", "coding", "code"]).and_then(Json::as_str) == Some("submitted");
    let amount = newest.list("total").iter().find(submitted);
    Ok(Some(Known {
        standing,
        word,
        amount: amount.and_then(|it| it.at(&["amount", "value"])).and_then(money::amount),
        reference: reference(newest),
        answer: Some(kept::kept(newest, body, &sources)),
    }))
}

/// Who is meant by a ClaimResponse of this claim otherwise than by the claim. (LK-51)
fn stranger(response: &Json, body: &Json, sources: &Sources<'_>, claim: &Json) -> Option<&'static str> {
    let patient = sources.target(claim.get("patient"))?;
    match (sources.target(response.get("patient")), response.get("patient")) {
        (Some(told), _) if told.url != patient.url => return Some("patient"),
        (None, Some(told)) => {
            let text = told.str("reference");
            if text.is_some_and(|text| sources.is_address_of_ours(text)) {
                return Some("patient");
            }
            let theirs = text.and_then(|text| kept::within(text, body));
            let theirs = theirs.map_or(&[][..], |it| it.list("identifier")).iter().chain(told.get("identifier"));
            if theirs.into_iter().any(|it| contradicts(it, patient.resource.list("identifier"))) {
                return Some("patient");
            }
        }
        _ => {}
    }
    let covers = claim.list("insurance").iter().filter_map(|it| sources.target(it.get("coverage")));
    let own: Vec<&str> = covers.filter_map(|it| it.resource.str("subscriberId")).collect();
    let told = response.list("insurance").iter().filter_map(|it| it.get("coverage")?.str("reference"));
    let mut told = told.filter_map(|text| kept::within(text, body)?.str("subscriberId"));
    (!own.is_empty() && told.any(|number| !own.contains(&number))).then_some("subscriber")
}

/// Whether an identifier is of a system that we know another value of.
fn contradicts(theirs: &Json, ours: &[Json]) -> bool {
    let Some(system) = theirs.str("system") else { return false };
    let mut same = ours.iter().filter(|it| it.str("system") == Some(system)).peekable();
    same.peek().is_some() && same.all(|it| it.str("value") != theirs.str("value"))
}

/// Whether a ClaimResponse says that it is about this claim: by its address, else by its identifier.
fn names(response: &Json, url: &str, claim: &Json) -> bool {
    let Some(request) = response.get("request") else { return false };
    if let Some(text) = request.str("reference") {
        let plain = text.split("/_history/").next().unwrap_or(text);
        if plain == url || (claim.str("id").is_some() && plain == name(claim)) {
            return true;
        }
    }
    let told = request.get("identifier").and_then(|it| Some((it.str("system"), it.str("value")?)));
    let own = request::identifier(claim);
    matches!((told, own), (Some((system, value)), Some((own, number)))
        if value == number && system.is_none_or(|system| system == own))
}

/// X12's codes of review actions: of the items, else of the claim.
fn review_codes(response: &Json) -> Vec<&str> {
    let of_items: Vec<&str> =
        response.list("item").iter().flat_map(|item| actions(item.list("adjudication"))).collect();
    if of_items.is_empty() { actions(response.list("adjudication")) } else { of_items }
}

fn actions(adjudications: &[Json]) -> Vec<&str> {
    let action = format!("{DEFINITIONS}/extension-reviewAction");
    let code = format!("{DEFINITIONS}/extension-reviewActionCode");
    let reviews = adjudications.iter().flat_map(|it| it.list("extension")).filter(|it| it.str("url") == Some(&action));
    let codes = reviews.flat_map(|it| it.list("extension")).filter(|it| it.str("url") == Some(&code));
    codes.filter_map(|it| it.at(&["valueCodeableConcept", "coding", "code"])?.as_str()).collect()
}

/// What a decision without review codes comes to: what is paid of what was asked for.
fn of_amounts(response: &Json) -> Standing {
    let total = |code: &str| {
        let is_it = |it: &&Json| it.at(&["category", "coding", "code"]).and_then(Json::as_str) == Some(code);
        response.list("total").iter().find(is_it).and_then(|it| it.at(&["amount", "value"])).and_then(money::amount)
    };
    match (total("submitted"), total("benefit")) {
        (_, Some(benefit)) if benefit <= Decimal::from(0) => Standing::Denied,
        (Some(submitted), Some(benefit)) if benefit < submitted => Standing::Partial,
        (_, Some(_)) => Standing::Approved,
        _ if response.str("preAuthRef").is_some() => Standing::Approved,
        // It was worked on; what was decided is not said.
        _ => Standing::Billed,
    }
}

fn reference(response: &Json) -> String {
    let own = response.list("identifier").iter().find_map(|it| it.str("value"));
    response.str("preAuthRef").or(own).unwrap_or_default().to_owned()
}

fn moment(text: &str) -> Option<i64> {
    fhir::date::DateTime::parse(text).map(|it| it.start())
}

/// Resources of an answer: it, and what is in its Bundles and Parameters.
fn resources(json: &Json) -> Vec<&Json> {
    match json.str("resourceType") {
        Some("Parameters") => {
            json.list("parameter").iter().filter_map(|it| it.get("resource")).flat_map(resources).collect()
        }
        Some("Bundle") => json.list("entry").iter().filter_map(|it| it.get("resource")).collect(),
        Some(_) => vec![json],
        None => Vec::new(),
    }
}

fn outcomes(json: &Json) -> impl Iterator<Item = &Json> {
    resources(json).into_iter().filter(|it| it.str("resourceType") == Some("OperationOutcome"))
}

fn of_status(status: u16, body: &Json) -> Submitted {
    let issues = issues(body, status);
    match status {
        401 => Submitted::Login(issues),
        408 | 425 | 429 => Submitted::Later { after: None, issues },
        409 => Submitted::Unknown(issues),
        400..500 => Submitted::Refused(issues),
        _ => Submitted::Unknown(issues),
    }
}

/// What a 2xx without a ClaimResponse of this claim is told as.
fn told(status: u16, body: &Json) -> Vec<Issue> {
    if outcomes(body).next().is_some() {
        return outcomes(body).flat_map(|it| issues(it, status)).take(MOST_ISSUES).collect();
    }
    let about = if responses(body).next().is_some() { "about another claim" } else { "nothing that can be read" };
    vec![Issue::error(IssueCode::Structure, format!("the payer answered with status {status} and {about}"))]
}

/// The issues of an OperationOutcome, as the payer says them.
fn issues(body: &Json, status: u16) -> Vec<Issue> {
    let text = |issue: &Json| {
        let details = issue.at(&["details", "text"]).and_then(Json::as_str);
        let coded = issue.at(&["details", "coding", "display"]).and_then(Json::as_str);
        let said = issue.str("diagnostics").or(details).or(coded).unwrap_or("no reason").to_owned();
        let said: String = said.chars().take(1_000).collect();
        let made = Issue::error(IssueCode::BusinessRule, format!("the payer says: {said}"));
        issue.list("expression").iter().filter_map(Json::as_str).fold(made, Issue::at)
    };
    let said: Vec<Issue> = body.list("issue").iter().take(MOST_ISSUES).map(text).collect();
    if !said.is_empty() {
        return said;
    }
    let code = match status {
        401 => IssueCode::Login,
        403 => IssueCode::Forbidden,
        429 => IssueCode::Throttled,
        _ => IssueCode::Transient,
    };
    vec![Issue::error(code, format!("the payer answered with status {status}"))]
}
