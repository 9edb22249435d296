//! Another FHIR server that is running already, asked the same in the same run: filled over REST, then driven by the
//! workloads that every FHIR server answers.

use std::net::{SocketAddr, ToSocketAddrs as _};

use fhir::json::Json;
use fhir::object;

use super::Failure;
use super::data::Plan;
use super::load::{Driver, request};
use super::table::Row;
use super::workload::Asks;

/// Resources in a bundle that fills the peer.
const ENTRIES: usize = 200;
/// Bundles posted at the same time.
const CONNECTIONS: usize = 2;

/// What to compare with.
#[derive(clap::Args, Clone)]
pub(crate) struct Peer {
    /// FHIR base of another server, empty and without access control: it is filled and asked the same.
    #[arg(long, value_name = "URL")]
    peer: Option<String>,
    /// Its process, for its CPU time and memory.
    #[arg(long, value_name = "PID", requires = "peer", default_value_t = std::process::id())]
    peer_process: u32,
}

/// Name of a peer's row.
pub(crate) fn row_of(name: &str) -> String {
    format!("peer: {name}")
}

impl Peer {
    /// Fills the peer and asks it; no rows where there is none.
    pub(crate) fn measure(&self, plan: &Plan, driver: Driver) -> Result<Vec<Row>, Failure> {
        let Some(url) = &self.peer else { return Ok(Vec::new()) };
        let (address, base) = address(url)?;
        eprintln!("filling the peer");
        let resources: Vec<Json> = plan.resources().collect();
        let bundles: Vec<String> = resources.chunks(ENTRIES).map(bundle).collect();
        let post = |bundles: &[String], connections: usize| {
            let driver = Driver { connections, ..driver.at_most(bundles.len()).until_done() };
            driver.drive(address, self.peer_process, &|number| request("POST", &base, "", &bundles[number - 1]))
        };
        // Patients come first: references to what does not exist yet are refused by some.
        let (patients, observations) = bundles.split_at(plan.patients().div_ceil(ENTRIES));
        post(patients, 1)?;
        post(observations, CONNECTIONS)?;
        let asks = Asks { token: "", base: &base, plan, deep: String::new() };
        let mut rows = Vec::new();
        for (name, make) in asks.of_any_server() {
            eprintln!("measuring: {}", row_of(name));
            rows.push(Row::new(row_of(name), driver.drive(address, self.peer_process, &make)?));
        }
        Ok(rows)
    }
}

/// Where it listens, and the path of its base.
fn address(url: &str) -> Result<(SocketAddr, String), Failure> {
    let rest = url.strip_prefix("http://").ok_or("a peer is named by an http:// URL")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = host.to_socket_addrs()?.next().ok_or("the peer's host has no address")?;
    Ok((address, format!("/{}", path.trim_end_matches('/'))))
}

fn bundle(resources: &[Json]) -> String {
    let entry = |resource: &Json| {
        let url =
            format!("{}/{}", resource.str("resourceType").unwrap_or_default(), resource.str("id").unwrap_or_default());
        object! { "resource": resource.clone(), "request": object! { "method": "PUT", "url": url } }
    };
    let entries: Vec<_> = resources.iter().map(entry).collect();
    object! { "resourceType": "Bundle", "type": "transaction", "entry": entries }.to_string()
}
