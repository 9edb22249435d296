//! What of a payer's ClaimResponse stands in ours. <https://hl7.org/fhir/R4/claimresponse.html>
//!
//! Who it is about is what we know, never what the payer says. References to what we sent become ours again, who
//! reviewed and what is asked for goes along as contained resources, and every other reference is withheld.

use std::cell::RefCell;

use fhir::json::{Json, Object};
use fhir::reference::Reference;

use super::parcel::{Fate, Sources, name, rewritten};
use super::{VENDOR, answer};
use crate::bundle::{self, Source};
use crate::{Context, Publication};

/// Elements that are the payer's to say.
const ELEMENTS: &[&str] = &[
    "extension",
    "modifierExtension",
    "subType",
    "outcome",
    "disposition",
    "preAuthRef",
    "preAuthPeriod",
    "item",
    "addItem",
    "adjudication",
    "total",
    "payment",
    "fundsReserve",
    "formCode",
    "processNote",
    "communicationRequest",
    "error",
];

/// Types that may be contained: who decided, where, and what is asked for.
const CONTAINED: &[&str] = &["CommunicationRequest", "Organization", "Practitioner", "PractitionerRole", "Location"];

/// Most contained resources.
const MOST: usize = 50;

/// Members of our ClaimResponse; `sent` is what the answer is about.
pub(super) fn kept(response: &Json, answer: &Json, sent: &Sources<'_>) -> Json {
    let contained: RefCell<Vec<&Json>> = RefCell::default();
    let fate = |text: &str| {
        if let Some(ours) = ours(text, sent) {
            return Fate::Named(ours);
        }
        let Some(theirs) = entry(text, answer) else { return Fate::Withheld };
        let mut contained = contained.borrow_mut();
        let place = contained.iter().position(|it| *it == theirs).or_else(|| {
            contained.push(theirs);
            (contained.len() <= MOST).then(|| contained.len() - 1)
        });
        place.map_or(Fate::Withheld, |place| Fate::Named(format!("#payer-{}", place + 1)))
    };
    let mut members = Object::new();
    for element in ELEMENTS {
        if let Some(value) = response.get(element) {
            members.insert(element, rewritten(value, &fate));
        }
    }
    let found = contained.into_inner();
    let within = found.into_iter().take(MOST).enumerate().map(|(place, resource)| {
        let inner = |text: &str| ours(text, sent).map_or(Fate::Withheld, Fate::Named);
        let mut members = rewritten(resource, &inner).as_object().cloned().unwrap_or_default();
        for element in ["text", "meta", "contained"] {
            members.remove(element);
        }
        members.insert("id", format!("payer-{}", place + 1));
        Json::from(members)
    });
    let within: Vec<Json> = within.collect();
    if !within.is_empty() {
        members.insert("contained", within);
    }
    members.into()
}

/// The answer by itself, as FHIR to write: for whoever has no Claim to hold it against.
pub(super) fn publication(json: &Json, context: &Context<'_>) -> Publication {
    let nothing = Json::Null;
    let sent = Sources::of(context.visit.and_then(|told| told.get("sent")).unwrap_or(&nothing), context.namespace);
    let entries = answer::responses(json).map(|response| {
        let (standing, _) = answer::standing(response);
        let request =
            response.at(&["request", "identifier", "value"]).or_else(|| response.at(&["request", "reference"]));
        let own = response.list("identifier").iter().find_map(|it| it.str("value"));
        let number = own.or(request.and_then(Json::as_str)).unwrap_or("without-a-number");
        let source = Source { namespace: context.namespace, vendor: VENDOR, of: "claim/", record: number };
        let mut made = Object::new();
        made.insert("resourceType", "ClaimResponse");
        let members = kept(response, json, &sent);
        made.insert("meta", fhir::object! { "source": source.uri().replace(' ', "-") });
        if let Some(contained) = members.get("contained") {
            made.insert("contained", contained.clone());
        }
        let url = source.extension("claim-status");
        let mut extensions = vec![fhir::object! { "url": url, "valueCode": standing.as_str() }];
        extensions.extend(members.list("extension").iter().cloned());
        made.insert("extension", extensions);
        let system = source.identifier_system("claim");
        made.insert("identifier", fhir::array![fhir::object! { "system": system.as_str(), "value": number }]);
        for element in ["status", "type", "use"] {
            made.insert(element, response.get(element).cloned().unwrap_or(Json::Null));
        }
        for element in ["patient", "insurer", "request"] {
            let told = response
                .get(element)
                .map_or(Json::Null, |it| rewritten(it, &|text| ours(text, &sent).map_or(Fate::Withheld, Fate::Named)));
            made.insert(element, told);
        }
        made.insert("created", response.get("created").cloned().unwrap_or(Json::Null));
        for element in ELEMENTS.iter().skip(1) {
            if let Some(value) = members.get(element) {
                made.insert(element, value.clone());
            }
        }
        bundle::put("ClaimResponse", &system, number, Json::from(made))
    });
    Publication::of(bundle::transaction(entries.collect()), Vec::new())
}

/// Our own name of what a reference of the payer's points at, if we sent it.
fn ours(text: &str, sent: &Sources<'_>) -> Option<String> {
    let plain = text.split("/_history/").next().unwrap_or(text);
    let found = sent.all.iter().find(|it| it.url == plain || name(it.resource) == plain)?;
    found.resource.str("id").map(|_| name(found.resource))
}

/// The resource of an answer that a reference in it points at, if it may be contained.
fn entry<'a>(text: &str, answer: &'a Json) -> Option<&'a Json> {
    let found = within(text, answer)?;
    found.str("resourceType").is_some_and(|it| CONTAINED.contains(&it)).then_some(found)
}

/// The resource of an answer that a reference in it points at.
pub(super) fn within<'a>(text: &str, answer: &'a Json) -> Option<&'a Json> {
    let local = match Reference::parse(text, "") {
        Reference::Local { resource_type, id, .. } => Some(format!("{resource_type}/{id}")),
        _ => None,
    };
    let bundles = match answer.str("resourceType") {
        Some("Parameters") => answer.list("parameter").iter().filter_map(|it| it.get("resource")).collect(),
        _ => vec![answer],
    };
    let mut entries = bundles.into_iter().flat_map(|it| it.list("entry"));
    let is_it = |entry: &&Json| {
        let resource = entry.get("resource").unwrap_or(&Json::Null);
        entry.str("fullUrl") == Some(text) || local.as_ref().is_some_and(|local| name(resource) == *local)
    };
    entries.find(is_it)?.get("resource")
}
