//! Every route of the server, one row each: method, path, handler, what it is.
//!
//! `GET` rows answer `HEAD` too. A path that is here with another method is 405, every other path is 404; both are
//! `OperationOutcome`s.

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, guard, web};
use fhir::outcome::{Issue, IssueCode};

use crate::error::Error;
use crate::rest::response::render_errors;
use crate::rest::{bundle, capabilities, create, delete, history, read, search, update, vread};
use crate::{devices, health, oauth, portal};

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// HTTP method.
    pub method: &'static str,
    /// Path below [`FHIR`] or the root; `{name}` is one segment, `{name:.*}` all that follow.
    pub path: &'static str,
    /// What it is.
    pub what: &'static str,
}

/// Where FHIR lives.
pub const FHIR: &str = "/fhir";

macro_rules! routes {
    ($(#[$doc:meta])* $table:ident, $configure:ident { $($method:ident $path:literal => $handler:path, $what:literal;)* }) => {
        $(#[$doc])*
        pub const $table: &[Row] =
            &[$(Row { method: stringify!($method), path: $path, what: $what }),*];

        fn $configure(routes: &mut web::ServiceConfig) {
            $(routes.route($path, method(Method::$method).to($handler));)*
        }
    };
}

routes! {
    /// FHIR, below [`FHIR`].
    FHIR_ROUTES, fhir {
        GET    "/metadata" => capabilities::handler, "what this server can do; no token";
        GET    "/.well-known/smart-configuration" => oauth::metadata::smart_configuration, "SMART discovery; no token";
        POST   "" => bundle::handler, "batch, transaction";
        POST   "/" => bundle::handler, "batch, transaction";
        POST   "/{type}/_search" => search::form_handler, "search with a form";
        GET    "/{type}" => search::handler, "search";
        POST   "/{type}" => create::handler, "create, conditional create";
        PUT    "/{type}" => update::conditional_handler, "conditional update";
        GET    "/{type}/{id}" => read::handler, "read";
        PUT    "/{type}/{id}" => update::handler, "update, update as create";
        DELETE "/{type}/{id}" => delete::handler, "delete";
        GET    "/{type}/{id}/_history" => history::handler, "history of an instance";
        GET    "/{type}/{id}/_history/{version}" => vread::handler, "read of a version";
    }
}

routes! {
    /// All the rest.
    OTHER_ROUTES, others {
        GET  "/" => portal::home::handler, "front page";
        GET  "/health" => health::handler, "whether the database answers";
        GET  "/.well-known/oauth-authorization-server" => oauth::metadata::authorization_server, "RFC 8414";
        GET  "/oauth/authorize" => oauth::authorize::get, "start of a launch";
        POST "/oauth/authorize" => oauth::authorize::post, "start of a launch";
        GET  "/oauth/login" => oauth::login::get, "sign-in page";
        POST "/oauth/login" => oauth::login::post, "sign-in";
        GET  "/oauth/consent" => oauth::consent::get, "consent page";
        POST "/oauth/consent" => oauth::consent::post, "consent";
        POST "/oauth/token" => oauth::token::post, "code or refresh token for access token";
        POST "/oauth/introspect" => oauth::introspect::post, "what a token is worth";
        POST "/oauth/revoke" => oauth::revoke::post, "end of a token";
        POST "/health-data/{delivery:.*}" => devices::webhook::handler, "a vendor's message; API key";
        POST "/devices/assign" => devices::pairing::assign, "a device gets a patient";
        POST "/devices/{id}/unassign" => devices::pairing::unassign, "a device leaves a patient";
    }
}

/// Registers all routes.
pub fn configure(routes: &mut web::ServiceConfig) {
    routes.app_data(web::Data::new(capabilities::Cache::default()));
    let scope = web::scope(FHIR).wrap(from_fn(render_errors)).configure(fhir);
    routes.service(scope.default_service(web::to(unmatched)));
    others(routes);
    routes.default_service(web::to(unmatched));
}

fn method(method: Method) -> actix_web::Route {
    match method {
        Method::GET => web::route().guard(guard::Any(guard::Get()).or(guard::Head())),
        other => web::method(other),
    }
}

/// 405 where the path is known, else 404.
async fn unmatched(request: HttpRequest) -> Result<HttpResponse, Error> {
    let allowed = allowed(request.path());
    if allowed.is_empty() {
        let text = "this server does not know the path; FHIR is below /fhir, see /fhir/metadata";
        return Err(Error::not_found(Issue::error(IssueCode::NotSupported, text)));
    }
    let allowed = allowed.join(", ");
    let text = format!("{} is not supported here; {allowed} are", request.method());
    Err(Error::method_not_allowed(text).with_header("Allow", allowed))
}

/// Methods that a path answers.
fn allowed(path: &str) -> Vec<&'static str> {
    let below = path.strip_prefix(FHIR).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let (rows, path) = below.map_or((OTHER_ROUTES, path), |rest| (FHIR_ROUTES, rest));
    let mut methods: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|row| matches(row.path, path)) {
        let both = if row.method == "GET" { &["GET", "HEAD"][..] } else { &[row.method][..] };
        methods.extend(both.iter().filter(|method| !methods.contains(*method)).copied().collect::<Vec<_>>());
    }
    methods
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(name), Some(_)) if name.ends_with(":.*}") => return true,
            (Some(name), Some(segment)) if name.starts_with('{') && !segment.is_empty() => {}
            (Some(name), Some(segment)) if name == segment => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_know_their_methods() {
        assert_eq!(allowed("/fhir/Patient/1"), ["GET", "HEAD", "PUT", "DELETE"]);
        assert_eq!(allowed("/fhir/Patient"), ["GET", "HEAD", "POST", "PUT"]);
        assert_eq!(allowed("/fhir"), ["POST"]);
        assert_eq!(allowed("/health-data/a/b"), ["POST"]);
        assert_eq!(allowed("/oauth/token"), ["POST"]);
        for unknown in ["/nothing", "/fhir/Patient/1/2/3", "/fhirs", "/fhir//1"] {
            assert_eq!(allowed(unknown), Vec::<&str>::new(), "{unknown}");
        }
    }

    #[test]
    fn rows_are_unique() {
        for rows in [FHIR_ROUTES, OTHER_ROUTES] {
            for (index, row) in rows.iter().enumerate() {
                let twice = rows[..index].iter().any(|other| (other.method, other.path) == (row.method, row.path));
                assert!(!twice, "{row:?}");
            }
        }
    }

    #[test]
    fn reads_take_no_write_method() {
        assert!(FHIR_ROUTES.iter().filter(|row| row.path.contains("_history")).all(|row| row.method == "GET"));
    }
}
