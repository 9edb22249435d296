//! The other OpenID provider: its metadata and keys, and whom its answers name.
//! <https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation>

use std::sync::{Arc, Mutex, PoisonError};

use openidconnect::core::{
    CoreAuthPrompt, CoreClientAuthMethod, CoreGenderClaim, CoreJwsSigningAlgorithm, CoreProviderMetadata,
    CoreResponseType,
};
use openidconnect::{
    AdditionalClaims, AuthType, AuthenticationFlow, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret,
    CsrfToken, EmptyExtraTokenFields, EndpointMaybeSet, IdTokenClaims, IssuerUrl, LoginHint, Nonce, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, Scope, SignatureVerificationError, TokenResponse as _,
};
use serde::{Deserialize, Serialize};

use super::relying_party::{RelyingParty, TokenAnswer};
use crate::app::App;
use crate::config::Config;

/// How long metadata and keys are believed, microseconds; keys that are not known are asked for at once.
const KEPT: i64 = 600_000_000;

/// How far the clocks of the provider and of this server may be apart, seconds.
const SKEW: i64 = 60;

/// More than one factor, among the methods of `amr`.
const MULTI_FACTOR: &str = "mfa";

/// Signatures that are accepted: of keys that only the provider has.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 8] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
];

/// What was fetched last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Discovered(Arc<Mutex<Option<Fetched>>>);

/// When, and what.
type Fetched = (i64, Arc<CoreProviderMetadata>);

/// Why nobody is signed in; for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderError {
    /// The settings make no client.
    #[error("settings: {0}")]
    Settings(String),
    /// Its documents cannot be fetched.
    #[error("discovery: {0}")]
    Discovery(String),
    /// It does not take the code.
    #[error("code: {0}")]
    Exchange(String),
    /// There is no `id_token`, or it cannot be believed.
    #[error("id_token: {0}")]
    IdToken(String),
}

/// What the provider adds to an `id_token`.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Claims {
    #[serde(rename = "fhirUser", default, skip_serializing_if = "Option::is_none")]
    fhir_user: Option<String>,
}

impl AdditionalClaims for Claims {}

/// This server, as the provider's discovery tells it what there is.
type ThisParty = RelyingParty<Claims, EmptyExtraTokenFields, EndpointMaybeSet, EndpointMaybeSet>;

/// The provider that the settings name.
#[derive(Clone, Copy)]
pub(super) struct Provider<'a> {
    app: &'a App,
    /// Its name in tokens.
    pub(super) issuer: &'a str,
    /// Its name for people.
    pub(super) name: &'a str,
    client_id: &'a str,
}

/// What one sign-in is recognised by.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Comes back with the browser.
    pub(super) state: String,
    /// Comes back inside the `id_token`.
    pub(super) nonce: String,
    /// Proves that whoever redeems the code is who asked for it.
    pub(super) verifier: String,
}

/// How somebody is sent to the provider.
#[derive(Debug, Default)]
pub(super) struct Wishes<'a> {
    /// Whom the app expects.
    pub(super) login_hint: Option<&'a str>,
    /// Whether a session there is not enough.
    pub(super) anew: bool,
}

/// Whom the provider names.
#[derive(Debug)]
pub(super) struct Named {
    /// `sub`.
    pub(super) subject: String,
    /// `fhirUser`.
    pub(super) fhir_user: Option<String>,
    /// When the person signed in there, seconds since 1970.
    pub(super) auth_time: Option<i64>,
    /// Whether `amr` says that more than one factor was asked for. <https://www.rfc-editor.org/rfc/rfc8176#section-2>
    pub(super) has_second_factor: bool,
}

impl<'a> Provider<'a> {
    /// The provider; none if the settings name none.
    pub(super) fn of(app: &'a App) -> Option<Self> {
        let (issuer, client_id) = settings(&app.config)?;
        Some(Provider { app, issuer, name: &app.config.openid_name, client_id })
    }

