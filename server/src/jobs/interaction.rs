//! The job behind `Prefer: respond-async`: one interaction, carried out as an entry of a batch is.
//! <https://hl7.org/fhir/R5/async-bundle.html>
//!
//! Its rights are those that the token has when it runs: what was revoked in between is refused. The answer is a
//! batch-response with one entry. A search is an entry like any other; a batch or transaction is carried out as such
//! and its response Bundle is the resource of the entry.

use ::search::view::{Compartment, View};
use fhir::json::{Json, Object};
use futures::future::BoxFuture;
use store::jobs::Job;

use super::{ATTEMPTS, Kind, caller, failed, response};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::bundle;
use crate::rest::conditional::Preconditions;
use crate::rest::request::{Prefer, Return};
use crate::rest::response::Answer;

/// This kind.
pub const KIND: Kind =
    Kind { name: "interaction", at_once: 2, attempts: ATTEMPTS, run, failed, keep: |config| config.async_keep_seconds };

/// Jobs of one client, user and patient, done ones that are still kept among them.
pub const MOST_OF_A_CALLER: i64 = 32;

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Interaction {
    /// `GET` or `POST`.
    pub method: String,
    /// Path below the base, with parameters.
    pub url: String,
    /// The body.
    pub resource: Option<Json>,
    /// `Prefer: handling=lenient`.
    pub lenient: bool,
    /// `Prefer: return=`.
    pub returned: Option<Return>,
    /// `If-Match` and `If-None-Match`, of what changes something.
    pub preconditions: Preconditions,
}

impl Interaction {
    /// As the job keeps it.
    pub fn to_json(&self) -> Json {
        let mut kept = Object::new();
        kept.insert("method", self.method.as_str());
        kept.insert("url", self.url.as_str());
        kept.insert("lenient", self.lenient);
        if let Some(returned) = self.returned {
            kept.insert("return", word(returned));
        }
        for (name, value) in conditions(&self.preconditions) {
            kept.insert(name, value);
        }
        if let Some(resource) = &self.resource {
            kept.insert("resource", resource.clone());
        }
        Json::Object(kept)
    }

    /// Out of a job.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let kept = Json::parse_own(text.as_bytes()).map_err(Error::internal)?;
        let missing = |name: &str| Error::internal(format!("the job has no {name}"));
        Ok(Interaction {
            method: kept.str("method").ok_or_else(|| missing("method"))?.to_owned(),
            url: kept.str("url").ok_or_else(|| missing("url"))?.to_owned(),
            resource: kept.get("resource").cloned(),
            lenient: kept.get("lenient").and_then(Json::as_bool) == Some(true),
            returned: kept.str("return").and_then(|said| RETURNS.into_iter().find(|one| word(*one) == said)),
            preconditions: Preconditions {
                if_match: kept.str("ifMatch").map(str::to_owned),
                if_none_match: kept.str("ifNoneMatch").map(str::to_owned),
            },
        })
    }
}

/// The conditions that are there, under their names in `Bundle.entry.request`.
fn conditions(preconditions: &Preconditions) -> impl Iterator<Item = (&'static str, &str)> {
    let Preconditions { if_match, if_none_match } = preconditions;
    let named = [("ifMatch", if_match), ("ifNoneMatch", if_none_match)];
    named.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
}

const RETURNS: [Return; 3] = [Return::Minimal, Return::Representation, Return::OperationOutcome];

fn word(returned: Return) -> &'static str {
    match returned {
        Return::Minimal => "minimal",
        Return::Representation => "representation",
        Return::OperationOutcome => "OperationOutcome",
    }
}

/// What an answer is kept in: whose data it may hold, and the answer.
const PATIENTS: &str = "{\"patients\":\"";
const ANSWER: &str = "\",\"answer\":";

/// In place of patients: the answer may hold data of everybody. No patient has this id.
const EVERYONE: &str = "*";

/// The kept answer, unless it may say something of patients whom the caller sees no more: rights end at once, also those
/// to what was found while they lasted. What does not say whose data it may hold may hold everybody's.
pub fn readable(view: &View, kept: &str) -> Option<String> {
    let named = kept.strip_prefix(PATIENTS).and_then(|rest| rest.split_once(ANSWER));
    let (patients, answer) = match named {
        Some((patients, rest)) => (patients, rest.strip_suffix('}')?),
        None => (EVERYONE, kept),
    };
    let is_theirs = match view.compartment() {
        Compartment::Everyone => true,
        Compartment::Patients(all) => {
            patients.split(',').all(|patient| patient.is_empty() || all.iter().any(|it| it == patient))
        }
    };
    is_theirs.then(|| answer.to_owned())
}

