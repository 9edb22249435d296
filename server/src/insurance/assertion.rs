//! Who we are at a payer, signed: an assertion of SMART backend services.
//! <https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html>
//!
//! The private key is a credential of the connection, PKCS#8 in PEM: of P-384 it signs with ES384, of RSA with RS384. The
//! payer is told its public half, which `tributary connection key` prints.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fhir::json::{Json, Object};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA384, RsaKeyPair, RsaPublicKeyComponents,
};

use crate::oauth::keys::thumbprint;

/// How long an assertion is good, seconds; five minutes is the most that SMART allows.
const LIFE: i64 = 240;

/// Length of a coordinate of P-384.
const COORDINATE: usize = 48;

/// A private key.
pub enum Key {
    /// ES384.
    P384(Box<EcdsaKeyPair>),
    /// RS384.
    Rsa(Box<RsaKeyPair>),
}

impl Key {
    /// Reads PKCS#8 in PEM, on one line or several; nothing for what is none, or of another kind.
    pub fn read(pem: &str) -> Option<Key> {
        let body = pem.split("-----").find(|part| !part.contains("PRIVATE KEY") && !part.trim().is_empty())?;
        let body: String = body.chars().filter(|it| !it.is_whitespace()).collect();
        let der = STANDARD.decode(body).ok()?;
        let curve = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &der, &SystemRandom::new());
        if let Ok(pair) = curve {
            return Some(Key::P384(Box::new(pair)));
        }
        RsaKeyPair::from_pkcs8(&der).ok().map(|pair| Key::Rsa(Box::new(pair)))
    }

    /// The assertion that `client` asks `audience` for a token, made at a moment in microseconds since 1970.
    pub fn assertion(&self, client: &str, audience: &str, id: &str, now: i64) -> Option<String> {
        let header = fhir::object! { "alg": self.algorithm(), "typ": "JWT", "kid": thumbprint(&self.members()) };
        let claims = fhir::object! {
            "iss": client, "sub": client, "aud": audience, "jti": id, "exp": now / 1_000_000 + LIFE,
            "iat": now / 1_000_000,
        };
        let part = |json: Json| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let random = SystemRandom::new();
        let signature = match self {
            Key::P384(pair) => pair.sign(&random, signed.as_bytes()).ok()?.as_ref().to_vec(),
            Key::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA384, &random, signed.as_bytes(), &mut signature).ok()?;
                signature
            }
        };
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The public half, for the payer: a JWK Set. <https://www.rfc-editor.org/rfc/rfc7517>
    pub fn public(&self) -> Json {
        let mut key = Object::new();
        for (name, value) in self.members() {
            key.insert(name, value);
        }
        key.insert("use", "sig");
        key.insert("alg", self.algorithm());
        key.insert("kid", thumbprint(&self.members()));
        fhir::object! { "keys": fhir::array![Json::from(key)] }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Key::P384(_) => "ES384",
            Key::Rsa(_) => "RS384",
        }
    }

    /// What the key is, in the order of [RFC 7638](https://www.rfc-editor.org/rfc/rfc7638).
    fn members(&self) -> Vec<(&'static str, String)> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Key::P384(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point.get(1..).unwrap_or_default().split_at(COORDINATE.min(point.len() - 1));
                let curve = "P-384".to_owned();
                vec![("crv", curve), ("kty", "EC".to_owned()), ("x", encode(x)), ("y", encode(y))]
            }
            Key::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                vec![("e", encode(&public.e)), ("kty", "RSA".to_owned()), ("n", encode(&public.n))]
            }
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Key for {}", self.algorithm())
    }
}
