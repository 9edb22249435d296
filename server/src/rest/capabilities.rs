//! What this server can do: `GET [base]/metadata`. <https://hl7.org/fhir/R4/http.html#capabilities>
//!
//! | `mode` | answer |
//! |---|---|
//! | `full` (default) | CapabilityStatement |
//! | `normative` | the same without the elements that R4 calls trial use |
//! | `terminology` | `TerminologyCapabilities` |
//!
//! `_summary` and `_elements` answer some of its elements.
//!
//! Made of the tables that run: resource types and search parameters from the registry, interactions from the routes.
//! Needs no token; made anew only when the registry is another one.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use search::parse::elements_of;
use search::query::Elements;
use search::registry::{Registry, registry};
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::config::Config;
use crate::error::Error;
use crate::rest::elements::subset;
use crate::rest::request;
use crate::rest::response::{Answer, Presentation};

pub mod instantiated;
mod normative;
mod statement;
mod terminology;

pub use statement::statement;

use instantiated::Instantiated;
use statement::array_in;

/// When the capabilities of this version were settled.
const PUBLISHED: &str = "2026-11-22";

/// Which statement is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// All of it.
    #[default]
    Full,
    /// What is normative.
    Normative,
    /// What is known of terminologies.
    Terminology,
}

/// Which statement, and which of its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub(crate) mode: Mode,
    elements: Elements,
}

/// A statement and its entity tag.
#[derive(Clone)]
struct Statement {
    body: Arc<str>,
    etag: Arc<str>,
}

/// The statements that were made of one registry.
#[derive(Default)]
pub struct Cache(Mutex<Made>);

#[derive(Default)]
struct Made {
    registry: Option<Arc<Registry>>,
    statements: Vec<(Mode, Statement)>,
}

/// `GET` and `HEAD`; needs no token.
pub async fn handler(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Error> {
    let presentation = Presentation::of(&request)?;
    let Asked { mode, elements } = Asked::of(request.query_string())?;
    let Statement { body, etag } = current(&app, mode).cut(&elements)?;
    let has = request::header(&request, "If-None-Match")?;
    let has =
        has.is_some_and(|tags| tags.split(',').any(|tag| matches!(tag.trim(), tag if tag == "*" || *tag == *etag)));
    let answer = if has { Answer::empty(StatusCode::NOT_MODIFIED) } else { Answer::resource(body) };
    let mut response = answer.respond(presentation)?;
    if let Ok(value) = header::HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("public, max-age=60"));
    response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept, Accept-Encoding"));
    Ok(response)
}

/// The statement as a resource, for entries of a Bundle.
pub fn execute(app: &App, asked: &Asked) -> Result<Answer, Error> {
    Ok(Answer::resource(current(app, asked.mode).cut(&asked.elements)?.body))
}

fn current(app: &App, mode: Mode) -> Statement {
    app.capabilities.get(mode, &app.config, &app.instantiated)
}

impl Mode {
    /// What the parameter `mode` among others asks for.
    fn among(pairs: &[(String, String)]) -> Result<Self, Error> {
        let invalid = |text: String| Error::bad_request(Issue::error(IssueCode::Value, text));
        let mut values = pairs.iter().filter(|(name, _)| name == "mode").map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (None, _) => Ok(Mode::Full),
            (Some(value), None) => match value {
                "full" => Ok(Mode::Full),
                "normative" => Ok(Mode::Normative),
                "terminology" => Ok(Mode::Terminology),
                other => Err(invalid(format!("mode is full, normative or terminology, not {other:?}"))),
            },
            (Some(_), Some(_)) => Err(invalid("mode is given more than once; give it once".to_owned())),
        }
    }

    /// The type of the statement.
    fn resource_type(self) -> &'static str {
        match self {
            Mode::Full | Mode::Normative => "CapabilityStatement",
            Mode::Terminology => "TerminologyCapabilities",
        }
    }

    /// The statement of a server at `base_url`.
    pub fn statement(self, base_url: &str) -> Json {
        match self {
            Mode::Full => statement(base_url),
            Mode::Normative => normative::without_trial_use(statement(base_url)),
            Mode::Terminology => terminology::capabilities(base_url),
        }
    }
}

impl Cache {
    fn get(&self, mode: Mode, config: &Config, instantiated: &Instantiated) -> Statement {
        let current = registry();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.registry.as_ref().is_some_and(|known| Arc::ptr_eq(known, &current)) {
            *kept = Made { registry: Some(current), statements: Vec::new() };
        }
        if let Some((_, statement)) = kept.statements.iter().find(|(known, _)| *known == mode) {
            return statement.clone();
        }
        let statement = written(&stated(mode, config, instantiated));
        kept.statements.push((mode, statement.clone()));
        statement
    }
}

fn stated(mode: Mode, config: &Config, instantiated: &Instantiated) -> Json {
    let mut resource = mode.statement(&config.base_url);
    if mode != Mode::Terminology {
        instantiated.state(&mut resource, mode == Mode::Full);
    }
    statement::state_conditional_delete(&mut resource, config.conditional_delete);
    resource
}

impl Asked {
    /// What the parameters ask for.
    pub fn of(query: &str) -> Result<Self, Error> {
        let pairs = request::only(query, &["mode", "_summary", "_elements"])?;
        let mode = Mode::among(&pairs)?;
        let pairs: Vec<_> = pairs.into_iter().filter(|(name, _)| name != "mode").collect();
        let elements = elements_of(Some(mode.resource_type()), &pairs).map_err(Error::bad_request)?;
        Ok(Asked { mode, elements })
    }
}

impl Statement {
    /// The same with some of its elements; what is not whole has a tag of its own.
    fn cut(self, elements: &Elements) -> Result<Self, Error> {
        Ok(match subset(&self.body, elements)? {
            Cow::Borrowed(_) => self,
            Cow::Owned(body) => tagged(body),
        })
    }
}

fn written(resource: &Json) -> Statement {
    tagged(resource.to_string())
}

fn tagged(body: String) -> Statement {
    let hex = fhir::hexadecimal(&Sha256::digest(body.as_bytes())[..8]);
    Statement { body: body.into(), etag: format!("W/\"{hex}\"").into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_statement_is_valid_and_has_a_tag_of_its_own() {
        let (cache, config) = (Cache::default(), Config::from_flags(&["--base-url", "http://s"]));
        let mut tags = Vec::new();
        for mode in [Mode::Full, Mode::Normative, Mode::Terminology] {
            assert_eq!(validation::validate(&mode.statement("http://s")), [], "{mode:?}");
            let first = cache.get(mode, &config, &Instantiated::default());
            assert!(Arc::ptr_eq(&first.body, &cache.get(mode, &config, &Instantiated::default()).body), "made once");
            tags.push(first.etag);
        }
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), 3);
        assert_ne!(written(&statement("http://s")).etag, written(&statement("http://t")).etag);
    }

    #[test]
    fn modes() {
        let mode = |query: &str| Asked::of(query).map(|asked| asked.mode);
        assert_eq!(mode("").unwrap(), Mode::Full);
        assert_eq!(mode("mode=full&_format=xml").unwrap(), Mode::Full);
        assert_eq!(mode("mode=normative").unwrap(), Mode::Normative);
        assert_eq!(mode("mode=terminology&_summary=true").unwrap(), Mode::Terminology);
        for bad in ["mode=", "mode=FULL", "mode=full&mode=full", "mode=x", "Mode=full"] {
            assert_eq!(mode(bad).unwrap_err().status(), 400, "{bad}");
        }
    }
}
