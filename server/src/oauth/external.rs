//! `GET /oauth/external`, `GET /oauth/external/callback`: sign-in at another OpenID provider, such as a hospital's.
//! <https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth>
//!
//! ```text
//! login page ─▶ /oauth/external ─▶ provider ─▶ /oauth/external/callback ─▶ (second factor) ─▶ consent
//! ```
//!
//! The `state` is spent once, by the browser that was sent. Nonce and PKCE verifier are derived from it and from the
//! cookie of that browser: they stand nowhere, and a code that was put into another browser cannot be redeemed there.

use actix_web::{HttpRequest, HttpResponse, web};
use smart::grant::{Authorization, FhirUser};
use smart::token::{Kind, Secret};
use store::users::{self, Account};
use store::{StoreError, external_identities, sessions};

use super::form::Parameters;
use super::page;
use super::session::Browser;
use crate::account::second_factor;
use crate::account::sign_in::{self, Factors, Next};
use crate::account::visitor::{Refused, anybody};
use crate::app::App;
use crate::audit;

mod provider;
pub mod relying_party;

pub use provider::{Discovered, check};

use provider::{Attempt, Named, Provider, Wishes};

/// Where somebody is sent to sign in at the provider; the sign-in page of an authorization request appends
/// `?request=` and its handle.
pub const PATH: &str = "/oauth/external";

/// How far the clocks of the provider and of this server may be apart, microseconds.
const SKEW: i64 = 60_000_000;

/// What people call the provider; none if there is none.
pub fn name(app: &App) -> Option<&str> {
    Provider::of(app).map(|provider| provider.name)
}

/// Sends the browser to the provider.
pub async fn get(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let provider = Provider::of(&app).ok_or(Refused::NotFound)?;
    let parameters = Parameters::parse(request.query_string().as_bytes())?.each_once()?;
    let handle = parameters.get("request").map(|text| Secret::parse(Kind::Request, text).ok_or_else(gone));
    let handle = handle.transpose()?;
    let (browser, cookie) = match handle {
        Some(_) => (Browser::of(&app, &request).await?.ok_or_else(gone)?, None),
        None => anybody(&app, &request).await?,
    };
    let hint = match &handle {
        Some(handle) => waiting(&app, handle, &browser).await?.request().login_hint.clone(),
        None => None,
    };
    let attempt = attempt(&browser, Secret::new(Kind::ExternalSignIn, app.random.bytes()).expose());
    let wishes = Wishes { login_hint: hint.as_deref(), anew: is_anew(&browser) };
    let address = provider.address(&attempt, wishes).await.map_err(|error| unavailable(&provider, &error))?;
    let (state, session, now) = (hash(&attempt.state)?, browser.secret.hash(), app.clock.now());
    let request = handle.as_ref().map(Secret::hash);
    app.store
        .write(move |tx| Box::pin(async move { external_identities::expect(tx, state, session, request, now).await }))
        .await
        .map_err(|error: StoreError| Refused::from(error))?;
    Ok(page::see_other(&address, cookie))
}

/// Takes the browser back, and signs the person in.
pub async fn callback(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let provider = Provider::of(&app).ok_or(Refused::NotFound)?;
    let parameters = Parameters::parse(request.query_string().as_bytes())?.each_once()?;
    let browser = Browser::of(&app, &request).await?.ok_or_else(gone)?;
    let state = parameters.get("state").ok_or_else(gone)?;
    let (sent_at, next) = come_back(&app, &browser, state).await?;
    if parameters.get("iss").is_some_and(|issuer| issuer != provider.issuer) {
        return Err(refused(&provider, "another provider answered")); // RFC 9207
    }
    let Some(code) = parameters.get("code").filter(|_| parameters.get("error").is_none()) else {
        return Err(refused(&provider, parameters.get("error").unwrap_or("no code")));
    };
    let named = provider.redeem(code, &attempt(&browser, state)).await;
    let named = named.map_err(|error| refused(&provider, &error.to_string()))?;
    let is_fresh = named.auth_time.is_some_and(|at| at * 1_000_000 + SKEW >= sent_at);
    if is_anew(&browser) && !is_fresh {
        return Err(refused(&provider, "the person was to sign in anew, and did not"));
    }
    let account = account(&app, &provider, &named).await?;
    // Nobody is asked for the second factor twice; what the provider does not say, it did not ask for. (OA-25)
    if named.has_second_factor {
        return sign_in::enter(&app, &request, &browser, (&account, Factors::Two), &next, &[]).await;
    }
    sign_in::tell(&request, &account);
    if let Some(asked) = second_factor::ask(&app, &browser, &account, &next, &[]).await? {
        audit::note(&request, |noted| noted.subtype = Some("provider-accepted"));
        return Ok(asked);
    }
    sign_in::enter(&app, &request, &browser, (&account, Factors::One), &next, &[]).await
}

