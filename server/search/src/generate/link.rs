//! Conditions of every sort: on parameters, on other resources, on words, as expressions.
//! <https://hl7.org/fhir/R4/search.html>

use super::known::{Known, Searched, Types, Witness};
use super::random::SplitMix64;
use super::values::PREFIXES;
use super::{expression, form, pair};
use crate::filter::values::Value;
use crate::parse::can_chain;
use crate::query::{Aspect, ParamKind};

/// Any condition on a type; through at most `depth` other resources.
pub(super) fn condition(
    types: &Types<'_>,
    searched: &Searched,
    (witness, depth): (Witness, usize),
    random: &mut SplitMix64,
) -> (String, String) {
    let linked = match random.below(100) {
        0..16 if depth > 0 => chain(types, searched, (witness, depth), random),
        16..28 if depth > 0 => has(types, searched, (witness, depth), random),
        _ => None,
    };
    linked
        .or_else(|| Some(form::any(types, searched.pick(witness, random)?, witness, random)))
        .unwrap_or_else(|| id(searched, random))
}

/// Any condition that a search itself can have, but its conditions on other resources cannot.
pub(super) fn top(
    types: &Types<'_>,
    searched: &Searched,
    witness: Witness,
    random: &mut SplitMix64,
) -> (String, String) {
    match random.below(100) {
        0..6 => id(searched, random),
        6..9 => updated(random),
        9..14 => expression::filter(types, searched, witness, random),
        14..16 if !types.lists.is_empty() => pair("_list", random.pick(&types.lists).cloned().unwrap_or_default()),
        16..19 if !searched.words.is_empty() => {
            let name = if random.one_in(2) { "_text" } else { "_content" };
            let words: Vec<&str> =
                (0..=random.below(2)).filter_map(|_| random.pick(&searched.words)).map(String::as_str).collect();
            pair(name, words.join(" "))
        }
        19..40 if !searched.positions.is_empty() => near(searched, random),
        _ => condition(types, searched, (witness, 3), random),
    }
}

/// `subject:Patient.name`, `patient.organization.name`.
pub(super) fn chain(
    types: &Types<'_>,
    searched: &Searched,
    (witness, depth): (Witness, usize),
    random: &mut SplitMix64,
) -> Option<(String, String)> {
    let references: Vec<&Known> = searched.references().filter(|known| leads_anywhere(known)).collect();
    let known = random.pick(&references)?;
    let targets = types.targets(known);
    let end = match known.pick(Aspect::Value, witness, random) {
        Some(Value::Local(name, id)) => types.find(name).map(|target| (target, target.place(id))),
        _ => None,
    };
    let (target, witness) = end.or_else(|| random.pick(&targets).map(|target| (*target, None)))?;
    let (name, value) = condition(types, target, (witness, depth - 1), random);
    let code = known.code();
    let plainly = known.parameter.targets.len() == 1 || random.one_in(8);
    Some(pair(&if plainly { format!("{code}.{name}") } else { format!("{code}:{}.{name}", target.name) }, value))
}

/// `_has:Observation:patient:code`.
pub(super) fn has(
    types: &Types<'_>,
    searched: &Searched,
    (witness, depth): (Witness, usize),
    random: &mut SplitMix64,
) -> Option<(String, String)> {
    let mut sources = types.sources(&searched.name);
    sources.retain(|(_, known)| leads_anywhere(known));
    let this = witness.and_then(|place| searched.ids.get(place));
    let pointing = |known: &Known| {
        this.map(|id| known.places_of(&Value::Local(searched.name.clone(), id.clone()))).unwrap_or_default()
    };
    if this.is_some() && !random.one_in(4) {
        sources.retain(|(_, known)| !pointing(known).is_empty());
    }
    let (source, known) = random.pick(&sources)?;
    let witness = random.pick(&pointing(known)).copied();
    let (name, value) = condition(types, source, (witness, depth - 1), random);
    Some(pair(&format!("_has:{}:{}:{name}", source.name, known.code()), value))
}

/// Whether its values are references to resources or canonical URLs, in the data too; most of a search should find something.
pub(super) fn leads_anywhere(known: &Known) -> bool {
    let leads = known.parameter.param().map(|param| param.leads).unwrap_or_default();
    let is_end = |value: &Value| match value {
        Value::Local(..) => leads.by_reference(),
        Value::Url(_) => leads.by_canonical(),
        _ => false,
    };
    can_chain(&known.parameter) && known.values(Aspect::Value).any(is_end)
}

