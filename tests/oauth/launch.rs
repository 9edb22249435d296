//! An app, a person and their browser, as far as a standalone launch needs them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fhir::json::Json;
use fhir::{array, object};
use tests::{Answer, TestServer};
use url::Url;
use url::form_urlencoded::Serializer;

pub(crate) const REDIRECT_URI: &str = "https://app.example/callback";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const SCOPE: &str = "launch/patient patient/*.rs offline_access";

/// A registered app.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) id: String,
    pub(crate) secret: Option<String>,
}

/// An account and its password.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) username: String,
    pub(crate) password: String,
}

/// A browser: one cookie jar of one server.
#[derive(Clone, Debug)]
pub(crate) struct Browser<'a> {
    server: &'a TestServer,
    cookie: Option<String>,
}

/// What the token endpoint answered, read.
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) scope: String,
    pub(crate) patient: String,
}

/// Two patients; `ada` is the account of the first.
pub(crate) async fn seed(server: &TestServer) -> Account {
    for (id, family) in [("p1", "Lovelace"), ("p2", "Babbage")] {
        let name = object! { "family": family };
        server.system().store(&object! { "resourceType": "Patient", "id": id, "name": array![name] }).await;
    }
    add_account(server, "ada", Some("Patient/p1"))
}

pub(crate) fn add_account(server: &TestServer, username: &str, fhir_user: Option<&str>) -> Account {
    let mut arguments = vec!["user", "add", username, "--json"];
    arguments.extend(fhir_user.into_iter().flat_map(|user| ["--fhir-user", user]));
    let added = parse(&server.command(&arguments));
    Account { username: username.to_owned(), password: text(&added, "password") }
}

pub(crate) fn add_app(server: &TestServer, kind: &str) -> App {
    let mut arguments = vec!["client", "add", "--name", "Heart Watch", "--kind", kind, "--json"];
    if kind != "backend" {
        arguments.extend(["--redirect-uri", REDIRECT_URI]);
    }
    let added = parse(&server.command(&arguments));
    App { id: text(&added, "client_id"), secret: added.str("client_secret").map(str::to_owned) }
}

