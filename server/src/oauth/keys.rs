//! The keys that sign `id_token`s: made when they are first needed, renewed by age, published before and after use.
//! <https://openid.net/specs/openid-connect-core-1_0.html#Signing>, <https://www.rfc-editor.org/rfc/rfc7517>
//!
//! When which key does what is decided in [`smart::signing`]. Private keys stand in the database, so that all nodes
//! sign alike, encrypted under a key that is derived from the server's secret: a backup alone signs nothing. They
//! are made by `rsa` and used by `ring`, whose operations take equally long for all keys (RUSTSEC-2023-0071).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{Key, KeyInit as _, XChaCha20Poly1305, XNonce};
use fhir::json::{Json, Object};
use moka::sync::Cache;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use rsa::pkcs8::EncodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use sha2::{Digest as _, Sha256};
use smart::id_token::{self, Claims};
use smart::signing::{self, Term};
use store::audit::Event;
use store::signing_keys::{self, SigningKey};
use store::{Store, StoreError};
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::random::Random;
use crate::secret::SecretKey;

/// Length of the modulus.
const BITS: usize = 2048;
/// Bytes before the encrypted key.
const NONCE: usize = 24;
/// Keys that stay read: never more than three are published.
const REMEMBERED: u64 = 16;

/// Signs `id_token`s. Clones share what they remember.
#[derive(Clone)]
pub struct Signer {
    store: Store,
    clock: Clock,
    random: Random,
    /// Encrypts private keys.
    sealing: [u8; 32],
    /// Private keys in a form that signs, by name.
    pairs: Cache<String, Arc<RsaKeyPair>>,
    /// Held while a key is made: that takes long, and one is enough.
    making: Arc<Mutex<()>>,
}

/// When a new key takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// If the plan says so.
    IfDue,
    /// Once every client has had time to fetch it.
    Announced,
    /// At once: clients that keep keys have to fetch them again when they see one that they do not know.
    Now,
}

impl Signer {
    /// A signer with the keys of this store.
    pub fn new(store: &Store, clock: &Clock, random: &Random, secret: &SecretKey) -> Self {
        Signer {
            store: store.clone(),
            clock: clock.clone(),
            random: random.clone(),
            sealing: secret.derive("signing keys"),
            pairs: Cache::new(REMEMBERED),
            making: Arc::default(),
        }
    }

    /// A signed `id_token`. `claims` come of [`Claims::of_grant`], which says whether there is one at all.
    pub async fn id_token(&self, claims: Claims) -> Result<String, StoreError> {
        let keys: Vec<(Term, SigningKey)> = self.keys().await?.into_iter().map(|key| (key.term, key)).collect();
        let key = signing::signer(&keys, self.clock.now()).ok_or_else(|| damaged("none signs"))?;
        let pair = self.pair(key)?;
        let input = claims.signing_input(&key.kid);
        let mut signature = vec![0; pair.public().modulus_len()];
        let signed = pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature);
        signed.map_err(|_| damaged("it does not sign"))?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What one of our own `id_token`s says, also after its end; none unless a key that is still published signed it.
    pub async fn read(&self, token: &str) -> Result<Option<Json>, StoreError> {
        let Some(parts) = id_token::parts(token) else { return Ok(None) };
        let keys = self.published().await?;
        let key = keys.iter().find(|key| key.kid == parts.kid).and_then(|key| public_parts(&key.public_key));
        let verified = key.is_some_and(|(n, e)| {
            let key = RsaPublicKeyComponents { n, e };
            key.verify(&RSA_PKCS1_2048_8192_SHA256, parts.signed.as_bytes(), &parts.signature).is_ok()
        });
        Ok(verified.then_some(parts.payload))
    }

    /// What clients verify `id_token`s with, a JWK Set.
    pub async fn jwks(&self) -> Result<Json, StoreError> {
        let keys = self.published().await?;
        let keys = keys.iter().map(|key| Json::parse(key.public_key.as_bytes()));
        let mut set = Object::new();
        set.insert("keys", keys.collect::<Result<Vec<_>, _>>().map_err(|_| damaged("its public part is no JSON"))?);
        Ok(set.into())
    }

