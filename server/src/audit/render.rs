//! An event as an `AuditEvent`, by the profiles of IHE where they apply. <https://profiles.ihe.net/ITI/BALP/>

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fhir::date::format_instant;
use fhir::json::{Json, Object};
use fhir::{array, object};
use store::audit::{Event, Kind, instant_of};

const PROFILES: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
const REQUEST_ENTITY: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
pub(super) const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const TYPES: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const INTERACTIONS: &str = "http://hl7.org/fhir/restful-interaction";
const ENTITY_TYPES: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const ROLES: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const CUSTODIAN: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
const SOURCES: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";

/// Codes of DICOM for what happens: ours, theirs, in words.
const DICOM: [(&str, &str, &str); 2] = [("login", "110122", "Login"), ("logout", "110123", "Logout")];

/// The logical id of an event.
pub(super) fn id(event: &Event) -> String {
    uuid::Uuid::from_bytes(event.id).to_string()
}

/// The event that a logical id names, if it can be one.
pub(super) fn id_of(text: &str) -> Option<[u8; 16]> {
    let id = uuid::Uuid::parse_str(text).ok()?;
    (id.to_string() == text).then(|| *id.as_bytes())
}

/// System, code and words of a kind.
pub(super) fn type_of(kind: Kind) -> (&'static str, &'static str, &'static str) {
    match kind {
        Kind::Rest => (TYPES, "rest", "RESTful Operation"),
        Kind::Authentication => (DCM, "110114", "User Authentication"),
        Kind::Administration => (DCM, "110100", "Application Activity"),
    }
}

/// What happened as it stands in the trail, and the code that DICOM has for it.
pub(super) fn renamed() -> impl Iterator<Item = (&'static str, &'static str)> {
    DICOM.iter().map(|(ours, theirs, _)| (*ours, *theirs))
}

/// Statuses from and up to which an outcome has a code.
pub(super) const OUTCOMES: [(u16, u16, &str); 3] = [(0, 399, "0"), (400, 499, "4"), (500, u16::MAX, "8")];

/// What an interaction with FHIR data is called that FHIR has no code for.
pub(super) const DELIVERY: &str = "delivery";

/// Where the code of what happened is defined, unless it is DICOM's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SystemOf {
    /// FHIR's interactions.
    Interactions,
    /// This server.
    Own,
}

impl SystemOf {
    pub(super) fn url(self, base: &str) -> Cow<'static, str> {
        match self {
            SystemOf::Interactions => INTERACTIONS.into(),
            SystemOf::Own => format!("{base}/CodeSystem/tributary-audit-event").into(),
        }
    }
}

/// The resource. Who sees some patients only, `seen`, learns nothing of others: searches are left out, and so is what
/// was touched, unless it is one thing that is theirs alone. That depends on nothing that they may not see.
pub(super) fn render(event: &Event, base: &str, seen: Option<&[String]>) -> Json {
    let recorded = format_instant(instant_of(&event.id));
    let patients: Vec<&String> =
        event.patients.iter().filter(|patient| seen.is_none_or(|seen| seen.contains(patient))).collect();
    let is_shown = seen.is_none() || (patients.len() == event.patients.len() && event.touched().count() == 1);
    let mut meta = Object::new();
    meta.insert("versionId", "1");
    meta.insert("lastUpdated", recorded.as_str());
    if let Some(profile) = profile(event).filter(|_| is_shown) {
        meta.insert("profile", array![format!("{PROFILES}{profile}")]);
    }
    let mut resource = Object::new();
    resource.insert("resourceType", "AuditEvent");
    resource.insert("id", id(event));
    resource.insert("meta", meta);
    let (system, code, display) = type_of(event.kind);
    resource.insert("type", coding(system, code, display));
    if !event.subtype.is_empty() {
        resource.insert("subtype", array![subtype(event, base)]);
    }
    resource.insert("action", event.action.to_string());
    resource.insert("recorded", recorded);
    let outcome = OUTCOMES.iter().find(|(_, last, _)| event.status <= *last);
    resource.insert("outcome", outcome.map_or("8", |(.., code)| code));
    resource.insert("outcomeDesc", format!("HTTP {}", event.status));
    resource.insert("agent", agents(event, base, seen));
    resource.insert(
        "source",
        object! {
            "observer": object! { "identifier": object! { "value": base } },
            "type": array![coding(SOURCES, "4", "Application Server")],
        },
    );
    let query = event.query.as_deref().filter(|_| seen.is_none());
    let entities = entities(event, &patients, is_shown, query);
    if !entities.is_empty() {
        resource.insert("entity", entities);
    }
    Json::Object(resource)
}

