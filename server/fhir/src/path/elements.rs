//! Functions on elements and resources, most of them FHIR's own. <https://hl7.org/fhir/R4/fhirpath.html#functions>

use super::calls::Invocation;
use super::evaluator::{Evaluation, Items};
use super::functions::Function as F;
use super::item::{Item, Repr};
use super::references;
use super::types::is_subtype;
use super::value::Value;
use crate::definitions::{self, Kind, Primitive};
use crate::narrative;

pub(super) fn of_elements<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    let boolean = |value: bool| Ok(vec![Item::of(Value::Boolean(value))]);
    match call.call.function {
        F::Extension => extension(call),
        F::HasValue => boolean(matches!(call.input, [item] if is_primitive(item) && item.value().is_some())),
        F::GetValue => Ok(match call.input {
            [item] if is_primitive(item) => item.value().map(Item::of).into_iter().collect(),
            _ => Vec::new(),
        }),
        F::Children => children(call, call.input),
        F::Descendants => descendants(call),
        F::Type => {
            call.evaluator.charge(call.input.len())?;
            Ok(call.input.iter().map(type_of).collect())
        }
        F::Resolve => references::resolve(call),
        F::HtmlChecks => html_checks(call),
        F::ConformsTo => conforms_to(call),
        _ => Err(call.unsupported()),
    }
}

fn is_primitive(item: &Item<'_>) -> bool {
    match &item.0 {
        Repr::Element(element) => match element.fhir_type {
            Some(fhir_type) => fhir_type.kind == Kind::Primitive,
            None => element.json.as_object().is_none(),
        },
        Repr::Value(_) => true,
    }
}

/// Whether a narrative holds only what it may; nothing is said of elements that are no xhtml.
fn html_checks<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    let item = match call.input {
        [] => return Ok(Vec::new()),
        [item] => item,
        _ => return Err(call.invalid("wants a single item")),
    };
    let Repr::Element(element) = &item.0 else { return Ok(Vec::new()) };
    let is_xhtml = element.fhir_type.is_some_and(|fhir_type| fhir_type.primitive == Some(Primitive::Xhtml));
    let Some(div) = element.json.as_str().filter(|_| is_xhtml) else { return Ok(Vec::new()) };
    call.evaluator.charge(div.len() / 16)?;
    Ok(vec![Item::of(Value::Boolean(narrative::check(div).is_ok()))])
}

/// Extensions with this URL, of elements and of primitives alike.
fn extension<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    let Some(url) = call.text_argument(0)? else { return Ok(Vec::new()) };
    let mut extensions = Vec::new();
    for item in call.input {
        item.push_children("extension", &mut extensions);
    }
    call.evaluator.charge(call.input.len() + extensions.len())?;
    extensions.retain(|item| item.as_element().and_then(|json| json.str("url")) == Some(&*url));
    Ok(extensions)
}

fn children<'a>(call: &Invocation<'a, '_, '_>, items: &[Item<'a>]) -> Evaluation<'a> {
    let mut out = Vec::new();
    for item in items {
        item.push_all_children(&mut out);
    }
    call.evaluator.charge(items.len() + out.len())?;
    Ok(out)
}

fn descendants<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    let mut out: Items<'a> = Vec::new();
    let mut level = children(call, call.input)?;
    while !level.is_empty() {
        let next = children(call, &level)?;
        out.append(&mut level);
        level = next;
    }
    Ok(out)
}

fn type_of<'a>(item: &Item<'a>) -> Item<'a> {
    let (namespace, name) = match &item.0 {
        Repr::Value(value) => ("System", value.system_type().name()),
        Repr::Element(element) => ("FHIR", element.fhir_type.map_or("Element", |fhir_type| &*fhir_type.name)),
    };
    Item::of(Value::Type { namespace, name: name.into() })
}

/// Answers for the definitions of the specification: whoever is of the type conforms. Profiles need validation.
fn conforms_to<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    if call.input.len() > 1 {
        return Err(call.invalid("wants a single item"));
    }
    let ([item], Some(url)) = (call.input, call.text_argument(0)?) else { return Ok(Vec::new()) };
    let name = url.strip_prefix("http://hl7.org/fhir/StructureDefinition/");
    let Some(wanted) = name.and_then(|name| definitions::r4().get(name)) else { return Err(call.unsupported()) };
    let Repr::Element(element) = &item.0 else { return Err(call.unsupported()) };
    let conforms = element.fhir_type.is_some_and(|fhir_type| is_subtype(fhir_type, wanted));
    Ok(vec![Item::of(Value::Boolean(conforms))])
}
