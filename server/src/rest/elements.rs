//! Resources with some of their elements: `_summary`, `_elements`. <https://hl7.org/fhir/R4/search.html#summary>
//!
//! | asked | kept beside `id` and `meta` |
//! |---|---|
//! | `_summary=true` | what the definitions mark as summary, at every depth |
//! | `_summary=text` | `text` |
//! | `_summary=data` | all but `text` |
//! | `_elements` | what is named, whole |
//!
//! What is mandatory is always kept, and so are `implicitRules` and `modifierExtension`, without which the rest could
//! be read wrongly. Resources inside of resources stay whole. Whatever is cut is tagged `SUBSETTED`, and what bears the
//! tag is not accepted back. The stored text is passed as it is when nothing is asked.

use std::borrow::Cow;

use ::search::query::Elements;
use fhir::definitions::{Element, TypeDefinition, r4};
use fhir::json::{Json, Object};
use fhir::object;
use fhir::outcome::{Issue, IssueCode};

use crate::error::Error;

/// Where the tag is defined.
const TAG_SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";
/// The tag of a resource that is not whole.
const SUBSETTED: &str = "SUBSETTED";
/// What the rest cannot be read without.
const MODIFIERS: [&str; 2] = ["implicitRules", "modifierExtension"];
/// The members of an element that say nothing by themselves.
const ASIDE: [&str; 2] = ["id", "extension"];

/// The text of a resource with those of its elements that are asked for.
pub fn subset<'a>(body: &'a str, elements: &Elements) -> Result<Cow<'a, str>, Error> {
    if *elements == Elements::All {
        return Ok(Cow::Borrowed(body));
    }
    let resource = Json::parse_own(body.as_bytes()).map_err(Error::internal)?;
    Ok(Cow::Owned(cut(resource, elements).to_string()))
}

/// Refuses a resource that is not whole: writing it would delete what it lacks.
pub fn refuse_subsetted(resource: &Json) -> Result<(), Error> {
    let tags = resource.get("meta").map(|meta| meta.list("tag")).unwrap_or_default();
    if !tags.iter().any(is_subsetted) {
        return Ok(());
    }
    let resource_type = resource.str("resourceType").unwrap_or("Resource");
    let text = format!(
        "the resource is tagged {SUBSETTED}: it was read with _summary or _elements and lacks elements; read it whole and change that"
    );
    Err(Error::unprocessable(Issue::error(IssueCode::BusinessRule, text).at(format!("{resource_type}.meta.tag"))))
}

fn is_subsetted(tag: &Json) -> bool {
    tag.str("code") == Some(SUBSETTED) && tag.str("system") == Some(TAG_SYSTEM)
}

fn cut(resource: Json, elements: &Elements) -> Json {
    let definition = resource.str("resourceType").and_then(|name| r4().get(name));
    let (Some(definition), Json::Object(members)) = (definition, resource) else { return Json::Null };
    let mut kept = Object::new();
    for (name, value) in members.iter() {
        if matches!(name, "resourceType" | "id" | "meta") || MODIFIERS.contains(&name) {
            kept.insert(name, value.clone());
            continue;
        }
        let Some(element) = element_of(definition, name) else { continue };
        if *elements == Elements::Summary {
            keep_summary(definition, &members, (name, value), &mut kept);
        } else if is_asked(definition, element, name, elements) {
            kept.insert(name, value.clone());
        }
    }
    tag(&mut kept);
    Json::Object(kept)
}

/// Whether the element of the member `name` is kept whole.
fn is_asked(definition: &TypeDefinition, element: &Element, name: &str, elements: &Elements) -> bool {
    if element.min > 0 {
        return true;
    }
    match elements {
        Elements::All | Elements::Summary => true,
        Elements::Text => element.name == "text",
        Elements::Data => element.name != "text",
        Elements::Named(names) => names.iter().any(|asked| {
            let asked = match asked.split_once('.') {
                Some((type_name, rest)) if type_name == definition.name => rest,
                Some(_) => return false,
                None => asked,
            };
            asked.strip_suffix("[x]").unwrap_or(asked) == element.name || asked == name.trim_start_matches('_')
        }),
    }
}