/// The profile that the event keeps to: those of IHE are about what succeeded.
fn profile(event: &Event) -> Option<String> {
    let done = match event.subtype.as_ref() {
        _ if event.kind != Kind::Rest || event.status >= 400 => return None,
        "create" => "Create",
        "read" | "vread" => "Read",
        "update" => "Update",
        "delete" => "Delete",
        "search-type" | "search-system" => "Query",
        _ => return None,
    };
    let data = event.touched().count();
    let fits = if done == "Query" { data == 0 && event.query.is_some() } else { data == 1 && event.query.is_none() };
    let known = event.address.is_some() && event.client.is_some();
    match event.patients.len() {
        _ if !fits || !known => None,
        0 => Some(done.to_owned()),
        1 => Some(format!("Patient{done}")),
        _ => None,
    }
}

fn coding(system: &str, code: &str, display: &str) -> Json {
    object! { "system": system, "code": code, "display": display }
}

fn concept(system: &str, code: &str, display: &str) -> Json {
    object! { "coding": array![coding(system, code, display)] }
}

fn subtype(event: &Event, base: &str) -> Json {
    let code = event.subtype.as_ref();
    if let Some((_, theirs, display)) = DICOM.iter().find(|(ours, ..)| *ours == code) {
        return coding(DCM, theirs, display);
    }
    let system = match event.kind {
        Kind::Rest if code != DELIVERY => SystemOf::Interactions,
        _ => SystemOf::Own,
    };
    object! { "system": system.url(base).as_ref(), "code": code }
}

/// Who did it. Of another patient those who see some patients only learn no more than the app: neither who it was nor
/// from where.
fn agents(event: &Event, base: &str, seen: Option<&[String]>) -> Vec<Json> {
    let patient = event.fhir_user.as_deref().and_then(|record| record.strip_prefix("Patient/"));
    let is_told = seen.is_none_or(|seen| patient.is_none_or(|id| seen.iter().any(|own| own == id)));
    let (source, destination) =
        (concept(DCM, "110153", "Source Role ID"), concept(DCM, "110152", "Destination Role ID"));
    let (client_type, server_type) = match event.subtype.as_ref() {
        "read" | "vread" => (destination, source),
        "create" | "update" | "search-type" | "search-system" => (source, destination),
        _ => (concept(DCM, "110150", "Application"), concept(CUSTODIAN, "custodian", "Custodian")),
    };
    let has_person = event.account.is_some() || event.fhir_user.is_some();
    let mut client = Object::new();
    client.insert("type", client_type);
    if let Some(client_id) = &event.client {
        client.insert("who", object! { "identifier": object! { "value": client_id.as_str() } });
    }
    client.insert("requestor", !has_person);
    if let Some(address) = event.address.as_ref().filter(|_| is_told) {
        client.insert("network", object! { "address": address.as_str(), "type": "2" });
    }
    let server = object! {
        "type": server_type,
        "who": object! { "identifier": object! { "value": base } },
        "requestor": false,
        "network": object! { "address": base, "type": "5" },
    };
    let mut agents = vec![Json::Object(client), server];
    if has_person && is_told {
        let role = match event.subtype.as_ref() {
            "create" | "update" | "delete" => concept(PARTICIPATION, "AUT", "author (originator)"),
            _ => concept(PARTICIPATION, "IRCP", "information recipient"),
        };
        let mut who = Object::new();
        if let Some(record) = &event.fhir_user {
            who.insert("reference", record.as_str());
        }
        if let Some(account) = &event.account {
            who.insert("identifier", object! { "value": account.as_str() });
        }
        agents.push(object! { "type": role, "who": who, "requestor": true });
    }
    agents
}

