//! What an `id_token` says: who signed in, when, and for which app.
//! <https://openid.net/specs/openid-connect-core-1_0.html#IDToken>,
//! <https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#scopes-for-requesting-identity-data>
//!
//! Only its content is made here; the server signs it. An `id_token` is for the app alone: it opens nothing (SM-48).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fhir::json::{Json, Object};

use crate::grant::{FhirUser, Terms, lifetime};
use crate::metadata::Metadata;
use crate::scope::Scope;

/// How long an `id_token` may be taken as proof, microseconds: as long as the access token beside it.
pub const LIFETIME: i64 = lifetime::ACCESS;

/// The one algorithm (SMART requires RS256 of every server).
pub const ALGORITHM: &str = "RS256";

/// Content of an `id_token`. Times are microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `iss`: base of the server.
    pub issuer: String,
    /// `sub`: the account, a name that tells nothing and never changes.
    pub subject: String,
    /// `aud`: the client that it is for.
    pub audience: String,
    /// `iat`.
    pub issued_at: i64,
    /// `exp`.
    pub expires_at: i64,
    /// `auth_time`: when the person signed in.
    pub auth_time: Option<i64>,
    /// `nonce` of the request, byte for byte.
    pub nonce: Option<String>,
    /// `fhirUser`: the record that the person is, as an absolute URL; only with the scope of that name.
    pub fhir_user: Option<String>,
}

/// What is known of the sign-in beside the grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignIn {
    /// `nonce` of the authorization request.
    pub nonce: Option<String>,
    /// When the person signed in, microseconds since 1970.
    pub auth_time: Option<i64>,
}

impl Claims {
    /// The claims of a grant at the instant `now`; none unless a person gave the scope `openid`.
    pub fn of_grant(metadata: &Metadata, terms: &Terms, client_id: &str, sign_in: SignIn, now: i64) -> Option<Self> {
        let person = terms.person().filter(|_| terms.scopes().contains(&Scope::OpenId))?;
        Some(Claims {
            issuer: metadata.issuer.clone(),
            subject: person.user_id.clone(),
            audience: client_id.to_owned(),
            issued_at: now,
            expires_at: now + LIFETIME,
            auth_time: sign_in.auth_time,
            nonce: sign_in.nonce,
            fhir_user: fhir_user(metadata, terms),
        })
    }

    /// The first two parts of the token, which are what is signed. <https://www.rfc-editor.org/rfc/rfc7515#section-7.1>
    pub fn signing_input(&self, kid: &str) -> String {
        let mut header = Object::new();
        header.insert("alg", ALGORITHM);
        header.insert("typ", "JWT");
        header.insert("kid", kid);
        let part = |object: Object| URL_SAFE_NO_PAD.encode(Json::from(object).to_string());
        format!("{}.{}", part(header), part(self.payload()))
    }

    fn payload(&self) -> Object {
        const SECOND: i64 = 1_000_000;
        let mut payload = Object::new();
        payload.insert("iss", self.issuer.as_str());
        payload.insert("sub", self.subject.as_str());
        payload.insert("aud", self.audience.as_str());
        payload.insert("exp", self.expires_at / SECOND);
        payload.insert("iat", self.issued_at / SECOND);
        if let Some(auth_time) = self.auth_time {
            payload.insert("auth_time", auth_time / SECOND);
        }
        if let Some(nonce) = &self.nonce {
            payload.insert("nonce", nonce.as_str());
        }
        if let Some(fhir_user) = &self.fhir_user {
            payload.insert("fhirUser", fhir_user.as_str());
            // SMART 1.0 called it profile; apps of that time look there.
            payload.insert("profile", fhir_user.as_str());
        }
        payload
    }
}

/// The record of the person of a grant as an absolute URL, where the grant tells it (SM-70).
pub fn fhir_user(metadata: &Metadata, terms: &Terms) -> Option<String> {
    let told = terms.scopes().contains(&Scope::FhirUser);
    let user: &FhirUser = terms.person().filter(|_| told)?.fhir_user.as_ref()?;
    Some(format!("{}/{user}", metadata.fhir_base()))
}

