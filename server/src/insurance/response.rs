//! The ClaimResponse of a submission: one resource, a version for each change. <https://hl7.org/fhir/R4/claimresponse.html>
//!
//! It says how far the claim is, and what was decided as far as the payer said it. SmartLink's answers decide nothing;
//! those of a FHIR payer do, and what they say stands here as they said it.

use fhir::date::format_instant;
use fhir::json::{Json, Object};
use search::parse::literal;
use store::claim_submissions::{Intent, State, Submission};

use super::gather::with;
use crate::rest::response::etag;

/// The transaction that writes it.
pub(super) fn bundle(submission: &Submission, namespace: &str) -> Json {
    let entry = fhir::object! {
        "resource": response(submission, namespace),
        "request": fhir::object! { "method": "PUT", "url": url(submission, namespace) },
    };
    fhir::object! { "resourceType": "Bundle", "type": "transaction", "entry": fhir::array![entry] }
}

/// Adds an entry to a transaction.
pub(super) fn push(transaction: &mut Json, entry: Json) {
    if let Some(Json::Array(entries)) = transaction.as_object_mut().and_then(|it| it.get_mut("entry")) {
        entries.push(entry);
    }
}

/// The entry that gives a Claim of this version another status.
pub(super) fn with_status(claim: &Json, version: i64, status: &str) -> Json {
    let url = format!("Claim/{}", claim.str("id").unwrap_or_default());
    fhir::object! {
        "resource": with(claim, "status", status),
        "request": fhir::object! { "method": "PUT", "url": url, "ifMatch": etag(version) },
    }
}

/// The conditional URL that it is known by.
pub(super) fn url(submission: &Submission, namespace: &str) -> String {
    let identifier = format!("{}|{}", system(submission, namespace, "claim-status"), literal(&name(submission)));
    let value: String = url::form_urlencoded::byte_serialize(identifier.as_bytes()).collect();
    format!("ClaimResponse?identifier={value}")
}

fn name(submission: &Submission) -> String {
    match submission.visit.as_str() {
        "" => submission.invoice.clone(),
        visit => format!("{visit}:{}", submission.invoice),
    }
}

fn system(submission: &Submission, namespace: &str, kind: &str) -> String {
    format!("{namespace}/{}/{kind}", submission.payer)
}

fn response(submission: &Submission, namespace: &str) -> Json {
    let refs = Json::parse(submission.refs.as_bytes()).unwrap_or(Json::Null);
    let of = |name: &str| refs.get(name).cloned().unwrap_or(Json::Null);
    let mut identifiers = vec![fhir::object! {
        "system": system(submission, namespace, "claim-status"), "value": name(submission),
    }];
    if !submission.reference.is_empty() {
        let system = system(submission, namespace, "claim");
        identifiers.push(fhir::object! { "system": system, "value": submission.reference.as_str() });
    }
    let extension = |name: &str, code: &str| {
        let url = format!("{namespace}/{}/StructureDefinition/{name}", submission.payer);
        fhir::object! { "url": url, "valueCode": code }
    };
    let mut extensions = vec![extension("claim-status", submission.state.as_str())];
    extensions.extend(submission.record_state.map(|state| extension("record-status", state.as_str())));
    let answer = Json::parse(submission.answer.as_bytes()).unwrap_or(Json::Null);
    // What our extensions say is not theirs to say.
    let is_theirs = |it: &&Json| extensions.iter().all(|own| own.str("url") != it.str("url"));
    let theirs: Vec<Json> = answer.list("extension").iter().filter(is_theirs).cloned().collect();
    extensions.extend(theirs);
    let mut response = Object::new();
    response.insert("resourceType", "ClaimResponse");
    if let Some(contained) = answer.get("contained") {
        response.insert("contained", contained.clone());
    }
    response.insert("extension", extensions);
    response.insert("identifier", identifiers);
    response.insert("status", if submission.state == State::Cancelled { "cancelled" } else { "active" });
    response.insert("type", of("type"));
    response.insert("use", refs.str("use").unwrap_or("claim"));
    response.insert("patient", of("patient"));
    response.insert("created", format_instant(submission.created_at));
    response.insert("insurer", of("insurer"));
    response.insert("request", fhir::object! { "reference": format!("Claim/{}", submission.claim) });
    let (outcome, disposition) = match (submission.intent, submission.state) {
        (Intent::Cancel, State::Waiting | State::Sending | State::Unknown | State::Taken) => {
            ("queued", "To be cancelled at the payer")
        }
        (_, state) => said(state),
    };
    response.insert("outcome", outcome);
    response.insert("disposition", disposition);
    let decided = submission.intent == Intent::Submit && is_payers(submission.state);
    for (name, value) in answer.as_object().into_iter().flat_map(Object::iter) {
        let is_state = matches!(name, "outcome" | "disposition");
        if !matches!(name, "contained" | "extension") && (decided || !is_state) {
            response.insert(name, value.clone());
        }
    }
    let errors: Vec<Json> =
        reasons(submission).map(|text| fhir::object! { "code": fhir::object! { "text": text } }).collect();
    let notes: Vec<Json> = (1_i64..)
        .zip(refs.list("notes"))
        .map(|(number, text)| {
            fhir::object! { "number": number, "type": "display", "text": text.clone() }
        })
        .collect();
    if !notes.is_empty() && response.get("processNote").is_none() {
        response.insert("processNote", notes);
    }
    if outcome == "error" && !errors.is_empty() && response.get("error").is_none() {
        response.insert("error", errors);
    }
    response.into()
}

