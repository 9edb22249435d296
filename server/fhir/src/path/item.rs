//! Items of a collection: elements of a document, borrowed, and computed values.

use std::borrow::Cow;

use super::types::{FhirType, SystemType, TypeSpecifier, is_subtype};
use super::value::{self, Value};
use crate::date::{DateTime, Precision};
use crate::definitions::{self, Kind, Primitive};
use crate::json::{Json, Object};
use crate::ucum;

use super::number::Number;

/// Stands for the value of an element that has extensions only, and for a resource that is known by type only.
static ABSENT: Json = Json::Null;

/// One item of the result of an expression.
#[derive(Clone, Debug)]
pub struct Item<'a>(pub(super) Repr<'a>);

#[derive(Clone, Debug)]
pub(super) enum Repr<'a> {
    Element(Element<'a>),
    Value(Value<'a>),
}

/// An element of a document and its type, as far as the definitions know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) json: &'a Json,
    /// `_name` of a primitive.
    pub(super) sibling: Option<&'a Json>,
    pub(super) fhir_type: Option<FhirType>,
    /// The resource that it is in, or that it is, for references from there; of one that is contained the container.
    pub(super) resource: Option<&'a Json>,
}

impl<'a> Item<'a> {
    /// A resource, or an element of unknown type.
    pub fn resource(json: &'a Json) -> Item<'a> {
        Item::contained(json, json)
    }

    /// A resource contained in another, or in itself.
    pub(super) fn contained(json: &'a Json, container: &'a Json) -> Item<'a> {
        let fhir_type = json.str("resourceType").and_then(|name| definitions::r4().get(name));
        Item(Repr::Element(Element { json, sibling: None, fhir_type, resource: Some(container) }))
    }

    /// An element of the type `type_name`.
    pub fn element(json: &'a Json, type_name: &str) -> Item<'a> {
        let fhir_type = definitions::r4().get(type_name);
        Item(Repr::Element(Element { json, sibling: None, fhir_type, resource: None }))
    }

    /// A text of type `System.String`.
    pub fn text(text: &'a str) -> Item<'a> {
        Item(Repr::Value(Value::text(text)))
    }

    /// The JSON form: borrowed for elements, `null` for an element that has extensions only.
    pub fn json(&self) -> Cow<'a, Json> {
        match &self.0 {
            Repr::Element(element) => Cow::Borrowed(element.json),
            Repr::Value(value) => Cow::Owned(value.to_json()),
        }
    }

    /// The JSON of an element of the document; nothing for a computed value.
    pub fn as_element(&self) -> Option<&'a Json> {
        if let Repr::Element(element) = &self.0 { Some(element.json) } else { None }
    }

