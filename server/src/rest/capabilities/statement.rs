//! The CapabilityStatement. <https://hl7.org/fhir/R4/capabilitystatement.html>

use std::collections::BTreeMap;
use std::sync::Arc;

use fhir::definitions::resource_types;
use fhir::json::{Json, Object};
use fhir::{array, object};
use search::parse;
use search::registry::{Kind, Parameter, Registry, registry};
use smart::metadata::Metadata;

use crate::config::ConditionalDelete;
use crate::rest::operation;
use crate::rest::projected::{self, Projected};
use crate::routes::{FHIR, FHIR_ROUTES};

/// Interactions on every type: code in the statement, and the route that carries it out.
const INTERACTIONS: &[(&str, &str, &str)] = &[
    ("read", "GET", "/{type}/{id}"),
    ("vread", "GET", "/{type}/{id}/_history/{version}"),
    ("update", "PUT", "/{type}/{id}"),
    ("patch", "PATCH", "/{type}/{id}"),
    ("delete", "DELETE", "/{type}/{id}"),
    ("history-instance", "GET", "/{type}/{id}/_history"),
    ("history-type", "GET", "/{type}/_history"),
    ("create", "POST", "/{type}"),
    ("search-type", "GET", "/{type}"),
];

/// Interactions on the whole system.
const SYSTEM_INTERACTIONS: &[(&str, &str, &str)] = &[
    ("transaction", "POST", ""),
    ("batch", "POST", ""),
    ("search-system", "GET", ""),
    ("history-system", "GET", "/_history"),
];

/// Search parameters of every type that no SearchParameter defines.
const EVERYWHERE: [(&str, &str); 3] = [
    ("_has", "_has:Type:reference:parameter=value: a resource of the type points here and matches, at any depth."),
    ("_list", "The logical id of a List: what the List names."),
    ("_filter", "An expression of https://hl7.org/fhir/R4/search_filter.html."),
];

/// What others have written down that this server does.
const INSTANTIATES: [&str; 1] = ["http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"];

/// Formats of patches.
const PATCH_FORMATS: [&str; 3] = ["application/json-patch+json", "application/fhir+json", "application/fhir+xml"];

/// The CapabilityStatement of a server at `base_url`.
pub fn statement(base_url: &str) -> Json {
    let pointing = pointing();
    let base = format!("{base_url}{FHIR}");
    let resources: Vec<Json> = resource_types().iter().map(|name| resource(name, &base, &pointing)).collect();
    let mut statement = head("CapabilityStatement", base_url);
    statement.insert("instantiates", INSTANTIATES.map(Json::from).to_vec());
    statement.insert("fhirVersion", "4.0.1");
    statement.insert("format", array!["application/fhir+json", "application/fhir+xml", "json", "xml"]);
    if has("PATCH", "/{type}/{id}") {
        statement.insert("patchFormat", PATCH_FORMATS.map(Json::from).to_vec());
    }
    let rest = object! {
        "mode": "server",
        "documentation": documentation(),
        "security": Metadata::new(base_url).security(),
        "resource": resources,
        "interaction": interactions(SYSTEM_INTERACTIONS),
        "operation": operation::of_system(&base),
        "searchParam": EVERYWHERE.map(|(name, documentation)| {
            object! { "name": name, "type": "special", "documentation": documentation }
        }).to_vec(),
    };
    statement.insert("rest", array![rest]);
    Json::Object(statement)
}

/// What all statements of an instance begin with.
pub(super) fn head(resource_type: &str, base_url: &str) -> Object {
    let head = object! {
        "resourceType": resource_type,
        "url": format!("{base_url}/fhir/metadata"),
        "version": env!("CARGO_PKG_VERSION"),
        "name": "Tributary",
        "status": "active",
        "date": super::PUBLISHED,
        "kind": "instance",
        "software": object! { "name": "Tributary", "version": env!("CARGO_PKG_VERSION") },
        "implementation": object! { "description": "Tributary FHIR R4 server", "url": format!("{base_url}/fhir") },
    };
    head.as_object().cloned().unwrap_or_default()
}

/// What has no element of its own in the statement.
fn documentation() -> String {
    "Parameters of every read and search: `_format`, `_pretty`, `_summary`, `_elements`. What takes no effect is refused \
     with 400, or, with `Prefer: handling=lenient`, left out with a warning. Bodies and answers may be compressed \
     (zstd, br, gzip)."
        .to_owned()
}

/// States what the setting `conditional-delete` says, where the statement has the element.
pub(super) fn state_conditional_delete(statement: &mut Json, mode: ConditionalDelete) {
    let resources = array_in(statement, "rest").flat_map(|rest| array_in(rest, "resource"));
    for resource in resources {
        let stated = resource.as_object_mut().and_then(|resource| resource.get_mut("conditionalDelete"));
        if let Some(stated) = stated {
            *stated = mode.as_str().into();
        }
    }
}

pub(super) fn array_in<'a>(value: &'a mut Json, name: &str) -> impl Iterator<Item = &'a mut Json> + use<'a> {
    let member = value.as_object_mut().and_then(|object| object.get_mut(name));
    member.into_iter().flat_map(|member| if let Json::Array(items) = member { &mut items[..] } else { &mut [] })
}

/// Whether there is such a route.
fn has(method: &str, path: &str) -> bool {
    FHIR_ROUTES.iter().any(|row| row.method == method && row.path == path)
}

fn interactions(table: &[(&str, &str, &str)]) -> Vec<Json> {
    let known = table.iter().filter(|(_, method, path)| has(method, path));
    known.map(|(code, ..)| object! { "code": *code }).collect()
}

