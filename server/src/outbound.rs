//! Requests that this server sends to addresses which others name: key sets of clients, identity providers, services of
//! vendors.
//!
//! Whoever can name an address must not reach through us what only we can reach (SM-65, OA-29). So there is one client,
//! and it is narrow: https, no redirects, no proxy of the environment, bounds on time and size, and after resolution
//! only addresses of the public internet. `--outbound-private` opens the machine itself and private networks, for
//! development and for hospitals whose identity provider is inside.

use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use openidconnect::http::{Request, Response};
use tokio::sync::{mpsc, oneshot};
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use url::{Host, Url};

use crate::config::Config;

mod address;

/// Largest answer, bytes.
pub const MAX_BODY: u64 = 512 * 1024;
/// Longest that a request may take, resolution and all.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// Largest answer of a service of a vendor, bytes.
pub const MAX_SERVICE_BODY: u64 = 32 << 20;
/// How long a stream is read before it is opened again.
pub const STREAM_LIFE: Duration = Duration::from_mins(10);

/// The client; clones share its connections.
#[derive(Clone, Debug)]
pub struct Outbound {
    agent: Agent,
    private: bool,
    max_body: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// Not an address that we send requests to.
    #[error("the address is not an absolute https URL without user and fragment")]
    Address,
    /// It did not work: refused address, no connection, too slow, too large.
    #[error("the request failed: {0}")]
    Failed(String),
    /// Nothing came in time.
    #[error("the request failed: no answer in time")]
    Late,
}

impl Outbound {
    /// The client that the settings ask for.
    pub fn new(config: &Config) -> Self {
        let settings = settings(config).timeout_global(Some(TIMEOUT)).build();
        Self::with(settings, config, MAX_BODY)
    }

    /// The client for services of vendors, which take longer and say more.
    pub fn to_services(config: &Config) -> Self {
        let settings = settings(config).timeout_global(Some(patience(config))).build();
        Self::with(settings, config, MAX_SERVICE_BODY)
    }

    /// The client for answers that go on: see [`Outbound::stream`].
    pub fn to_streams(config: &Config) -> Self {
        let settings = settings(config)
            .timeout_resolve(Some(TIMEOUT))
            .timeout_connect(Some(patience(config)))
            .timeout_recv_response(Some(patience(config)))
            .timeout_recv_body(Some(STREAM_LIFE))
            .build();
        Self::with(settings, config, MAX_SERVICE_BODY)
    }

    fn with(settings: ureq::config::Config, config: &Config, max_body: u64) -> Self {
        let resolver = Guarded { resolver: DefaultResolver::default(), private: config.outbound_private };
        let agent = Agent::with_parts(settings, DefaultConnector::default(), resolver);
        Outbound { agent, private: config.outbound_private, max_body }
    }

    /// Checks an address without asking it: what fails here can be refused when it is registered.
    pub fn check(&self, address: &str) -> Result<Url, OutboundError> {
        let url = Url::parse(address).map_err(|_| OutboundError::Address)?;
        let scheme = url.scheme() == "https" || (self.private && url.scheme() == "http");
        let literal = match url.host() {
            Some(Host::Ipv4(ip)) => self.private || address::is_public(ip.into()),
            Some(Host::Ipv6(ip)) => self.private || address::is_public(ip.into()),
            Some(Host::Domain(name)) => !name.is_empty(),
            None => false,
        };
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if scheme && literal && plain { Ok(url) } else { Err(OutboundError::Address) }
    }

    /// GET of an address; the status is for the caller to look at.
    pub async fn get(&self, address: &str, accept: &str) -> Result<Response<Vec<u8>>, OutboundError> {
        let request = Request::get(address).header("Accept", accept).body(Vec::new());
        self.send(request.map_err(|_| OutboundError::Address)?).await
    }

    /// Sends a request, as the libraries of OpenID Connect make them. An answer of any status is an answer.
    pub async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, OutboundError> {
        self.check(&request.uri().to_string())?;
        let (agent, max_body) = (self.agent.clone(), self.max_body);
        let sent = tokio::task::spawn_blocking(move || {
            let response = if request.body().is_empty() { agent.run(request.map(|_| ())) } else { agent.run(request) };
            let (parts, mut body) = response.map_err(|error| broken(&error))?.into_parts();
            let body = body.with_config().limit(max_body).read_to_vec().map_err(|error| broken(&error))?;
            Ok(Response::from_parts(parts, body))
        });
        sent.await.map_err(|error| failed(&error))?
    }

