//! `tributary fhirpath`: evaluate an expression on a file, without a server. <http://hl7.org/fhirpath/N1>

use std::path::{Path, PathBuf};

use fhir::json::Json;
use fhir::object;
use fhir::path::{Environment, Expression, Item, Trace};

use super::CommandError;
use crate::clock::Clock;
use crate::config::Config;

/// Options of `fhirpath`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// `FHIRPath` expression.
    #[arg(allow_hyphen_values = true)]
    pub expression: String,
    /// File with a resource, JSON or XML.
    pub file: PathBuf,
    /// Print the items as a JSON array with the type of each.
    #[arg(long)]
    pub json: bool,
    /// Refuse names that the type of the resource does not have.
    #[arg(long)]
    pub strict: bool,
}

/// Evaluates and prints; ends with 2 for an expression that is not valid, with 1 for any other failure.
#[expect(clippy::unused_async, reason = "every command has the same shape")]
pub async fn run(args: Args, _: &Config) -> Result<(), CommandError> {
    let refused = |error| CommandError::usage(format!("the expression is not valid: {error}"));
    let expression = Expression::compile(&args.expression).map_err(refused)?;
    let resource = read(&args.file)?;
    let tell = |name: &str, items: &[Item<'_>]| items.iter().for_each(|item| eprintln!("{name}: {}", shown(item)));
    let trace = Trace::new(&tell);
    let mut environment = Environment::new(&resource).now(Clock::system().now()).trace(&trace);
    if args.strict {
        expression.check(resource.str("resourceType").unwrap_or_default()).map_err(refused)?;
        environment = environment.strict();
    }
    let items = expression.evaluate_in(&environment)?;
    if args.json {
        let rows = items.iter().map(|item| object! { "type": type_name(item), "value": item.json().into_owned() });
        println!("{}", Json::Array(rows.collect()));
        return Ok(());
    }
    for item in &items {
        println!("{}", shown(item));
    }
    Ok(())
}

/// The text of an item, or its JSON where it has children.
fn shown(item: &Item<'_>) -> String {
    let json = item.json();
    item.to_text()
        .filter(|_| !matches!(*json, Json::Object(_)))
        .map_or_else(|| json.to_string(), std::borrow::Cow::into_owned)
}

fn read(file: &Path) -> Result<Json, CommandError> {
    let failed = |problem: String| CommandError::new(format!("{}: {problem}", file.display()));
    let bytes = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace() && !b"\xEF\xBB\xBF".contains(byte));
    let resource = if first == Some(&b'<') {
        fhir::xml::to_json(&bytes).map_err(|error| failed(error.to_string()))?
    } else {
        Json::parse(&bytes).map_err(|error| failed(error.to_string()))?
    };
    match resource.str("resourceType") {
        Some(name) if fhir::definitions::is_resource_type(name) => Ok(resource),
        Some(name) => Err(failed(format!("{name} is no resource type of R4"))),
        None => Err(failed("has no resourceType, so it is no resource".to_owned())),
    }
}

/// The type as FHIR names it: of computed values the primitive type that stands for FHIRPath's own.
fn type_name(item: &Item<'_>) -> String {
    match item.type_name().strip_prefix("System.") {
        Some("Quantity") => "Quantity".to_owned(),
        Some(name) => format!("{}{}", name[..1].to_ascii_lowercase(), &name[1..]),
        None => item.type_name().to_owned(),
    }
}
