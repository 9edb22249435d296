//! The life of an authorization, as values whose transitions consume them.
//!
//! ```text
//! Requested ──sign_in──▶ SignedIn ──approve──▶ Approved ──(code)──▶ Code ──redeem──▶ tokens ──▶ Refresh ──rotate──▶ …
//!     └──────deny───────────┴──────▶ Denied
//! ```
//!
//! A state that is not drawn cannot be written down: nothing is approved without a person, no [`Terms`] exist with a
//! patient scope and no patient (SM-31), and what is spent cannot be spent again.

use std::fmt;

use crate::error::{ErrorCode, OAuthError};
use crate::launch::{self, LaunchContext, Launched};
use crate::pkce::Challenge;
use crate::scope::{Level, Scope, ScopeSet};

mod spend;

pub use spend::{Code, Presented, Redemption, Refresh, Rotation};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 24 * 3600 * SECOND;

/// How long things live, in microseconds.
pub mod lifetime {
    use super::{DAY, SECOND};

    /// A request that nobody answers.
    pub const REQUEST: i64 = 15 * 60 * SECOND;
    /// Authorization code (SM-47).
    pub const CODE: i64 = 60 * SECOND;
    /// Access token of a person's app (SM-46).
    pub const ACCESS: i64 = 3600 * SECOND;
    /// Access token of a backend service (SM-46).
    pub const BACKEND_ACCESS: i64 = 300 * SECOND;
    /// Refresh token that is not used (SM-55).
    pub const REFRESH_IDLE: i64 = 90 * DAY;
    /// How long after its exchange a refresh token may come again from a client that lost the answer (OA-08).
    pub const REFRESH_GRACE: i64 = 60 * SECOND;
    /// A pushed authorization request (RFC 9126).
    pub const PUSHED_REQUEST: i64 = 60 * SECOND;
    /// A grant, however often it is renewed (OA-09).
    pub const GRANT: i64 = 365 * DAY;
    /// Session in which nothing happens (OA-26).
    pub const SESSION_IDLE: i64 = 15 * 60 * SECOND;
    /// Session, whatever happens.
    pub const SESSION: i64 = 12 * 3600 * SECOND;
}

/// An authorization request that passed all checks which concern the client alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub client_id: String,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// What is asked, cut down to what the client is registered for.
    pub scopes: ScopeSet,
    /// Echoed byte for byte (SM-15).
    pub state: String,
    /// What the client committed to.
    pub challenge: Challenge,
    /// The FHIR base that the tokens will be for.
    pub audience: String,
    /// Echoed in the `id_token`.
    pub nonce: Option<String>,
    /// Whom the app expects to sign in: fills the field of the login page, and proves nothing.
    pub login_hint: Option<String>,
    /// What the EHR handed over, if it was an EHR that started the app.
    pub launch: Option<Launched>,
}

/// A signed-in person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Account.
    pub user_id: String,
    /// The record that the person is, if any.
    pub fhir_user: Option<FhirUser>,
}

/// `Patient/123`, `Practitioner/456`, `RelatedPerson/789`: the record that a person is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FhirUser {
    /// A patient.
    Patient(String),
    /// A practitioner.
    Practitioner(String),
    /// Somebody who cares for a patient: parent, partner, guardian.
    RelatedPerson(String),
}

/// An authorization before its code is issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// A client asks.
    Requested(Request),
    /// A person signed in to answer.
    SignedIn {
        /// What is asked.
        request: Request,
        /// Who answers.
        person: Person,
    },
    /// The person agreed.
    Approved {
        /// What was asked.
        request: Request,
        /// What was given.
        terms: Terms,
    },
    /// The person or the server said no.
    Denied {
        /// What was asked.
        request: Request,
        /// What the client is told.
        error: OAuthError,
    },
}

/// Who stands behind a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A person, through an app.
    Person(Person),
    /// A backend service itself.
    Service,
    /// The operator of the server, at its command line.
    Operator,
}

/// What a grant gives. Made only by [`Terms::new`], also when read back from the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    holder: Holder,
    scopes: ScopeSet,
    context: LaunchContext,
}

/// Why there can be no such grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// Nothing is given.
    #[error("no scope is granted")]
    Empty,
    /// SM-31: `patient/` needs a patient.
    #[error("patient/ scopes need a patient")]
    PatientMissing,
    /// `user/` needs a person with a record of their own.
    #[error("user/ scopes need a user whose account names a Patient, Practitioner or RelatedPerson")]
    UserMissing,
    /// `system/` is not for people.
    #[error("system/ scopes are for backend services")]
    SystemForPerson,
}

