//! An authenticator in software: makes passkeys, signs with them, and can be made to do each thing wrong.
//! <https://www.w3.org/TR/webauthn-3/>

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::signer::unique;

/// Somebody was there, and was verified.
pub const VERIFIED: u8 = 0x05;

/// An authenticator with one passkey on P-256, behind a browser. What it says can be changed field by field.
#[derive(Debug)]
pub struct Authenticator {
    pair: EcdsaKeyPair,
    /// Credential id.
    pub id: Vec<u8>,
    /// Whose passkey it says it is.
    pub user: Vec<u8>,
    /// Where the browser says the page was.
    pub origin: String,
    /// For what site it says it signs.
    pub party: String,
    /// Flags of its data.
    pub flags: u8,
    /// Signatures made so far; each is one more.
    pub count: u32,
    /// What the browser says besides, or instead.
    pub said: Vec<(&'static str, Value)>,
    /// Bytes after the authenticator data.
    pub trailer: Vec<u8>,
    /// `alg` of the public key.
    pub algorithm: i8,
}

impl Authenticator {
    /// A faultless one at an origin such as `http://localhost:8080`.
    pub fn new(origin: &str) -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("generates");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, made.as_ref(), &random);
        let host = url::Url::parse(origin).ok().and_then(|url| url.host_str().map(str::to_owned));
        Authenticator {
            pair: pair.expect("was just generated"),
            id: unique().into_bytes(),
            user: Vec::new(),
            origin: origin.to_owned(),
            party: host.expect("the origin has a host"),
            flags: VERIFIED,
            count: 0,
            said: Vec::new(),
            trailer: Vec::new(),
            algorithm: -7,
        }
    }

    /// Makes the passkey that these options ask for; what the browser hands to the page.
    pub fn create(&mut self, options: &Value) -> String {
        if self.user.is_empty() {
            self.user = URL_SAFE_NO_PAD.decode(options["user"]["id"].as_str().unwrap_or_default()).expect("base64url");
        }
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let algorithm = (-1 - self.algorithm) as u8 | 0x20; // a negative number of CBOR
        let key = [&[0xa5, 1, 2, 3, algorithm, 0x20, 1, 0x21, 0x58, 32], x, &[0x22, 0x58, 32], y].concat();
        let length = (self.id.len() as u16).to_be_bytes();
        let credential = [&[0; 16][..], &length, &self.id, &key].concat();
        let data = [self.data(0x40), credential, self.trailer.clone()].concat();
        let head = [b"\xa3cfmtdnonegattStmt\xa0hauthData\x59".as_slice(), &(data.len() as u16).to_be_bytes()].concat();
        let object = URL_SAFE_NO_PAD.encode([head, data].concat());
        let client = URL_SAFE_NO_PAD.encode(self.client_data("webauthn.create", options));
        self.hand_over(&json!({ "clientDataJSON": client, "attestationObject": object }))
    }

    /// Signs what these options ask for; what the browser hands to the page.
    pub fn get(&mut self, options: &Value) -> String {
        self.count += 1;
        let client = self.client_data("webauthn.get", options);
        let data = [self.data(0), self.trailer.clone()].concat();
        let signed = [data.as_slice(), Sha256::digest(client.as_bytes()).as_slice()].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed).expect("signs");
        self.hand_over(&json!({
            "clientDataJSON": URL_SAFE_NO_PAD.encode(client),
            "authenticatorData": URL_SAFE_NO_PAD.encode(data),
            "signature": URL_SAFE_NO_PAD.encode(signature),
            "userHandle": URL_SAFE_NO_PAD.encode(&self.user),
        }))
    }

    fn hand_over(&self, response: &Value) -> String {
        json!({ "type": "public-key", "rawId": URL_SAFE_NO_PAD.encode(&self.id), "response": response }).to_string()
    }

    fn client_data(&self, kind: &str, options: &Value) -> String {
        let mut said = json!({
            "type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false,
        });
        for (name, value) in &self.said {
            said[*name] = value.clone();
        }
        said.to_string()
    }

    fn data(&self, flags: u8) -> Vec<u8> {
        let party = Sha256::digest(self.party.as_bytes());
        [party.as_slice(), &[self.flags | flags], &self.count.to_be_bytes()].concat()
    }
}
