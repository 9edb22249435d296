//! `resolve()`. <https://hl7.org/fhir/R4/fhirpath.html#functions>

use super::calls::Invocation;
use super::evaluator::Evaluation;
use super::item::{Home, Item, Repr};
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
        let home = match &item.0 {
            Repr::Element(element) => element.home,
            Repr::Value(_) => Home::default(),
        };
        // A contained resource that is evaluated by itself is still contained in another.
        let own = home.resource.filter(|resource| !std::ptr::eq(*resource, environment.resource));
        let home = Home { resource: Some(own.unwrap_or(root)), ..home };
        let contained = home.resource.map_or(0, |resource| resource.list("contained").len());
        call.evaluator.charge(1 + contained + root.list("entry").len())?;
        if let Repr::Value(value) = &item.0 {
            call.evaluator.meter.charge_text(value.size())?;
        }
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

/// The resource that a reference means which stands at `home`, in a Bundle if `root` is one.
fn resource_named<'a>(root: &'a Json, home: Home<'a>, text: &str) -> Option<Item<'a>> {
    if let Some(id) = text.strip_prefix('#') {
        let container = home.resource?;
        if id.is_empty() {
            return Some(Item::resource_at(container, home));
        }
        let found = container.list("contained").iter().find(|contained| contained.str("id") == Some(id));
        return found.map(|contained| Item::resource_at(contained, home));
    }
    entry_named(root, home, text).or_else(|| reference::type_in(text).and_then(of_type_named))
}

/// The resource of the entry that a reference means. One that is relative begins where the `fullUrl` of its own entry
/// does; if that says nothing of a base, an entry with any base will do.
/// <https://hl7.org/fhir/R4/bundle.html#references>
fn entry_named<'a>(root: &'a Json, home: Home<'a>, text: &str) -> Option<Item<'a>> {
    let base = home.entry.and_then(|entry| entry.str("fullUrl")).and_then(base_of);
    let is_meant = |url: &str| match (base, url.strip_suffix(text)) {
        (_, Some("")) => true,
        (Some(base), Some(before)) => base == before,
        (None, Some(before)) => before.ends_with('/') && !text.is_empty(),
        _ => false,
    };
    let entry = root.list("entry").iter().find(|entry| entry.str("fullUrl").is_some_and(is_meant))?;
    let resource = entry.get("resource")?;
    Some(Item::resource_at(resource, Home { resource: Some(resource), entry: Some(entry) }))
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
