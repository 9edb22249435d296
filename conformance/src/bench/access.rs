//! What the access check costs: the same reads and searches with the token of a patient's app and with one that may do
//! everything, in turns, so that whatever else the machine does meets both.

use std::time::Duration;

use super::Failure;
use super::data::Plan;
use super::load::{Driver, Measured, Request, request};
use super::server::Server;
use super::table::Row;

pub(crate) const READ: &str = "read Observation, token of its patient";
pub(crate) const READ_BY_SYSTEM: &str = "read Observation, the same with a system's token";
pub(crate) const SEARCH: &str = "search patient + code, newest 50, token of the patient";
pub(crate) const SEARCH_BY_SYSTEM: &str = "search patient + code, newest 50, the same with a system's token";

/// All of them.
pub(crate) const ROWS: [&str; 4] = [READ, READ_BY_SYSTEM, SEARCH, SEARCH_BY_SYSTEM];

/// Patients that have a token.
const PATIENTS: usize = 32;
/// Turns of each kind of token.
const TURNS: u32 = 7;

/// Measures both interactions with both kinds of token.
pub(crate) fn measure(server: &Server, plan: &Plan, driver: Driver) -> Result<Vec<Row>, Failure> {
    let patients = PATIENTS.min(plan.patients());
    let tokens: Vec<String> =
        (0..patients).map(|number| server.patient_token(&plan.patient_id(number))).collect::<Result<_, _>>()?;
    let own = |number: usize| tokens[number % patients].as_str();
    let system = |_: usize| server.token.as_str();
    let read = |number: usize| {
        let of_patient = number % patients + plan.patients() * (number / patients);
        format!("/fhir/Observation/{}", plan.observation_id(of_patient))
    };
    let search = |number: usize| {
        let (patient, code) = (plan.patient_id(number % patients), Plan::code(number / patients));
        format!("/fhir/Observation?patient={patient}&code=http://loinc.org%7C{code}&_sort=-date&_count=50")
    };
    let mut rows = in_turns(
        server,
        driver,
        [READ, READ_BY_SYSTEM],
        [&|number| request("GET", &read(number), own(number), ""), &|number| {
            request("GET", &read(number), system(number), "")
        }],
    )?;
    rows.extend(in_turns(
        server,
        driver,
        [SEARCH, SEARCH_BY_SYSTEM],
        [&|number| request("GET", &search(number), own(number), ""), &|number| {
            request("GET", &search(number), system(number), "")
        }],
    )?);
    Ok(rows)
}

/// Of each workload the turn whose median latency is the median of all.
fn in_turns(
    server: &Server,
    driver: Driver,
    names: [&'static str; 2],
    makes: [&Request<'_>; 2],
) -> Result<Vec<Row>, Failure> {
    eprintln!("measuring: {}, {}", names[0], names[1]);
    let turn = Driver { length: (driver.length / TURNS).max(Duration::from_millis(500)), ..driver };
    let mut measured: [Vec<Measured>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for (make, turns) in makes.iter().zip(&mut measured) {
            turns.push(turn.drive(server.address, server.process(), *make)?);
        }
    }
    let rows = names.into_iter().zip(measured).map(|(name, mut turns)| {
        turns.sort_by_key(|turn| turn.p50);
        Row::new(name, turns.swap_remove(turns.len() / 2))
    });
    Ok(rows.collect())
}
