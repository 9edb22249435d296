//! The searchset Bundle of a page, and its links. <https://hl7.org/fhir/R4/search.html#return>
//!
//! It is the stored bodies put one after the other: nothing is parsed, unless parts of the resources are asked for.

use std::fmt::Write as _;

use fhir::json::write_string;
use fhir::outcome::{Issue, outcome};
use search::query::Elements;
use store::{SearchPage, Stored};
use uuid::Uuid;

use crate::error::Error;
use crate::rest::elements::subset;
use crate::rest::response::{link, write_link};

/// What was searched, as far as the Bundle tells.
pub struct Searched<'a> {
    /// The FHIR base URL.
    pub base: &'a str,
    /// The path below it, such as `Patient`; empty for a search of all types.
    pub path: &'a str,
    /// The parameters that took effect.
    pub applied: &'a [(String, String)],
    /// Where the page lies.
    pub cursor: Option<&'a str>,
    /// Which parts of the resources are answered.
    pub elements: &'a Elements,
    /// What leniency left out.
    pub warnings: &'a [Issue],
}

/// The Bundle.
pub fn write(searched: &Searched<'_>, page: &SearchPage) -> Result<String, Error> {
    let Searched { base, path, applied, .. } = *searched;
    let bodies = page.matches.iter().chain(&page.included).map(|stored| stored.body.len() + 160).sum::<usize>();
    let mut out = String::with_capacity(bodies + 1024);
    out.push_str("{\"resourceType\":\"Bundle\",\"type\":\"searchset\"");
    if let Some(total) = page.total {
        let _ = write!(out, ",\"total\":{total}");
    }
    let own = searched.cursor.map(|cursor| ("_cursor", cursor));
    out.push_str(",\"link\":[");
    write_link("self", &link(base, path, applied, own), &mut out);
    out.push(',');
    write_link("first", &link(base, path, applied, None), &mut out);
    for (relation, cursor) in [("previous", &page.previous), ("next", &page.next)] {
        if let Some(cursor) = cursor {
            out.push(',');
            write_link(relation, &link(base, path, applied, Some(("_cursor", cursor))), &mut out);
        }
    }
    out.push(']');
    write_entries(searched, page, &mut out)?;
    out.push('}');
    Ok(out)
}

fn write_entries(searched: &Searched<'_>, page: &SearchPage, out: &mut String) -> Result<(), Error> {
    let base = searched.base;
    let mut separator = ",\"entry\":[";
    let matches = page.matches.iter().enumerate().map(|(index, stored)| (stored, "match", page.containers.get(&index)));
    let included = page.included.iter().map(|stored| (stored, "include", None));
    for (stored, mode, container) in matches.chain(included) {
        let Stored { resource_type, id, body, .. } = stored;
        let _ = match container {
            None => write!(out, "{separator}{{\"fullUrl\":\"{base}/{resource_type}/{id}\","),
            Some(container) => {
                let _ = write!(out, "{separator}{{\"fullUrl\":");
                write_string(&format!("{base}/{}/{}#{id}", container.resource_type, container.id), out);
                out.write_char(',')
            }
        };
        let body = subset(body, elements_for(resource_type, mode, searched.elements))?;
        let _ = write!(out, "\"resource\":{body},\"search\":{{\"mode\":\"{mode}\"}}}}");
        separator = ",";
    }
    if !searched.warnings.is_empty() {
        let warnings = outcome(searched.warnings).to_string();
        // What has no address is named by what it says.
        let name = Uuid::new_v5(&Uuid::NAMESPACE_OID, warnings.as_bytes());
        let _ = write!(out, "{separator}{{\"fullUrl\":\"urn:uuid:{name}\",");
        let _ = write!(out, "\"resource\":{warnings},\"search\":{{\"mode\":\"outcome\"}}}}");
        separator = ",";
    }
    if separator == "," {
        out.push(']');
    }
    Ok(())
}

