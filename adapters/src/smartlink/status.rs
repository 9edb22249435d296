//! What has become of an invoice. Billed says that SmartLink has taken it, not that anybody decided or paid: no
//! adjudication and no payment is written.

use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};

use super::answer::{content, unreadable};
use super::facts::member;
use super::taken::response;
use super::{Facts, Publication};
use crate::payer::Standing;
use crate::{Mapping, Refusal, bundle, error, money, warning};

/// What SmartLink says of one invoice.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) invoice: String,
    pub(super) visit: Option<String>,
    pub(super) patient: Option<String>,
    pub(super) session: Option<String>,
    pub(super) word: String,
    pub(super) amount: Option<Decimal>,
}

/// Whether an answer has such rows.
pub(super) fn recognises(json: &Json) -> bool {
    content(json).first().is_some_and(|it| it.get("claim_status").is_some())
}

/// The rows of an answer.
pub(super) fn rows(json: &Json) -> Result<Vec<Row>, Refusal> {
    let read = |(index, row): (usize, &Json)| {
        let missing = |name: &str| unreadable(&format!("a row without {name}"), &format!("[{index}].{name}"));
        let amount = match row.get("amount") {
            None | Some(Json::Null) => None,
            Some(amount) => Some(money::amount(amount).ok_or_else(|| {
                let text = format!("[{index}].amount is not a decimal");
                let issues = vec![error(IssueCode::Value, text, &format!("[{index}].amount"))];
                Refusal::Vendor { status: 502, issues, retry_after: None }
            })?),
        };
        Ok(Row {
            invoice: member(row, "invoice_number").ok_or_else(|| missing("invoice_number"))?,
            word: member(row, "claim_status").ok_or_else(|| missing("claim_status"))?,
            visit: member(row, "visit_number"),
            patient: member(row, "patient_number"),
            session: member(row, "session_id"),
            amount,
        })
    };
    content(json).iter().enumerate().map(read).collect()
}

/// What a word means; nothing for a word that is not known here.
pub(super) fn standing(word: &str) -> Option<Standing> {
    match word.to_ascii_lowercase().as_str() {
        "pending" => Some(Standing::Pending),
        "billed" => Some(Standing::Billed),
        "cancelled" => Some(Standing::Cancelled),
        "rejected" => Some(Standing::Rejected),
        _ => None,
    }
}

/// One ClaimResponse an invoice.
pub(super) fn read(json: &Json, facts: &Facts<'_>) -> Result<Mapping, Refusal> {
    let (mut entries, mut issues) = (Vec::new(), Vec::new());
    for row in rows(json)? {
        let told = (
            row.visit.clone().or_else(|| facts.visit_number()),
            row.patient.clone().or_else(|| facts.patient_number()),
            facts.told("payerCode"),
        );
        let (Some(visit), Some(patient), Some(payer)) = told else {
            let text = "Visit, patient and payer of the invoice must be known from the question; the row does not say";
            issues.push(error(IssueCode::Required, text, "claim_status"));
            continue;
        };
        entries.push(entry(&row, (&visit, &patient, &payer), facts, &mut issues));
    }
    if entries.is_empty() && issues.is_empty() {
        issues.push(warning(IssueCode::NotFound, "SmartLink does not know this invoice", "claim_status"));
    }
    if entries.is_empty() && issues.iter().any(|issue| issue.code == IssueCode::Required) {
        return Ok(Mapping::Quarantine { issues });
    }
    Ok(Mapping::Publish(Publication::of(bundle::transaction(entries), issues)))
}

fn entry(row: &Row, of: (&str, &str, &str), facts: &Facts<'_>, issues: &mut Vec<Issue>) -> Json {
    let (visit, patient, payer) = of;
    let standing = standing(&row.word);
    if standing.is_none() {
        let text = format!("{} is no claim status that is known here; the claim is taken as pending", row.word);
        issues.push(warning(IssueCode::CodeInvalid, text, "claim_status"));
    }
    let name = format!("{visit}:{}", row.invoice);
    let code: String = row.word.to_ascii_lowercase().split_whitespace().collect::<Vec<_>>().join("-");
    let extension = fhir::object! { "url": facts.extension("claim-status"), "valueCode": code };
    let mut response = response(patient, payer, &row.invoice, facts);
    response.insert("meta", facts.meta("claim-status/", &name));
    response.insert("extension", fhir::array![extension]);
    response.insert("identifier", fhir::array![facts.identifier("claim-status", &name)]);
    response.insert("status", if standing == Some(Standing::Cancelled) { "cancelled" } else { "active" });
    let outcome = match standing {
        Some(Standing::Billed | Standing::Cancelled) => "complete",
        Some(Standing::Rejected) => "error",
        _ => "queued",
    };
    response.insert("outcome", outcome);
    response.insert("disposition", row.word.as_str());
    bundle::put("ClaimResponse", &facts.system("claim-status"), &name, response.into())
}
