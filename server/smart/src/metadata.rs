//! What the authorization server says about itself: one struct, every document made of it (invariant 4).
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html>, <https://www.rfc-editor.org/rfc/rfc8414>,
//! <https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata>
//!
//! | document | made by |
//! |---|---|
//! | `[base]/.well-known/smart-configuration` | [`Metadata::smart_configuration`] |
//! | `/.well-known/openid-configuration` | [`Metadata::openid_configuration`] |
//! | `/.well-known/oauth-authorization-server` | [`Metadata::authorization_server`] |
//! | `CapabilityStatement.rest.security` | [`Metadata::security`] |
//! | `/.well-known/user-access-brands` | [`Metadata::brands`] |

use fhir::json::{Json, Object};
use fhir::{array, object};

use crate::client::GrantType;
use crate::id_token;
use crate::scope::Scope;

/// Addresses and abilities of this server. All addresses come from configuration, never from a request (SM-05).
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Base of the server, without a slash at the end; the `iss` of every answer (SM-17).
    pub issuer: String,
}

/// An endpoint: its member in the documents, its part of the extension `oauth-uris`, if it has one there, its path.
type Endpoint = (&'static str, Option<&'static str>, &'static str);

/// Endpoints that all documents name.
pub const ENDPOINTS: &[Endpoint] = &[
    ("authorization_endpoint", Some("authorize"), "/oauth/authorize"),
    ("token_endpoint", Some("token"), "/oauth/token"),
    ("revocation_endpoint", Some("revoke"), "/oauth/revoke"),
    ("introspection_endpoint", Some("introspect"), "/oauth/introspect"),
    ("registration_endpoint", Some("register"), "/oauth/register"),
    ("pushed_authorization_request_endpoint", None, "/oauth/par"),
    ("jwks_uri", None, "/oauth/jwks.json"),
    ("management_endpoint", Some("manage"), "/portal"),
];

/// The endpoint that only OpenID Connect knows.
pub const USERINFO: &str = "/oauth/userinfo";

/// Where the names are that people look for this server under.
pub const BRANDS: &str = "/.well-known/user-access-brands";

/// SMART capabilities that are there (SM-07, SM-08). Each has a test that uses it: tests/oauth/metadata.rs names it.
pub const CAPABILITIES: &[&str] = &[
    "launch-ehr",
    "launch-standalone",
    "authorize-post",
    "client-public",
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "context-banner",
    "context-style",
    "context-ehr-patient",
    "context-ehr-encounter",
    "context-standalone-patient",
    "context-standalone-encounter",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
];

/// Scopes shown in the documents; each can be granted (SM-06).
const SCOPES: &[&str] = &[
    "openid",
    "fhirUser",
    "launch",
    "launch/patient",
    "launch/encounter",
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

/// How clients prove who they are (RFC 6749 §2.3, RFC 7523).
const AUTHENTICATION: [&str; 4] = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];

/// With what clients sign assertions.
const ASSERTION_ALGORITHMS: [&str; 2] = ["RS384", "ES384"];

/// What an `id_token` or the answer of `UserInfo` may hold.
const CLAIMS: [&str; 9] = ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "fhirUser", "profile"];

impl Metadata {
    /// Metadata of the server at `issuer`.
    pub fn new(issuer: impl Into<String>) -> Self {
        Metadata { issuer: issuer.into() }
    }

