//! A mapping file as a whole.

use sha2::{Digest as _, Sha256};

use super::MAX_FILE;
use super::file::{File, Mistake, Table};
use super::path::{Path, Scope};
use super::record::{self, Patient};
use super::schema::{self, List, Schema};
use super::unread::Known;
use super::value::Shared;

/// Settings of a file.
const SETTINGS: [&str; 14] = [
    "vendor",
    "name",
    "version",
    "about",
    "header",
    "max-bytes",
    "content-types",
    "delivery",
    "items",
    "patient",
    "record",
    "units",
    "words",
    "schema",
];

/// Media types of one file at most.
const MAX_TYPES: usize = 16;

/// Longest name of a vendor: it stands in paths and identifiers.
const MAX_VENDOR: usize = 40;

/// Largest message that a file may allow, and what it allows if it says nothing.
const BYTES: (i64, usize) = (10 << 20, 1 << 20);

/// Names that paths of the server give another meaning.
const RESERVED: [&str; 4] = ["fhir", "health-data", "devices", "example"];

/// What a vendor's messages are and what becomes of them.
#[derive(Debug)]
pub struct Plan {
    pub(super) vendor: String,
    pub(super) name: String,
    /// The version that the file says, and the beginning of the file's digest.
    pub(super) version: String,
    pub(super) about: String,
    pub(super) header: String,
    pub(super) max_bytes: usize,
    pub(super) content_types: Vec<String>,
    pub(super) delivery: Option<Path>,
    pub(super) patient: Patient,
    pub(super) schemas: Vec<Schema>,
    /// The lists that hold its records, each once.
    pub(super) lists: Vec<List>,
    /// All that it speaks of.
    pub(super) known: Known,
}

impl Plan {
    /// Reads a file; everything that is wrong with it, if something is.
    pub fn read(text: &str) -> Result<Self, Vec<Mistake>> {
        let mut file = File::new(text);
        if text.len() > MAX_FILE {
            file.note(&(0..0), "", format!("the file has {} bytes, {MAX_FILE} are the most", text.len()));
            return Err(file.mistakes);
        }
        let plan = file.parse().and_then(|root| {
            let root = file.open(&root, &SETTINGS);
            whole(&mut file, &root, text)
        });
        match plan {
            Some(plan) if file.mistakes.is_empty() => Ok(plan),
            _ => {
                file.mistakes.sort_by_key(|mistake| mistake.line);
                Err(file.mistakes)
            }
        }
    }

    /// The vendor's name in paths and identifiers.
    pub fn vendor(&self) -> &str {
        &self.vendor
    }

    /// The first schema of a list whose rules hold of an item.
    pub(super) fn schema(&self, list: &List, scope: &Scope<'_>) -> Option<&Schema> {
        self.schemas.iter().find(|schema| schema.lists.contains(list) && schema.holds(scope))
    }

