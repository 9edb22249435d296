//! Mapping files: what is wrong with one is told by its place, and what is right does what compiled adapters do.

use adapters::declared::{Mistake, Plan};
use adapters::memory::Memory;
use adapters::{Adapter, Authentication, Context, Mapping, Publication};
use fhir::json::Json;

use crate::{codes, context, everywhere, resource_with, resources};

/// A vendor that says most things: XML, a device of its own, epochs, deletions, a list with what it stands in.
const METER: &str = r#"
vendor = "lungo"
name = "Lungo"
version = "3"
items = "batch.reading[*]"
max-bytes = 4096

[patient]
by = "device"

[record]
id = ["^.batch.meter", "@no"]
deleted = { path = "state", is = ["void", "deleted"] }

[record.time]
format = "epoch-milliseconds"
at = "taken"
offset = "^.batch.utc"
offset-unit = "hours"

[record.device]
serial = "^.batch.meter"
manufacturer = { is = "Lungo" }
model = "^.batch.model"

[words.effort]
good = "SNOMED 20572008"

[[schema]]
name = "flow"
when = { path = "flow", present = true }

[[schema.measurement]]
name = "flow"
text = "Peak flow"
code = "LOINC 19935-6"
category = "exam"
value = "flow"
unit = "flow-unit"
units = { "L/s" = "L/s", "dL/s" = { ucum = "L/s", shift = -1 } }

[[schema.measurement.part]]
name = "effort"
value = "effort"
kind = "code"
words = "effort"

[[schema.measurement.part]]
name = "after"
text = "After medication"
value = "after"
kind = "boolean"

[[schema.measurement]]
name = "pulse"
code = "LOINC 8867-4"
value = "pulse"
ucum = "/min"
"#;

const BATCH: &str = r#"<?xml version="1.0"?>
<l:batch xmlns:l="urn:lungo"><l:meter>LU-77</l:meter><l:model>Mini &amp; more</l:model><l:utc>+5.5</l:utc>
  <l:reading no="1"><taken>1770000000250</taken><flow>6.90</flow><flow-unit>L/s</flow-unit><effort>good</effort><after>no</after></l:reading>
  <l:reading no="2"><taken>1770000060000</taken><flow>71</flow><flow-unit>dL/s</flow-unit><pulse>66</pulse></l:reading>
</l:batch>"#;

fn adapter(text: &str) -> &'static Adapter {
    Plan::read(text).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).adapter()
}

fn mistakes(text: &str) -> Vec<Mistake> {
    Plan::read(text).err().unwrap_or_default()
}

fn published(adapter: &Adapter, body: &str, context: &Context<'_>) -> Publication {
    let shape = &adapter.shapes[0];
    (shape.receive)(body.as_bytes()).unwrap_or_else(|refusal| panic!("refused: {refusal:?}"));
    match (shape.map)(body.as_bytes(), context) {
        Mapping::Publish(publication) => publication,
        other => panic!("not published: {other:?}"),
    }
}

fn quantity(resource: &Json) -> (&str, &str, &str) {
    let of = |name: &str| resource.get("valueQuantity").and_then(|it| it.get(name));
    let text = |name: &str| of(name).and_then(Json::as_str).unwrap_or_default();
    (of("value").and_then(Json::as_number).unwrap_or_default(), text("unit"), text("code"))
}

#[test]
fn a_meter_that_sends_xml_is_read() {
    let meter = adapter(METER);
    assert_eq!(meter.authentication, Authentication::ApiKey { header: "x-api-key" });
    assert_eq!((meter.max_bytes, (meter.device_kind)("LU-77")), (4096, "serial-number"));
    assert!(meter.version.starts_with("3+") && meter.version.len() == 10, "{}", meter.version);
    let delivery = (meter.shapes[0].receive)(BATCH.as_bytes()).expect("sound");
    assert_eq!(delivery.devices, ["LU-77"]);
    let devices = [everywhere("LU-77")];
    let made = published(meter, BATCH, &context(&devices));
    assert_eq!(codes(&made.issues), [] as [&str; 0]);
    assert_eq!(resources(&made.bundle).len(), 4, "a device, two flows, one pulse: {}", made.bundle);
    let first = resource_with(&made.bundle, "LU-77:1:flow");
    assert_eq!(first.str("effectiveDateTime"), Some("2026-02-02T08:10:00.25+05:30"));
    assert_eq!(quantity(first), ("6.90", "L/s", "L/s"));
    let parts = first.list("component");
    assert!(parts[0].to_string().contains("20572008"), "{first}");
    assert_eq!(parts[1].get("valueBoolean"), Some(&Json::Bool(false)));
    let second = resource_with(&made.bundle, "LU-77:2:flow");
    assert_eq!(quantity(second), ("7.1", "L/s", "L/s"), "a tenth, digit by digit");
    let pulse = resource_with(&made.bundle, "LU-77:2:pulse");
    assert!(pulse.to_string().contains("StructureDefinition/heartrate"), "{pulse}");
    let device = resources(&made.bundle)[0];
    assert_eq!((device.str("serialNumber"), device.str("modelNumber")), (Some("LU-77"), Some("Mini & more")));
}

