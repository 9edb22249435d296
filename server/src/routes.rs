//! Every route of the server, one row each: method, path, handler, what it is.
//!
//! `GET` rows answer `HEAD` too, and every path answers `OPTIONS`: 204 with `Allow`. A path that is here with another
//! method is 405, every other path is 404; both are `OperationOutcome`s.

use actix_web::http::{Method, header};
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, Route, guard, web};
use fhir::outcome::{Issue, IssueCode};

use crate::error::Error;
use crate::rest::request::known_type;
use crate::rest::response::finish;
use crate::rest::{
    asynchronous, bundle, capabilities, create, delete, history, operation, patch, read, search, update, vread,
};
use crate::{account, devices, health, oauth, portal, qsmartcare, search_parameters, usage};

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// HTTP method.
    pub method: &'static str,
    /// Path below [`FHIR`] or the root; `{name}` is one segment, `{operation:…}` one that begins
    /// with `$`, `{name:.*}` all that follow.
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
            register(routes, vec![$((Method::$method, $path, web::to($handler))),*]);
        }
    };
}

routes! {
    /// FHIR, below [`FHIR`]. Paths are tried in this order, so what is asked most stands first.
    FHIR_ROUTES, fhir {
        GET    "/metadata" => capabilities::handler, "what this server can do; no token";
        GET    "/.well-known/smart-configuration" => oauth::metadata::smart_configuration, "SMART discovery; no token";
        GET    "/OperationDefinition/tributary-{own}" => operation::definition_handler, "definition of an operation; no token";
        GET    "/{type}/{id}" => read::handler, "read";
        PUT    "/{type}/{id}" => update::handler, "update, update as create";
        PATCH  "/{type}/{id}" => patch::handler, "patch: JSON Patch, FHIRPath Patch";
        DELETE "/{type}/{id}" => delete::handler, "delete";
        GET    "/{type}" => search::handler, "search";
        POST   "/{type}" => create::handler, "create, conditional create";
        PUT    "/{type}" => update::conditional_handler, "conditional update";
        PATCH  "/{type}" => patch::conditional_handler, "conditional patch";
        DELETE "/{type}" => delete::conditional_handler, "conditional delete";
        GET    "/{type}/{id}/_history/{version}" => vread::handler, "read of a version";
        GET    "/$export" => operation::export::handler, "bulk export of everything";
        POST   "/$export" => operation::export::handler, "bulk export of everything";
        GET    "/Patient/$export" => operation::export::handler, "bulk export of all patients";
        POST   "/Patient/$export" => operation::export::handler, "bulk export of all patients";
        GET    "/Group/{id}/$export" => operation::export::handler, "bulk export of the members of a Group";
        POST   "/Group/{id}/$export" => operation::export::handler, "bulk export of the members of a Group";
        GET    "/_bulk/{id}" => operation::export::status_handler, "how far a bulk export is; its manifest";
        DELETE "/_bulk/{id}" => operation::export::delete_handler, "cancels or forgets a bulk export";
        GET    "/_bulk/{id}/{file}" => operation::export::file_handler, "a file of a bulk export";
        GET    "/{operation:[$][\\w.~-]*}" => operation::handler, "operation on the system";
        POST   "/{operation:[$][\\w.~-]*}" => operation::handler, "operation on the system";
        GET    "/{type}/{operation:[$][\\w.~-]*}" => operation::handler, "operation on a type";
        POST   "/{type}/{operation:[$][\\w.~-]*}" => operation::handler, "operation on a type";
        GET    "/{type}/{id}/{operation:[$][\\w.~-]*}" => operation::handler, "operation on an instance";
        POST   "/{type}/{id}/{operation:[$][\\w.~-]*}" => operation::handler, "operation on an instance";
        GET    "/{type}/{id}/_history/{version}/{operation:[$][\\w.~-]*}" => operation::handler, "operation on a version";
        POST   "/{type}/{id}/_history/{version}/{operation:[$][\\w.~-]*}" => operation::handler, "operation on a version";
        POST   "" => bundle::handler, "batch, transaction";
        POST   "/" => bundle::handler, "batch, transaction";
        GET    "" => search::system::handler, "search of several types";
        GET    "/" => search::system::handler, "search of several types";
        POST   "/_search" => search::system::form_handler, "search of several types with a form";
        POST   "/{type}/_search" => search::form_handler, "search with a form";
        GET    "/_history" => history::system_handler, "history of the system";
        GET    "/_async/{id}" => asynchronous::status_handler, "how far an asynchronous request is; its answer";
        DELETE "/_async/{id}" => asynchronous::delete_handler, "cancels or forgets an asynchronous request";
        GET    "/{type}/_history" => history::type_handler, "history of a type";
        GET    "/{type}/{id}/_history" => history::handler, "history of an instance";
        GET    "/{type}/{id}/{member}" => search::compartment::handler, "search in a compartment; * for all types";
        POST   "/{type}/{id}/{member}/_search" => search::compartment::form_handler, "search in a compartment with a form";
    }
}

