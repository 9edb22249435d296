//! A Bundle as a graph: what a resource refers to, found in the same Bundle.

use fhir::json::Json;

/// Resources by what they are referred to with.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    bundle: &'a Json,
}

impl<'a> Graph<'a> {
    pub(super) fn new(bundle: &'a Json) -> Self {
        Graph { bundle }
    }

    /// The resources of a type.
    pub(super) fn of_type(&self, resource_type: &'a str) -> impl Iterator<Item = &'a Json> + use<'a> {
        let resources = self.bundle.list("entry").iter().filter_map(|entry| entry.get("resource"));
        resources.filter(move |resource| resource.str("resourceType") == Some(resource_type))
    }

    /// The resource that a Reference points at: by `Type/id`, by `fullUrl`, or contained in `of`.
    pub(super) fn target(&self, of: &'a Json, reference: Option<&'a Json>) -> Option<&'a Json> {
        let text = reference?.str("reference")?;
        if let Some(id) = text.strip_prefix('#') {
            return of.list("contained").iter().find(|it| it.str("id") == Some(id));
        }
        let entries = self.bundle.list("entry").iter();
        entries
            .filter(|entry| {
                let resource = entry.get("resource");
                let name = resource.and_then(|it| it.str("resourceType").zip(it.str("id")));
                let local = name.is_some_and(|(resource_type, id)| is_at(text, resource_type, id));
                local || entry.str("fullUrl") == Some(text)
            })
            .find_map(|entry| entry.get("resource"))
    }
}

/// Whether a reference ends in `Type/id`.
fn is_at(reference: &str, resource_type: &str, id: &str) -> bool {
    let path = reference.split("/_history/").next().unwrap_or(reference);
    let mut segments = path.rsplit('/');
    segments.next() == Some(id) && segments.next() == Some(resource_type)
}

/// The value of an identifier with this system.
pub(super) fn identifier<'a>(resource: Option<&'a Json>, system: &str) -> Option<&'a str> {
    let mut identifiers = resource?.list("identifier").iter();
    identifiers.find(|it| it.str("system") == Some(system))?.str("value")
}

/// The value of an extension with this URL, whatever its type.
pub(super) fn extension<'a>(element: &'a Json, url: &str) -> Option<&'a Json> {
    let found = element.list("extension").iter().find(|it| it.str("url") == Some(url))?;
    found.as_object()?.iter().find(|(name, _)| name.starts_with("value")).map(|(_, value)| value)
}

/// A name as people write it.
pub(super) fn name(person: &Json) -> Option<String> {
    let name =
        person.list("name").iter().find(|it| it.str("use") == Some("official")).or(person.list("name").first())?;
    if let Some(text) = name.str("text") {
        return Some(text.to_owned());
    }
    if let Some(text) = name.as_str() {
        return Some(text.to_owned());
    }
    let given = name.list("given").iter().filter_map(Json::as_str);
    let parts: Vec<&str> = given.chain(name.str("family")).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// The coding of a system in a CodeableConcept, else its first.
pub(super) fn coding<'a>(concept: Option<&'a Json>, system: &str) -> Option<&'a Json> {
    let codings = concept?.list("coding");
    codings.iter().find(|it| it.str("system") == Some(system)).or(codings.first())
}