/// The parameters of a faultless authorization request.
pub(crate) fn request(server: &TestServer, app: &App, scope: &str) -> Vec<(String, String)> {
    let pairs = [
        ("response_type", "code"),
        ("client_id", app.id.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("scope", scope),
        ("state", "s-1"),
        ("aud", &server.fhir_base()),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The same with one parameter changed, or without it.
pub(crate) fn changed(request: &[(String, String)], name: &str, value: Option<&str>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = request.iter().filter(|(other, _)| other != name).cloned().collect();
    pairs.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    pairs
}

pub(crate) fn encode(pairs: &[(String, String)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

impl<'a> Browser<'a> {
    pub(crate) fn new(server: &'a TestServer) -> Self {
        Browser { server, cookie: None }
    }

    pub(crate) fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let call = self.server.anonymous().get(path);
        let answer = match &self.cookie {
            Some(cookie) => call.header("cookie", cookie).await,
            None => call.await,
        };
        self.keep(answer)
    }

    pub(crate) async fn post(&mut self, path: &str, fields: &[(String, String)]) -> Answer {
        let call = self.server.anonymous().post(path).body("application/x-www-form-urlencoded", encode(fields));
        let answer = match &self.cookie {
            Some(cookie) => call.header("cookie", cookie).await,
            None => call.await,
        };
        self.keep(answer)
    }

    /// Asks for authorization and follows to the page where the person is asked.
    pub(crate) async fn ask(&mut self, request: &[(String, String)]) -> Answer {
        let sent = self.get(&format!("/oauth/authorize?{}", encode(request))).await.expect_status(303);
        self.get(sent.header("location").expect("a Location")).await
    }

    /// Signs in on a login page and follows to consent.
    pub(crate) async fn sign_in(&mut self, login: &Answer, account: &Account) -> Answer {
        let mut fields = fields(&login.text());
        fields.push(("username".to_owned(), account.username.clone()));
        fields.push(("password".to_owned(), account.password.clone()));
        let sent = self.post("/oauth/login", &fields).await.expect_status(303);
        self.get(sent.header("location").expect("a Location")).await
    }

    /// Presses a button of a consent page.
    pub(crate) async fn decide(&mut self, consent: &Answer, decision: &str) -> Answer {
        let mut fields = fields(&consent.text());
        fields.push(("decision".to_owned(), decision.to_owned()));
        self.post("/oauth/consent", &fields).await
    }

    fn keep(&mut self, answer: Answer) -> Answer {
        if let Some(set) = answer.header("set-cookie") {
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        answer
    }
}

/// A whole launch up to the redirect back to the app.
pub(crate) async fn launch(server: &TestServer, app: &App, account: &Account, scope: &str) -> Url {
    let mut browser = Browser::new(server);
    let login = browser.ask(&request(server, app, scope)).await.expect_status(200);
    let consent = browser.sign_in(&login, account).await.expect_status(200);
    location(&browser.decide(&consent, "allow").await.expect_status(303))
}

/// A whole launch up to the tokens.
pub(crate) async fn tokens(server: &TestServer, app: &App, account: &Account, scope: &str) -> Tokens {
    let back = launch(server, app, account, scope).await;
    let code = parameter(&back, "code").unwrap_or_else(|| panic!("no code: {back}"));
    let answer = exchange(server, app, &code, &[]).await.expect_status(200);
    read(&answer)
}

/// Presents a code; `changes` replace or, if empty, leave out a field.
pub(crate) async fn exchange(server: &TestServer, app: &App, code: &str, changes: &[(&str, &str)]) -> Answer {
    let faultless = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    let mut form: Vec<(&str, &str)> =
        faultless.into_iter().filter(|(name, _)| !changes.iter().any(|(other, _)| other == name)).collect();
    form.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    post(server, app, "/oauth/token", &form).await
}

pub(crate) async fn refresh(server: &TestServer, app: &App, token: &str, scope: Option<&str>) -> Answer {
    let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
    form.extend(scope.map(|scope| ("scope", scope)));
    post(server, app, "/oauth/token", &form).await
}

/// A form as the app sends it: with its secret in the header, or its name in the form.
pub(crate) async fn post(server: &TestServer, app: &App, path: &str, form: &[(&str, &str)]) -> Answer {
    let mut form = form.to_vec();
    let call = server.anonymous().post(path);
    if let Some(secret) = &app.secret {
        let basic = STANDARD.encode(format!("{}:{secret}", app.id));
        call.header("authorization", &format!("Basic {basic}")).form(&form).await
    } else {
        form.push(("client_id", &app.id));
        call.form(&form).await
    }
}

pub(crate) fn read(answer: &Answer) -> Tokens {
    let body = answer.json();
    Tokens {
        access: text(&body, "access_token"),
        refresh: body.str("refresh_token").unwrap_or_default().to_owned(),
        scope: text(&body, "scope"),
        patient: body.str("patient").unwrap_or_default().to_owned(),
    }
}

/// The `error` of an OAuth error.
pub(crate) fn error(answer: &Answer) -> String {
    text(&answer.json(), "error")
}

pub(crate) fn location(answer: &Answer) -> Url {
    let location = answer.header("location").expect("a Location");
    Url::parse(location).expect("Location is a URL")
}

pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
}

/// Hidden and ticked fields of our own pages.
pub(crate) fn fields(html: &str) -> Vec<(String, String)> {
    let attribute = |tag: &str, name: &str| {
        let start = tag.find(&format!("{name}=\""))? + name.len() + 2;
        Some(tag[start..].split('"').next()?.replace("&#38;", "&").replace("&#39;", "'"))
    };
    html.split("<input ")
        .skip(1)
        .filter_map(|rest| rest.split('>').next())
        .filter(|tag| tag.contains("type=\"hidden\"") || tag.contains(" checked"))
        .filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?)))
        .collect()
}

fn parse(printed: &str) -> Json {
    Json::parse(printed.trim().as_bytes()).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

fn text(json: &Json, name: &str) -> String {
    json.str(name).unwrap_or_else(|| panic!("no {name} in {json}")).to_owned()
}
