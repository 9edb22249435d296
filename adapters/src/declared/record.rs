//! What all records of a schema have in common: their identity, their time, their device, and whether they are deleted.

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use sha2::{Digest as _, Sha256};

use super::file::{Entry, File, Table};
use super::path::{Path, Scope};
use super::rule::{self, Rule};
use super::said::Said;
use super::timing::Timing;
use crate::bundle::Source;
use crate::device::{self, Device};
use crate::{error, external};

/// Settings of a record.
pub(super) const SETTINGS: [&str; 5] = ["id", "deleted", "time", "issued", "device"];

/// Parts of an identity at most.
const MAX_PARTS: usize = 8;

/// Longest identity; of a longer one its digest counts.
const MAX_ID: usize = 128;

/// Whose a record is.
#[derive(Clone, Debug)]
pub(super) enum Patient {
    /// The vendor's user, who is paired, or known by this identifier.
    User(Said),
    /// Whoever had the device at that time.
    Device,
    /// Whoever is signed in to the app that sends.
    Session,
}

/// What a file says of records; a schema may say some of it anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    id: Option<Vec<Said>>,
    deleted: Option<Vec<Rule>>,
    time: Option<Timing>,
    issued: Option<Path>,
    device: Option<Gadget>,
}

/// A record of a schema.
#[derive(Clone, Debug)]
pub(super) struct Record {
    id: Vec<Said>,
    deleted: Vec<Rule>,
    /// When it was measured.
    pub(super) time: Timing,
    issued: Option<Path>,
    /// What it was measured with.
    pub(super) device: Option<Gadget>,
}

/// Where a device is described.
#[derive(Clone, Debug)]
pub(super) struct Gadget {
    kind: String,
    id: Vec<Said>,
    serial: Option<Said>,
    imei: Option<Said>,
    manufacturer: Option<Said>,
    model: Option<Said>,
    version: Option<Said>,
}

impl Patient {
    /// Reads whose the records of a file are.
    pub(super) fn read(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Option<Self> {
        let table = file.table(entry, &["by", "user"])?;
        let by = file.required(&table, "by")?;
        let user = table.get("user").and_then(|entry| Said::read(file, &entry));
        let word = file.text(&by)?;
        if word == "user" {
            file.required(&table, "user");
            return user.map(Patient::User);
        }
        if let Some(entry) = table.get("user") {
            file.wrong(&entry, "stands beside by = \"user\" only");
        }
        match word.as_str() {
            "device" => Some(Patient::Device),
            "session" => Some(Patient::Session),
            other => {
                file.wrong(&by, format!("{other} says not whose it is; user, device and session do"));
                None
            }
        }
    }
}

impl Parts {
    /// Reads what is there.
    pub(super) fn read(file: &mut File<'_>, table: &Table<'_, '_>) -> Self {
        let id = table.get("id").map(|entry| said(file, &entry));
        let deleted = table.get("deleted").map(|entry| rule::rules(file, &entry));
        let time = table.get("time").and_then(|entry| Timing::read(file, &entry));
        let issued = table.get("issued").and_then(|entry| file.path(&entry));
        let device = table.get("device").and_then(|entry| Gadget::read(file, &entry));
        Parts { id, deleted, time, issued, device }
    }

    /// The same, where something is not said as `general` says it.
    pub(super) fn or(self, general: &Parts) -> Self {
        Parts {
            id: self.id.or_else(|| general.id.clone()),
            deleted: self.deleted.or_else(|| general.deleted.clone()),
            time: self.time.or_else(|| general.time.clone()),
            issued: self.issued.or_else(|| general.issued.clone()),
            device: self.device.or_else(|| general.device.clone()),
        }
    }

