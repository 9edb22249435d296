//! A payer of the PAS shape: paths, tokens, and what its answers mean for a claim.

use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use super::{VENDOR, answer, inquiry, parcel, request};
use crate::payer::{Ask, Credentials, Draft, Granted, Payer, Question, Session, Submitted};
use crate::{Context, bundle, json};

/// A payer that speaks FHIR.
pub static PAYER: Payer = Payer {
    vendor: VENDOR,
    name: "a FHIR payer",
    media_type: MEDIA_TYPE,
    token_at: Some("token_url"),
    has_sessions: false,
    takes_changes: true,
    follows: parcel::follows,
    token,
    granted,
    ask,
    refusal: |_, _| None,
    draft,
    check,
    submitted: answer::submitted,
    followed: answer::followed,
    record: None,
    recorded: |_, _| Submitted::Unknown(Vec::new()),
};

const MEDIA_TYPE: &str = "application/fhir+json";

/// How long a token is taken to be good that does not say so, seconds.
const TOKEN_SECONDS: i64 = 300;

/// Client credentials, with a secret or a signed assertion.
/// <https://hl7.org/fhir/smart-app-launch/backend-services.html#obtain-access-token>
fn token(credentials: &Credentials<'_>) -> Ask {
    let mut form = "grant_type=client_credentials".to_owned();
    let mut say = |name: &str, value: &str| {
        if !value.is_empty() {
            form.extend(["&", name, "=", bundle::percent(value).as_str()]);
        }
    };
    say("scope", credentials.scope);
    if let Some(assertion) = credentials.assertion {
        say("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        say("client_assertion", assertion);
    } else {
        say("client_id", credentials.client_id);
        say("client_secret", credentials.client_secret);
    }
    let body = Some(("application/x-www-form-urlencoded", form));
    Ask { method: "POST", path: String::new(), headers: Vec::new(), body }
}

fn granted(status: u16, bytes: &[u8]) -> Result<Granted, Vec<Issue>> {
    let none = |why: &str| vec![Issue::error(IssueCode::Login, format!("no token was given; status {status}{why}"))];
    let json = json(bytes).map_err(|_| none(""))?;
    let refused = |json: &Json| {
        let error = json.str("error").map(|error| format!(", {error}")).unwrap_or_default();
        let text = json.str("error_description").map(|text| format!(": {text}")).unwrap_or_default();
        none(&format!("{error}{text}"))
    };
    let token = json.str("access_token").filter(|token| !token.is_empty() && (200..300).contains(&status));
    let is_bearer = json.str("token_type").is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
    let access_token = token.filter(|_| is_bearer).ok_or_else(|| refused(&json))?.to_owned();
    let expires_in = json.get("expires_in").and_then(Json::as_number).and_then(|text| text.parse().ok());
    Ok(Granted { access_token, expires_in: expires_in.unwrap_or(TOKEN_SECONDS) })
}

fn ask(question: &Question<'_>, context: &Context<'_>) -> Ask {
    let Question::Status { sent } = *question else {
        // There are no visits here: nothing asks.
        return Ask { method: "GET", path: "/metadata".to_owned(), headers: Vec::new(), body: None };
    };
    let request = Json::parse(sent.body.as_bytes()).unwrap_or(Json::Null);
    let body = inquiry::build(&request, sent.reference, context).map(|body| body.to_string()).unwrap_or_default();
    Ask { method: "POST", path: "/Claim/$inquire".to_owned(), headers: Vec::new(), body: Some((MEDIA_TYPE, body)) }
}

fn draft(bundle: &Json, context: &Context<'_>) -> Result<Draft, Vec<Issue>> {
    let built = request::build(bundle, context)?;
    let body = Some((MEDIA_TYPE, built.body.to_string()));
    Ok(Draft {
        ask: Ask { method: "POST", path: "/Claim/$submit".to_owned(), headers: Vec::new(), body },
        invoice: built.invoice,
        visit: String::new(),
        session: String::new(),
        member: built.member,
        gross: built.net.clone(),
        net: built.net,
        currency: built.currency,
        warnings: built.warnings,
    })
}

/// There is no session to be open.
fn check(_: &Session, _: &Decimal, _: &str, _: i64) -> Vec<Issue> {
    Vec::new()
}