impl Authorization {
    /// A person signs in.
    pub fn sign_in(self, person: Person) -> Result<Self, OAuthError> {
        match self {
            Authorization::Requested(request) => Ok(Authorization::SignedIn { request, person }),
            // OA-16: whoever began to answer is the one who answers.
            Authorization::SignedIn { request, person: first } if first.user_id == person.user_id => {
                Ok(Authorization::SignedIn { request, person })
            }
            Authorization::SignedIn { .. } => Err(refused("another person is signed in now; start again from the app")),
            _ => Err(refused("the request has been answered already")),
        }
    }

    /// The signed-in person agrees to some of what was asked, in a context. Of `given`, what was not asked falls out;
    /// a narrower scope than the one that was asked is a part of it. (SM-26, SM-28)
    pub fn approve(self, given: &ScopeSet, context: LaunchContext) -> Result<Self, OAuthError> {
        let Authorization::SignedIn { request, person } = self else {
            return Err(refused("nobody is signed in, or the request has been answered already"));
        };
        if request.launch.as_ref().is_some_and(|launched| launched.account_id != person.user_id) {
            return Err(refused("the app was launched by another person")); // SM-35
        }
        let scopes = given.filtered(|scope| ScopeSet::from_iter([scope.clone()]).is_covered_by(&request.scopes));
        let context = context.told_to(&scopes);
        let terms = Terms::new(Holder::Person(person), scopes, context)
            .map_err(|error| OAuthError::invalid_scope(error.to_string()))?;
        Ok(Authorization::Approved { request, terms })
    }

    /// The answer is no.
    pub fn deny(self, description: &str) -> Result<Self, OAuthError> {
        match self {
            Authorization::Requested(request) | Authorization::SignedIn { request, .. } => {
                Ok(Authorization::Denied { request, error: refused(description) })
            }
            _ => Err(refused("the request has been answered already")),
        }
    }

    /// What was asked.
    pub fn request(&self) -> &Request {
        match self {
            Authorization::Requested(request)
            | Authorization::SignedIn { request, .. }
            | Authorization::Approved { request, .. }
            | Authorization::Denied { request, .. } => request,
        }
    }
}

impl Terms {
    /// The one door: checks who may hold which level.
    pub fn new(holder: Holder, scopes: ScopeSet, context: LaunchContext) -> Result<Self, TermsError> {
        if !scopes.gives_anything() {
            return Err(TermsError::Empty);
        }
        if launch::needs_patient(&scopes) && context.patient.is_none() {
            return Err(TermsError::PatientMissing);
        }
        let is_person = matches!(holder, Holder::Person(_));
        let has_record = matches!(&holder, Holder::Person(Person { fhir_user: Some(_), .. }));
        if scopes.has_level(Level::User) && !has_record {
            return Err(TermsError::UserMissing);
        }
        if scopes.has_level(Level::System) && is_person {
            return Err(TermsError::SystemForPerson);
        }
        Ok(Terms { holder, scopes, context })
    }

    /// Who stands behind it.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// What may be done.
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// In which context.
    pub fn context(&self) -> &LaunchContext {
        &self.context
    }

    /// The person, if there is one.
    pub fn person(&self) -> Option<&Person> {
        match &self.holder {
            Holder::Person(person) => Some(person),
            Holder::Service | Holder::Operator => None,
        }
    }

    /// The same grant with fewer scopes (SM-54).
    pub fn with_scopes(self, scopes: ScopeSet) -> Result<Self, TermsError> {
        Terms::new(self.holder, scopes, self.context)
    }

    /// Whether the client gets a refresh token (SM-52).
    pub fn is_renewable(&self) -> bool {
        [Scope::OfflineAccess, Scope::OnlineAccess].iter().any(|scope| self.scopes.contains(scope))
    }

    /// Whether renewal ends with the session.
    pub fn ends_with_session(&self) -> bool {
        !self.scopes.contains(&Scope::OfflineAccess)
    }
}

impl FhirUser {
    /// Reads `Patient/ID`, `Practitioner/ID` or `RelatedPerson/ID`.
    pub fn parse(text: &str) -> Option<Self> {
        let (resource_type, id) = text.split_once('/')?;
        if !fhir::id::is_valid(id) {
            return None;
        }
        match resource_type {
            "Patient" => Some(FhirUser::Patient(id.to_owned())),
            "Practitioner" => Some(FhirUser::Practitioner(id.to_owned())),
            "RelatedPerson" => Some(FhirUser::RelatedPerson(id.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for FhirUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FhirUser::Patient(id) => write!(f, "Patient/{id}"),
            FhirUser::Practitioner(id) => write!(f, "Practitioner/{id}"),
            FhirUser::RelatedPerson(id) => write!(f, "RelatedPerson/{id}"),
        }
    }
}

fn refused(description: &str) -> OAuthError {
    OAuthError::new(ErrorCode::AccessDenied, description)
}

#[cfg(test)]
mod tests;