    /// A record, if what it needs is there.
    pub(super) fn record(
        self,
        file: &mut File<'_>,
        schema: &Table<'_, '_>,
        patient: Option<&Patient>,
    ) -> Option<Record> {
        if self.id.as_ref().is_none_or(Vec::is_empty) {
            file.wrong_table(schema, "record.id is missing: it tells the same record from another");
        }
        if self.time.is_none() {
            file.wrong_table(schema, "record.time is missing, or wrong");
        }
        if matches!(patient, Some(Patient::Device)) && self.device.is_none() {
            file.wrong_table(schema, "record.device is missing: it decides whose the records are");
        }
        let Parts { id, deleted, time, issued, device } = self;
        Some(Record { id: id?, deleted: deleted.unwrap_or_default(), time: time?, issued, device })
    }
}

impl Record {
    /// The vendor's id of an item.
    pub(super) fn id(&self, scope: &Scope<'_>) -> Result<String, Box<Issue>> {
        let Some(id) = composed(&self.id, scope) else {
            let text = "A record has no id by which it is known; raw data kept";
            return Err(Box::new(error(IssueCode::Required, text, &scope.at("id"))));
        };
        let is_long = id.len() > MAX_ID || id.chars().any(char::is_control);
        Ok(if is_long { external::hexadecimal(&Sha256::digest(id.as_bytes())) } else { id })
    }

    /// Whether the vendor says that it is deleted.
    pub(super) fn is_deleted(&self, scope: &Scope<'_>) -> bool {
        !self.deleted.is_empty() && self.deleted.iter().all(|rule| rule.holds(scope))
    }

    /// When the vendor received it.
    pub(super) fn issued(&self, scope: &Scope<'_>) -> Option<String> {
        self.time.other(self.issued.as_ref()?, scope).map(|moment| moment.text)
    }

    /// Identifiers of the device that may be paired.
    pub(super) fn device_keys(&self, scope: &Scope<'_>) -> Vec<String> {
        let Some(gadget) = &self.device else { return Vec::new() };
        let described = gadget.described(scope);
        let id = Some(described.id).filter(|id| !id.is_empty());
        id.into_iter().chain(described.serial).collect()
    }
}

impl Gadget {
    /// The device of an item: its `fullUrl` and the entry that writes it.
    pub(super) fn entry(&self, scope: &Scope<'_>, source: &Source<'_>) -> Option<(String, Json)> {
        device::entry(&self.described(scope), None, source)
    }

    /// Kind of identifier that pairings name.
    pub(super) fn paired_kind(&self) -> &str {
        if self.id.is_empty() { "serial-number" } else { &self.kind }
    }

    fn described(&self, scope: &Scope<'_>) -> Device {
        let text = |said: &Option<Said>| said.as_ref().and_then(|said| said.text(scope));
        Device {
            kind: self.kind.clone(),
            id: composed(&self.id, scope).unwrap_or_default(),
            serial: text(&self.serial),
            imei: text(&self.imei),
            manufacturer: text(&self.manufacturer),
            model: text(&self.model),
            version: text(&self.version),
        }
    }

    fn read(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Option<Self> {
        let known = ["kind", "id", "serial", "imei", "manufacturer", "model", "version"];
        let table = file.table(entry, &known)?;
        let kind = match table.get("kind") {
            Some(entry) => {
                let kind = file.text(&entry)?;
                if !matches!(kind.as_str(), "device-id" | "source") {
                    file.wrong(&entry, format!("{kind} is no kind of device identifier; device-id and source are"));
                }
                kind
            }
            None => "device-id".to_owned(),
        };
        let id = table.get("id").map(|entry| said(file, &entry)).unwrap_or_default();
        let mut text = |name: &str| table.get(name).and_then(|entry| Said::read(file, &entry));
        let gadget = Gadget {
            kind,
            id,
            serial: text("serial"),
            imei: text("imei"),
            manufacturer: text("manufacturer"),
            model: text("model"),
            version: text("version"),
        };
        if table.get("id").is_none() && table.get("serial").is_none() {
            file.wrong_table(&table, "a device needs an id or a serial number by which it is known");
        }
        Some(gadget)
    }
}

fn said(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Vec<Said> {
    file.list(entry, MAX_PARTS).iter().filter_map(|entry| Said::read(file, entry)).collect()
}

/// All parts with colons between them, which a part of several does not hold itself; nothing if one is not there.
fn composed(parts: &[Said], scope: &Scope<'_>) -> Option<String> {
    let [single] = parts else {
        let parts: Option<Vec<String>> =
            parts.iter().map(|part| Some(part.text(scope)?.replace('%', "%25").replace(':', "%3A"))).collect();
        return parts.map(|parts| parts.join(":")).filter(|id| !id.is_empty());
    };
    single.text(scope)
}
