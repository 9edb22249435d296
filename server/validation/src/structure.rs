//! One walk over a resource along its definition. <https://hl7.org/fhir/R4/json.html>
//!
//! Nothing is allocated while all is well, except for the stack of the path; texts are made for issues only.

use crate::{MAX_ISSUES, primitive};
use fhir::definitions::{Element, Kind, Primitive, TypeDefinition, is_resource_type, r4, resource_types};
use fhir::json::{Json, MAX_DEPTH, Object};
use fhir::narrative;
use fhir::nearest::nearest_one;
use fhir::outcome::{Issue, IssueCode};
use std::fmt::Write as _;

/// How many type names a message lists.
const MAX_LISTED: usize = 12;

pub(crate) fn check(resource: &Json) -> Vec<Issue> {
    let mut walk = Walk { path: Vec::with_capacity(16), issues: Vec::new() };
    walk.resource(resource, None, false);
    if walk.is_full() {
        let text = format!("checking ended after {} issues: there may be more", walk.issues.len());
        walk.issues.push(Issue::information(IssueCode::Incomplete, text));
    }
    walk.issues
}

struct Walk {
    path: Vec<(&'static str, Option<usize>)>,
    issues: Vec<Issue>,
}

/// A member of an object, found in the definition.
struct Member<'a> {
    name: &'a str,
    element: &'static Element,
    definition: &'static TypeDefinition,
    value: Option<&'a Json>,
    /// The `_` member beside it.
    sibling: Option<&'a Json>,
}

impl Walk {
    /// `expected` is the type of the element that the resource stands in.
    fn resource(&mut self, resource: &Json, expected: Option<&TypeDefinition>, contained: bool) {
        let Some(object) = resource.as_object() else {
            return self.add(IssueCode::Structure, "a resource must be an object".into());
        };
        let Some(name) = object.get("resourceType").and_then(Json::as_str) else {
            return self
                .add(IssueCode::Structure, "\"resourceType\" is missing: it names the type, as \"Patient\"".into());
        };
        let Some(definition) = r4().get(name).filter(|_| is_resource_type(name)) else {
            let names = resource_types().iter().map(String::as_str);
            let text = format!("\"{}\" is not a resource type of FHIR R4{}", short(name), suggestion(name, names));
            return self.add(IssueCode::Structure, text);
        };
        if let Some(expected) = expected.filter(|expected| !r4().is_subtype(name, &expected.name)) {
            return self.add(IssueCode::Structure, format!("{name} stands where {} is expected", expected.name));
        }
        let outermost = self.path.is_empty();
        if outermost {
            self.path.push((&definition.name, None));
        }
        if contained && object.get("contained").is_some() {
            self.add(
                IssueCode::Invariant,
                "a contained resource must not contain others: contain them beside it".into(),
            );
        }
        self.object(object, definition);
        if outermost {
            self.path.pop();
        }
    }

    fn object(&mut self, object: &Object, definition: &'static TypeDefinition) {
        if self.path.len() > MAX_DEPTH {
            return self.add(IssueCode::TooCostly, format!("nested deeper than {MAX_DEPTH} levels"));
        }
        if object.is_empty() {
            return self.add(IssueCode::Structure, "an object must have members; leave the element out instead".into());
        }
        let has_siblings = object.iter().any(|(name, _)| name.starts_with('_'));
        let mut seen = 0_u128;
        for (written, json) in object.iter() {
            if self.is_full() {
                return;
            }
            if written == "resourceType" && definition.kind == Kind::Resource {
                continue;
            }
            let name = written.strip_prefix('_').unwrap_or(written);
            let is_sibling = name.len() < written.len();
            let found = definition.member_at(name).and_then(|(index, element, element_type)| {
                let definition = r4().definition(element_type)?;
                (definition.primitive.is_some() || !is_sibling).then_some((index, element, definition))
            });
            let Some((index, element, target)) = found else {
                self.add(IssueCode::Structure, unknown_member(written, definition));
                continue;
            };
            let member = if is_sibling {
                if object.get(name).is_some() {
                    continue;
                }
                Member { name, element, definition: target, value: None, sibling: Some(json) }
            } else {
                let sibling = if has_siblings { target.primitive.and_then(|_| sibling_of(object, name)) } else { None };
                Member { name, element, definition: target, value: Some(json), sibling }
            };
            let bit = 1_u128 << index;
            if seen & bit != 0 {
                let text = format!("{}[x] is given twice: it may have one type only", element.name);
                self.path.push((&element.name, None));
                self.add(IssueCode::Structure, text);
                self.path.pop();
            }
            seen |= bit;
            self.member(&member);
        }
        self.required(definition, seen);
    }

    /// Elements that must be there and are not.
    fn required(&mut self, definition: &'static TypeDefinition, seen: u128) {
        for (index, element) in definition.elements.iter().enumerate() {
            if element.min > 0 && seen & (1 << index) == 0 {
                self.path.push((&element.name, None));
                let (name, types) = (&element.name, type_names(element));
                self.add(IssueCode::Required, format!("{name} is missing: {} must have it ({types})", definition.name));
                self.path.pop();
            }
        }
    }