    /// All keys, a new one among them if one was due.
    pub async fn keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let keys = signing_keys::all(&self.store).await?;
        if signing::due(&terms(&keys), self.clock.now()).is_none() {
            return Ok(keys);
        }
        self.make(Takeover::IfDue, None).await
    }

    /// Makes a key and says which there are then.
    /// `event` is written if one was made.
    pub async fn make(&self, takeover: Takeover, event: Option<Event>) -> Result<Vec<SigningKey>, StoreError> {
        let _alone = self.making.lock().await;
        let now = self.clock.now();
        let from = move |keys: &[SigningKey]| match takeover {
            Takeover::IfDue => signing::due(&terms(keys), now),
            Takeover::Announced => Some(signing::due(&terms(keys), now).unwrap_or(now + signing::PUBLISHED_BEFORE)),
            Takeover::Now => Some(now),
        };
        let keys = signing_keys::all(&self.store).await?;
        if from(&keys).is_none() {
            return Ok(keys); // another request made it while this one waited
        }
        let key = self.generate().await?;
        let written = self.store.write(move |tx| {
            let (mut key, event) = (key.clone(), event.clone());
            Box::pin(async move {
                let keys = signing_keys::all_for_change(tx).await?;
                if let Some(from) = from(&keys) {
                    key.term.active_from = from;
                    signing_keys::insert(tx, &key).await?;
                    if let Some(event) = event {
                        tx.record(event);
                    }
                    let over = keys.iter().filter(|key| !key.term.is_published(now));
                    signing_keys::delete(tx, &over.map(|key| key.kid.clone()).collect::<Vec<_>>()).await?;
                }
                signing_keys::all_for_change(tx).await
            })
        });
        let keys: Vec<SigningKey> = written.await?;
        tracing::info!(published = keys.len(), "signing keys changed");
        Ok(keys)
    }

    /// Forgets a key, so that nothing that it signed is believed any more, and writes the event; false if there is none
    /// of that name.
    pub async fn withdraw(&self, kid: &str, event: Event) -> Result<bool, StoreError> {
        let kid = kid.to_owned();
        let withdrawn = self.store.write(move |tx| {
            let (kid, event) = (kid.clone(), event.clone());
            Box::pin(async move {
                let found = signing_keys::all_for_change(tx).await?.iter().any(|key| key.kid == kid);
                signing_keys::delete(tx, &[kid]).await?;
                if found {
                    tx.record(event);
                }
                Ok::<_, StoreError>(found)
            })
        });
        withdrawn.await
    }

    async fn published(&self) -> Result<Vec<SigningKey>, StoreError> {
        let now = self.clock.now();
        Ok(self.keys().await?.into_iter().filter(|key| key.term.is_published(now)).collect())
    }

    fn pair(&self, key: &SigningKey) -> Result<Arc<RsaKeyPair>, StoreError> {
        if let Some(pair) = self.pairs.get(&key.kid) {
            return Ok(pair);
        }
        let unreadable =
            || damaged("this server's secret does not open it; `tributary key rotate --now` makes another");
        let (nonce, sealed) = key.private_key.split_at_checked(NONCE).ok_or_else(unreadable)?;
        let payload = Payload { msg: sealed, aad: key.kid.as_bytes() };
        let pkcs8 = self.cipher().decrypt(XNonce::from_slice(nonce), payload).map_err(|_| unreadable())?;
        let pair = RsaKeyPair::from_pkcs8(&pkcs8).map(Arc::new).map_err(|_| damaged("it is no RSA key"))?;
        self.pairs.insert(key.kid.clone(), Arc::clone(&pair));
        Ok(pair)
    }

    async fn generate(&self) -> Result<SigningKey, StoreError> {
        let (signer, created_at) = (self.clone(), self.clock.now());
        let made = tokio::task::spawn_blocking(move || signer.generate_now(created_at));
        made.await.map_err(|_panicked| StoreError::Stopped)?
    }

    fn generate_now(&self, created_at: i64) -> Result<SigningKey, StoreError> {
        let key = rsa::RsaPrivateKey::new(&mut Draw(&self.random), BITS).map_err(|_| damaged("it cannot be made"))?;
        let pkcs8 = key.to_pkcs8_der().map_err(|_| damaged("it cannot be written"))?;
        let (n, e) = (URL_SAFE_NO_PAD.encode(key.n().to_bytes_be()), URL_SAFE_NO_PAD.encode(key.e().to_bytes_be()));
        let kid = thumbprint(&[("e", e.as_str()), ("kty", "RSA"), ("n", n.as_str())]);
        let nonce = self.random.bytes::<NONCE>();
        let payload = Payload { msg: pkcs8.as_bytes(), aad: kid.as_bytes() };
        let sealed = self.cipher().encrypt(XNonce::from_slice(&nonce), payload);
        let sealed = sealed.map_err(|_| damaged("it cannot be encrypted"))?;
        let mut public_key = Object::new();
        for (name, value) in
            [("kty", "RSA"), ("use", "sig"), ("alg", id_token::ALGORITHM), ("kid", &kid), ("n", &n), ("e", &e)]
        {
            public_key.insert(name, value);
        }
        Ok(SigningKey {
            kid,
            algorithm: id_token::ALGORITHM.to_owned(),
            public_key: Json::from(public_key).to_string(),
            private_key: [&nonce[..], &sealed].concat(),
            created_at,
            term: Term { active_from: created_at, retired_at: None },
        })
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(Key::from_slice(&self.sealing))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

/// The server's randomness in the form that `rsa` takes.
struct Draw<'a>(&'a Random);

impl rsa::rand_core::RngCore for Draw<'_> {
    fn next_u32(&mut self) -> u32 {
        u32::from_be_bytes(self.0.bytes())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_be_bytes(self.0.bytes())
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            chunk.copy_from_slice(&self.0.bytes::<32>()[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for Draw<'_> {}

/// Name of a key that follows from the key. <https://www.rfc-editor.org/rfc/rfc7638>
/// The members are those that say what the key is, in the order of their names.
pub fn thumbprint<T: AsRef<str>>(members: &[(&str, T)]) -> String {
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("\"{name}\":\"{}\"", value.as_ref())).collect();
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{{{}}}", members.join(","))))
}

fn public_parts(jwk: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let jwk = Json::parse(jwk.as_bytes()).ok()?;
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk.str(name)?).ok();
    Some((part("n")?, part("e")?))
}

fn terms(keys: &[SigningKey]) -> Vec<Term> {
    keys.iter().map(|key| key.term).collect()
}

fn damaged(what: &str) -> StoreError {
    StoreError::Schema(format!("signing key: {what}"))
}

#[cfg(test)]
mod tests;
