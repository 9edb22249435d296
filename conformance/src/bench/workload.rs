//! What is asked of the server: one row of the table each.

use fhir::json::Json;
use fhir::object;

use super::Failure;
use super::data::Plan;
use super::load::{Driver, Request, get, request};
use super::server::Server;
use super::table::Row;
use super::{access, synthea};

pub(crate) const READ: &str = "read Observation";
pub(crate) const VREAD: &str = "vread Observation";
pub(crate) const SEARCH: &str = "search patient + code, newest 50";
pub(crate) const IDENTIFIER: &str = "search Patient by identifier";
pub(crate) const NAME: &str = "search Patient by start of name, 50";
pub(crate) const POPULATION: &str = "search code of all patients, newest 50";
pub(crate) const COMPONENT: &str = "search patient + component above a quantity, 50";
pub(crate) const CHAINED: &str = "search code + subject:Patient.identifier, newest 50";
pub(crate) const HAS: &str = "search Patient by _has Observation code, 50";
pub(crate) const INCLUDES: &str = "search patient + code, 50, _include subject";
pub(crate) const REVERSE: &str = "search Patient, _revinclude its 256 Observations";
pub(crate) const TOTAL: &str = "search patient + code, 50, _total=accurate";
pub(crate) const DEEP: &str = "search code of all patients, page 200 of 50";
pub(crate) const EVERYTHING: &str = "Patient/$everything, page of 50";
pub(crate) const CREATE: &str = "create Observation";
pub(crate) const UPDATE: &str = "update Observation";
pub(crate) const PUT: &str = "update as create";
pub(crate) const DELETE: &str = "delete Observation";
pub(crate) const TRANSACTION: &str = "transaction of 20 Observations";
pub(crate) const MIXED: &str = "70 % read, 20 % search, 10 % create";

/// Entries of a transaction.
const ENTRIES: usize = 20;
/// Which page is deep; a result that has fewer is asked for its last but one.
const DEEP_PAGE: usize = 200;

/// Bodies that the server has sent, for the ceilings to send the same.
pub(crate) struct Samples {
    /// One Observation.
    pub(crate) resource: Vec<u8>,
    /// One page of them.
    pub(crate) page: Vec<u8>,
}

/// Drives the server with each workload in turn, or `only` with those whose names begin so. Reads come first: they
/// measure the data as loaded.
pub(crate) fn run(server: &Server, plan: &Plan, driver: Driver, only: Option<&str>) -> Result<Vec<Row>, Failure> {
    let asks = Asks { token: &server.token, base: "/fhir", plan, deep: deep_page(server)? };
    let drive = |driver: Driver, make: &Request<'_>| driver.drive(server.address, server.process(), make);
    let mut rows = Vec::new();
    let all = asks.reads().into_iter().chain(asks.searches()).chain(asks.writes());
    for (name, make) in all.filter(|(name, _)| only.is_none_or(|only| name.starts_with(only))) {
        eprintln!("measuring: {name}");
        rows.push(Row::new(name, drive(driver, &make)?));
    }
    if let Some(only) = only {
        if access::ROWS.iter().any(|name| name.starts_with(only)) {
            rows.extend(access::measure(server, plan, driver)?);
        }
        return Ok(rows);
    }
    eprintln!("measuring: {PUT}, {DELETE}");
    let made = drive(driver, &|number| asks.put(number, format!("x{number}")))?;
    let delete = |number: usize| request("DELETE", &format!("/fhir/Observation/x{number}"), asks.token, "");
    let gone = drive(driver.at_most(made.count), &delete)?;
    rows.extend([Row::new(PUT, made), Row::new(DELETE, gone)]);
    rows.extend(synthea::measure(server, asks.token, driver)?);
    rows.extend(access::measure(server, plan, driver)?);
    Ok(rows)
}

pub(crate) type Named<'a> = (&'static str, Box<Request<'a>>);
/// The path of a search, from a running number.
type Path<'a> = (&'static str, Box<dyn Fn(usize) -> String + 'a>);

/// Makes requests from running numbers.
pub(crate) struct Asks<'a> {
    pub(crate) token: &'a str,
    /// Path of the FHIR base.
    pub(crate) base: &'a str,
    pub(crate) plan: &'a Plan,
    /// A page far from the first.
    pub(crate) deep: String,
}

