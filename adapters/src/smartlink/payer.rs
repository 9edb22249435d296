//! SmartLink as a payer: paths, tokens, and what its answers mean for a claim.

use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use super::check::check;
use super::facts::member;
use super::{Facts, VENDOR, answer, claim, clinic_record, status, taken};
use crate::payer::{self, Ask, Credentials, Draft, Granted, Known, Payer, Question, Sent, Standing, Submitted};
use crate::{Context, Refusal, bundle, json, money};

/// SmartLink.
pub static PAYER: Payer = Payer {
    vendor: VENDOR,
    name: "SmartLink",
    media_type: "application/json",
    token_at: None,
    has_sessions: true,
    takes_changes: false,
    follows: |_, _| false,
    token,
    granted,
    ask,
    refusal: answer::refusal_of,
    draft,
    check,
    submitted,
    followed,
    record: Some(record),
    recorded,
};

/// How long a token is taken to be good that does not say so, seconds.
const TOKEN_SECONDS: i64 = 300;

fn token(credentials: &Credentials<'_>) -> Ask {
    let Credentials { client_id, client_secret, username, password, provider_key, .. } = *credentials;
    let form =
        format!("grant_type=password&username={}&password={}", bundle::percent(username), bundle::percent(password));
    let basic = base64(format!("{client_id}:{client_secret}").as_bytes());
    let headers = vec![
        ("authorization", format!("Basic {basic}")),
        ("provider-key", provider_key.to_owned()),
        ("accept-language", "en".to_owned()),
    ];
    let body = Some(("application/x-www-form-urlencoded", form));
    Ask { method: "POST", path: "/oauth/token".to_owned(), headers, body }
}

fn granted(status: u16, bytes: &[u8]) -> Result<Granted, Vec<Issue>> {
    let none = || vec![Issue::error(IssueCode::Login, format!("SmartLink gave no token; it answered with {status}"))];
    let json = json(bytes).map_err(|_| none())?;
    if let Some(refusal) = answer::refusal(&json) {
        return Err(payer::issues(refusal));
    }
    let access_token = json.str("access_token").filter(|token| !token.is_empty()).ok_or_else(none)?.to_owned();
    let expires_in = member(&json, "expires_in").and_then(|text| text.parse().ok()).unwrap_or(TOKEN_SECONDS);
    Ok(Granted { access_token, expires_in })
}

fn ask(question: &Question<'_>, _: &Context<'_>) -> Ask {
    let at = bundle::percent;
    let (method, path) = match *question {
        Question::Visit { patient } => {
            ("GET", format!("/api/visit?patientNumber={}&sessionStatus=PENDING", at(patient)))
        }
        Question::Merge { session, visit } => ("PUT", format!("/api/visit/{}/visit-number/{}", at(session), at(visit))),
        Question::Close { session } => ("PUT", format!("/api/visit/{}/close-session", at(session))),
        Question::Member { patient, session } => {
            ("GET", format!("/api/member?patientNumber={}&sessionId={}", at(patient), at(session)))
        }
        Question::Copay { benefit, visit, provider_key } => {
            let (benefit, key, visit) = (at(benefit), at(provider_key), at(visit));
            ("GET", format!("/api/copayment?benefitId={benefit}&providerKey={key}&visitNumber={visit}"))
        }
        Question::Status { sent: Sent { invoice, visit, member, session, .. } } => {
            let (invoice, member, session, visit) = (at(invoice), at(member), at(session), at(visit));
            let query =
                format!("invoiceNumber={invoice}&memberNumber={member}&sessionId={session}&visitNumber={visit}");
            ("GET", format!("/api/claim-status?{query}"))
        }
    };
    Ask { method, path, headers: Vec::new(), body: None }
}

fn draft(bundle: &Json, context: &Context<'_>) -> Result<Draft, Vec<Issue>> {
    let facts = Facts::new(context);
    let (body, warnings) = claim::build(bundle, &facts)?;
    let text = |name: &str| member(&body, name).unwrap_or_default();
    let amount = |name: &str| body.get(name).and_then(money::amount).unwrap_or_else(|| fhir::decimal::Decimal::from(0));
    let (patient, session) = (text("patient_number"), text("session_id"));
    let door = if facts.told("interim").as_deref() == Some("true") { "interim-claim" } else { "claims" };
    let path =
        format!("/api/{door}?patientNumber={}&sessionId={}", bundle::percent(&patient), bundle::percent(&session));
    let ask = Ask { method: "POST", path, headers: Vec::new(), body: Some(("application/json", body.to_string())) };
    Ok(Draft {
        ask,
        invoice: text("claim_code"),
        visit: text("visit_number"),
        session,
        member: text("member_number"),
        net: amount("amount"),
        gross: amount("gross_amount"),
        currency: text("currency"),
        warnings,
    })
}