    /// Names of the schemas of a list, for messages.
    pub(super) fn names(&self, list: &List) -> String {
        let schemas = self.schemas.iter().filter(|schema| schema.lists.contains(list));
        schemas.map(|schema| schema.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The lists as the file writes them, for messages.
    pub(super) fn written(&self) -> String {
        self.lists.iter().flatten().map(Path::written).collect::<Vec<_>>().join(", ")
    }

    /// Kind of identifier that a pairing of this vendor names.
    pub(super) fn device_kind(&self) -> fn(&str) -> &'static str {
        let records = self.schemas.iter().filter_map(|schema| schema.record.as_ref());
        let mut gadgets = records.filter_map(|record| record.device.as_ref());
        match (&self.patient, gadgets.next().map(record::Gadget::paired_kind)) {
            (Patient::User(_), _) => |_| "user",
            (_, Some("serial-number")) => |_| "serial-number",
            (_, Some("source")) => |_| "source",
            _ => |_| "device-id",
        }
    }
}

fn whole(file: &mut File<'_>, root: &Table<'_, '_>, text: &str) -> Option<Plan> {
    let mut required = |name: &str| file.required(root, name).and_then(|entry| file.text(&entry));
    let (vendor, name, version) = (required("vendor"), required("name"), required("version"));
    let vendor = vendor.filter(|vendor| is_vendor(file, root, vendor));
    let about = root.get("about").and_then(|entry| file.text(&entry));
    // A message as a whole is in no list.
    let delivery = root.get("delivery").and_then(|entry| file.path(&entry));
    let of_message = std::mem::take(&mut file.paths);
    let lists = schema::all_lists(file, root);
    file.depth = lists.as_deref().map(schema::depth);
    let patient = file.required(root, "patient").and_then(|entry| Patient::read(file, &entry));
    let of_patient = std::mem::take(&mut file.paths);
    let header = header(file, root, matches!(patient, Some(Patient::Session)));
    let bytes = root.get("max-bytes").and_then(|entry| file.integer(&entry, 1, BYTES.0));
    let max_bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(BYTES.1);
    let content_types = content_types(file, root);
    let shared = Shared::read(file, root);
    let general = root.get("record").and_then(|entry| file.table(&entry, &record::SETTINGS));
    let schemas = schema::read_all(file, root, (general.as_ref(), patient.as_ref()), &shared);
    let lists = lists.unwrap_or_default();
    let mut known = Known::default();
    schema::mention(&mut known, &[None], &of_message);
    schema::mention(&mut known, &lists, &of_patient);
    for schema in &schemas {
        schema.mention(&mut known, &lists);
    }
    let digest = fhir::hexadecimal(&Sha256::digest(text.as_bytes())[..4]);
    Some(Plan {
        vendor: vendor?,
        about: about.unwrap_or_else(|| "records of a mapping file".to_owned()),
        name: name?,
        version: format!("{}+{digest}", version?),
        header: header?,
        max_bytes,
        content_types,
        delivery,
        patient: patient?,
        schemas,
        lists,
        known,
    })
}

fn is_vendor(file: &mut File<'_>, root: &Table<'_, '_>, vendor: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let starts = vendor.starts_with(|first: char| first.is_ascii_lowercase());
    if vendor.len() <= MAX_VENDOR && starts && vendor.bytes().all(plain) && !RESERVED.contains(&vendor) {
        return true;
    }
    if let Some(entry) = root.get("vendor") {
        let message = format!(
            "is a name of up to {MAX_VENDOR} small letters, digits and hyphens that begins with a letter, and none of {}",
            RESERVED.join(", ")
        );
        file.wrong(&entry, message);
    }
    false
}

/// Name of the header with the sender's secret.
fn header(file: &mut File<'_>, root: &Table<'_, '_>, is_session: bool) -> Option<String> {
    let Some(entry) = root.get("header") else { return Some("x-api-key".to_owned()) };
    if is_session {
        file.wrong(&entry, "senders that are apps of signed-in people have an access token, and no key");
    }
    let header = file.text(&entry)?.to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if header == "x-api-key" || (header.starts_with("x-") && header.bytes().all(plain)) {
        return Some(header);
    }
    file.wrong(&entry, "is the name of a header of the vendor's own, which begins with x-");
    None
}

fn content_types(file: &mut File<'_>, root: &Table<'_, '_>) -> Vec<String> {
    let Some(entry) = root.get("content-types") else { return Vec::new() };
    let entries = file.list(&entry, MAX_TYPES);
    let mut types = Vec::new();
    for entry in &entries {
        let Some(text) = file.text(entry) else { continue };
        let text = text.to_ascii_lowercase();
        let is_type = text.split_once('/').is_some_and(|(left, right)| !left.is_empty() && !right.is_empty());
        if !is_type || text.contains([';', ' ', ',']) {
            file.wrong(entry, format!("{text} is no media type such as application/json, without parameters"));
        }
        types.push(text);
    }
    types
}