#[test]
fn corrections_vanished_values_and_deletions_are_told() {
    let meter = adapter(METER);
    let devices = [everywhere("LU-77")];
    let mut memory = Memory::default();
    let mut changed = |body: &str| -> Vec<(String, String)> {
        let made = memory.apply(&published(meter, body, &context(&devices)));
        let name = |it: &Json| it.at(&["identifier", "value"]).and_then(Json::as_str).unwrap_or_default().to_owned();
        made.iter().map(|it| (name(it), it.str("status").unwrap_or_default().to_owned())).collect()
    };
    assert_eq!(changed(BATCH).len(), 4);
    assert_eq!(changed(BATCH), []);
    assert_eq!(changed(&BATCH.replace("6.90", "6.95")), [("LU-77:1:flow".to_owned(), "corrected".to_owned())]);
    let vanished = changed(&BATCH.replace("6.90", "6.95").replace("<pulse>66</pulse>", ""));
    assert_eq!(vanished, [("LU-77:2:pulse".to_owned(), "entered-in-error".to_owned())]);
    let deleted = BATCH.replace("<taken>1770000000250</taken>", "<state>void</state>");
    assert_eq!(changed(&deleted.replace("<pulse>66</pulse>", ""))[0].1, "entered-in-error");
}

#[test]
fn a_value_that_cannot_be_read_now_does_not_withdraw_what_was_told() {
    let meter = adapter(METER);
    let devices = [everywhere("LU-77")];
    let mut memory = Memory::default();
    memory.apply(&published(meter, BATCH, &context(&devices)));
    let unreadable = published(meter, &BATCH.replace("<pulse>66</pulse>", "<pulse>fast</pulse>"), &context(&devices));
    assert!(unreadable.waits);
    assert_eq!(codes(&unreadable.issues), ["value"]);
    assert_eq!(memory.apply(&unreadable), []);
}

#[test]
fn an_unknown_unit_keeps_a_vital_sign_back_and_publishes_others_as_text() {
    let text = METER.replace(
        "value = \"pulse\"\nucum = \"/min\"",
        "value = \"pulse\"\nunit = \"pulse-unit\"\nunits = { bpm = \"/min\" }",
    );
    let meter = adapter(&text);
    let devices = [everywhere("LU-77")];
    let body = BATCH.replace("</pulse>", "</pulse><pulse-unit>Hz</pulse-unit>").replace("dL/s", "gal/s");
    let made = published(meter, &body, &context(&devices));
    assert!(made.waits);
    assert_eq!(codes(&made.issues), ["code-invalid"; 3], "{:?}", made.issues);
    assert_eq!(quantity(resource_with(&made.bundle, "LU-77:2:flow")), ("71", "gal/s", ""));
    assert!(!made.bundle.to_string().contains(":pulse\""));
}

