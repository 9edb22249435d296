//! `POST /oauth/token`: codes, refresh tokens and client credentials become access tokens.
//! <https://www.rfc-editor.org/rfc/rfc6749#section-3.2>, SM-45 … SM-56, OA-04 … OA-11
//!
//! A spent code or refresh token that comes again withdraws the whole grant, so the transaction that finds it commits
//! and the refusal is its result, not its error.

use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use smart::client::{Client, GrantType};
use smart::error::{ErrorCode, OAuthError};
use smart::grant::{Holder, Presented, Redemption, Rotation, Terms, lifetime};
use smart::id_token::SignIn;
use smart::launch::LaunchContext;
use smart::scope::{Scope, ScopeSet};
use smart::token::{Kind, Secret};
use store::grants::{self, NewGrant};
use store::{StoreError, Tx, tokens};

use super::authenticate;
use super::error::Failure;
use super::form::Parameters;
use super::issue::{Issue, Issued};
use crate::access;
use crate::app::App;
use crate::audit;
use crate::devices::phone;

/// What a transaction decided.
type Decision = Result<Result<Issued, OAuthError>, StoreError>;

/// The endpoint.
pub async fn post(app: web::Data<App>, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Failure> {
    if phone::is_sign_in(&request) {
        return Ok(phone::sign_in(&app, &request, &body).await.unwrap_or_else(|refused| refused.error_response()));
    }
    let form = Parameters::of_form(&request, &body)?.each_once()?;
    let grant_type = GrantType::parse(form.required("grant_type")?)?;
    let client = match grant_type {
        GrantType::RefreshToken if authenticate::is_unnamed(&request, &form) => {
            authenticate::holder(&app, &request, &form).await?
        }
        _ => authenticate::client(&app, &request, &form).await?,
    };
    client.check_grant_type(grant_type)?;
    audit::note(&request, |noted| {
        noted.subtype = Some(match grant_type {
            GrantType::AuthorizationCode => "token-by-code",
            GrantType::RefreshToken => "token-by-refresh",
            GrantType::ClientCredentials => "token-by-credentials",
        });
    });
    match grant_type {
        GrantType::AuthorizationCode => redeem(&app, client, &form).await,
        GrantType::RefreshToken => renew(&app, client, &form).await,
        GrantType::ClientCredentials => credentials(&app, client, &form).await,
    }
}

async fn redeem(app: &App, client: Client, form: &Parameters) -> Result<HttpResponse, Failure> {
    let code = form.required("code")?;
    let code =
        Secret::parse(Kind::Code, code).ok_or_else(|| OAuthError::invalid_grant("the code is not valid"))?.hash();
    let redirect_uri = form.get("redirect_uri").map(str::to_owned);
    let verifier = form.get("code_verifier").map(str::to_owned);
    let issue = Issue::new(app, lifetime::ACCESS);
    let written = issue.clone();
    let decided = app.store.write(move |tx| {
        let (issue, client_id) = (written.clone(), client.id.clone());
        let (redirect_uri, verifier) = (redirect_uri.clone(), verifier.clone());
        Box::pin(async move {
            let presented = Presented {
                client_id: &client_id,
                redirect_uri: redirect_uri.as_deref(),
                verifier: verifier.as_deref(),
            };
            spend_code(tx, code, presented, &issue).await
        })
    });
    issue.answer(app, decided.await??).await
}

async fn spend_code(tx: &mut Tx, hash: smart::token::Hash, presented: Presented<'_>, issue: &Issue) -> Decision {
    let unknown = || OAuthError::invalid_grant("the code is not valid");
    let Some((code, grant_id)) = grants::find_code(tx, hash).await? else { return Ok(Err(unknown())) };
    match code.redeem(presented, issue.now) {
        Redemption::Refused(error) => return Ok(Err(error)),
        Redemption::Accepted if grants::spend_code(tx, hash, issue.now).await? => {}
        Redemption::Accepted | Redemption::Replayed => {
            grants::revoke(tx, &grant_id, issue.now).await?;
            return Ok(Err(unknown()));
        }
    }
    let Some(grant) = tokens::find_grant(tx, &grant_id, issue.now).await? else { return Ok(Err(unknown())) };
    let (terms, renewable) = (grant.terms.clone(), grant.terms.is_renewable());
    let issued = issue.write(tx, (&grant_id, grant.expires_at), terms, renewable).await?;
    Ok(Ok(issued.signed_in(grant.client_id, SignIn { nonce: grant.nonce, auth_time: grant.auth_time })))
}

async fn renew(app: &App, client: Client, form: &Parameters) -> Result<HttpResponse, Failure> {
    let refused = || OAuthError::invalid_grant("the refresh token is not valid");
    let token = Secret::parse(Kind::Refresh, form.required("refresh_token")?).ok_or_else(refused)?.hash();
    let narrower = match form.get("scope") {
        Some(text) => Some(ScopeSet::parse(text).map_err(|error| OAuthError::invalid_scope(error.to_string()))?),
        None => None,
    };
    let issue = Issue::new(app, lifetime::ACCESS);
    let written = issue.clone();
    let decided = app.store.write(move |tx| {
        let (issue, client_id, narrower) = (written.clone(), client.id.clone(), narrower.clone());
        Box::pin(async move { spend_refresh(tx, token, &client_id, narrower.as_ref(), &issue).await })
    });
    issue.answer(app, decided.await??).await
}

async fn spend_refresh(
    tx: &mut Tx,
    hash: smart::token::Hash,
    client_id: &str,
    narrower: Option<&ScopeSet>,
    issue: &Issue,
) -> Decision {
    let unknown = || OAuthError::invalid_grant("the refresh token is not valid");
    tokens::lock_refresh(tx, hash).await?;
    let Some(renewal) = tokens::find_refresh(tx, hash, issue.now).await? else { return Ok(Err(unknown())) };
    let (grant, successor) = (renewal.grant, issue.refresh.hash());
    let rotation = renewal.refresh.rotate(client_id, narrower, issue.now);
    let scopes = match &rotation {
        Rotation::Refused(error) => return Ok(Err(error.clone())),
        Rotation::Accepted(scopes) | Rotation::Repeated(scopes) => scopes.clone(),
        Rotation::Reused => {
            grants::revoke(tx, &grant.id, issue.now).await?; // OA-08
            return Ok(Err(unknown()));
        }
    };
    // Before it is spent: what is refused leaves the token as it was.
    let terms = match grant.terms.with_scopes(scopes) {
        Ok(terms) => terms,
        Err(error) => return Ok(Err(OAuthError::invalid_scope(error.to_string()))),
    };
    let spent = match (rotation, renewal.successor) {
        (Rotation::Accepted(_), _) => tokens::spend_refresh(tx, hash, successor, issue.now).await?,
        (_, Some(lost)) => tokens::spend_refresh_again(tx, hash, &grant.id, lost, successor, issue.now).await?,
        (_, None) => false,
    };
    if !spent {
        grants::revoke(tx, &grant.id, issue.now).await?; // OA-08
        return Ok(Err(unknown()));
    }
    let issued = issue.write(tx, (&grant.id, grant.expires_at), terms, true).await?;
    Ok(Ok(issued.signed_in(grant.client_id, SignIn { nonce: None, auth_time: grant.auth_time })))
}

/// A backend service acts for itself: `system/` scopes, no refresh token (SM-46, SM-67).
async fn credentials(app: &App, client: Client, form: &Parameters) -> Result<HttpResponse, Failure> {
    let base = app.config.fhir_base();
    let asked = form.required("scope").map_err(|error| OAuthError::invalid_scope(error.description))?;
    let (asked, _) = ScopeSet::parse_known(asked).map_err(|error| OAuthError::invalid_scope(error.to_string()))?;
    let scopes = asked.narrowed_to(&client.scopes).filtered(|scope| {
        let given = match scope {
            Scope::Resource(resource) => access::is_honoured(resource, &base),
            other => *other == Scope::Launch, // the right to make launches
        };
        client.kind.can_hold(scope) && given
    });
    let terms = Terms::new(Holder::Service, scopes, LaunchContext::default()).map_err(|_| {
        OAuthError::new(ErrorCode::InvalidScope, "none of the requested scopes is registered for this client")
    })?;
    let issue = Issue::new(app, lifetime::BACKEND_ACCESS);
    let grant = NewGrant {
        id: app.random.uuid(),
        client_id: client.id,
        terms,
        audience: base,
        session: None,
        nonce: None,
        auth_time: None,
        expires_at: issue.now + issue.lifetime,
    };
    let written = issue.clone();
    let issued = app.store.write(move |tx| {
        let (issue, grant) = (written.clone(), grant.clone());
        Box::pin(async move {
            grants::sweep(tx, issue.now).await?;
            grants::insert(tx, &grant, issue.now).await?;
            issue.write(tx, (&grant.id, grant.expires_at), grant.terms.clone(), false).await
        })
    });
    let issued: Result<Issued, StoreError> = issued.await;
    issue.answer(app, issued?).await
}
