//! Apple HealthKit: samples of a phone, sent by the app of the patient who is signed in, or exported to a file.
//!
//! Whatever the shape, a sample becomes the JSON that [`sample`] reads: the phone's export in XML is read by [`export`],
//! that of a third-party exporter by [`auto_export`]. What each of the 215 identifiers becomes is in
//! `mappings/healthkit.csv`. Items fail one by one: the others are published.

mod auto_export;
mod device;
pub mod export;
mod panel;
mod sample;
mod series;
mod types;
mod units;
mod values;

use std::collections::BTreeSet;

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use crate::external;
use crate::{
    Adapter, Authentication, Context, Delivery, Mapping, Publication, Refusal, Shape, bundle, error, first_byte, json,
    quarantined,
};

/// The adapter.
pub(crate) static ADAPTER: Adapter = Adapter {
    vendor: VENDOR,
    name: "Apple HealthKit",
    version: "1",
    authentication: Authentication::Session,
    max_bytes: 10 << 20,
    content_types: &[],
    shapes: &[
        Shape {
            name: "healthkitstandard-json",
            about: "an array of samples; the type in each or as ?type=",
            answers: 200,
            routes: &["/health-data/healthkit", "/health-data/healthkit/healthkitstandard-json"],
            recognises: &|bytes| first_byte(bytes) == Some(b'['),
            receive: &receive,
            map: &|bytes, context| match json(bytes) {
                Ok(json) => map_samples(json.items(), context),
                Err(refusal) => quarantined(refusal),
            },
        },
        Shape {
            name: "health-auto-export-json",
            about: "what a third-party exporter sends: data.metrics[] and data.workouts[]",
            answers: 200,
            routes: &["/health-data/healthkit", "/health-data/healthkit/health-auto-export-json"],
            recognises: &|bytes| json(bytes).is_ok_and(|json| auto_export::recognises(&json)),
            receive: &|bytes| auto_export::receive(&json(bytes)?),
            map: &|bytes, context| match json(bytes) {
                Ok(json) => map_samples(&auto_export::samples(&json), context),
                Err(refusal) => quarantined(refusal),
            },
        },
        Shape {
            name: "fhir-json",
            about: "FHIR R4 that was made on the phone",
            answers: 200,
            routes: &["/health-data/healthkit", "/health-data/healthkit/fhir-json"],
            recognises: &|bytes| json(bytes).is_ok_and(|json| json.get("resourceType").is_some()),
            receive: &|bytes| external::receive(&json(bytes)?, VENDOR),
            map: &|bytes, context| match (json(bytes), context.session) {
                (Ok(json), Some(_)) => external::map(&json, VENDOR, |_| "source", context),
                (Ok(_), None) => nobody(),
                (Err(refusal), _) => quarantined(refusal),
            },
        },
        Shape {
            name: "apple-export-xml",
            about: "export.xml of the phone",
            answers: 200,
            routes: &["/health-data/healthkit", "/health-data/healthkit/apple-export-xml"],
            recognises: &|bytes| first_byte(bytes) == Some(b'<'),
            receive: &receive_export,
            map: &map_export,
        },
    ],
    device_kind: |_| "source",
};

/// Vendor id in names.
const VENDOR: &str = "healthkit";

/// Samples of one message at most: with their devices they are one transaction, which has up to 10,000 entries.
const MAX_SAMPLES: usize = 9_900;

/// Translates samples that belong to one patient.
pub fn map_samples(samples: &[Json], context: &Context<'_>) -> Mapping {
    let Some(patient) = context.session else { return nobody() };
    let mut found = Found::default();
    let (pairs, paired) = panel::pairs(samples);
    for (index, item) in samples.iter().enumerate() {
        if paired.contains(&index) {
            continue;
        }
        let partner = pairs.get(&index).and_then(|partner| samples.get(*partner));
        if let Err(issue) = sample::map(item, partner, &format!("[{index}]"), patient, context, &mut found) {
            found.waits |= issue.severity == fhir::outcome::Severity::Warning;
            found.issues.push(*issue);
        }
    }
    if found.entries.is_empty() && !found.issues.is_empty() {
        return Mapping::Quarantine { issues: found.issues };
    }
    let bundle = bundle::transaction(found.entries);
    Mapping::Publish(Publication { waits: found.waits, ..Publication::of(bundle, found.issues) })
}

/// What a batch comes to, while it is read.
#[derive(Debug, Default)]
struct Found {
    entries: Vec<Json>,
    urls: BTreeSet<String>,
    issues: Vec<Issue>,
    waits: bool,
}

impl Found {
    /// Takes an entry unless the same resource is there already.
    fn push(&mut self, entry: Json) {
        if entry.str("fullUrl").is_some_and(|url| self.urls.insert(url.to_owned())) {
            self.entries.push(entry);
        }
    }
}

fn nobody() -> Mapping {
    let text = "Whose samples these are must be known from the session; it is not in them";
    Mapping::Quarantine { issues: vec![error(IssueCode::Required, text, "session")] }
}

fn receive(bytes: &[u8]) -> Result<Delivery, Refusal> {
    match json(bytes)? {
        Json::Array(items) if items.len() <= MAX_SAMPLES => {
            let types = items.iter().filter_map(sample::handed_on).flat_map(|it| external::types(it, VENDOR)).collect();
            Ok(Delivery { items: Some(items.len()), types, ..Delivery::default() })
        }
        Json::Array(_) => {
            let text = format!("Body holds more than {MAX_SAMPLES} samples");
            Err(Refusal::Malformed(Issue::error(IssueCode::TooLong, text)))
        }
        _ => Err(Refusal::Malformed(Issue::error(IssueCode::Structure, "Body must be an array of samples"))),
    }
}

fn receive_export(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let mut count = 0;
    for sample in export::Samples::new(bytes) {
        sample.map_err(|cause| Refusal::Malformed(Issue::error(IssueCode::Invalid, cause.to_string())))?;
        count += 1;
        if count > MAX_SAMPLES {
            let text = format!("The export holds more than {MAX_SAMPLES} samples; import it as a file");
            return Err(Refusal::Malformed(Issue::error(IssueCode::TooLong, text)));
        }
    }
    if count == 0 {
        let text = "Body is no HealthData document with samples";
        return Err(Refusal::Malformed(Issue::error(IssueCode::Structure, text)));
    }
    Ok(Delivery::default())
}

fn map_export(bytes: &[u8], context: &Context<'_>) -> Mapping {
    let parts = export::parts(bytes).unwrap_or_default();
    let samples: Vec<Json> =
        export::Samples::new(bytes).flatten().filter(|sample| !parts.contains(&export::identity(sample))).collect();
    map_samples(&samples, context)
}
