//! Conditions on one parameter: every modifier and prefix that it has.
//! <https://hl7.org/fhir/R4/search.html#modifiers>

use super::known::{Known, Searched, Types, Witness};
use super::random::SplitMix64;
use super::values::{self, PREFIXES};
use crate::filter::values::Value;
use crate::parse;
use crate::query::{Aspect, ParamKind};

/// A modifier and a prefix, as written; both may be empty.
pub(super) type Form = (&'static str, &'static str);

/// Every form of a parameter: what the parser understands, apart from what asks a terminology.
pub(super) fn forms(known: &Known) -> Vec<Form> {
    let modifiers = parse::modifiers(&known.parameter).into_iter().filter_map(|it| written(known.kind, it));
    let mut forms: Vec<Form> = std::iter::once("").chain(modifiers).map(|modifier| (modifier, "")).collect();
    if !known.parameter.targets.is_empty() && !forms.contains(&(":Type", "")) {
        forms.push((":Type", ""));
    }
    if matches!(known.kind, ParamKind::Number | ParamKind::Date | ParamKind::Quantity) {
        forms.extend(PREFIXES.iter().map(|prefix| ("", *prefix)));
    }
    forms
}

/// A modifier as it is written here.
fn written(kind: ParamKind, modifier: &str) -> Option<&'static str> {
    const WRITTEN: &[&str] =
        &[":missing", ":not", ":text", ":of-type", ":exact", ":contains", ":identifier", ":above", ":below"];
    match modifier {
        "above" | "below" if kind == ParamKind::Token => None,
        "[type]" => Some(":Type"),
        _ => WRITTEN.iter().find(|it| it[1..] == *modifier).copied(),
    }
}

fn hierarchies<'t>(types: &'t Types<'_>, known: &Known) -> Vec<&'t Searched> {
    let mut targets = types.targets(known);
    targets.retain(|target| {
        let element = format!("{}.partOf", target.name);
        target.references().any(|it| it.parameter.expression == element && it.parameter.targets.contains(&target.name))
    });
    targets
}

/// What begins a search along a hierarchy: something that is pointed at, or anything else of such a type.
fn in_hierarchy(types: &Types<'_>, known: &Known, random: &mut SplitMix64) -> String {
    let hierarchies = hierarchies(types, known);
    let Some(target) = random.pick(&hierarchies) else { return "none".to_owned() };
    let pointed_at: Vec<&str> = known.values(Aspect::Value).filter_map(|it| local_id(it, &target.name)).collect();
    let found = if random.one_in(2) { random.pick(&pointed_at).map(|id| (*id).to_owned()) } else { None };
    let id = found.or_else(|| random.pick(&target.ids).cloned()).unwrap_or_else(|| "none".to_owned());
    format!("{}/{id}", target.name)
}

/// Any form of it.
pub(super) fn any(types: &Types<'_>, known: &Known, witness: Witness, random: &mut SplitMix64) -> (String, String) {
    let forms = forms(known);
    let form = forms[random.below(forms.len())];
    condition(types, known, form, witness, random)
}

/// A condition of that form, with one to three alternatives.
pub(super) fn condition(
    types: &Types<'_>,
    known: &Known,
    (modifier, prefix): Form,
    witness: Witness,
    random: &mut SplitMix64,
) -> (String, String) {
    let code = known.code();
    if modifier == ":missing" {
        return (format!("{code}:missing"), if random.one_in(2) { "true" } else { "false" }.to_owned());
    }
    if modifier == ":Type" {
        let target = random.pick(&known.parameter.targets).map_or("Patient", String::as_str);
        let ids: Vec<&str> = known.values(Aspect::Value).filter_map(|it| local_id(it, target)).collect();
        return (format!("{code}:{target}"), random.pick(&ids).map_or("none", |it| *it).to_owned());
    }
    let aspect = match modifier {
        ":text" => Aspect::Text,
        ":of-type" => Aspect::OfType,
        ":identifier" => Aspect::Identifier,
        _ => Aspect::Value,
    };
    let alternatives = 1 + if random.one_in(3) { random.below(3) } else { 0 };
    let written: Vec<String> = (0..alternatives)
        .map(|_| {
            let found = known.pick(aspect, witness, random);
            let value = match known.kind {
                ParamKind::Reference if matches!(modifier, ":above" | ":below") => in_hierarchy(types, known, random),
                ParamKind::Composite => composite(types, known, found, random),
                kind => values::written((kind, modifier), found, types.base, random),
            };
            format!("{prefix}{value}")
        })
        .collect();
    (format!("{code}{modifier}"), written.join(","))
}

/// One value a component, joined by `$`; now and then of another element.
fn composite(types: &Types<'_>, known: &Known, found: Option<&Value>, random: &mut SplitMix64) -> String {
    let other = known.pick(Aspect::Value, None, random);
    let parts = known.parameter.components.iter().enumerate().map(|(index, component)| {
        let element = if random.one_in(5) { other } else { found };
        let values = match element {
            Some(Value::Composite(components)) => components.get(index).map_or(&[][..], Vec::as_slice),
            _ => &[],
        };
        let has_prefix = matches!(component.kind, ParamKind::Number | ParamKind::Date | ParamKind::Quantity);
        let prefix = if has_prefix && random.one_in(2) { PREFIXES[random.below(PREFIXES.len())] } else { "" };
        let found = random.pick(values);
        format!("{prefix}{}", values::written((component.kind, ""), found, types.base, random))
    });
    parts.collect::<Vec<_>>().join("$")
}

fn local_id<'a>(value: &'a Value, resource_type: &str) -> Option<&'a str> {
    match value {
        Value::Local(found, id) if found == resource_type => Some(id),
        _ => None,
    }
}
