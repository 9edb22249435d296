//! What a request asks for, by its method and address: for the trail, which also tells of requests that no handler saw.

use actix_web::http::Method;
use fhir::definitions::is_resource_type;
use store::audit::Kind;

use crate::routes::FHIR;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What kind of event that is.
    pub kind: Kind,
    /// Code of the interaction, or what happens.
    pub subtype: &'static str,
    /// `C`, `R`, `U`, `D` or `E`.
    pub action: char,
}

impl Asked {
    /// Whether it is a search.
    pub fn is_search(&self) -> bool {
        self.subtype.starts_with("search")
    }
}

/// What everybody may see: no events. (Addresses that end in a slash: all below.)
const PUBLIC: [&str; 14] = [
    "/",
    "/health",
    "/.well-known/",
    "/oauth/jwks.json",
    "/oauth/style/",
    "/oauth/login",
    "/account/sign-in",
    "/account/passkeys.js",
    "/account/sign-up",
    "/account/recover",
    "/account/second-factor",
    "/portal",
    "/portal/api",
    "/portal/live.js",
];

/// Other addresses: method, address (one that ends in a slash: all below), kind, what happens, action. What is not here
/// is an event too.
const OTHERS: &[(&str, &str, Kind, &str, char)] = &[
    ("POST", "/oauth/token", Kind::Authentication, "token", 'E'),
    ("POST", "/R4-patient-api/oauth2/", Kind::Authentication, "token", 'E'),
    ("POST", "/oauth/revoke", Kind::Authentication, "revoke", 'D'),
    ("POST", "/oauth/introspect", Kind::Authentication, "introspect", 'R'),
    ("GET", "/oauth/userinfo", Kind::Authentication, "userinfo", 'R'),
    ("POST", "/oauth/userinfo", Kind::Authentication, "userinfo", 'R'),
    ("POST", "/oauth/par", Kind::Authentication, "authorize", 'E'),
    ("GET", "/oauth/authorize", Kind::Authentication, "authorize", 'E'),
    ("POST", "/oauth/authorize", Kind::Authentication, "authorize", 'E'),
    ("POST", "/oauth/login", Kind::Authentication, "login", 'E'),
    ("GET", "/oauth/external", Kind::Authentication, "login-elsewhere", 'E'),
    ("GET", "/oauth/external/", Kind::Authentication, "login", 'E'),
    ("GET", "/oauth/consent", Kind::Authentication, "consent-page", 'R'),
    ("POST", "/oauth/consent", Kind::Authentication, "consent", 'E'),
    ("POST", "/oauth/register", Kind::Administration, "register-app", 'C'),
    ("POST", "/oauth/launch", Kind::Authentication, "launch", 'E'),
    ("GET", "/ehr", Kind::Rest, "search-type", 'E'),
    ("GET", "/ehr/", Kind::Rest, "read", 'R'),
    ("POST", "/ehr/", Kind::Authentication, "launch", 'E'),
    ("POST", "/account/sign-in", Kind::Authentication, "login", 'E'),
    ("POST", "/account/passkeys/options", Kind::Authentication, "challenge", 'E'),
    ("POST", "/account/passkeys/sign-in", Kind::Authentication, "login", 'E'),
    ("POST", "/account/passkeys/start", Kind::Authentication, "challenge", 'E'),
    ("POST", "/account/sign-out", Kind::Authentication, "logout", 'E'),
    ("POST", "/account/second-factor", Kind::Authentication, "second-factor", 'E'),
    ("POST", "/account/", Kind::Administration, "account", 'U'),
    ("GET", "/portal/live", Kind::Rest, "search-type", 'E'),
    ("POST", "/portal/live", Kind::Rest, "update", 'U'),
    ("GET", "/portal/live/stream", Kind::Rest, "stream", 'R'),
    ("POST", "/portal/sharing", Kind::Authentication, "consent-withdrawn", 'D'),
    ("POST", "/portal/sharing/allow", Kind::Authentication, "consent", 'E'),
    ("GET", "/portal/admin/audit", Kind::Rest, "search-type", 'E'),
    ("POST", "/portal/admin/", Kind::Administration, "administration", 'U'),
    ("POST", "/portal/apps/", Kind::Administration, "app", 'U'),
    ("GET", "/R4-patient-api/", Kind::Rest, "search-type", 'E'),
    ("POST", "/health-data/", Kind::Rest, "delivery", 'C'),
    ("POST", "/devices/", Kind::Administration, "device", 'U'),
    ("GET", "/devices/stream", Kind::Rest, "stream", 'R'),
    ("GET", "/profile", Kind::Authentication, "userinfo", 'R'),
    ("POST", "/reset-password", Kind::Authentication, "recovery", 'E'),
];

/// What a request asks for; nothing if it is about what everybody may see.
pub fn of(method: &Method, path: &str) -> Option<Asked> {
    if *method == Method::OPTIONS {
        return None;
    }
    match path.strip_prefix(FHIR).filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        Some(rest) => fhir(method, rest.strip_prefix('/').unwrap_or(rest)),
        None => other(method, path),
    }
}