/// An answer with the patients whom the caller sees.
pub fn kept(view: &View, answer: &str) -> String {
    match view.compartment() {
        Compartment::Everyone => about(EVERYONE, answer),
        Compartment::Patients(patients) => about(&patients.join(","), answer),
    }
}

/// An answer that holds data of no patient: why there is no other.
pub fn kept_of_nobody(answer: &str) -> String {
    about("", answer)
}

fn about(patients: &str, answer: &str) -> String {
    format!("{PATIENTS}{patients}{ANSWER}{answer}}}")
}

fn run<'a>(app: &'a App, job: &'a Job) -> BoxFuture<'a, Result<String, Error>> {
    Box::pin(async move {
        let caller = caller(app, job).await?;
        caller.trail.identify(&caller);
        let asked = Interaction::from_json(&job.request)?;
        let (method, url) = (asked.method.clone(), asked.url.clone());
        let answer = carry_out(app, &caller, asked, job.request.len()).await;
        let status = answer.as_ref().map_or_else(|error| error.status().as_u16(), |_| 200);
        let event = caller.trail.of_job(&caller, app, (&method, &url, &job.id), status);
        app.store.audit(event).await?;
        let answer = answer.unwrap_or_else(|error| response(&Answer::from(&error)));
        Ok(kept(&caller.view, &answer))
    })
}

async fn carry_out(app: &App, caller: &Caller, asked: Interaction, size: usize) -> Result<String, Error> {
    let prefer = Prefer { returned: asked.returned, lenient: asked.lenient, ..Prefer::default() };
    let Interaction { method, url, resource, preconditions, .. } = asked;
    if method == "POST" && url.split('?').next().is_none_or(str::is_empty) {
        let bundle = resource.ok_or_else(|| Error::internal("the job has no Bundle"))?;
        return Ok(response(&Answer::resource(bundle::answer_client(app, caller, bundle, size, prefer).await?)));
    }
    let mut request = Object::new();
    request.insert("method", method);
    request.insert("url", url);
    for (name, value) in conditions(&preconditions) {
        request.insert(name, value);
    }
    let mut entry = Object::new();
    entry.insert("request", request);
    if let Some(resource) = resource {
        entry.insert("resource", resource);
    }
    let mut batch = Object::new();
    batch.insert("resourceType", "Bundle");
    batch.insert("type", "batch");
    batch.insert("entry", vec![Json::Object(entry)]);
    bundle::answer_client(app, caller, Json::Object(batch), size, prefer).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::object;

    #[test]
    fn lk_40_an_answer_is_readable_while_its_patients_are_visible() {
        let view = |ids: &[&str]| {
            let patients = Compartment::Patients(ids.iter().map(|id| (*id).to_owned()).collect());
            View::listed(patients, std::collections::BTreeMap::new())
        };
        let of = |then: &View, now: &View| readable(now, &kept(then, "{}"));
        assert_eq!(of(&view(&["a", "b"]), &view(&["a", "b", "c"])).as_deref(), Some("{}"));
        assert_eq!(of(&view(&["a", "b"]), &view(&["a"])), None);
        assert_eq!(of(&view(&["a"]), &view(&["ab"])), None);
        assert_eq!(of(&view(&[]), &view(&[])).as_deref(), Some("{}"));
        assert_eq!(of(&View::system(), &View::system()).as_deref(), Some("{}"));
        assert_eq!(of(&view(&["a"]), &View::system()).as_deref(), Some("{}"));
        for fewer in [view(&["a"]), view(&[])] {
            assert_eq!(of(&View::system(), &fewer), None, "an answer about everybody");
            assert_eq!(readable(&fewer, "{}"), None, "one that does not say whom it is about");
            assert_eq!(readable(&fewer, &kept_of_nobody("{}")).as_deref(), Some("{}"));
        }
        assert_eq!(readable(&View::system(), "{}").as_deref(), Some("{}"));
    }

    #[test]
    fn what_was_asked_for_is_kept() {
        let asked = Interaction {
            method: "POST".into(),
            url: "Patient?name=a%20b".into(),
            resource: Some(object! { "resourceType": "Parameters" }),
            lenient: true,
            returned: Some(Return::Representation),
            preconditions: Preconditions { if_match: Some("W/\"1\"".into()), if_none_match: Some("*".into()) },
        };
        assert_eq!(Interaction::from_json(&asked.to_json().to_string()).unwrap(), asked);
        let preconditions = Preconditions::default();
        let plain = Interaction { resource: None, lenient: false, returned: None, preconditions, ..asked };
        assert_eq!(Interaction::from_json(&plain.to_json().to_string()).unwrap(), plain);
        assert!(Interaction::from_json("{}").is_err());
    }
}
