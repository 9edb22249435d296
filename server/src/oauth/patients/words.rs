//! Patients and visits in words.

use fhir::json::Json;

use super::Choice;

/// A patient: name, and when they were born.
pub fn of_patient(id: &str, patient: &Json) -> Choice {
    let born = date_in_words(patient.str("birthDate").unwrap_or_default());
    Choice {
        id: id.to_owned(),
        name: name_of(patient).unwrap_or_else(|| format!("Patient {id}")),
        detail: if born.is_empty() { String::new() } else { format!("born {born}") },
    }
}

/// A visit: what for, when, and whether it is over.
pub(super) fn of_visit(id: &str, visit: &Json) -> Choice {
    let concept = |concept: Option<&Json>| {
        let concept = concept?;
        concept.str("text").or_else(|| concept.at(&["coding", "display"]).and_then(Json::as_str)).map(str::to_owned)
    };
    let kind = concept(visit.list("type").first());
    let class = visit.at(&["class", "display"]).and_then(Json::as_str).map(str::to_owned);
    let start = visit.at(&["period", "start"]).and_then(Json::as_str).unwrap_or_default();
    let day = date_in_words(start.split('T').next().unwrap_or_default());
    let state = match visit.str("status") {
        Some("in-progress") => "going on",
        Some("planned") => "planned",
        Some("cancelled") => "cancelled",
        _ => "",
    };
    let detail: Vec<&str> = [day.as_str(), state].into_iter().filter(|part| !part.is_empty()).collect();
    Choice {
        id: id.to_owned(),
        name: kind.or(class).unwrap_or_else(|| format!("Visit {id}")),
        detail: detail.join(", "),
    }
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
fn date_in_words(date: &str) -> String {
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
        let told = ["1815-12-10", "1990-02-05", "1962-07", "1950", ""].map(date_in_words);
        assert_eq!(told, ["10 December 1815", "5 February 1990", "July 1962", "1950", ""]);
    }

    #[test]
    fn visits_are_told_by_kind_and_day() {
        let visit = object! {
            "status": "in-progress", "type": array![object! { "text": "Check-up" }],
            "period": object! { "start": "2026-03-04T10:00:00Z" },
        };
        let told = of_visit("e1", &visit);
        assert_eq!((told.name.as_str(), told.detail.as_str()), ("Check-up", "4 March 2026, going on"));
        let plain = of_visit("e2", &object! { "class": object! { "display": "ambulatory" } });
        assert_eq!((plain.name.as_str(), plain.detail.as_str()), ("ambulatory", ""));
    }
}
