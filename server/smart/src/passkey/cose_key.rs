//! Public keys of passkeys, and the signatures they verify. <https://www.rfc-editor.org/rfc/rfc9053>,
//! <https://www.w3.org/TR/webauthn-3/#sctn-alg-identifier>

use ciborium::Value;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

use super::authenticator_data::first;

/// What is asked of authenticators, dearest first: Ed25519, ECDSA on P-256, and RSA for those that know nothing else.
pub const ALGORITHMS: [i64; 3] = [EDDSA, ES256, RS256];

const EDDSA: i64 = -8;
const ES256: i64 = -7;
const RS256: i64 = -257;

/// Labels of a key (§7.1 of RFC 9053).
const KIND: i64 = 1;
const ALGORITHM: i64 = 3;
const CURVE_OR_MODULUS: i64 = -1;
const X_OR_EXPONENT: i64 = -2;
const Y: i64 = -3;

/// A public key.
#[derive(Debug)]
pub(super) enum CoseKey {
    Ed25519(Vec<u8>),
    /// Point in uncompressed form: 4, x, y.
    P256(Vec<u8>),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

impl CoseKey {
    /// Reads a key; none where its kind, algorithm and curve do not belong together.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (Value::Map(members), []) = first(bytes)? else { return None };
        let member = |label: i64| {
            members.iter().find(|(name, _)| name.as_integer() == Some(label.into())).map(|(_, value)| value)
        };
        let number = |label: i64| member(label).and_then(Value::as_integer).and_then(|it| i64::try_from(it).ok());
        let binary = |label: i64, length: usize| {
            member(label).and_then(Value::as_bytes).filter(|bytes| length == 0 || bytes.len() == length)
        };
        match (number(KIND)?, number(ALGORITHM)?) {
            (1, EDDSA) if number(CURVE_OR_MODULUS) == Some(6) => {
                Some(CoseKey::Ed25519(binary(X_OR_EXPONENT, 32)?.clone()))
            }
            (2, ES256) if number(CURVE_OR_MODULUS) == Some(1) => {
                let (x, y) = (binary(X_OR_EXPONENT, 32)?, binary(Y, 32)?);
                Some(CoseKey::P256([&[4], x.as_slice(), y].concat()))
            }
            (3, RS256) => {
                let (modulus, exponent) = (binary(CURVE_OR_MODULUS, 0)?.clone(), binary(X_OR_EXPONENT, 0)?.clone());
                (256..=1024).contains(&modulus.len()).then_some(CoseKey::Rsa { modulus, exponent })
            }
            _ => None,
        }
    }

    /// Whether its owner signed the message.
    pub(super) fn verifies(&self, message: &[u8], signed: &[u8]) -> bool {
        match self {
            CoseKey::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signed).is_ok(),
            CoseKey::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signed).is_ok()
            }
            CoseKey::Rsa { modulus, exponent } => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signed).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(members: &[(i64, Value)]) -> Vec<u8> {
        let members = members.iter().map(|(label, value)| (Value::from(*label), value.clone())).collect();
        let mut bytes = Vec::new();
        ciborium::into_writer(&Value::Map(members), &mut bytes).expect("memory takes all");
        bytes
    }

    #[test]
    fn oa_24_kind_algorithm_and_curve_belong_together() {
        let coordinate = || Value::Bytes(vec![1; 32]);
        let p256 = |kind: i64, algorithm: i64, curve: i64| {
            let numbers = [(1, kind.into()), (3, algorithm.into()), (-1, curve.into())];
            key(&[&numbers[..], &[(-2, coordinate()), (-3, coordinate())]].concat())
        };
        assert!(matches!(CoseKey::read(&p256(2, -7, 1)), Some(CoseKey::P256(_))));
        assert!(matches!(CoseKey::read(&p256(1, -8, 6)), Some(CoseKey::Ed25519(_))));
        for (kind, algorithm, curve) in [(2, -7, 2), (2, -8, 6), (1, -7, 1), (2, -257, 1), (2, -35, 1), (4, -7, 1)] {
            assert!(CoseKey::read(&p256(kind, algorithm, curve)).is_none(), "{kind} {algorithm} {curve}");
        }
        let rsa = |length| {
            let modulus = (-1, Value::Bytes(vec![0xff; length]));
            key(&[(1, 3.into()), (3, (-257).into()), modulus, (-2, Value::Bytes(vec![1, 0, 1]))])
        };
        assert!(CoseKey::read(&rsa(256)).is_some());
        assert!(CoseKey::read(&rsa(128)).is_none(), "1024 bits are too few");
        let short = key(&[(1, 2.into()), (3, (-7).into()), (-1, 1.into()), (-2, Value::Bytes(vec![1; 31]))]);
        assert!(CoseKey::read(&short).is_none());
    }
}