/// Whether its values can be references to resources.
pub(super) fn leads(known: &Known) -> bool {
    known.parameter.param().is_some_and(|param| param.leads.by_reference()) && can_chain(&known.parameter)
}

/// `_id`.
fn id(searched: &Searched, random: &mut SplitMix64) -> (String, String) {
    let mut ids: Vec<&str> =
        (0..=random.below(2)).filter_map(|_| random.pick(&searched.ids)).map(String::as_str).collect();
    if random.one_in(8) {
        ids.push("none");
    }
    pair("_id", ids.join(","))
}

/// `_lastUpdated`, by years: when the data came is not known here.
fn updated(random: &mut SplitMix64) -> (String, String) {
    let prefix = PREFIXES[random.below(PREFIXES.len() - 1)];
    pair("_lastUpdated", format!("{prefix}20{:02}", 10 + random.below(20)))
}

/// `near` a position that occurs, or one that is not far.
fn near(searched: &Searched, random: &mut SplitMix64) -> (String, String) {
    let Some((latitude, longitude)) = random.pick(&searched.positions) else { return id(searched, random) };
    let latitude: f64 = latitude.parse().unwrap_or_default();
    let away = *random.pick(&[0.0, 0.001, 0.1, 2.0]).unwrap_or(&0.0);
    let distance = random.pick(&["", "|1", "|11.1|km", "|500|m", "|100|[mi_us]", "|0"]).unwrap_or(&"");
    pair("near", format!("{:.4}|{longitude}{distance}", (latitude + away).min(90.0)))
}

/// A key of `_sort` with its sign.
pub(super) fn sort_key(searched: &Searched, random: &mut SplitMix64) -> Option<String> {
    let name = match random.below(6) {
        0 => "_lastUpdated",
        1 => "_id",
        2 if searched.parameters.iter().any(|it| it.code() == "date" && it.kind == ParamKind::Date) => "date",
        _ => {
            let known = searched.pick(None, random)?;
            if known.kind == ParamKind::Composite { "_id" } else { known.code() }
        }
    };
    Some(format!("{}{name}", if random.one_in(2) { "-" } else { "" }))
}

/// Any `_include` or `_revinclude` of a search, perhaps with the one that goes on from there.
pub(super) fn includes(types: &Types<'_>, searched: &Searched, random: &mut SplitMix64) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let references: Vec<&Known> = searched.references().filter(|known| leads_anywhere(known)).collect();
    let mut sources = types.sources(&searched.name);
    sources.retain(|(_, known)| leads_anywhere(known));
    match random.below(8) {
        0 => pairs.push(pair("_include", format!("{}:*", searched.name))),
        1 | 2 => pairs.extend(random.pick(&sources).map(|(source, known)| reverse(source, known, searched, random))),
        3 if random.one_in(4) => {
            let names = ["_revinclude", "_include:iterate"];
            pairs.extend(random.pick(&names).map(|name| pair(name, "*".to_owned())));
        }
        3 => {
            let name = if random.one_in(3) { "_revinclude:iterate" } else { "_revinclude" };
            pairs.extend(random.pick(&sources).map(|(source, _)| pair(name, format!("{}:*", source.name))));
        }
        _ => pairs.extend(random.pick(&references).and_then(|known| forward(types, searched, known, random))),
    }
    if !pairs.is_empty() && random.one_in(2) {
        // What goes on from what was included.
        let further = random.pick(&types.list).filter(|it| it.references().any(leads_anywhere));
        let known = further.and_then(|it| {
            let references: Vec<&Known> = it.references().filter(|known| leads_anywhere(known)).collect();
            random.pick(&references).map(|known| format!("{}:{}", it.name, known.code()))
        });
        pairs.extend(known.map(|value| pair("_include:iterate", value)));
    }
    pairs
}

fn forward(types: &Types<'_>, searched: &Searched, known: &Known, random: &mut SplitMix64) -> Option<(String, String)> {
    let name = if random.one_in(4) { "_include:iterate" } else { "_include" };
    let value = format!("{}:{}", searched.name, known.code());
    let target = random.pick(&types.targets(known)).map(|it| it.name.clone())?;
    Some(pair(name, if random.one_in(3) { format!("{value}:{target}") } else { value }))
}

fn reverse(source: &Searched, known: &Known, searched: &Searched, random: &mut SplitMix64) -> (String, String) {
    let name = if random.one_in(4) { "_revinclude:iterate" } else { "_revinclude" };
    let value = format!("{}:{}", source.name, known.code());
    pair(name, if random.one_in(3) { format!("{value}:{}", searched.name) } else { value })
}