    /// Sends a request whose answer goes on; its pieces come as they arrive, until one fails or is empty. The thread
    /// that reads ends soon after the pieces are dropped, at the latest with [`STREAM_LIFE`].
    pub async fn stream(&self, request: Request<()>) -> Result<Response<Pieces>, OutboundError> {
        self.check(&request.uri().to_string())?;
        let agent = self.agent.clone();
        let (answered, answer) = oneshot::channel();
        let (sender, pieces) = mpsc::channel(PIECES);
        // No task: those that block would keep the whole process from ending.
        let reader = std::thread::Builder::new().name("stream".to_owned());
        let spawned = reader.spawn(move || match agent.run(request) {
            Err(error) => drop(answered.send(Err(broken(&error)))),
            Ok(response) => {
                let (parts, body) = response.into_parts();
                if answered.send(Ok(parts)).is_ok() {
                    read_on(body.into_reader(), &sender);
                }
            }
        });
        spawned.map_err(|error| failed(&error))?;
        let parts = answer.await.map_err(|error| failed(&error))??;
        Ok(Response::from_parts(parts, pieces))
    }
}

/// Pieces of an answer that goes on.
pub type Pieces = mpsc::Receiver<Result<Vec<u8>, OutboundError>>;

/// Pieces that wait to be taken: a service that sends faster than we read has to wait.
const PIECES: usize = 16;

fn read_on(mut body: impl Read, sender: &mpsc::Sender<Result<Vec<u8>, OutboundError>>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let piece = match body.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => Ok(buffer[..count].to_vec()),
            Err(error) => Err(failed(&error)),
        };
        let over = piece.is_err();
        if sender.blocking_send(piece).is_err() || over {
            return;
        }
    }
}

/// What all clients have in common.
fn settings(config: &Config) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .https_only(!config.outbound_private)
        .proxy(None)
        .max_idle_connections(8)
        .user_agent("tributary")
}

/// Longest that a request to a service of a vendor may take, and longest wait for a stream to begin.
fn patience(config: &Config) -> Duration {
    Duration::from_secs(config.outbound_seconds.into())
}

fn broken(error: &ureq::Error) -> OutboundError {
    if matches!(error, ureq::Error::Timeout(_)) { OutboundError::Late } else { failed(error) }
}

fn failed(error: &dyn fmt::Display) -> OutboundError {
    OutboundError::Failed(error.to_string())
}

/// Resolves names as the system does, and keeps what may be reached.
#[derive(Debug)]
struct Guarded {
    resolver: DefaultResolver,
    private: bool,
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &ureq::http::Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.resolver.resolve(uri, config, timeout)?;
        let mut kept = self.empty();
        for address in found.iter().filter(|address: &&SocketAddr| self.private || address::is_public(address.ip())) {
            kept.push(*address);
        }
        if kept.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(kept) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sm_65_only_public_https_addresses_are_asked() {
        let outbound = Outbound::new(&Config::from_flags(&[]));
        assert!(outbound.check("https://app.example/jwks.json").is_ok());
        for address in [
            "",
            "/jwks.json",
            "http://app.example/jwks.json",
            "ftp://app.example/jwks.json",
            "file:///etc/passwd",
            "https://me@app.example/",
            "https://:secret@app.example/",
            "https://app.example/#x",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest/meta-data",
            "https://10.1.2.3/",
            "data:application/json,{}",
        ] {
            assert!(outbound.check(address).is_err(), "{address}");
        }
        let inside = Outbound::new(&Config::from_flags(&["--outbound-private=true"]));
        assert!(inside.check("http://127.0.0.1:4000/jwks.json").is_ok());
        assert!(inside.check("file:///etc/passwd").is_err());
    }

    #[tokio::test]
    async fn sm_65_a_name_that_leads_inside_is_not_asked() {
        let outbound = Outbound::new(&Config::from_flags(&[]));
        assert!(outbound.check("https://localhost:9/").is_ok(), "a name says nothing yet");
        let error = outbound.get("https://localhost:9/", "*/*").await.expect_err("resolves to this machine");
        assert!(matches!(&error, OutboundError::Failed(text) if text.contains("host not found")), "{error}");
    }
}
