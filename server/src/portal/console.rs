//! `/portal/console`: a developer tries the API with one of their apps. The server calls itself over HTTP, as the app
//! would, with a token that lives for a minute and is never shown: what comes back is what that app may see.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use smart::token::{Kind, Secret};
use store::{StoreError, clients, grants, tokens};
use url::Url;

use super::frame::Frame;
use super::own_access;
use crate::account::visitor::{Refused, State, Visitor, show};
use crate::app::App;
use crate::oauth::form::Parameters;
use crate::oauth::page;

/// How long the token lives, microseconds.
const TOKEN: i64 = 60 * 1_000_000;

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(35);

/// How much of an answer is shown.
const MAX_SHOWN: usize = 64 * 1024;

/// Methods that the console offers.
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

#[derive(Template)]
#[template(path = "console.html")]
struct ConsolePage<'a> {
    style: &'a str,
    frame: Frame<'a>,
    apps: Vec<(String, String)>,
    chosen: &'a str,
    methods: [&'static str; 4],
    method: &'a str,
    path: &'a str,
    body: &'a str,
    fhir_base: String,
    problem: Option<String>,
    answer: Option<Answer>,
}

/// What came back.
struct Answer {
    request: String,
    scope: String,
    status: String,
    headers: String,
    body: String,
    is_cut: bool,
}

/// What is called.
struct Call {
    method: reqwest::Method,
    url: Url,
    path: String,
    body: String,
}

/// The page.
pub async fn get(app: State, request: HttpRequest) -> Result<HttpResponse, Refused> {
    let visitor = Visitor::of(&app, &request).await?;
    let query = Parameters::parse(request.query_string().as_bytes())?;
    filled(&app, &visitor, &query, Ok(None)).await
}

/// Calls.
pub async fn post(app: State, request: HttpRequest, body: web::Bytes) -> Result<HttpResponse, Refused> {
    let (visitor, form) = Visitor::sending(&app, &request, &body).await?;
    let called = match Call::of(&app, &form) {
        Ok(call) => carry_out(&app, &visitor, &form, call).await?.map(Some),
        Err(problem) => Err(problem),
    };
    // What was called is shown, not kept, so there is nothing that a redirect could lead to.
    filled(&app, &visitor, &form, called).await
}

impl Call {
    /// What the form asks for; nothing outside the FHIR base of this server can be called.
    fn of(app: &App, form: &Parameters) -> Result<Self, String> {
        let method = form.get("method").filter(|method| METHODS.contains(method)).unwrap_or("GET");
        let path = form.get("path").unwrap_or_default().trim().trim_start_matches('/').to_owned();
        let base = format!("http://{}/fhir/", reachable(app.config.listen));
        let url =
            Url::parse(&format!("{base}{path}")).map_err(|_| "This is not a path below the FHIR base.".to_owned())?;
        if !url.as_str().starts_with(&base) || path.chars().any(char::is_control) || url.fragment().is_some() {
            return Err("This is not a path below the FHIR base.".to_owned());
        }
        let mut url = url;
        url.query_pairs_mut().append_pair("_pretty", "true");
        let method = method.parse().map_err(|_| "This method cannot be used.".to_owned())?;
        Ok(Call { method, url, path, body: form.get("body").unwrap_or_default().to_owned() })
    }
}

