//! Plausible searches for tests, from a seed and the resources that will be searched: every parameter with every
//! prefix and modifier it has, with values found in the data, near misses and random ones; sorts and includes.
//!
//! The same seed and resources give the same searches, on every machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhir::json::Json;

use crate::entry::IndexValue;
use crate::extract::extract;
use crate::query::{ParamKind, Prefix};
use crate::registry::{Parameter, registry};

pub use random::SplitMix64;

mod random;
mod values;

/// A search: type and pairs, not percent-encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Type that is searched.
    pub resource_type: String,
    /// Names and values.
    pub pairs: Vec<(String, String)>,
}

/// Makes searches for a set of resources.
pub struct Generator<'a> {
    base: &'a str,
    random: SplitMix64,
    types: Vec<Searched>,
}

/// A type that occurs in the data.
struct Searched {
    name: String,
    parameters: Vec<Known>,
    ids: Vec<String>,
}

/// A parameter with the values that occur.
struct Known {
    parameter: Arc<Parameter>,
    kind: ParamKind,
    values: Vec<IndexValue>,
}

impl<'a> Generator<'a> {
    /// Looks at the resources; those that cannot be indexed are left out.
    pub fn new(resources: &[&Json], base: &'a str, seed: u64) -> Self {
        let mut found: BTreeMap<String, Searched> = BTreeMap::new();
        for resource in resources {
            let Ok(extracted) = extract(resource, base) else { continue };
            let name = resource.str("resourceType").unwrap_or_default();
            let searched = found.entry(name.to_owned()).or_insert_with(|| Searched::new(name));
            searched.ids.extend(resource.str("id").map(str::to_owned));
            for entry in extracted.entries {
                if let Some(known) = searched.parameters.iter_mut().find(|it| it.parameter.id == entry.param)
                    && known.values.len() < 50
                {
                    known.values.push(entry.value);
                }
            }
        }
        Generator { base, random: SplitMix64::new(seed), types: found.into_values().collect() }
    }

    /// One search for each type × parameter × prefix or modifier, and one for each sort key and include.
    pub fn every(&mut self) -> Vec<Generated> {
        let mut all = Vec::new();
        for searched in &self.types {
            for known in &searched.parameters {
                for (modifier, prefix) in forms(known) {
                    let pair = filter(known, modifier, prefix, self.base, &mut self.random);
                    all.push(searched.search(vec![pair]));
                }
                for sign in ["", "-"].into_iter().filter(|_| known.kind != ParamKind::Reference) {
                    all.push(searched.search(vec![pair("_sort", format!("{sign}{}", known.parameter.code))]));
                }
                if known.kind == ParamKind::Reference {
                    all.push(searched.search(vec![include(searched, known)]));
                    all.extend(self.reverse_includes(searched, known));
                }
            }
        }
        all
    }

    /// A search of one to three filters, perhaps sorted, with includes, counted, of a small page.
    pub fn any(&mut self) -> Option<Generated> {
        let index = self.random.below(self.types.len());
        let searched = self.types.get(index)?;
        let random = &mut self.random;
        let mut pairs = Vec::new();
        for _ in 0..=random.below(3) {
            let with_values: Vec<&Known> = searched.parameters.iter().filter(|it| !it.values.is_empty()).collect();
            let known =
                if random.one_in(4) { random.pick(&searched.parameters) } else { random.pick(&with_values).copied() };
            match known {
                Some(known) if !random.one_in(12) => {
                    let forms = forms(known);
                    let (modifier, prefix) = forms[random.below(forms.len())];
                    pairs.push(filter(known, modifier, prefix, self.base, random));
                }
                _ => pairs.push(common(searched, random)),
            }
        }
        if random.one_in(2) {
            let keys: Vec<String> = (0..=random.below(2)).filter_map(|_| sort_key(searched, random)).collect();
            let distinct = keys.iter().enumerate().all(|(index, key)| {
                keys[..index].iter().all(|it| it.trim_start_matches('-') != key.trim_start_matches('-'))
            });
            if distinct && !keys.is_empty() {
                pairs.push(pair("_sort", keys.join(",")));
            }
        }
        if random.one_in(2) {
            pairs.push(pair("_count", (1 + random.below(9)).to_string()));
        }
        if random.one_in(4) {
            pairs.push(pair("_total", "accurate".to_owned()));
        }
        let with_include = self.random.one_in(3);
        let searched = &self.types[index];
        let references: Vec<usize> =
            (0..searched.parameters.len()).filter(|it| searched.parameters[*it].kind == ParamKind::Reference).collect();
        if with_include && let Some(chosen) = self.random.pick(&references).copied() {
            pairs.push(include(searched, &searched.parameters[chosen]));
        }
        Some(self.types[index].search(pairs))
    }

    /// Searches of the types that a parameter points at, each including what points at the matches.
    fn reverse_includes(&self, searched: &Searched, known: &Known) -> Vec<Generated> {
        let value = format!("{}:{}", searched.name, known.parameter.code);
        let targets = self.types.iter().filter(|it| known.parameter.targets.contains(&it.name));
        targets.take(3).map(|it| it.search(vec![pair("_revinclude", value.clone())])).collect()
    }
}