/// Which elements are answered: "The list of elements does not apply to included resources", unless it names some of
/// their type by `Type.name`. <https://hl7.org/fhir/R4/search.html#elements>
fn elements_for<'a>(resource_type: &str, mode: &str, asked: &'a Elements) -> &'a Elements {
    let is_of_type = |name: &String| name.split_once('.').is_some_and(|(of, _)| of == resource_type);
    match asked {
        Elements::Named(names) if mode == "include" && !names.iter().any(is_of_type) => &Elements::All,
        _ => asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::json::Json;
    use store::Method;

    fn stored(id: &str) -> Stored {
        Stored {
            resource_type: "Observation".into(),
            id: id.into(),
            version: 1,
            last_updated: 0,
            deleted: false,
            body: format!("{{\"resourceType\":\"Observation\",\"id\":\"{id}\",\"x\":1.00}}").into(),
            method: Method::Post,
        }
    }

    fn written(path: &str, cursor: Option<&str>, warnings: &[Issue], page: &SearchPage) -> Json {
        let applied = [("code", "http://loinc.org|8480-6"), ("name", "a b&c")];
        let applied = applied.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (base, elements) = ("http://s/fhir", &Elements::All);
        let text = write(&Searched { base, path, applied: &applied, cursor, elements, warnings }, page).unwrap();
        assert_eq!(text.matches("\"x\":1.00").count(), page.matches.len() + page.included.len());
        Json::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn contained_resources_are_named_by_their_container() {
        let container = Stored { resource_type: "MedicationRequest".into(), ..stored("r") };
        let containers = [(1, container)].into();
        let page = SearchPage { matches: vec![stored("a"), stored("m")], containers, ..SearchPage::default() };
        let json = written("Observation", None, &[], &page);
        let urls: Vec<_> = json.list("entry").iter().filter_map(|it| it.str("fullUrl")).collect();
        assert_eq!(urls, ["http://s/fhir/Observation/a", "http://s/fhir/MedicationRequest/r#m"]);
    }

    #[test]
    fn bodies_stand_in_the_bundle_as_they_are() {
        let page = SearchPage {
            matches: vec![stored("a")],
            included: vec![stored("b")],
            next: Some("N".into()),
            previous: Some("P".into()),
            total: Some(7),
            ..SearchPage::default()
        };
        let json = written("Observation", None, &[], &page);
        let modes: Vec<_> = json.list("entry").iter().filter_map(|it| it.at(&["search", "mode"])?.as_str()).collect();
        assert_eq!(modes, ["match", "include"]);
        assert_eq!(json.get("total").and_then(Json::as_number), Some("7"));
        let urls: Vec<_> = json.list("link").iter().filter_map(|it| it.str("url")).collect();
        let own = "http://s/fhir/Observation?code=http://loinc.org|8480-6&name=a%20b%26c";
        assert_eq!(urls, [own.to_owned(), own.to_owned(), format!("{own}&_cursor=P"), format!("{own}&_cursor=N")]);
    }

    #[test]
    fn an_empty_page_has_no_entry_and_the_self_link_says_where_it_is() {
        let json = written("", Some("C"), &[], &SearchPage::default());
        assert!(json.get("entry").is_none() && json.get("total").is_none());
        let own = json.list("link")[0].str("url").unwrap();
        assert!(own.starts_with("http://s/fhir?") && own.ends_with("&_cursor=C"), "{own}");
    }

    #[test]
    fn warnings_are_an_outcome_entry() {
        let warnings = [Issue::warning(fhir::outcome::IssueCode::NotSupported, "typo is left out")];
        let json = written("Observation", None, &warnings, &SearchPage::default());
        let entry = &json.list("entry")[0];
        assert_eq!(entry.at(&["search", "mode"]).unwrap().as_str(), Some("outcome"));
        assert!(entry.str("fullUrl").unwrap().starts_with("urn:uuid:"));
    }
}
