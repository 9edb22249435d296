//! Plausible searches for tests, from a seed and the resources that will be searched: every parameter with every
//! prefix and modifier it has, chains, `_has`, `_filter` and the rest, with values found in the data, near misses and
//! random ones; sorts and includes. <https://hl7.org/fhir/R4/search.html>
//!
//! The same seed and resources give the same searches, on every machine.

use fhir::json::Json;

use crate::query::ParamKind;
use known::{Known, Searched, Types};

pub use random::SplitMix64;

mod expression;
mod form;
mod inside;
mod known;
mod link;
mod random;
mod values;

/// A search: where it is asked, and pairs, not percent-encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// What is searched.
    pub place: Place,
    /// Names and values.
    pub pairs: Vec<(String, String)>,
}

/// What is searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A type.
    Type(String),
    /// Several types; `_type` is not among the pairs.
    Types(Vec<String>),
    /// What lies in a resource's compartment: of one type, or of any.
    Compartment {
        /// Type of the resource.
        resource_type: String,
        /// Its logical id.
        id: String,
        /// What is searched in it.
        searched: Option<String>,
    },
}

impl Place {
    /// The path below the base, with the parameter that belongs to it.
    pub fn path(&self) -> (String, Option<(String, String)>) {
        match self {
            Place::Type(name) => (name.clone(), None),
            Place::Types(names) => (String::new(), Some(pair("_type", names.join(",")))),
            Place::Compartment { resource_type, id, searched } => {
                (format!("{resource_type}/{id}/{}", searched.as_deref().unwrap_or("*")), None)
            }
        }
    }
}

/// Makes searches for a set of resources.
pub struct Generator<'a> {
    random: SplitMix64,
    types: Types<'a>,
}

impl<'a> Generator<'a> {
    /// Looks at the resources, whose references below `base` are local.
    pub fn new(resources: &[&Json], base: &'a str, seed: u64) -> Self {
        Generator { random: SplitMix64::new(seed), types: Types::of(resources, base) }
    }

    /// One search for each type that occurs × parameter × prefix or modifier, and one for each sort key, include, chain
    /// and `_has`; the same of contained resources.
    pub fn every(&mut self) -> Vec<Generated> {
        let mut all = Vec::new();
        let (types, random) = (&self.types, &mut self.random);
        for searched in &types.list {
            for known in &searched.parameters {
                for form in form::forms(known) {
                    all.push(searched.search(vec![form::condition(types, known, form, None, random)]));
                }
                if known.kind != ParamKind::Composite {
                    for sign in ["", "-"] {
                        all.push(searched.search(vec![pair("_sort", format!("{sign}{}", known.code()))]));
                    }
                }
                if known.kind == ParamKind::Reference && link::leads_anywhere(known) {
                    all.push(searched.search(vec![pair("_include", format!("{}:{}", searched.name, known.code()))]));
                    all.extend(linked(types, searched, known, random));
                }
            }
            all.push(searched.search(vec![pair("_include", format!("{}:*", searched.name))]));
        }
        all.extend(inside::every(types, random));
        all
    }

    /// One search for each type that does not occur × parameter × prefix or modifier: it finds nothing, but must be
    /// understood.
    pub fn absent(&mut self) -> Vec<Generated> {
        let mut all = Vec::new();
        let (types, random) = (&self.types, &mut self.random);
        for searched in types.absent() {
            for known in &searched.parameters {
                for form in form::forms(known) {
                    all.push(searched.search(vec![form::condition(types, known, form, None, random)]));
                }
            }
        }
        all
    }

    /// A search of up to three conditions, perhaps sorted, with includes, counted, of a small page.
    pub fn any(&mut self) -> Option<Generated> {
        match self.random.below(40) {
            0 => Some(self.several_types()),
            1 | 2 if !self.types.owners.is_empty() => self.compartment(),
            3 | 4 if !self.types.contained.is_empty() => inside::any(&self.types, &mut self.random),
            _ => self.one_type(),
        }
    }

