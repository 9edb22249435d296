//! What the server has to know of a payer: how each question is asked, and what an answer means.
//!
//! A payer is a row of data and pure functions, as an [`crate::Adapter`] is. Transport, tokens, the outbox, and the rule
//! that nothing is billed twice are done by the server, once for all payers.
//!
//! ```text
//! Claim ── draft ──► Draft { ask, invoice, net, … }      before anything is sent
//!          send  ──► submitted(status, bytes, sent) ──► Taken | Answered | Refused | Later | Login | Unknown
//! Unknown ── status question ──► followed(status, bytes, sent) ──► Known { standing, amount, … } or none
//! ```

use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::outcome::Issue;

use crate::{Context, Refusal, pas, smartlink};

/// Every payer there is an adapter for.
pub const PAYERS: &[&Payer] = &[&smartlink::PAYER, &pas::PAYER];

/// A payer.
#[derive(Debug)]
pub struct Payer {
    /// Name of the adapter, such as `smartlink`.
    pub vendor: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// Content type of what it is sent.
    pub media_type: &'static str,
    /// Setting of the connection that says where tokens are made, where that is not below its address.
    pub token_at: Option<&'static str>,
    /// Whether a claim belongs to a session that the payer opened: then its Encounter must have one.
    pub has_sessions: bool,
    /// Whether a claim that it has can be updated and withdrawn by sending that.
    pub takes_changes: bool,
    /// Whether a resource of the second type is sent too because one of the first type, which the claim refers to,
    /// refers to it.
    pub follows: fn(&str, &str) -> bool,
    /// The request for a token.
    pub token: fn(&Credentials<'_>) -> Ask,
    /// The token and how many seconds it is good for; or why there is none.
    pub granted: fn(u16, &[u8]) -> Result<Granted, Vec<Issue>>,
    /// How a question is asked.
    pub ask: fn(&Question<'_>, &Context<'_>) -> Ask,
    /// Why the answer to a question about a visit, a member or a copay is none; nothing where it can be read.
    pub refusal: fn(u16, &[u8]) -> Option<Refusal>,
    /// The claim of a Bundle, ready to be sent; or what is wrong with it.
    pub draft: fn(&Json, &Context<'_>) -> Result<Draft, Vec<Issue>>,
    /// What a claim of this net amount in this currency may not be sent for at this moment.
    pub check: fn(&Session, &Decimal, &str, i64) -> Vec<Issue>,
    /// What the answer to a claim means.
    pub submitted: fn(u16, &[u8], &Sent<'_>) -> Submitted,
    /// What the answer to a status question means: what the payer knows of that invoice, if anything.
    pub followed: Follow,
    /// The request with diagnoses that were made after the claim, of a Bundle with the Conditions; or what is wrong with
    /// them. None of a payer that takes none. What its answer means says [`Payer::recorded`].
    pub record: Option<Record>,
    /// What the answer to that means.
    pub recorded: fn(u16, &[u8]) -> Submitted,
}

/// Writes a message that follows a claim.
pub type Record = fn(&Json, &Context<'_>) -> Result<Ask, Vec<Issue>>;

/// Reads an answer to a status question: HTTP status, body, and what it was about.
pub type Follow = fn(u16, &[u8], &Sent<'_>) -> Result<Option<Known>, Submitted>;

/// A claim as it was sent.
#[derive(Clone, Copy, Default)]
pub struct Sent<'a> {
    /// Invoice number.
    pub invoice: &'a str,
    /// Visit number.
    pub visit: &'a str,
    /// Member number.
    pub member: &'a str,
    /// Session.
    pub session: &'a str,
    /// The request.
    pub body: &'a str,
    /// The payer's id of the claim; empty until it is known.
    pub reference: &'a str,
}

/// What tokens are asked for with; what a payer does not want is empty.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// `client_id`.
    pub client_id: &'a str,
    /// `client_secret`.
    pub client_secret: &'a str,
    /// Name of the account.
    pub username: &'a str,
    /// Its password.
    pub password: &'a str,
    /// What the provider is known by, for payers that want it in every request.
    pub provider_key: &'a str,
    /// A signed statement of who we are, instead of the secret. <https://www.rfc-editor.org/rfc/rfc7523>
    pub assertion: Option<&'a str>,
    /// What the token is to be good for.
    pub scope: &'a str,
}

/// A token.
#[derive(Clone)]
pub struct Granted {
    /// The secret.
    pub access_token: String,
    /// How long it is good, in seconds.
    pub expires_in: i64,
}

/// A request without what only the transport knows: base URL and token.
#[derive(Clone, PartialEq, Eq)]
pub struct Ask {
    /// `GET`, `POST` or `PUT`.
    pub method: &'static str,
    /// Path and query below the base, with a slash at its beginning.
    pub path: String,
    /// Headers beside the token.
    pub headers: Vec<(&'static str, String)>,
    /// Content type and body.
    pub body: Option<(&'static str, String)>,
}

/// What can be asked.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// The session that the insurer's side opened for a patient number.
    Visit {
        /// Patient number.
        patient: &'a str,
    },
    /// Our visit number for a session: PENDING becomes ACTIVE.
    Merge {
        /// Session.
        session: &'a str,
        /// Visit number.
        visit: &'a str,
    },
    /// The end of a session.
    Close {
        /// Session.
        session: &'a str,
    },
    /// Who the member is, and what is left of the benefits.
    Member {
        /// Patient number.
        patient: &'a str,
        /// Session.
        session: &'a str,
    },
    /// What the member pays of a benefit.
    Copay {
        /// Benefit.
        benefit: &'a str,
        /// Visit number.
        visit: &'a str,
        /// What the provider is known by.
        provider_key: &'a str,
    },
    /// What has become of an invoice.
    Status {
        /// What was sent.
        sent: Sent<'a>,
    },
}

/// A session as it is known here.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// `PENDING`, `ACTIVE`, `BILLED`, `CLOSED` or `EXPIRED`.
    pub status: String,
    /// When it expires, microseconds since 1970.
    pub expires_at: i64,
    /// From when on that is told.
    pub expiring_at: i64,
    /// Currency of the policy, where its member was asked for.
    pub currency: Option<String>,
    /// What is left of the benefit that is used, where it is known.
    pub balance: Option<Decimal>,
}

/// A claim that is ready to be sent.
#[derive(Clone)]
pub struct Draft {
    /// The request.
    pub ask: Ask,
    /// Invoice number: the payer is billed once for it.
    pub invoice: String,
    /// Visit number.
    pub visit: String,
    /// Session.
    pub session: String,
    /// Member number.
    pub member: String,
    /// What the payer is asked for.
    pub net: Decimal,
    /// What was done, before what others pay is taken off.
    pub gross: Decimal,
    /// Currency of both.
    pub currency: String,
    /// What the payer's format cannot carry.
    pub warnings: Vec<Issue>,
}

/// What the answer to a claim means.
#[derive(Clone, Debug)]
pub enum Submitted {
    /// The payer has it.
    Taken {
        /// The payer's id of it.
        id: String,
        /// What the payer says.
        message: String,
    },
    /// The payer has it, and says what it makes of it.
    Answered(Box<Known>),
    /// The payer has not taken it and will not.
    Refused(Vec<Issue>),
    /// The payer asks to wait.
    Later {
        /// Seconds, where it says so.
        after: Option<u64>,
        /// What it says.
        issues: Vec<Issue>,
    },
    /// The token was not good.
    Login(Vec<Issue>),
    /// Whether the payer has it is not known: ask before anything is sent again.
    Unknown(Vec<Issue>),
    /// The answer names this claim and somebody else: nothing of it is believed, and it is kept for a person. (LK-51)
    Mismatched(Vec<Issue>),
}

/// Where an invoice stands with the payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Taken, waits.
    Pending,
    /// Taken into the payer's books.
    Billed,
    /// Withdrawn there.
    Cancelled,
    /// Refused there.
    Rejected,
    /// Granted as it was asked for.
    Approved,
    /// Granted in part, or changed.
    Partial,
    /// Decided against.
    Denied,
}

/// What a payer knows of an invoice.
#[derive(Clone, Debug)]
pub struct Known {
    /// Where it stands.
    pub standing: Standing,
    /// The payer's word for it.
    pub word: String,
    /// For how much, where it says so.
    pub amount: Option<Decimal>,
    /// The payer's id of it; empty where it says none.
    pub reference: String,
    /// What it said that stands in the ClaimResponse too, as members of one.
    pub answer: Option<Json>,
}

/// The payer of a vendor.
pub fn find(vendor: &str) -> Option<&'static Payer> {
    PAYERS.iter().copied().find(|payer| payer.vendor == vendor)
}

impl Standing {
    /// The word in resources and lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Pending => "pending",
            Standing::Billed => "billed",
            Standing::Cancelled => "cancelled",
            Standing::Rejected => "rejected",
            Standing::Approved => "approved",
            Standing::Partial => "partial",
            Standing::Denied => "denied",
        }
    }
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Credentials")
    }
}

impl std::fmt::Debug for Sent<'_> {
    /// Without the request: it holds what is known of patients.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Sent {}", self.invoice)
    }
}

impl std::fmt::Debug for Granted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Granted for {} s", self.expires_in)
    }
}

impl std::fmt::Debug for Ask {
    /// Without headers and body: they hold secrets of tokens and what is known of patients.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.method, self.path.split('?').next().unwrap_or_default())
    }
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Draft of {}: {} {}", self.invoice, self.net, self.currency)
    }
}

/// The issues of a refusal.
pub(crate) fn issues(refusal: Refusal) -> Vec<Issue> {
    match refusal {
        Refusal::Malformed(issue) => vec![issue],
        Refusal::Unprocessable(issues) | Refusal::Vendor { issues, .. } => issues,
    }
}