/// Where this process can reach itself.
fn reachable(listen: std::net::SocketAddr) -> std::net::SocketAddr {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let mut address = listen;
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn carry_out(
    app: &App,
    visitor: &Visitor,
    form: &Parameters,
    call: Call,
) -> Result<Result<Answer, String>, Refused> {
    let (token, scope) = match mint(app, visitor, form.get("app").unwrap_or_default()).await? {
        Ok(minted) => minted,
        Err(problem) => return Ok(Err(problem)),
    };
    let client = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
    let client = client.map_err(|error| Refused::Broken(error.to_string()))?;
    let mut request = client.request(call.method.clone(), call.url).bearer_auth(token.expose());
    request = request.header("accept", "application/fhir+json");
    if !call.body.is_empty() {
        request = request.header("content-type", "application/fhir+json").body(call.body);
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!(%error, "the console cannot reach its own server");
            return Ok(Err("The server could not be reached. Try again.".to_owned()));
        }
    };
    let status = answer.status().to_string();
    let shown = ["content-type", "etag", "last-modified", "location", "www-authenticate"];
    let header = |name: &&str| Some(format!("{name}: {}", answer.headers().get(*name)?.to_str().ok()?));
    let headers: Vec<String> = shown.iter().filter_map(header).collect();
    let body = answer.text().await.unwrap_or_default();
    let end = body.char_indices().map(|(at, _)| at).find(|at| *at >= MAX_SHOWN).unwrap_or(body.len());
    Ok(Ok(Answer {
        request: format!("{} {}/{}", call.method, app.config.fhir_base(), call.path),
        scope,
        status,
        headers: headers.join("\n"),
        is_cut: end < body.len(),
        body: body[..end].to_owned(),
    }))
}

/// A token of one of the visitor's apps, and what it gives.
async fn mint(app: &App, visitor: &Visitor, client_id: &str) -> Result<Result<(Secret, String), String>, Refused> {
    let registration = store::apps::find(&app.store, client_id).await?;
    let registration = registration.filter(|it| it.account_id == visitor.account.id).ok_or(Refused::NotFound)?;
    let client = clients::find(&app.store, client_id).await?.ok_or(Refused::NotFound)?;
    let now = app.clock.now();
    if !client.is_active(now) {
        return Ok(Err("This app is not active.".to_owned()));
    }
    let grant = match own_access::grant(app, &client, &registration, &visitor.account, now + TOKEN).await? {
        Ok(grant) => grant,
        Err(why) => return Ok(Err(format!("This app can see nothing by itself: {why}."))),
    };
    let token = Secret::new(Kind::Access, app.random.bytes());
    let (hash, scope) = (token.hash(), grant.terms.scopes().to_string());
    let written = scope.clone();
    app.store
        .write(move |tx| {
            let (grant, scope) = (grant.clone(), written.clone());
            Box::pin(async move {
                grants::insert(tx, &grant, now).await?;
                tokens::insert_access(tx, hash, &grant.id, (&scope, None), now, now + TOKEN).await
            })
        })
        .await
        .map_err(|error: StoreError| Refused::from(error))?;
    Ok(Ok((token, scope)))
}

async fn filled(
    app: &App,
    visitor: &Visitor,
    form: &Parameters,
    called: Result<Option<Answer>, String>,
) -> Result<HttpResponse, Refused> {
    let mut apps = Vec::new();
    for registration in store::apps::of_account(&app.store, &visitor.account.id).await? {
        let client = clients::find(&app.store, &registration.client_id).await?;
        let active = client.filter(|client| client.is_active(app.clock.now()));
        apps.extend(active.map(|client| (client.id, client.name)));
    }
    let (answer, problem) = match called {
        Ok(answer) => (answer, None),
        Err(problem) => (None, Some(problem)),
    };
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let page = ConsolePage {
        style: page::STYLE,
        frame: Frame::of(visitor, "console"),
        apps,
        chosen: form.get("app").unwrap_or_default(),
        methods: METHODS,
        method: form.get("method").unwrap_or("GET"),
        path: form.get("path").unwrap_or("Patient"),
        body: form.get("body").unwrap_or_default(),
        fhir_base: app.config.fhir_base(),
        problem,
        answer,
    };
    Ok(show(&page, status, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_reaches_itself_here() {
        let reached = |listen: &str| reachable(listen.parse().expect("an address")).to_string();
        assert_eq!(reached("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(reached("[::]:8080"), "[::1]:8080");
        assert_eq!(reached("192.0.2.1:80"), "192.0.2.1:80");
    }
}
