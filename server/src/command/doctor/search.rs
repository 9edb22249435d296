//! `tributary doctor --search`: which search parameters cost too much, and whether the index says what the resources
//! say. Changes nothing; reads every index table once.

use std::collections::HashMap;

use fhir::json::Json;
use search::entry::ParamId;
use search::query::Aspect;
use search::registry::registry;
use serde_json::{Value, json};
use store::search_parameters::Kept;
use store::{ParameterRows, Standing, Store};

use super::super::CommandError;
use crate::app::App;
use crate::config::Config;
use crate::search_parameters;

/// Parameters that the table shows, those with most rows first.
const SHOWN: usize = 30;

/// From so many resources on the commonest value is worth a remark: fewer are read in no time.
const MANY: u64 = 10_000;

/// Rows of one parameter for one resource, on average, that make its writes slow.
const MANY_A_RESOURCE: f64 = 20.0;

/// One parameter, or one aspect of it.
struct Line {
    name: String,
    rows: u64,
    per_resource: f64,
    values: u64,
    /// Share of the type's resources that have the commonest value.
    largest: f64,
    remark: Option<&'static str>,
}

/// What was found of the sample.
#[derive(Default)]
struct Sample {
    checked: u64,
    different: Vec<String>,
}

/// Looks and prints; fails where the index is wrong.
pub(super) async fn run(config: &Config, sample: u64, as_json: bool) -> Result<(), CommandError> {
    let app = App::open(config).await?;
    let set = search_parameters::load(&app.store, &app.clock).await?;
    let lines = lines(&app.store).await?;
    let sample = check(&app, sample).await?;
    if as_json {
        println!("{}", as_document(&lines, &sample, &set.kept));
    } else {
        print(&lines, &sample, &set.kept);
    }
    match sample.different.len() {
        0 => Ok(()),
        count => Err(CommandError::new(format!(
            "the index of {count} of {} resources does not say what they say; run tributary reindex",
            sample.checked
        ))),
    }
}

async fn lines(store: &Store) -> Result<Vec<Line>, CommandError> {
    let resources: HashMap<&str, u64> = store.count_by_type().await?.into_iter().collect();
    let names = names();
    let line = |found: ParameterRows| {
        let Some((resource_type, name)) = names.get(&found.param) else {
            let remark = Some("made by a definition that is not in force: run tributary reindex");
            let name = format!("(unknown, {})", found.param.0);
            let (rows, values) = (found.rows, found.values);
            return Line { name, rows, per_resource: 0.0, values, largest: 0.0, remark };
        };
        let all = resources.get(resource_type.as_str()).copied().unwrap_or(0).max(1);
        let (per_resource, largest) = (ratio(found.rows, all), ratio(found.largest, all));
        let remark = if per_resource >= MANY_A_RESOURCE {
            Some("many values a resource: each write of one writes them all")
        } else if largest >= 0.5 && found.largest >= MANY {
            Some("most resources share one value: searches by it alone exclude little")
        } else {
            None
        };
        Line { name: name.clone(), rows: found.rows, per_resource, values: found.values, largest, remark }
    };
    let mut lines: Vec<Line> = store.parameter_rows().await?.into_iter().map(line).collect();
    lines.sort_by(|left, right| right.rows.cmp(&left.rows).then_with(|| left.name.cmp(&right.name)));
    Ok(lines)
}

/// Type and name of everything that the index may hold.
fn names() -> HashMap<ParamId, (String, String)> {
    let registry = registry();
    let aspects = [
        (Aspect::Value, ""),
        (Aspect::Text, ":text"),
        (Aspect::OfType, ":of-type"),
        (Aspect::Identifier, ":identifier"),
        (Aspect::Canonical, " (canonical units)"),
    ];
    let mut names = HashMap::new();
    for resource_type in fhir::definitions::resource_types() {
        for parameter in registry.written(resource_type) {
            for (aspect, suffix) in aspects {
                let name = format!("{resource_type}.{}{suffix}", parameter.code);
                // Aspects of a composite share its rows.
                let id = parameter.aspect_id(aspect);
                for (id, suffix) in [
                    (id, ""),
                    (id.of_contained(), " (contained)"),
                    (id.into_contained(), " (to contained)"),
                    (id.without_value(), " (without value)"),
                    (id.without_value().of_contained(), " (contained, without value)"),
                    (id.into_contained().of_contained(), " (contained, to contained)"),
                    (id.as_stated(), " (canonical)"),
                    (id.as_stated().of_contained(), " (contained, canonical)"),
                    (id.named_with_version(), " (named with its version)"),
                    (id.named_alone(), " (named alone)"),
                ] {
                    names.entry(id).or_insert((resource_type.clone(), format!("{name}{suffix}")));
                }
            }
        }
    }
    names
}

