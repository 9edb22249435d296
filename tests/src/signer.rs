//! A client with a key of its own: what it signs, and the server on which it publishes the public half.
//! <https://www.rfc-editor.org/rfc/rfc7523>

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA384, RsaKeyPair, RsaPublicKeyComponents,
};
use rsa::pkcs8::EncodePrivateKey as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// `client_assertion_type` of a signed assertion.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A key pair and the name under which its public half is published.
#[derive(Debug)]
pub struct Signer {
    /// `kid`
    pub kid: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Es384(Box<EcdsaKeyPair>),
    Rs384(Box<RsaKeyPair>),
}

impl Signer {
    /// A fresh pair on P-384.
    pub fn es384(kid: &str) -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).expect("generates");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, made.as_ref(), &random);
        Signer { kid: kid.to_owned(), pair: Pair::Es384(Box::new(pair.expect("was just generated"))) }
    }

    /// A fresh pair of RSA.
    pub fn rs384(kid: &str) -> Self {
        let made = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).expect("a key");
        let pair = RsaKeyPair::from_pkcs8(made.to_pkcs8_der().expect("DER").as_bytes()).expect("a pair");
        Signer { kid: kid.to_owned(), pair: Pair::Rs384(Box::new(pair)) }
    }

    /// The algorithm it signs with.
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Es384(_) => "ES384",
            Pair::Rs384(_) => "RS384",
        }
    }

    /// The public key as JWK.
    pub fn public(&self) -> String {
        let kid = &self.kid;
        match &self.pair {
            Pair::Es384(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
                let (x, y) = (encode(x), encode(y));
                format!(r#"{{"kty":"EC","crv":"P-384","kid":"{kid}","use":"sig","x":"{x}","y":"{y}"}}"#)
            }
            Pair::Rs384(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                let (n, e) = (encode(&public.n), encode(&public.e));
                format!(r#"{{"kty":"RSA","kid":"{kid}","use":"sig","n":"{n}","e":"{e}"}}"#)
            }
        }
    }

    /// A JWS in compact form; header and payload are taken as they are.
    pub fn sign(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(payload));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Es384(pair) => pair.sign(&random, signed.as_bytes()).expect("signs").as_ref().to_vec(),
            Pair::Rs384(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA384, &random, signed.as_bytes(), &mut signature).expect("signs");
                signature
            }
        };
        format!("{signed}.{}", encode(signature))
    }

    /// A faultless header.
    pub fn header(&self) -> String {
        format!(r#"{{"alg":"{}","kid":"{}","typ":"JWT"}}"#, self.algorithm(), self.kid)
    }

    /// A faultless assertion, never the same twice.
    pub fn assertion(&self, client_id: &str, audience: &str) -> String {
        let (exp, jti) = (now() + 240, unique());
        let payload = format!(
            r#"{{"iss":"{client_id}","sub":"{client_id}","aud":"{audience}","exp":{exp},"iat":{},"jti":"{jti}"}}"#,
            now()
        );
        self.sign(&self.header(), &payload)
    }
}

/// A JWK Set of these keys.
pub fn key_set(keys: &[&Signer]) -> String {
    let keys: Vec<_> = keys.iter().map(|signer| signer.public()).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

/// A name that nothing else has.
pub fn unique() -> String {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes");
    encode(bytes)
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a test is a client with a clock of its own")]
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// base64url without padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A web server on loopback that publishes one document, which can be replaced.
#[derive(Clone, Debug)]
pub struct KeyServer {
    address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    answer: String,
    requests: usize,
}

impl KeyServer {
    /// Publishes a document with these further header lines (each ends with CRLF).
    pub async fn start(document: &str, headers: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = format!("http://{}/jwks.json", listener.local_addr().expect("is bound"));
        let state = State { answer: ok(document, headers), requests: 0 };
        let server = KeyServer { address, state: Arc::new(Mutex::new(state)) };
        let state = server.state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, state.clone()));
            }
        });
        server
    }

    /// Where the document is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Publishes another document.
    pub fn publish(&self, document: &str, headers: &str) {
        self.answer_with(&ok(document, headers));
    }

    /// Answers with this text, status line and all.
    pub fn answer_with(&self, answer: &str) {
        answer.clone_into(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).answer);
    }

    /// How often somebody asked.
    pub fn requests(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).requests
    }
}

fn ok(document: &str, headers: &str) -> String {
    let length = document.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{document}"
    )
}

async fn answer(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let text = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.requests += 1;
        state.answer.clone()
    };
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}
