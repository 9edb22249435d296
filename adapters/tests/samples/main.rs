//! Every sample message of every vendor becomes exactly the FHIR that stands beside it, and no bytes panic an adapter.
//!
//! Expected is a subset of actual: members of objects may be more, items of arrays may not, but for identifiers.
//! Entries are matched by `fullUrl`, numbers compared as decimals, conditional URLs after decoding.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use adapters::declared::Plan;
use adapters::device::{self, Use};
use adapters::memory::Memory;
use adapters::{Adapter, Assignment, Context, Mapping, Publication, Refusal, Registry, Shape};
use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::outcome::{Issue, Severity};

mod any_bytes;
mod declared;
mod docs;
mod healthkit;
mod medisante;
mod pas;
mod smart_meter;
mod smartlink;
mod smartlink_round_trip;
mod smartz;
mod validic;
mod vital_signs;

#[test]
fn every_sample_gives_what_its_manifest_says() {
    let (mut checked, mut failed) = (0, Vec::new());
    for (adapter, folder, manifest) in manifests() {
        for sample in manifest.list("samples") {
            checked += 1;
            let name = format!("{}/{}", adapter.vendor, sample.str("file").expect("file"));
            let result = std::panic::catch_unwind(|| check(adapter, &folder, &manifest, sample));
            failed.extend(result.is_err().then_some(name));
        }
    }
    assert!(failed.is_empty(), "these differ, see above: {failed:#?}");
    assert!(checked >= 12 + 11 + 13 + 6 + 8 + 15 + 11 + 8, "{checked}: some are gone");
}

#[test]
fn every_file_of_the_samples_stands_in_its_manifest() {
    for (_, folder, manifest) in manifests() {
        let mut named = vec!["manifest.json".to_owned()];
        let mapping = manifest.str("mapping").and_then(|path| path.rsplit('/').next());
        named.extend(mapping.map(str::to_owned));
        for sample in manifest.list("samples") {
            named.extend(sample.str("file").map(str::to_owned));
            named.extend(sample.at(&["expect", "expected_file"]).and_then(Json::as_str).map(str::to_owned));
        }
        for file in fs::read_dir(&folder).expect("fixtures are part of this package") {
            let name = file.expect("a readable folder").file_name().to_string_lossy().into_owned();
            assert!(named.contains(&name), "{}: {name} is not checked by anything", folder.display());
        }
    }
}

#[test]
fn every_message_again_gives_the_same_bytes_and_changes_nothing() {
    for (adapter, folder, manifest) in manifests() {
        for sample in manifest.list("samples") {
            let run = Run::of(adapter, &folder, &manifest, sample);
            let (Some(first), Some(second)) = (run.published(), run.published()) else { continue };
            assert_eq!(first.bundle.to_string(), second.bundle.to_string(), "{}", run.file);
            let mut memory = Memory::default();
            memory.apply(&first);
            assert_eq!(memory.apply(&second), [], "{}", run.file);
        }
    }
}

#[test]
fn every_unit_that_is_published_is_ucum() {
    let mut units = 0;
    for (adapter, folder, manifest) in manifests() {
        for sample in manifest.list("samples") {
            let run = Run::of(adapter, &folder, &manifest, sample);
            if let Some(publication) = run.published() {
                units += units_of(&publication.bundle, &run.file);
            }
        }
    }
    assert!(units > 50, "{units}");
}

#[test]
fn vendors_names_routes_and_shapes_are_each_one() {
    let mut routes: Vec<&str> = Vec::new();
    for adapter in registry().all() {
        assert!(!adapter.shapes.is_empty() && !adapter.version.is_empty(), "{}", adapter.vendor);
        let mut names: Vec<&str> = adapter.shapes.iter().map(|shape| shape.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), adapter.shapes.len(), "{}", adapter.vendor);
        let mut own: Vec<&str> = adapter.shapes.iter().flat_map(|shape| shape.routes).copied().collect();
        own.sort_unstable();
        own.dedup();
        assert!(own.iter().all(|route| !routes.contains(route)), "{}", adapter.vendor);
        routes.extend(own);
    }
}

/// A sample with what its context says.
struct Run {
    adapter: &'static Adapter,
    file: String,
    bytes: Vec<u8>,
    namespace: String,
    now: i64,
    assignments: Vec<Assignment>,
    session: Option<String>,
    user: Option<String>,
    query: String,
    organisation: Option<String>,
    path: Option<String>,
    visit: Json,
}

