//! FHIR that a vendor or a phone made: taken over as it is, but for whose it is and what it is called.
//!
//! Names and references of another server mean nothing here: resources are known by their identifiers, the patient is
//! the one who had the device, and Patients of a feed are never written. Validity is the business of the write path.

use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};
use quick_xml::Reader;
use quick_xml::events::Event;
use sha2::{Digest as _, Sha256};

use crate::bundle;
use crate::{Context, Delivery, Mapping, Publication, Refusal, Unassigned, error, time, warning};

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

/// Says which devices a FHIR document speaks of.
pub(crate) fn receive(body: &Json) -> Result<Delivery, Refusal> {
    if body.str("resourceType").is_none() {
        let text = "Body has no resourceType: it is no FHIR resource";
        return Err(Refusal::Unprocessable(vec![error(IssueCode::Structure, text, "resourceType")]));
    }
    let resources = resources(body);
    if !resources.iter().any(|(_, it)| it.str("resourceType").is_some_and(is_taken)) {
        let text = format!("Body holds none of {} and what a phone hands on", TAKEN.join(", "));
        return Err(Refusal::Unprocessable(vec![error(IssueCode::NotSupported, text, "Bundle.entry")]));
    }
    Ok(Delivery { id: None, devices: devices(&resources), items: None })
}