/// The element of a member of the JSON form: `valueQuantity`, or `_birthDate`, which holds what is beside a primitive.
fn element_of<'a>(definition: &'a TypeDefinition, name: &str) -> Option<&'a Element> {
    definition.member(name).or_else(|| definition.member(name.strip_prefix('_')?)).map(|(element, _)| element)
}

/// Keeps what of a member belongs to the summary.
fn keep_summary(definition: &TypeDefinition, siblings: &Object, (name, value): (&str, &Json), kept: &mut Object) {
    let beside = name.strip_prefix('_');
    let Some((element, element_type)) = definition.member(beside.unwrap_or(name)) else { return };
    if !element.summary && element.min == 0 {
        return;
    }
    if let Some(bare) = beside {
        // Where there is a value, what is beside it is not of the summary; where there is none, it is all there is.
        let has_value = siblings.get(bare).is_some_and(|value| !value.items().contains(&Json::Null));
        if !has_value {
            kept.insert(name, value.clone());
        }
        return;
    }
    let inner = r4().definition(element_type).filter(|inner| is_cut(inner));
    let summary = match (inner, value) {
        (None, _) => Some(value.clone()),
        (Some(inner), Json::Array(items)) => {
            let items: Vec<Json> = items.iter().filter_map(|item| summary_of(inner, element, item)).collect();
            if items.is_empty() { None } else { Some(Json::Array(items)) }
        }
        (Some(inner), item) => summary_of(inner, element, item),
    };
    if let Some(summary) = summary {
        kept.insert(name, summary);
    }
}

/// Whether elements of the type are cut at all: extensions are not, nor are types without any summary.
fn is_cut(definition: &TypeDefinition) -> bool {
    let content = |element: &&Element| !ASIDE.contains(&element.name.as_str()) && !MODIFIERS.contains(&&*element.name);
    definition.primitive.is_none()
        && definition.name != "Extension"
        && definition.name != "Resource"
        && definition.elements.iter().filter(content).any(|element| element.summary)
}

/// What of one value belongs to the summary; a mandatory one does not vanish, nor does one that is extensions only.
fn summary_of(definition: &TypeDefinition, element: &Element, value: &Json) -> Option<Json> {
    let Json::Object(members) = value else { return Some(value.clone()) };
    let mut kept = Object::new();
    for (name, member) in members.iter() {
        if name == "resourceType" || MODIFIERS.contains(&name) {
            kept.insert(name, member.clone());
        } else {
            keep_summary(definition, members, (name, member), &mut kept);
        }
    }
    if !kept.is_empty() {
        return Some(Json::Object(kept));
    }
    let whole = element.min > 0 || members.iter().all(|(name, _)| ASIDE.contains(&name));
    whole.then(|| value.clone())
}