impl Run {
    fn of(adapter: &'static Adapter, folder: &Path, manifest: &Json, sample: &Json) -> Run {
        let nothing = &Json::Null;
        let context = sample.get("context").unwrap_or(nothing);
        let text = |name: &str| context.str(name).map(str::to_owned);
        let file = sample.str("file").expect("file");
        let path = sample.str("endpoint").and_then(|it| it.strip_prefix("POST /")).map(|it| format!("/{it}"));
        Run {
            adapter,
            file: format!("{}/{file}", adapter.vendor),
            bytes: fs::read(folder.join(file)).expect("sample"),
            namespace: manifest.str("namespace").expect("namespace").to_owned(),
            now: micros(manifest.str("clock").expect("clock")),
            assignments: context.list("device_assignments").iter().map(assignment).collect(),
            session: context.str("session_patient").map(|it| it.trim_start_matches("Patient/").to_owned()),
            user: text("uid"),
            query: text("query").unwrap_or_default(),
            organisation: text("organisation"),
            path: path.map(|path| path.split('?').next().unwrap_or_default().to_owned()),
            visit: context.clone(),
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            namespace: &self.namespace,
            now: self.now,
            assignments: &self.assignments,
            session: self.session.as_deref(),
            user: self.user.as_deref(),
            query: &self.query,
            organisation: self.organisation.as_deref(),
            fields: None,
            visit: Some(&self.visit),
        }
    }

    fn shape(&self) -> &'static Shape {
        let at = self.path.as_deref().and_then(|path| self.adapter.shape_at(path, &self.bytes));
        at.unwrap_or_else(|| self.adapter.shape_of(&self.bytes))
    }

    fn published(&self) -> Option<Publication> {
        let shape = self.shape();
        (shape.receive)(&self.bytes).ok()?;
        match (shape.map)(&self.bytes, &self.context()) {
            Mapping::Publish(publication) => Some(publication),
            Mapping::Quarantine { .. } | Mapping::Send { .. } | Mapping::Refuse { .. } => None,
        }
    }
}

/// All adapters: those that are compiled in, and those of the mapping files that the manifests name.
fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut registry = Registry::default();
        for folder in fs::read_dir(root()).expect("fixtures are part of this package") {
            let manifest = document(&folder.expect("a readable folder").path().join("manifest.json"));
            let Some(path) = manifest.str("mapping") else { continue };
            let text = fs::read_to_string(root().join("..").join(path)).expect("a text");
            let plan = Plan::read(&text).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
            registry.add(plan.adapter()).expect("names and paths of its own");
        }
        registry
    })
}

fn manifests() -> Vec<(&'static Adapter, PathBuf, Json)> {
    let folders = fs::read_dir(root()).expect("fixtures are part of this package");
    let folders = folders.map(|folder| folder.expect("readable folder").path());
    folders
        .map(|folder| {
            let manifest = document(&folder.join("manifest.json"));
            let vendor = manifest.str("vendor").expect("vendor").to_owned();
            (registry().find(&vendor).expect("a known vendor"), folder, manifest)
        })
        .collect()
}

fn check(adapter: &'static Adapter, folder: &Path, manifest: &Json, sample: &Json) {
    let run = Run::of(adapter, folder, manifest, sample);
    let file = run.file.as_str();
    let expect = sample.get("expect").expect("expectation");
    let expected = expect.str("expected_file").map(|name| document(&folder.join(name)));
    let wanted = expect.str("outcome").expect("outcome");
    if sample.str("endpoint") == Some("POST /devices/assign") {
        let clock = sample.at(&["context", "clock"]).and_then(Json::as_str).expect("clock");
        let bundle = assigned(&run.bytes, &run.namespace, clock);
        compare(&expected.expect("an expected Bundle"), &bundle, file);
        let resources: Vec<Json> = bundle.list("entry").iter().filter_map(|it| it.get("resource").cloned()).collect();
        return counts(expect, &resources, file);
    }
    let shape = run.shape();
    let delivery = match (shape.receive)(&run.bytes) {
        Ok(delivery) => delivery,
        Err(refusal) => {
            assert_eq!(wanted, "rejected", "{file}: {refusal:?}");
            let status = match &refusal {
                Refusal::Malformed(_) => 400,
                Refusal::Unprocessable(_) => 422,
                Refusal::Vendor { status, .. } => *status,
            };
            assert_eq!(
                Some(status.to_string().as_str()),
                expect.get("http_status").and_then(Json::as_number),
                "{file}"
            );
            return outcome(expect, expected.as_ref(), refusal.issues(), file);
        }
    };
    let mut memory = Memory::default();
    for earlier in earlier(sample) {
        let bytes = fs::read(folder.join(earlier)).expect("preload");
        let earlier = Run { bytes, ..Run::of(adapter, folder, manifest, sample) };
        memory.apply(&earlier.published().expect("an earlier message"));
        if wanted == "duplicate" {
            assert_eq!(delivery, (shape.receive)(&earlier.bytes).expect("sound"), "{file}");
        }
    }
    match (shape.map)(&run.bytes, &run.context()) {
        Mapping::Publish(publication) => {
            let issues: Vec<_> = publication.issues.iter().filter(|it| it.severity != Severity::Information).collect();
            let found = if issues.is_empty() { "mapped" } else { "mapped-with-warnings" };
            let changed = memory.apply(&publication);
            if wanted == "duplicate" {
                assert_eq!(changed, [], "{file}");
                return;
            }
            assert_eq!(wanted, found, "{file}: {issues:?}");
            if let Some(expected) = &expected {
                compare(expected, &publication.bundle, file);
            }
            outcome(expect, None, &publication.issues, file);
            counts(expect, &changed, file);
        }
        Mapping::Send { request, issues } => {
            assert_eq!(wanted, "sent", "{file}: {issues:?}");
            subset(&expected.expect("an expected request"), &request, file);
        }
        Mapping::Refuse { issues } => {
            assert_eq!(wanted, "rejected", "{file}: {issues:?}");
            outcome(expect, expected.as_ref(), &issues, file);
        }
        Mapping::Quarantine { issues } => {
            assert_eq!(wanted, "quarantined", "{file}: {issues:?}");
            outcome(expect, expected.as_ref(), &issues, file);
        }
    }
}