#[test]
fn whose_it_is_says_the_pairing_the_user_or_the_session() {
    let meter = adapter(METER);
    let nobody = (meter.shapes[0].map)(BATCH.as_bytes(), &context(&[]));
    assert!(
        matches!(&nobody, Mapping::Quarantine { issues } if codes(issues) == ["not-found", "not-found"]),
        "{nobody:?}"
    );
    let by_user = adapter(&METER.replace("by = \"device\"", "by = \"user\"\nuser = \"^.batch.model\""));
    let subject = |made: &Publication| {
        resource_with(&made.bundle, ":1:flow").at(&["subject", "reference"]).and_then(Json::as_str).map(str::to_owned)
    };
    let found = subject(&published(by_user, BATCH, &context(&[])));
    assert_eq!(
        found.as_deref(),
        Some("Patient?identifier=https://example.org/fhir/adapters/lungo/user|Mini%20%26%20more")
    );
    let paired = [everywhere("Mini & more")];
    assert_eq!(subject(&published(by_user, BATCH, &context(&paired))).as_deref(), Some("Patient/p"));
    let by_session = adapter(&METER.replace("by = \"device\"", "by = \"session\""));
    assert_eq!(by_session.authentication, Authentication::Session);
    let of = |patient: &'static str| Context { session: Some(patient), ..context(&[]) };
    let (p, q) = (published(by_session, BATCH, &of("p")), published(by_session, BATCH, &of("q")));
    assert_eq!(subject(&p).as_deref(), Some("Patient/p"));
    let mut memory = Memory::default();
    let observations = |made: Vec<Json>| made.iter().filter(|it| it.str("resourceType") == Some("Observation")).count();
    assert_eq!((observations(memory.apply(&p)), observations(memory.apply(&q))), (3, 3), "ids of two phones");
}

#[test]
fn every_mistake_is_told_with_its_line_and_place() {
    let cases = [
        ("vendor = \"lungo\"", "vendor = \"Lungo!\"", 2, "vendor", "small letters"),
        ("version = \"3\"", "", 1, "", "version is missing"),
        ("max-bytes = 4096", "max-bytes = 99999999999", 6, "max-bytes", "a whole number"),
        ("max-bytes", "maxbytes", 6, "maxbytes", "no such setting"),
        ("by = \"device\"", "by = \"face\"", 9, "patient.by", "says not whose it is"),
        ("[\"^.batch.meter\", \"@no\"]", "[\"^^.meter\", \"@no\"]", 12, "record.id[0]", "further out"),
        ("at = \"taken\"", "at = \"taken..ms\"", 17, "record.time.at", "between two points is empty"),
        ("at = \"taken\"", "at = \"taken[*]\"", 17, "record.time.at", "`items` only"),
        (
            "offset-unit = \"hours\"",
            "offset-unit = \"days\"",
            19,
            "record.time.offset-unit",
            "seconds, minutes and hours",
        ),
        ("epoch-milliseconds", "unix", 16, "record.time.format", "no format of times"),
        ("20572008", "20572009", 27, "words.effort.good", "check digit"),
        ("LOINC 19935-6", "LOINC 19935-7", 36, "schema[0].measurement[0].code", "check digit"),
        ("category = \"exam\"", "category = \"exams\"", 37, "schema[0].measurement[0].category", "no category"),
        ("category = \"exam\"", "", 33, "schema[0].measurement[0]", "category is missing"),
        ("\"L/s\" = \"L/s\"", "\"L/s\" = \"litres\"", 40, "schema[0].measurement[0].units.\"L/s\"", "not valid UCUM"),
        (
            "words = \"effort\"",
            "words = \"strength\"",
            46,
            "schema[0].measurement[0].part[0].words",
            "no table strength",
        ),
        ("kind = \"boolean\"", "kind = \"bit\"", 52, "schema[0].measurement[0].part[1].kind", "no kind of value"),
        ("ucum = \"/min\"", "ucum = \"Hz\"", 54, "schema[0].measurement[1]", "takes /min"),
        ("ucum = \"/min\"", "", 54, "schema[0].measurement[1]", "needs its unit"),
        ("name = \"pulse\"", "name = \"flow\"", 54, "schema[0].measurement[1]", "called flow too"),
        ("LOINC 8867-4", "LOINC 59408-5", 54, "schema[0].measurement[1]", "needs \"LOINC 2708-6\""),
        ("LOINC 8867-4", "LOINC 85354-9", 54, "schema[0].measurement[1]", "needs a part with the code"),
        ("items = \"batch.reading[*]\"", "items = \"a[*] | b[*]\"", 5, "items", "several are named as items = ["),
        ("items = \"batch.reading[*]\"", "items = [\"a[*]\", \"a[*]\"]", 5, "items[1]", "named twice"),
        ("items = \"batch.reading[*]\"", "items = []", 5, "items", "names no list"),
        ("items = \"batch.reading[*]\"", "items = \"^.reading[*]\"", 5, "items", "nothing further out"),
        ("[record.time]", "updated = \"rev[*]\"\n[record.time]", 15, "record.updated", "`items` only"),
        ("{ path = \"state\", is = [\"void\", \"deleted\"] }", "false", 13, "record.deleted", "is true where all"),
        (
            "{ path = \"state\", is = [\"void\", \"deleted\"] }",
            "true",
            33,
            "schema[0].measurement",
            "is never read: all",
        ),
        (
            "when = { path = \"flow\", present = true }",
            "ignore = true",
            33,
            "schema[0].measurement",
            "is never read: the",
        ),
        ("when = { path = \"flow\", present = true }", "ignore = \"yes\"", 31, "schema[0].ignore", "true or false"),
        ("model = \"^.batch.model\"", "battery = \"charge[*]\"", 24, "record.device.battery", "`items` only"),
        ("present = true", "present = true, is = \"x\"", 31, "schema[0].when", "one of is, starts-with and present"),
        ("[[schema.measurement]]\nname = \"pulse\"", "[[schema.measurement]\nname = \"pulse\"", 54, "", ""),
    ];
    for (from, to, line, place, message) in cases {
        assert!(METER.contains(from), "{from}");
        let found = mistakes(&METER.replacen(from, to, 1));
        let is_it = |it: &&Mistake| it.line == line && it.place == place && it.message.contains(message);
        assert!(found.iter().any(|it| is_it(&it)), "{to:?} at {line}: {found:#?}");
    }
    let two = METER.replace("version = \"3\"", "").replace("by = \"device\"", "by = \"face\"");
    assert_eq!(mistakes(&two).len(), 2, "all of them at once");
}