#[expect(clippy::cast_precision_loss, reason = "for people, three digits")]
fn ratio(count: u64, of: u64) -> f64 {
    count as f64 / of as f64
}

/// Compares the index of some resources, picked at random, with what they say.
async fn check(app: &App, wanted: u64) -> Result<Sample, CommandError> {
    let base = app.config.fhir_base();
    let last = app.store.last_row().await?;
    let mut sample = Sample::default();
    for _ in 0..wanted.min(u64::try_from(last).unwrap_or(0)) {
        let after = i64::from_be_bytes(app.random.bytes::<8>()).unsigned_abs() % last.unsigned_abs().max(1);
        let found = app.store.each_current(i64::try_from(after).unwrap_or(0), 1).await?;
        let Some(standing) = found.first() else { continue };
        sample.checked += 1;
        sample.different.extend(compare(&app.store, standing, &base).await?);
    }
    sample.different.sort_unstable();
    sample.different.dedup();
    Ok(sample)
}

async fn compare(store: &Store, standing: &Standing, base: &str) -> Result<Option<String>, CommandError> {
    let name = format!("{}/{}", standing.stored.resource_type, standing.stored.id);
    let resource = Json::parse(standing.stored.body.as_bytes())?;
    let extracted = match search::extract::extract(&resource, base) {
        Ok(extracted) => extracted,
        Err(error) => return Ok(Some(format!("{name}: {error}"))),
    };
    let differences = store.index_differences(standing, &extracted).await?;
    let words = differences
        .iter()
        .map(|it| format!("{}: {} rows missing, {} rows too many", it.table, it.missing, it.surplus))
        .collect::<Vec<_>>();
    Ok((!words.is_empty()).then(|| format!("{name}: {}", words.join("; "))))
}

fn as_document(lines: &[Line], sample: &Sample, kept: &[Kept]) -> Value {
    let line = |line: &Line| {
        json!({ "parameter": line.name, "rows": line.rows, "rowsPerResource": line.per_resource,
            "values": line.values, "largestShare": line.largest, "remark": line.remark })
    };
    json!({
        "parameters": lines.iter().map(line).collect::<Vec<_>>(),
        "sample": { "checked": sample.checked, "different": sample.different },
        "custom": search_parameters::status(kept),
    })
}

fn print(lines: &[Line], sample: &Sample, kept: &[Kept]) {
    let width = lines.iter().take(SHOWN).map(|line| line.name.len()).max().unwrap_or(0).max(9);
    println!("{:<width$}  {:>10}  {:>12}  {:>10}  {:>8}", "parameter", "rows", "per resource", "values", "largest");
    for (index, line) in lines.iter().enumerate() {
        if index >= SHOWN && line.remark.is_none() {
            continue;
        }
        let share = line.largest * 100.0;
        let (name, rows, each, values) = (&line.name, line.rows, line.per_resource, line.values);
        println!("{name:<width$}  {rows:>10}  {each:>12.2}  {values:>10}  {share:>6.1} %");
        if let Some(remark) = line.remark {
            println!("{:<width$}  -> {remark}", "");
        }
    }
    let rows: u64 = lines.iter().map(|line| line.rows).sum();
    println!(
        "{} parameters and aspects hold {rows} rows; `largest` is the share of the type with the commonest value.",
        lines.len()
    );
    for text in search_parameters::status(kept) {
        println!("parameter of this database: {text}");
    }
    println!("{} resources compared with the index, {} differ", sample.checked, sample.different.len());
    for text in &sample.different {
        println!("  {text}");
    }
}
