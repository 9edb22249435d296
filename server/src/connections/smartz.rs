//! Smartz Connect, asked again and again: what there is, and what pods and alerts say.
//!
//! The vendor publishes how to log in and what there is, but neither paths nor payloads. Those here are ours, and each
//! is a setting: real names change settings, not code. Nothing here claims conformance to Smartz.
//!
//! A status or an alert is known by its bytes: told again, it is applied once. What there is, is told anew only when an
//! answer changed.

use std::time::Duration;

use adapters::smartz::Fields;
use fhir::json::{Json, Object};
use sha2::{Digest as _, Sha256};
use store::inbox::{self, Filter, State};

use super::{Client, Failure, Field, Held, Kind, Opened, Question, Sort, Told};
use crate::app::App;
use token::Token;

mod link;
mod token;

pub(super) use link::link;

/// The row of the table of kinds.
pub(super) const KIND: Kind = Kind {
    vendor: VENDOR,
    about: "Smartz Connect: organisations, manufacturers, devices and patients, statuses and alerts",
    base_url: Some("https://smartz-api.azure-api.net/v1"),
    credentials: &[
        Field::text("app-id", None, "App Id"),
        Field::text("app-key", None, "App Key"),
        Field::text("sub-key", None, "subscription key, sent as x-sub-key"),
    ],
    settings: &[
        Field {
            sort: Sort::Json,
            ..Field::text("paths", Some("{}"), "paths below the address that replace ours, by name")
        },
        Field {
            sort: Sort::Json,
            ..Field::text("fields", Some("{}"), "JSON pointers that replace the usual ones, by name")
        },
        Field::text("items", Some("data"), "member of an answer that holds the list"),
        Field::text("since", Some("since"), "parameter that asks for what is new"),
        Field::text("token-style", Some("form"), "form or basic: where App Id and App Key go"),
        Field::text(
            "organisations",
            Some(""),
            "ids of those that are read, separated by commas; without it all that are listed",
        ),
        Field::text("link-field", Some("linkCode"), "member of the question that holds a link code"),
        Field::text(
            "patients",
            Some("off"),
            "mirror: Smartz is the source of patients; link: only who wears which pod; off: they are not read",
        ),
        Field::number("poll-seconds", "60", "how often statuses and alerts are asked for"),
        Field::number("catalogue-seconds", "3600", "how often everything else is"),
    ],
    check: |app, opened| Box::pin(check(app, opened)),
    poll: Some(|held| Box::pin(poll(held))),
};

/// Name of the vendor.
const VENDOR: &str = "smartz";

/// Where things are unless the setting `paths` says otherwise.
const PATHS: &[(&str, &str)] = &[
    ("token", "token"),
    ("organisations", "organisations"),
    ("link", "organisations/link"),
    ("manufacturers", "manufacturers"),
    ("devices", "organisations/{organisation}/devices"),
    ("patients", "organisations/{organisation}/patients"),
    ("statuses", "organisations/{organisation}/statuses"),
    ("alerts", "organisations/{organisation}/alerts"),
];

/// Organisations that one connection is asked about.
const MOST_ORGANISATIONS: usize = 1000;

/// How long one token is worked with before the connection is given back.
const ROUND_MICROS: i64 = 60 * 60 * 1_000_000;

/// How often it is looked whether messages are written, and how long in between: half a minute in all.
const LOOKS: usize = 300;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// What is being read.
struct Round<'a> {
    held: &'a Held,
    token: Token,
    cursor: Object,
}

async fn check(app: &App, opened: &Opened) -> Result<String, Failure> {
    let mut token = Token::new(opened.client(app)?);
    let path = path(opened, "organisations", "");
    let answer = token.ask(app, opened, &Question::get(&segments(&path))).await?.json()?;
    Ok(format!("the service answers, and tells of {} organisation(s)", items(opened, &answer).len()))
}

