//! An OpenID provider, as a hospital runs one: real HTTP on loopback, real signatures, and every fault on demand.
//! <https://openid.net/specs/openid-connect-core-1_0.html>
//!
//! It knows one client, and one person, who is always signed in: whoever is sent to it comes back with a code.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;
use url::form_urlencoded;

mod keys;

/// The one client.
pub const CLIENT_ID: &str = "tributary";
/// Its secret, with characters that have to be escaped in a Basic header.
pub const CLIENT_SECRET: &str = "s3cr:t +%é";

/// What is wrong with the tokens that it hands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// `nonce` of somebody else's sign-in.
    WrongNonce,
    /// No `nonce`.
    NoNonce,
    /// `aud` is another client.
    WrongAudience,
    /// `aud` names another client beside this one.
    SharedAudience,
    /// `iss` is another provider.
    WrongIssuer,
    /// It ended an hour ago.
    Expired,
    /// Signed by a key that is not published, under the name of one that is.
    WrongKey,
    /// `alg` none and no signature.
    Unsigned,
    /// HS256, keyed with what everybody knows: the public key.
    PublicKeyAsSecret,
    /// The payload was changed after it was signed.
    Changed,
    /// There is no `id_token`.
    NoToken,
    /// The answer to the browser names another provider (RFC 9207).
    OtherIssuerInAnswer,
    /// The person says no.
    Denied,
}

/// A running provider; it ends with the runtime of its test.
#[derive(Clone, Debug)]
pub struct OpenIdProvider {
    issuer: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    key: usize,
    subject: String,
    claims: Value,
    codes: HashMap<String, HashMap<String, String>>,
    requests: Vec<HashMap<String, String>>,
}

/// A request as far as it matters here.
struct Request {
    path: String,
    parameters: HashMap<String, String>,
    authorization: String,
}

