//! What must be true of the session before a claim is sent. The money of the claim is proved where its body is made.

use fhir::decimal::Decimal;
use fhir::outcome::{Issue, IssueCode};

use crate::payer::Session;
use crate::{error, warning};

/// A minute, microseconds.
const MINUTE: i64 = 60 * 1_000_000;

/// What a claim of `net` in `currency` may not be sent for now, and what a person should know.
pub(super) fn check(session: &Session, net: &Decimal, currency: &str, now: i64) -> Vec<Issue> {
    let mut issues = Vec::new();
    let at = "Claim.item[0].encounter";
    if now >= session.expires_at || session.status == "EXPIRED" {
        let text = "the session has expired; the insurer's side has to open a new one";
        issues.push(error(IssueCode::Expired, text, at));
    } else if session.status != "ACTIVE" {
        let text = format!("the session is {}; it must be ACTIVE: merge the visit first", session.status);
        issues.push(error(IssueCode::BusinessRule, text, at));
    } else if now >= session.expiring_at {
        let left = (session.expires_at - now) / MINUTE;
        let (hours, minutes) = (left / 60, left % 60);
        let text = format!("the session expires in {hours} h {minutes} min; what is sent after that is refused");
        issues.push(warning(IssueCode::Expired, text, at));
    }
    if let Some(own) = session.currency.as_deref().filter(|own| *own != currency) {
        let text = format!("the claim is in {currency}, the policy in {own}; they must be the same");
        issues.push(error(IssueCode::BusinessRule, text, "Claim.total.currency"));
    }
    if let Some(balance) = session.balance.as_ref().filter(|balance| net > *balance) {
        let text = format!("{net} is more than the {balance} that are left of the benefit; the insurer may refuse it");
        issues.push(warning(IssueCode::BusinessRule, text, "Claim.total"));
    }
    issues
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * MINUTE;

    #[test]
    fn each_rule_says_what_would_be_right() {
        let decimal = |text: &str| Decimal::parse(text).expect("a decimal");
        let good = Session {
            status: "ACTIVE".into(),
            expires_at: 24 * HOUR,
            expiring_at: 22 * HOUR,
            currency: Some("KES".into()),
            balance: Some(decimal("100.00")),
        };
        let found = |session: &Session, net: &str, currency: &str, now: i64| {
            let issues = check(session, &decimal(net), currency, now);
            issues.into_iter().map(|issue| (issue.severity.as_str(), issue.code.as_str())).collect::<Vec<_>>()
        };
        assert_eq!(found(&good, "100", "KES", 22 * HOUR - 1), []);
        assert_eq!(found(&good, "100", "KES", 24 * HOUR - 1), [("warning", "expired")]);
        assert_eq!(found(&good, "100.01", "KES", 1), [("warning", "business-rule")]);
        assert_eq!(found(&good, "1", "UGX", 1), [("error", "business-rule")]);
        assert_eq!(found(&good, "1", "KES", 24 * HOUR), [("error", "expired")]);
        let expired = Session { status: "EXPIRED".into(), ..good.clone() };
        assert_eq!(found(&expired, "1", "KES", 1), [("error", "expired")]);
        let pending = Session { status: "PENDING".into(), ..good };
        assert_eq!(found(&pending, "1", "KES", 1), [("error", "business-rule")]);
    }
}
