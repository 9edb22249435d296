//! Assertions with one fault each (SM-62), and those without.

use ring::rand::SystemRandom;
use ring::signature::{
    self, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA384, RsaKeyPair,
};
use rsa::pkcs8::EncodePrivateKey as _;

use super::*;

const NOW: i64 = 1_700_000_000 * SECOND;
const TOKEN: &str = "https://server.example/oauth/token";
const ISSUER: &str = "https://server.example";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A P-384 key pair, with the text of a set that holds the public one under the name `k`.
struct Signer {
    pair: EcdsaKeyPair,
    keys: String,
}

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).expect("generates");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, made.as_ref(), &random).expect("a pair");
        let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
        let (x, y) = (encode(x), encode(y));
        Signer { pair, keys: format!(r#"{{"keys":[{{"kty":"EC","crv":"P-384","kid":"k","x":"{x}","y":"{y}"}}]}}"#) }
    }

    fn keys(&self) -> JwkSet {
        JwkSet::parse(self.keys.as_bytes()).expect("valid")
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("signs");
        format!("{signed}.{}", encode(signature))
    }
}

const HEADER: &str = r#"{"alg":"ES384","kid":"k","typ":"JWT"}"#;

/// Claims without fault.
const CLAIMS: [(&str, &str); 5] = [
    ("iss", r#""app""#),
    ("sub", r#""app""#),
    ("aud", r#""https://server.example/oauth/token""#),
    ("exp", "1700000300"),
    ("jti", r#""j1""#),
];

/// Those claims with one changed, added, or (empty) left out.
fn claims(name: &str, value: &str) -> String {
    let mut members: Vec<(&str, &str)> = CLAIMS.into_iter().filter(|(other, _)| *other != name).collect();
    members.extend((!value.is_empty()).then_some((name, value)));
    let members: Vec<_> = members.iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
    format!("{{{}}}", members.join(","))
}

fn read_at(text: &str, now: i64) -> Result<Assertion<'_>, AssertionError> {
    read(text, &[TOKEN, ISSUER], now)
}

#[test]
fn sm_62_a_faultless_assertion_is_proven() {
    let signer = Signer::new();
    for (name, value) in [
        ("aud", r#""https://server.example/oauth/token""#),
        ("aud", r#""https://server.example""#),
        ("aud", r#"["https://server.example/oauth/token"]"#),
        ("exp", "1700000001"),
        ("nbf", "1700000000"),
        ("iat", "1600000000"),
        ("other", r#"{"a":[1]}"#),
    ] {
        let text = signer.sign(HEADER, &claims(name, value));
        let proven = read_at(&text, NOW).and_then(|assertion| assertion.verify(&signer.keys())).expect(value);
        assert_eq!((proven.client_id.as_str(), proven.jti.as_str()), ("app", "j1"), "{value}");
    }
}

#[test]
fn sm_62_rs384_is_proven_too() {
    let made = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).expect("a key");
    let pair = RsaKeyPair::from_pkcs8(made.to_pkcs8_der().expect("DER").as_bytes()).expect("a pair");
    let public = signature::RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
    let (n, e) = (encode(&public.n), encode(&public.e));
    let keys = format!(r#"{{"keys":[{{"kty":"RSA","kid":"k","n":"{n}","e":"{e}"}}]}}"#);
    let keys = JwkSet::parse(keys.as_bytes()).expect("valid");
    let sign = |alg: &str| {
        let header = format!(r#"{{"alg":"{alg}","kid":"k","typ":"JWT"}}"#);
        let signed = format!("{}.{}", encode(header), encode(claims("", "")));
        let mut signature = vec![0; public.n.len()];
        pair.sign(&RSA_PKCS1_SHA384, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("signs");
        format!("{signed}.{}", encode(signature))
    };
    assert!(read_at(&sign("RS384"), NOW).and_then(|assertion| assertion.verify(&keys)).is_ok());
    let mixed = sign("ES384");
    let error = read_at(&mixed, NOW).and_then(|assertion| assertion.verify(&keys)).expect_err("another kind of key");
    assert_eq!(error, AssertionError::Unproven);
    assert_eq!(read_at(&sign("RS256"), NOW).map(|_| ()), Err(AssertionError::Algorithm));
}

#[test]
fn sm_62_a_single_fault_in_a_claim_is_refused() {
    use AssertionError::{Audience, Issuer, Jti, Malformed, Time};
    let signer = Signer::new();
    for (name, value, error) in [
        ("iss", "", Issuer),
        ("iss", r#""other""#, Issuer),
        ("iss", r#"["app"]"#, Issuer),
        ("sub", "", Issuer),
        ("sub", r#""other""#, Issuer),
        ("sub", r#""""#, Issuer),
        ("sub", "1", Issuer),
        ("sub", r#""a\u0000""#, Malformed),
        ("aud", "", Audience),
        ("aud", "1", Audience),
        ("aud", "null", Audience),
        ("aud", "[]", Audience),
        ("aud", r#""https://server.example/""#, Audience),
        ("aud", r#""https://server.example/oauth/tokens""#, Audience),
        ("aud", r#""https://server.example/oauth/par""#, Audience),
        ("aud", r#""https://evil.example/oauth/token""#, Audience),
        ("aud", r#"["https://server.example/oauth/token","https://evil.example"]"#, Audience),
        ("aud", r#"[["https://server.example/oauth/token"]]"#, Audience),
        ("exp", "", Time),
        ("exp", "null", Time),
        ("exp", "1700000000", Time),
        ("exp", "1600000000", Time),
        ("exp", "-1", Time),
        ("exp", "1700000361", Time),
        ("exp", "1700003600", Time),
        ("exp", "1700000100.5", Time),
        ("exp", "1.7000001e9", Time),
        ("exp", r#""1700000100""#, Time),
        ("exp", "9223372036854775807", Time),
        ("exp", "9223372036854775808", Time),
        ("nbf", "1700000061", Time),
        ("nbf", r#""1700000000""#, Time),
        ("iat", "1700000061", Time),
        ("iat", "null", Time),
        ("jti", "", Jti),
        ("jti", r#""""#, Jti),
        ("jti", "1", Jti),
        ("jti", r#""a\u0000""#, Malformed),
        ("jti\":\"1\",\"jti", r#""2""#, Malformed),
    ] {
        let text = signer.sign(HEADER, &claims(name, value));
        assert_eq!(read_at(&text, NOW).map(|_| ()), Err(error), "{name} {value}");
    }
    let long = format!(r#""{}""#, "j".repeat(MAX_NAME + 1));
    assert_eq!(read_at(&signer.sign(HEADER, &claims("jti", &long)), NOW).map(|_| ()), Err(Jti));
}

#[test]
fn sm_62_a_single_fault_in_the_header_is_refused() {
    use AssertionError::{Algorithm, Header, Malformed};
    let signer = Signer::new();
    for (header, error) in [
        (r#"{"kid":"k","typ":"JWT"}"#, Algorithm),
        (r#"{"alg":"none","kid":"k","typ":"JWT"}"#, Algorithm),
        (r#"{"alg":"None","kid":"k","typ":"JWT"}"#, Algorithm),
        (r#"{"alg":"HS384","kid":"k","typ":"JWT"}"#, Algorithm),
        (r#"{"alg":"HS256","kid":"k","typ":"JWT"}"#, Algorithm),
        (r#"{"alg":"RS256","kid":"k","typ":"JWT"}"#, Algorithm),
        (r#"{"alg":"PS384","kid":"k","typ":"JWT"}"#, Algorithm),
        (r#"{"alg":"es384","kid":"k","typ":"JWT"}"#, Algorithm),
        (r#"{"alg":["ES384"],"kid":"k","typ":"JWT"}"#, Algorithm),
        (r#"{"alg":"ES384","typ":"JWT"}"#, Header),
        (r#"{"alg":"ES384","kid":"","typ":"JWT"}"#, Header),
        (r#"{"alg":"ES384","kid":1,"typ":"JWT"}"#, Header),
        (r#"{"alg":"ES384","kid":"k"}"#, Header),
        (r#"{"alg":"ES384","kid":"k","typ":"at+jwt"}"#, Header),
        (r#"{"alg":"ES384","kid":"k","typ":"JWT","jwk":{}}"#, Header),
        (r#"{"alg":"ES384","kid":"k","typ":"JWT","x5u":"https://evil.example"}"#, Header),
        (r#"{"alg":"ES384","kid":"k","typ":"JWT","x5c":["AA"]}"#, Header),
        (r#"{"alg":"ES384","kid":"k","typ":"JWT","crit":["exp"],"exp":1}"#, Header),
        (r#"{"alg":"ES384","kid":"k","typ":"JWT","b64":false}"#, Header),
        (r#"{"alg":"ES384","kid":"k","typ":"JWT","cty":"JWT"}"#, Header),
        (r#"{"alg":"ES384","kid":"k","typ":"JWT","enc":"A256GCM"}"#, Header),
        (r#"{"alg":"ES384","kid":"k","typ":"JWT","jku":1}"#, Header),
        (r#"{"alg":"none","alg":"ES384","kid":"k","typ":"JWT"}"#, Malformed),
        (r#"{"alg":"ES384","kid":"k","kid":"l","typ":"JWT"}"#, Malformed),
        (r#"["ES384"]"#, Malformed),
        ("", Malformed),
    ] {
        let text = signer.sign(header, &claims("", ""));
        assert_eq!(read_at(&text, NOW).map(|_| ()), Err(error), "{header}");
    }
}

#[test]
fn sm_62_a_damaged_text_is_refused() {
    let signer = Signer::new();
    let good = signer.sign(HEADER, &claims("", ""));
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let (header, payload) = message.split_once('.').expect("three parts");
    let long = format!("{good}{}", "A".repeat(MAX_LENGTH));
    for text in [
        "",
        ".",
        "..",
        header,
        message,
        &format!("{message}."),
        &format!(".{payload}.{signature}"),
        &format!("{header}..{signature}"),
        &format!("{good}."),
        &format!("{good}.{signature}"),
        &format!("{good}.{signature}.{signature}"),
        &format!("{good}="),
        &format!(" {good}"),
        &format!("{good}\n"),
        &format!("{header}.{payload}.{signature}+/"),
        &format!("{good},{good}"),
        &long,
        &signer.sign(HEADER, "[1]"),
        &signer.sign(HEADER, &format!("{} x", claims("", ""))),
        &signer.sign(HEADER, &good),
        r#"{"payload":"e30","signatures":[]}"#,
    ] {
        let proven = read_at(text, NOW).and_then(|assertion| assertion.verify(&signer.keys()));
        assert!(proven.is_err(), "{text}");
    }
}

#[test]
fn sm_62_a_signature_of_another_is_none() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let good = signer.sign(HEADER, &claims("", ""));
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    flipped[50] ^= 1;
    let other_claims = format!("{}.{}.{signature}", encode(HEADER), encode(claims("jti", r#""j2""#)));
    let zero = format!("{message}.{}", encode([0; 96]));
    let other_kid = signer.sign(&HEADER.replace(r#""k""#, r#""../../k' OR 1=1""#), &claims("", ""));
    for text in [
        stranger.sign(HEADER, &claims("", "")),
        format!("{message}.{}", encode(flipped)),
        other_claims,
        zero,
        other_kid,
    ] {
        let assertion = read_at(&text, NOW).expect("in order so far");
        assert_eq!(assertion.verify(&signer.keys()), Err(AssertionError::Unproven), "{text}");
    }
}

#[test]
fn sm_64_jku_is_the_registered_address_or_nothing() {
    let signer = Signer::new();
    let url = "https://app.example/jwks.json";
    let text =
        |jku: &str| signer.sign(&format!(r#"{{"alg":"ES384","kid":"k","typ":"JWT","jku":"{jku}"}}"#), &claims("", ""));
    let at =
        |jku: &str, registered: &ClientKeys| read_at(&text(jku), NOW).expect("in order").points_rightly(registered);
    let registered = ClientKeys::Url(url.to_owned());
    assert!(at(url, &registered));
    for other in
        ["https://app.example.evil.example/jwks.json", "https://app.example/jwks.json?", "https://app.example", ""]
    {
        assert!(!at(other, &registered), "{other}");
    }
    assert!(!at(url, &ClientKeys::Inline(signer.keys.clone())) && !at(url, &ClientKeys::None));
    let plain = signer.sign(HEADER, &claims("", ""));
    assert!(read_at(&plain, NOW).expect("in order").points_rightly(&ClientKeys::Inline(signer.keys.clone())));
}
