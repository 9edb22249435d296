//! FHIR that a vendor or a phone made: taken over as it is, but for whose it is and what it is called.
//!
//! Names and references of another server mean nothing here: resources are known by their identifiers, the patient is
//! the one who had the device that the resource names, and Patients of a feed are never written. Validity is the business of the write path.

mod document;

use std::collections::BTreeSet;

use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};
use quick_xml::Reader;
use quick_xml::events::Event;
use sha2::{Digest as _, Sha256};

use self::document::Document;
use crate::bundle;
use crate::{
    Authentication, Context, Delivery, Mapping, Publication, Refusal, Unassigned, error, find, quarantined, time,
    warning,
};

/// Types that are taken over.
const TAKEN: &[&str] = &["Observation", "DiagnosticReport", "Device"];

/// Types of which one may come with every reading, and which are none of the feed's business.
const PASSED_OVER: &[&str] = &["Patient", "MessageHeader", "Composition", "Organization", "Practitioner", "Provenance"];

/// Types that a phone hands on from another hospital.
const CLINICAL: &[&str] = &[
    "AllergyIntolerance",
    "Condition",
    "Coverage",
    "Immunization",
    "MedicationRequest",
    "MedicationStatement",
    "MedicationDispense",
    "Procedure",
    "DocumentReference",
];

/// Longest name of a sender's that becomes a part of ours; of a longer one its digest does.
const MAX_NAME: usize = 256;

/// Deepest nesting of XML that is looked at.
const MAX_DEPTH: usize = 64;

/// Reads a FHIR document in XML.
pub(crate) fn xml(bytes: &[u8]) -> Result<Json, Refusal> {
    fhir::xml::to_json(bytes).map_err(|cause| {
        Refusal::Malformed(Issue::error(IssueCode::Invalid, format!("Body is not a FHIR document in XML: {cause}")))
    })
}

/// Whether bytes are well formed XML without a document type.
pub(crate) fn well_formed(bytes: &[u8]) -> Result<(), Refusal> {
    let malformed = |text: String| Refusal::Malformed(Issue::error(IssueCode::Invalid, text));
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("Body is not UTF-8".to_owned()))?;
    let mut reader = Reader::from_str(text);
    let (mut depth, mut roots) = (0_usize, 0_usize);
    loop {
        match reader.read_event() {
            Ok(Event::DocType(_)) => return Err(malformed("XML with a document type is not taken".to_owned())),
            Ok(Event::Start(_)) => {
                roots += usize::from(depth == 0);
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(malformed(format!("XML is nested deeper than {MAX_DEPTH}")));
                }
            }
            Ok(Event::Empty(_)) => roots += usize::from(depth == 0),
            Ok(Event::End(_)) => depth = depth.saturating_sub(1),
            Ok(Event::Eof) if depth == 0 && roots == 1 => return Ok(()),
            Ok(Event::Eof) => return Err(malformed("Body is not one whole XML document".to_owned())),
            Ok(_) => {}
            Err(cause) => return Err(malformed(format!("Body is not well formed XML: {cause}"))),
        }
    }
}

/// Says which devices a FHIR document speaks of, and what it would write.
pub(crate) fn receive(body: &Json, vendor: &str) -> Result<Delivery, Refusal> {
    if body.str("resourceType").is_none() {
        let text = "Body has no resourceType: it is no FHIR resource";
        return Err(Refusal::Unprocessable(vec![error(IssueCode::Structure, text, "resourceType")]));
    }
    let document = Document::read(body, vendor)?;
    let clinical = find(vendor).is_some_and(|it| it.authentication == Authentication::Session);
    let types: BTreeSet<String> = taken_types(&document, clinical).map(str::to_owned).collect();
    if types.is_empty() {
        let text = format!("Body holds none of {} and what a phone hands on", TAKEN.join(", "));
        return Err(Refusal::Unprocessable(vec![error(IssueCode::NotSupported, text, "Bundle.entry")]));
    }
    Ok(Delivery { devices: document.device_names(), types, ..Delivery::default() })
}

/// Takes a FHIR document over.
pub(crate) fn map(
    body: &Json,
    vendor: &'static str,
    device_kind: fn(&str) -> &'static str,
    context: &Context<'_>,
) -> Mapping {
    let document = match Document::read(body, vendor) {
        Ok(document) => document,
        Err(refusal) => return quarantined(refusal),
    };
    let home = Home::new(vendor, device_kind, context, &document);
    let mut issues = Vec::new();
    let mut entries = Vec::new();
    let mut written = BTreeSet::new();
    let mut waits = false;
    for (index, resource) in document.resources().iter().enumerate() {
        let Some(resource_type) = resource.str("resourceType") else { continue };
        let Some(place) = &home.places[index] else {
            if !PASSED_OVER.contains(&resource_type) {
                let text = format!("{resource_type} is not taken over from a device");
                issues.push(warning(IssueCode::NotSupported, text, resource_type));
            }
            continue;
        };
        match place {
            Ok(place) if written.insert(place.url()) => entries.push(home.entry(resource, resource_type, place)),
            Ok(place) => {
                let text = format!("{} came before in the document; the first stands", place.value);
                issues.push(warning(IssueCode::Duplicate, text, resource_type));
            }
            Err(issue) => {
                waits = true;
                issues.push((**issue).clone());
            }
        }
    }
    let holds_data = entries.iter().any(|entry| {
        entry.get("resource").and_then(|resource| resource.str("resourceType")).is_some_and(|it| it != "Device")
    });
    if !holds_data {
        return Mapping::Quarantine { issues };
    }
    Mapping::Publish(Publication { waits, ..Publication::of(bundle::transaction(entries), issues) })
}

