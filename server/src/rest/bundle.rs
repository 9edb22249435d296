//! Batch and transaction: `POST [base]`. <https://hl7.org/fhir/R4/http.html#transaction>
//!
//! | status | when |
//! |---|---|
//! | 200 | batch: each entry has its own status; transaction: all entries were carried out |
//! | 400 | not a Bundle of type batch or transaction, or wrong as such; transaction: an entry is wrong, or identities overlap |
//! | 413 | more entries than the setting `max-bundle-entries`, or a larger body than `max-body`; transaction: a resource that is too large by itself |
//! | other | transaction: what the first failed entry answers as a single request; nothing was changed |
//!
//! Entries of a batch go through `prepare` and `execute` as single requests do. Those of a transaction are prepared
//! together and end in the same last functions, in one `store.write`. In the answer, entries of writes carry their
//! resource only on `Prefer: return=representation`.

use std::fmt::Write as _;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use store::{Tx, Work};

use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::Context;
use crate::rest::request::{self, MAX_RESOURCE, Prefer, Return};
use crate::rest::response::{Answer, Presentation, returned};

mod asking;
mod batch;
mod entry;
mod envelope;
mod links;
mod matching;
mod narrative;
mod overlaps;
mod resolution;
mod together;
mod touched;
mod transaction;

/// What else is written in the transaction of a Bundle, after its entries: both are there, or neither.
pub type Also = Arc<dyn for<'t> Fn(&'t mut Tx) -> Work<'t, (), Error> + Send + Sync>;

pub use together::{Then, execute_together};

/// `POST` on the base.
pub async fn handler(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(&request)?;
    request::only(request.query_string(), &[])?;
    let (bundle, size) = request::sized_resource(&request, payload, app.config.max_body).await?;
    let response = answer_client(&app, &caller, bundle, size, request::prefer(&request)).await?;
    Answer::resource(response).respond(presentation)
}

/// What is asked of a batch or transaction.
struct Asked {
    entries: Vec<Json>,
    /// Most bytes of the resource of an entry.
    largest: usize,
}

impl Asked {
    /// What the server itself, or its operator, asks: as large as it may be.
    fn by_the_server(entries: Vec<Json>) -> Self {
        Asked { entries, largest: usize::MAX }
    }
}

/// Carries out a batch or transaction of the server itself; returns the response Bundle, without resources in the entries
/// of writes.
pub async fn execute(app: &App, caller: &Caller, bundle: Json) -> Result<Json, Error> {
    let (kind, entries) = opened(bundle, app.config.max_bundle_entries)?;
    let asked = (kind, Asked::by_the_server(entries));
    let response = response_to(app, caller, asked, Prefer::default(), None).await?;
    Json::parse_own(response.as_bytes()).map_err(Error::internal)
}

/// The same of a transaction, with rows of another table in it; answers hold what was written.
pub async fn execute_with(app: &App, caller: &Caller, bundle: Json, also: Also) -> Result<Json, Error> {
    let (kind, entries) = opened(bundle, app.config.max_bundle_entries)?;
    let asked = (kind, Asked::by_the_server(entries));
    let prefer = Prefer { returned: Some(Return::Representation), ..Prefer::default() };
    let response = response_to(app, caller, asked, prefer, Some(also)).await?;
    Json::parse_own(response.as_bytes()).map_err(Error::internal)
}

/// The same as a client asks for it and prefers it: answers to writes, and what searches of a batch do with parameters that
/// are not known; the response Bundle as text. `size` is how many bytes the Bundle came in.
pub async fn answer_client(
    app: &App,
    caller: &Caller,
    bundle: Json,
    size: usize,
    prefer: Prefer,
) -> Result<String, Error> {
    let (kind, entries) = opened(bundle, app.config.max_bundle_entries)?;
    let largest = MAX_RESOURCE.min(app.config.max_body);
    // To measure an entry is to write it once more, and none is larger than the whole Bundle.
    let largest = if size <= largest { usize::MAX } else { largest };
    response_to(app, caller, (kind, Asked { entries, largest }), prefer, None).await
}

