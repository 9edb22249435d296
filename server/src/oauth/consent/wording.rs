//! What the consent page says: scopes under headings, and what the app will not get. (OA-18)

use std::collections::BTreeMap;

use smart::scope::parts::parts_of;
use smart::scope::words::{self, Description, Group};
use smart::scope::{Level, ResourceTypes, Right, Rights, Scope, ScopeSet};

/// Kinds of records that people ask about first; those that an app does not ask for are named as examples.
const SENSITIVE: [&str; 5] =
    ["Condition", "MedicationRequest", "DocumentReference", "AllergyIntolerance", "Observation"];

/// Scopes under one heading.
pub(super) struct Heading {
    /// The heading.
    pub(super) title: &'static str,
    /// What stands below it.
    pub(super) lines: Vec<Line>,
}

/// One scope to tick.
pub(super) struct Line {
    /// As it was asked.
    pub(super) scope: String,
    /// In plain words.
    pub(super) words: Description,
    /// Whether it is ticked when the page opens.
    pub(super) is_ticked: bool,
    /// What can be given instead of all of it (SM-26).
    pub(super) parts: Vec<PartLine>,
}

/// One part of a scope to tick.
pub(super) struct PartLine {
    /// The granular scope.
    pub(super) scope: String,
    /// In plain words.
    pub(super) title: &'static str,
    /// Whether it is ticked when the page opens.
    pub(super) is_ticked: bool,
}

impl Line {
    fn of(scope: &Scope, ticked: Option<&ScopeSet>) -> Self {
        let part = |part: smart::scope::parts::Part| PartLine {
            is_ticked: ticked.is_some_and(|ticked| ticked.contains(&part.scope)),
            scope: part.scope.to_string(),
            title: part.title,
        };
        Line {
            scope: scope.to_string(),
            words: words::describe(scope),
            is_ticked: ticked.is_none_or(|ticked| ticked.contains(scope)),
            parts: parts_of(scope).into_iter().map(part).collect(),
        }
    }

    /// Whether the parts are open to see when the page opens.
    pub(super) fn has_ticked_parts(&self) -> bool {
        self.parts.iter().any(|part| part.is_ticked)
    }
}

/// The scopes in the order in which they matter; `is_limited` where the app reaches a list of patients only. Once the person has ticked something, that stays ticked alone.
pub(super) fn headings(
    scopes: &ScopeSet,
    ticked: Option<&ScopeSet>,
    is_own_record: bool,
    is_limited: bool,
) -> Vec<Heading> {
    let mut groups: BTreeMap<Group, Vec<Line>> = BTreeMap::new();
    for scope in scopes.iter() {
        let line = Line::of(scope, ticked);
        groups.entry(line.words.group).or_default().push(line);
    }
    groups.into_iter().map(|(group, lines)| Heading { title: title(group, is_own_record, is_limited), lines }).collect()
}

/// What the app will not do, should all that it asks for be allowed; each completes "The app will not …".
pub(super) fn limits(scopes: &ScopeSet, is_own_record: bool) -> Vec<String> {
    let mut limits = vec!["learn your password".to_owned()];
    limits.push(
        match (scopes.has_level(Level::User), is_own_record) {
            (true, _) => "see records that you may not see yourself",
            (false, true) => "see anybody else's record",
            (false, false) => "see the records of other patients",
        }
        .to_owned(),
    );
    limits.extend(unseen(scopes));
    let rights: Vec<Rights> = scopes.resources().filter_map(|scope| Rights::WRITE.intersect(scope.rights)).collect();
    if rights.is_empty() {
        limits.push("add, change or delete anything".to_owned());
    } else if !rights.iter().any(|rights| rights.contains(Right::Delete)) {
        limits.push("delete anything".to_owned());
    }
    if !scopes.contains(&Scope::OfflineAccess) && !scopes.contains(&Scope::OnlineAccess) {
        limits.push("keep its access for longer than an hour".to_owned());
    }
    limits
}

/// The part of the record that is not asked for, with examples.
fn unseen(scopes: &ScopeSet) -> Option<String> {
    let seen: Vec<_> = scopes
        .resources()
        .filter(|scope| scope.rights.contains(Right::Read) || scope.rights.contains(Right::Search))
        .collect();
    if seen.iter().any(|scope| scope.types == ResourceTypes::All) {
        return None;
    }
    if seen.is_empty() {
        return Some("see anything in the record".to_owned());
    }
    let is_seen = |name: &&str| seen.iter().any(|scope| scope.types.contains(name));
    let examples: Vec<String> =
        SENSITIVE.iter().filter(|name| !is_seen(name)).take(3).map(|name| words::name_of(name)).collect();
    Some(match examples.split_last() {
        Some((last, [])) => format!("see the rest of the record, such as {last}"),
        Some((last, rest)) => format!("see the rest of the record, such as {} or {last}", rest.join(", ")),
        None => "see the rest of the record".to_owned(),
    })
}

fn title(group: Group, is_own_record: bool, is_limited: bool) -> &'static str {
    match (group, is_own_record) {
        (Group::See(Level::Patient), true) => "It wants to see in your record",
        (Group::See(Level::Patient), false) => "It wants to see in the patient's record",
        (Group::See(_), _) if is_limited => "It wants to see in the records of these patients",
        (Group::See(_), _) => "It wants to see in every record that you may see",
        (Group::Change(Level::Patient), true) => "It wants to change your record",
        (Group::Change(Level::Patient), false) => "It wants to change the patient's record",
        (Group::Change(_), _) if is_limited => "It wants to change the records of these patients",
        (Group::Change(_), _) => "It wants to change every record that you may see",
        (Group::Context, _) => "It wants to know",
        (Group::Duration, _) => "It wants to stay connected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> ScopeSet {
        ScopeSet::parse(text).expect("valid scopes")
    }

    #[test]
    fn oa_18_scopes_stand_under_headings() {
        let asked = scopes("offline_access patient/Observation.rs launch/patient patient/Condition.cud patient/Goal.r");
        let ticked = scopes("patient/Goal.r");
        let headings = headings(&asked, Some(&ticked), true, false);
        let titles: Vec<_> = headings.iter().map(|heading| (heading.title, heading.lines.len())).collect();
        let expected = [
            ("It wants to see in your record", 2),
            ("It wants to change your record", 1),
            ("It wants to know", 1),
            ("It wants to stay connected", 1),
        ];
        assert_eq!(titles, expected);
        let lines = headings.iter().flat_map(|heading| &heading.lines);
        let kept: Vec<_> = lines.filter(|line| line.is_ticked).map(|line| line.scope.as_str()).collect();
        assert_eq!(kept, ["patient/Goal.r"]);
    }

    #[test]
    fn what_is_not_asked_is_said() {
        let said = limits(&scopes("patient/Observation.rs patient/Condition.rs"), true);
        let expected = [
            "learn your password",
            "see anybody else's record",
            "see the rest of the record, such as prescriptions, documents or allergies",
            "add, change or delete anything",
            "keep its access for longer than an hour",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn what_is_asked_is_not_denied() {
        let said = limits(&scopes("user/*.cruds offline_access"), false);
        assert_eq!(said, ["learn your password", "see records that you may not see yourself"]);
        let said = limits(&scopes("patient/*.rs patient/Observation.c online_access"), false);
        assert_eq!(said, ["learn your password", "see the records of other patients", "delete anything"]);
    }
}
