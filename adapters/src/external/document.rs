//! The resources of a FHIR document, found by their names, and the devices that each speaks of.
//! <https://hl7.org/fhir/R4/bundle.html#references>

use std::collections::{BTreeMap, BTreeSet};

use fhir::json::Json;
use fhir::outcome::IssueCode;

use crate::{Refusal, error};

/// Resources of one document at most: they are one transaction, which has up to that many entries.
const MAX_RESOURCES: usize = 10_000;

/// Devices of one document at most.
const MAX_DEVICES: usize = 100;

/// Names that those devices have at most.
const MAX_NAMES: usize = 4 * MAX_DEVICES;

/// Kinds of our own identifiers that name a device.
const DEVICE_KINDS: &[&str] = &["device-id", "serial-number", "imei", "source"];

/// Types of identifiers that name a device. <http://terminology.hl7.org/CodeSystem/v2-0203>
const DEVICE_TYPES: &[&str] = &["SNO", "UDI", "MCN", "DI", "FI"];

/// A document with its resources by name.
pub(super) struct Document<'a> {
    vendor: &'a str,
    resources: Vec<&'a Json>,
    /// By `fullUrl`; nothing where several have the same.
    urls: BTreeMap<&'a str, Option<usize>>,
    /// By type and id; nothing where several have the same.
    locals: BTreeMap<(&'a str, &'a str), Option<usize>>,
    devices: Devices<'a>,
}

/// The devices that a document describes or names.
#[derive(Default)]
struct Devices<'a> {
    count: usize,
    /// Their names in the order of the document, each once.
    names: Vec<&'a str>,
}

impl<'a> Document<'a> {
    /// Reads the resources of a Bundle, or the one that the body is.
    pub(super) fn read(body: &'a Json, vendor: &'a str) -> Result<Self, Refusal> {
        let mut document = Document {
            vendor,
            resources: Vec::new(),
            urls: BTreeMap::new(),
            locals: BTreeMap::new(),
            devices: Devices::default(),
        };
        if body.str("resourceType") == Some("Bundle") {
            if body.list("entry").len() > MAX_RESOURCES {
                return Err(too_much("resources", MAX_RESOURCES));
            }
            for entry in body.list("entry") {
                if let Some(resource) = entry.get("resource") {
                    document.add(entry.str("fullUrl"), resource);
                }
            }
        } else {
            document.add(None, body);
        }
        document.devices = document.all_devices()?;
        Ok(document)
    }

    /// The resources in the order of the document.
    pub(super) fn resources(&self) -> &[&'a Json] {
        &self.resources
    }

    /// Names of all devices, each once.
    pub(super) fn device_names(&self) -> Vec<String> {
        self.devices.names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The index of the resource that a reference means; nothing if it is not in the document, or not for certain.
    pub(super) fn find(&self, target: &str) -> Option<usize> {
        if let Some(found) = self.urls.get(target) {
            return *found;
        }
        let target = target.split("/_history/").next()?;
        let (rest, id) = target.rsplit_once('/')?;
        let resource_type = rest.rsplit('/').next()?;
        self.locals.get(&(resource_type, id)).copied().flatten()
    }

    /// Names of the device that a resource says it comes from, then those of what that device is a part of. A resource
    /// that names no device comes from the only one of the document.
    pub(super) fn devices_of(&self, resource: &'a Json) -> Vec<Vec<&'a str>> {
        let Some(told) = resource.get("device") else {
            let names = self.devices.names.clone();
            return if self.devices.count == 1 { vec![names] } else { Vec::new() };
        };
        if let Some(device) = told.str("reference").and_then(|target| self.device(resource, target)) {
            let mut groups = vec![self.names(device)];
            let parent = device.at(&["parent", "reference"]).and_then(Json::as_str);
            groups.extend(parent.and_then(|target| self.device(resource, target)).map(|parent| self.names(parent)));
            return groups;
        }
        told.get("identifier").and_then(|it| self.name(it)).map(|name| vec![vec![name]]).unwrap_or_default()
    }

    /// The name that an identifier gives a device; nothing if it is known to name something else.
    pub(super) fn name(&self, identifier: &'a Json) -> Option<&'a str> {
        let typed = identifier.get("type").map_or(&[][..], |kind| kind.list("coding"));
        let names =
            typed.is_empty() || typed.iter().any(|it| it.str("code").is_none_or(|it| DEVICE_TYPES.contains(&it)));
        let own = identifier.str("system").and_then(|it| it.rsplit_once(&format!("/{}/", self.vendor)));
        let is_device = names && own.is_none_or(|(_, kind)| DEVICE_KINDS.contains(&kind));
        identifier.str("value").filter(|value| is_device && !value.is_empty())
    }

    fn add(&mut self, url: Option<&'a str>, resource: &'a Json) {
        let index = self.resources.len();
        self.resources.push(resource);
        if let Some(url) = url {
            self.urls.entry(url).and_modify(|found| *found = None).or_insert(Some(index));
        }
        if let (Some(resource_type), Some(id)) = (resource.str("resourceType"), resource.str("id")) {
            self.locals.entry((resource_type, id)).and_modify(|found| *found = None).or_insert(Some(index));
        }
    }

    /// A Device that a reference of a resource means, in the document or inside that resource.
    fn device(&self, resource: &'a Json, target: &str) -> Option<&'a Json> {
        let found = match target.strip_prefix('#') {
            Some(id) => resource.list("contained").iter().find(|it| it.str("id") == Some(id)),
            None => self.find(target).map(|index| self.resources[index]),
        };
        found.filter(|it| it.str("resourceType") == Some("Device"))
    }

    fn names(&self, device: &'a Json) -> Vec<&'a str> {
        device.list("identifier").iter().filter_map(|it| self.name(it)).collect()
    }

    fn all_devices(&self) -> Result<Devices<'a>, Refusal> {
        let mut found = Devices::default();
        let mut known: BTreeSet<&'a str> = BTreeSet::new();
        let is_device = |it: &&&'a Json| it.str("resourceType") == Some("Device");
        let contained = self.resources.iter().flat_map(|it| it.list("contained"));
        let described: Vec<&'a Json> =
            self.resources.iter().filter(is_device).copied().chain(contained.filter(|it| is_device(&it))).collect();
        found.count = described.len();
        for name in described.into_iter().flat_map(|device| self.names(device)) {
            if known.insert(name) {
                found.names.push(name);
            }
        }
        for resource in &self.resources {
            let named = resource.at(&["device", "identifier"]).and_then(|it| self.name(it));
            if let Some(name) = named.filter(|name| known.insert(name)) {
                found.count += 1;
                found.names.push(name);
            }
        }
        if found.count > MAX_DEVICES || found.names.len() > MAX_NAMES {
            return Err(too_much("devices or names of them", MAX_DEVICES));
        }
        Ok(found)
    }
}

fn too_much(what: &str, most: usize) -> Refusal {
    let text = format!("Body holds more than {most} {what}");
    Refusal::Unprocessable(vec![error(IssueCode::TooLong, text, "Bundle.entry")])
}
