//! What the authorization server says about itself: one struct, every document made of it (invariant 4).
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html>, <https://www.rfc-editor.org/rfc/rfc8414>

use fhir::json::{Json, Object};

use crate::client::GrantType;
use crate::scope::Scope;

/// Addresses and abilities of this server. All addresses come from configuration, never from a request (SM-05).
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Base of the server, without a slash at the end; the `iss` of every answer (SM-17).
    pub issuer: String,
}

/// SMART capabilities that are there (SM-07). Each has a test that uses it.
const CAPABILITIES: &[&str] = &[
    "launch-standalone",
    "authorize-post",
    "client-public",
    "client-confidential-symmetric",
    "context-standalone-patient",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
];

/// Scopes shown in the documents; each can be granted (SM-06).
const SCOPES: &[&str] = &[
    "launch/patient",
    "offline_access",
    "online_access",
    "patient/*.cruds",
    "user/*.cruds",
    "system/*.cruds",
    "patient/*.read",
    "patient/*.write",
    "user/*.read",
    "user/*.write",
    "system/*.read",
    "system/*.write",
];

impl Metadata {
    /// Metadata of the server at `issuer`.
    pub fn new(issuer: impl Into<String>) -> Self {
        Metadata { issuer: issuer.into() }
    }

    /// Authorization endpoint.
    pub fn authorization_endpoint(&self) -> String {
        format!("{}/oauth/authorize", self.issuer)
    }

    /// Token endpoint.
    pub fn token_endpoint(&self) -> String {
        format!("{}/oauth/token", self.issuer)
    }

    /// Revocation endpoint.
    pub fn revocation_endpoint(&self) -> String {
        format!("{}/oauth/revoke", self.issuer)
    }

    /// Introspection endpoint.
    pub fn introspection_endpoint(&self) -> String {
        format!("{}/oauth/introspect", self.issuer)
    }

    /// Whether a scope can be granted at all; what cannot is dropped from requests, and so from the answer.
    pub fn offers(scope: &Scope) -> bool {
        match scope {
            Scope::LaunchPatient | Scope::OfflineAccess | Scope::OnlineAccess | Scope::Resource(_) => true,
            Scope::OpenId | Scope::FhirUser | Scope::Launch | Scope::LaunchEncounter => false,
        }
    }

    /// `[base]/.well-known/smart-configuration` (SM-02; `issuer` only together with `sso-openid-connect`, SM-04).
    pub fn smart_configuration(&self) -> Json {
        let mut document = self.endpoints();
        document.insert("capabilities", texts(CAPABILITIES));
        document.into()
    }

    /// `/.well-known/oauth-authorization-server`, with the same values (SM-09).
    pub fn authorization_server(&self) -> Json {
        let mut document = Object::new();
        document.insert("issuer", self.issuer.as_str());
        for (name, value) in self.endpoints().iter() {
            document.insert(name, value.clone());
        }
        document.into()
    }

    fn endpoints(&self) -> Object {
        let mut document = Object::new();
        document.insert("authorization_endpoint", self.authorization_endpoint());
        document.insert("token_endpoint", self.token_endpoint());
        document.insert("revocation_endpoint", self.revocation_endpoint());
        document.insert("introspection_endpoint", self.introspection_endpoint());
        document.insert("grant_types_supported", texts(&GrantType::ALL.map(GrantType::as_str)));
        document.insert("response_types_supported", texts(&["code"]));
        document.insert("code_challenge_methods_supported", texts(&["S256"]));
        document.insert(
            "token_endpoint_auth_methods_supported",
            texts(&["client_secret_basic", "client_secret_post", "none"]),
        );
        document.insert("scopes_supported", texts(SCOPES));
        document.insert("authorization_response_iss_parameter_supported", true);
        document
    }
}

fn texts(texts: &[&str]) -> Json {
    texts.iter().map(|text| Json::from(*text)).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::ScopeSet;

    fn metadata() -> Metadata {
        Metadata::new("https://server.example")
    }

    fn list(document: &Json, name: &str) -> Vec<String> {
        document.list(name).iter().filter_map(Json::as_str).map(str::to_owned).collect()
    }

    #[test]
    fn sm_02_sm_03_required_fields() {
        let document = metadata().smart_configuration();
        assert_eq!(document.str("token_endpoint"), Some("https://server.example/oauth/token"));
        assert_eq!(list(&document, "code_challenge_methods_supported"), ["S256"]);
        assert!(list(&document, "grant_types_supported").contains(&"client_credentials".to_owned()));
        assert!(list(&document, "capabilities").contains(&"launch-standalone".to_owned()));
        assert!(document.get("issuer").is_none(), "SM-04: no sso-openid-connect, no issuer");
    }

    #[test]
    fn sm_06_every_listed_scope_can_be_granted() {
        let scopes = ScopeSet::parse(&SCOPES.join(" ")).expect("all are scopes");
        assert!(scopes.iter().all(Metadata::offers));
    }

    #[test]
    fn sm_09_documents_agree() {
        let (smart, server) = (metadata().smart_configuration(), metadata().authorization_server());
        let fields =
            server.as_object().expect("an object").iter().filter(|(name, _)| *name != "issuer").collect::<Vec<_>>();
        assert!(fields.len() > 8);
        for (name, value) in fields {
            assert_eq!(smart.get(name), Some(value), "{name}");
        }
        assert_eq!(server.str("issuer"), Some("https://server.example"));
    }
}