/// Takes a FHIR document over.
pub(crate) fn map(
    body: &Json,
    vendor: &'static str,
    device_kind: fn(&str) -> &'static str,
    context: &Context<'_>,
) -> Mapping {
    let resources = resources(body);
    let mut issues = Vec::new();
    let mut entries = Vec::new();
    let mut waits = false;
    let home = Home { vendor, device_kind, context, resources: &resources, devices: devices(&resources) };
    for (_, resource) in &resources {
        let Some(resource_type) = resource.str("resourceType") else { continue };
        if !is_taken(resource_type) {
            if !PASSED_OVER.contains(&resource_type) {
                let text = format!("{resource_type} is not taken over from a device");
                issues.push(warning(IssueCode::NotSupported, text, resource_type));
            }
            continue;
        }
        match home.entry(resource, resource_type) {
            Ok(entry) => entries.push(entry),
            Err(issue) => {
                waits = true;
                issues.push(*issue);
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

struct Home<'a> {
    vendor: &'static str,
    device_kind: fn(&str) -> &'static str,
    context: &'a Context<'a>,
    resources: &'a [(Option<&'a str>, &'a Json)],
    devices: Vec<String>,
}

impl Home<'_> {
    fn entry(&self, resource: &Json, resource_type: &str) -> Result<Json, Box<Issue>> {
        let (system, value) = self.key(resource, resource_type);
        let patient = if resource_type == "Device" { None } else { Some(self.patient(resource, resource_type)?) };
        let mut result = Object::new();
        let meta = fhir::object! { "source": format!("{}/{}#{value}", self.context.namespace, self.vendor) };
        let profile = resource.get("meta").and_then(|meta| meta.get("profile")).cloned();
        result.insert("resourceType", resource_type);
        result.insert("meta", meta);
        if let (Some(profile), Some(meta)) = (profile, result.get_mut("meta").and_then(Json::as_object_mut)) {
            meta.insert("profile", profile);
        }
        let mut identifiers = vec![fhir::object! { "system": system.clone(), "value": value.clone() }];
        let is_ours = |it: &&Json| it.str("system") != Some(&system);
        identifiers.extend(resource.list("identifier").iter().filter(is_ours).cloned());
        result.insert("identifier", identifiers);
        let members = resource.as_object().into_iter().flat_map(Object::iter);
        for (name, member) in members {
            if !matches!(name, "resourceType" | "id" | "meta" | "text" | "identifier" | "contained" | "patient") {
                result.insert(name, self.relinked(member, patient.as_deref()));
            }
        }
        if let Some(patient) = patient {
            let name = if is_about_patient(resource_type) { "patient" } else { "subject" };
            result.insert(name, fhir::object! { "reference": patient });
        }
        Ok(bundle::put(resource_type, &system, &value, result.into()))
    }

    /// The identifier that a resource is known by here.
    fn key(&self, resource: &Json, resource_type: &str) -> (String, String) {
        let base = format!("{}/{}", self.context.namespace, self.vendor);
        let own = resource.list("identifier").iter().find_map(|it| it.str("value")).map(str::to_owned);
        if resource_type == "Device" {
            let value = own.or_else(|| resource.str("id").map(str::to_owned)).unwrap_or_else(|| digest(resource));
            return (format!("{base}/{}", (self.device_kind)(&value)), value);
        }
        let own = own.map(|value| value.trim_start_matches("urn:uuid:").to_owned());
        let kind = if self.vendor == "healthkit" { "sample".to_owned() } else { resource_type.to_lowercase() };
        (
            format!("{base}/{kind}"),
            own.or_else(|| resource.str("id").map(str::to_owned)).unwrap_or_else(|| digest(resource)),
        )
    }

    fn patient(&self, resource: &Json, resource_type: &str) -> Result<String, Box<Issue>> {
        if let Some(patient) = self.context.session {
            return Ok(format!("Patient/{patient}"));
        }
        let told = ["effectiveDateTime", "effectiveInstant"].into_iter().find_map(|name| resource.str(name));
        let told = told.or_else(|| resource.at(&["effectivePeriod", "start"]).and_then(Json::as_str));
        let path = format!("{resource_type}.effective");
        let Some(Ok(moment)) = told.map(|text| time::moment(text, None)) else {
            let text = "Whose it is depends on when it was measured, which is not said with an offset from UTC";
            return Err(Box::new(warning(IssueCode::Required, text, &path)));
        };
        let name = self.devices.first().map_or("without identifier", String::as_str);
        let found = self.context.patient(&self.devices, moment.micros);
        found
            .map(|patient| format!("Patient/{patient}"))
            .map_err(|unassigned: Unassigned| Box::new(unassigned.issue(name, &moment.text, "Bundle.entry")))
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
        let inside = self.resources.iter().find(|(url, resource)| {
            *url == Some(target)
                || local(resource).is_some_and(|local| local == target || target.ends_with(&format!("/{local}")))
        });
        let inside_type = inside.and_then(|(_, resource)| resource.str("resourceType"));
        let is_patient =
            inside_type == Some("Patient") || target.starts_with("Patient/") || target.contains("/Patient/");
        match (inside, inside_type, patient) {
            (_, _, Some(patient)) if is_patient => result.insert("reference", patient),
            (Some((_, resource)), Some(resource_type), _) if is_taken(resource_type) => {
                let (system, value) = self.key(resource, resource_type);
                result.insert("reference", bundle::full_url(&system, &value));
            }
            _ => {
                let system = format!("{}/{}/reference", self.context.namespace, self.vendor);
                result.insert("identifier", fhir::object! { "system": system, "value": target });
            }
        }
    }
}

fn is_taken(resource_type: &str) -> bool {
    TAKEN.contains(&resource_type) || CLINICAL.contains(&resource_type)
}

fn is_about_patient(resource_type: &str) -> bool {
    matches!(resource_type, "AllergyIntolerance" | "Immunization")
}

/// The resources of a document with their `fullUrl`.
fn resources(body: &Json) -> Vec<(Option<&str>, &Json)> {
    if body.str("resourceType") != Some("Bundle") {
        return vec![(None, body)];
    }
    let entries = body.list("entry").iter();
    entries.filter_map(|entry| Some((entry.str("fullUrl"), entry.get("resource")?))).collect()
}

/// Identifiers of the devices of a document: those that it describes, and those that it only names.
fn devices(resources: &[(Option<&str>, &Json)]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut push = |value: &str| {
        if !value.is_empty() && found.iter().all(|known| known != value) {
            found.push(value.to_owned());
        }
    };
    for (_, resource) in resources {
        if resource.str("resourceType") == Some("Device") {
            resource.list("identifier").iter().filter_map(|it| it.str("value")).for_each(&mut push);
        }
        let named = resource.at(&["device", "identifier", "value"]).and_then(Json::as_str);
        named.into_iter().for_each(&mut push);
    }
    found
}

fn local(resource: &Json) -> Option<String> {
    Some(format!("{}/{}", resource.str("resourceType")?, resource.str("id")?))
}

/// Lower-case hexadecimal SHA-256 of the resource, for what has no name of its own.
pub(crate) fn digest(json: &Json) -> String {
    hexadecimal(&Sha256::digest(json.to_string().as_bytes()))
}

/// Lower-case hexadecimal digits of bytes.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