    /// Where to send the browser.
    pub(super) async fn address(&self, attempt: &Attempt, wishes: Wishes<'_>) -> Result<String, ProviderError> {
        let party = self.party(&*self.metadata(false).await?)?;
        let (state, nonce) = (CsrfToken::new(attempt.state.clone()), Nonce::new(attempt.nonce.clone()));
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(attempt.verifier.clone()));
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let mut request = party.authorize_url(flow, || state, || nonce).set_pkce_challenge(challenge);
        if self.app.config.openid_fhir_user {
            request = request.add_scope(Scope::new("fhirUser".to_owned()));
        }
        if let Some(hint) = wishes.login_hint {
            request = request.set_login_hint(LoginHint::new(hint.to_owned()));
        }
        if wishes.anew {
            request = request.add_prompt(CoreAuthPrompt::Login).set_max_age(std::time::Duration::ZERO);
        }
        Ok(request.url().0.into())
    }

    /// Redeems a code and believes the `id_token`, if it is for us, for this attempt, in time and truly signed.
    pub(super) async fn redeem(&self, code: &str, attempt: &Attempt) -> Result<Named, ProviderError> {
        let party = self.party(&*self.metadata(false).await?)?;
        let outbound = self.app.outbound.clone();
        let http = move |request| {
            let outbound = outbound.clone();
            async move { outbound.send(request).await }
        };
        let answer: TokenAnswer<Claims, EmptyExtraTokenFields> = party
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| ProviderError::Exchange(error.to_string()))?
            .set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier.clone()))
            .request_async(&http)
            .await
            .map_err(|error| ProviderError::Exchange(error.to_string()))?;
        let token = answer.id_token().ok_or_else(|| ProviderError::IdToken("there is none".to_owned()))?;
        let nonce = Nonce::new(attempt.nonce.clone());
        let believed = token.claims(&party.id_token_verifier().set_allowed_algs(ALGORITHMS), &nonce);
        let claims = match believed {
            // The provider may have a new key since its keys were fetched.
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey)) => {
                let party = self.party(&*self.metadata(true).await?)?;
                token.claims(&party.id_token_verifier().set_allowed_algs(ALGORITHMS), &nonce).cloned()
            }
            other => other.cloned(),
        };
        self.named(&claims.map_err(|error| ProviderError::IdToken(error.to_string()))?)
    }

    fn named(&self, claims: &IdTokenClaims<Claims, CoreGenderClaim>) -> Result<Named, ProviderError> {
        let now = self.app.clock.now() / 1_000_000;
        if claims.expiration().timestamp() + SKEW <= now || claims.issue_time().timestamp() - SKEW > now {
            return Err(ProviderError::IdToken("it is not of this time".to_owned()));
        }
        let subject = claims.subject().as_str();
        if subject.is_empty() || subject.len() > 255 {
            return Err(ProviderError::IdToken("its subject has not 1 to 255 characters".to_owned()));
        }
        let methods = claims.auth_method_refs();
        Ok(Named {
            subject: subject.to_owned(),
            fhir_user: claims.additional_claims().fhir_user.clone(),
            auth_time: claims.auth_time().map(|at| at.timestamp()),
            has_second_factor: methods
                .is_some_and(|methods| methods.iter().any(|method| method.as_str() == MULTI_FACTOR)),
        })
    }

    fn party(&self, metadata: &CoreProviderMetadata) -> Result<ThisParty, ProviderError> {
        let config = &self.app.config;
        let secret = config.openid_client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose().to_owned()));
        let callback = format!("{}/oauth/external/callback", config.base_url);
        let callback = RedirectUrl::new(callback).map_err(|error| ProviderError::Settings(error.to_string()))?;
        let methods = metadata.token_endpoint_auth_methods_supported();
        let basic = methods.is_none_or(|methods| methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
        let auth_type = if basic { AuthType::BasicAuth } else { AuthType::RequestBody };
        let client_id = ClientId::new(self.client_id.to_owned());
        let party = ThisParty::from_provider_metadata(metadata.clone(), client_id, secret);
        Ok(party.set_redirect_uri(callback).set_auth_type(auth_type))
    }

    /// Its documents, fetched if they are old or are wanted anew.
    async fn metadata(&self, anew: bool) -> Result<Arc<CoreProviderMetadata>, ProviderError> {
        let now = self.app.clock.now();
        let Discovered(kept) = &self.app.discovered;
        let known = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, metadata)) = known.filter(|(at, _)| !anew && now - at < KEPT) {
            return Ok(metadata);
        }
        let failed = |error: &dyn std::fmt::Display| ProviderError::Discovery(error.to_string());
        let issuer = IssuerUrl::new(self.issuer.to_owned()).map_err(|error| failed(&error))?;
        let outbound = self.app.outbound.clone();
        let http = move |request| {
            let outbound = outbound.clone();
            async move { outbound.send(request).await }
        };
        let found = CoreProviderMetadata::discover_async(issuer, &http).await;
        let found = Arc::new(found.map_err(|error| ProviderError::Discovery(chain(&error)))?);
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&found)));
        Ok(found)
    }
}

/// Issuer and client id of the provider; none if there is no provider.
fn settings(config: &Config) -> Option<(&str, &str)> {
    Some((config.openid_issuer.as_deref()?, config.openid_client_id.as_deref()?))
}

/// An issuer without a client is no provider: said at the start, not to the first person who wants to sign in.
pub fn check(config: &Config) -> Result<(), &'static str> {
    match (&config.openid_issuer, &config.openid_client_id) {
        (Some(_), None) => Err("openid-issuer needs openid-client-id, the name of this server at the provider"),
        (None, Some(_)) => Err("openid-client-id needs openid-issuer, the provider"),
        _ => Ok(()),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
