//! The event stream. <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>
//!
//! A stream names users by the vendor's id and says nothing of devices when a connection ends: who and what that is
//! comes from the records of the same piece.

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use super::record::{self, word};
use super::{Found, VENDOR, looks_like_text, subject, system, users};
use crate::bundle::{self, Source};
use crate::event_stream::{Event, EventReader};
use crate::time::{self, Moment};
use crate::{Context, Delivery, Mapping, Refusal, error, warning};

/// What the piece has told so far.
#[derive(Default)]
struct Known {
    /// Vendor's user id, uid, source and device.
    users: Vec<(String, String, String, Option<String>)>,
    /// The latest moment that was named.
    latest: Option<Moment>,
}

/// Whether these bytes look like a piece of a stream.
pub(super) fn recognises(bytes: &[u8]) -> bool {
    looks_like_text(bytes) && std::str::from_utf8(bytes).is_ok_and(|text| !events(text).is_empty())
}

/// Checks that every event is readable.
pub(super) fn receive(bytes: &[u8]) -> Result<Delivery, Refusal> {
    let malformed = |text: String| Refusal::Malformed(Issue::error(IssueCode::Invalid, text));
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("Body is not UTF-8".to_owned()))?;
    let mut records = Vec::new();
    for event in events(text) {
        let json = Json::parse(event.data.as_bytes())
            .map_err(|cause| malformed(format!("The data of an event is not well formed JSON: {cause}")))?;
        records.extend((event.name == "data").then_some(json));
    }
    Ok(Delivery { devices: users(records.iter()), ..Delivery::default() })
}

/// Translates the events one after the other.
pub(super) fn map(bytes: &[u8], context: &Context<'_>) -> Mapping {
    let mut found = Found::default();
    let mut known = Known::default();
    let events: Vec<(Event, Json)> = events(&String::from_utf8_lossy(bytes))
        .into_iter()
        .map(|event| {
            // Bytes that `receive` took are well formed.
            let json = Json::parse(event.data.as_bytes()).unwrap_or(Json::Null);
            (event, json)
        })
        .collect();
    let nothing = &Json::Null;
    let last = events.iter().map(|(event, json)| if event.name == "data" { json } else { nothing });
    let last = record::last_states(last);
    for (index, (event, json)) in events.iter().enumerate() {
        known.hear(json);
        match event.name.as_str() {
            "data" if !last.is(index, json) => {}
            "data" => record::map(json, "", context, &mut found),
            "connection" => connection(json, &known, context, &mut found),
            "rule" => rule(json, &known, context, &mut found),
            "poke" => {}
            other => {
                let text = format!("Events of the name {other} are not known");
                found.issues.push(warning(IssueCode::NotSupported, text, "event"));
            }
        }
    }
    found.mapping()
}

impl Known {
    fn hear(&mut self, json: &Json) {
        for name in ["ts", "created_at", "triggered_at"] {
            if let Some(Ok(moment)) = json.str(name).map(|text| time::moment(text, None))
                && self.latest.as_ref().is_none_or(|latest| latest.micros < moment.micros)
            {
                self.latest = Some(moment);
            }
        }
        let text = |path: &[&str]| json.at(path).and_then(Json::as_str).map(str::to_owned);
        if let (Some(user), Some(uid), Some(source)) =
            (text(&["user", "user_id"]), text(&["user", "uid"]), text(&["source", "type"]))
        {
            self.users.push((user, uid, source, text(&["source", "device", "id"])));
        }
    }

    /// The patient of a vendor's user.
    fn subject(&self, user: &str, context: &Context<'_>) -> String {
        let uid = self.users.iter().rev().find(|(known, ..)| known == user).map(|(_, uid, ..)| uid.as_str());
        match uid.or(context.user) {
            Some(uid) => subject(uid, self.latest.as_ref().map(|moment| moment.micros), context),
            None => bundle::conditional("Patient", &system(context, "user-id"), user),
        }
    }

    fn device(&self, user: &str, source: &str) -> Option<&str> {
        let of = |(known, _, from, _): &&(String, String, String, Option<String>)| known == user && from == source;
        self.users.iter().rev().filter(of).find_map(|(_, _, _, device)| device.as_deref())
    }
}

/// A user connected a source, or left it.
fn connection(json: &Json, known: &Known, context: &Context<'_>, found: &mut Found) {
    let (Some(user), Some(source), Some(event)) = (json.str("user_id"), json.str("source"), json.str("event")) else {
        found.issues.push(warning(IssueCode::Required, "A connection needs user_id, source and event", "connection"));
        return;
    };
    let Some((device, moment)) = known.device(user, source).zip(known.latest.as_ref()) else {
        let text = format!("{source} was {event}, but of which device the stream does not say");
        found.issues.push(Issue::information(IssueCode::NotFound, text).at("connection"));
        return;
    };
    let ended = event.starts_with("disconnect") || event == "deleted";
    let (status, side) = if ended { ("completed", "end") } else { ("active", "start") };
    let value = format!("{}:{device}:{side}:{}", word(source), moment.text);
    let connection = system(context, "connection");
    let device_url = bundle::full_url(&system(context, &format!("device/{}", word(source))), device);
    let mut period = fhir::json::Object::new();
    period.insert(side, moment.text.as_str());
    let statement = fhir::object! {
        "resourceType": "DeviceUseStatement",
        "identifier": fhir::array![fhir::object! { "system": connection.clone(), "value": value.clone() }],
        "status": status,
        "subject": fhir::object! { "reference": known.subject(user, context) },
        "timingPeriod": period,
        "device": fhir::object! { "reference": device_url },
    };
    found.push(bundle::put("DeviceUseStatement", &connection, &value, statement));
}

/// A rule that the organisation set was met.
fn rule(json: &Json, known: &Known, context: &Context<'_>, found: &mut Found) {
    let triggered = json.str("triggered_at").and_then(|text| time::moment(text, None).ok());
    let (Some(rule), Some(user), Some(triggered)) = (json.str("rule_id"), json.str("user_id"), triggered) else {
        found.keep_back(error(IssueCode::Required, "A rule needs rule_id, user_id and triggered_at", "rule"));
        return;
    };
    let value = format!("{rule}:{user}:{}", triggered.text);
    let identified = system(context, "rule");
    let source = Source { namespace: context.namespace, vendor: VENDOR, of: "rule/", record: rule };
    let category = fhir::object! {
        "system": "http://terminology.hl7.org/CodeSystem/flag-category",
        "code": "clinical",
        "display": "Clinical",
    };
    let code = fhir::object! { "system": source.code_system("rule"), "code": rule };
    let flag = fhir::object! {
        "resourceType": "Flag",
        "meta": fhir::object! { "source": source.uri() },
        "identifier": fhir::array![fhir::object! { "system": identified.clone(), "value": value.clone() }],
        "status": "active",
        "category": fhir::array![fhir::object! { "coding": fhir::array![category] }],
        "code": fhir::object! { "coding": fhir::array![code], "text": format!("Rule {rule}") },
        "subject": fhir::object! { "reference": known.subject(user, context) },
        "period": fhir::object! { "start": triggered.text },
    };
    found.push(bundle::post("Flag", &identified, &value, flag));
}

/// Whole events; an unfinished last one is not yet an event.
fn events(text: &str) -> Vec<Event> {
    EventReader::default().push(text.as_bytes())
}
