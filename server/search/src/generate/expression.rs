//! `_filter` expressions. <https://hl7.org/fhir/R4/search_filter.html>

use fhir::json::Json;

use super::known::{Known, Searched, Types, Witness};
use super::random::SplitMix64;
use super::{pair, values};
use crate::filter::values::Value;
use crate::query::{Aspect, ParamKind};
use crate::registry::elements;

/// A `_filter` of one to four tests.
pub(super) fn filter(
    types: &Types<'_>,
    searched: &Searched,
    witness: Witness,
    random: &mut SplitMix64,
) -> (String, String) {
    pair("_filter", expression(types, (searched, witness), 2, random))
}

fn expression(types: &Types<'_>, searched: (&Searched, Witness), depth: usize, random: &mut SplitMix64) -> String {
    match random.below(6) {
        0 if depth > 0 => format!("not ({})", expression(types, searched, depth - 1, random)),
        form @ (1 | 2) if depth > 0 => {
            let [left, right] = [(); 2].map(|()| expression(types, searched, depth - 1, random));
            let word = if form == 1 { "and" } else { "or" };
            if random.one_in(2) { format!("({left}) {word} ({right})") } else { format!("{left} {word} {right}") }
        }
        3 if depth > 0 => chain(types, searched.0, random).unwrap_or_else(|| test(types, searched, random)),
        _ => test(types, searched, random),
    }
}

/// `patient.name co "x"`, `subject[name co "x"]…` is left to tables of cases.
fn chain(types: &Types<'_>, searched: &Searched, random: &mut SplitMix64) -> Option<String> {
    let references: Vec<&Known> = searched.references().filter(|it| it.parameter.targets.len() == 1).collect();
    let known = random.pick(&references)?;
    let target = types.find(&known.parameter.targets[0])?;
    Some(format!("{}.{}", known.code(), test(types, (target, None), random)))
}

fn test(types: &Types<'_>, (searched, witness): (&Searched, Witness), random: &mut SplitMix64) -> String {
    let Some(known) = searched.pick(witness, random) else { return "_id eq none".to_owned() };
    let (code, kind) = (known.code(), known.kind);
    if kind == ParamKind::Composite || random.one_in(12) {
        return format!("{code} pr {}", random.one_in(2));
    }
    let operators: &[&str] = match kind {
        ParamKind::String => &["eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le"],
        ParamKind::Date => &["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap", "po", "co"],
        ParamKind::Number => &["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap", "co"],
        ParamKind::Quantity => &["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"],
        _ if elements::can_select(&known.parameter, &["canonical"]) => &["eq"],
        _ => &["eq", "ne"],
    };
    let operator = random.pick(operators).copied().unwrap_or("eq");
    let found = known.pick(Aspect::Value, witness, random);
    let value = match found {
        Some(Value::Text(text)) => part(text, random),
        Some(Value::Local(resource_type, id)) => format!("{resource_type}/{id}"),
        Some(Value::Token(system, code)) if !code.is_empty() => token(system, code, random),
        Some(Value::Token(system, _)) => format!("{system}|"),
        Some(Value::Uri(text) | Value::Url(text)) => text.clone(),
        found => values::written((kind, ""), found, types.base, random),
    };
    let is_bare = !value.is_empty() && value.chars().all(|it| it.is_alphanumeric() || "-_.:/|+".contains(it));
    let quoted = if is_bare && random.one_in(2) { value } else { Json::String(value.into()).to_string() };
    format!("{code} {operator} {quoted}")
}

/// A token, perhaps with its system, perhaps in another case.
fn token(system: &str, code: &str, random: &mut SplitMix64) -> String {
    let written = if system.is_empty() || random.one_in(2) { code.to_owned() } else { format!("{system}|{code}") };
    match random.below(6) {
        0 => written.to_uppercase(),
        1 => written.to_lowercase(),
        _ => written,
    }
}

/// A text, or some letters of it.
fn part(text: &str, random: &mut SplitMix64) -> String {
    let letters: Vec<char> = text.chars().take(60).collect();
    if random.one_in(2) {
        return letters.into_iter().collect();
    }
    let start = random.below(letters.len());
    letters[start..].iter().take(1 + random.below(8)).collect()
}