impl Iterator for Generator<'_> {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        self.any()
    }
}

impl Searched {
    fn new(name: &str) -> Self {
        let registry = registry();
        let known = registry
            .parameters(name)
            .filter_map(|parameter| Some(Known { kind: parameter.param()?.kind, parameter: Arc::clone(parameter), values: Vec::new() }));
        let plain = known.filter(|it| !matches!(it.parameter.code.as_str(), "_id" | "_lastUpdated"));
        Searched { name: name.to_owned(), parameters: plain.collect(), ids: Vec::new() }
    }

    fn search(&self, pairs: Vec<(String, String)>) -> Generated {
        Generated { resource_type: self.name.clone(), pairs }
    }
}

/// Every modifier and prefix of a parameter.
fn forms(known: &Known) -> Vec<(&'static str, &'static str)> {
    let modifiers: &[&str] = match known.kind {
        ParamKind::Reference if known.parameter.targets.is_empty() => &["", ":missing"],
        ParamKind::Token => &["", ":not", ":missing"],
        ParamKind::String => &["", ":exact", ":contains", ":missing"],
        ParamKind::Reference => &["", ":Type", ":missing"],
        ParamKind::Number | ParamKind::Date | ParamKind::Quantity | ParamKind::Uri => &["", ":missing"],
        ParamKind::Composite => &[":missing"],
    };
    let mut forms: Vec<(&str, &str)> = modifiers.iter().map(|modifier| (*modifier, "")).collect();
    if matches!(known.kind, ParamKind::Number | ParamKind::Date | ParamKind::Quantity) {
        forms.extend(PREFIXES.iter().map(|(_, prefix)| ("", *prefix)));
    }
    forms
}

/// The prefixes as written.
const PREFIXES: &[(Prefix, &str)] = &[
    (Prefix::Eq, "eq"),
    (Prefix::Ne, "ne"),
    (Prefix::Gt, "gt"),
    (Prefix::Lt, "lt"),
    (Prefix::Ge, "ge"),
    (Prefix::Le, "le"),
    (Prefix::Sa, "sa"),
    (Prefix::Eb, "eb"),
    (Prefix::Ap, "ap"),
];

/// A filter on a parameter, with one to three alternatives.
fn filter(known: &Known, modifier: &str, prefix: &str, base: &str, random: &mut SplitMix64) -> (String, String) {
    let code = &known.parameter.code;
    match modifier {
        ":missing" => (format!("{code}:missing"), if random.one_in(2) { "true" } else { "false" }.to_owned()),
        ":Type" => {
            let target = random.pick(&known.parameter.targets).map_or("Patient", String::as_str);
            let ids = known.values.iter().filter_map(|value| values::local_id(value, target));
            let id = random.pick(&ids.collect::<Vec<_>>()).map_or_else(|| "none".to_owned(), |it| (*it).to_owned());
            (format!("{code}:{target}"), id)
        }
        _ => {
            let alternatives = 1 + if random.one_in(3) { random.below(3) } else { 0 };
            let written: Vec<String> = (0..alternatives)
                .map(|_| {
                    let value = values::written(known.kind, random.pick(&known.values), modifier, base, random);
                    format!("{prefix}{value}")
                })
                .collect();
            (format!("{code}{modifier}"), written.join(","))
        }
    }
}

/// `_id` or `_lastUpdated`.
fn common(searched: &Searched, random: &mut SplitMix64) -> (String, String) {
    if random.one_in(2) {
        let first = random.pick(&searched.ids).cloned().unwrap_or_else(|| "none".to_owned());
        let second = random.pick(&searched.ids).cloned().unwrap_or_else(|| "none".to_owned());
        return pair("_id", if random.one_in(2) { first } else { format!("{first},{second}") });
    }
    let (_, prefix) = PREFIXES[random.below(PREFIXES.len() - 1)];
    pair("_lastUpdated", format!("{prefix}20{:02}", 10 + random.below(20)))
}

fn sort_key(searched: &Searched, random: &mut SplitMix64) -> Option<String> {
    let name = match random.below(6) {
        0 => "_lastUpdated",
        1 => "_id",
        2 if searched.parameters.iter().any(|it| it.parameter.code == "date" && it.kind == ParamKind::Date) => "date",
        _ => {
            let known = random.pick(&searched.parameters)?;
            if known.kind == ParamKind::Reference { "_id" } else { &known.parameter.code }
        }
    };
    Some(format!("{}{name}", if random.one_in(2) { "-" } else { "" }))
}

fn include(searched: &Searched, known: &Known) -> (String, String) {
    pair("_include", format!("{}:{}", searched.name, known.parameter.code))
}

fn pair(name: &str, value: String) -> (String, String) {
    (name.to_owned(), value)
}

#[cfg(test)]
mod tests;
