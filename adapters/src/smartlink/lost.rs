//! What a claim says that SmartLink's format cannot carry: whatever is not the same in the claim read back.

use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use crate::time;

/// Elements of a Claim that are about its keeping here, not about what is billed.
const OURS: &[&str] = &["resourceType", "id", "meta", "text", "contained", "status", "implicitRules", "language"];

/// A warning for each element that does not come back.
pub(super) fn lost(claim: &Json, rebuilt: &Json) -> Vec<Issue> {
    let mut paths = Vec::new();
    for (name, value) in claim.as_object().into_iter().flat_map(fhir::json::Object::iter) {
        let is_default = name == "priority" && value.at(&["coding", "code"]).and_then(Json::as_str) == Some("normal");
        if !OURS.contains(&name) && !is_default {
            compare(value, rebuilt.get(name), &format!("Claim.{name}"), &mut paths);
        }
    }
    let issue = |path: String| {
        let text = "SmartLink's format cannot carry this; it stays in the Claim here and is not sent";
        Issue::warning(IssueCode::NotSupported, text).at(path)
    };
    paths.into_iter().map(issue).collect()
}

fn compare(told: &Json, back: Option<&Json>, path: &str, paths: &mut Vec<String>) {
    let Some(back) = back else { return paths.push(path.to_owned()) };
    match (told, back) {
        // Who is meant was sent as numbers and names; whether they were there was checked before.
        (Json::Object(_), _) if told.get("reference").is_some() => {}
        (Json::Object(members), Json::Object(_)) => {
            for (name, value) in members.iter() {
                let found = back.get(name);
                // A label beside a code, or an element's own id, says nothing of its own.
                if found.is_some() || !matches!(name, "display" | "id" | "userSelected") {
                    compare(value, found, &format!("{path}.{name}"), paths);
                }
            }
        }
        (Json::Array(items), Json::Array(others)) => {
            for (index, item) in items.iter().enumerate() {
                let same = match key(item) {
                    Some((name, key)) => nth(items, index, others, name, key),
                    None => others.get(index),
                };
                compare(item, same, &format!("{path}[{index}]"), paths);
            }
        }
        (Json::Number(one), Json::Number(other)) if Decimal::parse(one) == Decimal::parse(other) => {}
        (Json::String(one), Json::String(other)) if one == other || is_same_moment(one, other) => {}
        _ if told == back => {}
        _ => paths.push(path.to_owned()),
    }
}

/// What an item of a list is told apart by, where it is not its place.
fn key(item: &Json) -> Option<(&'static str, &str)> {
    let url = item.str("url").map(|url| ("url", url));
    url.or_else(|| item.str("system").map(|system| ("system", system)))
}

/// The item with the same key, counting those before it.
fn nth<'a>(items: &[Json], index: usize, others: &'a [Json], name: &str, key: &str) -> Option<&'a Json> {
    let before = items[..index].iter().filter(|item| item.str(name) == Some(key)).count();
    others.iter().filter(|other| other.str(name) == Some(key)).nth(before)
}

fn is_same_moment(one: &str, other: &str) -> bool {
    let micros = |text| time::moment(text, None).map(|moment| moment.micros);
    micros(one).is_ok() && micros(one) == micros(other)
}
