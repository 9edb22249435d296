//! What an app can see without a launch, on its developer's own account: tokens for the console and for QSmartCare's
//! clients.
//!
//! | app | whose records | terms |
//! |---|---|---|
//! | personal | the developer's own | the developer as a person, `patient/` scopes, their own record |
//! | work | the patients that were chosen for it, as far as they are in the developer's care | the developer as a person, `user/` scopes, within `client.patients` |
//! | backend | what its `system/` scopes say, within `client.patients` if any were chosen | the service itself |
//!
//! The terms pass the same door as those of every grant, and each read the same view.

use smart::client::{Client, ClientKind};
use smart::grant::{FhirUser, Holder, Terms};
use smart::launch::LaunchContext;
use smart::scope::{Level, Scope, ScopeSet};
use store::apps::{self, Purpose, Registration};
use store::grants::NewGrant;
use store::users::Account;
use store::withdrawals;

use crate::access;
use crate::account::visitor::Refused;
use crate::app::App;

/// Why an app can see nothing by itself; told to its developer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAccess {
    /// The account is not linked to a patient's record.
    #[error("your account is not linked to a patient's record; ask whoever runs this server to link it")]
    NoOwnRecord,
    /// The account is not linked to a practitioner's record.
    #[error("your account is not linked to a practitioner's record; ask whoever runs this server to link it")]
    NoPractitioner,
    /// Its person took it back.
    #[error("what this app could see was taken back; allow it again in the portal, under Sharing")]
    Withdrawn,
    /// No patients were chosen.
    #[error("no patients have been chosen for this app; choose them in the portal")]
    NoPatients,
    /// None of its scopes is of the level.
    #[error("none of the scopes that the app is registered for can be used without a launch")]
    NoScope,
}

/// A grant of that access, which is not written yet.
pub async fn grant(
    app: &App,
    client: &Client,
    registration: &Registration,
    owner: &Account,
    expires_at: i64,
) -> Result<Result<NewGrant, NoAccess>, Refused> {
    if withdrawals::is_one(&app.store, &owner.id, &client.id).await? {
        return Ok(Err(NoAccess::Withdrawn));
    }
    let patients = apps::patients(&app.store, &client.id).await?;
    let terms = match terms(app, client, registration, owner, patients.as_deref()) {
        Ok(terms) => terms,
        Err(why) => return Ok(Err(why)),
    };
    Ok(Ok(NewGrant {
        id: app.random.uuid(),
        client_id: client.id.clone(),
        terms,
        audience: app.config.fhir_base(),
        session: None,
        nonce: None,
        auth_time: None,
        expires_at,
    }))
}

fn terms(
    app: &App,
    client: &Client,
    registration: &Registration,
    owner: &Account,
    patients: Option<&[String]>,
) -> Result<Terms, NoAccess> {
    let person = || Holder::Person(owner.person());
    let (holder, level, context) = match (client.kind, registration.purpose, &owner.fhir_user) {
        (ClientKind::Backend, _, _) => (Holder::Service, Level::System, LaunchContext::default()),
        (_, Purpose::Personal, Some(FhirUser::Patient(own))) => {
            (person(), Level::Patient, LaunchContext::of_patient(own.as_str()))
        }
        (_, Purpose::Personal, _) => return Err(NoAccess::NoOwnRecord),
        (_, Purpose::Work, Some(FhirUser::Practitioner(_))) => {
            if patients.is_none_or(<[String]>::is_empty) {
                return Err(NoAccess::NoPatients);
            }
            (person(), Level::User, LaunchContext::default())
        }
        (_, Purpose::Work, _) => return Err(NoAccess::NoPractitioner),
    };
    let scopes = usable(&client.scopes, level, &app.config.fhir_base());
    Terms::new(holder, scopes, context).map_err(|_| NoAccess::NoScope)
}

/// Of the scopes that a client is registered for, those that need no launch.
fn usable(registered: &ScopeSet, level: Level, base: &str) -> ScopeSet {
    registered.filtered(|scope| match scope {
        Scope::Resource(resource) => resource.level == level && access::is_honoured(resource, base),
        Scope::OfflineAccess => level != Level::System,
        Scope::LaunchPatient => level == Level::Patient,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sm_28_only_registered_scopes_of_the_level_are_used() {
        let registered =
            ScopeSet::parse("launch/patient patient/*.rs user/Patient.rs openid offline_access").expect("scopes");
        let of = |level| usable(&registered, level, "https://server.example/fhir").to_string();
        assert_eq!(of(Level::Patient), "launch/patient patient/*.rs offline_access");
        assert_eq!(of(Level::User), "user/Patient.rs offline_access");
        assert_eq!(of(Level::System), "");
    }
}