    /// Address of the FHIR service.
    pub fn fhir_base(&self) -> String {
        format!("{}/fhir", self.issuer)
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
            Scope::OpenId
            | Scope::FhirUser
            | Scope::Launch
            | Scope::LaunchPatient
            | Scope::LaunchEncounter
            | Scope::OfflineAccess
            | Scope::OnlineAccess
            | Scope::Resource(_) => true,
        }
    }

    /// `[base]/.well-known/smart-configuration` (SM-02, SM-04).
    pub fn smart_configuration(&self) -> Json {
        let mut document = self.common();
        document.insert("capabilities", texts(CAPABILITIES));
        document.insert("user_access_brand_bundle", format!("{}{BRANDS}", self.issuer));
        document.insert("user_access_brand_identifier", self.brand_identifier());
        document.into()
    }

    /// `/.well-known/user-access-brands`: under which name, that of who runs it, people look for this server in an
    /// app's list (SM-81), as a Bundle that was put together at an instant. <https://hl7.org/fhir/smart-app-launch/STU2.2/brands.html>
    pub fn brands(&self, organization: &str, timestamp: &str) -> Json {
        const DEFINITIONS: &str = "http://hl7.org/fhir/StructureDefinition";
        let (brand, endpoint) = (format!("{}/brand", self.issuer), format!("{}/endpoint", self.issuer));
        let portal = format!("{}/portal", self.issuer);
        let entry = |full_url: &str, resource: Json| object! { "fullUrl": full_url, "resource": resource };
        object! {
            "resourceType": "Bundle", "type": "collection", "timestamp": timestamp,
            "entry": array![
                entry(&brand, object! {
                    "resourceType": "Organization", "id": "brand", "active": true,
                    "extension": array![object! {
                        "url": format!("{DEFINITIONS}/organization-portal"),
                        "extension": array![
                            object! { "url": "portalName", "valueString": organization },
                            object! { "url": "portalUrl", "valueUrl": portal.as_str() },
                            object! { "url": "portalEndpoint", "valueReference": object! { "reference": endpoint.as_str() } },
                        ],
                    }],
                    "identifier": array![self.brand_identifier()],
                    "name": organization,
                    "telecom": array![object! { "system": "url", "value": portal.as_str() }],
                    "endpoint": array![object! { "reference": endpoint.as_str() }],
                }),
                entry(&endpoint, object! {
                    "resourceType": "Endpoint", "id": "endpoint",
                    "extension": array![object! {
                        "url": format!("{DEFINITIONS}/endpoint-fhir-version"), "valueCode": "4.0.1",
                    }],
                    "status": "active",
                    "connectionType": object! {
                        "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
                        "code": "hl7-fhir-rest",
                    },
                    "name": organization,
                    "contact": array![object! { "system": "url", "value": portal.as_str() }],
                    "payloadType": array![object! { "coding": array![object! {
                        "system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "none",
                    }] }],
                    "address": self.fhir_base(),
                }),
            ],
        }
    }

    /// What the one brand of this server is found by.
    fn brand_identifier(&self) -> Json {
        object! { "system": "urn:ietf:rfc:3986", "value": self.issuer.as_str() }
    }

    /// `/.well-known/oauth-authorization-server`, with the same values (SM-09).
    pub fn authorization_server(&self) -> Json {
        self.common().into()
    }

    /// `/.well-known/openid-configuration`, with the same values and those of OpenID Connect.
    pub fn openid_configuration(&self) -> Json {
        let mut document = self.common();
        document.insert("userinfo_endpoint", format!("{}{USERINFO}", self.issuer));
        document.insert("subject_types_supported", texts(&["public"]));
        document.insert("id_token_signing_alg_values_supported", texts(&[id_token::ALGORITHM]));
        document.insert("claim_types_supported", texts(&["normal"]));
        document.insert("claims_supported", texts(&CLAIMS));
        document.insert("claims_parameter_supported", false);
        document.insert("prompt_values_supported", texts(&["none", "login", "consent", "select_account"]));
        document.into()
    }

    /// `CapabilityStatement.rest.security` (SM-10). <https://hl7.org/fhir/R4/capabilitystatement.html>
    pub fn security(&self) -> Json {
        let uris = ENDPOINTS.iter().filter_map(|(_, name, path)| {
            name.map(|name| object! { "url": name, "valueUri": format!("{}{path}", self.issuer) })
        });
        object! {
            "extension": array![object! {
                "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension": uris.collect::<Vec<_>>(),
            }],
            "cors": true,
            "service": array![object! {
                "coding": array![object! {
                    "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                    "code": "SMART-on-FHIR",
                }],
                "text": "OAuth2 with SMART on FHIR; see .well-known/smart-configuration",
            }],
        }
    }

    /// What all three discovery documents say.
    fn common(&self) -> Object {
        let mut document = Object::new();
        document.insert("issuer", self.issuer.as_str());
        for (member, _, path) in ENDPOINTS {
            document.insert(member, format!("{}{path}", self.issuer));
        }
        document.insert("grant_types_supported", texts(&GrantType::ALL.map(GrantType::as_str)));
        document.insert("response_types_supported", texts(&["code"]));
        document.insert("response_modes_supported", texts(&["query"]));
        document.insert("code_challenge_methods_supported", texts(&["S256"]));
        for member in ["token", "revocation", "introspection"] {
            document.insert(&format!("{member}_endpoint_auth_methods_supported"), texts(&AUTHENTICATION));
            let algorithms = format!("{member}_endpoint_auth_signing_alg_values_supported");
            document.insert(&algorithms, texts(&ASSERTION_ALGORITHMS));
        }
        document.insert("scopes_supported", texts(SCOPES));
        document.insert("authorization_response_iss_parameter_supported", true);
        document.insert("require_pushed_authorization_requests", false);
        document.insert("request_parameter_supported", false);
        document.insert("request_uri_parameter_supported", false);
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
    fn sm_02_sm_03_sm_04_required_fields() {
        let document = metadata().smart_configuration();
        assert_eq!(document.str("token_endpoint"), Some("https://server.example/oauth/token"));
        assert_eq!(list(&document, "code_challenge_methods_supported"), ["S256"]);
        for grant in ["authorization_code", "client_credentials"] {
            assert!(list(&document, "grant_types_supported").contains(&grant.to_owned()));
        }
        let capabilities = list(&document, "capabilities");
        assert!(capabilities.contains(&"launch-standalone".to_owned()));
        let sso = capabilities.contains(&"sso-openid-connect".to_owned());
        assert_eq!(document.str("issuer").is_some() && document.str("jwks_uri").is_some(), sso, "SM-04");
        let launches = capabilities.iter().any(|it| it.starts_with("launch-"));
        assert_eq!(document.str("authorization_endpoint").is_some(), launches, "SM-04");
    }

    #[test]
    fn sm_06_every_listed_scope_can_be_granted() {
        let scopes = ScopeSet::parse(&SCOPES.join(" ")).expect("all are scopes");
        assert!(scopes.iter().all(Metadata::offers));
        for algorithm in ASSERTION_ALGORITHMS {
            assert!(
                list(&metadata().smart_configuration(), "token_endpoint_auth_signing_alg_values_supported")
                    .contains(&algorithm.to_owned())
            );
        }
    }

    #[test]
    fn sm_81_the_brand_names_the_endpoint_and_is_found_by_its_identifier() {
        let (bundle, stated) =
            (metadata().brands("Riverside Clinic", "2026-11-23T00:00:00Z"), metadata().smart_configuration());
        assert_eq!((bundle.str("type"), bundle.str("timestamp")), (Some("collection"), Some("2026-11-23T00:00:00Z")));
        assert_eq!(
            stated.str("user_access_brand_bundle"),
            Some("https://server.example/.well-known/user-access-brands")
        );
        let [brand, endpoint] = bundle.list("entry") else { panic!("a brand and an endpoint") };
        let of_brand = |name| brand.get("resource").expect("a brand").list(name);
        let identifier = stated.get("user_access_brand_identifier").expect("stated");
        assert_eq!(of_brand("identifier"), std::slice::from_ref(identifier));
        let named = of_brand("endpoint")[0].str("reference");
        assert_eq!(named, endpoint.str("fullUrl"));
        assert_eq!(endpoint.at(&["resource", "address"]).and_then(Json::as_str), Some("https://server.example/fhir"));
    }

    #[test]
    fn sm_08_what_certification_asks_for() {
        for asked in [
            "launch-standalone launch-ehr client-public client-confidential-symmetric client-confidential-asymmetric",
            "sso-openid-connect context-standalone-patient context-banner context-style context-ehr-patient",
            "context-ehr-encounter permission-offline permission-patient permission-user permission-v1 permission-v2",
            "authorize-post",
        ]
        .join(" ")
        .split(' ')
        {
            assert!(CAPABILITIES.contains(&asked), "{asked}");
        }
    }

    #[test]
    fn sm_09_sm_10_documents_agree() {
        let metadata = metadata();
        let (smart, server, openid) =
            (metadata.smart_configuration(), metadata.authorization_server(), metadata.openid_configuration());
        assert!(server.as_object().expect("an object").len() > 15);
        for (name, value) in server.as_object().expect("an object").iter() {
            assert_eq!((smart.get(name), openid.get(name)), (Some(value), Some(value)), "{name}");
        }
        let security = metadata.security();
        for uri in security.list("extension")[0].list("extension") {
            let (_, _, path) =
                ENDPOINTS.iter().find(|(_, name, _)| *name == uri.str("url")).expect("an endpoint of the documents");
            assert_eq!(uri.str("valueUri"), Some(format!("https://server.example{path}").as_str()));
        }
        assert_eq!(security.list("extension")[0].list("extension").len(), 6);
        assert_eq!(security.get("cors").and_then(Json::as_bool), Some(true));
    }
}