impl OpenIdProvider {
    /// Starts a provider whose one person it calls `subject`.
    pub async fn start(subject: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("this machine has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let state = State {
            fault: Fault::None,
            key: 0,
            subject: subject.to_owned(),
            claims: json!({}),
            codes: HashMap::new(),
            requests: Vec::new(),
        };
        let provider =
            OpenIdProvider { issuer: format!("http://127.0.0.1:{port}/realm"), state: Arc::new(Mutex::new(state)) };
        let serving = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let provider = serving.clone();
                tokio::spawn(async move { provider.serve(stream).await });
            }
        });
        provider
    }

    /// Its `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// From now on this is wrong.
    pub fn misbehave(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// From now on it signs with a new key, and publishes only that.
    pub fn rotate(&self) {
        self.state().key = 1;
    }

    /// Who the person is, and what else it says of them.
    pub fn person(&self, subject: &str, claims: Value) {
        let mut state = self.state();
        subject.clone_into(&mut state.subject);
        state.claims = claims;
    }

    /// The authorization requests that it got.
    pub fn requests(&self) -> Vec<HashMap<String, String>> {
        self.state().requests.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, mut stream: TcpStream) {
        let Some(request) = read(&mut stream).await else { return };
        let answer = match request.path.as_str() {
            "/realm/.well-known/openid-configuration" => answer(200, &self.discovery().to_string()),
            "/realm/keys" => answer(200, &self.jwks().to_string()),
            "/realm/authorize" => match self.authorize(&request.parameters) {
                Ok(location) => format!(
                    "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                ),
                Err(text) => answer(400, &json!({ "error": text }).to_string()),
            },
            "/realm/token" => match self.token(&request) {
                Ok(body) => answer(200, &body.to_string()),
                Err(text) => answer(400, &json!({ "error": text }).to_string()),
            },
            _ => answer(404, "{}"),
        };
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}/{path}", self.issuer);
        json!({
            "issuer": self.issuer, "authorization_endpoint": at("authorize"), "token_endpoint": at("token"),
            "jwks_uri": at("keys"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        })
    }

    fn jwks(&self) -> Value {
        let key = self.state().key;
        let (n, e) = public(key);
        json!({ "keys": [{ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid(key), "n": n, "e": e }] })
    }

    /// The address that the browser is sent back to.
    fn authorize(&self, parameters: &HashMap<String, String>) -> Result<String, &'static str> {
        let get = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
        let mut state = self.state();
        state.requests.push(parameters.clone());
        if get("client_id") != CLIENT_ID || get("response_type") != "code" {
            return Err("invalid_request");
        }
        if !get("scope").split(' ').any(|scope| scope == "openid") || get("code_challenge_method") != "S256" {
            return Err("invalid_scope");
        }
        if get("nonce").len() < 20 || get("state").len() < 20 || get("code_challenge").len() != 43 {
            return Err("invalid_request");
        }
        let mut back = Url::parse(get("redirect_uri")).map_err(|_| "invalid_request")?;
        let issuer = if state.fault == Fault::OtherIssuerInAnswer { "https://other.example" } else { &self.issuer };
        back.query_pairs_mut().append_pair("state", get("state")).append_pair("iss", issuer);
        if state.fault == Fault::Denied {
            back.query_pairs_mut().append_pair("error", "access_denied");
            return Ok(back.into());
        }
        let code = format!("code-{}-{}", state.codes.len(), &get("state")[..8]);
        back.query_pairs_mut().append_pair("code", &code);
        state.codes.insert(code, parameters.clone());
        Ok(back.into())
    }

    fn token(&self, request: &Request) -> Result<Value, &'static str> {
        let get = |name: &str| request.parameters.get(name).map(String::as_str).unwrap_or_default();
        let escape = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let basic = STANDARD.encode(format!("{}:{}", escape(CLIENT_ID), escape(CLIENT_SECRET)));
        if request.authorization != format!("Basic {basic}") {
            return Err("invalid_client");
        }
        let mut state = self.state();
        let asked = state.codes.remove(get("code")).ok_or("invalid_grant")?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(get("code_verifier")));
        let same_address = asked.get("redirect_uri").is_some_and(|uri| uri == get("redirect_uri"));
        if asked.get("code_challenge") != Some(&challenge) || !same_address {
            return Err("invalid_grant");
        }
        let mut answer = json!({ "access_token": "of-the-provider", "token_type": "Bearer", "expires_in": 60 });
        if state.fault != Fault::NoToken {
            answer["id_token"] = self.id_token(&state, &asked).into();
        }
        Ok(answer)
    }

    fn id_token(&self, state: &State, asked: &HashMap<String, String>) -> String {
        let fault = state.fault;
        let now = now();
        let ago = if fault == Fault::Expired { 7200 } else { 0 };
        let mut claims = json!({
            "iss": self.issuer, "sub": state.subject, "aud": CLIENT_ID,
            "iat": now - ago, "exp": now - ago + 600, "auth_time": now - ago, "nonce": asked.get("nonce"),
        });
        for (name, value) in state.claims.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        match fault {
            Fault::WrongNonce => claims["nonce"] = "of-somebody-else".into(),
            Fault::NoNonce => drop(claims.as_object_mut().and_then(|claims| claims.remove("nonce"))),
            Fault::WrongAudience => claims["aud"] = "another-client".into(),
            Fault::SharedAudience => claims["aud"] = json!([CLIENT_ID, "another-client"]),
            Fault::WrongIssuer => claims["iss"] = "https://other.example".into(),
            _ => {}
        }
        let algorithm = match fault {
            Fault::Unsigned => "none",
            Fault::PublicKeyAsSecret => "HS256",
            _ => "RS256",
        };
        let header = json!({ "alg": algorithm, "typ": "JWT", "kid": kid(state.key) });
        let mut signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = match fault {
            Fault::Unsigned => Vec::new(),
            Fault::PublicKeyAsSecret => hmac(public(state.key).0.as_bytes(), signed.as_bytes()),
            Fault::WrongKey => sign(1 - state.key, &signed),
            _ => sign(state.key, &signed),
        };
        if fault == Fault::Changed {
            claims["sub"] = "somebody-else".into();
            signed = format!("{}.{}", encode(&header), encode(&claims));
        }
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

#[expect(clippy::disallowed_methods, reason = "it is another machine, with a clock of its own")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            break (head.to_owned(), length);
        }
    };
    while bytes.len() < head.len() + 4 + length {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
    }
    let target = head.split(' ').nth(1)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let body = &bytes[head.len() + 4..];
    let pairs = form_urlencoded::parse(query.as_bytes()).into_owned().chain(form_urlencoded::parse(body).into_owned());
    Some(Request {
        path: path.to_owned(),
        parameters: pairs.collect(),
        authorization: header(&head, "authorization").unwrap_or_default().to_owned(),
    })
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    headers.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn answer(status: u16, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

fn pair(key: usize) -> RsaKeyPair {
    let pkcs8 = STANDARD.decode(keys::PRIVATE[key]).expect("base64");
    RsaKeyPair::from_pkcs8(&pkcs8).expect("a key")
}

fn sign(key: usize, text: &str) -> Vec<u8> {
    let pair = pair(key);
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).expect("signs");
    signature
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    ring::hmac::sign(&key, text).as_ref().to_vec()
}

fn kid(key: usize) -> String {
    format!("key-{key}")
}

/// Modulus and exponent.
fn public(key: usize) -> (String, String) {
    let components: ring::rsa::PublicKeyComponents<Vec<u8>> = pair(key).public().into();
    (URL_SAFE_NO_PAD.encode(components.n), URL_SAFE_NO_PAD.encode(components.e))
}