/// Whether a session at the provider is not enough: somebody is signed in here, and was asked to prove it anew.
fn is_anew(browser: &Browser) -> bool {
    browser.session.account_id.is_some()
}

fn attempt(browser: &Browser, state: &str) -> Attempt {
    Attempt {
        state: state.to_owned(),
        nonce: browser.secret.derive(&format!("openid nonce {state}")),
        verifier: browser.secret.derive(&format!("openid verifier {state}")),
    }
}

fn hash(state: &str) -> Result<smart::token::Hash, Refused> {
    Secret::parse(Kind::ExternalSignIn, state).map(|state| state.hash()).ok_or_else(gone)
}

/// The request that waits for this browser.
async fn waiting(app: &App, handle: &Secret, browser: &Browser) -> Result<Authorization, Refused> {
    let found = sessions::find_request(&app.store, handle.hash(), browser.secret.hash(), app.clock.now()).await?;
    found.ok_or_else(gone)
}

/// Spends the state. What the person came for goes on under a new handle, for the old one is known by its hash only.
async fn come_back(app: &App, browser: &Browser, state: &str) -> Result<(i64, Next), Refused> {
    let (state, session, now) = (hash(state)?, browser.secret.hash(), app.clock.now());
    let handle = Secret::new(Kind::Request, app.random.bytes());
    let renamed = handle.hash();
    let taken = app.store.write(move |tx| {
        Box::pin(async move {
            let Some((sent_at, request)) = external_identities::take(tx, state, session, now).await? else {
                return Ok(None);
            };
            let Some(request) = request else { return Ok(Some((sent_at, false))) };
            let waits = external_identities::rename_request(tx, request, renamed, session, now).await?;
            Ok::<_, StoreError>(waits.then_some((sent_at, true)))
        })
    });
    let (sent_at, is_request) = taken.await?.ok_or_else(gone)?;
    let next = if is_request { Next::Request(handle) } else { Next::Page("/portal".to_owned()) };
    Ok((sent_at, next))
}

/// The account of whom the provider names: linked by an operator, or, where the settings say so, by the record.
async fn account(app: &App, provider: &Provider<'_>, named: &Named) -> Result<Account, Refused> {
    let mut found = external_identities::find(&app.store, provider.issuer, &named.subject).await?;
    if found.is_none() && app.config.openid_fhir_user {
        let record = named.fhir_user.as_deref().and_then(|user| record(user, &app.config.fhir_base()));
        if let Some(record) = record {
            found = external_identities::find_by_record(&app.store, &record).await?;
        }
    }
    let account = match found {
        Some(id) => users::find(&app.store, &id).await?,
        None => None,
    };
    account.filter(|account| account.disabled_at.is_none()).ok_or_else(|| {
        let (name, subject) = (provider.name, &named.subject);
        Refused::Invalid(format!(
            "You signed in at {name}, but no account here is linked to yours there. Tell the people who run this \
             server your name there: {subject}"
        ))
    })
}

/// A record of this server: by its address here, or relative.
fn record(fhir_user: &str, base: &str) -> Option<FhirUser> {
    let below = fhir_user.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
    FhirUser::parse(below.unwrap_or(fhir_user))
}

fn gone() -> Refused {
    Refused::Invalid("This sign-in is no longer open; start again from the app.".to_owned())
}

/// The cause goes to the log; the person learns that it did not work.
fn refused(provider: &Provider<'_>, cause: &str) -> Refused {
    let cause: String = cause.chars().filter(|c| !c.is_control()).take(300).collect();
    tracing::warn!(issuer = provider.issuer, cause, "sign-in at the other provider was refused");
    Refused::Invalid(format!("Signing in with {} did not work; start again from the app.", provider.name))
}

fn unavailable(provider: &Provider<'_>, error: &provider::ProviderError) -> Refused {
    Refused::Broken(format!("{}: {error}", provider.issuer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_records_of_this_server_are_believed() {
        let base = "https://here.example/fhir";
        let practitioner = FhirUser::Practitioner("d1".to_owned());
        for text in ["Practitioner/d1", "https://here.example/fhir/Practitioner/d1"] {
            assert_eq!(record(text, base), Some(practitioner.clone()), "{text}");
        }
        for text in [
            "https://other.example/fhir/Practitioner/d1",
            "https://here.example/fhirPractitioner/d1",
            "https://here.example/fhir/Practitioner/d1/_history/1",
            "Organization/o1",
            "Practitioner/",
            "",
        ] {
            assert_eq!(record(text, base), None, "{text}");
        }
    }
}
