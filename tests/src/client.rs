//! HTTP as an app speaks it: a base, perhaps a token, and answers that are easy to ask.

use std::pin::Pin;

use fhir::json::Json;
use reqwest::Method;

/// Talks to one server, with or without a token.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    origin: String,
    token: Option<String>,
}

/// A request in the making; awaiting it sends it.
#[derive(Debug)]
#[must_use = "a request is sent when it is awaited"]
pub struct Call(reqwest::RequestBuilder);

/// All of an answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Client {
    /// A client without a token. Redirects are answers to look at, not followed.
    pub fn new(origin: &str) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        Client { http: http.expect("a plain HTTP client can always be made"), origin: origin.to_owned(), token: None }
    }

    /// The same client with this access token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Client { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The access token.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// GET. A path is relative to the FHIR base (`Patient/1`, empty for the base itself), to the origin (`/oauth/token`), or a whole URL.
    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// HEAD.
    pub fn head(&self, path: &str) -> Call {
        self.call(Method::HEAD, path)
    }

    /// POST.
    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    /// PUT.
    pub fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    /// PATCH.
    pub fn patch(&self, path: &str) -> Call {
        self.call(Method::PATCH, path)
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    /// Any method.
    pub fn call(&self, method: Method, path: &str) -> Call {
        let url = match path {
            whole if whole.starts_with("http://") => whole.to_owned(),
            rooted if rooted.starts_with('/') => format!("{}{rooted}", self.origin),
            "" => format!("{}/fhir", self.origin),
            relative => format!("{}/fhir/{relative}", self.origin),
        };
        let request = self.http.request(method, url);
        Call(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    /// Creates a resource (POST) and returns its logical id; panics where the server does not answer 201.
    pub async fn create(&self, resource: &Json) -> String {
        let resource_type = resource.str("resourceType").expect("a resource says its type");
        let created = self.post(resource_type).json(resource).await.expect_status(201);
        created.json().str("id").expect("a created resource has an id").to_owned()
    }

    /// Puts a resource under the id that it states; panics where the server does not answer 200 or 201.
    pub async fn store(&self, resource: &Json) -> Answer {
        let resource_type = resource.str("resourceType").expect("a resource says its type");
        let id = resource.str("id").expect("the resource states its id");
        let answer = self.put(&format!("{resource_type}/{id}")).json(resource).await;
        assert!(matches!(answer.status, 200 | 201), "PUT {resource_type}/{id}: {}", answer.describe());
        answer
    }

    /// Searches and returns the logical ids of the matches of the first page, in order.
    pub async fn matches(&self, query: &str) -> Vec<String> {
        self.get(query).await.expect_status(200).matches()
    }
}

impl Call {
    /// Adds a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        Call(self.0.header(name, value))
    }

    /// Sends FHIR JSON.
    pub fn json(self, body: &Json) -> Self {
        self.body("application/fhir+json", body.to_string())
    }

    /// Sends FHIR XML.
    pub fn xml(self, body: impl Into<Vec<u8>>) -> Self {
        self.body("application/fhir+xml", body)
    }

    /// Sends a form.
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        Call(self.0.form(fields))
    }

    /// Sends anything.
    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Call(self.0.header("content-type", content_type).body(body.into()))
    }

    /// Sends the request; an error is a connection that broke, which only tests that kill the server expect.
    pub async fn try_send(self) -> Result<Answer, reqwest::Error> {
        let answer = self.0.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Answer { status, headers, body: answer.bytes().await?.to_vec() })
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.try_send().await.expect("the server answers") })
    }
}

impl Answer {
    /// Itself, if the status is this one; panics with the body if not.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "often the status is all that is asked")]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.describe());
        self
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All values of a header.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }

    /// Names of all headers, sorted.
    pub fn header_names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.headers.keys().map(reqwest::header::HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The `Location` header without the version part: where the resource is.
    #[track_caller]
    pub fn location(&self) -> String {
        let location = self.header("location").expect("the answer has a Location");
        location.split("/_history/").next().unwrap_or(location).to_owned()
    }

    /// The body's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics where it is none.
    #[track_caller]
    pub fn json(&self) -> Json {
        Json::parse(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.describe()))
    }

    /// The diagnostics and details of an `OperationOutcome`, one string an issue.
    pub fn issues(&self) -> Vec<String> {
        let text = |issue: &Json| {
            let details = issue.at(&["details", "text"]).and_then(Json::as_str).unwrap_or_default();
            format!("{} {details}", issue.str("diagnostics").unwrap_or_default()).trim().to_owned()
        };
        Json::parse(&self.body).map(|outcome| outcome.list("issue").iter().map(text).collect()).unwrap_or_default()
    }

    /// Logical ids of a searchset's matches, in order.
    #[track_caller]
    pub fn matches(&self) -> Vec<String> {
        self.entries("match").iter().filter_map(|resource| resource.str("id").map(str::to_owned)).collect()
    }

    /// `Type/id` of a searchset's included resources, in order.
    #[track_caller]
    pub fn included(&self) -> Vec<String> {
        let name = |resource: &Json| Some(format!("{}/{}", resource.str("resourceType")?, resource.str("id")?));
        self.entries("include").iter().filter_map(name).collect()
    }

    /// The resources of a searchset whose `search.mode` is this.
    #[track_caller]
    pub fn entries(&self, mode: &str) -> Vec<Json> {
        let bundle = self.json();
        let entries = bundle.list("entry").iter();
        let of_mode = entries.filter(|entry| entry.at(&["search", "mode"]).and_then(Json::as_str) == Some(mode));
        of_mode.filter_map(|entry| entry.get("resource").cloned()).collect()
    }

    /// URL of a bundle's link with this relation.
    #[track_caller]
    pub fn link(&self, relation: &str) -> Option<String> {
        let bundle = self.json();
        let link = bundle.list("link").iter().find(|link| link.str("relation") == Some(relation))?;
        link.str("url").map(str::to_owned)
    }

    /// Status, headers and body for a person who reads a failed test.
    pub fn describe(&self) -> String {
        format!("status {} {:?}\n{}", self.status, self.headers, self.text())
    }
}