fn record(bundle: &Json, context: &Context<'_>) -> Result<Ask, Vec<Issue>> {
    let body = clinic_record::build(bundle, &Facts::new(context))?;
    let (path, body) = ("/api/clinic-record".to_owned(), Some(("application/json", body.to_string())));
    Ok(Ask { method: "POST", path, headers: Vec::new(), body })
}

/// The answer names no id: that it was saved is said by its code.
fn recorded(status: u16, bytes: &[u8]) -> Submitted {
    let Ok(json) = json(bytes) else { return of_status(status, unreadable(status)) };
    match answer::refusal(&json) {
        Some(refusal) => of_refusal(refusal),
        None if json.get("code").is_some() => {
            let message = member(&json, "message").unwrap_or_default();
            Submitted::Taken { id: String::new(), message }
        }
        None => of_status(status, unreadable(status)),
    }
}

fn submitted(status: u16, bytes: &[u8], _: &Sent<'_>) -> Submitted {
    let Ok(json) = json(bytes) else { return of_status(status, unreadable(status)) };
    if let Some(refusal) = answer::refusal(&json) {
        return of_refusal(refusal);
    }
    match taken::taken(&json) {
        Some((id, message)) => Submitted::Taken { id, message },
        None => of_status(status, unreadable(status)),
    }
}

/// What SmartLink knows of this invoice; the newest word where it says several. A row that has our number and tells of
/// another visit, session or patient says neither what became of our claim nor that there is none.
fn followed(status: u16, bytes: &[u8], sent: &Sent<'_>) -> Result<Option<Known>, Submitted> {
    let json = json(bytes).map_err(|_| of_status(status, unreadable(status)))?;
    match answer::refusal(&json) {
        Some(Refusal::Vendor { status: 404, .. }) => return Ok(None),
        Some(refusal) => return Err(of_refusal(refusal)),
        None if !is_list(&json) => return Err(of_status(status, unreadable(status))),
        None => {}
    }
    let rows = status::rows(&json).map_err(|refusal| Submitted::Unknown(payer::issues(refusal)))?;
    let (own, others): (Vec<_>, Vec<_>) =
        rows.into_iter().filter(|row| row.invoice == sent.invoice).partition(|row| strange(row, sent).is_none());
    if own.is_empty()
        && let Some(issue) = others.first().and_then(|row| strange(row, sent))
    {
        return Err(Submitted::Mismatched(vec![issue]));
    }
    Ok(own.into_iter().next_back().map(|row| Known {
        standing: status::standing(&row.word).unwrap_or(Standing::Pending),
        word: row.word,
        amount: row.amount,
        reference: String::new(),
        answer: None,
    }))
}

/// What a row tells otherwise than the claim that was sent.
fn strange(row: &status::Row, sent: &Sent<'_>) -> Option<Issue> {
    let body = json(sent.body.as_bytes()).unwrap_or(Json::Null);
    let patient = member(&body, "patient_number").unwrap_or_default();
    let told = [
        ("visit_number", &row.visit, sent.visit),
        ("session_id", &row.session, sent.session),
        ("patient_number", &row.patient, patient.as_str()),
    ];
    let differs = |(_, theirs, ours): &(&str, &Option<String>, &str)| {
        !ours.is_empty() && theirs.as_deref().is_some_and(|theirs| theirs != *ours)
    };
    let (name, ..) = told.into_iter().find(differs)?;
    let text = format!("SmartLink has invoice {} with another {name}; clear that with the insurer", row.invoice);
    Some(Issue::error(IssueCode::Security, text))
}

/// Whether an answer is a list of rows, bare or wrapped; anything else says nothing of the invoice.
fn is_list(json: &Json) -> bool {
    matches!(json, Json::Array(_)) || json.get("content").is_some() || json.get("claim_status").is_some()
}

fn unreadable(status: u16) -> Vec<Issue> {
    let text = format!("SmartLink answered with status {status} and nothing that can be read");
    vec![Issue::error(IssueCode::Structure, text)]
}

/// What an answer that cannot be read means by its status alone.
fn of_status(status: u16, issues: Vec<Issue>) -> Submitted {
    match status {
        401 => Submitted::Login(issues),
        429 => Submitted::Later { after: None, issues },
        _ => Submitted::Unknown(issues),
    }
}

