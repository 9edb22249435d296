//! The capability statements that this server is said to fulfil, such as that of US Core.
//! <https://hl7.org/fhir/R4/capabilitystatement-definitions.html#CapabilityStatement.instantiates>
//!
//! Who runs the server says which, in the setting `instantiates`: a definition that is merely stored here claims nothing.
//! What profiles such a statement asks for is read from the stored one, once, when the server starts.

use std::collections::BTreeMap;
use std::str::FromStr;

use fhir::json::Json;
use search::parse::{Options, literal, parse};
use search::view::View;
use store::StoreError;
use tracing::warn;

use super::array_in;
use crate::app::App;

/// Where FHIR's own definitions of its types are.
const DEFINITIONS: &str = "http://hl7.org/fhir/StructureDefinition/";

/// Most profiles of one resource type that are stated.
const MOST_PROFILES: usize = 200;

/// Canonical URLs of capability statements, separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Canonicals(Vec<String>);

/// What those statements ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instantiated {
    urls: Vec<String>,
    /// Profiles by resource type.
    profiles: BTreeMap<String, Vec<String>>,
}

impl Instantiated {
    /// Reads what the statements that the settings name ask for; one that is not stored is logged, and asks for nothing.
    pub async fn load(app: &App) -> Result<Self, StoreError> {
        let mut loaded = Instantiated { urls: app.config.instantiates.0.clone(), ..Instantiated::default() };
        for url in &app.config.instantiates.0 {
            if let Some(statement) = stored(app, url).await? {
                loaded.add(&statement);
            } else {
                warn!("the CapabilityStatement {url} is not stored here, so none of its profiles is stated");
            }
        }
        Ok(loaded)
    }

    /// Says so in the statement of this server; profiles, which are trial use in R4, where `with_profiles` says so.
    pub(super) fn state(&self, statement: &mut Json, with_profiles: bool) {
        if self.urls.is_empty() {
            return;
        }
        let names = |all: &[String]| all.iter().map(|it| Json::from(it.as_str())).collect::<Vec<_>>();
        let mut stated = statement.list("instantiates").to_vec(); // what is fulfilled by whoever runs it
        stated.extend(names(&self.urls).into_iter().filter(|url| !stated.contains(url)).collect::<Vec<_>>());
        if let Some(statement) = statement.as_object_mut() {
            statement.insert("instantiates", stated);
        }
        if !with_profiles {
            return;
        }
        for resource in array_in(statement, "rest").flat_map(|rest| array_in(rest, "resource")) {
            let profiles = resource.str("type").and_then(|name| self.profiles.get(name));
            if let (Some(profiles), Some(resource)) = (profiles.map(|all| names(all)), resource.as_object_mut()) {
                resource.insert("supportedProfile", profiles);
            }
        }
    }

    fn add(&mut self, statement: &Json) {
        let of_servers = statement.list("rest").iter().filter(|rest| rest.str("mode") == Some("server"));
        for resource in of_servers.flat_map(|rest| rest.list("resource")) {
            let Some(name) = resource.str("type") else { continue };
            let known = self.profiles.entry(name.to_owned()).or_default();
            // One that all resources of the type conform to is asked for as much as those that some do.
            let of_all = resource.str("profile").filter(|url| *url != format!("{DEFINITIONS}{name}"));
            let of_some = resource.list("supportedProfile").iter().filter_map(Json::as_str);
            for profile in of_all.into_iter().chain(of_some) {
                if known.len() < MOST_PROFILES && !known.iter().any(|it| it == profile) {
                    known.push(profile.to_owned());
                }
            }
        }
        self.profiles.retain(|_, profiles| !profiles.is_empty());
    }
}

/// The newest stored statement of that URL.
async fn stored(app: &App, url: &str) -> Result<Option<Json>, StoreError> {
    let pairs = [("url".to_owned(), literal(url))];
    let options = Options::at_most(1, app.config.fhir_base(), app.clock.now());
    let Ok(parsed) = parse("CapabilityStatement", &pairs, &options) else { return Ok(None) };
    let found = app.store.search(&View::system(), &parsed.query).await?.matches.into_iter().next();
    Ok(found.and_then(|stored| Json::parse(stored.body.as_bytes()).ok()))
}

impl FromStr for Canonicals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let canonical = |part: &str| match url::Url::parse(part) {
            Ok(_) if !part.contains(['|', '#', ' ']) => Ok(part.to_owned()),
            _ => Err(format!("\"{part}\" is not an absolute URL, without version")),
        };
        parts.map(canonical).collect::<Result<_, _>>().map(Canonicals)
    }
}

#[cfg(test)]
mod tests {
    use fhir::{array, object};

    use super::*;

    #[test]
    fn profiles_are_those_that_are_asked_of_servers() {
        let of = |mode: &str, profile: &str| {
            let resource = object! { "type": "Patient", "supportedProfile": array![profile] };
            object! { "mode": mode, "resource": array![resource, object! { "type": "Media" }] }
        };
        let mut loaded = Instantiated { urls: vec!["http://g/s".to_owned()], ..Instantiated::default() };
        let whole =
            |url: &str| object! { "mode": "server", "resource": array![object! { "type": "Device", "profile": url }] };
        loaded.add(
            &object! { "rest": array![whole("http://g/d"), whole("http://hl7.org/fhir/StructureDefinition/Device")] },
        );
        let guide = object! { "rest": array![of("client", "http://g/c"), of("server", "http://g/p"), of("server", "http://g/p")] };
        loaded.add(&guide);
        let mut statement = super::super::statement("http://s");
        loaded.state(&mut statement, true);
        assert_eq!(statement.list("instantiates").last(), Some(&Json::from("http://g/s")));
        let resources = statement.list("rest")[0].list("resource");
        let stated =
            |name: &str| resources.iter().find(|it| it.str("type") == Some(name)).unwrap().list("supportedProfile");
        assert_eq!(stated("Patient"), [Json::from("http://g/p")]);
        assert_eq!(stated("Device"), [Json::from("http://g/d")]);
        assert!(stated("Media").is_empty());
        assert_eq!(validation::validate(&statement), []);
    }

    #[test]
    fn canonicals() {
        let read = |text: &str| text.parse::<Canonicals>();
        assert_eq!(read("").unwrap(), Canonicals::default());
        assert_eq!(read("http://g/a, urn:oid:1.2").unwrap().0, ["http://g/a", "urn:oid:1.2"]);
        for bad in ["a", "http://g/a|1", "http://g/a#b"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
