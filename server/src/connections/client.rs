//! Questions to a service: one host, no redirects, bounded, repeated with care, and nothing secret in what is said of
//! them.
//!
//! | answer | what is done |
//! |---|---|
//! | 429, 503 | `Retry-After` is waited for, if it is short; else the failure says how long to wait |
//! | 500, 502, 504, none at all | asked again, up to [`ATTEMPTS`] times, ever later; not where a repetition does harm |
//! | 401 | [`Failure::Login`]: who has a token to renew renews it once |
//! | 3xx | refused: another host is not asked |

use std::fmt;
use std::time::Duration;

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use openidconnect::http::{Request, Response};
use url::Url;

use super::sealing::Credentials;
use crate::app::App;
use crate::error::{Error, Kind};
use crate::outbound::{Outbound, OutboundError, Pieces};
use crate::random::Random;
use crate::secret::SecretText;

/// How often a question is asked at most.
pub const ATTEMPTS: u32 = 5;

/// Delay before the second attempt; it doubles with each.
const FIRST_DELAY: Duration = Duration::from_millis(200);

/// Longest wait inside of a question; who is told to wait longer gives up and comes again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Longest text of a service that is repeated.
const MAX_QUOTE: usize = 200;

/// Asks one service.
#[derive(Clone, Debug)]
pub struct Client {
    outbound: Outbound,
    streams: Outbound,
    base: Url,
    random: Random,
    secrets: Vec<SecretText>,
}

/// A question. Its parameters and headers may be secrets, so it is not shown.
#[derive(Clone, Default)]
pub struct Question {
    method: &'static str,
    segments: Vec<String>,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<(&'static str, String)>,
    once: bool,
}

/// An answer with a status below 300.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body as it came.
    pub body: Vec<u8>,
}

/// Why there is no good answer. The texts hold no secrets and no addresses.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The connection is not set up as it has to be.
    #[error("{0}")]
    Settings(String),
    /// No connection, or it broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// Nothing came in time.
    #[error("no answer in time")]
    Late,
    /// Too many questions; wait that many seconds.
    #[error("too many requests{}", .0.map(|seconds| format!("; wait {seconds} s")).unwrap_or_default())]
    Throttled(Option<u64>),
    /// Our credentials or token are not accepted.
    #[error("the credentials are not accepted: {0}")]
    Login(String),
    /// Another status than one that was hoped for.
    #[error("answered with status {status}: {text}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said, cut.
        text: String,
    },
    /// The answer is not what it should be.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
    /// Our own database did not take part.
    #[error("not stored: {0}")]
    Store(#[from] store::StoreError),
    /// The connection was removed, changed or taken by another server meanwhile.
    #[error("the connection is no longer ours")]
    Lost,
}

impl fmt::Debug for Question {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Question({})", self.method)
    }
}

impl Question {
    /// GET of a path below the base, segment by segment.
    pub fn get(segments: &[&str]) -> Self {
        Question { method: "GET", segments: owned(segments), ..Question::default() }
    }

    /// POST, which is asked again after a failure: only where twice is as good as once.
    pub fn post(segments: &[&str]) -> Self {
        Question { method: "POST", segments: owned(segments), ..Question::default() }
    }

    /// PUT.
    pub fn put(segments: &[&str]) -> Self {
        Question { method: "PUT", segments: owned(segments), ..Question::default() }
    }

    /// The same, one segment further.
    #[must_use]
    pub fn below(mut self, segment: &str) -> Self {
        self.segments.push(segment.to_owned());
        self
    }

    /// The same, never asked twice: what became of the first is not known.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// The same with a parameter in the URL.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same with a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Json) -> Self {
        self.body = Some(("application/json", body.to_string()));
        self
    }

    /// The same with a form as its body.
    #[must_use]
    pub fn form(mut self, pairs: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.body = Some(("application/x-www-form-urlencoded", body));
        self
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Json, Failure> {
        Json::parse(&self.body).map_err(|error| Failure::Unreadable(error.to_string()))
    }
}

impl Client {
    /// A client for what lies below `base`. What is secret is struck out of everything that is said.
    pub fn new(app: &App, base: &str, credentials: &Credentials) -> Result<Self, Failure> {
        let unfit = |_| Failure::Settings("its address is not one that may be asked".to_owned());
        let base = app.outbound.check(base).map_err(unfit)?;
        let secrets = credentials.values().cloned().collect();
        Ok(Client {
            outbound: app.services.clone(),
            streams: Outbound::to_streams(&app.config),
            base,
            random: app.random.clone(),
            secrets,
        })
    }

    /// The same, which also strikes out `secret`: a token that came later.
    #[must_use]
    pub fn hiding(mut self, secret: &str) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Asks, and asks again where that helps.
    pub async fn ask(&self, question: &Question) -> Result<Answer, Failure> {
        let mut attempt = 1;
        loop {
            let failure = match self.ask_once(question).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let wait = match &failure {
                Failure::Throttled(Some(seconds)) => Duration::from_secs(*seconds),
                Failure::Throttled(None) | Failure::Unreachable(_) | Failure::Late => self.delay(attempt),
                Failure::Refused { status, .. } if *status >= 500 => self.delay(attempt),
                _ => return Err(failure),
            };
            if question.once || attempt >= ATTEMPTS || wait > LONGEST_WAIT {
                return Err(failure);
            }
            attempt += 1;
            tokio::time::sleep(wait).await;
        }
    }

