//! What goes with a claim: every resource that it refers to, each once, and nothing else.
//!
//! What is referred to further on goes along only if it says who or where ([`follows`]): a claim sends the order that it
//! is about, not the whole record that the order refers to. A reference to what stays here is withheld.

use std::collections::BTreeSet;

use fhir::json::{Json, Object};
use fhir::reference::Reference;

use crate::bundle;

/// Resources of a Bundle by what they are referred to with.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    pub(super) all: Vec<Source<'a>>,
    base: String,
}

/// A resource and its `fullUrl`.
#[derive(Clone, Debug)]
pub(super) struct Source<'a> {
    pub(super) url: String,
    pub(super) resource: &'a Json,
}

/// Whether a resource of type `to` goes along because one of type `from`, which the claim refers to, refers to it.
pub(super) fn follows(from: &str, to: &str) -> bool {
    match from {
        "Claim" => to != "Claim",
        "Patient" => false,
        "Coverage" => matches!(to, "Patient" | "RelatedPerson" | "Organization"),
        _ => matches!(to, "Organization" | "Practitioner" | "PractitionerRole" | "Location" | "Medication"),
    }
}

impl<'a> Sources<'a> {
    pub(super) fn of(json: &'a Json, namespace: &str) -> Self {
        let all: Vec<Source<'_>> = json
            .list("entry")
            .iter()
            .filter_map(|entry| {
                let resource = entry.get("resource")?;
                let named = || bundle::full_url(&format!("{namespace}/{}/resource", super::VENDOR), &name(resource));
                Some(Source { url: entry.str("fullUrl").map_or_else(named, str::to_owned), resource })
            })
            .collect();
        let base = all.first().and_then(|first| first.url.strip_suffix(&format!("/{}", name(first.resource))));
        Sources { base: base.unwrap_or_default().to_owned(), all }
    }

    /// What a reference points at.
    pub(super) fn target(&self, reference: Option<&Json>) -> Option<&Source<'a>> {
        self.find(reference?.str("reference")?)
    }

    /// Whether a reference is an address of ours.
    pub(super) fn is_address_of_ours(&self, reference: &str) -> bool {
        !self.base.is_empty() && reference.strip_prefix(&self.base).is_some_and(|rest| rest.starts_with('/'))
    }

    /// What a resource refers to, and what that refers to as far as it is needed; each once, in the order of the Bundle.
    pub(super) fn reached(&self, root: &Json) -> Vec<&Source<'a>> {
        let mut reached = BTreeSet::new();
        let mut open = self.direct(root, |_| true);
        while let Some(index) = open.pop() {
            if reached.insert(index) {
                let source = self.all[index].resource;
                let from = source.str("resourceType").unwrap_or_default();
                open.extend(self.direct(source, |to| follows(from, to)));
            }
        }
        reached.into_iter().map(|index| &self.all[index]).collect()
    }

    /// A resource whose references name what goes along by its `fullUrl`, and withhold what stays here.
    pub(super) fn written(&self, json: &Json, along: &[&str]) -> Json {
        rewritten(json, &|text| match self.find(text) {
            Some(source) if along.contains(&source.url.as_str()) => Fate::Named(source.url.clone()),
            Some(_) => Fate::Withheld,
            None if matches!(Reference::parse(text, &self.base), Reference::Local { .. }) => Fate::Withheld,
            None => Fate::Kept,
        })
    }

    fn find(&self, text: &str) -> Option<&Source<'a>> {
        let local = match Reference::parse(text, &self.base) {
            Reference::Local { resource_type, id, .. } => Some(format!("{resource_type}/{id}")),
            _ => None,
        };
        self.all.iter().find(|it| it.url == text || local.as_ref().is_some_and(|local| name(it.resource) == *local))
    }

    fn direct(&self, resource: &Json, wanted: impl Fn(&str) -> bool) -> Vec<usize> {
        let mut texts = Vec::new();
        references(resource, &mut texts);
        let place = |text: &str| {
            let found = self.find(text)?;
            let is_wanted = found.resource.str("resourceType").is_some_and(&wanted);
            is_wanted.then(|| self.all.iter().position(|it| it.url == found.url)).flatten()
        };
        texts.into_iter().filter_map(place).collect()
    }
}

/// What becomes of a reference.
pub(super) enum Fate {
    /// It is left as it is.
    Kept,
    /// It points at this.
    Named(String),
    /// That there was one is said, and nothing else.
    Withheld,
}

/// A value with other references.
pub(super) fn rewritten(json: &Json, fate: &dyn Fn(&str) -> Fate) -> Json {
    match json {
        Json::Object(members) => {
            let text = json.str("reference").filter(|text| !text.starts_with('#'));
            let fated = text.map_or(Fate::Kept, fate);
            if matches!(fated, Fate::Withheld) {
                return withheld();
            }
            let mut written = Object::new();
            for (name, member) in members.iter() {
                match &fated {
                    Fate::Named(url) if name == "reference" => written.insert(name, url.as_str()),
                    _ => written.insert(name, rewritten(member, fate)),
                }
            }
            written.into()
        }
        Json::Array(items) => Json::Array(items.iter().map(|item| rewritten(item, fate)).collect()),
        other => other.clone(),
    }
}

/// An entry of a Bundle.
pub(super) fn entry(url: &str, resource: Json) -> Json {
    fhir::object! { "fullUrl": url, "resource": resource }
}

/// `Type/id` of a resource.
pub(super) fn name(resource: &Json) -> String {
    format!("{}/{}", resource.str("resourceType").unwrap_or_default(), resource.str("id").unwrap_or_default())
}

/// <https://hl7.org/fhir/R4/extension-data-absent-reason.html>
fn withheld() -> Json {
    let extension = fhir::object! {
        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked",
    };
    fhir::object! { "extension": fhir::array![extension] }
}

fn references<'a>(json: &'a Json, found: &mut Vec<&'a str>) {
    match json {
        Json::Object(members) => {
            found.extend(json.str("reference"));
            members.iter().for_each(|(_, member)| references(member, found));
        }
        Json::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}
