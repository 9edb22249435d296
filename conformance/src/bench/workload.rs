//! What is asked of the server: one row of the table each.

use fhir::object;

use super::Failure;
use super::data::Plan;
use super::load::{Driver, Request, request};
use super::server::Server;
use super::table::Row;

pub(crate) const READ: &str = "read Observation";
pub(crate) const SEARCH: &str = "search patient + code, newest 50";
pub(crate) const CREATE: &str = "create Observation";
pub(crate) const TRANSACTION: &str = "transaction of 20 Observations";

/// Entries of a transaction.
const ENTRIES: usize = 20;

/// Bodies that the server has sent, for the ceilings to send the same.
pub(crate) struct Samples {
    /// One Observation.
    pub(crate) resource: Vec<u8>,
    /// One page of them.
    pub(crate) page: Vec<u8>,
}

/// Drives the server with each workload in turn. Reads come first: they measure the data as loaded.
pub(crate) fn run(server: &Server, plan: &Plan, driver: Driver) -> Result<Vec<Row>, Failure> {
    let token = &server.token;
    let read = |number: usize| {
        // A stride that is coprime to most sizes: every read another row, no pattern that a cache could love.
        let id = plan.observation_id(number.wrapping_mul(7919));
        request("GET", &format!("/fhir/Observation/{id}"), token, "")
    };
    let search = |number: usize| {
        let (patient, code) = (plan.patient_id(number.wrapping_mul(31)), Plan::code(number));
        let path = format!("/fhir/Observation?patient={patient}&code=http://loinc.org%7C{code}&_sort=-date&_count=50");
        request("GET", &path, token, "")
    };
    let create = |number: usize| {
        let body = plan.observation(number, None).to_string();
        request("POST", "/fhir/Observation", token, &body)
    };
    let transaction = |number: usize| request("POST", "/fhir", token, &bundle(plan, number));
    let workloads: [(&'static str, &Request<'_>); 4] =
        [(READ, &read), (SEARCH, &search), (CREATE, &create), (TRANSACTION, &transaction)];
    let mut rows = Vec::new();
    for (name, make) in workloads {
        eprintln!("measuring: {name}");
        rows.push(Row::new(name, driver.drive(server.address, server.process(), make)?));
    }
    Ok(rows)
}

/// What the server answered to reads and searches.
pub(crate) fn samples(rows: &[Row]) -> Samples {
    let of = |name| rows.iter().find(|row| row.name == name).map(|row| row.measured.sample.clone()).unwrap_or_default();
    Samples { resource: of(READ), page: of(SEARCH) }
}

fn bundle(plan: &Plan, number: usize) -> String {
    let entry = |index: usize| {
        object! {
            "resource": plan.observation(number * ENTRIES + index, None),
            "request": object! { "method": "POST", "url": "Observation" },
        }
    };
    let entries: Vec<_> = (0..ENTRIES).map(entry).collect();
    object! { "resourceType": "Bundle", "type": "transaction", "entry": entries }.to_string()
}
