//! Who is in a Group: `Group.member`. <https://hl7.org/fhir/R4/group.html>
//!
//! A member counts who is not `inactive` and whose `period`, where it is known, holds the instant.

use fhir::date::DateTime;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use fhir::reference::Reference;

use crate::error::Error;

/// Logical ids of the patients who are members at an instant (microseconds since 1970), sorted; references below `base`
/// are this server's. 422 where the Group has no list of members.
pub fn members(group: &Json, at: i64, base: &str) -> Result<Vec<String>, Error> {
    if group.get("actual").and_then(Json::as_bool) != Some(true) {
        let text = "Group.actual is not true: the Group describes who could be in it and lists nobody";
        return Err(Error::unprocessable(Issue::error(IssueCode::BusinessRule, text)));
    }
    let patients = group.list("member").iter().filter(|member| is_in(member, at));
    let mut patients: Vec<String> = patients
        .filter_map(|member| {
            let reference = member.at(&["entity", "reference"]).and_then(Json::as_str)?;
            match Reference::parse(reference, base) {
                Reference::Local { resource_type, id, .. } if resource_type == "Patient" => Some(id),
                _ => None,
            }
        })
        .collect();
    patients.sort_unstable();
    patients.dedup();
    Ok(patients)
}

fn is_in(member: &Json, at: i64) -> bool {
    let bound = |name| member.at(&["period", name]).and_then(Json::as_str);
    // A bound that cannot be read lets nobody in.
    let begun = bound("start").is_none_or(|text| DateTime::parse(text).is_some_and(|it| it.interval().0 <= at));
    let lasts = bound("end").is_none_or(|text| DateTime::parse(text).is_some_and(|it| it.interval().1 >= at));
    member.get("inactive").and_then(Json::as_bool) != Some(true) && begun && lasts
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::{array, object};

    #[test]
    fn members_count_while_they_are_members() {
        let member = |id: &str| object! { "entity": object! { "reference": format!("Patient/{id}") } };
        let with = |id: &str, name: &str, value: Json| {
            let mut member = member(id);
            if let Some(object) = member.as_object_mut() {
                object.insert(name, value);
            }
            member
        };
        let period = |start: &str, end: &str| object! { "start": start, "end": end };
        let group = object! { "resourceType": "Group", "actual": true, "member": array![
            member("b"),
            member("a"),
            member("a"),
            object! { "entity": object! { "reference": "http://s/fhir/Patient/c" } },
            object! { "entity": object! { "reference": "http://else/fhir/Patient/d" } },
            object! { "entity": object! { "reference": "Group/e" } },
            with("f", "inactive", true.into()),
            with("g", "inactive", false.into()),
            with("h", "period", period("2020", "2021-06")),
            with("i", "period", period("2020", "2021-05-31")),
            with("j", "period", period("2021-06-02", "2022")),
            with("k", "period", object! { "start": "2021" }),
            with("l", "period", object! { "end": "soon" }),
        ]};
        let at = DateTime::parse("2021-06-01T12:00:00Z").unwrap().start();
        assert_eq!(members(&group, at, "http://s/fhir").unwrap(), ["a", "b", "c", "g", "h", "k"]);
        for actual in [object! {}, object! { "actual": false, "member": array![member("a")] }] {
            assert_eq!(members(&actual, at, "").unwrap_err().status(), 422);
        }
    }
}
