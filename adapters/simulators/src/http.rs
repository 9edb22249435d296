//! A small HTTP server for vendors' services: whole answers, and answers that go on. It is for loopback and tests.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::trouble::{Fate, Trouble};

/// Largest request.
const MAX_REQUEST: usize = 4 << 20;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Segments of the path, decoded.
    pub path: Vec<String>,
    /// Parameters of the URL and of a form.
    pub parameters: HashMap<String, String>,
    /// Headers by name in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub enum Reply {
    /// Status and JSON.
    Json(u16, Value),
    /// Status, content type and text.
    Text(u16, &'static str, String),
    /// Pieces of an event stream, until the sender is dropped.
    Events(mpsc::UnboundedReceiver<String>),
    /// The connection is closed: what was asked for may be done, and nobody says so.
    Broken,
    /// Nothing comes for so long, and the connection is closed.
    Silent(Duration),
    /// A status, and that one should come again after so many seconds.
    Later(u16, u64),
    /// What begins well and comes a byte at a time, with such a pause before each.
    Drip(Duration, String),
}

/// A vendor's service.
pub trait Service: Send + Sync + 'static {
    /// Answers a request.
    fn answer(&self, request: &Request) -> Reply;
}

/// What a request has in it, and how it is answered whatever the service would say.
type OutOfTurn = (Vec<String>, Reply);

/// A service that listens; clones are the same one.
#[derive(Clone, Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    trouble: Arc<Mutex<Trouble>>,
    requests: Arc<AtomicU64>,
    said: Arc<Mutex<Vec<OutOfTurn>>>,
}

impl Running {
    /// Answers the next request in whose path, parameters or body all of these texts are so, whatever the service would
    /// say; the service does not see that request. Of several that are meant, each is said once, in their order.
    pub fn say(&self, about: &[&str], reply: Reply) {
        lock(&self.said).push((about.iter().map(|&text| text.to_owned()).collect(), reply));
    }

    /// How many of those were not asked for yet.
    pub fn unsaid(&self) -> usize {
        lock(&self.said).len()
    }

    fn to_say(&self, request: &Request) -> Option<Reply> {
        let parameters: Vec<&str> = request.parameters.values().map(String::as_str).collect();
        let body = String::from_utf8_lossy(&request.body);
        let whole = format!("{}\n{}\n{body}", request.path.join("/"), parameters.join("\n"));
        let mut said = lock(&self.said);
        let place = said.iter().position(|(about, _)| about.iter().all(|text| whole.contains(text)))?;
        Some(said.remove(place).1)
    }

    /// Its address without a slash at the end.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this goes wrong.
    pub fn misbehave(&self, trouble: Trouble) {
        *lock(&self.trouble) = trouble;
    }

    /// What goes wrong now.
    pub fn trouble(&self) -> Trouble {
        lock(&self.trouble).clone()
    }

    /// How many requests came.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Starts a service; it ends with the runtime.
pub async fn start(address: SocketAddr, service: Arc<impl Service>, trouble: Trouble) -> std::io::Result<Running> {
    let listener = TcpListener::bind(address).await?;
    let running = Running {
        address: listener.local_addr()?,
        trouble: Arc::new(Mutex::new(trouble)),
        requests: Arc::new(AtomicU64::new(0)),
        said: Arc::default(),
    };
    let shared = running.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (service, running) = (service.clone(), shared.clone());
            tokio::spawn(async move { serve(stream, service.as_ref(), &running).await });
        }
    });
    Ok(running)
}

/// What is behind a lock, also after a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut stream: TcpStream, service: &impl Service, running: &Running) {
    let Some(request) = read(&mut stream).await else { return };
    let number = running.requests.fetch_add(1, Ordering::SeqCst) + 1;
    let trouble = running.trouble();
    tokio::time::sleep(trouble.delay()).await;
    let reply = match trouble.fate(number) {
        Fate::Answered => running.to_say(&request).unwrap_or_else(|| service.answer(&request)),
        Fate::Dropped => return,
        Fate::Refused(403, wait) => {
            let seconds = wait.unwrap_or(0);
            let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
            let message = format!("Out of call volume quota. Quota will be replenished in {clock}.");
            let body = json!({ "statusCode": 403, "message": message });
            return whole(&mut stream, 403, "application/json", "", &body.to_string()).await;
        }
        Fate::Refused(status, wait) => {
            let message = wait.map(|seconds| format!("Rate limit is exceeded. Try again in {seconds} seconds."));
            let body =
                json!({ "statusCode": status, "message": message.unwrap_or_else(|| "Internal error".to_owned()) });
            let wait = wait.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
            return whole(&mut stream, status, "application/json", &wait, &body.to_string()).await;
        }
    };
    match reply {
        Reply::Json(status, body) => whole(&mut stream, status, "application/json", "", &body.to_string()).await,
        Reply::Text(status, kind, body) => whole(&mut stream, status, kind, "", &body).await,
        Reply::Events(events) => go_on(&mut stream, events).await,
        Reply::Broken => {}
        Reply::Silent(time) => tokio::time::sleep(time).await,
        Reply::Later(status, seconds) => {
            let wait = format!("Retry-After: {seconds}\r\n");
            whole(&mut stream, status, "application/json", &wait, r#"{"message":"too many requests"}"#).await;
        }
        Reply::Drip(pause, body) => drip(&mut stream, pause, &body).await,
    }
}

async fn drip(stream: &mut TcpStream, pause: Duration, body: &str) {
    let length = body.len();
    let head = format!("HTTP/1.1 200 Answer\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    let mut sent = stream.write_all(head.as_bytes()).await.is_ok();
    for byte in body.bytes() {
        if !sent {
            return;
        }
        tokio::time::sleep(pause).await;
        sent = stream.write_all(&[byte]).await.is_ok();
    }
}

async fn whole(stream: &mut TcpStream, status: u16, kind: &str, more: &str, body: &str) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: {kind}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let _ = stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).await;
    let _ = stream.shutdown().await;
}

async fn go_on(stream: &mut TcpStream, mut events: mpsc::UnboundedReceiver<String>) {
    let head = "HTTP/1.1 200 Answer\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    let mut sent = stream.write_all(head.as_bytes()).await.is_ok();
    while sent {
        let Some(event) = events.recv().await else { break };
        sent = stream.write_all(event.as_bytes()).await.is_ok();
    }
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    let pairs = lines.filter_map(|line| line.split_once(':'));
    let headers: HashMap<String, String> =
        pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while bytes.len() < end + 4 + length {
        more(stream, &mut bytes).await?;
    }
    let body = bytes[end + 4..].to_vec();
    let url = url::Url::parse("http://vendor").ok()?.join(target).ok()?;
    let decode = |segment: &str| {
        let form = segment.replace('+', "%2B");
        url::form_urlencoded::parse(form.as_bytes()).next().map_or_else(String::new, |(text, _)| text.into_owned())
    };
    let path = url.path_segments()?.map(decode).collect();
    let mut parameters: HashMap<String, String> = url.query_pairs().into_owned().collect();
    if headers.get("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        parameters.extend(url::form_urlencoded::parse(&body).into_owned());
    }
    Some(Request { method, path, parameters, headers, body })
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 8192];
    let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
    bytes.extend_from_slice(&chunk[..count]);
    (bytes.len() <= MAX_REQUEST).then_some(())
}

/// Now, as vendors write it.
#[expect(clippy::disallowed_methods, reason = "it is another machine, with a clock of its own")]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