/// Says in `meta.tag` that the resource is not whole.
fn tag(resource: &mut Object) {
    let subsetted = object! { "system": TAG_SYSTEM, "code": SUBSETTED, "display": "subsetted" };
    let mut meta = match resource.remove("meta") {
        Some(Json::Object(meta)) => meta,
        _ => Object::new(),
    };
    let mut tags = match meta.remove("tag") {
        Some(Json::Array(tags)) => tags,
        _ => Vec::new(),
    };
    if !tags.iter().any(is_subsetted) {
        tags.push(subsetted);
    }
    meta.insert("tag", tags);
    let place = resource.iter().take_while(|(name, _)| matches!(*name, "resourceType" | "id")).count();
    resource.insert_at(place, "meta", meta);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENT: &str = r#"{"resourceType":"Patient","id":"a","meta":{"versionId":"1","tag":[{"code":"x"}]},
        "implicitRules":"http://r","text":{"status":"generated","div":"<div/>"},"contained":[{"resourceType":"Organization","id":"o"}],
        "modifierExtension":[{"url":"http://m","valueBoolean":true}],"extension":[{"url":"http://e","valueBoolean":true}],
        "name":[{"family":"F","_family":{"id":"1"},"given":["A",null],"_given":[null,{"id":"2"}],"extension":[{"url":"http://n"}]}],
        "_birthDate":{"extension":[{"url":"http://absent"}]},"photo":[{"data":"AAAA","title":"t"}],
        "communication":[{"language":{"text":"de"}}],"link":[{"id":"l","other":{"reference":"Patient/b"},"type":"seealso"}]}"#;

    fn names(elements: &Elements) -> Vec<String> {
        let cut = Json::parse(subset(PATIENT, elements).unwrap().as_bytes()).unwrap();
        assert_eq!(cut.at(&["meta"]).unwrap().list("tag").len(), 2, "{cut}");
        let names = cut.as_object().unwrap().iter().map(|(name, _)| name.to_owned());
        names
            .filter(|name| !["resourceType", "id", "meta", "implicitRules", "modifierExtension"].contains(&&**name))
            .collect()
    }

    #[test]
    fn nothing_asked_nothing_touched() {
        assert!(matches!(subset(PATIENT, &Elements::All).unwrap(), Cow::Borrowed(body) if body == PATIENT));
    }

    #[test]
    fn each_form_keeps_what_the_specification_says() {
        assert_eq!(names(&Elements::Summary), ["name", "_birthDate", "link"]);
        assert_eq!(names(&Elements::Text), ["text"]);
        assert!(!names(&Elements::Data).contains(&"text".to_owned()) && names(&Elements::Data).len() == 7);
        let named = |list: &[&str]| names(&Elements::Named(list.iter().map(|&name| name.to_owned()).collect()));
        assert_eq!(named(&["birthDate", "Patient.photo"]), ["_birthDate", "photo"]);
        assert_eq!(named(&["Observation.name", "gender"]), Vec::<String>::new());
    }

    #[test]
    fn choices_go_by_any_of_their_names() {
        let body = r#"{"resourceType":"Observation","id":"a","status":"final","code":{"text":"c"},"valueString":"v","note":[{"text":"n"}]}"#;
        for name in ["value", "value[x]", "valueString", "Observation.value"] {
            let cut = subset(body, &Elements::Named(vec![name.to_owned()])).unwrap().into_owned();
            assert!(cut.contains("valueString") && cut.contains("status") && cut.contains("code"), "{name}: {cut}");
            assert!(!cut.contains("note"), "{name}: {cut}");
        }
    }

    #[test]
    fn summaries_go_to_the_ground() {
        let cut = subset(PATIENT, &Elements::Summary).unwrap().into_owned();
        assert!(cut.contains(r#""name":[{"family":"F","given":["A",null],"_given":[null,{"id":"2"}]}]"#), "{cut}");
        assert!(cut.contains(r#""link":[{"other":{"reference":"Patient/b"},"type":"seealso"}]"#), "{cut}");
    }

    #[test]
    fn what_is_not_whole_does_not_come_back() {
        let cut = subset(PATIENT, &Elements::Text).unwrap().into_owned();
        let refused = refuse_subsetted(&Json::parse(cut.as_bytes()).unwrap()).unwrap_err();
        assert_eq!(refused.status(), 422);
        assert!(refuse_subsetted(&Json::parse(PATIENT.as_bytes()).unwrap()).is_ok());
    }

    /// Cutting never takes what the definitions demand: whatever is asked of HL7's examples, they stay valid.
    #[test]
    fn what_is_cut_is_still_valid() {
        use std::io::Read as _;
        let root = std::env::var_os("TRIBUTARY_TEST_DATA")
            .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").into(), std::path::PathBuf::from);
        let Ok(file) = std::fs::File::open(root.join("examples/r4-examples.ndjson.gz")) else {
            return println!("skipped: official examples (no test data)");
        };
        let mut lines = String::new();
        flate2::read::GzDecoder::new(file).read_to_string(&mut lines).unwrap();
        for line in lines.lines() {
            let before = faults(&Json::parse(line.as_bytes()).unwrap());
            for elements in [Elements::Summary, Elements::Text, Elements::Data, Elements::Named(vec!["id".into()])] {
                let cut = Json::parse(subset(line, &elements).unwrap().as_bytes()).unwrap();
                let new: Vec<_> = faults(&cut).into_iter().filter(|fault| !before.contains(fault)).collect();
                assert!(new.is_empty(), "{elements:?} {new:?} {cut}");
            }
        }
    }

    /// What is wrong with a resource and where, without positions in lists, which cutting moves.
    fn faults(resource: &Json) -> Vec<(IssueCode, Vec<String>)> {
        let place = |path: &String| path.split(['[', ']']).step_by(2).collect::<String>();
        let issues = validation::validate(resource).into_iter();
        issues.map(|issue| (issue.code, issue.expression.iter().map(place).collect())).collect()
    }
}