/// Asks until the round is over: a token lasts for many questions.
async fn poll(held: &Held) -> Result<u64, Failure> {
    let (app, opened) = (&held.app, &held.opened);
    let pause = opened.number("poll-seconds").max(1);
    let cursor = opened.cursor().as_object().cloned().unwrap_or_default();
    let mut round = Round { held, token: Token::new(opened.client(app)?), cursor };
    let begun = app.clock.now();
    loop {
        round.turn().await?;
        if app.clock.now() - begun > ROUND_MICROS {
            return Ok(pause);
        }
        held.works().await?;
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
}

impl Round<'_> {
    async fn turn(&mut self) -> Result<(), Failure> {
        let (app, opened) = (&self.held.app, &self.held.opened);
        let now = app.clock.now();
        let every = i64::try_from(opened.number("catalogue-seconds")).unwrap_or(3600) * 1_000_000;
        let looked = self.cursor.get("catalogue").and_then(Json::as_number).and_then(|at| at.parse::<i64>().ok());
        let mut organisations = chosen(opened);
        if organisations.is_empty() {
            organisations = ids(opened, &self.ask("organisations", "", None).await?);
        }
        let all = organisations.join(",");
        // Another organisation is news, whenever everything was looked at last.
        let is_same = self.cursor.get("organisations").and_then(Json::as_str) == Some(&all);
        let due = !is_same || looked.is_none_or(|at| at + every <= now);
        if due {
            self.catalogue(&organisations).await?;
        }
        for organisation in &organisations {
            self.read("statuses", "status", organisation).await?;
            self.read("alerts", "alert", organisation).await?;
        }
        if due {
            self.cursor.insert("catalogue", now);
            self.cursor.insert("organisations", all);
            self.held.keep(Vec::new(), Some(&self.cursor.clone().into())).await?;
        }
        Ok(())
    }

    /// Keeps what there is. Patients refer to devices, and what happens to both: each waits until the one before is
    /// written, and what was set aside because something was missing is tried again.
    async fn catalogue(&mut self, organisations: &[String]) -> Result<(), Failure> {
        let mut new = self.look("manufacturers", "catalogue", "").await?;
        for organisation in organisations {
            new += self.look("devices", "devices", organisation).await?;
        }
        self.written().await?;
        if matches!(self.held.opened.setting("patients"), Some("mirror" | "link")) {
            for organisation in organisations {
                new += self.look("patients", "patient", organisation).await?;
            }
            self.written().await?;
        }
        if new > 0 {
            let filter =
                Filter { vendor: Some(VENDOR.to_owned()), state: Some(State::Quarantined), ..Filter::default() };
            let replay = self.held.app.store.write(move |tx| {
                let filter = filter.clone();
                Box::pin(async move { inbox::replay(tx, &filter).await })
            });
            replay.await?;
            self.held.app.inbox_changed.notify_waiters();
        }
        Ok(())
    }

    /// Waits until what was kept is written, but not for ever.
    async fn written(&self) -> Result<(), Failure> {
        let filter = Filter { vendor: Some(VENDOR.to_owned()), state: Some(State::Received), ..Filter::default() };
        for _ in 0..LOOKS {
            if inbox::list(&self.held.app.store, &filter, 1).await?.is_empty() {
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Ok(())
    }

    /// Keeps what there is of one kind, if the answer is another than the last time; says how many messages that are.
    async fn look(&mut self, what: &str, shape: &'static str, organisation: &str) -> Result<usize, Failure> {
        let answer = self.ask(what, organisation, None).await?;
        let place = format!("{what}/{organisation}");
        let seen = digest(answer.to_string().as_bytes());
        if self.cursor.get(&place).and_then(Json::as_str) == Some(&seen) {
            return Ok(0);
        }
        self.cursor.insert(&place, seen);
        let now = self.held.app.clock.now();
        let told = items(&self.held.opened, &answer).iter().map(|item| {
            // The same may come again after something else was told: it is news then.
            let delivery = Some(format!("{shape}:{now}:{}", digest(item.to_string().as_bytes())));
            Told { delivery, ..self.told(shape, organisation, item) }
        });
        let told = told.collect();
        self.held.keep(told, Some(&self.cursor.clone().into())).await
    }

    /// Keeps what happened since the last time.
    async fn read(&mut self, what: &str, shape: &'static str, organisation: &str) -> Result<(), Failure> {
        let place = format!("{what}/{organisation}");
        let since = self.cursor.get(&place).and_then(Json::as_str).map(str::to_owned);
        let answer = self.ask(what, organisation, since.as_deref()).await?;
        let found = items(&self.held.opened, &answer);
        let own = self.held.opened.json("fields");
        let fields = Fields::new(own.as_ref());
        let time =
            if shape == "alert" { ["alert.received", "alert.raised"] } else { ["status.received", "status.time"] };
        let at = |item: &Json| {
            let mut texts = time.iter().filter_map(|field| fields.of(item, field)?.as_str());
            texts.find_map(|text| text.parse::<jiff::Timestamp>().ok())
        };
        let known = since.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        if let Some(latest) = found.iter().filter_map(at).chain(known).max() {
            self.cursor.insert(&place, latest.to_string());
        }
        let told = found.iter().map(|item| {
            let pod = fields.of(item, &format!("{shape}.pod")).and_then(|pod| pod.as_str().or(pod.as_number()));
            Told { devices: pod.map(str::to_owned).into_iter().collect(), ..self.told(shape, organisation, item) }
        });
        let told = told.collect();
        self.held.keep(told, Some(&self.cursor.clone().into())).await.map(drop)
    }

    fn told(&self, shape: &'static str, organisation: &str, item: &Json) -> Told {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("connection", &self.held.opened.row.name);
        if !organisation.is_empty() {
            query.append_pair("organisation", organisation);
        }
        if shape == "patient" && self.held.opened.setting("patients") == Some("link") {
            query.append_pair("patients", "link");
        }
        Told { shape, query: query.finish(), body: item.to_string().into_bytes(), ..Told::default() }
    }

    async fn ask(&mut self, what: &str, organisation: &str, since: Option<&str>) -> Result<Json, Failure> {
        let (app, opened) = (&self.held.app, &self.held.opened);
        let path = path(opened, what, organisation);
        let mut question = Question::get(&segments(&path));
        if let Some((name, since)) = opened.setting("since").zip(since) {
            question = question.with(name, since);
        }
        self.token.ask(app, opened, &question).await?.json()
    }
}

/// The path of what is asked for. An organisation is one segment, whatever is in its id.
fn path(opened: &Opened, what: &str, organisation: &str) -> Vec<String> {
    let own = opened.json("paths").and_then(|paths| paths.str(what).map(str::to_owned));
    let usual = PATHS.iter().find(|(name, _)| *name == what).map_or("", |(_, path)| *path);
    let path = own.as_deref().unwrap_or(usual).trim_matches('/');
    path.split('/').map(|segment| segment.replace("{organisation}", organisation)).collect()
}

fn segments(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

/// The list in an answer; the answer itself where it is a list, or one thing.
fn items<'a>(opened: &Opened, answer: &'a Json) -> &'a [Json] {
    let inner = opened.setting("items").and_then(|name| answer.get(name)).unwrap_or(answer);
    match inner {
        Json::Array(items) => items,
        one => std::slice::from_ref(one),
    }
}

fn ids(opened: &Opened, answer: &Json) -> Vec<String> {
    let own = opened.json("fields");
    let fields = Fields::new(own.as_ref());
    let id = |item: &Json| {
        let item = fields.of(item, "organisation").unwrap_or(item);
        fields.of(item, "organisation.id").and_then(|id| id.as_str().or(id.as_number())).map(str::to_owned)
    };
    items(opened, answer).iter().filter_map(id).take(MOST_ORGANISATIONS).collect()
}

/// The organisations that the settings name.
pub(super) fn chosen(opened: &Opened) -> Vec<String> {
    let named = opened.setting("organisations").unwrap_or_default().split(',').map(str::trim);
    named.filter(|id| !id.is_empty()).take(MOST_ORGANISATIONS).map(str::to_owned).collect()
}

fn digest(bytes: &[u8]) -> String {
    fhir::hexadecimal(&Sha256::digest(bytes)[..16])
}

/// Joins the two parts of a client's name and secret as HTTP does.
fn basic(id: &str, key: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{id}:{key}")))
}

/// A question for a token. <https://www.rfc-editor.org/rfc/rfc6749#section-4.4>
fn login(opened: &Opened) -> Result<Question, Failure> {
    let (id, key) = (opened.credential("app-id")?, opened.credential("app-key")?);
    let question = Question::post(&segments(&path(opened, "token", "")));
    let question = question.header("x-sub-key", opened.credential("sub-key")?);
    let grant = ("grant_type", "client_credentials");
    Ok(match opened.setting("token-style") {
        Some("basic") => question.header("authorization", basic(id, key)).form(&[grant]),
        _ => question.form(&[grant, ("client_id", id), ("client_secret", key)]),
    })
}

/// The client that is asked with a token.
fn hiding(client: &Client, token: &str) -> Client {
    client.clone().hiding(token)
}