routes! {
    /// All the rest.
    OTHER_ROUTES, others {
        GET  "/" => portal::home::handler, "front page";
        GET  "/health" => health::handler, "whether the database answers";
        GET  "/.well-known/oauth-authorization-server" => oauth::metadata::authorization_server, "RFC 8414";
        GET  "/.well-known/user-access-brands" => oauth::metadata::brands, "names under which people look for this server";
        GET  "/.well-known/openid-configuration" => oauth::metadata::openid_configuration, "OpenID Connect discovery";
        GET  "/oauth/authorize" => oauth::authorize::get, "start of a launch";
        POST "/oauth/authorize" => oauth::authorize::post, "start of a launch";
        GET  "/oauth/login" => oauth::login::get, "sign-in page";
        POST "/oauth/login" => oauth::login::post, "sign-in";
        GET  "/oauth/external" => oauth::external::get, "sign-in at another OpenID provider";
        GET  "/oauth/external/callback" => oauth::external::callback, "back from there";
        GET  "/oauth/consent" => oauth::consent::get, "consent page";
        POST "/oauth/consent" => oauth::consent::post, "consent";
        GET  "/oauth/jwks.json" => oauth::jwks::get, "keys that id_tokens are verified with; no token";
        POST "/oauth/launch" => oauth::launch::post, "a launch context from an EHR; token with scope launch";
        GET  "/oauth/style/{name}" => oauth::style::get, "how apps can look as our pages do; no token";
        GET  "/ehr" => oauth::launch::ehr::patients_page, "built-in EHR: patients";
        GET  "/ehr/{patient}" => oauth::launch::ehr::patient_page, "built-in EHR: a patient, and apps to start";
        POST "/ehr/{patient}" => oauth::launch::ehr::launch, "built-in EHR: starts an app";
        POST "/oauth/par" => oauth::par::post, "authorization request, pushed";
        POST "/oauth/register" => oauth::register::post, "registration of a client; invitation";
        POST "/oauth/token" => oauth::token::post, "code or refresh token for access token";
        GET  "/oauth/userinfo" => oauth::userinfo::handler, "who signed in; token";
        POST "/oauth/userinfo" => oauth::userinfo::handler, "who signed in; token";
        POST "/oauth/introspect" => oauth::introspect::post, "what a token is worth";
        GET  "/account" => account::settings::get, "one's own account";
        GET  "/account/sign-in" => account::sign_in::get, "sign-in page of the portal";
        POST "/account/sign-in" => account::sign_in::post, "sign-in to the portal";
        POST "/account/sign-out" => account::sign_in::sign_out, "end of the session";
        GET  "/account/sign-up" => account::sign_up::get, "page to open an account";
        POST "/account/sign-up" => account::sign_up::post, "new account of a developer";
        GET  "/account/recover" => account::recovery::get, "page for a new password, with a link";
        POST "/account/recover" => account::recovery::post, "new password, with a link";
        GET  "/account/second-factor" => account::second_factor::get, "page that asks for the second factor";
        POST "/account/second-factor" => account::second_factor::post, "second factor";
        POST "/account/second-factor/start" => account::setup::start, "proposes a second factor";
        GET  "/account/second-factor/setup" => account::setup::get, "page with the secret of the second factor";
        POST "/account/second-factor/setup" => account::setup::post, "switches the second factor on";
        POST "/account/second-factor/remove" => account::setup::remove, "switches the second factor off";
        GET  "/account/passkeys.js" => account::passkeys::script, "script of the pages that ask for a passkey";
        POST "/account/passkeys/options" => account::passkeys::sign_in::options, "what to ask of a passkey";
        POST "/account/passkeys/sign-in" => account::passkeys::sign_in::post, "sign-in with a passkey";
        POST "/account/passkeys/start" => account::passkeys::keep::start, "what to ask of a new passkey";
        POST "/account/passkeys" => account::passkeys::keep::add, "new passkey";
        POST "/account/passkeys/rename" => account::passkeys::keep::rename, "another name of a passkey";
        POST "/account/passkeys/remove" => account::passkeys::keep::remove, "end of a passkey";
        POST "/account/password" => account::settings::password, "new password";
        POST "/account/sessions" => account::settings::end_session, "ends sessions";
        POST "/account/developer" => account::settings::developer, "an account becomes a developer's";
        GET  "/portal" => portal::start::get, "where to go in the portal";
        GET  "/portal/apps" => portal::apps::list, "a developer's apps";
        GET  "/portal/apps/new" => portal::app_form::new_page, "page to ask for an app";
        POST "/portal/apps/new" => portal::app_form::create, "asks for an app";
        GET  "/portal/apps/{app}" => portal::apps::get, "one app: keys, usage, errors";
        POST "/portal/apps/{app}/state" => portal::apps::switch, "switches an app on or off";
        GET  "/portal/apps/{app}/edit" => portal::app_form::edit_page, "page to change an app";
        POST "/portal/apps/{app}/edit" => portal::app_form::edit, "changes an app";
        POST "/portal/apps/{app}/secret" => portal::key::make, "new secret of an app";
        POST "/portal/apps/{app}/secret/end" => portal::key::end, "ends a secret of an app";
        GET  "/portal/apps/{app}/patients" => portal::patients::get, "page with the patients of an app";
        POST "/portal/apps/{app}/patients" => portal::patients::post, "chooses the patients of an app";
        GET  "/portal/api" => portal::api::get, "how the API is called";
        GET  "/portal/console" => portal::console::get, "console that calls the API";
        POST "/portal/console" => portal::console::post, "calls the API for a developer";
        GET  "/portal/live" => portal::live::get, "readings and alerts of one's patients, as they come";
        POST "/portal/live" => portal::live::post, "sets limits of a measure";
        GET  "/portal/live.js" => portal::live::script, "script of that page";
        GET  "/portal/live/stream" => portal::live::listen, "what that page listens to";
        GET  "/portal/sharing" => portal::sharing::get, "what apps may see";
        POST "/portal/sharing" => portal::sharing::revoke, "takes back what an app may see";
        POST "/portal/sharing/allow" => portal::sharing::allow, "lets an app see again by itself what was taken back";
        GET  "/portal/record" => portal::record::get, "who has looked at one's own record";
        GET  "/portal/billing" => portal::billing::get, "claims that are not billed, and sessions that are about to expire";
        GET  "/portal/billing/{claim}" => portal::billing::claim::get, "what was sent for a claim, what was answered, what to do";
        POST "/portal/billing/{claim}" => portal::billing::claim::post, "sends a claim again, or takes it back";
        GET  "/portal/admin" => portal::admin::apps, "all apps, for administrators";
        POST "/portal/admin/apps/{app}" => portal::admin::decide, "approves, refuses, stops an app";
        GET  "/portal/admin/accounts" => portal::admin::accounts, "all accounts, for administrators";
        GET  "/portal/admin/audit" => portal::trail::get, "the audit trail, for administrators";
        GET  "/portal/admin/events" => portal::admin::events, "what happened, for administrators";
        POST "/portal/admin/invitations" => portal::admin::invite, "makes an invitation to register";
        POST "/R4-patient-api/oauth2/token" => qsmartcare::token, "QSmartCare's token endpoint";
        POST "/R4-patient-api/oauth2/token.php" => qsmartcare::token, "the same";
        GET  "/R4-patient-api/single/{type}" => qsmartcare::single, "one resource, as QSmartCare's clients ask";
        GET  "/R4-patient-api/multiple/api/{type}" => qsmartcare::multiple, "many resources, as QSmartCare's clients ask";
        POST "/oauth/revoke" => oauth::revoke::post, "end of a token";
        GET  "/profile" => devices::phone::profile, "who is signed in on a phone; its cookie";
        POST "/reset-password" => devices::phone::reset_password, "asks for a new password";
        POST "/health-data/{delivery:.*}" => devices::webhook::handler, "a vendor's message; API key or access token";
        GET  "/devices/stream" => devices::stream::handler, "readings and alerts as they come; access token";
        POST "/devices/assign" => devices::pairing::assign, "a device gets a patient";
        POST "/devices/{id}/unassign" => devices::pairing::unassign, "a device leaves a patient";
    }
}