/// The three parts of a token and what its header and payload say; none if it is not one of ours in form.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// What is signed.
    pub signed: &'a str,
    /// The signature.
    pub signature: Vec<u8>,
    /// Which key signed, by its own account.
    pub kid: String,
    /// The payload, not to be believed before the signature is checked.
    pub payload: Json,
}

/// Takes a token apart. Only [`ALGORITHM`] is known, so that no token chooses how it is checked (OA-28).
pub fn parts(token: &str) -> Option<Parts<'_>> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let json = |part: &str| Json::parse(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let (header, payload) = (json(header)?, json(payload)?);
    if header.str("alg") != Some(ALGORITHM) || header.get("crit").is_some() {
        return None;
    }
    Some(Parts {
        signed,
        signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        kid: header.str("kid")?.to_owned(),
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::{Holder, Person};
    use crate::launch::LaunchContext;
    use crate::scope::ScopeSet;

    const NOW: i64 = 1_700_000_000_000_000;

    fn terms(scope: &str) -> Terms {
        let person = Person { user_id: "u-1".to_owned(), fhir_user: FhirUser::parse("Patient/p1") };
        let scopes = ScopeSet::parse(scope).expect("valid");
        Terms::new(Holder::Person(person), scopes, LaunchContext::of_patient("p1")).expect("consistent")
    }

    fn claims(scope: &str, sign_in: SignIn) -> Option<Claims> {
        Claims::of_grant(&Metadata::new("https://server.example"), &terms(scope), "app", sign_in, NOW)
    }

    #[test]
    fn sm_70_an_id_token_says_who_signed_in() {
        let sign_in = SignIn { nonce: Some("n/1 ü".to_owned()), auth_time: Some(NOW - 5_000_000) };
        let claims = claims("openid fhirUser patient/*.rs", sign_in).expect("openid");
        let input = claims.signing_input("k1");
        let token = format!("{input}.c2ln");
        let parts = parts(&token).expect("of our form");
        assert_eq!((parts.signed, parts.kid.as_str(), parts.signature.as_slice()), (input.as_str(), "k1", &b"sig"[..]));
        let expected = r#"{"iss":"https://server.example","sub":"u-1","aud":"app","exp":1700003600,"iat":1700000000,"auth_time":1699999995,"nonce":"n/1 ü","fhirUser":"https://server.example/fhir/Patient/p1","profile":"https://server.example/fhir/Patient/p1"}"#;
        assert_eq!(parts.payload.to_string(), expected);
    }

    #[test]
    fn sm_70_it_says_no_more_than_was_granted() {
        assert!(claims("patient/*.rs fhirUser", SignIn::default()).is_none(), "no openid, no id_token");
        let quiet = claims("openid patient/*.rs", SignIn::default()).expect("openid");
        assert_eq!((&quiet.fhir_user, &quiet.nonce, quiet.auth_time), (&None, &None, None));
        let payload = Json::from(quiet.payload()).to_string();
        assert!(!payload.contains("fhirUser") && !payload.contains("nonce") && !payload.contains("auth_time"));
        let service = Terms::new(
            Holder::Service,
            ScopeSet::parse("openid system/*.rs").expect("valid"),
            LaunchContext::default(),
        );
        let metadata = Metadata::new("https://s");
        let service = service.map(|terms| Claims::of_grant(&metadata, &terms, "app", SignIn::default(), NOW));
        assert!(!matches!(service, Ok(Some(_))), "nobody signed in");
    }

    #[test]
    fn oa_28_a_token_does_not_choose_its_algorithm() {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = |header: &str| format!("{}.{}.{}", encode(header), encode("{}"), encode("x"));
        assert!(parts(&token(r#"{"alg":"RS256","kid":"k"}"#)).is_some());
        for header in [
            r#"{"alg":"none","kid":"k"}"#,
            r#"{"alg":"HS256","kid":"k"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"kid":"k"}"#,
            r#"{"alg":"RS256","kid":"k","crit":["b64"],"b64":false}"#,
            r#"{"alg":["RS256"],"kid":"k"}"#,
        ] {
            assert!(parts(&token(header)).is_none(), "{header}");
        }
        for text in ["", ".", "..", "a.b", "a.b.c", "tra_x"] {
            assert!(parts(text).is_none(), "{text}");
        }
    }
}
