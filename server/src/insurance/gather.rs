//! A claim with what it refers to, as its sender can see it: a Bundle for the adapter.
//!
//! Nobody else's data goes to a payer with a claim: what belongs to other patients is refused, here as well as by the
//! adapter, and of what is referred to further on only what the payer's format asks for is read at all.

use std::collections::VecDeque;

use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};
use fhir::reference::Reference;
use search::compartment;

use crate::app::App;
use crate::caller::Caller;
use crate::error::{Error, Kind};
use crate::rest::read::{self, Read};

/// Most resources that go with a claim.
const MOST: usize = 200;

/// A resource of this server by its type and id.
type Name = (String, String);

/// The claim, and after it what it refers to.
pub(super) struct Gathered {
    base: String,
    found: Vec<(Name, Json)>,
}

/// Reads what a claim refers to; each must be there, and be the patient's or nobody's.
pub(super) async fn gather(app: &App, caller: &Caller, claim: &Json) -> Result<Gathered, Error> {
    let base = app.config.fhir_base();
    let own = ("Claim".to_owned(), claim.str("id").unwrap_or_default().to_owned());
    let mut gathered = Gathered { base, found: vec![(own, claim.clone())] };
    for name in gathered.named(claim) {
        let (resource, _) = stored(app, caller, &name.0, &name.1).await?;
        gathered.put(name, resource)?;
    }
    gathered.check()?;
    Ok(gathered)
}

impl Gathered {
    /// Reads on from what the claim refers to, as far as `follows` says. What the caller cannot see stays where it is.
    pub(super) async fn further(
        &mut self,
        app: &App,
        caller: &Caller,
        follows: fn(&str, &str) -> bool,
    ) -> Result<(), Error> {
        let mut open: VecDeque<usize> = (1..self.found.len()).collect();
        while let Some(index) = open.pop_front() {
            let ((from, _), resource) = self.found[index].clone();
            for name in self.named(&resource).into_iter().filter(|(to, _)| follows(&from, to)) {
                match stored(app, caller, &name.0, &name.1).await {
                    Ok((resource, _)) => {
                        self.put(name, resource)?;
                        open.push_back(self.found.len() - 1);
                    }
                    Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Gone | Kind::Forbidden) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.check()
    }

    /// The resource that a Reference points at.
    pub(super) fn target(&self, reference: Option<&Json>) -> Option<&Json> {
        let text = reference?.str("reference")?;
        let Reference::Local { resource_type, id, .. } = Reference::parse(text, &self.base) else { return None };
        self.found.iter().find(|(name, _)| *name == (resource_type.clone(), id.clone())).map(|(_, found)| found)
    }

    /// The resources of a type.
    pub(super) fn of_type(&self, resource_type: &str) -> impl Iterator<Item = &Json> {
        self.found.iter().filter(move |((kind, _), _)| kind == resource_type).map(|(_, found)| found)
    }

    /// All of it, each resource under its address.
    pub(super) fn bundle(&self) -> Json {
        let entry = |((resource_type, id), resource): &(Name, Json)| {
            let url = format!("{}/{resource_type}/{id}", self.base);
            fhir::object! { "fullUrl": url, "resource": resource.clone() }
        };
        let entries: Vec<Json> = self.found.iter().map(entry).collect();
        fhir::object! { "resourceType": "Bundle", "type": "collection", "entry": entries }
    }

    fn put(&mut self, name: Name, resource: Json) -> Result<(), Error> {
        if self.found.len() > MOST {
            let text = format!("the Claim refers to more than {MOST} resources");
            return Err(Error::unprocessable(Issue::error(IssueCode::TooCostly, text).at("Claim")));
        }
        self.found.push((name, resource));
        Ok(())
    }

    /// References to resources of this server that are not here yet, each once.
    fn named(&self, resource: &Json) -> Vec<Name> {
        let mut named = Vec::new();
        references(resource, &self.base, &mut named);
        named.retain(|name| self.found.iter().all(|(found, _)| found != name));
        named
    }

    /// Refuses what is of other patients; who holds the policy is named by the Coverage.
    fn check(&self) -> Result<(), Error> {
        let claim = &self.found[0].1;
        let id_of = |reference: Option<&Json>| match Reference::parse(reference?.str("reference")?, &self.base) {
            Reference::Local { resource_type, id, .. } if resource_type == "Patient" => Some(id),
            _ => None,
        };
        let Some(patient) = id_of(claim.get("patient")) else {
            let text = "a reference to a Patient of this server is needed";
            return Err(Error::unprocessable(Issue::error(IssueCode::Required, text).at("Claim.patient")));
        };
        let holders: Vec<String> = self.of_type("Coverage").filter_map(|it| id_of(it.get("subscriber"))).collect();
        for ((resource_type, id), resource) in &self.found[1..] {
            let patients = compartment::patients_of(resource, &self.base).map_err(Error::internal)?;
            let is_holder = resource_type == "Patient" && holders.contains(id);
            if !(is_holder || patients.is_empty() || patients.contains(&patient)) {
                let text = format!("{resource_type}/{id} is not of the claim's patient; nothing is sent");
                return Err(Error::unprocessable(Issue::error(IssueCode::Security, text).at("Claim")));
            }
        }
        Ok(())
    }
}

/// A resource as it stands, and its version.
pub(super) async fn stored(app: &App, caller: &Caller, resource_type: &str, id: &str) -> Result<(Json, i64), Error> {
    let read = Read { resource_type, id, if_none_match: None, if_modified_since: None };
    let answer = read::execute(app, caller, read).await?;
    let version = answer.version.unwrap_or_default();
    Ok((Json::parse(answer.body.unwrap_or_default().as_bytes()).map_err(Error::internal)?, version))
}

/// References to resources of this server, each once.
fn references(json: &Json, base: &str, named: &mut Vec<Name>) {
    match json {
        Json::Object(members) => {
            if let Some(Reference::Local { resource_type, id, .. }) =
                json.str("reference").map(|text| Reference::parse(text, base))
            {
                let name = (resource_type, id);
                if !named.contains(&name) {
                    named.push(name);
                }
            }
            members.iter().map(|(_, member)| member).for_each(|member| references(member, base, named));
        }
        Json::Array(items) => items.iter().for_each(|item| references(item, base, named)),
        _ => {}
    }
}

/// A resource with a member set.
pub(super) fn with(resource: &Json, name: &str, value: impl Into<Json>) -> Json {
    let mut members = resource.as_object().cloned().unwrap_or_else(Object::new);
    members.insert(name, value);
    members.into()
}
