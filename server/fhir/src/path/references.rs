//! `resolve()`. <https://hl7.org/fhir/R4/fhirpath.html#functions>

use super::calls::Invocation;
use super::evaluator::Evaluation;
use super::item::{Item, Repr};
use crate::definitions::{self, Kind};
use crate::json::Json;
use crate::reference;

/// What references point at: contained resources and entries of a bundle as they are; of other resources the type
/// alone is known, from the text of the reference, for nothing is fetched.
pub(super) fn resolve<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    let mut out = Vec::new();
    let environment = call.evaluator.environment;
    let root = environment.root_resource;
    for item in call.input {
        // A contained resource that is evaluated by itself is still contained in another.
        let home = match &item.0 {
            Repr::Element(element) => element.resource.filter(|home| !std::ptr::eq(*home, environment.resource)),
            Repr::Value(value) => {
                call.evaluator.meter.charge_text(value.size())?;
                None
            }
        };
        let home = home.unwrap_or(root);
        call.evaluator.charge(1 + home.list("contained").len() + root.list("entry").len())?;
        let Some(json) = item.as_element() else {
            out.extend(item.to_text().and_then(|text| resource_named(root, home, &text)));
            continue;
        };
        let text = json.as_str().or_else(|| json.str("reference"));
        let found = text.and_then(|text| resource_named(root, home, text));
        out.extend(found.or_else(|| json.str("type").and_then(of_type_named)));
    }
    Ok(out)
}

/// The resource that a reference in the resource `home` means; `root` is that, or the Bundle around it.
fn resource_named<'a>(root: &'a Json, home: &'a Json, text: &str) -> Option<Item<'a>> {
    if let Some(id) = text.strip_prefix('#') {
        if id.is_empty() {
            return Some(Item::resource(home));
        }
        let found = home.list("contained").iter().find(|contained| contained.str("id") == Some(id));
        return found.map(|contained| Item::contained(contained, home));
    }
    entry_named(root, home, text).or_else(|| reference::type_in(text).and_then(of_type_named))
}

/// The resource of the entry that a reference means. One that is relative begins where the `fullUrl` of its own entry
/// does; if that says nothing of a base, an entry with any base will do.
/// <https://hl7.org/fhir/R4/bundle.html#references>
fn entry_named<'a>(root: &'a Json, home: &'a Json, text: &str) -> Option<Item<'a>> {
    let entries = root.list("entry");
    let own = entries.iter().find(|entry| entry.get("resource").is_some_and(|own| std::ptr::eq(own, home)));
    let base = own.and_then(|entry| entry.str("fullUrl")).and_then(base_of);
    let is_meant = |url: &str| match (base, url.strip_suffix(text)) {
        (_, Some("")) => true,
        (Some(base), Some(before)) => base == before,
        (None, Some(before)) => before.ends_with('/') && !text.is_empty(),
        _ => false,
    };
    let entry = entries.iter().find(|entry| entry.str("fullUrl").is_some_and(is_meant));
    entry.and_then(|entry| entry.get("resource")).map(Item::resource)
}

/// `http://s/fhir/` of `http://s/fhir/Patient/1`; nothing of URNs and other URLs.
fn base_of(url: &str) -> Option<&str> {
    let resource_type = reference::type_in(url)?;
    let (before, _) = url.rsplit_once('/')?;
    before.strip_suffix(resource_type).filter(|base| base.ends_with('/'))
}

fn of_type_named<'a>(name: &str) -> Option<Item<'a>> {
    let fhir_type = definitions::r4().get(name).filter(|fhir_type| fhir_type.kind == Kind::Resource)?;
    Some(Item::of_type(fhir_type))
}