/// Files to be read before a sample.
fn earlier(sample: &Json) -> Vec<&str> {
    match sample.get("context").and_then(|context| context.get("preload")) {
        Some(Json::String(file)) => vec![file],
        Some(files) => files.items().iter().filter_map(Json::as_str).collect(),
        None => Vec::new(),
    }
}

fn assigned(bytes: &[u8], namespace: &str, clock: &str) -> Json {
    let body = Json::parse(bytes).expect("a body");
    let usage = Use {
        provider: body.str("deviceProvider").expect("provider"),
        kind: "device-id",
        device: body.str("deviceId").expect("device"),
        name: body.str("name"),
        device_type: body.str("deviceType"),
        patient: body.str("assignedPatientId").expect("patient"),
        start: clock,
        end: None,
        recorded: clock,
    };
    device::assignment(namespace, &usage)
}

fn compare(expected: &Json, actual: &Json, file: &str) {
    let url = |entry: &Json| entry.str("fullUrl").expect("fullUrl").to_owned();
    let mut wanted: Vec<String> = expected.list("entry").iter().map(url).collect();
    let mut found: Vec<String> = actual.list("entry").iter().map(url).collect();
    wanted.sort();
    found.sort();
    assert_eq!(wanted, found, "{file}");
    for entry in expected.list("entry") {
        let other = actual.list("entry").iter().find(|other| url(other) == url(entry)).expect("same urls");
        subset(entry, other, &format!("{file}: {}", url(entry)));
    }
}

/// Fails unless everything `expected` says is also said by `actual`.
fn subset(expected: &Json, actual: &Json, path: &str) {
    match (expected, actual) {
        (Json::Object(members), Json::Object(_)) => {
            for (name, value) in members.iter().filter(|(name, value)| !is_assigned_by_server(name, value)) {
                let found = actual.get(name).unwrap_or_else(|| panic!("{path}.{name} is missing in {actual}"));
                let path = format!("{path}.{name}");
                match (name, value, found) {
                    ("url", Json::String(wanted), Json::String(found)) => {
                        assert_eq!(decoded(wanted), decoded(found), "{path}");
                    }
                    // Narrower criteria are more: those of one patient only.
                    ("ifNoneExist", Json::String(wanted), Json::String(found)) => {
                        let found = found.split("&subject=Patient/").next().unwrap_or_default();
                        assert_eq!(decoded(wanted), decoded(found), "{path}");
                    }
                    ("identifier", Json::Array(wanted), Json::Array(found)) => {
                        for (index, wanted) in wanted.iter().enumerate() {
                            let same = found.iter().find(|found| found.get("system") == wanted.get("system"));
                            subset(
                                wanted,
                                same.unwrap_or_else(|| panic!("{path} lacks {wanted}")),
                                &format!("{path}[{index}]"),
                            );
                        }
                    }
                    _ => subset(value, found, &path),
                }
            }
        }
        (Json::Array(wanted), Json::Array(found)) => {
            assert_eq!(wanted.len(), found.len(), "{path}");
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                subset(wanted, found, &format!("{path}[{index}]"));
            }
        }
        (Json::Number(wanted), Json::Number(found)) => {
            assert_eq!(Decimal::parse(wanted), Decimal::parse(found), "{path}");
        }
        _ => assert_eq!(expected, actual, "{path}"),
    }
}