fn of_refusal(refusal: Refusal) -> Submitted {
    let issues = payer::issues(refusal);
    match issues.first().map(|issue| issue.code) {
        Some(IssueCode::Login | IssueCode::Expired) => Submitted::Login(issues),
        Some(IssueCode::Throttled) => Submitted::Later { after: None, issues },
        Some(IssueCode::BusinessRule | IssueCode::Forbidden | IssueCode::NotFound | IssueCode::Invalid) => {
            Submitted::Refused(issues)
        }
        // A duplicate says that there is one already: whether it is this one is asked.
        _ => Submitted::Unknown(issues),
    }
}

/// RFC 4648, for the Authorization header of RFC 7617.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_with_basic_and_the_password_grant() {
        let ask = token(&Credentials {
            client_id: "hmis",
            client_secret: "s:1",
            username: "u",
            password: "p&q",
            provider_key: "SKSP_0000",
            ..Credentials::default()
        });
        assert_eq!(ask.headers[0].1, "Basic aG1pczpzOjE=");
        assert_eq!(ask.body.expect("a form").1, "grant_type=password&username=u&password=p%26q");
        let granted = granted(200, br#"{"access_token":"t","expires_in":33499}"#).expect("a token");
        assert_eq!((granted.access_token.as_str(), granted.expires_in), ("t", 33_499));
    }

    #[test]
    fn what_is_not_certain_is_unknown() {
        let of = |status, body: &str| match submitted(status, body.as_bytes(), &Sent::default()) {
            Submitted::Taken { .. } => "taken",
            Submitted::Answered(_) => "answered",
            Submitted::Refused(_) => "refused",
            Submitted::Later { .. } => "later",
            Submitted::Login(_) => "login",
            Submitted::Unknown(_) => "unknown",
            Submitted::Mismatched(_) => "mismatched",
        };
        assert_eq!(of(500, r#"{"code":"201","content":{"id":1},"response_type":"SUCCESS"}"#), "taken");
        assert_eq!(of(200, r#"{"code":"400.2002","message":"no","response_type":"ERROR"}"#), "refused");
        assert_eq!(of(200, r#"{"code":"409.1","message":"duplicate","response_type":"ERROR"}"#), "unknown");
        assert_eq!(of(200, "<html>"), "unknown");
        assert_eq!(of(200, "{}"), "unknown");
        assert_eq!(of(502, ""), "unknown");
        assert_eq!(of(401, r#"{"error":"invalid_token","error_description":"expired"}"#), "login");
        assert_eq!(of(429, ""), "later");
    }

    #[test]
    fn an_answer_that_is_no_list_does_not_say_that_there_is_no_claim() {
        let followed = |status, bytes: &[u8], invoice, visit| {
            super::followed(status, bytes, &Sent { invoice, visit, ..Sent::default() })
        };
        assert!(matches!(followed(200, b"[]", "I", "V"), Ok(None)));
        assert!(matches!(followed(200, br#"{"code":"200","content":[]}"#, "I", "V"), Ok(None)));
        assert!(matches!(followed(200, b"{}", "I", "V"), Err(Submitted::Unknown(_))));
        assert!(matches!(followed(200, b"", "I", "V"), Err(Submitted::Unknown(_))));
        let row = br#"[{"invoice_number":"I","visit_number":"V","claim_status":"Billed","amount":2700.5}]"#;
        let known = followed(200, row, "I", "V").expect("readable").expect("known");
        assert_eq!((known.standing, known.amount.expect("an amount").as_str()), (Standing::Billed, "2700.5"));
        assert!(matches!(followed(200, row, "J", "V"), Ok(None)), "another invoice");
    }

    #[test]
    fn a_row_of_somebody_else_is_not_believed_and_does_not_say_that_there_is_none() {
        let body = r#"{"patient_number":"P1"}"#;
        let sent = Sent { invoice: "I", visit: "V", session: "7", body, ..Sent::default() };
        let followed = |members: &str| {
            let row = format!(r#"[{{"invoice_number":"I","claim_status":"Billed",{members}}}]"#);
            super::followed(200, row.as_bytes(), &sent)
        };
        assert!(matches!(followed(r#""visit_number":"V","session_id":7,"patient_number":"P1""#), Ok(Some(_))));
        assert!(matches!(followed(r#""amount":1"#), Ok(Some(_))), "it names nobody else");
        for other in [r#""visit_number":"W""#, r#""session_id":8"#, r#""patient_number":"P2""#] {
            assert!(matches!(followed(other), Err(Submitted::Mismatched(_))), "{other}");
        }
    }
}
