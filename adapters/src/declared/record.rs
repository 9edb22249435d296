//! What all records of a schema have in common: their identity, their time, their device, and whether they are deleted.

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use sha2::{Digest as _, Sha256};

use super::file::{Entry, File, Table};
use super::path::{Path, Scope};
use super::rule::{self, Rule};
use super::said::Said;
use super::timing::{Timing, When};
use crate::bundle::Source;
use crate::device::{self, Device};
use crate::version::Version;
use crate::{error, number};

/// Settings of a record.
pub(super) const SETTINGS: [&str; 6] = ["id", "deleted", "time", "updated", "issued", "device"];

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
    deleted: Option<Deleted>,
    time: Option<Timing>,
    updated: Option<Path>,
    issued: Option<Path>,
    device: Option<Gadget>,
}

/// Which records the vendor took back.
#[derive(Clone, Debug)]
enum Deleted {
    /// All of them: it is a list of such.
    Always,
    /// Those of which all of these hold.
    Where(Vec<Rule>),
}

/// A record of a schema.
#[derive(Clone, Debug)]
pub(super) struct Record {
    id: Vec<Said>,
    deleted: Option<Deleted>,
    /// When it was measured; a record that is only ever deleted needs none.
    time: Option<Timing>,
    updated: Option<Path>,
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
    battery: Option<Path>,
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
    /// Reads what a schema says, and what it does not say as all of them do.
    pub(super) fn read(file: &mut File<'_>, own: Option<&Table<'_, '_>>, general: Option<&Table<'_, '_>>) -> Self {
        let get = |name: &str| {
            let own = own.and_then(|table| table.get(name));
            own.or_else(|| general.and_then(|table| table.get(name)))
        };
        let id = get("id").map(|entry| said(file, &entry));
        let deleted = get("deleted").and_then(|entry| Deleted::read(file, &entry));
        // What is only ever taken back needs no more.
        let needed = |name: &str| get(name).filter(|_| !matches!(deleted, Some(Deleted::Always)));
        let time = needed("time").and_then(|entry| Timing::read(file, &entry));
        let updated = needed("updated").and_then(|entry| file.path(&entry));
        let issued = needed("issued").and_then(|entry| file.path(&entry));
        let device = get("device").and_then(|entry| Gadget::read(file, &entry));
        Parts { id, deleted, time, updated, issued, device }
    }

    /// Whether every record is taken back.
    pub(super) fn is_always_deleted(&self) -> bool {
        matches!(self.deleted, Some(Deleted::Always))
    }

    /// Whether a record says something that is no measurement.
    pub(super) fn says_something(&self) -> bool {
        self.deleted.is_some() || self.has_battery()
    }

    fn has_battery(&self) -> bool {
        self.device.as_ref().is_some_and(|device| device.battery.is_some())
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
        let says_when = schema.get("measurement").is_some() || self.has_battery();
        if self.time.is_none() && says_when && !self.is_always_deleted() {
            file.wrong_table(schema, "record.time is missing, or wrong");
        }
        if matches!(patient, Some(Patient::Device)) && self.device.is_none() {
            file.wrong_table(schema, "record.device is missing: it decides whose the records are");
        }
        let Parts { id, deleted, time, updated, issued, device } = self;
        Some(Record { id: id?, deleted, time, updated, issued, device })
    }
}

impl Deleted {
    fn read(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Option<Self> {
        if !entry.is_flag() {
            return Some(Deleted::Where(rule::rules(file, entry)));
        }
        if file.flag(entry) == Some(false) {
            file.wrong(entry, "is true where all records of a schema are deleted, or a rule such as { path, is = … }");
            return None;
        }
        Some(Deleted::Always)
    }
}

impl Record {
    /// The vendor's id of an item.
    pub(super) fn id(&self, scope: &Scope<'_>) -> Result<String, Box<Issue>> {
        let Some(id) = composed(&self.id, scope) else {
            let text = "A record has no id by which it is known; raw data kept";
            let missing = self.id.iter().find(|said| said.text(scope).is_none()).or(self.id.first());
            let place = missing.map_or_else(|| scope.place.clone(), |said| said.place(scope));
            return Err(Box::new(error(IssueCode::Required, text, &place)));
        };
        let is_long = id.len() > MAX_ID || id.chars().any(char::is_control);
        Ok(if is_long { fhir::hexadecimal(&Sha256::digest(id.as_bytes())) } else { id })
    }

    /// Whether the vendor says that it is deleted.
    pub(super) fn is_deleted(&self, scope: &Scope<'_>) -> bool {
        match &self.deleted {
            None => false,
            Some(Deleted::Always) => true,
            Some(Deleted::Where(rules)) => !rules.is_empty() && rules.iter().all(|rule| rule.holds(scope)),
        }
    }

    /// When it was measured.
    pub(super) fn when(&self, scope: &Scope<'_>) -> Result<When, Box<Issue>> {
        let none = || Box::new(error(IssueCode::Required, "A record has no time; raw data kept", &scope.place));
        self.time.as_ref().ok_or_else(none)?.when(scope)
    }

    /// Which state of the record it is, where the vendor says so.
    pub(super) fn version(&self, scope: &Scope<'_>, source: &Source<'_>) -> Result<Option<Version>, Box<Issue>> {
        match (&self.time, &self.updated) {
            (Some(time), Some(updated)) => time.version(updated, scope, source),
            _ => Ok(None),
        }
    }

    /// When the vendor received it.
    pub(super) fn issued(&self, scope: &Scope<'_>) -> Option<String> {
        self.time.as_ref()?.other(self.issued.as_ref()?, scope).map(|moment| moment.text)
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
    pub(super) fn entry(&self, scope: &Scope<'_>, source: &Source<'_>) -> Result<Option<(String, Json)>, Box<Issue>> {
        let mut described = self.described(scope);
        if let Some((path, charge)) = self.battery.as_ref().and_then(|path| Some((path, path.text(scope)?))) {
            let is_charge = number::is_number(&charge) && !charge.starts_with('-');
            if !is_charge {
                let text = format!("{} is no battery charge in percent; raw data kept", path.written());
                return Err(Box::new(error(IssueCode::Value, text, &path.place(scope))));
            }
            described.battery = Some(charge);
        }
        Ok(device::entry(&described, None, source))
    }

    /// Whether an item says how full the battery is.
    pub(super) fn tells_battery(&self, scope: &Scope<'_>) -> bool {
        self.battery.as_ref().is_some_and(|path| path.text(scope).is_some())
    }

    /// The identifier by which the device of an item is known.
    pub(super) fn identifier(&self, scope: &Scope<'_>, source: &Source<'_>) -> Option<(String, String)> {
        device::identifier(&self.described(scope), source)
    }

    /// Where in the message it is named.
    pub(super) fn place(&self, scope: &Scope<'_>) -> String {
        let said = self.id.first().or(self.serial.as_ref());
        said.map_or_else(|| scope.place.clone(), |said| said.place(scope))
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
            battery: None,
        }
    }

    fn read(file: &mut File<'_>, entry: &Entry<'_, '_>) -> Option<Self> {
        let known = ["kind", "id", "serial", "imei", "manufacturer", "model", "version", "battery"];
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
        let battery = table.get("battery").and_then(|entry| file.path(&entry));
        let mut text = |name: &str| table.get(name).and_then(|entry| Said::read(file, &entry));
        let gadget = Gadget {
            kind,
            id,
            serial: text("serial"),
            imei: text("imei"),
            manufacturer: text("manufacturer"),
            model: text("model"),
            version: text("version"),
            battery,
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
