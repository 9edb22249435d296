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

/// The patients to choose among.
#[derive(Default)]
pub(super) struct Choices {
    /// By name, at most [`MAX_SHOWN`].
    pub(super) shown: Vec<Choice>,
    /// How many there are besides.
    pub(super) more: usize,
}

/// Whether there is nothing to choose, because the person is the patient.
pub(super) fn is_own_record(person: &Person) -> bool {
    matches!(person.fhir_user, Some(FhirUser::Patient(_)))
}

/// The patients of a person by name.
pub(super) async fn choices(app: &App, person: &Person) -> Result<Choices, OAuthError> {
    let Some(user) = &person.fhir_user else { return Ok(Choices::default()) };
    let ids = access::patients_of(app, user).await.map_err(|error| server_error(&error))?;
    let more = ids.len().saturating_sub(MAX_SHOWN);
    let mut shown = Vec::new();
    for id in ids.into_iter().take(MAX_SHOWN) {
        let read = app.store.read(&View::system(), "Patient", &id).await.map_err(|error| server_error(&error))?;
        let patient = read.filter(|stored| !stored.deleted).and_then(|stored| Json::parse(stored.body.as_bytes()).ok());
        if let Some(patient) = patient {
            let birth_date = in_words(patient.str("birthDate").unwrap_or_default());
            shown.push(Choice { name: name_of(&patient).unwrap_or_else(|| format!("Patient {id}")), birth_date, id });
        }
    }
    shown.sort_by(|one, other| (one.name.to_lowercase(), &one.id).cmp(&(other.name.to_lowercase(), &other.id)));
    Ok(Choices { shown, more })
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

/// `1815-12-10` as "10 December 1815"; years and months as they are.
fn in_words(date: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let mut parts = date.split('-');
    let year = parts.next().unwrap_or_default();
    let month = parts.next().and_then(|month| MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?));
    let day = parts.next().map(|day| day.trim_start_matches('0'));
    match (month, day) {
        (Some(month), Some(day)) => format!("{day} {month} {year}"),
        (Some(month), None) => format!("{month} {year}"),
        (None, _) => date.to_owned(),
    }
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

    #[test]
    fn dates_are_told_in_words() {
        let told = ["1815-12-10", "1990-02-05", "1962-07", "1950", ""].map(in_words);
        assert_eq!(told, ["10 December 1815", "5 February 1990", "July 1962", "1950", ""]);
    }
}
