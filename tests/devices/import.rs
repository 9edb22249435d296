//! Tests of `server/src/command/import/phone.rs`: exports of Apple Health as files.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tests::{TestServer, program};

use crate::add_patient;

tests::on_both_engines!(
    an_export_is_imported_once_however_often_it_is_tried,
    memory_does_not_grow_with_the_export,
    an_export_needs_a_patient_that_is_there,
    the_archive_of_a_phone_is_the_same_as_the_file_in_it,
    exports_that_would_fill_memory_or_time_are_refused,
);

/// Samples of the exports here: more than one message of them.
const SAMPLES: usize = 700;

async fn an_export_is_imported_once_however_often_it_is_tried(server: TestServer) {
    let system = server.system();
    add_patient(&system, "pat-x").await;
    let file = export(server.folder(), SAMPLES, 0);
    let mut killed = import(&server, &file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    while count_of(&server, "Observation").await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let _ = killed.kill(); // a fast machine is done before
    killed.wait().expect("it ended");
    let first = run(&server, &file);
    assert_eq!((&first["samples"], &first["issues"]), (&(SAMPLES + 1).into(), &0.into()), "{first}");
    // one panel and no copies of its halves
    assert_eq!(count_of(&server, "Observation").await, SAMPLES + 1);
    let versions = || async {
        let mut totals = Vec::new();
        for resource_type in ["Observation", "Device", "Provenance"] {
            let page = system.get(&format!("{resource_type}/_history?_count=1")).await.expect_status(200).json();
            totals.push((page.list("entry").to_vec(), count_of(&server, resource_type).await));
        }
        totals
    };
    let before = versions().await;
    let again = run(&server, &file);
    assert_eq!((&again["written"], &again["known"]), (&0.into(), &again["messages"]), "{again}");
    assert_eq!(versions().await, before, "the same file again changes nothing");
}

async fn memory_does_not_grow_with_the_export(server: TestServer) {
    const FILLER: usize = 24 << 20;
    add_patient(&server.system(), "pat-x").await;
    let small = peak(&server, &export(server.folder(), 40, 0));
    let large = peak(&server, &export(server.folder(), 60, FILLER));
    assert!(large < small + FILLER as u64 / 3, "{large} bytes for a large export, {small} for a small one");
    assert_eq!(count_of(&server, "Observation").await, 60 + 1, "the larger export holds the smaller one");
}

async fn an_export_needs_a_patient_that_is_there(server: TestServer) {
    let file = export(server.folder(), 1, 0);
    for (patient, reason) in [(None, "--patient"), (Some("nobody"), "no Patient/nobody")] {
        let mut arguments = vec!["import", file.to_str().expect("a path of plain letters")];
        arguments.extend(patient.iter().flat_map(|id| ["--patient", id]));
        arguments.extend(["--database", server.database_url(), "--base-url", server.origin()]);
        let ended = program::command(&arguments).current_dir(server.folder()).output().expect("it can be started");
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && told.contains(reason), "{told}");
    }
}

async fn the_archive_of_a_phone_is_the_same_as_the_file_in_it(server: TestServer) {
    add_patient(&server.system(), "pat-x").await;
    let file = export(server.folder(), 40, 0);
    let text = fs::read(&file).expect("it was just written");
    let members = [("apple_health_export/export_cda.xml", &b"<x/>"[..]), ("apple_health_export/export.xml", &text)];
    let first = run(&server, &archive(server.folder(), "export.zip", &members));
    assert_eq!((&first["samples"], &first["issues"]), (&41.into(), &0.into()), "{first}");
    assert_eq!(count_of(&server, "Observation").await, 41);
    let again = run(&server, &file);
    assert_eq!(
        (&again["written"], &again["known"]),
        (&0.into(), &again["messages"]),
        "the file says the same: {again}"
    );
}

async fn exports_that_would_fill_memory_or_time_are_refused(server: TestServer) {
    add_patient(&server.system(), "pat-x").await;
    let folder = server.folder();
    let token = folder.join("token.xml");
    let start = "<HealthData>";
    fs::write(&token, format!("{start}<Record type=\"{}\"/></HealthData>", "x".repeat(2 << 20))).expect("writable");
    let bomb = "<HealthData>".to_owned() + &" ".repeat(4 << 20) + "</HealthData>";
    let inner = b"<HealthData></HealthData>";
    let sound = archive(folder, "sound.zip", &[("a/export.xml", &bomb.as_bytes()[..500])]);
    let cut = folder.join("cut.zip");
    let bytes = fs::read(&sound).expect("it was just written");
    fs::write(&cut, &bytes[..bytes.len() / 2]).expect("writable");
    let changed = folder.join("changed.zip");
    let at = bytes.windows(4).rposition(|it| it == b"PK\x01\x02").expect("a directory");
    let mut lying = bytes.clone();
    lying[at + 24] = 7; // says that it becomes fewer bytes than it does
    fs::write(&changed, lying).expect("writable");
    let cases = [
        (token, "at byte 12: a tag, text or comment begins that is longer than 1048576 bytes"),
        (archive(folder, "bomb.zip", &[("export.xml", bomb.as_bytes())]), "200 times as much"),
        (archive(folder, "none.zip", &[("export_cda.xml", inner)]), "holds 0 files export.xml"),
        (archive(folder, "two.zip", &[("a/export.xml", inner), ("b/export.xml", inner)]), "holds 2 files export.xml"),
        (cut, "the archive cannot be read"),
        (changed, "larger than its declared"),
    ];
    for (file, reason) in cases {
        let ended = import(&server, &file).output().expect("it can be started");
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && told.contains(reason), "{}: {told}", file.display());
    }
    assert_eq!(count_of(&server, "Observation").await, 0);
}