    fn member(&mut self, member: &Member<'_>) {
        let element = member.element;
        if !element.repeats() {
            self.path.push((&element.name, None));
            if matches!(member.value, Some(Json::Array(_))) || matches!(member.sibling, Some(Json::Array(_))) {
                self.add(IssueCode::Structure, format!("{} does not repeat: an array may not stand here", member.name));
            } else {
                self.value(member, member.value, member.sibling);
            }
            self.path.pop();
            return;
        }
        let (Some(values), Some(siblings)) = (items(member.value), items(member.sibling)) else {
            self.path.push((&element.name, None));
            self.add(IssueCode::Structure, format!("{} repeats: it must be an array, also of one item", member.name));
            self.path.pop();
            return;
        };
        let count = values.len().max(siblings.len());
        if let Some(text) = count_issue(member, values.len(), siblings.len()) {
            self.path.push((&element.name, None));
            self.add(IssueCode::Structure, text);
            self.path.pop();
        }
        for index in 0..count {
            if self.is_full() {
                return;
            }
            self.path.push((&element.name, Some(index)));
            self.value(member, values.get(index), siblings.get(index));
            self.path.pop();
        }
    }

    /// One occurrence of an element.
    fn value(&mut self, member: &Member<'_>, value: Option<&Json>, sibling: Option<&Json>) {
        let definition = member.definition;
        if let Some(primitive) = definition.primitive {
            return self.primitive(member, primitive, value, sibling);
        }
        match value {
            Some(json) if definition.kind == Kind::Resource => {
                self.resource(json, Some(definition), member.name == "contained");
            }
            Some(Json::Object(object)) => self.object(object, definition),
            _ => {
                let text = format!("an object is expected here: {}", type_names(member.element));
                self.add(IssueCode::Structure, text);
            }
        }
    }

    fn primitive(&mut self, member: &Member<'_>, primitive: Primitive, value: Option<&Json>, sibling: Option<&Json>) {
        let in_array = member.element.repeats();
        let is_null = |json: Option<&Json>| json.is_none_or(|json| *json == Json::Null);
        let bare_null = |json: Option<&Json>| !in_array && json == Some(&Json::Null);
        if bare_null(value) || bare_null(sibling) || (is_null(value) && is_null(sibling)) {
            let text = "null may only stand in an array of primitives, beside a value or an extension".into();
            return self.add(IssueCode::Structure, text);
        }
        if let Some(value) = value.filter(|value| **value != Json::Null) {
            if let Err(text) = primitive::check(primitive, value) {
                self.add(IssueCode::Value, text);
            } else if let (Primitive::Xhtml, Some(div)) = (primitive, value.as_str())
                && let Err(text) = narrative::check(div)
            {
                self.add(IssueCode::Invalid, text);
            }
        }
        match sibling {
            None | Some(Json::Null) => {}
            Some(Json::Object(object)) if object.get("value").is_none() && object.get("_value").is_none() => {
                self.object(object, member.definition);
            }
            Some(_) => {
                let text = format!("\"_{}\" must be an object with \"id\" or \"extension\"", member.name);
                self.add(IssueCode::Structure, text);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.issues.len() + 1 >= MAX_ISSUES
    }

    fn add(&mut self, code: IssueCode, text: String) {
        if self.is_full() {
            return;
        }
        let mut issue = Issue::error(code, text);
        if !self.path.is_empty() {
            issue = issue.at(self.expression());
        }
        self.issues.push(issue);
    }

    fn expression(&self) -> String {
        let mut text = String::new();
        for (name, index) in &self.path {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(name);
            if let Some(index) = index {
                let _ = write!(text, "[{index}]");
            }
        }
        text
    }
}

fn sibling_of<'a>(object: &'a Object, name: &str) -> Option<&'a Json> {
    object.iter().find(|(written, _)| written.strip_prefix('_') == Some(name)).map(|(_, json)| json)
}

/// The items of an array, or none if there is nothing; no answer for what is no array.
fn items(json: Option<&Json>) -> Option<&[Json]> {
    match json {
        None => Some(&[]),
        Some(Json::Array(items)) => Some(items),
        Some(_) => None,
    }
}

fn count_issue(member: &Member<'_>, values: usize, siblings: usize) -> Option<String> {
    let (name, element) = (member.name, member.element);
    let count = values.max(siblings);
    if (member.value.is_some() && values == 0) || (member.sibling.is_some() && siblings == 0) {
        return Some(format!("{name} is an empty array; leave the element out instead"));
    }
    if member.value.is_some() && member.sibling.is_some() && values != siblings {
        return Some(format!("{name} has {values} items and _{name} {siblings}: they must match, with null as filler"));
    }
    if element.max.is_some_and(|max| count > max as usize) {
        return Some(format!("{name} has {count} items, at most {} are allowed", element.max.unwrap_or_default()));
    }
    if count < element.min as usize {
        return Some(format!("{name} has {count} items, at least {} are needed", element.min));
    }
    None
}

fn unknown_member(written: &str, definition: &TypeDefinition) -> String {
    let name = written.strip_prefix('_').unwrap_or(written);
    if name.len() < written.len() && definition.member(name).is_some() {
        return format!("\"{written}\": only a primitive has such a sibling, {name} is none");
    }
    let mut text = format!("\"{}\" is not an element of {}", short(written), definition.name);
    match definition.element(name).filter(|element| element.choice) {
        Some(element) => {
            let names: Vec<String> = element
                .types
                .iter()
                .take(MAX_LISTED)
                .map(|element_type| format!("\"{}\"", element.member_name(element_type)))
                .collect();
            let more = if element.types.len() > MAX_LISTED { " …" } else { "" };
            let _ = write!(text, "; its name says its type: {}{more}", names.join(", "));
        }
        None => text.push_str(&suggestion(name, definition.member_names())),
    }
    text
}

fn suggestion<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    nearest_one(name, names).map_or_else(String::new, |nearest| format!("; did you mean \"{nearest}\"?"))
}

fn type_names(element: &Element) -> String {
    let codes: Vec<&str> = element.types.iter().take(MAX_LISTED).map(|it| it.code.as_str()).collect();
    codes.join(", ")
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests;