    /// `_name` beside a primitive: its id and extensions.
    pub fn sibling(&self) -> Option<&'a Json> {
        if let Repr::Element(element) = &self.0 { element.sibling } else { None }
    }

    /// The FHIR type (`Quantity`, `code`, `Observation.component`, `Patient`), `System.String` and the like for
    /// computed values, `Element` where the definitions know none.
    pub fn type_name(&self) -> &str {
        match &self.0 {
            Repr::Element(element) => element.fhir_type.map_or("Element", |fhir_type| &fhir_type.name),
            Repr::Value(value) => value.system_type().qualified_name(),
        }
    }

    /// The text of a primitive, or of a computed value as `toString()` gives it; nothing for elements with children.
    pub fn to_text(&self) -> Option<Cow<'a, str>> {
        match &self.0 {
            Repr::Element(element) => match element.json {
                Json::String(text) | Json::Number(text) => Some(Cow::Borrowed(text)),
                Json::Bool(value) => Some(if *value { "true" } else { "false" }.into()),
                _ => None,
            },
            Repr::Value(value) => Some(value.to_text().into()),
        }
    }

    /// The value of a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self.value()? {
            Value::Boolean(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn of(value: Value<'a>) -> Item<'a> {
        Item(Repr::Value(value))
    }

    /// A resource of which only the type is known.
    pub(super) fn of_type(fhir_type: FhirType) -> Item<'static> {
        Item(Repr::Element(Element { json: &ABSENT, sibling: None, fhir_type: Some(fhir_type), resource: None }))
    }

    /// The value as a system type; nothing for elements with children, quantities apart.
    pub(super) fn value(&self) -> Option<Value<'a>> {
        match &self.0 {
            Repr::Value(value) => Some(value.clone()),
            Repr::Element(element) => element.value(),
        }
    }

    /// Appends the children named `name`. Returns whether the type has such an element, true where that is not known.
    pub(super) fn push_children(&self, name: &str, out: &mut Vec<Item<'a>>) -> bool {
        match &self.0 {
            Repr::Element(element) => element.push_children(name, out),
            Repr::Value(value) => push_parts(value, name, out),
        }
    }

    /// Appends the children of a choice that `name` names with their type: `valueDateTime`. Returns whether there is such
    /// a choice.
    pub(super) fn push_choice(&self, name: &str, out: &mut Vec<Item<'a>>) -> bool {
        let Repr::Element(element) = &self.0 else { return false };
        let found = element.fhir_type.and_then(|fhir_type| fhir_type.member(name)).filter(|(found, _)| found.choice);
        let Some((choice, _)) = found else { return false };
        if element.members().is_some_and(|object| object.get(name).is_some() || sibling_of(object, name).is_some()) {
            element.push_children(&choice.name, out);
        }
        true
    }

    /// Appends all children; one of a primitive is its value. <https://hl7.org/fhir/R4/fhirpath.html#types>
    pub(super) fn push_all_children(&self, out: &mut Vec<Item<'a>>) {
        let Repr::Element(element) = &self.0 else { return };
        if element.is_primitive() {
            out.extend(element.value().map(Item::of));
        }
        let Some(object) = element.members() else { return };
        for (name, json) in object.iter() {
            if let Some(bare) = name.strip_prefix('_') {
                if object.get(bare).is_none() {
                    let fhir_type = element.member_type(bare);
                    element.push_values(&ABSENT, Some(json), fhir_type, out);
                }
            } else if name != "resourceType" {
                element.push_values(json, sibling_of(object, name), element.member_type(name), out);
            }
        }
    }

    pub(super) fn is(&self, specifier: &TypeSpecifier) -> bool {
        match &self.0 {
            Repr::Element(element) => {
                let types = element.fhir_type.zip(specifier.fhir);
                types.is_some_and(|(fhir_type, wanted)| is_subtype(fhir_type, wanted))
            }
            Repr::Value(value) => {
                specifier.system.is_some_and(|system| system == SystemType::Any || system == value.system_type())
            }
        }
    }

    /// The value, of a primitive too, if it is of this type of FHIRPath.
    pub(super) fn cast(self, system: SystemType) -> Option<Item<'a>> {
        let value = match self.0 {
            Repr::Value(value) => Some(value),
            Repr::Element(element) if element.is_primitive() => element.value(),
            Repr::Element(_) => None,
        };
        value.filter(|value| system == SystemType::Any || value.system_type() == system).map(Item::of)
    }

    /// As [`is`](Self::is), but a primitive type is not taken for the one that it specialises: a `code` is no `string`.
    pub(super) fn is_exactly(&self, specifier: &TypeSpecifier) -> bool {
        match &self.0 {
            Repr::Element(Element { fhir_type: Some(fhir_type), .. }) if fhir_type.kind == Kind::Primitive => {
                specifier.fhir.is_some_and(|wanted| std::ptr::eq(*fhir_type, wanted))
            }
            _ => self.is(specifier),
        }
    }
}

impl<'a> Element<'a> {
    /// The names of its members in the document, and the children that each of them is.
    pub(super) fn children_by_member(&self) -> Vec<(&'a str, Vec<Item<'a>>)> {
        let Some(object) = self.members() else { return Vec::new() };
        let named = object.iter().filter_map(|(name, json)| {
            let mut children = Vec::new();
            match name.strip_prefix('_') {
                Some(bare) if object.get(bare).is_some() => return None,
                Some(bare) => self.push_values(&ABSENT, Some(json), self.member_type(bare), &mut children),
                None => self.push_values(json, sibling_of(object, name), self.member_type(name), &mut children),
            }
            Some((name.strip_prefix('_').unwrap_or(name), children))
        });
        named.collect()
    }

