//! Who we are at a payer: its connection, and an access token that is renewed by one request at a time.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use adapters::payer::{Ask, Credentials, Payer};
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use openidconnect::http::Request;
use tokio::sync::Mutex;

use crate::app::App;
use crate::connections::{self, DEFAULT_NAME, Failure, Field, Kind, Opened, Sort};
use crate::error::{self, Error};
use crate::outbound::OutboundError;

use super::assertion::Key;

/// How long before its end a token is renewed, microseconds.
const EARLY: i64 = 60 * 1_000_000;

/// How long sessions are open where no connection says it, and how long before their end that is told, microseconds.
const OPEN: i64 = 24 * 3_600_000_000;
const SOON: i64 = 2 * 3_600_000_000;

/// Shorter texts are no secrets, and stand in many answers.
const SHORTEST: usize = 4;

/// How often a question is repeated with a new token: of several servers with one account, each may end the other's.
const RENEWALS: u32 = 2;

/// Access tokens by connection. They live in memory only.
#[derive(Default)]
pub struct Tokens(std::sync::Mutex<HashMap<String, Slot>>);

/// The token of one connection, where there is one: secret and end, in microseconds since 1970.
type Slot = Arc<Mutex<Option<(String, i64)>>>;

impl Tokens {
    /// The token of one connection: who waits for a payer that gives none holds nobody else up.
    fn of(&self, connection: &str) -> Slot {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.entry(connection.to_owned()).or_default().clone()
    }
}

/// A payer's service, as we may use it.
pub struct Account {
    /// The payer.
    pub payer: &'static Payer,
    opened: Opened,
}

/// An answer of a payer.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body, without what we are known by there.
    pub body: Vec<u8>,
    /// Seconds that it asks to wait.
    pub retry_after: Option<u64>,
}

/// Why a payer gave no answer.
#[derive(Debug)]
pub enum Silence {
    /// No token was given.
    Login(Vec<Issue>),
    /// Nothing came in time, or not all of it.
    Late,
    /// No connection, or it broke.
    Transport(String),
}

/// What has to be known of SmartLink.
pub const SMARTLINK: Kind = Kind {
    vendor: "smartlink",
    about: "SmartLink of Smart Applications: members, visits and claims of insurers",
    base_url: None,
    credentials: &[
        Field::text("client_id", None, "client_id of the provider"),
        Field::text("client_secret", None, "its secret"),
        Field::text("username", None, "name of the account"),
        Field::text("password", None, "its password"),
    ],
    settings: &[
        Field::text("provider_key", None, "what the provider is known by, such as SKSP_0000"),
        Field::text("sp_id", Some(""), "number of the provider, for claims whose provider has no identifier"),
        Field::text("location_code", Some(""), "code of the location, for claims whose facility has no identifier"),
        Field::text("zone", Some("Africa/Nairobi"), "zone of the payer's local times"),
        Field { name: "dialect", sort: Sort::Json, default: Some("{}"), what: "where the integration differs" },
        INSURERS,
        SETTLE,
        Field::number("follow_seconds", "300", "how often the status of a claim is asked for"),
        Field::number("session_seconds", "86400", "how long a session is open after it was first seen"),
        Field::number("expiring_seconds", "7200", "how long before its end a session is told to be about to expire"),
        Field::number("follow_hours", "72", "how long nothing may be learned of a claim until a person has to look"),
    ],
    check: |app, opened| Box::pin(check(&adapters::smartlink::PAYER, app, opened)),
    poll: None,
};

/// What has to be known of a payer that speaks FHIR.
pub const PAS: Kind = Kind {
    vendor: "pas",
    about: "a payer that speaks FHIR as Da Vinci PAS does: Claim/$submit and Claim/$inquire",
    base_url: None,
    credentials: &[
        Field::text("client_id", None, "what we are registered there as"),
        Field::text("client_secret", Some(""), "its secret, where there is one"),
        Field {
            name: "private_key",
            sort: Sort::Key,
            default: Some(""),
            what: "the key that we sign with instead, PKCS#8 in PEM, of P-384 or RSA",
        },
    ],
    settings: &[
        Field { name: "token_url", sort: Sort::Url, default: None, what: "where tokens are made" },
        Field::text("scope", Some("system/Claim.c"), "what tokens are asked for"),
        Field::text("uses", Some("preauthorization"), "which Claim.use it takes, such as preauthorization, claim"),
        INSURERS,
        SETTLE,
        Field::number("follow_seconds", "900", "how often a claim that is not decided is asked for"),
        Field::number("follow_hours", "336", "how long nothing may be learned of a claim until a person has to look"),
    ],
    check: |app, opened| Box::pin(check(&adapters::pas::PAYER, app, opened)),
    poll: None,
};