impl Asks<'_> {
    /// What every FHIR server answers.
    pub(crate) fn of_any_server(&self) -> Vec<Named<'_>> {
        let ours = [DEEP, EVERYTHING];
        let all = self.reads().into_iter().chain(self.searches()).chain(self.writes());
        all.filter(|(name, _)| !ours.contains(name)).collect()
    }

    fn reads(&self) -> Vec<Named<'_>> {
        vec![
            (READ, Box::new(|number| self.read(number))),
            (VREAD, Box::new(|number| self.get(&format!("Observation/{}/_history/1", self.id(number))))),
        ]
    }

    fn searches<'s>(&'s self) -> Vec<Named<'s>> {
        let identifier = |number: usize| format!("urn:example:patients%7C{}", self.patient_number(number));
        let above = |number: usize| format!("8480-6$gt{}%7Cmm%5BHg%5D", 91 + number % 20);
        let paths: Vec<Path<'s>> = vec![
            (SEARCH, Box::new(|number| self.newest(number))),
            (IDENTIFIER, Box::new(move |number| format!("Patient?identifier={}", identifier(number)))),
            (NAME, Box::new(|number| format!("Patient?name=Family{}&_count=50", number % 10))),
            (POPULATION, Box::new(|number| format!("Observation?code={}&_count=50", Plan::code(number)))),
            (
                COMPONENT,
                Box::new(move |number| {
                    let (patient, above) = (self.patient(number), above(number));
                    format!("Observation?patient={patient}&component-code-value-quantity={above}&_count=50")
                }),
            ),
            (
                CHAINED,
                Box::new(move |number| {
                    let (identifier, code) = (identifier(number), Plan::code(number));
                    format!("Observation?subject:Patient.identifier={identifier}&code={code}&_count=50")
                }),
            ),
            (HAS, Box::new(|number| format!("Patient?_has:Observation:patient:code={}&_count=50", Plan::code(number)))),
            (INCLUDES, Box::new(|number| self.newest(number) + "&_include=Observation:subject")),
            (
                REVERSE,
                Box::new(|number| format!("Patient?_id={}&_revinclude=Observation:patient", self.patient(number))),
            ),
            (TOTAL, Box::new(|number| self.newest(number) + "&_total=accurate")),
            (DEEP, Box::new(|_| self.deep.clone())),
            (EVERYTHING, Box::new(|number| format!("Patient/{}/$everything?_count=50", self.patient(number)))),
        ];
        let asked = |(name, path): Path<'s>| -> Named<'s> { (name, Box::new(move |number| self.get(&path(number)))) };
        paths.into_iter().map(asked).collect()
    }

    fn writes(&self) -> Vec<Named<'_>> {
        vec![
            (
                MIXED,
                Box::new(|number| match number % 10 {
                    0 => self.create(number),
                    1 | 2 => self.get(&self.newest(number)),
                    _ => self.read(number),
                }),
            ),
            (CREATE, Box::new(|number| self.create(number))),
            // Another number is another value: an update that changes nothing makes no version.
            (
                UPDATE,
                Box::new(|number| self.put(number.wrapping_mul(7919) + self.plan.patients() * number, self.id(number))),
            ),
            (TRANSACTION, Box::new(|number| request("POST", self.base, self.token, &bundle(self.plan, number)))),
        ]
    }

    fn get(&self, path: &str) -> Vec<u8> {
        request("GET", &format!("{}/{path}", self.base), self.token, "")
    }

    /// A stride that is coprime to most sizes: every read another row, no pattern that a cache could love.
    fn id(&self, number: usize) -> String {
        self.plan.observation_id(number.wrapping_mul(7919))
    }

    fn patient_number(&self, number: usize) -> usize {
        number.wrapping_mul(31) % self.plan.patients()
    }

    fn patient(&self, number: usize) -> String {
        self.plan.patient_id(self.patient_number(number))
    }

    fn newest(&self, number: usize) -> String {
        let (patient, code) = (self.patient(number), Plan::code(number));
        format!("Observation?patient={patient}&code=http://loinc.org%7C{code}&_sort=-date&_count=50")
    }

    fn read(&self, number: usize) -> Vec<u8> {
        self.get(&format!("Observation/{}", self.id(number)))
    }

    fn create(&self, number: usize) -> Vec<u8> {
        request(
            "POST",
            &format!("{}/Observation", self.base),
            self.token,
            &self.plan.observation(number, None).to_string(),
        )
    }

    fn put(&self, number: usize, id: String) -> Vec<u8> {
        let path = format!("{}/Observation/{id}", self.base);
        request("PUT", &path, self.token, &self.plan.observation(number, Some(id)).to_string())
    }
}

/// What the server answers to a read and to a search, whichever rows are asked for: without bodies, a ceiling costs a
/// third.
pub(crate) fn samples(server: &Server, plan: &Plan) -> Result<Samples, Failure> {
    let asks = Asks { token: &server.token, base: "/fhir", plan, deep: String::new() };
    let of = |path: String| get(server.address, &format!("/fhir/{path}"), &server.token);
    Ok(Samples { resource: of(format!("Observation/{}", asks.id(0)))?, page: of(asks.newest(0))? })
}

/// Follows the next links of a search over all patients.
fn deep_page(server: &Server) -> Result<String, Failure> {
    let mut path = format!("Observation?code={}&_count=50", Plan::code(0));
    for _ in 1..DEEP_PAGE {
        let page = Json::parse(&get(server.address, &format!("/fhir/{path}"), &server.token)?)
            .map_err(|error| error.to_string())?;
        let next = page.list("link").iter().find(|link| link.str("relation") == Some("next"));
        let Some(url) = next.and_then(|link| link.str("url")) else { break };
        path = url.split_once("/fhir/").map_or_else(String::new, |(_, path)| path.to_owned());
    }
    Ok(path)
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