#[test]
fn nothing_that_is_no_mapping_file_panics_and_all_of_it_is_refused() {
    let open = include_str!("../../declared/open-mhealth.toml");
    for text in [METER, open] {
        for end in (0..text.len()).step_by(37).filter(|end| text.is_char_boundary(*end)) {
            let _ = mistakes(&text[..end]);
        }
        // Each line left out once, and each once twice.
        let lines: Vec<&str> = text.lines().collect();
        for index in 0..lines.len() {
            let (before, after) = lines.split_at(index);
            let _ = mistakes(&[before, &after[1..]].concat().join("\n"));
            let _ = mistakes(&[before, &after[..1], after].concat().join("\n"));
        }
    }
    for bad in ["", "vendor", "vendor = 1", "[[[", "schema = 3", "\u{0}", "schema = [1, 2]", "items = \"[*\""] {
        assert!(!mistakes(bad).is_empty(), "{bad}");
    }
    let deep = format!("vendor = {}1{}", "[".repeat(500), "]".repeat(500));
    assert!(!mistakes(&deep).is_empty());
    assert!(!mistakes(&"#".repeat(2 << 20)).is_empty());
    let many = METER.replace("[[schema]]", &"[[schema]]\nname = \"x\"\n".repeat(2000));
    assert!(mistakes(&many).len() <= 100);
}

#[test]
fn documents_that_would_cost_too_much_are_refused() {
    let meter = adapter(METER);
    let receive = |body: String| (meter.shapes[0].receive)(body.as_bytes());
    assert!(receive(format!("{}{}", "<a>".repeat(1000), "</a>".repeat(1000))).is_err());
    assert!(receive("[".repeat(1000)).is_err());
    let names = (0..1000).map(|number| format!("<n{number}/>")).collect::<Vec<_>>().concat();
    assert!(receive(format!("<batch>{names}</batch>")).is_err());
    assert!(receive("<!DOCTYPE x [<!ENTITY a \"aaaa\">]><batch>&a;</batch>".to_owned()).is_err());
    assert!(receive("<batch>&unknown;</batch>".to_owned()).is_err());
    assert!(receive(format!("<batch>{}</batch>", "<reading/>".repeat(10_001))).is_err());
    for body in ["{}", "<batch/>", "7", "<a/><b/>", "<a></b>"] {
        assert!(receive(body.to_owned()).is_err(), "{body}");
    }
}

#[test]
fn no_vendor_takes_the_name_or_path_of_another() {
    let mut registry = adapters::Registry::default();
    for taken in ["medisante", "smart-meter", "fhir-json", "healthkitstandard-json"] {
        let plan = Plan::read(&METER.replace("\"lungo\"", &format!("\"{taken}\""))).expect("a plan");
        assert!(registry.add(plan.adapter()).is_err(), "{taken}");
    }
    registry.add(adapter(METER)).expect("a name of its own");
    assert!(registry.add(adapter(METER)).is_err(), "the same again");
    assert_eq!(registry.at("/health-data/lungo").map(|it| it.vendor), Some("lungo"));
}