/// The parameters by which other resources point at each type: `Observation:subject`.
fn pointing() -> BTreeMap<String, Vec<String>> {
    let registry = registry();
    let mut pointing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in resource_types().iter().filter(|name| projected::of(name).is_none()) {
        for parameter in registry.parameters(name).filter(|it| parse::can_chain(it)) {
            for target in &parameter.targets {
                pointing.entry(target.clone()).or_default().push(format!("{name}:{}", parameter.code));
            }
        }
    }
    pointing
}

fn resource(name: &str, base: &str, pointing: &BTreeMap<String, Vec<String>>) -> Json {
    if let Some(projected) = projected::of(name) {
        return of_projected(projected);
    }
    let mut resource = Object::new();
    resource.insert("type", name);
    resource.insert("profile", format!("http://hl7.org/fhir/StructureDefinition/{name}"));
    resource.insert("interaction", interactions(INTERACTIONS));
    resource.insert("versioning", "versioned");
    resource.insert("readHistory", true);
    resource.insert("updateCreate", true);
    resource.insert("conditionalCreate", true);
    resource.insert("conditionalRead", "full-support");
    resource.insert("conditionalUpdate", has("PUT", "/{type}"));
    let conditional_delete = if has("DELETE", "/{type}") { "single" } else { "not-supported" };
    resource.insert("conditionalDelete", conditional_delete);
    resource.insert("referencePolicy", array!["literal", "logical"]);
    let registry = registry();
    let parameters = searchable(&registry, name);
    let includes = parameters.iter().filter(|parameter| parse::can_chain(parameter));
    let includes: Vec<Json> = includes.map(|parameter| format!("{name}:{}", parameter.code).into()).collect();
    if !includes.is_empty() {
        resource.insert("searchInclude", includes);
    }
    if let Some(sources) = pointing.get(name) {
        resource.insert("searchRevInclude", sources.iter().map(|it| Json::from(it.as_str())).collect::<Vec<_>>());
    }
    resource.insert("searchParam", search_parameters(&parameters));
    resource.insert("operation", operation::of_type(name, base));
    Json::Object(resource)
}

/// A type that the server itself makes.
fn of_projected(projected: &Projected) -> Json {
    let name = projected.resource_type;
    object! {
        "type": name,
        "profile": format!("http://hl7.org/fhir/StructureDefinition/{name}"),
        "documentation": projected.why,
        "interaction": array![object! { "code": "read" }, object! { "code": "search-type" }],
        "versioning": "no-version",
        "searchParam": search_parameters(&searchable(&registry(), name)),
    }
}

fn search_parameters(parameters: &[&Arc<Parameter>]) -> Vec<Json> {
    let special = [("_id", "token"), ("_lastUpdated", "date")].map(|(code, kind)| {
        object! {
            "name": code,
            "definition": format!("http://hl7.org/fhir/SearchParameter/Resource-{}", code.trim_start_matches('_')),
            "type": kind,
        }
    });
    let special =
        special.into_iter().filter(|it| !parameters.iter().any(|known| Some(known.code.as_str()) == it.str("name")));
    let defined = parameters.iter().map(|parameter| {
        let mut stated = Object::new();
        stated.insert("name", parameter.code.as_str());
        stated.insert("definition", parameter.url.as_str());
        // Those of texts have no expression, but a type.
        let is_text = ["_text", "_content"].contains(&parameter.code.as_str());
        stated.insert("type", if is_text { "string" } else { parameter.kind.as_str() });
        let documentation = understood(parameter);
        if !documentation.is_empty() {
            stated.insert("documentation", documentation);
        }
        Json::Object(stated)
    });
    special.chain(defined).collect()
}

fn searchable<'a>(registry: &'a Registry, name: &str) -> Vec<&'a Arc<Parameter>> {
    registry.parameters(name).filter(|it| is_searchable(it)).collect()
}

/// Whether searches know the parameter: those that have an index, and those with rules of their own.
fn is_searchable(parameter: &Parameter) -> bool {
    parameter.param().is_some() || ["_text", "_content", "near"].contains(&parameter.code.as_str())
}

/// The modifiers and prefixes of a parameter, and whether it can be followed.
fn understood(parameter: &Parameter) -> String {
    let mut parts = Vec::new();
    let modifiers = parse::modifiers(parameter);
    if !modifiers.is_empty() {
        parts.push(format!("modifiers {}", modifiers.join(", ")));
    }
    if let Kind::Indexed(kind) = parameter.kind {
        let prefixes = parse::prefixes(kind);
        if !prefixes.is_empty() {
            parts.push(format!("prefixes {}", prefixes.join(", ")));
        }
    }
    if parse::can_chain(parameter) {
        parts.push("chains".to_owned());
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_states_what_works_for_it() {
        let statement = statement("http://s");
        let rest = &statement.list("rest")[0];
        assert_eq!(rest.list("resource").len(), resource_types().len());
        assert!(statement.to_string().contains("modifiers missing, exact, contains"));
        for resource in rest.list("resource") {
            let names: Vec<_> = resource.list("searchParam").iter().filter_map(|it| it.str("name")).collect();
            assert!(names.contains(&"_id") && names.contains(&"_lastUpdated"), "{names:?}");
            let mut unique = names.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), names.len(), "{:?}", resource.str("type"));
        }
    }

    #[test]
    fn interactions_are_those_of_the_routes() {
        for (_, method, path) in INTERACTIONS.iter().chain(SYSTEM_INTERACTIONS) {
            assert!(["GET", "PUT", "POST", "DELETE", "PATCH"].contains(method) && !path.ends_with('/'));
        }
        let codes = interactions(INTERACTIONS);
        assert!(codes.iter().any(|it| it.str("code") == Some("vread")));
        assert_eq!(codes.iter().any(|it| it.str("code") == Some("patch")), has("PATCH", "/{type}/{id}"));
    }
}
