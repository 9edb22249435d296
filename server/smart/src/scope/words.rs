//! Scopes in the words of the consent page (OA-18).

use super::{Level, ResourceScope, ResourceTypes, Right, Rights, Scope, parts};

/// What granting a scope is about: lines of one group stand together, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// To see records.
    See(Level),
    /// To add to them, change or delete them, and perhaps to see them.
    Change(Level),
    /// To learn who the person is, and what is open.
    Context,
    /// To stay connected.
    Duration,
}

/// One line of the consent page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Under which heading it stands.
    pub group: Group,
    /// What is asked, in a few words.
    pub title: String,
    /// What that means, where heading and title do not say it all.
    pub detail: String,
    /// Whether it covers everything, and so deserves a warning.
    pub everything: bool,
}

/// Says what granting a scope means.
pub fn describe(scope: &Scope) -> Description {
    let plain = |group, title: &str, detail: &str| Description {
        group,
        title: title.to_owned(),
        detail: detail.to_owned(),
        everything: false,
    };
    let context = |title, detail| plain(Group::Context, title, detail);
    match scope {
        Scope::OpenId => context("Who you are", "The app learns an identifier of your account."),
        Scope::FhirUser => context("Your role", "The app learns which patient or practitioner record is yours."),
        Scope::Launch => context("What was open", "The app learns which record was open when it was started."),
        Scope::LaunchPatient => context("Whose record it is", "The app learns which patient was chosen."),
        Scope::LaunchEncounter => context("Which visit it is about", "The app learns which visit was chosen."),
        Scope::OfflineAccess => plain(
            Group::Duration,
            "Keep access when you are away",
            "The app can renew its access by itself, without you, for at most a year. You can end that at any time.",
        ),
        Scope::OnlineAccess => plain(
            Group::Duration,
            "Stay connected while you are signed in",
            "The app can renew its access until you sign out or leave for a while.",
        ),
        Scope::Resource(scope) => describe_resource(scope),
    }
}

/// A type of resources as people call it, in the plural where there is one.
pub fn name_of(resource_type: &str) -> String {
    let known = NAMES.iter().find(|(name, _)| *name == resource_type);
    known.map_or_else(|| spelled_out(resource_type), |(_, words)| (*words).to_owned())
}

/// The common types as people call them.
const NAMES: [(&str, &str); 22] = [
    ("AllergyIntolerance", "allergies"),
    ("Appointment", "appointments"),
    ("CarePlan", "care plans"),
    ("CareTeam", "care teams"),
    ("Claim", "insurance claims"),
    ("Condition", "health problems"),
    ("Coverage", "insurance"),
    ("Device", "devices"),
    ("DiagnosticReport", "reports"),
    ("DocumentReference", "documents"),
    ("Encounter", "visits"),
    ("Goal", "goals"),
    ("Immunization", "vaccinations"),
    ("Location", "places"),
    ("Medication", "medicines"),
    ("MedicationRequest", "prescriptions"),
    ("Observation", "measurements and results"),
    ("Organization", "clinics and other organizations"),
    ("Patient", "name, contact and personal details"),
    ("Practitioner", "doctors and other professionals"),
    ("Procedure", "procedures"),
    ("QuestionnaireResponse", "answers to questionnaires"),
];

fn describe_resource(scope: &ResourceScope) -> Description {
    let everything = scope.types == ResourceTypes::All;
    let changes = Rights::WRITE.intersect(scope.rights).is_some();
    let mut detail = Vec::new();
    if changes {
        detail.push(format!("{}.", capitalised(&verbs(scope.rights))));
    }
    if everything {
        detail.push("Every kind of record, also kinds that are added later.".to_owned());
    }
    if !scope.constraint.is_empty() {
        let conditions: Vec<String> =
            scope.constraint.pairs().iter().map(|(name, value)| format!("{name} is {}", last_part(value))).collect();
        let known = match (&scope.types, scope.constraint.pairs().as_slice()) {
            (ResourceTypes::Named(name), [(parameter, value)]) if parameter == "category" => {
                parts::title_of(name, value)
            }
            _ => None,
        };
        detail.push(match known {
            Some(known) => format!("Only these: {}.", uncapitalised(known)),
            None => format!("Only where {}.", conditions.join(" and ")),
        });
    }
    Description {
        group: if changes { Group::Change(scope.level) } else { Group::See(scope.level) },
        title: match &scope.types {
            ResourceTypes::All => "The whole record".to_owned(),
            ResourceTypes::Named(name) => capitalised(&name_of(name)),
        },
        detail: detail.join(" "),
        everything,
    }
}

/// "see", "add and change", …
fn verbs(rights: Rights) -> String {
    let sees = rights.contains(Right::Read) || rights.contains(Right::Search);
    let verbs = [
        (sees, "see"),
        (rights.contains(Right::Create), "add"),
        (rights.contains(Right::Update), "change"),
        (rights.contains(Right::Delete), "delete"),
    ];
    let words: Vec<&str> = verbs.iter().filter(|(given, _)| *given).map(|(_, word)| *word).collect();
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// "`RiskAssessment`" as "risk assessment".
fn spelled_out(resource_type: &str) -> String {
    let mut words = String::new();
    for letter in resource_type.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

fn uncapitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// The code of `system|code`.
fn last_part(value: &str) -> &str {
    value.rsplit('|').next().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Description {
        describe(&Scope::parse(text).expect("valid scope"))
    }

    #[test]
    fn oa_18_scopes_are_told_in_plain_words() {
        let sees = words("patient/Observation.rs");
        assert_eq!((sees.group, sees.title.as_str()), (Group::See(Level::Patient), "Measurements and results"));
        assert_eq!(sees.detail, "");
        let changes = words("user/*.cruds");
        assert_eq!((changes.group, changes.title.as_str()), (Group::Change(Level::User), "The whole record"));
        assert!(changes.detail.starts_with("See, add, change and delete."), "{}", changes.detail);
        assert_eq!(words("patient/RiskAssessment.c").title, "Risk assessment");
        assert_eq!(words("patient/CarePlan.c").detail, "Add.");
    }

    #[test]
    fn oa_18_the_whole_record_is_warned_of() {
        assert!(words("patient/*.r").everything && words("user/*.cruds").everything);
        assert!(!words("patient/Observation.cruds").everything);
        assert!(words("patient/*.rs").detail.contains("also kinds that are added later"), "SM-27");
    }

    #[test]
    fn reading_stands_before_changing_and_one_patient_before_many() {
        let (one, many) = (Level::Patient, Level::User);
        assert!(Group::See(one) < Group::See(many) && Group::See(many) < Group::Change(one));
        assert!(Group::Change(many) < Group::Context && Group::Context < Group::Duration);
    }

    #[test]
    fn granular_scopes_name_their_condition() {
        let scope =
            Scope::parse("patient/Observation.rs?category=http://example.org/cs|laboratory").expect("valid scope");
        assert_eq!(describe(&scope).detail, "Only where category is laboratory.");
        let known =
            "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory";
        assert_eq!(words(known).detail, "Only these: laboratory results.");
    }
}
