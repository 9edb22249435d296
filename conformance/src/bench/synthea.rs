//! Transaction bundles of realistic patients, made by Synthea, each posted once. <https://synthea.mitre.org>

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use fhir::json::Json;

use super::Failure;
use super::load::{Driver, Measured, request};
use super::server::Server;
use super::table::Row;

pub(crate) const NAME: &str = "Synthea transaction bundles, in resources";
/// Posted at the same time: a bundle holds hundreds of resources.
const CONNECTIONS: usize = 4;
/// The first bundles of the file hold the hospitals and practitioners that patients refer to by identifier.
const HOSPITALS: usize = 2;
/// Bundles of patients in a run.
const PATIENTS: usize = 100;

/// Posts the bundles that stand in the test data; no row where it is absent.
pub(crate) fn measure(server: &Server, token: &str, driver: Driver) -> Result<Option<Row>, Failure> {
    let Some(file) = file() else {
        eprintln!("skipped: {NAME} (no test data)");
        return Ok(None);
    };
    eprintln!("measuring: {NAME}");
    let bundles = bundles(&file)?;
    let (hospitals, patients) = bundles.split_at(bundles.len().min(HOSPITALS));
    let post = |bundles: &[String], connections: usize| {
        let driver = Driver { connections, ..driver.at_most(bundles.len()).until_done() };
        driver.drive(server.address, server.process(), &|number| request("POST", "/fhir", token, &bundles[number - 1]))
    };
    post(hospitals, 1)?;
    let Measured { rate, cpu_micros, p50, p99, resident, count, .. } = post(patients, CONNECTIONS)?;
    let mut resources = 0;
    for bundle in patients {
        resources += Json::parse(bundle.as_bytes()).map_err(|error| error.to_string())?.list("entry").len();
    }
    let each = resources as f64 / count.max(1) as f64;
    let cpu_micros = cpu_micros.map(|micros| micros / each);
    Ok(Some(Row::new(
        NAME,
        Measured { rate: rate * each, cpu_micros, p50, p99, resident, count, ..Measured::default() },
    )))
}

/// Where the test data is, see the README.
fn file() -> Option<PathBuf> {
    const NAME: &str = "synthea/synthea-a-615patients.ndjson.zst";
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("TRIBUTARY_TEST_DATA").map_or(beside, PathBuf::from);
    Some(folder.join(NAME)).filter(|file| file.exists())
}

fn bundles(file: &Path) -> Result<Vec<String>, Failure> {
    let lines = BufReader::new(zstd::Decoder::new(File::open(file)?)?).lines();
    Ok(lines.take(HOSPITALS + PATIENTS).collect::<Result<_, _>>()?)
}