/// What a person should know although it was sent.
pub fn notes(submission: &Submission) -> Vec<String> {
    let refs = Json::parse(submission.refs.as_bytes()).unwrap_or(Json::Null);
    refs.list("notes").iter().filter_map(|note| note.as_str().map(str::to_owned)).collect()
}

/// What the payer said last.
pub fn reasons(submission: &Submission) -> impl Iterator<Item = String> + use<> {
    let issues = Json::parse(submission.reason.as_bytes()).unwrap_or(Json::Null);
    let texts = issues.list("issue").iter().filter_map(|issue| issue.str("diagnostics").map(str::to_owned));
    texts.collect::<Vec<_>>().into_iter()
}

/// Whether what it comes to is the payer's to say.
fn is_payers(state: State) -> bool {
    matches!(state, State::Taken | State::Billed | State::Approved | State::Partial | State::Denied | State::Rejected)
}

/// What a person has to do about a claim in this state.
pub fn advice(state: State) -> &'static str {
    match state {
        State::Waiting | State::Sending => "Nothing: it is sent by itself.",
        State::Unknown => "Nothing: the payer is asked, and it is sent again only if the payer does not know it.",
        State::Taken => "Nothing: the payer has it, and is asked until it is billed.",
        State::Billed => "Nothing more: it is in the payer's books.",
        State::Approved => "Nothing more: the payer granted it.",
        State::Partial => "Look at what the payer granted and why not all; an update can be submitted.",
        State::Denied => "Look at why; then write a new Claim, if there is one to make.",
        State::Replaced => "Nothing: the payer has an update of it.",
        State::Cancelled => "If it has to be billed after all, write a new Claim with a new invoice number.",
        State::Refused => "Correct the Claim or the visit as the reason says, then submit it again, or withdraw it.",
        State::Rejected => "Clear with the insurer why; then write a new Claim with a new invoice number.",
        State::Differs => "The payer has it for another amount. Clear that with the insurer; nothing is sent again.",
        State::GivenUp => {
            "Ask the insurer whether it has the invoice. Submitting again asks first, and sends only if not."
        }
    }
}

fn said(state: State) -> (&'static str, &'static str) {
    match state {
        State::Waiting | State::Sending => ("queued", "To be sent to the payer"),
        State::Unknown => ("queued", "Sent; the payer is asked whether it has it"),
        State::Taken => ("queued", "The payer has it"),
        State::Billed => ("complete", "Billed"),
        State::Approved => ("complete", "Approved"),
        State::Partial => ("partial", "Approved in part"),
        State::Denied => ("complete", "Denied"),
        State::Replaced => ("complete", "Replaced by an update of the claim"),
        State::Cancelled => ("complete", "Cancelled at the payer"),
        State::Refused => ("error", "Not taken by the payer; correct it and submit it again"),
        State::Rejected => ("error", "Rejected by the payer"),
        State::Differs => ("error", "The payer has it for another amount; a person has to look"),
        State::GivenUp => ("error", "Nothing was learned from the payer for long; a person has to look"),
    }
}