fn entities(event: &Event, patients: &[&String], is_shown: bool, query: Option<&str>) -> Vec<Json> {
    let mut entities = Vec::new();
    if let Some(request) = &event.request {
        entities.push(object! {
            "what": object! { "identifier": object! { "value": request.as_str() } },
            "type": object! { "system": REQUEST_ENTITY, "code": "XrequestId" },
        });
    }
    for patient in patients {
        entities.push(object! {
            "what": object! { "reference": format!("Patient/{patient}") },
            "type": coding(ENTITY_TYPES, "1", "Person"),
            "role": coding(ROLES, "1", "Patient"),
        });
    }
    if !is_shown {
        return entities;
    }
    let several = event.touched().count() > 1;
    for touched in event.touched() {
        let mut entity = Object::new();
        let searches = touched.reference.contains('?');
        let is_resource = touched.reference.split('/').next().is_some_and(fhir::definitions::is_resource_type);
        if is_resource && !searches {
            entity.insert("what", object! { "reference": touched.reference });
        }
        entity.insert("type", coding(ENTITY_TYPES, "2", "System Object"));
        let role = if searches { ("24", "Query") } else { ("4", "Domain Resource") };
        entity.insert("role", coding(ROLES, role.0, role.1));
        if searches {
            entity.insert("query", STANDARD.encode(touched.reference));
        } else if !is_resource {
            entity.insert("name", touched.reference);
        }
        if several {
            let detail = |name: &str, value: String| object! { "type": name, "valueString": value };
            let details = [("action", touched.action.to_string()), ("status", touched.status.to_string())];
            entity.insert("detail", details.map(|(name, value)| detail(name, value)).to_vec());
        }
        entities.push(Json::Object(entity));
    }
    if let Some(query) = query {
        entities.push(object! {
            "type": coding(ENTITY_TYPES, "2", "System Object"),
            "role": coding(ROLES, "24", "Query"),
            "query": STANDARD.encode(query),
        });
    }
    entities
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            id: store::audit::id_at(1_795_356_180_123_456, [1; 8]),
            subtype: "read".into(),
            action: 'R',
            status: 200,
            client: Some("app".to_owned()),
            address: Some("192.0.2.1".to_owned()),
            request: Some("r-1".to_owned()),
            patients: ["a".to_owned()].into(),
            entities: "R200 Observation/o/_history/1\n".to_owned(),
            ..Event::default()
        }
    }

    #[test]
    fn a_read_keeps_to_its_profile_and_is_valid() {
        let resource = render(&event(), "http://s/fhir", None);
        let profile = resource.get("meta").map(|meta| meta.list("profile").to_vec());
        assert_eq!(profile, Some(vec![format!("{PROFILES}PatientRead").into()]));
        let issues = validation::validate(&resource);
        assert!(issues.iter().all(|issue| issue.severity < fhir::outcome::Severity::Error), "{issues:?}");
        assert_eq!(id_of(resource.str("id").expect("an id")), Some(event().id));
    }

    #[test]
    fn co_08_of_another_patient_only_the_app_is_told() {
        let by = |record: &str| Event { fhir_user: Some(record.into()), account: Some("u-1".into()), ..event() };
        let shown = |event: &Event, seen| agents(event, "http://s/fhir", seen).iter().map(Json::to_string).collect();
        let seen = ["a".to_owned()];
        let told: String = shown(&by("Patient/z"), Some(&seen));
        assert!(told.contains("\"app\"") && !["Patient/z", "u-1", "192.0.2.1"].iter().any(|it| told.contains(it)));
        for (record, seen) in [("Patient/z", None), ("Patient/a", Some(&seen[..])), ("Practitioner/z", Some(&seen))] {
            let told: String = shown(&by(record), seen);
            assert!([record, "u-1", "192.0.2.1"].iter().all(|it| told.contains(it)), "{told}");
        }
    }

    #[test]
    fn co_08_of_events_about_several_only_ones_own_part_is_told() {
        let both =
            Event { patients: ["a".to_owned(), "b".to_owned()].into(), query: Some("x?y".to_owned()), ..event() };
        let seen = render(&both, "http://s/fhir", Some(&["a".to_owned()])).to_string();
        assert!(seen.contains("Patient/a") && !seen.contains("Patient/b"), "{seen}");
        assert!(!seen.contains("Observation/o") && !seen.contains("\"query\""), "{seen}");
        assert!(render(&both, "http://s/fhir", None).to_string().contains("Patient/b"));
    }
}