    fn one_type(&mut self) -> Option<Generated> {
        let (types, random) = (&self.types, &mut self.random);
        let searched = random.pick(&types.list)?;
        let witness = searched.witness(random);
        let conditions = [1, 1, 1, 2, 2, 3][random.below(6)];
        let mut pairs: Vec<_> = (0..conditions).map(|_| link::top(types, searched, witness, random)).collect();
        if random.one_in(2) {
            let keys: Vec<String> = (0..=random.below(2)).filter_map(|_| link::sort_key(searched, random)).collect();
            pairs.extend(sort(&keys));
        }
        pairs.extend(paging(random));
        if random.one_in(3) {
            pairs.extend(link::includes(types, searched, random));
        }
        Some(searched.search(pairs))
    }

    /// Conditions and orders that all types have.
    fn several_types(&mut self) -> Generated {
        let (types, random) = (&self.types, &mut self.random);
        let mut names: Vec<String> =
            (0..2 + random.below(4)).filter_map(|_| random.pick(&types.list)).map(|it| it.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        let mut pairs = Vec::new();
        if random.one_in(2) {
            let year = 2010 + random.below(20);
            pairs.push(pair("_lastUpdated", format!("{}{year}", random.pick(&["ge", "le", ""]).unwrap_or(&""))));
        }
        let ids: Vec<&str> = types.list.iter().filter_map(|it| random.pick(&it.ids)).map(String::as_str).collect();
        if random.one_in(3) {
            pairs.push(pair("_id", ids.into_iter().take(20).collect::<Vec<_>>().join(",")));
        }
        if random.one_in(2) {
            let key = random.pick(&["_lastUpdated", "-_lastUpdated", "_id", "-_id"]).copied().unwrap_or("_id");
            pairs.push(pair("_sort", key.to_owned()));
        }
        pairs.extend(paging(random));
        Generated { place: Place::Types(names), pairs }
    }

    fn compartment(&mut self) -> Option<Generated> {
        let (types, random) = (&self.types, &mut self.random);
        let (resource_type, id) = random.pick(&types.owners)?.clone();
        let sources = types.sources(&resource_type);
        let searched = random.pick(&sources).map(|(source, _)| *source)?;
        let mut pairs = Vec::new();
        if random.one_in(2) {
            pairs.push(link::top(types, searched, None, random));
        }
        pairs.extend(paging(random));
        let searched = Some(searched.name.clone());
        Some(Generated { place: Place::Compartment { resource_type, id, searched }, pairs })
    }
}

impl Iterator for Generator<'_> {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        self.any()
    }
}

impl Searched {
    fn search(&self, pairs: Vec<(String, String)>) -> Generated {
        Generated { place: Place::Type(self.name.clone()), pairs }
    }
}

/// Chains and `_has` by a reference parameter, and what points back.
fn linked(types: &Types<'_>, searched: &Searched, known: &Known, random: &mut SplitMix64) -> Vec<Generated> {
    let mut all = Vec::new();
    let value = format!("{}:{}", searched.name, known.code());
    for target in types.targets(known).into_iter().take(3) {
        let (name, behind) = link::condition(types, target, (None, 1), random);
        all.push(searched.search(vec![pair(&format!("{}:{}.{name}", known.code(), target.name), behind)]));
        let (name, behind) = link::condition(types, searched, (None, 1), random);
        all.push(target.search(vec![pair(&format!("_has:{value}:{name}"), behind)]));
        all.push(target.search(vec![pair("_revinclude", value.clone())]));
        all.push(searched.search(vec![pair("_include", format!("{value}:{}", target.name))]));
    }
    all
}

/// `_sort`, if no key is there twice.
fn sort(keys: &[String]) -> Option<(String, String)> {
    let bare = |key: &str| key.trim_start_matches('-').to_owned();
    let is_new = |(index, key): (usize, &String)| keys[..index].iter().all(|it| bare(it) != bare(key));
    (!keys.is_empty() && keys.iter().enumerate().all(is_new)).then(|| pair("_sort", keys.join(",")))
}

/// `_count` and `_total`.
fn paging(random: &mut SplitMix64) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    if random.one_in(2) {
        pairs.push(pair("_count", random.below(10).to_string()));
    }
    if random.one_in(4) {
        pairs
            .push(pair("_total", random.pick(&["accurate", "estimate", "none"]).copied().unwrap_or("none").to_owned()));
    }
    pairs
}

fn pair(name: &str, value: String) -> (String, String) {
    (name.to_owned(), value)
}

#[cfg(test)]
mod tests;