fn fhir(method: &Method, path: &str) -> Option<Asked> {
    let segments: Vec<&str> = path.split('/').collect();
    let rest = |subtype, action| Some(Asked { kind: Kind::Rest, subtype, action });
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    match segments.as_slice() {
        ["metadata"] | [".well-known", ..] if is_read => None,
        ["OperationDefinition", own] if is_read && own.starts_with("tributary-") => None,
        [.., last] if last.starts_with('$') => rest("operation", 'E'),
        ["_async" | "_bulk", _] => rest("operation", 'E'),
        ["_bulk", _, _] => rest("operation", 'R'),
        [""] if is_read => rest("search-system", 'E'),
        [""] => rest("batch", 'E'),
        ["_search"] => rest("search-system", 'E'),
        ["_history"] => rest("history-system", 'R'),
        [_, "_history"] => rest("history-type", 'R'),
        [_, _, "_history"] => rest("history-instance", 'R'),
        [_, _, "_history", _] => rest("vread", 'R'),
        [_, "_search"] | [_, _, _, "_search"] | [_, _, _] => rest("search-type", 'E'),
        [_] | [_, _] => match *method {
            Method::GET | Method::HEAD if segments.len() == 1 => rest("search-type", 'E'),
            Method::GET | Method::HEAD => rest("read", 'R'),
            Method::PUT => rest("update", 'U'),
            Method::PATCH => rest("patch", 'U'),
            Method::DELETE => rest("delete", 'D'),
            _ => rest("create", 'C'),
        },
        _ => rest("", 'E'),
    }
}

fn other(method: &Method, path: &str) -> Option<Asked> {
    let is_at = |place: &str| path == place || (place.len() > 1 && place.ends_with('/') && path.starts_with(place));
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    if is_read && PUBLIC.iter().any(|place| is_at(place)) {
        return None;
    }
    let known = OTHERS
        .iter()
        .find(|(known, place, ..)| (method.as_str() == *known || (is_read && *known == "GET")) && is_at(place));
    let (kind, subtype, action) = known.map_or_else(
        || if is_read { (Kind::Administration, "page", 'R') } else { (Kind::Administration, "form", 'U') },
        |(_, _, kind, subtype, action)| (*kind, *subtype, *action),
    );
    Some(Asked { kind, subtype, action })
}

/// Type, id and version that an address names, if they can be such.
pub fn instance(path: &str) -> Option<(&str, &str, Option<&str>)> {
    let mut segments = path.strip_prefix(FHIR)?.strip_prefix('/')?.split('/');
    let (resource_type, id) = (segments.next()?, segments.next()?);
    if !is_resource_type(resource_type) || !fhir::id::is_valid(id) {
        return None;
    }
    let version = segments.next().filter(|it| *it == "_history").and_then(|_| segments.next());
    Some((resource_type, id, version.filter(|version| fhir::id::is_valid(version))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{FHIR_ROUTES, OTHER_ROUTES};

    fn subtype(method: &str, path: &str) -> Option<&'static str> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        of(&method, path).map(|asked| asked.subtype)
    }

    #[test]
    fn interactions_have_the_codes_of_fhir() {
        for (method, path, code) in [
            ("GET", "/fhir/Patient/1", "read"),
            ("HEAD", "/fhir/Patient/1", "read"),
            ("GET", "/fhir/Patient/1/_history/2", "vread"),
            ("POST", "/fhir/Patient", "create"),
            ("PUT", "/fhir/Patient", "update"),
            ("PATCH", "/fhir/Patient/1", "patch"),
            ("DELETE", "/fhir/Patient/1", "delete"),
            ("GET", "/fhir/Patient", "search-type"),
            ("POST", "/fhir/Patient/_search", "search-type"),
            ("GET", "/fhir/Patient/1/Observation", "search-type"),
            ("GET", "/fhir", "search-system"),
            ("POST", "/fhir/", "batch"),
            ("GET", "/fhir/_history", "history-system"),
            ("GET", "/fhir/Patient/_history", "history-type"),
            ("GET", "/fhir/Patient/1/_history", "history-instance"),
            ("GET", "/fhir/Patient/1/$everything", "operation"),
        ] {
            assert_eq!(subtype(method, path), Some(code), "{method} {path}");
        }
    }

    #[test]
    fn co_01_every_route_is_an_event_but_what_everybody_may_see() {
        let filled = |path: &str| {
            let fill = |segment: &str| if segment.contains('{') { "x" } else { segment }.to_owned();
            path.split('/').map(fill).collect::<Vec<_>>().join("/")
        };
        for row in FHIR_ROUTES {
            let public = row.what.ends_with("no token");
            let path =
                filled(&row.path.replace("tributary-{own}", "tributary-x").replace("{operation:[$][\\w-]*}", "$x"));
            assert_eq!(subtype(row.method, &format!("/fhir{path}")).is_none(), public, "{row:?}");
        }
        for row in OTHER_ROUTES.iter().filter(|row| row.method == "POST") {
            assert!(subtype(row.method, &filled(row.path)).is_some(), "{row:?}");
        }
    }

    #[test]
    fn only_what_can_be_an_id_is_kept_of_an_address() {
        assert_eq!(instance("/fhir/Patient/a/_history/2"), Some(("Patient", "a", Some("2"))));
        assert_eq!(instance("/fhir/Patient/a/$everything"), Some(("Patient", "a", None)));
        for odd in ["/fhir/Nothing/a", "/fhir/Patient/a%20b", "/fhir/Patient", "/oauth/token"] {
            assert_eq!(instance(odd), None, "{odd}");
        }
    }
}