const INSURERS: Field = Field::text(
    "insurers",
    Some(""),
    "whose claims go there: Organization/id or system|value, with commas between them",
);

const SETTLE: Field =
    Field::number("settle_seconds", "60", "how long the payer may take until it knows a claim that was sent");

async fn check(payer: &'static Payer, app: &App, opened: &Opened) -> Result<String, Failure> {
    match (Account { payer, opened: opened.clone() }).token(app, None).await {
        Ok(_) => Ok("a token was given".to_owned()),
        Err(silence) => Err(Failure::Login(silence.text())),
    }
}

/// The account at a payer, of the connection without a name of its own.
pub async fn open(app: &App, vendor: &str) -> Result<Account, Error> {
    open_named(app, vendor, DEFAULT_NAME).await
}

/// The account at a payer, of one of several connections.
pub async fn open_named(app: &App, vendor: &str, name: &str) -> Result<Account, Error> {
    let unknown = || Error::internal(format!("there is no payer {vendor}"));
    let payer = adapters::payer::find(vendor).ok_or_else(unknown)?;
    let opened = connections::open(app, vendor, name).await.map_err(Error::from)?;
    Ok(Account { payer, opened })
}

/// How long sessions of a payer are open, and how long before their end that is told, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// How long a session is open after it was first seen.
    pub open: i64,
    /// How long before that it is told.
    pub soon: i64,
}

/// The times of a payer's sessions, also while it is not connected; none of a payer that has no sessions.
pub async fn times(app: &App, vendor: &str) -> Result<Option<Times>, Error> {
    let fields = connections::kind(vendor).map_or(&[][..], |kind| kind.settings);
    if !fields.iter().any(|field| field.name == "session_seconds") {
        return Ok(None);
    }
    match open(app, vendor).await {
        Ok(account) => Ok(Some(account.times())),
        Err(error) if error.kind() == error::Kind::Unavailable => Ok(Some(Times { open: OPEN, soon: SOON })),
        Err(error) => Err(error),
    }
}

impl Account {
    /// Name of the connection.
    pub fn name(&self) -> &str {
        &self.opened.row.name
    }

    /// The times of its sessions.
    pub fn times(&self) -> Times {
        Times { open: self.micros("session_seconds"), soon: self.micros("expiring_seconds") }
    }

