//! Which payer a claim goes to: the connection that serves its `Claim.insurer`, else the `payor` of its Coverage.
//!
//! A connection says with its setting `insurers` whom it serves, as `Organization/id` or `system|value`, with commas
//! between them. One that says nothing takes what no other serves. Where that is not exactly one, nothing is sent: a claim
//! that reaches the wrong payer cannot be taken back.

use adapters::payer::PAYERS;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use fhir::reference::Reference;
use store::connections::{self as rows, Connection};

use super::DEFAULT_PAYER;
use super::account::{self, Account};
use super::gather::{self, Gathered};
use crate::app::App;
use crate::caller::Caller;
use crate::connections::Opened;
use crate::error::Error;

/// The account at the payer that the claim names.
pub(super) async fn account(app: &App, caller: &Caller, gathered: &Gathered) -> Result<Account, Error> {
    let claim = gathered.of_type("Claim").next().unwrap_or(&Json::Null);
    let served = served(app).await?;
    if served.is_empty() {
        return account::open(app, DEFAULT_PAYER).await; // says what to do
    }
    let mut named = vec![names(app, caller, gathered, claim.get("insurer")).await?];
    for insurance in claim.list("insurance") {
        let coverage = gathered.target(insurance.get("coverage"));
        for payor in coverage.map_or(&[][..], |it| it.list("payor")) {
            named.push(names(app, caller, gathered, Some(payor)).await?);
        }
    }
    let mut meant: Vec<&Connection> = Vec::new();
    for names in &named {
        let serving = served.iter().filter(|(_, insurers)| insurers.iter().any(|it| names.contains(it)));
        for (row, _) in serving {
            if meant.iter().all(|it| it.id != row.id) {
                meant.push(row);
            }
        }
    }
    if meant.is_empty() {
        meant.extend(served.iter().filter(|(_, insurers)| insurers.is_empty()).map(|(row, _)| row));
    }
    match meant.as_slice() {
        [only] => account::open_named(app, &only.vendor, &only.name).await,
        [] => {
            let all: Vec<String> = served.iter().flat_map(|(_, insurers)| insurers.clone()).collect();
            Err(unclear(format!("no connection serves the insurer; there are connections for {}", all.join(", "))))
        }
        several => {
            let labels: Vec<String> = several.iter().map(|row| format!("{} {}", row.vendor, row.name)).collect();
            let text = format!("more than one connection could be meant: {}", labels.join(", "));
            Err(unclear(format!("{text}; say with setting insurers which serves whom")))
        }
    }
}

/// Connections to payers that are switched on, with whom each serves.
async fn served(app: &App) -> Result<Vec<(Connection, Vec<String>)>, Error> {
    let mut served = Vec::new();
    for payer in PAYERS {
        for row in rows::list(&app.store, Some(payer.vendor)).await?.into_iter().filter(|row| row.enabled) {
            let opened = Opened::of(app, row.clone()).map_err(Error::from)?;
            let insurers = opened.setting("insurers").unwrap_or_default();
            let insurers = insurers.split(',').map(str::trim).filter(|it| !it.is_empty());
            served.push((row, insurers.map(str::to_owned).collect()));
        }
    }
    Ok(served)
}

/// What an organisation is called: its id and its identifiers.
async fn names(
    app: &App,
    caller: &Caller,
    gathered: &Gathered,
    reference: Option<&Json>,
) -> Result<Vec<String>, Error> {
    let of = |identifier: &Json| Some(format!("{}|{}", identifier.str("system")?, identifier.str("value")?));
    let Some(reference) = reference else { return Ok(Vec::new()) };
    let mut names: Vec<String> = reference.get("identifier").and_then(of).into_iter().collect();
    let read = match gathered.target(Some(reference)) {
        Some(_) => None,
        None => organisation(app, caller, reference).await?,
    };
    let organisation = gathered.target(Some(reference)).or(read.as_ref());
    if let Some(organisation) = organisation {
        let kind = organisation.str("resourceType").unwrap_or_default();
        names.push(format!("{kind}/{}", organisation.str("id").unwrap_or_default()));
        names.extend(organisation.list("identifier").iter().filter_map(of));
    }
    Ok(names)
}

/// The organisation that a Coverage names, if the caller can see it.
async fn organisation(app: &App, caller: &Caller, reference: &Json) -> Result<Option<Json>, Error> {
    let text = reference.str("reference").unwrap_or_default();
    let Reference::Local { resource_type, id, .. } = Reference::parse(text, &app.config.fhir_base()) else {
        return Ok(None);
    };
    if resource_type != "Organization" {
        return Ok(None);
    }
    Ok(gather::stored(app, caller, &resource_type, &id).await.ok().map(|(organisation, _)| organisation))
}

fn unclear(text: String) -> Error {
    Error::unprocessable(Issue::error(IssueCode::BusinessRule, text).at("Claim.insurer"))
}
