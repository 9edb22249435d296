//! `tributary adapter`: what there are adapters for, and what a message becomes, without a server or a database.

use std::fs;
use std::path::{Path, PathBuf};

use adapters::declared::Mistake;
use adapters::memory::Memory;
use adapters::{
    Adapter, Assignment, Authentication, Context, Delivery, Mapping, Publication, Refusal, Registry, Shape, Withdrawal,
};
use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode, Severity};
use sha2::{Digest as _, Sha256};

use super::CommandError;
use crate::config::Config;
use crate::devices::mapping_files;

/// Options of `adapter`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with adapters.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Action {
    /// List the vendors and the shapes of their messages.
    List {
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say what one vendor sends, and where to.
    Describe {
        /// Such as `medisante`.
        vendor: String,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check mapping files: every mistake is named with its line and setting.
    Check {
        /// Mapping files, such as `adapters/declared/open-mhealth.toml`.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print what a message becomes: outcome, Bundle and issues as one JSON document.
    Translate {
        /// Such as `medisante`.
        vendor: String,
        /// The message.
        file: PathBuf,
        /// Which of the vendor's shapes it is in; else it is recognised.
        #[arg(long)]
        shape: Option<String>,
        /// What the message alone does not say, as JSON: see the page on adding a vendor without recompiling.
        #[arg(long, value_name = "FILE")]
        context: Option<PathBuf>,
        /// End with status 1 where the message is rejected or any of it waits; else the status is 0 whatever the outcome is.
        #[arg(long)]
        strict: bool,
    },
}

/// Lists, describes or translates.
#[expect(clippy::unused_async, reason = "every command has the same shape")]
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let registry = || mapping_files::registry(config);
    match args.action {
        Action::Check { files, json } => check(&files, json)?,
        Action::List { json } => list(registry()?.all(), json),
        Action::Describe { vendor, json } => list(&[find(&registry()?, &vendor, config)?], json),
        Action::Translate { vendor, file, shape, context, strict } => {
            let told = match &context {
                Some(path) => Told::read(path)?,
                None => Told::default(),
            };
            let adapter = find(&registry()?, &vendor, config)?;
            let (body, namespace) = (fs::read(&file)?, config.adapter_namespace.as_str());
            let shape = told.shape(adapter, shape.as_deref(), &body)?;
            let answer = translate(adapter, shape, &body, &told, namespace)?;
            println!("{}", answer.to_pretty());
            let state = answer.str("inbox").unwrap_or_default();
            if strict && !matches!(state, "applied" | "") {
                return Err(CommandError::new(format!("the message would be {state} in the inbox")));
            }
        }
    }
    Ok(())
}

/// What a context file says.
#[derive(Debug, Default)]
struct Told {
    json: Option<Json>,
    folder: PathBuf,
}

impl Told {
    fn read(path: &Path) -> Result<Self, CommandError> {
        let json = Json::parse(&fs::read(path)?)?;
        Ok(Told { json: Some(json), folder: path.parent().map(Path::to_owned).unwrap_or_default() })
    }

    fn get(&self, name: &str) -> Option<&Json> {
        self.json.as_ref()?.get(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    fn shape(&self, adapter: &Adapter, named: Option<&str>, body: &[u8]) -> Result<&'static Shape, CommandError> {
        if let Some(name) = named {
            let known: Vec<&str> = adapter.shapes.iter().map(|shape| shape.name).collect();
            let unknown = || CommandError::usage(format!("there is no shape {name}; there is {}", known.join(", ")));
            return adapter.shape(name).ok_or_else(unknown);
        }
        let path = self.text("endpoint").and_then(|endpoint| endpoint.strip_prefix("POST "));
        let path = path.map(|path| path.split('?').next().unwrap_or(path));
        let at = path.and_then(|path| adapter.shape_at(path, body));
        Ok(at.unwrap_or_else(|| adapter.shape_of(body)))
    }

    fn now(&self) -> Result<i64, CommandError> {
        match self.text("clock") {
            Some(clock) => Ok(clock.parse::<jiff::Timestamp>()?.as_microsecond()),
            None => Ok(i64::MAX / 2),
        }
    }

    fn assignments(&self) -> Result<Vec<Assignment>, CommandError> {
        let rows = self.get("device_assignments").map_or(&[][..], Json::items);
        rows.iter().map(assignment).collect()
    }

    /// The messages that came before.
    fn earlier(&self) -> Result<Vec<Vec<u8>>, CommandError> {
        let files: Vec<&str> = match self.get("preload") {
            Some(Json::String(file)) => vec![file],
            Some(files) => files.items().iter().filter_map(Json::as_str).collect(),
            None => Vec::new(),
        };
        files.into_iter().map(|file| Ok(fs::read(self.folder.join(file))?)).collect()
    }
}

fn translate(
    adapter: &Adapter,
    shape: &Shape,
    body: &[u8],
    told: &Told,
    namespace: &str,
) -> Result<Json, CommandError> {
    let (assignments, session) = (told.assignments()?, told.text("session_patient"));
    let context = Context {
        namespace: told.text("namespace").unwrap_or(namespace),
        now: told.now()?,
        assignments: &assignments,
        session: session.map(|patient| patient.trim_start_matches("Patient/")),
        user: told.text("uid"),
        query: told.text("query").unwrap_or_default(),
        organisation: told.text("organisation"),
        fields: told.get("fields"),
        visit: told.json.as_ref(),
    };
    let mut memory = Memory::default();
    let mut before = Vec::new();
    for earlier in told.earlier()? {
        let shape = told.shape(adapter, None, &earlier)?;
        if let Mapping::Publish(publication) = (shape.map)(&earlier, &context) {
            memory.apply(&publication);
        }
        before.push((shape.receive)(&earlier).ok());
    }
    let delivery = match (shape.receive)(body) {
        Ok(delivery) => delivery,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    match (shape.map)(body, &context) {
        Mapping::Quarantine { issues } => {
            Ok(answer(("quarantined", "quarantined"), shape.answers, None, &issues, body, &delivery))
        }
        Mapping::Refuse { issues } => Ok(refused(&Refusal::Unprocessable(issues))),
        Mapping::Send { request, issues } => Ok(fhir::object! {
            "outcome": "sent",
            "http_status": i64::from(shape.answers),
            "vendor_request": request,
            "issues": fhir::outcome::outcome(&issues),
        }),
        Mapping::Publish(publication) => {
            let mut issues = publication.issues.clone();
            issues.extend(memory.refused(&publication).map(others));
            let waits = publication.waits || issues.len() > publication.issues.len();
            let publication = Publication { issues, ..publication };
            let changed = memory.apply(&publication);
            let again = before.iter().flatten().any(|it| it.id.is_some() && *it == delivery);
            let outcome = outcome(&publication, again && changed.is_empty());
            // Where some of it waits, all of it is in quarantine, and the rest is published.
            let state = if waits { "quarantined" } else { "applied" };
            // After earlier messages only what this one changes; alone, all that it says.
            let bundle =
                if before.is_empty() { publication.bundle } else { Memory::transaction(&publication, &changed) };
            Ok(answer((outcome, state), shape.answers, Some(bundle), &publication.issues, body, &delivery))
        }
    }
}

/// Why the readings of a record are not taken back.
fn others(withdrawal: &Withdrawal) -> Issue {
    let text = format!("Record {} is of another patient or device than this message; raw data kept", withdrawal.record);
    Issue::error(IssueCode::BusinessRule, text)
}

fn outcome(publication: &Publication, again: bool) -> &'static str {
    let warned = publication.issues.iter().any(|issue| issue.severity != Severity::Information);
    match (again, warned) {
        (true, _) => "duplicate",
        (false, true) => "mapped-with-warnings",
        (false, false) => "mapped",
    }
}

fn answer(
    (outcome, state): (&str, &str),
    status: u16,
    bundle: Option<Json>,
    issues: &[Issue],
    body: &[u8],
    delivery: &Delivery,
) -> Json {
    let mut made = Object::new();
    made.insert("outcome", outcome);
    made.insert("inbox", state);
    made.insert("http_status", i64::from(status));
    if let Some(bundle) = bundle {
        made.insert("bundle", bundle);
    }
    made.insert("issues", fhir::outcome::outcome(issues));
    // A server draws its receipts; here the same message has the same one.
    let receipt = fhir::hexadecimal(&Sha256::digest(body)[..12]);
    let one = || fhir::object! { "_id": receipt.as_str() };
    let response = delivery.items.map_or_else(one, |count| Json::Array((0..count).map(|_| one()).collect()));
    made.insert("vendor_response", response);
    made.into()
}

fn refused(refusal: &Refusal) -> Json {
    let (status, reason) = match refusal {
        Refusal::Malformed(_) => (400, "Bad request"),
        Refusal::Unprocessable(_) | Refusal::Vendor { status: 422, .. } => (422, "Unprocessable Entity"),
        Refusal::Vendor { status: 503, .. } => (503, "Service Unavailable"),
        Refusal::Vendor { status: 409, .. } => (409, "Conflict"),
        Refusal::Vendor { status: 404, .. } => (404, "Not Found"),
        Refusal::Vendor { status, .. } => (*status, "Bad Gateway"),
    };
    // What cannot even be read is not kept.
    let state = if matches!(refusal, Refusal::Malformed(_)) { "not kept" } else { "dead" };
    let texts: Vec<&str> = refusal.issues().iter().filter_map(|issue| issue.diagnostics.as_deref()).collect();
    let response = fhir::object! { "statusCode": status.to_string(), "error": reason, "message": texts.join("; ") };
    fhir::object! {
        "outcome": "rejected",
        "inbox": state,
        "http_status": i64::from(status),
        "issues": fhir::outcome::outcome(refusal.issues()),
        "vendor_response": response,
    }
}

fn list(adapters: &[&Adapter], json: bool) {
    if json {
        println!("{}", Json::Array(adapters.iter().map(|adapter| described(adapter)).collect()).to_pretty());
        return;
    }
    for adapter in adapters {
        println!("{}  {}, version {}", adapter.vendor, adapter.name, adapter.version);
        println!("  {}; messages of up to {} bytes; {}", sender(adapter), adapter.max_bytes, media_types(adapter));
        for shape in adapter.shapes {
            println!("  {}  {}", shape.name, shape.about);
            for route in shape.routes {
                println!("    POST {route}");
            }
        }
    }
}

/// How the sender proves who it is, in words.
fn sender(adapter: &Adapter) -> String {
    match adapter.authentication {
        Authentication::ApiKey { header } => format!("key in the header {header}, or an access token"),
        Authentication::Session => "access token of a patient's app".to_owned(),
        Authentication::Asked => "nobody sends: its service is asked".to_owned(),
    }
}

fn media_types(adapter: &Adapter) -> String {
    let types = adapter.content_types.join(", ");
    if types.is_empty() { "any Content-Type".to_owned() } else { format!("Content-Type {types}") }
}

fn described(adapter: &Adapter) -> Json {
    let shapes = adapter.shapes.iter().map(|shape| {
        let routes: Vec<Json> = shape.routes.iter().map(|route| (*route).into()).collect();
        fhir::object! { "name": shape.name, "about": shape.about, "routes": routes }
    });
    fhir::object! {
        "vendor": adapter.vendor,
        "name": adapter.name,
        "version": adapter.version,
        "sender": sender(adapter),
        "contentTypes": adapter.content_types.iter().map(|it| (*it).into()).collect::<Vec<Json>>(),
        "maxBytes": adapter.max_bytes.to_string(),
        "shapes": shapes.collect::<Vec<_>>(),
    }
}

/// Checks files one after the other, as they would be read together at the start.
fn check(files: &[PathBuf], json: bool) -> Result<(), CommandError> {
    let (mut registry, mut known) = (Registry::default(), mapping_files::Files::default());
    let (mut found, mut wrong) = (Vec::new(), 0);
    for path in files {
        let mistakes = match mapping_files::read(path)? {
            Ok(plan) => known.add(&mut registry, plan, path).err().map(mapping_files::whole),
            Err(mistakes) => Some(mistakes),
        };
        let mistakes = mistakes.unwrap_or_default();
        wrong += mistakes.len();
        if json {
            found.extend(mistakes.iter().map(|mistake| as_json(path, mistake)));
        } else if mistakes.is_empty() {
            println!("{}: good", path.display());
        }
        for mistake in mistakes.iter().filter(|_| !json) {
            println!("{}", mapping_files::told(path, mistake));
        }
    }
    if json {
        println!("{}", Json::Array(found).to_pretty());
    }
    if wrong == 0 { Ok(()) } else { Err(CommandError::new(format!("{wrong} mistake(s)"))) }
}

fn as_json(path: &Path, mistake: &Mistake) -> Json {
    fhir::object! {
        "file": path.display().to_string(),
        "line": i64::try_from(mistake.line).unwrap_or(i64::MAX),
        "place": mistake.place.as_str(),
        "message": mistake.message.as_str(),
    }
}

fn find(registry: &Registry, vendor: &str, config: &Config) -> Result<&'static Adapter, CommandError> {
    registry.find(vendor).ok_or_else(|| CommandError::usage(mapping_files::unknown(registry, vendor, config)))
}

fn assignment(json: &Json) -> Result<Assignment, CommandError> {
    let wrong = || CommandError::usage("a device assignment needs deviceId, patient and from");
    let instant = |name: &str| match json.str(name) {
        Some(text) => Ok::<_, CommandError>(Some(text.parse::<jiff::Timestamp>()?.as_microsecond())),
        None => Ok(None),
    };
    Ok(Assignment {
        device: json.str("deviceId").ok_or_else(wrong)?.to_owned(),
        patient: json.str("patient").ok_or_else(wrong)?.trim_start_matches("Patient/").to_owned(),
        from: instant("from")?.ok_or_else(wrong)?,
        until: instant("until")?,
    })
}