    /// Opens an answer that goes on.
    pub async fn stream(&self, question: &Question) -> Result<Pieces, Failure> {
        let request = self.request(question)?.map(|_| ());
        let response = self.streams.stream(request).await.map_err(|error| self.failed(&error))?;
        let (parts, mut pieces) = response.into_parts();
        if parts.status.as_u16() < 300 {
            return Ok(pieces);
        }
        let first = pieces.recv().await.and_then(Result::ok).unwrap_or_default();
        Err(self.refused(&Response::from_parts(parts, first)))
    }

    async fn ask_once(&self, question: &Question) -> Result<Answer, Failure> {
        let request = self.request(question)?;
        let response = self.outbound.send(request).await.map_err(|error| self.failed(&error))?;
        let status = response.status().as_u16();
        if status < 300 { Ok(Answer { status, body: response.into_body() }) } else { Err(self.refused(&response)) }
    }

    fn request(&self, question: &Question) -> Result<Request<Vec<u8>>, Failure> {
        let mut url = self.base.clone();
        let unfit = || Failure::Settings("its address cannot be extended".to_owned());
        url.path_segments_mut().map_err(|()| unfit())?.pop_if_empty().extend(&question.segments);
        if !question.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&question.query);
        }
        let mut request = Request::builder().method(question.method).uri(url.as_str());
        let accepts = question.headers.iter().any(|(name, _)| *name == "accept");
        if !accepts {
            request = request.header("accept", "application/json");
        }
        for (name, value) in &question.headers {
            request = request.header(*name, value);
        }
        let body = match &question.body {
            Some((kind, body)) => {
                request = request.header("content-type", *kind);
                body.clone().into_bytes()
            }
            None => Vec::new(),
        };
        request
            .body(body)
            .map_err(|_| Failure::Settings("a credential or setting has impossible characters".to_owned()))
    }

    fn refused(&self, response: &Response<Vec<u8>>) -> Failure {
        let text = self.quote(&String::from_utf8_lossy(response.body()));
        let seconds = response.headers().get("retry-after").and_then(|it| it.to_str().ok()?.trim().parse().ok());
        let seconds = seconds.or_else(|| seconds_in(&text));
        match response.status().as_u16() {
            401 => Failure::Login(text),
            429 | 503 => Failure::Throttled(seconds),
            // A gateway's quota: https://learn.microsoft.com/azure/api-management/quota-policy
            403 if seconds.is_some() || text.to_ascii_lowercase().contains("quota") => Failure::Throttled(seconds),
            status @ 300..=399 => Failure::Refused { status, text: "redirects are not followed".to_owned() },
            status => Failure::Refused { status, text },
        }
    }

    fn failed(&self, error: &OutboundError) -> Failure {
        match error {
            OutboundError::Late => Failure::Late,
            OutboundError::Address => Failure::Settings(error.to_string()),
            OutboundError::Failed(text) => Failure::Unreachable(self.quote(text)),
        }
    }

    /// A text of a service as it may be shown: short, and without what is secret.
    fn quote(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.iter().map(SecretText::expose).filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "…");
        }
        let printable = text.chars().filter(|character| !character.is_control());
        printable.take(MAX_QUOTE).collect()
    }

    /// Doubles with each attempt; a part is left to chance, so that many do not come at once.
    fn delay(&self, attempt: u32) -> Duration {
        let whole = FIRST_DELAY * 2_u32.pow(attempt.saturating_sub(1));
        let [chance] = self.random.bytes::<1>();
        whole / 2 + whole / 2 * u32::from(chance) / 255
    }
}

impl From<Failure> for Error {
    /// What whoever asked us is answered.
    fn from(failure: Failure) -> Self {
        let text = format!("the vendor's service: {failure}");
        let issue = |code| Issue::error(code, text.clone());
        match failure {
            Failure::Settings(_) => Error::unavailable(issue(IssueCode::Incomplete)),
            Failure::Late => Error::new(Kind::GatewayTimeout, issue(IssueCode::Timeout)),
            Failure::Throttled(seconds) => {
                let seconds = seconds.unwrap_or(60).to_string();
                Error::unavailable(issue(IssueCode::Throttled)).with_header("Retry-After", seconds)
            }
            Failure::Refused { status: 400 | 404 | 409 | 422, .. } => {
                Error::unprocessable(issue(IssueCode::BusinessRule))
            }
            Failure::Unreachable(_) | Failure::Login(_) | Failure::Refused { .. } | Failure::Unreadable(_) => {
                Error::new(Kind::BadGateway, issue(IssueCode::Transient))
            }
            Failure::Store(error) => error.into(),
            Failure::Lost => Error::conflict("the connection was changed at the same time; try again"),
        }
    }
}

/// "Try again in N seconds" or "will be replenished in HH:MM:SS", as gateways say it in the body.
fn seconds_in(text: &str) -> Option<u64> {
    if let Some((before, _)) = text.split_once(" second") {
        return before.rsplit(' ').next()?.parse().ok();
    }
    let clock =
        text.split([' ', '"']).map(|word| word.trim_end_matches('.')).find(|word| word.matches(':').count() == 2)?;
    clock.split(':').try_fold(0, |seconds: u64, part| seconds.checked_mul(60)?.checked_add(part.parse().ok()?))
}

fn owned(segments: &[&str]) -> Vec<String> {
    segments.iter().map(|segment| (*segment).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::seconds_in;

    #[test]
    fn gateways_say_in_words_how_long_to_wait() {
        assert_eq!(seconds_in(r#"{"message":"Rate limit is exceeded. Try again in 29 seconds."}"#), Some(29));
        let spent = r#"{"message":"Out of call volume quota. Quota will be replenished in 01:02:03."}"#;
        assert_eq!(seconds_in(spent), Some(3723));
        assert_eq!(seconds_in("Forbidden at http://a:80:b c:d:e"), None);
    }
}
