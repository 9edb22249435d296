//! Search in a compartment: `GET [base]/Patient/1/Observation?…`, `GET [base]/Patient/1/*?…`, each also as
//! `POST …/_search`. <https://hl7.org/fhir/R4/compartmentdefinition.html>
//!
//! What lies in a compartment is HL7's definition; what of it is answered is up to the view, as in every search. A
//! compartment of nobody, or of somebody whom the caller cannot see, holds nothing.

use actix_web::{HttpRequest, HttpResponse, web};
use fhir::outcome::{Issue, IssueCode};
use search::compartment::{filter, is_compartment, members};

use super::system::{Several, execute_types, types};
use super::{form_pairs, parameters};
use crate::access::{self, Interaction};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::request::{self, Pairs};
use crate::rest::response::{Answer, Presentation};

/// `GET`.
pub async fn handler(request: HttpRequest, app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Error> {
    let pairs = parameters(request.query_string())?;
    respond(&request, &app, &caller, pairs).await
}

/// `POST _search`.
pub async fn form_handler(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let pairs = form_pairs(&request, payload).await?;
    respond(&request, &app, &caller, pairs).await
}

async fn respond(request: &HttpRequest, app: &App, caller: &Caller, pairs: Pairs) -> Result<HttpResponse, Error> {
    let presentation = Presentation::with(request, &pairs)?;
    let (compartment, id) = (request::resource_type(request)?, request::id(request)?);
    let within = Within { compartment, id, member: request::segment(request, "member") };
    execute(app, caller, within, &pairs, request::prefer(request).lenient).await?.respond(presentation)
}

/// Which compartment, and what in it.
#[derive(Clone, Copy, Debug)]
pub struct Within<'a> {
    /// Type of compartment.
    pub compartment: &'a str,
    /// Whose.
    pub id: &'a str,
    /// A resource type, or `*`.
    pub member: &'a str,
}

/// Searches one page.
pub async fn execute(
    app: &App,
    caller: &Caller,
    within: Within<'_>,
    pairs: &[(String, String)],
    lenient: bool,
) -> Result<Answer, Error> {
    let Within { compartment, id, member } = within;
    let unknown = |text: String| Err(Error::not_found(Issue::error(IssueCode::NotSupported, text)));
    if member != "*" {
        request::known_type(member)?;
    }
    if !is_compartment(compartment) {
        return unknown(format!(
            "there is no compartment of {compartment}; there are those of Patient, Encounter, Practitioner, RelatedPerson and Device"
        ));
    }
    let searched = if member == "*" {
        types(caller, pairs, members(compartment))?
    } else if members(compartment).any(|it| it == member) {
        access::decide(caller, Interaction::Search, member)?;
        vec![member]
    } else {
        return unknown(format!("{member} lies in no compartment of {compartment}"));
    };
    let path = format!("{compartment}/{id}/{member}");
    let several =
        Several { path: &path, types: &searched, within: &|resource_type| filter(compartment, id, resource_type) };
    execute_types(app, caller, several, pairs, lenient).await
}