    /// The members that hold its children: of a primitive, those of `_name`.
    pub(super) fn members(&self) -> Option<&'a Object> {
        self.json.as_object().or_else(|| self.sibling?.as_object())
    }

    fn is_primitive(&self) -> bool {
        self.fhir_type.is_some_and(|fhir_type| fhir_type.kind == Kind::Primitive)
    }

    fn member_type(&self, member: &str) -> Option<FhirType> {
        definitions::r4().definition(self.fhir_type?.member(member)?.1)
    }

    fn push_children(&self, name: &str, out: &mut Vec<Item<'a>>) -> bool {
        let Some(fhir_type) = self.fhir_type else {
            if let Some(object) = self.members() {
                self.push_untyped(object, name, out);
            }
            return true;
        };
        if fhir_type.kind == Kind::Primitive && name == "value" {
            out.extend(self.value().map(Item::of));
            return true;
        }
        let Some(element) = fhir_type.element(name) else { return false };
        let Some(object) = self.members() else { return true };
        if element.choice {
            for (member, json) in object.iter() {
                let (bare, sibling_only) = member.strip_prefix('_').map_or((member, false), |bare| (bare, true));
                if bare.len() <= name.len() || !bare.starts_with(name) {
                    continue;
                }
                let Some((found, element_type)) = fhir_type.member(bare) else { continue };
                if !std::ptr::eq(found, element) || (sibling_only && object.get(bare).is_some()) {
                    continue;
                }
                let value_type = definitions::r4().definition(element_type);
                if sibling_only {
                    self.push_values(&ABSENT, Some(json), value_type, out);
                } else {
                    self.push_values(json, sibling_of(object, bare), value_type, out);
                }
            }
            return true;
        }
        let value_type = element.types.first().and_then(|element_type| definitions::r4().definition(element_type));
        let primitive = value_type.is_none_or(|value_type| value_type.kind == Kind::Primitive);
        let sibling = if primitive { sibling_of(object, name) } else { None };
        match object.get(name) {
            Some(json) => self.push_values(json, sibling, value_type, out),
            None if sibling.is_some() => self.push_values(&ABSENT, sibling, value_type, out),
            None => {}
        }
        true
    }

    /// Appends the values of one member, each with its own sibling.
    fn push_values(
        &self,
        json: &'a Json,
        sibling: Option<&'a Json>,
        fhir_type: Option<FhirType>,
        out: &mut Vec<Item<'a>>,
    ) {
        let siblings = sibling.map_or(&[][..], Json::items);
        let values: &[Json] = if std::ptr::eq(json, &raw const ABSENT) { &[] } else { json.items() };
        // A resource in an entry or a parameter is one of its own, one in a resource is contained.
        let is_own = is_resource(fhir_type) && !is_resource(self.fhir_type);
        out.reserve(values.len().max(siblings.len()));
        for index in 0..values.len().max(siblings.len()) {
            let value = values.get(index).unwrap_or(&ABSENT);
            let sibling = siblings.get(index).filter(|sibling| **sibling != Json::Null);
            if *value == Json::Null && sibling.is_none() {
                continue;
            }
            let resource = if is_own { Some(value) } else { self.resource };
            let fhir_type = actual_type(value, fhir_type);
            out.push(Item(Repr::Element(Element { json: value, sibling, fhir_type, resource })));
        }
    }

    /// Children of an element without definition: members of this name, or of this name and that of a type.
    fn push_untyped(&self, object: &'a Object, name: &str, out: &mut Vec<Item<'a>>) {
        if let Some(json) = object.get(name) {
            self.push_values(json, sibling_of(object, name), None, out);
            return;
        }
        for (member, json) in object.iter() {
            let rest =
                member.strip_prefix(name).filter(|rest| rest.starts_with(|first: char| first.is_ascii_uppercase()));
            let Some(rest) = rest else { continue };
            let lower = format!("{}{}", rest[..1].to_ascii_lowercase(), &rest[1..]);
            let value_type = definitions::r4().get(rest).or_else(|| definitions::r4().get(&lower));
            if value_type.is_some() {
                self.push_values(json, sibling_of(object, member), value_type, out);
            }
        }
    }

    fn value(&self) -> Option<Value<'a>> {
        let primitive = self.fhir_type.and_then(|fhir_type| fhir_type.primitive);
        match (self.json, primitive) {
            (Json::Bool(value), _) => Some(Value::Boolean(*value)),
            (Json::Number(text), Some(Primitive::Decimal)) => Number::parse(text).map(Value::Decimal),
            (Json::Number(text), _) => {
                text.parse().ok().and_then(Value::integer).or_else(|| Number::parse(text).map(Value::Decimal))
            }
            (Json::String(text), Some(Primitive::Date)) => DateTime::parse(text).map(Value::Date),
            (Json::String(text), Some(Primitive::DateTime | Primitive::Instant)) => {
                DateTime::parse(text).map(Value::DateTime)
            }
            (Json::String(text), Some(Primitive::Time)) => value::parse_time(text),
            (Json::String(text), _) => Some(Value::text(&**text)),
            (Json::Object(object), None) if self.is_quantity() => quantity(object),
            _ => None,
        }
    }

    pub(super) fn is_quantity(&self) -> bool {
        self.fhir_type.is_some_and(|fhir_type| {
            fhir_type.name == "Quantity" || fhir_type.base.as_deref().is_some_and(|base| base == "Quantity")
        })
    }
}