fn is_assigned_by_server(name: &str, value: &Json) -> bool {
    let narrative = name == "text" && value.as_object().is_some();
    narrative || matches!(name, "id" | "versionId" | "lastUpdated")
}

fn counts(expect: &Json, resources: &[Json], file: &str) {
    let Some(members) = expect.get("resources").and_then(Json::as_object) else { return };
    for (resource_type, count) in members.iter() {
        let found = resources.iter().filter(|resource| resource.str("resourceType") == Some(resource_type)).count();
        assert_eq!(found.to_string(), count.as_number().unwrap_or_default(), "{file}: {resource_type}");
    }
}

fn outcome(expect: &Json, expected: Option<&Json>, issues: &[Issue], file: &str) {
    let wanted = expect.list("issues").iter().chain(expected.map_or(&[][..], |expected| expected.list("issue")));
    for issue in wanted {
        let same = issues.iter().any(|found| {
            Some(found.severity.as_str()) == issue.str("severity") && Some(found.code.as_str()) == issue.str("code")
        });
        assert!(same, "{file}: no {issue} in {issues:?}");
    }
}

/// Checks the units of all quantities; says how many there are.
fn units_of(json: &Json, file: &str) -> usize {
    match json {
        Json::Object(members) => {
            let own = json.str("system") == Some("http://unitsofmeasure.org");
            if own {
                let code = json.str("code").expect("a code");
                assert!(fhir::ucum::validate(code).is_ok(), "{file}: {code}");
            }
            usize::from(own) + members.iter().map(|(_, member)| units_of(member, file)).sum::<usize>()
        }
        Json::Array(items) => items.iter().map(|item| units_of(item, file)).sum(),
        _ => 0,
    }
}

fn assignment(json: &Json) -> Assignment {
    Assignment {
        device: json.str("deviceId").expect("deviceId").to_owned(),
        patient: json.str("patient").and_then(|text| text.strip_prefix("Patient/")).expect("patient").to_owned(),
        from: micros(json.str("from").expect("from")),
        until: None,
    }
}

/// A device that always was with the patient `p`.
fn everywhere(device: &str) -> Assignment {
    Assignment { device: device.to_owned(), patient: "p".to_owned(), from: 0, until: None }
}

fn context(assignments: &[Assignment]) -> Context<'_> {
    Context {
        namespace: "https://example.org/fhir/adapters",
        now: micros("2025-06-01T12:00:00Z"),
        assignments,
        ..Context::default()
    }
}

/// What a message of a shape is published as.
fn publication(vendor: &str, shape: &str, bytes: &[u8], context: &Context<'_>) -> Publication {
    let shape = registry().find(vendor).and_then(|adapter| adapter.shape(shape)).expect("a shape");
    (shape.receive)(bytes).unwrap_or_else(|refusal| panic!("refused: {refusal:?}"));
    match (shape.map)(bytes, context) {
        Mapping::Publish(publication) => publication,
        other => panic!("not published: {other:?}"),
    }
}

fn resources(bundle: &Json) -> Vec<&Json> {
    bundle.list("entry").iter().filter_map(|entry| entry.get("resource")).collect()
}

fn resource_with<'a>(bundle: &'a Json, suffix: &str) -> &'a Json {
    let mut resources = resources(bundle).into_iter();
    let found = resources
        .find(|it| it.at(&["identifier", "value"]).and_then(Json::as_str).is_some_and(|value| value.ends_with(suffix)));
    found.unwrap_or_else(|| panic!("nothing with {suffix} in {bundle}"))
}

fn codes(issues: &[Issue]) -> Vec<&'static str> {
    issues.iter().map(|issue| issue.code.as_str()).collect()
}

fn sample(vendor: &str, name: &str) -> Vec<u8> {
    fs::read(root().join(vendor).join(name)).expect("a sample")
}

fn replaced(vendor: &str, name: &str, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(sample(vendor, name)).expect("text");
    assert!(text.contains(from), "{name} has no {from}");
    text.replace(from, to).into_bytes()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn document(path: &Path) -> Json {
    Json::parse(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).expect("JSON")
}

fn micros(instant: &str) -> i64 {
    instant.parse::<jiff::Timestamp>().expect("instant").as_microsecond()
}

fn decoded(url: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = url.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex: String = rest.by_ref().take(2).map(char::from).collect();
            bytes.push(u8::from_str_radix(&hex, 16).expect("hexadecimal"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}
