//! A server with known resources in it, and what the oracle says about them.

use std::collections::BTreeSet;

use fhir::date::DateTime;
use fhir::json::Json;
use search::generate::Generated;
use search::oracle::{self, Row};
use search::parse::{self, Options};
use search::view::View;
use tests::{Answer, Client, Engine, TestServer, redact, url};

use crate::BASE;

/// Pages that are followed; with small pages that is enough to see the seams between them.
const PAGES: usize = 4;

/// A server and its content in the order it came, which is the order of row ids.
pub(crate) struct Loaded {
    server: TestServer,
    system: Client,
    rows: Vec<(Json, i64)>,
}

/// A search's answer that agrees with the oracle.
pub(crate) struct Agreed {
    /// Matches on all pages seen.
    pub(crate) matches: usize,
    /// All pages, what varies replaced.
    pub(crate) text: String,
}

impl Loaded {
    pub(crate) async fn start(engine: Engine, resources: &[Json]) -> Self {
        let server = TestServer::start(engine).await;
        let system = server.system();
        let mut rows = Vec::new();
        for resource in resources {
            let stored = system.store(resource).await.json();
            let instant = stored.at(&["meta", "lastUpdated"]).and_then(Json::as_str).expect("the server says when");
            let (micros, _) = DateTime::parse(instant).expect("the server writes instants").interval();
            rows.push((stored, micros));
        }
        Loaded { server, system, rows }
    }

    pub(crate) fn engine(&self) -> Engine {
        self.server.engine()
    }

    /// Asks the server, page after page, and compares with the oracle.
    pub(crate) async fn check(&self, query: &Generated) -> Result<Agreed, String> {
        let base = self.server.fhir_base();
        let pairs: Vec<_> =
            query.pairs.iter().map(|(name, value)| (name.clone(), value.replace(BASE, &base))).collect();
        let first = self.system.get(&url::search(&query.resource_type, &pairs)).await;
        // Newer than all rows, and the same for both engines as far as dates of the data go.
        let now = self.rows.last().map_or(0, |(_, updated)| *updated);
        let options = Options { base: base.clone(), default_count: 50, max_count: 1000, lenient: false, now };
        let Ok(parsed) = parse::parse(&query.resource_type, &pairs, &options) else {
            return if first.status == 400 { Ok(Agreed::refused(&first)) } else { Err(first.describe()) };
        };
        if first.status != 200 {
            return Err(first.describe());
        }
        let rows: Vec<Row<'_>> = (0..)
            .zip(&self.rows)
            .map(|(rid, (resource, last_updated))| Row { rid, resource, last_updated: *last_updated })
            .collect();
        let expected = oracle::answer(&rows, &View::system(), &parsed.query, &base);
        let expected_ids: Vec<String> = expected.matches.iter().map(|rid| self.name(*rid)).collect();
        let included: BTreeSet<String> = expected.included.iter().map(|rid| self.name(*rid)).collect();
        equal("included", &included, &first.included().into_iter().collect())?;
        let total = first.json().get("total").and_then(Json::as_number).map(str::to_owned);
        if parsed.query.total {
            equal("total", &Some(expected.total.to_string()), &total)?;
        }
        self.compare_pages(first, &expected_ids).await
    }

    async fn compare_pages(&self, first: Answer, expected: &[String]) -> Result<Agreed, String> {
        let mut agreed = Agreed { matches: 0, text: String::new() };
        let mut page = first;
        for _ in 0..PAGES {
            let found = named(&page);
            let rest = &expected[agreed.matches.min(expected.len())..];
            equal("matches", &rest[..found.len().min(rest.len())].to_vec(), &found)?;
            agreed.matches += found.len();
            agreed.text.push_str(&redact::page(&page));
            let Some(next) = page.link("next") else {
                return if agreed.matches == expected.len() {
                    Ok(agreed)
                } else {
                    Err(format!("ends after {} of {} matches", agreed.matches, expected.len()))
                };
            };
            if agreed.matches >= expected.len() {
                return Err("the last page has a next link".to_owned());
            }
            page = self.system.get(&next).await;
            if page.status != 200 {
                return Err(page.describe());
            }
        }
        Ok(agreed)
    }

    fn name(&self, rid: i64) -> String {
        let row = usize::try_from(rid).ok().and_then(|index| self.rows.get(index));
        row.map_or_else(|| "?".to_owned(), |(resource, _)| name(resource))
    }
}

impl Agreed {
    fn refused(answer: &Answer) -> Self {
        Agreed { matches: 0, text: redact::answer(answer) }
    }
}

fn named(page: &Answer) -> Vec<String> {
    page.entries("match").iter().map(name).collect()
}

fn name(resource: &Json) -> String {
    format!("{}/{}", resource.str("resourceType").unwrap_or("?"), resource.str("id").unwrap_or("?"))
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}: expected {expected:?}\n    found    {found:?}")) }
}