/// The Quantity as one of FHIRPath: only with a code of UCUM, or without any unit. Of another system, or in words alone,
/// nothing is known of the unit. <https://hl7.org/fhir/R4/fhirpath.html#quantity>
fn quantity(object: &Object) -> Option<Value<'_>> {
    let number = Number::parse(object.get("value")?.as_number()?)?;
    let text = |name: &str| object.get(name).and_then(Json::as_str);
    match (text("system"), text("code"), text("unit")) {
        (Some(ucum::SYSTEM), Some(code), _) => match duration_word(code) {
            Some(word) => Some(Value::quantity(number, word, true)),
            None => ucum::validate(code).is_ok().then(|| Value::quantity(number, code, false)),
        },
        (None, None, None) => Some(Value::quantity(number, "1", false)),
        _ => None,
    }
}

/// The duration of the calendar that R4 takes a unit of UCUM for.
fn duration_word(code: &str) -> Option<&'static str> {
    match code {
        "a" => Some("year"),
        "mo" => Some("month"),
        "d" => Some("day"),
        "h" => Some("hour"),
        "min" => Some("minute"),
        "s" => Some("second"),
        _ => None,
    }
}

/// `_name` of an object, found without building that text.
fn sibling_of<'a>(object: &'a Object, name: &str) -> Option<&'a Json> {
    object
        .iter()
        .find(|(member, _)| member.len() == name.len() + 1 && member.strip_prefix('_') == Some(name))
        .map(|(_, json)| json)
}

fn is_resource(fhir_type: Option<FhirType>) -> bool {
    fhir_type.is_some_and(|fhir_type| fhir_type.kind == Kind::Resource)
}

/// Where any resource may stand, the resource says which it is.
fn actual_type(json: &Json, declared: Option<FhirType>) -> Option<FhirType> {
    match declared {
        Some(fhir_type) if fhir_type.kind == Kind::Resource => {
            json.str("resourceType").and_then(|name| definitions::r4().get(name)).or(declared)
        }
        declared => declared,
    }
}

/// Parts of a computed value.
fn push_parts<'a>(value: &Value<'a>, name: &str, out: &mut Vec<Item<'a>>) -> bool {
    let part = match (value, name) {
        (Value::Quantity(quantity), "value") => Value::Decimal(quantity.number),
        (Value::Quantity(quantity), "unit" | "code") => Value::text(quantity.unit.clone()),
        (Value::Type { namespace, .. }, "namespace") => Value::text(*namespace),
        (Value::Type { name, .. }, "name") => Value::text(name.clone()),
        _ => return false,
    };
    out.push(Item::of(part));
    true
}

/// The precision in digits of a date, time or number.
pub(super) fn precision_of(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Date(value) | Value::DateTime(value) => Some(super::temporal::digits(value.precision)),
        Value::Time(_, Precision::Fraction) => Some(9),
        Value::Time(_, precision) => Some(super::temporal::digits(*precision) - 8),
        Value::Decimal(number) => Some(number.scale.into()),
        Value::Integer(_) => Some(0),
        _ => None,
    }
}
