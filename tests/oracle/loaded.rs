//! A server with known resources in it.

use fhir::date::DateTime;
use fhir::json::Json;
use fhir::object;
use tests::{Answer, Client, Engine, TestServer, redact, url};

use crate::BASE;
use crate::expected::{Expected, Page, Question, Stored, name};
use crate::views::Scoped;

/// Resources of one transaction while loading.
const AT_ONCE: usize = 100;

/// A server and its content in the order it came, which is the order of row ids.
pub(crate) struct Loaded {
    server: TestServer,
    /// One a view.
    clients: Vec<Client>,
    rows: Vec<(Json, i64)>,
}

/// A search's answer that agrees with the oracle.
pub(crate) struct Agreed {
    /// Matches on all pages seen.
    pub(crate) matches: usize,
    /// All pages, what varies replaced, if they are to be read closely.
    pub(crate) text: String,
}

impl Loaded {
    pub(crate) async fn start(engine: Engine, resources: &[Json], views: &[Scoped]) -> Self {
        let server = TestServer::start(engine).await;
        let system = server.system();
        let mut rows = Vec::new();
        for resources in resources.chunks(AT_ONCE) {
            // Their order within a transaction is the server's; in that of names there is no doubt about it.
            let mut resources: Vec<&Json> = resources.iter().collect();
            resources.sort_by_key(|resource| (resource.str("resourceType"), resource.str("id")));
            rows.extend(load(&system, &resources).await);
        }
        let clients = views.iter().map(|it| server.with_scope(&it.scope, it.patient.as_deref())).collect();
        Loaded { server, clients, rows }
    }

    pub(crate) fn engine(&self) -> Engine {
        self.server.engine()
    }

    /// Resources as the server answers them, and when each was last updated.
    pub(crate) fn rows(&self) -> &Stored {
        &self.rows
    }

    /// Asks the server, which is the one of that number, page after page, and compares.
    pub(crate) async fn check(&self, question: &Question, number: usize, is_read: bool) -> Result<Agreed, String> {
        let client = &self.clients[question.token];
        let base = self.server.fhir_base();
        let (path, more) = question.generated.place.path();
        let pairs = more.iter().chain(&question.generated.pairs);
        let pairs: Vec<_> = pairs.map(|(name, value)| (name.clone(), value.replace(BASE, &base))).collect();
        let first = client.get(&url::search(&path, &pairs)).await;
        let text = if is_read { redact::answer(&first) } else { String::new() };
        match &*question.expected[number] {
            Expected::Refused if matches!(first.status, 400 | 403 | 404) => Ok(Agreed { matches: 0, text }),
            Expected::Denied if first.status == 403 => Ok(Agreed { matches: 0, text }),
            Expected::Pages { pages, total, more } if first.status == 200 => {
                if let Some(total) = total {
                    let found = first.json().get("total").and_then(Json::as_number).map(str::to_owned);
                    equal("total", &Some(total.to_string()), &found)?;
                }
                compare_pages(client, first, pages, *more, is_read).await
            }
            Expected::Refused => Err(format!("400 is expected, not {}", first.describe())),
            Expected::Denied => Err(format!("403 is expected, not {}", first.describe())),
            Expected::Pages { .. } => Err(format!("200 is expected, not {}", first.describe())),
        }
    }
}

/// Puts resources in one transaction; each as it is stored, and when that was.
async fn load(system: &Client, resources: &[&Json]) -> Vec<(Json, i64)> {
    let entry = |resource: &&Json| {
        let request = object! { "method": "PUT", "url": name(resource) };
        object! { "resource": (*resource).clone(), "request": request }
    };
    let entries = Json::Array(resources.iter().map(entry).collect());
    let bundle = object! { "resourceType": "Bundle", "type": "transaction", "entry": entries };
    let answer =
        system.post("").header("prefer", "return=representation").json(&bundle).await.expect_status(200).json();
    let stored = answer.list("entry").iter().map(|entry| entry.get("resource").expect("what is stored").clone());
    let dated = stored.map(|resource| {
        let instant = resource.at(&["meta", "lastUpdated"]).and_then(Json::as_str).expect("the server says when");
        let (micros, _) = DateTime::parse(instant).expect("the server writes instants").interval();
        (resource, micros)
    });
    dated.collect()
}

/// Follows the links forwards, and back from the last page that was seen.
async fn compare_pages(
    client: &Client,
    first: Answer,
    pages: &[Page],
    more: bool,
    is_read: bool,
) -> Result<Agreed, String> {
    let mut agreed = Agreed { matches: 0, text: String::new() };
    let none = [Page::default()];
    let pages = if pages.is_empty() { &none[..] } else { pages };
    let mut page = first;
    for (number, expected) in pages.iter().enumerate() {
        let found = contents(&page);
        equal(&format!("page {number}, matches"), &expected.matches, &found.matches)?;
        equal(&format!("page {number}, included"), &expected.included, &found.included)?;
        agreed.matches += found.matches.len();
        if is_read {
            agreed.text.push_str(&redact::page(&page));
        }
        if number > 0 {
            back(client, &page, number, &pages[number - 1]).await?;
        }
        let is_last = number + 1 == pages.len();
        match link(&page, "next") {
            None if is_last && !more => return Ok(agreed),
            None => return Err(format!("page {number} ends after {} matches and is not the last", agreed.matches)),
            Some(_) if is_last && !more => return Err(format!("page {number} is the last and has a next link")),
            Some(_) if is_last => return Ok(agreed),
            Some(next) => page = client.get(&next).await,
        }
        if page.status != 200 {
            return Err(page.describe());
        }
    }
    Ok(agreed)
}

/// The page before one.
async fn back(client: &Client, page: &Answer, number: usize, expected: &Page) -> Result<(), String> {
    let Some(previous) = link(page, "previous") else { return Err(format!("page {number} has no previous link")) };
    let page = client.get(&previous).await;
    if page.status != 200 {
        return Err(page.describe());
    }
    equal(&format!("back from page {number}"), expected, &contents(&page))?;
    let is_first = link(&page, "previous").is_none();
    if is_first == (number == 1) { Ok(()) } else { Err(format!("back from page {number}: first is {is_first}")) }
}

fn link(page: &Answer, relation: &str) -> Option<String> {
    page.link(relation)
}

fn contents(page: &Answer) -> Page {
    let bundle = page.json();
    let mut found = Page::default();
    for entry in bundle.list("entry") {
        let Some(resource) = entry.get("resource") else { continue };
        match entry.at(&["search", "mode"]).and_then(Json::as_str) {
            Some("match") => found.matches.push(named(entry, resource)),
            Some("include") => {
                found.included.insert(name(resource));
            }
            _ => {}
        }
    }
    found
}

/// As the entry says where the resource is, which must agree with the resource.
fn named(entry: &Json, resource: &Json) -> String {
    let url = entry.str("fullUrl").unwrap_or_default();
    let Some((container, id)) = url.split_once('#') else { return name(resource) };
    let mut path: Vec<&str> = container.rsplitn(3, '/').take(2).collect();
    path.reverse();
    if resource.str("id").unwrap_or_default() == id { format!("{}#{id}", path.join("/")) } else { url.to_owned() }
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}: expected {expected:?}\n    found    {found:?}")) }
}
