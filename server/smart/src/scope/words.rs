//! Scopes in the words of the consent page (OA-18).

use super::{Level, ResourceScope, ResourceTypes, Right, Rights, Scope};

/// One line of the consent page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What is asked, in a short sentence.
    pub title: String,
    /// What that means, where the title does not say it all.
    pub detail: String,
    /// Whether it deserves a warning: the whole record, or a right to change it.
    pub warning: bool,
}

/// Says what granting a scope means.
pub fn describe(scope: &Scope) -> Description {
    let plain =
        |title: &str, detail: &str| Description { title: title.to_owned(), detail: detail.to_owned(), warning: false };
    match scope {
        Scope::OpenId => plain("Know who you are", "The app learns an identifier of your account."),
        Scope::FhirUser => plain("Know your role", "The app learns which patient or practitioner record is yours."),
        Scope::Launch => plain("Open in its context", "The app learns which record was open when it was started."),
        Scope::LaunchPatient => plain("Know whose record it shows", "The app learns which patient was chosen."),
        Scope::LaunchEncounter => plain("Know which visit it shows", "The app learns which encounter was chosen."),
        Scope::OfflineAccess => {
            plain("Keep access when you are away", "The app can renew its access until you withdraw it.")
        }
        Scope::OnlineAccess => {
            plain("Stay connected while you are signed in", "The app can renew its access until you sign out.")
        }
        Scope::Resource(scope) => describe_resource(scope),
    }
}

fn describe_resource(scope: &ResourceScope) -> Description {
    let what = match &scope.types {
        ResourceTypes::All => "the whole record".to_owned(),
        ResourceTypes::Named(name) => format!("{} ({name})", words_of(name)),
    };
    let whose = match scope.level {
        Level::Patient => "of the chosen patient",
        Level::User => "of everyone whose records you may see",
        Level::System => "of all patients",
    };
    let mut detail = Vec::new();
    if scope.types == ResourceTypes::All {
        detail.push("This covers every kind of record, also kinds that are added later.".to_owned());
    }
    if !scope.constraint.is_empty() {
        let conditions: Vec<String> =
            scope.constraint.pairs().iter().map(|(name, value)| format!("{name} is {}", last_part(value))).collect();
        detail.push(format!("Only where {}.", conditions.join(" and ")));
    }
    let changes = Rights::WRITE.intersect(scope.rights).is_some();
    Description {
        title: format!("{} {what} {whose}", verbs(scope.rights)),
        detail: detail.join(" "),
        warning: changes || scope.types == ResourceTypes::All,
    }
}

/// "See", "Add and change", …
fn verbs(rights: Rights) -> String {
    let sees = rights.contains(Right::Read) || rights.contains(Right::Search);
    let verbs = [
        (sees, "see"),
        (rights.contains(Right::Create), "add to"),
        (rights.contains(Right::Update), "change"),
        (rights.contains(Right::Delete), "delete"),
    ];
    let words: Vec<&str> = verbs.iter().filter(|(given, _)| *given).map(|(_, word)| *word).collect();
    let text = match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    };
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// "`MedicationRequest`" as "medication request", the common ones as people call them.
fn words_of(resource_type: &str) -> String {
    match resource_type {
        "Observation" => "measurements and results".to_owned(),
        "Condition" => "health problems".to_owned(),
        "AllergyIntolerance" => "allergies".to_owned(),
        "MedicationRequest" => "prescriptions".to_owned(),
        "Patient" => "name, contact and personal details".to_owned(),
        "Encounter" => "visits".to_owned(),
        "DiagnosticReport" => "reports".to_owned(),
        "DocumentReference" => "documents".to_owned(),
        "Immunization" => "vaccinations".to_owned(),
        _ => {
            let mut words = String::new();
            for letter in resource_type.chars() {
                if letter.is_ascii_uppercase() && !words.is_empty() {
                    words.push(' ');
                }
                words.push(letter.to_ascii_lowercase());
            }
            words
        }
    }
}

/// The code of `system|code`.
fn last_part(value: &str) -> &str {
    value.rsplit('|').next().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn title(text: &str) -> String {
        describe(&Scope::parse(text).expect("valid scope")).title
    }

    #[test]
    fn oa_18_scopes_are_told_in_plain_words() {
        assert_eq!(title("patient/Observation.rs"), "See measurements and results (Observation) of the chosen patient");
        assert_eq!(
            title("user/*.cruds"),
            "See, add to, change and delete the whole record of everyone whose records you may see"
        );
        assert_eq!(title("patient/CarePlan.c"), "Add to care plan (CarePlan) of the chosen patient");
    }

    #[test]
    fn oa_18_whole_record_and_writing_are_warned_of() {
        let warns = |text: &str| describe(&Scope::parse(text).expect("valid scope")).warning;
        assert!(warns("patient/*.r") && warns("patient/Observation.u"));
        assert!(!warns("patient/Observation.rs"));
    }

    #[test]
    fn granular_scopes_name_their_condition() {
        let scope =
            Scope::parse("patient/Observation.rs?category=http://example.org/cs|laboratory").expect("valid scope");
        assert_eq!(describe(&scope).detail, "Only where category is laboratory.");
    }
}
