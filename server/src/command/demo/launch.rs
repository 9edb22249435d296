//! A SMART standalone launch as an app and its user go through it.
//! <https://hl7.org/fhir/smart-app-launch/app-launch.html>

use fhir::json::Json;
use openidconnect::core::CoreResponseType;
use openidconnect::{
    AuthUrl, AuthenticationFlow, AuthorizationCode, Client, ClientId, CsrfToken, EmptyAdditionalClaims, EndpointNotSet,
    EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, IssuerUrl, JsonWebKeySet, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, TokenUrl,
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::browser::Browser;
use super::seed::Seeds;
use super::transcript::{Exchange, Transcript};
use super::{Demo, ensure};
use crate::command::CommandError;
use crate::oauth::external::relying_party::{RelyingParty, TokenAnswer};

/// What the app asks for.
const SCOPES: [&str; 3] = ["launch/patient", "patient/Patient.rs", "patient/Observation.rs"];

/// What SMART adds to a token answer.
#[derive(Debug, Serialize, Deserialize)]
struct LaunchContext {
    patient: Option<String>,
}

impl ExtraTokenFields for LaunchContext {}

/// A client that also reads the launch context, and knows where to authorise and where to get tokens.
type SmartApp = RelyingParty<EmptyAdditionalClaims, LaunchContext, EndpointSet, EndpointNotSet>;

/// An app that has been let in.
pub(super) struct Launched {
    /// Its access token.
    pub(super) access_token: String,
    /// The patient it was launched for.
    pub(super) patient: String,
}

/// Discovery, login, consent and code exchange, with PKCE.
pub(super) async fn standalone(
    demo: &Demo,
    seeds: &Seeds,
    transcript: &mut Transcript,
) -> Result<Launched, CommandError> {
    let configuration = discover(demo, transcript).await?;
    let app = app(demo, &configuration, seeds)?;
    // Our own randomness, so that the crate's is not needed.
    let verifier = PkceCodeVerifier::new(demo.random.token());
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    let state = CsrfToken::new(demo.random.token());
    let nonce = Nonce::new(demo.random.token());
    let (sent, flow) = (state.clone(), AuthenticationFlow::<CoreResponseType>::AuthorizationCode);
    let (authorize, ..) = app
        .authorize_url(flow, || sent, || nonce)
        .add_scopes(SCOPES.iter().map(|scope| Scope::new((*scope).to_owned())))
        .add_extra_param("aud", demo.fhir_base.clone())
        .set_pkce_challenge(challenge)
        .url();
    let callback = log_in_and_consent(seeds, authorize, transcript).await?;
    let parameter = |name: &str| {
        callback.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    ensure(parameter("state") == *state.secret(), "the app gets its own state back")?;
    ensure(!parameter("code").is_empty(), &format!("the app gets a code, not {:?}", parameter("error")))?;
    exchange(demo, &app, parameter("code"), verifier, seeds, transcript).await
}

async fn discover(demo: &Demo, transcript: &mut Transcript) -> Result<Json, CommandError> {
    let address = format!("{}/.well-known/smart-configuration", demo.fhir_base);
    let answer = demo.get(&address, None).await?;
    let methods = answer.json.list("code_challenge_methods_supported");
    ensure(answer.status == 200, "smart-configuration answers 200")?;
    ensure(methods.iter().any(|method| method.as_str() == Some("S256")), "PKCE with S256 is supported")?;
    transcript.step(&Exchange {
        title: "An app finds out where to log in",
        request: format!("GET {address}"),
        status: answer.status,
        body: &answer.body,
        checked: "PKCE with S256 is offered".to_owned(),
    });
    Ok(answer.json)
}

fn app(demo: &Demo, configuration: &Json, seeds: &Seeds) -> Result<SmartApp, CommandError> {
    let endpoint = |name: &str| {
        let text = configuration.str(name);
        text.map(ToOwned::to_owned).ok_or_else(|| CommandError::new(format!("smart-configuration has no {name}")))
    };
    // The app asks for data and not who somebody is: no `openid`, so no keys are needed, and the issuer is only named.
    let issuer = IssuerUrl::new(configuration.str("issuer").unwrap_or(&demo.fhir_base).to_owned())?;
    Ok(Client::new(ClientId::new(seeds.client_id.clone()), issuer, JsonWebKeySet::default())
        .disable_openid_scope()
        .set_auth_uri(AuthUrl::new(endpoint("authorization_endpoint")?)?)
        .set_token_uri(TokenUrl::new(endpoint("token_endpoint")?)?)
        .set_redirect_uri(RedirectUrl::new(seeds.redirect_uri.clone())?))
}

/// What the person does; gives back where the browser is sent in the end: the app's address with the code.
async fn log_in_and_consent(seeds: &Seeds, authorize: Url, transcript: &mut Transcript) -> Result<Url, CommandError> {
    let browser = Browser::new()?;
    let shown = format!("GET {}?response_type=code&code_challenge_method=S256&…", without_query(&authorize));
    let login = browser.open(authorize).await?;
    let mut form = login.form("password")?;
    transcript.step(&Exchange {
        title: "The app sends the patient's browser to log in",
        request: shown,
        status: login.status,
        body: "(a login page)",
        checked: "there is a form that asks for name and password".to_owned(),
    });
    form.fill("text", &seeds.username);
    form.fill("password", &seeds.password);
    let consent = browser.submit(&login, &form).await?;
    let mut form = consent.form("")?;
    ensure(!form.typed.contains_key("password"), "the password is accepted")?;
    transcript.step(&Exchange {
        title: "The patient logs in and is asked for consent",
        request: format!("POST {} (username={}, password=…)", login.url.path(), seeds.username),
        status: consent.status,
        body: "(a consent page)",
        checked: "the page asks before anything is shared".to_owned(),
    });
    ensure(form.press(&["allow", "approve", "yes", "accept"]), "the consent page has a button to allow")?;
    let answer = browser.submit(&consent, &form).await?;
    let callback = answer.redirect.clone().ok_or_else(|| {
        CommandError::new(format!("consent answered {} and not a redirect to the app", answer.status))
    })?;
    ensure(without_query(&callback) == seeds.redirect_uri, "the browser is sent back to the app")?;
    transcript.step(&Exchange {
        title: "The patient allows it; the browser goes back to the app with a code",
        request: format!("POST {} (allow)", consent.url.path()),
        status: answer.status,
        body: &format!("Location: {}?code=…&state=…", seeds.redirect_uri),
        checked: "redirected to the registered address, with a code and the app's own state".to_owned(),
    });
    Ok(callback)
}

async fn exchange(
    demo: &Demo,
    app: &SmartApp,
    code: String,
    verifier: PkceCodeVerifier,
    seeds: &Seeds,
    transcript: &mut Transcript,
) -> Result<Launched, CommandError> {
    let http = |request| send(demo.http.clone(), request);
    let answer: TokenAnswer<EmptyAdditionalClaims, LaunchContext> = app
        .exchange_code(AuthorizationCode::new(code))
        .set_pkce_verifier(verifier)
        .request_async(&http)
        .await
        .map_err(|error| CommandError::new(format!("the code is not exchanged: {error}")))?;
    let patient = answer.extra_fields().extra_fields().patient.clone().unwrap_or_default();
    ensure(patient == seeds.patient, "the token is for the patient who logged in")?;
    let scopes: Vec<String> = answer.scopes().into_iter().flatten().map(|scope| scope.to_string()).collect();
    transcript.step(&Exchange {
        title: "The app exchanges the code for a token",
        request: "POST token endpoint (grant_type=authorization_code, code=…, code_verifier=…)".to_owned(),
        status: 200,
        body: &serde_json::json!({ "access_token": "…", "patient": patient, "scope": scopes.join(" ") }).to_string(),
        checked: format!("the token is for Patient/{patient} and nobody else"),
    });
    Ok(Launched { access_token: answer.access_token().secret().clone(), patient })
}

/// The crate builds requests, we send them.
async fn send(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let response = client.execute(request.try_into()?).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut answer = HttpResponse::new(response.bytes().await?.to_vec());
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    Ok(answer)
}

fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}
