//! `Encounter/[id]/$fetch-copay`: what the member pays of a benefit in this visit, asked when somebody wants to know.
//!
//! | status | when |
//! |---|---|
//! | 200 | a Bundle with the CoverageEligibilityResponse |
//! | 404 | the Encounter is unknown or hidden |
//! | 422 | it has no session of its patient, the member was not asked for, or no benefit can be claimed or is named |
//! | 502, 503 | the payer does not answer, or not what it should |

use adapters::payer::Question;
use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};

use super::submit::chosen;
use super::{DEFAULT_PAYER, account, visit};
use crate::access::Interaction;
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::operation::Invocation;
use crate::rest::response::Answer;

/// What the answer is written as.
const ANSWER: &[(Interaction, &str)] = &[
    (Interaction::Create, "CoverageEligibilityResponse"),
    (Interaction::Update, "CoverageEligibilityResponse"),
    (Interaction::Search, "CoverageEligibilityResponse"),
    (Interaction::Search, "CoverageEligibilityRequest"),
    (Interaction::Search, "Coverage"),
    (Interaction::Search, "Organization"),
    (Interaction::Search, "Patient"),
];

/// The operation.
pub async fn execute(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    // The payer is asked for nobody who could not keep its answer.
    visit::may_write(caller, ANSWER)?;
    let (encounter, _) = visit::encounter(app, caller, &invocation.target.id).await?;
    let account = account::open(app, DEFAULT_PAYER).await?;
    let session = visit::session(app, &account, &encounter).await?;
    let facts = Json::parse(session.facts.as_bytes()).map_err(Error::internal)?;
    let benefit = chosen(&facts, invocation.input.text("benefit")).map_err(Error::unprocessable)?;
    let (Some(benefit), Some(number)) = (benefit.and_then(|it| it.str("id")), session.visit_number.as_deref()) else {
        let text = "what the member's benefits are is not known; fetch the visit and merge it first";
        return Err(Error::unprocessable(Issue::error(IssueCode::BusinessRule, text).at("Encounter.identifier")));
    };
    let provider_key = account.setting("provider_key").unwrap_or_default();
    let asked = visit::ask(app, &account, &Question::Copay { benefit, visit: number, provider_key }).await?;
    let mut told = facts.as_object().cloned().unwrap_or_else(Object::new);
    told.remove("benefits");
    for (name, value) in [
        ("sessionId", session.session.as_str()),
        ("patientNumber", session.patient_number.as_str()),
        ("visitNumber", number),
        ("benefitId", benefit),
    ] {
        told.insert(name, value);
    }
    let copay = visit::mapped(app, &account, "copay", &asked, &told.into())?;
    let written = visit::write(app, caller, visit::one(copay.entries, &["Patient"]), Vec::new()).await?;
    Ok(visit::answer(&written, &copay.issues))
}