/// The types of a document that are taken over.
pub(crate) fn types(body: &Json, vendor: &str) -> BTreeSet<String> {
    let document = Document::read(body, vendor).ok();
    document.iter().flat_map(|document| taken_types(document, true)).map(str::to_owned).collect()
}

fn taken_types<'a>(document: &Document<'a>, clinical: bool) -> impl Iterator<Item = &'a str> {
    let types = document.resources().to_vec().into_iter().filter_map(|it| it.str("resourceType"));
    types.filter(move |it| is_taken(it, clinical))
}

/// What a resource is known by here, and whose it is.
struct Place {
    system: String,
    value: String,
    /// `Patient/ID`; a Device is nobody's.
    patient: Option<String>,
}

impl Place {
    fn url(&self) -> String {
        bundle::full_url(&self.system, &self.value)
    }
}

struct Home<'a> {
    vendor: &'static str,
    device_kind: fn(&str) -> &'static str,
    context: &'a Context<'a>,
    document: &'a Document<'a>,
    /// The place of each resource of the document; nothing for what is not taken over.
    places: Vec<Option<Result<Place, Box<Issue>>>>,
}

impl<'a> Home<'a> {
    fn new(
        vendor: &'static str,
        device_kind: fn(&str) -> &'static str,
        context: &'a Context<'a>,
        document: &'a Document<'a>,
    ) -> Self {
        let mut home = Home { vendor, device_kind, context, document, places: Vec::new() };
        let place = |resource: &&'a Json| {
            let resource_type = resource.str("resourceType")?;
            is_taken(resource_type, context.session.is_some()).then(|| home.place(resource, resource_type))
        };
        let places = document.resources().iter().map(place).collect();
        home.places = places;
        home
    }

    fn entry(&self, resource: &Json, resource_type: &str, place: &Place) -> Json {
        let mut result = Object::new();
        let source: String = place.value.chars().map(|it| if it.is_whitespace() { '-' } else { it }).collect();
        let meta = fhir::object! { "source": format!("{}/{}#{source}", self.context.namespace, self.vendor) };
        let profile = resource.get("meta").and_then(|meta| meta.get("profile")).cloned();
        result.insert("resourceType", resource_type);
        result.insert("meta", meta);
        if let (Some(profile), Some(meta)) = (profile, result.get_mut("meta").and_then(Json::as_object_mut)) {
            meta.insert("profile", profile);
        }
        let mut identifiers = vec![fhir::object! { "system": place.system.as_str(), "value": place.value.as_str() }];
        // Names that adapters give are not the sender's to give: others are looked up by them.
        let ours = format!("{}/", self.context.namespace);
        let is_foreign = |it: &&Json| match it.str("system") {
            Some(system) if place.patient.is_none() => system != place.system,
            Some(system) => !system.starts_with(&ours),
            None => true,
        };
        identifiers.extend(resource.list("identifier").iter().filter(is_foreign).cloned());
        result.insert("identifier", identifiers);
        let subject = subject_of(resource_type);
        let members = resource.as_object().into_iter().flat_map(Object::iter);
        for (name, member) in members {
            let is_about = matches!(name, "patient" | "subject" | "beneficiary");
            if !is_about && !matches!(name, "resourceType" | "id" | "meta" | "text" | "identifier" | "contained") {
                result.insert(name, self.relinked(member, place.patient.as_deref()));
            }
        }
        if let Some(patient) = &place.patient {
            result.insert(subject, fhir::object! { "reference": patient.as_str() });
        }
        bundle::put(resource_type, &place.system, &place.value, result.into())
    }

    /// The name that a resource is known by here. Names of a sender mean something only for one patient, one type and
    /// the system that they are of: another phone has a Condition 1 too.
    fn place(&self, resource: &'a Json, resource_type: &str) -> Result<Place, Box<Issue>> {
        let base = format!("{}/{}", self.context.namespace, self.vendor);
        let id = resource.str("id");
        if resource_type == "Device" {
            let own = resource.list("identifier").iter().find_map(|it| self.document.name(it)).map(str::to_owned);
            let of_session = |id: &str| self.context.session.map_or(id.to_owned(), |patient| format!("{patient}:{id}"));
            let value = own.or_else(|| id.map(of_session)).unwrap_or_else(|| digest(resource));
            return Ok(Place { system: format!("{base}/{}", (self.device_kind)(&value)), value, patient: None });
        }
        let patient = self.patient(resource, resource_type)?;
        let own = resource.list("identifier").iter().find_map(|it| Some((it.str("system"), it.str("value")?)));
        let own = match (own, id) {
            (Some((system, value)), _) => format!("{}|{value}", system.unwrap_or_default()),
            (None, Some(id)) => format!("id|{id}"),
            (None, None) => format!("sha256|{}", digest(resource)),
        };
        let is_long = own.len() > MAX_NAME || own.chars().any(char::is_control);
        let own = if is_long { format!("sha256|{}", digest(&Json::from(own))) } else { own };
        Ok(Place {
            system: format!("{base}/{}", resource_type.to_lowercase()),
            value: format!("{patient}:{own}"),
            patient: Some(format!("Patient/{patient}")),
        })
    }

    /// Logical id of the patient whose a resource is.
    fn patient(&self, resource: &'a Json, resource_type: &str) -> Result<&'a str, Box<Issue>> {
        if let Some(patient) = self.context.session {
            return Ok(patient);
        }
        let told = ["effectiveDateTime", "effectiveInstant"].into_iter().find_map(|name| resource.str(name));
        let told = told.or_else(|| resource.at(&["effectivePeriod", "start"]).and_then(Json::as_str));
        let path = format!("{resource_type}.effective");
        let Some(Ok(moment)) = told.map(|text| time::moment(text, None)) else {
            let text = "Whose it is depends on when it was measured, which is not said with an offset from UTC";
            return Err(Box::new(warning(IssueCode::Required, text, &path)));
        };
        let devices = self.document.devices_of(resource);
        let Some(name) = devices.iter().flatten().next() else {
            let text = "Which device it comes from is neither said nor certain; raw data kept";
            return Err(Box::new(error(IssueCode::Required, text, &format!("{resource_type}.device"))));
        };
        for names in &devices {
            match self.holder(names, moment.micros) {
                Ok(patient) => return Ok(patient),
                Err(Unassigned::None) => {}
                Err(many) => return Err(Box::new(many.issue(name, &moment.text, "Bundle.entry"))),
            }
        }
        Err(Box::new(Unassigned::None.issue(name, &moment.text, "Bundle.entry")))
    }

    /// The patient of one device that has several names: all that are paired must say the same.
    fn holder(&self, names: &[&str], micros: i64) -> Result<&'a str, Unassigned> {
        let mut found = None;
        for name in names {
            match self.context.patient(&[(*name).to_owned()], micros) {
                Ok(patient) if found.is_none_or(|other| other == patient) => found = Some(patient),
                Ok(_) | Err(Unassigned::Many) => return Err(Unassigned::Many),
                Err(Unassigned::None) => {}
            }
        }
        found.ok_or(Unassigned::None)
    }

    /// A member with references that mean something here: the patient, what is in the same document, or a name.
    fn relinked(&self, value: &Json, patient: Option<&str>) -> Json {
        match value {
            Json::Object(members) => {
                let mut result = Object::new();
                for (name, member) in members.iter() {
                    match (name, member.as_str()) {
                        ("reference", Some(target)) => self.reference(target, patient, &mut result),
                        _ => result.insert(name, self.relinked(member, patient)),
                    }
                }
                result.into()
            }
            Json::Array(items) => Json::Array(items.iter().map(|item| self.relinked(item, patient)).collect()),
            other => other.clone(),
        }
    }

    fn reference(&self, target: &str, patient: Option<&str>, result: &mut Object) {
        let inside = self.document.find(target);
        let inside_type = inside.and_then(|index| self.document.resources()[index].str("resourceType"));
        let is_patient =
            inside_type == Some("Patient") || target.starts_with("Patient/") || target.contains("/Patient/");
        // What is another patient's, or is not written, cannot be pointed at.
        let place = inside.and_then(|index| self.places.get(index)?.as_ref()?.as_ref().ok());
        let place = place.filter(|place| place.patient.is_none() || place.patient.as_deref() == patient);
        match (place, patient) {
            (_, Some(patient)) if is_patient => result.insert("reference", patient),
            (Some(place), _) => result.insert("reference", place.url()),
            _ => {
                let system = format!("{}/{}/reference", self.context.namespace, self.vendor);
                result.insert("identifier", fhir::object! { "system": system, "value": target });
            }
        }
    }
}

fn is_taken(resource_type: &str, clinical: bool) -> bool {
    TAKEN.contains(&resource_type) || (clinical && CLINICAL.contains(&resource_type))
}

/// The element that says whose a resource is.
fn subject_of(resource_type: &str) -> &'static str {
    match resource_type {
        "AllergyIntolerance" | "Immunization" => "patient",
        "Coverage" => "beneficiary",
        _ => "subject",
    }
}

/// Lower-case hexadecimal SHA-256 of the resource, for what has no name of its own.
pub(crate) fn digest(json: &Json) -> String {
    fhir::hexadecimal(&Sha256::digest(json.to_string().as_bytes()))
}