    /// A setting of the connection.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.opened.setting(name)
    }

    /// A setting that is a number of seconds or hours, in microseconds.
    pub fn micros(&self, name: &str) -> i64 {
        let unit = if name.ends_with("_hours") { 3600 } else { 1 };
        (self.opened.number(name) as i64).saturating_mul(unit).saturating_mul(1_000_000)
    }

    /// Where the integration differs from the usual one.
    pub fn dialect(&self) -> Json {
        self.opened.json("dialect").unwrap_or(Json::Null)
    }

    /// Asks. A question that can be repeated without harm is repeated with a new token, if the token was not good.
    pub async fn ask(&self, app: &App, ask: &Ask) -> Result<Answer, Silence> {
        let mut token = self.token(app, None).await?;
        let mut answer = self.send(app, ask, Some(&token)).await?;
        for _ in 0..RENEWALS {
            if answer.status != 401 {
                break;
            }
            token = self.token(app, Some(&token)).await?;
            if ask.method == "POST" {
                break;
            }
            answer = self.send(app, ask, Some(&token)).await?;
        }
        Ok(answer)
    }

    /// A token that is not the one that was refused. Who asks for one while another does waits, and gets that one: a new
    /// token may end the one before.
    async fn token(&self, app: &App, refused: Option<&str>) -> Result<String, Silence> {
        let own = app.payer_tokens.of(&self.opened.row.id);
        let mut own = own.lock().await;
        let now = app.clock.now();
        if let Some((token, _)) = own.as_ref().filter(|(token, end)| now < *end && refused != Some(token)) {
            return Ok(token.clone());
        }
        let at = match self.payer.token_at {
            Some(setting) => self.opened.required(setting).map_err(|error| Silence::Transport(error.to_string()))?,
            None => self.opened.row.base_url.trim_end_matches('/'),
        };
        let credential = |name| self.opened.credential(name).unwrap_or_default();
        let assertion = self.assertion(app, at)?;
        let ask = (self.payer.token)(&Credentials {
            client_id: credential("client_id"),
            client_secret: credential("client_secret"),
            username: credential("username"),
            password: credential("password"),
            provider_key: self.setting("provider_key").unwrap_or_default(),
            assertion: assertion.as_deref(),
            scope: self.setting("scope").unwrap_or_default(),
        });
        let answer = self.send_to(app, at, &ask, None).await?;
        let granted = (self.payer.granted)(answer.status, &answer.body).map_err(Silence::Login)?;
        let end = now + granted.expires_in.clamp(0, 86_400) * 1_000_000 - EARLY;
        *own = Some((granted.access_token.clone(), end));
        Ok(granted.access_token)
    }

    /// Who we are, signed; nothing where the connection has no key.
    fn assertion(&self, app: &App, audience: &str) -> Result<Option<String>, Silence> {
        let Ok(pem) = self.opened.credential("private_key") else { return Ok(None) };
        let broken = || Silence::Transport("the private key of the connection cannot be used".to_owned());
        let key = Key::read(pem).ok_or_else(broken)?;
        let client = self.opened.credential("client_id").unwrap_or_default();
        let signed = key.assertion(client, audience, &app.random.uuid(), app.clock.now());
        signed.map(Some).ok_or_else(broken)
    }

    async fn send(&self, app: &App, ask: &Ask, token: Option<&str>) -> Result<Answer, Silence> {
        self.send_to(app, self.opened.row.base_url.trim_end_matches('/'), ask, token).await
    }

    async fn send_to(&self, app: &App, base: &str, ask: &Ask, token: Option<&str>) -> Result<Answer, Silence> {
        let url = format!("{base}{}", ask.path);
        let accept = match self.payer.media_type {
            "application/json" => "application/json".to_owned(),
            own => format!("{own}, application/json;q=0.9"),
        };
        let mut request = Request::builder().method(ask.method).uri(url).header("accept", accept);
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = match &ask.body {
            Some((kind, body)) => {
                request = request.header("content-type", *kind);
                body.clone().into_bytes()
            }
            None => Vec::new(),
        };
        let request = request.body(body).map_err(|_| Silence::Transport("the request cannot be made".to_owned()))?;
        let answer = app.services.send(request).await.map_err(|error| match error {
            OutboundError::Late => Silence::Late,
            other => Silence::Transport(other.to_string()),
        })?;
        let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let status = answer.status().as_u16();
        let mut secrets = vec![token.unwrap_or_default()];
        secrets.extend(["client_secret", "password"].map(|name| self.opened.credential(name).unwrap_or_default()));
        Ok(Answer { status, body: without(answer.into_body(), &secrets), retry_after: wait })
    }
}

/// A body in which none of these is said: answers are kept and shown, and some services repeat what they refuse.
fn without(body: Vec<u8>, secrets: &[&str]) -> Vec<u8> {
    let is_said = |secret: &&&str| secret.len() >= SHORTEST && memchr::memmem::find(&body, secret.as_bytes()).is_some();
    let said: Vec<&&str> = secrets.iter().filter(is_said).collect();
    if said.is_empty() {
        return body;
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    said.into_iter().fold(text, |text, secret| text.replace(*secret, "***")).into_bytes()
}

impl Silence {
    /// What happened, for people.
    pub fn text(&self) -> String {
        match self {
            Silence::Login(issues) => {
                let texts = issues.iter().filter_map(|issue| issue.diagnostics.as_deref());
                format!("the payer gave no token: {}", texts.collect::<Vec<_>>().join("; "))
            }
            Silence::Late => "the payer did not answer in time".to_owned(),
            Silence::Transport(text) => format!("the payer cannot be reached: {text}"),
        }
    }
}

impl From<Silence> for Error {
    fn from(silence: Silence) -> Self {
        let kind = if matches!(silence, Silence::Late) { error::Kind::GatewayTimeout } else { error::Kind::BadGateway };
        let code = if matches!(silence, Silence::Login(_)) { IssueCode::Login } else { kind.row().code };
        Error::new(kind, Issue::error(code, silence.text()))
    }
}
