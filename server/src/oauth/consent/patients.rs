//! The patients among whom a person may choose at consent.

use fhir::json::Json;
use search::view::View;
use smart::error::OAuthError;
use smart::grant::{FhirUser, Person};

use crate::access;
use crate::app::App;
use crate::oauth::error::server_error;

/// Most patients shown.
const MAX_SHOWN: usize = 200;

/// One patient to choose.
pub(super) struct Choice {
    /// Logical id.
    pub(super) id: String,
    /// Name for people.
    pub(super) name: String,
    /// What tells namesakes apart.
    pub(super) birth_date: String,
}

/// Whether there is nothing to choose, because the person is the patient.
pub(super) fn is_own_record(person: &Person) -> bool {
    matches!(person.fhir_user, Some(FhirUser::Patient(_)))
}

/// The patients of a person by name.
pub(super) async fn choices(app: &App, person: &Person) -> Result<Vec<Choice>, OAuthError> {
    let Some(user) = &person.fhir_user else { return Ok(Vec::new()) };
    let ids = access::patients_of(app, user).await.map_err(|error| server_error(&error))?;
    let mut choices = Vec::new();
    for id in ids.into_iter().take(MAX_SHOWN) {
        let read = app.store.read(&View::system(), "Patient", &id).await.map_err(|error| server_error(&error))?;
        let patient = read.filter(|stored| !stored.deleted).and_then(|stored| Json::parse(stored.body.as_bytes()).ok());
        if let Some(patient) = patient {
            let birth_date = patient.str("birthDate").unwrap_or_default().to_owned();
            choices.push(Choice { name: name_of(&patient).unwrap_or_else(|| format!("Patient {id}")), birth_date, id });
        }
    }
    choices.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(choices)
}

/// `HumanName.text`, or given names and family name.
fn name_of(patient: &Json) -> Option<String> {
    let name = patient.list("name").first()?;
    if let Some(text) = name.str("text") {
        return Some(text.to_owned());
    }
    let parts = name.list("given").iter().filter_map(Json::as_str).chain(name.str("family"));
    let text = parts.collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::{array, object};

    #[test]
    fn names_are_put_together_from_their_parts() {
        let name = object! { "given": array!["Ada", "M."], "family": "Lovelace" };
        assert_eq!(name_of(&object! { "name": array![name] }), Some("Ada M. Lovelace".to_owned()));
        let text = object! { "text": "Ada", "family": "Lovelace" };
        assert_eq!(name_of(&object! { "name": array![text] }), Some("Ada".to_owned()));
        assert_eq!(name_of(&object! {}), None);
    }
}
