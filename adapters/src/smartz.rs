//! Smartz Connect: pods on sensor pads, the nodes they speak through, statuses and alerts.
//!
//! The vendor publishes no payload. The shapes here are ours; [`Fields`] says where each value stands, so that the real
//! names change configuration and not code. An alert is a Flag and a Communication, never a Condition: a sensor does not
//! diagnose.

mod catalogue;
mod events;
mod fields;
mod gateway;

pub use fields::{DEFAULTS as FIELDS, Fields};

use fhir::json::Json;
use fhir::outcome::IssueCode;

use crate::bundle::{self, Source};
use crate::{
    Adapter, Authentication, Context, Map, Mapping, Publication, Receive, Recognise, Shape, TOKEN, error, json,
    quarantined,
};

/// The adapter.
pub(crate) static ADAPTER: Adapter = Adapter {
    vendor: VENDOR,
    name: "Smartz Connect",
    version: "1",
    authentication: Authentication::ApiKey { header: "x-sub-key" },
    max_bytes: 1 << 20,
    content_types: &[],
    shapes: &[
        Shape {
            name: "error",
            about: "an error of the gateway",
            answers: 200,
            routes: &[],
            recognises: &|bytes| json(bytes).is_ok_and(|json| gateway::recognises(&json)),
            receive: &|bytes| Err(gateway::refusal(&json(bytes)?)),
            map: &|bytes, _| match json(bytes) {
                Ok(json) => quarantined(gateway::refusal(&json)),
                Err(refusal) => quarantined(refusal),
            },
        },
        TOKEN,
        shape("catalogue", "a manufacturer and its products", &[], &catalogue::PRODUCTS),
        shape("devices", "an organisation with its nodes and pods", &[], &catalogue::DEVICES),
        shape("patient", "a patient and the pod on them", &[], &catalogue::PATIENT),
        shape(
            "alert",
            "an alert, raised or resolved",
            &["/health-data/smartz", "/health-data/smartz/alerts"],
            &events::ALERT,
        ),
        shape("status", "a status of a pod", &["/health-data/smartz", "/health-data/smartz/statuses"], &events::STATUS),
    ],
    device_kind: |_| "pod",
};

/// Vendor id in names.
const VENDOR: &str = "smartz";

/// How one kind of payload is told and translated.
struct Kind {
    recognises: &'static Recognise,
    receive: &'static Receive,
    map: &'static Map,
}

const fn shape(name: &'static str, about: &'static str, routes: &'static [&'static str], kind: &Kind) -> Shape {
    Shape { name, about, answers: 200, routes, recognises: kind.recognises, receive: kind.receive, map: kind.map }
}

/// The payload and where its values stand.
struct Payload<'a> {
    json: &'a Json,
    fields: Fields<'a>,
    context: &'a Context<'a>,
}

impl Payload<'_> {
    /// The text or number of a field; nothing if it is empty.
    fn text(&self, field: &str) -> Option<String> {
        self.text_of(self.json, field)
    }

    fn text_of(&self, json: &Json, field: &str) -> Option<String> {
        let value = self.fields.of(json, field)?;
        value.as_str().or(value.as_number()).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn system(&self, kind: &str) -> String {
        format!("{}/{VENDOR}/{kind}", self.context.namespace)
    }

    fn source<'s>(&'s self, of: &'s str, record: &'s str) -> Source<'s> {
        Source { namespace: self.context.namespace, vendor: VENDOR, of, record }
    }

    fn patient(&self, id: &str) -> String {
        bundle::conditional("Patient", &self.system("patient"), id)
    }
}

/// Translates with the names that the context gives, or the usual ones.
fn mapped(
    bytes: &[u8],
    context: &Context<'_>,
    translate: fn(&Payload<'_>) -> Result<Publication, Vec<fhir::outcome::Issue>>,
) -> Mapping {
    let json = match json(bytes) {
        Ok(json) => json,
        Err(refusal) => return quarantined(refusal),
    };
    match translate(&Payload { json: &json, fields: Fields::new(context.fields), context }) {
        Ok(publication) => Mapping::Publish(publication),
        Err(issues) => Mapping::Quarantine { issues },
    }
}

/// The issue that a field is missing, by the name under which it was looked for.
fn missing(payload: &Payload<'_>, field: &str) -> Vec<fhir::outcome::Issue> {
    let pointer = payload.fields.pointer(field);
    vec![error(IssueCode::Required, format!("{pointer} is missing"), pointer)]
}
