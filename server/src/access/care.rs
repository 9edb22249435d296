//! Which patients a person may see (LK-40).

use fhir::json::Json;
use fhir::reference::Reference;
use search::parse::{Options, parse};
use search::query::Query;
use search::view::View;
use smart::grant::FhirUser;
use store::Stored;

use crate::app::App;
use crate::error::Error;

/// Most patients of one practitioner; more are not visible through `user/` scopes.
const MAX_PATIENTS: usize = 1000;

/// Logical ids, sorted: of a patient their own; of a practitioner the patients who name them as general practitioner,
/// or whose active care team has them as a participant.
pub async fn patients_of(app: &App, user: &FhirUser) -> Result<Vec<String>, Error> {
    let practitioner = match user {
        FhirUser::Patient(id) => return Ok(vec![id.clone()]),
        FhirUser::Practitioner(_) => user.to_string(),
    };
    let own = found(app, "Patient", "general-practitioner", &practitioner).await?;
    let mut patients: Vec<String> = own.into_iter().map(|patient| patient.id).collect();
    let base = app.config.fhir_base();
    for team in found(app, "CareTeam", "participant", &practitioner).await? {
        let Ok(team) = Json::parse(team.body.as_bytes()) else { continue };
        patients.extend(patient_of_team(&team, &base));
    }
    patients.sort_unstable();
    patients.dedup();
    patients.truncate(MAX_PATIENTS);
    Ok(patients)
}

async fn found(app: &App, resource_type: &str, parameter: &str, practitioner: &str) -> Result<Vec<Stored>, Error> {
    let query = query(app, resource_type, parameter, practitioner)?;
    Ok(app.store.search(&View::system(), &query).await?.matches)
}

fn query(app: &App, resource_type: &str, parameter: &str, value: &str) -> Result<Query, Error> {
    let options = Options {
        base: app.config.fhir_base(),
        default_count: MAX_PATIENTS,
        max_count: MAX_PATIENTS,
        lenient: false,
        now: app.clock.now(),
    };
    let parsed = parse(resource_type, &[(parameter.to_owned(), value.to_owned())], &options);
    parsed.map(|parsed| parsed.query).map_err(|issues| Error::internal(format!("{issues:?}")))
}

/// The patient whom an active care team is for.
fn patient_of_team(team: &Json, base: &str) -> Option<String> {
    if !matches!(team.str("status"), None | Some("active")) {
        return None;
    }
    let subject = team.at(&["subject", "reference"]).and_then(Json::as_str)?;
    match Reference::parse(subject, base) {
        Reference::Local { resource_type, id, .. } if resource_type == "Patient" => Some(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::object;

    #[test]
    fn lk_40_only_active_teams_of_patients_count() {
        let team = |status: &str, subject: &str| {
            let subject = object! { "reference": subject };
            patient_of_team(&object! { "status": status, "subject": subject }, "https://server.example/fhir")
        };
        assert_eq!(team("active", "Patient/p1"), Some("p1".to_owned()));
        assert_eq!(team("active", "https://server.example/fhir/Patient/p1"), Some("p1".to_owned()));
        for (status, subject) in [
            ("inactive", "Patient/p1"),
            ("entered-in-error", "Patient/p1"),
            ("active", "Group/p1"),
            ("active", "https://other.example/fhir/Patient/p1"),
        ] {
            assert_eq!(team(status, subject), None, "{status} {subject}");
        }
    }
}