/// Samples and voids of one message, and a sort of sample that nobody needs.
const PATCH: &str = r#"
vendor = "patch"
name = "Patch"
version = "1"
items = "samples[*]"

[patient]
by = "device"

[record]
id = "id"
updated = "^.sent"
issued = "^.sent"
time = { at = "t", format = "epoch-seconds" }
device = { serial = "^.serial" }

[[schema]]
name = "pulse"
when = { path = "k", is = "HR" }

[[schema.measurement]]
name = "heart-rate"
code = "LOINC 8867-4"
value = "v"
ucum = "/min"

[[schema]]
name = "battery"
when = { path = "k", is = "BATT" }
[schema.record.device]
serial = "^.serial"
battery = "v"

[[schema]]
name = "test"
when = { path = "k", is = "TEST" }
ignore = true

[[schema]]
name = "void"
items = "void[*]"
[schema.record]
id = "."
deleted = true
"#;

fn pulse(sent: u32, value: u32) -> String {
    format!(r#"{{"serial":"P1","sent":{sent},"samples":[{{"id":"a","k":"HR","t":1770000000,"v":{value}}}]}}"#)
}

#[test]
fn lists_that_stand_beside_each_other_are_all_read() {
    let (patch, devices) = (adapter(PATCH), [everywhere("P1")]);
    let mut memory = Memory::default();
    memory.apply(&published(patch, &pulse(1, 60), &context(&devices)));
    let both = r#"{"serial":"P1","sent":2,"samples":[{"id":"b","k":"HR","t":1770000060,"v":61}],"void":["a"]}"#;
    let made = published(patch, both, &context(&devices));
    assert!(!made.waits && made.issues.is_empty(), "{:?}", made.issues);
    let status: Vec<Json> = memory.apply(&made);
    let status: Vec<&str> = status.iter().filter_map(|it| it.str("status")).collect();
    assert_eq!(status, ["final", "entered-in-error"]);
    let void_alone = published(patch, r#"{"serial":"P1","void":["b"],"samples":[]}"#, &context(&devices));
    assert_eq!(memory.apply(&void_alone).len(), 1);
    let refused = (patch.shapes[0].receive)(br#"{"serial":"P1"}"#).expect_err("no list is there");
    let told = format!("{:?}", refused.issues());
    assert!(told.contains("samples[*], void[*]"), "{told}");
}

#[test]
fn nothing_of_a_message_is_lost_without_a_word() {
    let (patch, devices) = (adapter(PATCH), [everywhere("P1")]);
    let body = r#"{"serial":"P1","sent":2,"alarms":[1],"empty":[],"nested":{"more":["x"]},"samples":[
        {"id":"b","k":"HR","t":1770000060,"v":61,"raw":[1,2]},{"id":"c","k":"HR","t":1770000060,"v":61,"raw":[1]},
        {"id":"d","k":"TEST","raw":[1,2],"other":[3]},{"id":"e","k":"GSR","list":[1]}],"void":["a"]}"#;
    let made = published(patch, body, &context(&devices));
    assert!(made.waits);
    let places: Vec<&str> = made.issues.iter().flat_map(|it| &it.expression).map(String::as_str).collect();
    assert_eq!(places, ["samples[3]", "alarms", "nested.more", "samples[0].raw"], "{:?}", made.issues);
    assert_eq!(resources(&made.bundle).len(), 3, "the rest is published: {}", made.bundle);
    let ignoring =
        format!("{PATCH}\n[[schema]]\nname = \"alarms\"\nitems = [\"alarms[*]\", \"nested.more[*]\"]\nignore = true\n");
    let made = published(
        adapter(&ignoring),
        &body.replace(r#","raw":[1,2]},{"id":"c""#, r#"},{"id":"c""#),
        &context(&devices),
    );
    let places: Vec<&str> = made.issues.iter().flat_map(|it| &it.expression).map(String::as_str).collect();
    assert_eq!(places, ["samples[3]", "samples[1].raw"]);
    // What is ignored in the end does not hide what is read before it.
    let rest = format!("{PATCH}\n[[schema]]\nname = \"rest\"\nignore = true\n");
    let made = published(adapter(&rest), body, &context(&devices));
    let places: Vec<&str> = made.issues.iter().flat_map(|it| &it.expression).map(String::as_str).collect();
    assert_eq!(places, ["alarms", "nested.more", "samples[0].raw"]);
}

#[test]
fn an_older_version_that_comes_late_changes_nothing() {
    let (patch, devices) = (adapter(PATCH), [everywhere("P1")]);
    let mut memory = Memory::default();
    let mut send = |sent, value| memory.apply(&published(patch, &pulse(sent, value), &context(&devices)));
    assert_eq!(send(10, 72).len(), 2);
    let corrected = send(20, 74);
    assert_eq!(corrected.iter().filter_map(|it| it.str("status")).collect::<Vec<_>>(), ["corrected"]);
    assert_eq!(send(9, 72), [], "an older one, by number");
    assert_eq!(send(30, 74), [], "the same again, issued later");
    let wrong = pulse(10, 72).replace("\"sent\":10", "\"sent\":\"soon\"");
    let wrong = (patch.shapes[0].map)(wrong.as_bytes(), &context(&devices));
    assert!(matches!(&wrong, Mapping::Quarantine { issues } if issues[0].expression == ["sent"]), "{wrong:?}");
}

#[test]
fn a_withdrawal_holds_for_its_own_device_only() {
    let (patch, devices) = (adapter(PATCH), [everywhere("P1"), everywhere("P2")]);
    let mut memory = Memory::default();
    memory.apply(&published(patch, &pulse(10, 72), &context(&devices)));
    let void = |serial: &str| published(patch, &format!(r#"{{"serial":"{serial}","void":["a"]}}"#), &context(&devices));
    assert_eq!(memory.apply(&void("P2")), [], "another device, though of the same patient");
    assert_eq!(memory.apply(&void("P1")).len(), 1);
    let nobody = (patch.shapes[0].map)(br#"{"void":["a"]}"#, &context(&devices));
    assert!(matches!(&nobody, Mapping::Quarantine { issues } if issues[0].expression == ["serial"]), "{nobody:?}");
}

#[test]
fn a_battery_is_a_property_of_its_device() {
    let (patch, devices) = (adapter(PATCH), [everywhere("P1")]);
    let body = |charge: &str| {
        format!(r#"{{"serial":"P1","sent":1,"samples":[{{"id":"x","k":"BATT","t":1770000000,"v":{charge}}}]}}"#)
    };
    let made = published(patch, &body("34"), &context(&devices));
    let [device] = resources(&made.bundle)[..] else { panic!("a device alone: {}", made.bundle) };
    let property = &device.list("property")[0];
    assert!(property.to_string().contains("67996") && property.to_string().contains("34"), "{device}");
    let after = body("33").replace("[{", r#"[{"id":"y","k":"HR","t":1770000000,"v":60},{"#);
    let made = published(patch, &after, &context(&devices));
    assert!(made.bundle.to_string().contains("67996"), "beside a reading: {}", made.bundle);
    let wrong = (patch.shapes[0].map)(body("\"low\"").as_bytes(), &context(&devices));
    assert!(matches!(&wrong, Mapping::Quarantine { issues } if issues[0].expression == ["samples[0].v"]), "{wrong:?}");
    let unpaired = (patch.shapes[0].map)(body("34").as_bytes(), &context(&[]));
    assert!(matches!(unpaired, Mapping::Quarantine { .. }), "nobody's device is not told");
}

#[test]
fn a_wrong_list_is_told_once_and_where_it_matters() {
    let found = mistakes(&PATCH.replace("items = \"samples[*]\"", "items = \"samples[\""));
    assert_eq!(found.len(), 1, "no mistakes that follow from it: {found:#?}");
    let out = mistakes(&PATCH.replace("items = \"void[*]\"", "items = \"void\""));
    assert!(out.iter().all(|it| it.place == "record.device.serial"), "{out:#?}");
    let never = format!("{PATCH}\n[[schema]]\nname = \"more\"\nitems = \"void[*]\"\nignore = true\n");
    let never = mistakes(&never);
    assert!(never.len() == 1 && never[0].message.contains("never reached: the schema void"), "{never:#?}");
    let empty = mistakes(&PATCH.replace("[schema.record]\nid = \".\"\ndeleted = true\n", ""));
    assert!(empty.iter().any(|it| it.message.contains("or ignore = true")), "{empty:#?}");
}
