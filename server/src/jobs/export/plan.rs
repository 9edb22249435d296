//! In which order an export reads what it is of.
//!
//! | of | works of each type |
//! |---|---|
//! | the system | all |
//! | all patients | what lies in a compartment; of types that are shared by all, all that is of nobody |
//! | some patients | what lies in their compartments, a part of them after the other; with `_since`, of shared types what changed |
//!
//! Of some patients, what their resources refer to outside of the compartments comes last: each once, and what it refers
//! to in turn; not with `_since`, as what changed of it is among all that did. The plan follows from the request, whom its
//! caller reaches and the state at one instant, so it is the same after a crash.

use search::compartment::{in_patient_compartment, is_shared};
use store::{Among, Members};

use super::Run;
use crate::error::Error;
use crate::rest::operation::export::{Of, group};

/// What one reading goes through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Of a type all that the view holds, as far as it is kept.
    Type(String, Keep),
    /// Of a type what lies in the compartments of a part of the patients.
    Part(String, usize),
    /// What was referred to.
    References,
}

/// Which resources of a type are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// All.
    All,
    /// What is data of patients.
    OfPatients,
    /// What is data of nobody.
    OfNobody,
}

/// The works of an export.
pub(super) struct Plan {
    works: Vec<Work>,
    members: Members,
}

impl Keep {
    pub(super) fn takes(self, of_patient: bool) -> bool {
        match self {
            Keep::All => true,
            Keep::OfPatients => of_patient,
            Keep::OfNobody => !of_patient,
        }
    }
}

impl Plan {
    pub(super) async fn new(run: &Run<'_>) -> Result<Self, Error> {
        let patients = patients(run).await?;
        let members = match &patients {
            Some(patients) => run.app.store.members(&run.view, patients).await?,
            None => Members::default(),
        };
        let parts = patients.is_some().then(|| members.parts());
        let is_system = run.asked.of == Of::System;
        let mut works: Vec<Work> =
            run.asked.types.iter().flat_map(|it| works(it, is_system, parts, run.asked.since.is_some())).collect();
        if run.follows() {
            works.push(Work::References);
        }
        Ok(Plan { works, members })
    }

    pub(super) fn work(&self, number: usize) -> Option<&Work> {
        self.works.get(number)
    }

    pub(super) fn part(&self, number: usize) -> Among<'_> {
        Among::Part(&self.members, number)
    }
}

/// The works of a type; `parts`: how many parts the patients have, where they are some.
fn works(resource_type: &str, is_system: bool, parts: Option<usize>, changed_only: bool) -> Vec<Work> {
    let of_type = |keep| Work::Type(resource_type.to_owned(), keep);
    let (is_shared, is_data) = (is_shared(resource_type), in_patient_compartment(resource_type));
    match parts {
        None if is_system || (is_shared && is_data) => vec![of_type(Keep::All)],
        None => vec![of_type(if is_shared { Keep::OfNobody } else { Keep::OfPatients })],
        Some(parts) => {
            let parts = (0..parts).filter(|_| is_data).map(|part| Work::Part(resource_type.to_owned(), part));
            parts.chain((is_shared && changed_only).then(|| of_type(Keep::OfNobody))).collect()
        }
    }
}

/// The patients, where they are some: those of the request, as far as they are in the Group then.
async fn patients(run: &Run<'_>) -> Result<Option<Vec<String>>, Error> {
    let Of::Group(id) = &run.asked.of else {
        return Ok(run.asked.patients.clone().or_else(|| run.confined().map(<[String]>::to_vec)));
    };
    let found = run.app.store.state_of(&run.view, "Group", std::slice::from_ref(id), run.at).await?;
    let Some(held) = found.first() else {
        return Err(Error::gone(format!("Group/{id} was not there at the instant of the export")));
    };
    let resource = fhir::json::Json::parse(held.stored.body.as_bytes()).map_err(Error::internal)?;
    let mut members = group::members(&resource, run.at, &run.app.config.fhir_base())?;
    if let Some(asked) = &run.asked.patients {
        members.retain(|member| asked.binary_search(member).is_ok());
    }
    Ok(Some(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_of_types() {
        let of = |name: &str, parts, changed_only| works(name, false, parts, changed_only);
        let one = |name: &str, keep| vec![Work::Type(name.into(), keep)];
        assert_eq!(works("Basic", true, None, false), one("Basic", Keep::All));
        assert_eq!(of("Observation", None, true), one("Observation", Keep::OfPatients));
        assert_eq!(of("Practitioner", None, true), one("Practitioner", Keep::OfNobody));
        assert_eq!(of("Device", None, false), one("Device", Keep::All));
        assert_eq!(of("Practitioner", Some(2), false), []);
        assert_eq!(of("Practitioner", Some(2), true), one("Practitioner", Keep::OfNobody));
        let parts = |name: &str| vec![Work::Part(name.into(), 0), Work::Part(name.into(), 1)];
        assert_eq!(of("Observation", Some(2), true), parts("Observation"));
        assert_eq!(of("Device", Some(2), false), parts("Device"));
        assert_eq!(of("Observation", Some(0), false), []);
    }
}