/// Registers all routes.
pub fn configure(routes: &mut web::ServiceConfig) {
    let scope = web::scope(FHIR)
        .wrap(from_fn(asynchronous::divert))
        .wrap(from_fn(usage::count))
        .wrap(from_fn(finish))
        .wrap(from_fn(search_parameters::current))
        .configure(fhir);
    routes.service(scope.default_service(web::to(unmatched)));
    others(routes);
    routes.default_service(web::to(unmatched));
}

/// One resource a path: matching a request against it is most of what routing costs.
fn register(routes: &mut web::ServiceConfig, rows: Vec<(Method, &'static str, Route)>) {
    let mut paths: Vec<(&str, Vec<(Method, Route)>)> = Vec::new();
    let written_out: Vec<&str> = rows.iter().map(|(_, path, _)| *path).filter(|path| !path.contains('{')).collect();
    for (method, path, route) in rows {
        match paths.iter_mut().find(|(known, _)| *known == path) {
            Some((_, methods)) => methods.push((method, route)),
            None => paths.push((path, vec![(method, route)])),
        }
    }
    for (path, methods) in paths {
        let known: Vec<Method> = methods.iter().map(|(method, _)| method.clone()).collect();
        // A method that a path does not have may be one of a more general path after it, unless that takes what is
        // written out for a pattern.
        let others: Vec<String> =
            written_out.iter().filter(|it| **it != path && matches(path, it)).map(|it| format!("{FHIR}{it}")).collect();
        let known = guard::fn_guard(move |context| {
            let head = context.head();
            known.iter().any(|it| answers(it, &head.method)) && !others.iter().any(|it| it == head.uri.path())
        });
        let resource = methods.into_iter().fold(web::resource(pattern(path)).guard(known), |resource, (own, route)| {
            resource.route(route.guard(guard::fn_guard(move |context| answers(&own, &context.head().method))))
        });
        routes.service(resource);
    }
}

fn answers(row: &Method, asked: &Method) -> bool {
    row == asked || (row == Method::GET && asked == Method::HEAD)
}

/// Types and ids begin otherwise than what FHIR adds to them: `$everything`, `_search`, `.well-known`.
const SEGMENTS: [(&str, &str); 2] = [("/{type}", "/{type:[^$_./][^/]*}"), ("/{id}", "/{id:[^$_/][^/]*}")];

fn pattern(path: &str) -> String {
    SEGMENTS.iter().fold(path.to_owned(), |path, (name, pattern)| path.replace(name, pattern))
}

/// The path of the row that a request came by, such as `/{type}/{id}`; empty if it came by none.
pub fn path_of(request: &HttpRequest) -> String {
    let pattern = request.match_pattern().unwrap_or_default();
    let path = SEGMENTS.iter().fold(pattern, |path, (name, pattern)| path.replace(pattern, name));
    path.strip_prefix(FHIR).map(str::to_owned).unwrap_or(path)
}

/// The methods of a path to `OPTIONS`; 405 to others where the path is known, else 404.
async fn unmatched(request: HttpRequest) -> Result<HttpResponse, Error> {
    let allowed = allowed(request.path());
    if allowed.is_empty() {
        let text = "this server does not know the path; FHIR is below /fhir, see /fhir/metadata";
        return Err(Error::not_found(Issue::error(IssueCode::NotSupported, text)));
    }
    if let Some(segment) = type_segment(request.path()) {
        known_type(segment)?;
    }
    let allowed = allowed.join(", ");
    if request.method() == Method::OPTIONS {
        return Ok(HttpResponse::NoContent().insert_header((header::ALLOW, allowed)).finish());
    }
    let text = format!("{} is not supported here; {allowed} are", request.method());
    Err(Error::method_not_allowed(text).with_header("Allow", allowed))
}

/// Methods that a path answers; none where it is not known.
fn allowed(path: &str) -> Vec<&'static str> {
    let mut methods: Vec<&str> = Vec::new();
    for row in rows(path) {
        let both = if row.method == "GET" { &["GET", "HEAD"][..] } else { &[row.method][..] };
        methods.extend(both.iter().filter(|method| !methods.contains(*method)).copied().collect::<Vec<_>>());
    }
    if !methods.is_empty() {
        methods.push("OPTIONS");
    }
    methods
}