/// An archive with these members, compressed. <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>
fn archive(folder: &Path, name: &str, members: &[(&str, &[u8])]) -> PathBuf {
    let (mut whole, mut directory) = (Vec::new(), Vec::new());
    let short = |number: usize| u16::try_from(number).expect("small").to_le_bytes();
    let long = |number: usize| u32::try_from(number).expect("small").to_le_bytes();
    for (member, text) in members {
        let offset = whole.len();
        let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        deflated.write_all(text).expect("into memory");
        let deflated = deflated.finish().expect("into memory");
        let mut sum = flate2::Crc::new();
        sum.update(text);
        let sizes = [sum.sum().to_le_bytes(), long(deflated.len()), long(text.len())].concat();
        let head = [&[20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0][..], &sizes, &short(member.len()), &[0, 0]].concat();
        whole.extend([&b"PK\x03\x04"[..], head.as_slice(), member.as_bytes(), &deflated].concat());
        directory
            .extend([&b"PK\x01\x02\x14\0"[..], head.as_slice(), &[0; 10], &long(offset), member.as_bytes()].concat());
    }
    let (count, start) = (short(members.len()), long(whole.len()));
    let length = long(directory.len());
    whole.extend(directory);
    whole.extend([&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &length, &start, &[0, 0]].concat());
    let file = folder.join(name);
    fs::write(&file, whole).expect("the folder is writable");
    file
}

/// An export with so many heart rates, one blood pressure whose halves stand there twice, and so many bytes of what is
/// no sample.
fn export(folder: &Path, samples: usize, filler: usize) -> PathBuf {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<HealthData locale=\"en_US\">\n");
    let source = r#"sourceName="Watch" sourceVersion="10.5" creationDate="2024-07-24 09:00:00 +0200""#;
    for number in 0..samples {
        let (minute, second) = (number / 60, number % 60);
        let at = format!("2024-07-24 {:02}:{:02}:{second:02} +0200", minute / 60, minute % 60);
        let _ = writeln!(
            text,
            r#"<Record type="HKQuantityTypeIdentifierHeartRate" {source} unit="count/min" startDate="{at}" endDate="{at}" value="64"/>"#
        );
    }
    let halves: String = [("Systolic", 121), ("Diastolic", 79)]
        .map(|(name, value)| {
            format!(
                r#"<Record type="HKQuantityTypeIdentifierBloodPressure{name}" {source} unit="mmHg" startDate="2024-07-25 08:00:00 +0200" endDate="2024-07-25 08:00:00 +0200" value="{value}"/>"#
            )
        })
        .concat();
    text.push_str(&halves);
    while text.len() < filler {
        text.push_str("<ActivitySummary dateComponents=\"2024-07-24\" activeEnergyBurned=\"500\"/>\n");
    }
    let _ = write!(
        text,
        r#"<Correlation type="HKCorrelationTypeIdentifierBloodPressure" {source} startDate="2024-07-25 08:00:00 +0200" endDate="2024-07-25 08:00:00 +0200">{halves}</Correlation></HealthData>"#
    );
    let file = folder.join(format!("export-{samples}.xml"));
    fs::write(&file, text).expect("the folder is writable");
    file
}

fn import(server: &TestServer, file: &Path) -> std::process::Command {
    let file = file.to_str().expect("a path of plain letters");
    let arguments = ["import", "--patient", "pat-x", "--json", file, "--database", server.database_url()];
    let mut command = program::command(&[&arguments[..], &["--base-url", server.origin()]].concat());
    command.current_dir(server.folder());
    command
}

/// Imports to the end; what it says.
fn run(server: &TestServer, file: &Path) -> Value {
    let ended = import(server, file).output().expect("it can be started");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_slice(&ended.stdout).expect("the summary is JSON")
}

/// Imports to the end; the most memory that it had at once, bytes.
fn peak(server: &TestServer, file: &Path) -> u64 {
    let mut child = import(server, file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        if let Some(ended) = child.try_wait().expect("a child") {
            assert!(ended.success());
            return most;
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        most = most.max(kibibytes.unwrap_or(0) * 1024);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How many resources of a type there are, however many.
async fn count_of(server: &TestServer, resource_type: &str) -> usize {
    let found = server.system().get(&format!("{resource_type}?_summary=count")).await.expect_status(200).json();
    found.get("total").and_then(|total| total.as_number()?.parse().ok()).expect("a total")
}
