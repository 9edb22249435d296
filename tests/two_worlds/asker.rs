//! Whose app asks, what its token sees, and what lies outside of that.

use fhir::json::Json;
use fhir::{array, object};
use tests::random::Random;
use tests::{Client, TestServer, world};

/// The patient whose data is inside every view.
pub(crate) const PATIENT: &str = "ana";
/// The second patient of the practitioner.
const SECOND: &str = "eve";
/// Who has both in their care, and nobody else.
const DOCTOR: &str = "Practitioner/house";

const OBSERVATION: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
const CONDITION: &str = "http://terminology.hl7.org/CodeSystem/condition-category";

/// Whose app asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A patient's, with all rights on the record.
    Patient,
    /// A patient's, with granular scopes.
    Parts,
    /// A practitioner's.
    Practitioner,
}

/// What a world holds.
pub(crate) struct Content {
    /// Visible, the same in both worlds, in the order of loading.
    pub(crate) visible: Vec<Json>,
    /// Hidden, in each world others.
    pub(crate) hidden: [Vec<Json>; 2],
    /// A further version of something visible that takes it out of the view: another text in each world.
    pub(crate) leaving: [Vec<Json>; 2],
}

impl Asker {
    pub(crate) fn content(self, random: &mut Random) -> Content {
        let visible = match self {
            Asker::Patient => world::patient(random, PATIENT, 40),
            Asker::Parts => self.inside(world::patient(random, PATIENT, 40)),
            Asker::Practitioner => {
                let mut both = self.inside(world::patient(random, PATIENT, 25));
                both.extend(self.inside(world::patient(random, SECOND, 15)));
                both
            }
        };
        let mut few = hidden(random, &[("bo", 10)]);
        let mut many = hidden(random, &[("bo", 14), ("chloe", 25), ("dov", 12)]);
        let mut leaving = [Vec::new(), Vec::new()];
        if self == Asker::Parts {
            few.extend(Self::outside(random, 5));
            many.extend(Self::outside(random, 20));
            let moved = |random: &mut Random| {
                let mut moved = world::observation(random, PATIENT, 7); // one that is visible so far
                categorise(&mut moved, OBSERVATION, "laboratory");
                moved
            };
            leaving = [vec![moved(random)], vec![moved(random), moved(random)]];
        }
        Content { visible, hidden: [few, many], leaving }
    }

    /// The token, minted in one world.
    pub(crate) fn client(self, server: &TestServer) -> Client {
        match self {
            Asker::Patient => server.with_scope("patient/*.cruds patient/AuditEvent.rs", Some(PATIENT)),
            Asker::Parts => {
                let scope = format!(
                    "patient/Observation.cruds?category={OBSERVATION}|vital-signs \
                     patient/Condition.rs?category={CONDITION}|problem-list-item patient/Patient.rs patient/Encounter.rs \
                     patient/Device.r patient/Practitioner.rs patient/Organization.rs patient/Location.rs"
                );
                server.with_scope(&scope, Some(PATIENT))
            }
            Asker::Practitioner => {
                server.command(&["user", "add", "house", "--fhir-user", DOCTOR]);
                let scope = "user/*.cruds user/AuditEvent.rs";
                let token = server.command(&["token", "--scope", scope, "--user", "house", "--ttl", "1h"]);
                server.anonymous().with_token(token.trim())
            }
        }
    }

    /// A resource that a request writes: often one that its writer may write.
    pub(crate) fn written(self, resource: &mut Json, random: &mut Random) {
        if self == Asker::Parts && random.chance(60) && resource.str("resourceType") == Some("Observation") {
            categorise(resource, OBSERVATION, random.word(&["vital-signs", "vital-signs", "laboratory"]));
        }
    }

    /// What makes generated data visible.
    fn inside(self, mut resources: Vec<Json>) -> Vec<Json> {
        for resource in &mut resources {
            match (self, resource.str("resourceType")) {
                (Asker::Parts, Some("Observation")) => categorise(resource, OBSERVATION, "vital-signs"),
                (Asker::Parts, Some("Condition")) => categorise(resource, CONDITION, "problem-list-item"),
                (Asker::Practitioner, Some("Patient")) => {
                    let doctor = array![object! { "reference": DOCTOR }];
                    resource.as_object_mut().expect("a resource is an object").insert("generalPractitioner", doctor);
                }
                _ => {}
            }
        }
        resources
    }

    /// The visible patient's own data that the condition of a scope hides.
    fn outside(random: &mut Random, observations: usize) -> Vec<Json> {
        let laboratory = |number: usize, random: &mut Random| {
            let mut resource = world::observation(random, PATIENT, 100 + number);
            match number % 3 {
                0 => {} // without a category
                1 => categorise(&mut resource, OBSERVATION, "laboratory"),
                _ => categorise(&mut resource, "urn:other", "vital-signs"),
            }
            resource
        };
        (0..observations).map(|number| laboratory(number, random)).collect()
    }
}

/// The directory, the same in both worlds.
pub(crate) fn directory(random: &mut Random) -> Vec<Json> {
    let mut directory = world::directory(random);
    let id = DOCTOR.trim_start_matches("Practitioner/");
    directory.push(object! { "resourceType": "Practitioner", "id": id, "name": array![object! { "family": "House" }] });
    directory
}

/// Patients that the view does not hold, each first the patient and then the data.
fn hidden(random: &mut Random, patients: &[(&str, usize)]) -> Vec<Json> {
    let mut resources = Vec::new();
    for (patient, observations) in patients {
        resources.extend(world::patient(random, patient, *observations));
    }
    resources.push(object! { "resourceType": "Basic", "id": "nobodys", "code": object! { "text": "hidden" } });
    resources.push(world::observation(random, patients[0].0, 999));
    resources
}

fn categorise(resource: &mut Json, system: &str, code: &str) {
    let coding = object! { "system": system, "code": code };
    let category = array![object! { "coding": array![coding] }];
    resource.as_object_mut().expect("a resource is an object").insert("category", category);
}