/// The rows that a path is of.
fn rows(path: &str) -> impl Iterator<Item = &'static Row> {
    let below = path.strip_prefix(FHIR).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let (rows, path) = below.map_or((OTHER_ROUTES, path), |rest| (FHIR_ROUTES, rest));
    // What is written out goes before what is a pattern: metadata is no resource type.
    let literal = rows.iter().any(|row| row.path == path);
    rows.iter().filter(move |row| if literal { row.path == path } else { matches(row.path, path) })
}

/// What stands where a resource type is expected, if only such rows know the path.
fn type_segment(path: &str) -> Option<&str> {
    let typed = rows(path).all(|row| row.path.starts_with("/{type}"));
    path.strip_prefix(FHIR)?.split('/').nth(1).filter(|_| typed)
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(name), Some(_)) if name.ends_with(":.*}") => return true,
            (Some(name), Some(segment)) if name.starts_with('{') => {
                let is_operation = segment.starts_with('$');
                let is_reserved = match name {
                    "{type}" => segment.starts_with(['_', '.']),
                    "{id}" => segment.starts_with('_'),
                    _ => false,
                };
                if segment.is_empty() || is_reserved || is_operation != name.starts_with("{operation:") {
                    return false;
                }
            }
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
        let has = |path: &str, methods: &[&str]| methods.iter().all(|method| allowed(path).contains(method));
        assert!(has("/fhir/Patient/1", &["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]));
        assert!(has("/fhir/Patient", &["GET", "HEAD", "POST", "PUT", "OPTIONS"]));
        assert!(has("/fhir", &["POST", "OPTIONS"]) && !has("/fhir", &["PUT"]));
        assert_eq!(allowed("/fhir/metadata"), ["GET", "HEAD", "OPTIONS"]);
        assert_eq!(allowed("/health-data/a/b"), ["POST", "OPTIONS"]);
        assert_eq!(allowed("/oauth/token"), ["POST", "OPTIONS"]);
        assert_eq!(allowed("/fhir/Patient/1/$everything"), ["GET", "HEAD", "POST", "OPTIONS"]);
        for unknown in ["/nothing", "/fhir/Patient/1/2/3", "/fhirs", "/fhir//1"] {
            assert_eq!(allowed(unknown), Vec::<&str>::new(), "{unknown}");
        }
    }

    #[test]
    fn types_stand_where_only_types_can_stand() {
        assert_eq!(type_segment("/fhir/Patient/1"), Some("Patient"));
        assert_eq!(type_segment("/fhir/Nothing"), Some("Nothing"));
        assert_eq!(type_segment("/fhir/metadata"), None);
        assert!(matches("/{type}", "/metadata") && !matches("/{type}/{id}", "/.well-known/smart-configuration"));
        assert_eq!(type_segment("/oauth/token"), None);
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
        assert!(
            FHIR_ROUTES
                .iter()
                .filter(|row| row.path.contains("_history") && !row.path.contains("{operation:"))
                .all(|row| row.method == "GET")
        );
    }
}