async fn response_to(
    app: &App,
    caller: &Caller,
    (kind, asked): (Kind, Asked),
    prefer: Prefer,
    also: Option<Also>,
) -> Result<String, Error> {
    let context = Context::new(app, caller);
    let returned = returned(prefer, Return::Minimal);
    caller.trail.note(|noted| noted.subtype = Some(kind.interaction()));
    let answers = match kind {
        Kind::Batch => {
            let wanted: Vec<_> = asked.entries.iter().map(|entry| touched::asked(entry, &context.base)).collect();
            let answers = batch::run(app, &context, asked, (returned, prefer.lenient)).await;
            caller.trail.note(|noted| touched::note(noted, &wanted, &answers, &context.base));
            answers
        }
        Kind::Transaction => transaction::run(app, &context, asked, returned, also).await?,
    };
    let mut out = String::with_capacity(answers.len() * 200 + 100);
    let _ = write!(out, "{{\"resourceType\":\"Bundle\",\"type\":\"{}\"", kind.response());
    for (index, answer) in answers.iter().enumerate() {
        out.push_str(if index == 0 { ",\"entry\":[" } else { "," });
        answer.write_entry(&mut out);
    }
    out.push_str(if answers.is_empty() { "}" } else { "]}" });
    Ok(out)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Batch,
    Transaction,
}

impl Kind {
    /// Code of the interaction.
    fn interaction(self) -> &'static str {
        match self {
            Kind::Batch => "batch",
            Kind::Transaction => "transaction",
        }
    }

    fn response(self) -> &'static str {
        match self {
            Kind::Batch => "batch-response",
            Kind::Transaction => "transaction-response",
        }
    }
}

/// The entries of a Bundle that can be carried out.
fn opened(bundle: Json, most: usize) -> Result<(Kind, Vec<Json>), Error> {
    let invalid = |text: String, path: &str| Error::bad_request(Issue::error(IssueCode::Invalid, text).at(path));
    if bundle.str("resourceType") != Some("Bundle") {
        let found = bundle.str("resourceType").unwrap_or("nothing");
        return Err(invalid(format!("the base takes a Bundle of type batch or transaction, found {found}"), "Bundle"));
    }
    let kind = match bundle.str("type") {
        Some("batch") => Kind::Batch,
        Some("transaction") => Kind::Transaction,
        other => {
            let text = format!("the type must be batch or transaction, found {}", other.unwrap_or("nothing"));
            return Err(invalid(text, "Bundle.type"));
        }
    };
    let Json::Object(mut bundle) = bundle else { return Err(invalid("not an object".into(), "Bundle")) };
    let entries = match bundle.remove("entry") {
        None => Vec::new(),
        Some(Json::Array(entries)) => entries,
        Some(_) => return Err(invalid("entry must be an array".into(), "Bundle.entry")),
    };
    if entries.len() > most {
        let text = format!("the Bundle has {} entries; at most {most} are accepted", entries.len());
        return Err(Error::payload_too_large(Issue::error(IssueCode::TooCostly, text).at("Bundle.entry")));
    }
    envelope::check_bundle(bundle)?;
    Ok((kind, entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::{array, object};

    #[test]
    fn in_31_only_bundles_to_carry_out_and_not_too_many_entries() {
        let bundle =
            |kind: &str| object! { "resourceType": "Bundle", "type": kind, "entry": array![object! {}, object! {}] };
        assert_eq!(opened(bundle("batch"), 2).unwrap().0, Kind::Batch);
        assert_eq!(opened(bundle("transaction"), 2).unwrap().1.len(), 2);
        assert_eq!(opened(bundle("transaction"), 1).unwrap_err().status(), 413);
        assert_eq!(opened(bundle("collection"), 2).unwrap_err().status(), 400);
        assert_eq!(opened(object! { "resourceType": "Patient" }, 2).unwrap_err().status(), 400);
        assert_eq!(opened(Json::Null, 2).unwrap_err().status(), 400);
        let odd = object! { "resourceType": "Bundle", "type": "batch", "entry": object! {} };
        assert_eq!(opened(odd, 2).unwrap_err().status(), 400);
    }
}
