//! The codes of a ValueSet. <https://hl7.org/fhir/R4/valueset.html#compositions>
//!
//! "the value set … is the union of its includes … minus the excludes"; within one include all conditions hold.

use std::cell::RefCell;
use std::collections::BTreeSet;

use fhir::json::Json;
use fhir::path::{Meter, Patterns, WholeText};

use super::codes::Codes;
use super::hierarchy::{Concepts, concepts};
use super::{Halt, MAX_CODES, MAX_IMPORTS, Need, Sources, TerminologyError};
use crate::query::Direction;

/// Steps that the patterns of a value set may take. (IN-17)
const MAX_STEPS: u64 = 1_000_000;

/// The codes of the value set `url`; `listed`: no whole systems.
pub(super) fn codes(url: &str, sources: &Sources, listed: bool) -> Result<Codes, Halt> {
    let cost = Cost { patterns: RefCell::default(), meter: Meter::new(MAX_STEPS) };
    set(url, &Loader { sources, listed, cost: &cost }, &mut Vec::new())
}

struct Loader<'a> {
    sources: &'a Sources,
    /// Whether whole systems are to be listed code by code.
    listed: bool,
    cost: &'a Cost,
}

/// What is left for patterns.
struct Cost {
    patterns: RefCell<Patterns>,
    meter: Meter,
}

fn set(url: &str, loader: &Loader<'_>, importing: &mut Vec<String>) -> Result<Codes, Halt> {
    if importing.iter().any(|it| it == url) || importing.len() > MAX_IMPORTS {
        let text = format!("the value set {url} imports itself: {}", importing.join(", "));
        return Err(TerminologyError::Invalid(text).into());
    }
    let definition = loader.sources.get(Need::ValueSet(url.to_owned()))?;
    let compose = definition.get("compose");
    let is_simple = compose.is_some_and(|it| it.list("include").iter().chain(it.list("exclude")).all(is_list));
    if let Some(expansion) = definition.get("expansion").filter(|it| !is_simple && is_complete(it)) {
        return Ok(expanded(expansion).bounded(url)?);
    }
    let Some(compose) = compose else {
        let text = format!("the value set {url} has neither a definition nor a complete expansion");
        return Err(TerminologyError::NotSupported(text).into());
    };
    importing.push(url.to_owned());
    let excluded = compose.list("exclude");
    let list_wholes = Loader { listed: loader.listed || !excluded.is_empty(), ..*loader };
    let mut found = Codes::default();
    for include in compose.list("include") {
        found.add(include_of(url, include, &list_wholes, importing)?);
        found = found.bounded(url)?;
    }
    let as_they_are = Loader { listed: false, ..*loader };
    for exclude in excluded {
        found = found.without(&include_of(url, exclude, &as_they_are, importing)?);
    }
    importing.pop();
    Ok(found)
}

/// Whether an include is a list of codes or a whole system.
fn is_list(include: &Json) -> bool {
    include.list("filter").is_empty() && include.list("valueSet").is_empty()
}

fn include_of(url: &str, include: &Json, loader: &Loader<'_>, importing: &mut Vec<String>) -> Result<Codes, Halt> {
    let mut found = match include.str("system") {
        Some(system) => Some(of_system(url, system, include, loader)?),
        None => None,
    };
    for import in include.list("valueSet").iter().filter_map(Json::as_str) {
        let imported = set(import, loader, importing)?;
        found = Some(match found {
            Some(found) => found.and(&imported),
            None => imported,
        });
    }
    found.ok_or_else(|| {
        TerminologyError::Invalid(format!("the value set {url} includes neither a system nor a value set")).into()
    })
}

fn of_system(url: &str, system: &str, include: &Json, loader: &Loader<'_>) -> Result<Codes, Halt> {
    let (listed, filters) = (include.list("concept"), include.list("filter"));
    if !listed.is_empty() {
        return Ok(Codes::of(system, listed.iter().filter_map(|it| it.str("code"))).bounded(url)?);
    }
    if filters.is_empty() && !loader.listed {
        return Ok(Codes::whole(system));
    }
    let concepts = concepts(system, loader.sources)?;
    let mut found: Vec<&str> = concepts.all.keys().copied().collect();
    for filter in filters {
        let filter = Filter::read(url, filter, loader.cost)?;
        let below = filter.closure(&concepts);
        let mut kept = Vec::new();
        for code in found {
            if filter.holds(&concepts, code, &below)? {
                kept.push(code);
            }
        }
        found = kept;
    }
    Ok(Codes::of(system, found).bounded(url)?)
}

/// One condition on concepts. <https://hl7.org/fhir/R4/valueset-filter-operator.html>
struct Filter<'a> {
    url: &'a str,
    property: &'a str,
    operator: &'a str,
    value: &'a str,
    /// The value of `regex`: "a regex match on the literal string of the property value". HL7's test cases show that it
    /// is one of all of it: `[^\t\r\n\f]{5}` is not `code2a`.
    pattern: Option<(WholeText, &'a Meter)>,
}

impl<'a> Filter<'a> {
    fn read(url: &'a str, filter: &'a Json, cost: &'a Cost) -> Result<Self, TerminologyError> {
        let text = |name: &str| {
            let missing = || TerminologyError::Invalid(format!("a filter of the value set {url} has no {name}"));
            filter.str(name).ok_or_else(missing)
        };
        let (property, operator, value) = (text("property")?, text("op")?, text("value")?);
        let pattern = match operator {
            "regex" => {
                let pattern = WholeText::new(value, &mut cost.patterns.borrow_mut());
                let why = |why| {
                    TerminologyError::Invalid(format!("the regex {value:?} of the value set {url} is not read: {why}"))
                };
                Some((pattern.map_err(why)?, &cost.meter))
            }
            _ => None,
        };
        Ok(Filter { url, property, operator, value, pattern })
    }

    fn closure<'b>(&self, concepts: &Concepts<'b>) -> BTreeSet<&'b str> {
        let direction = if self.operator == "generalizes" { Direction::Above } else { Direction::Below };
        match self.operator {
            "is-a" | "descendent-of" | "is-not-a" | "generalizes" => concepts.closure(self.value, direction),
            _ => BTreeSet::new(),
        }
    }

    fn holds(&self, concepts: &Concepts<'_>, code: &str, closure: &BTreeSet<&str>) -> Result<bool, TerminologyError> {
        let values = || values(concepts, code, self.property);
        if let Some((pattern, meter)) = &self.pattern {
            let is_match = |text: &String| pattern.matches(text, meter).map_err(|_| self.too_long());
            return values().iter().try_fold(false, |found, text| Ok(found || is_match(text)?));
        }
        Ok(match self.operator {
            "is-a" | "generalizes" => closure.contains(code),
            "is-not-a" => !closure.contains(code),
            "descendent-of" => code != self.value && closure.contains(code),
            "=" => values().iter().any(|it| it == self.value),
            "in" => values().iter().any(|it| self.value.split(',').any(|wanted| wanted.trim() == it)),
            "not-in" => !values().iter().any(|it| self.value.split(',').any(|wanted| wanted.trim() == it)),
            "exists" => values().is_empty() != (self.value == "true"),
            operator => {
                return Err(TerminologyError::NotSupported(format!(
                    "the value set {} has a filter {:?}, which is not evaluated here",
                    self.url, operator
                )));
            }
        })
    }
}

impl Filter<'_> {
    fn too_long(&self) -> TerminologyError {
        let text = format!("the regex {:?} of the value set {} takes too long on all concepts", self.value, self.url);
        TerminologyError::Slow(text)
    }
}

/// What a concept has as a property.
fn values(concepts: &Concepts<'_>, code: &str, property: &str) -> Vec<String> {
    const MEMBERS: &[&str] =
        &["valueCode", "valueString", "valueBoolean", "valueInteger", "valueDecimal", "valueDateTime"];
    let Some(concept) = concepts.all.get(code) else { return Vec::new() };
    let owned = |codes: BTreeSet<&str>| codes.into_iter().map(str::to_owned).collect();
    match property {
        "concept" | "code" => return vec![code.to_owned()],
        "display" => return concept.str("display").map(str::to_owned).into_iter().collect(),
        "parent" => return owned(concepts.parents(code)),
        "child" => return owned(concepts.children(code)),
        _ => {}
    }
    let own = concept.list("property").iter().filter(|it| it.str("code") == Some(property));
    own.filter_map(|it| {
        let coding = it.at(&["valueCoding", "code"]);
        let value = MEMBERS.iter().find_map(|name| it.get(name)).or(coding)?;
        let flag = value.as_bool().map(|it| it.to_string());
        flag.or_else(|| value.as_str().or_else(|| value.as_number()).map(str::to_owned))
    })
    .collect()
}

/// Whether the expansion lists all codes.
fn is_complete(expansion: &Json) -> bool {
    let is_cut = |it: &Json| {
        let cuts = ["http://hl7.org/fhir/StructureDefinition/valueset-toocostly", "limitedExpansion"];
        [it.str("url"), it.str("name")].into_iter().flatten().any(|name| cuts.contains(&name))
    };
    let marked = expansion.list("extension").iter().chain(expansion.list("parameter")).any(is_cut);
    let listed = count(expansion);
    let total = expansion.get("total").and_then(Json::as_number).and_then(|it| it.parse::<usize>().ok());
    let begins = expansion.get("offset").and_then(Json::as_number).is_none_or(|it| it == "0");
    !marked && begins && listed > 0 && total.is_none_or(|total| total <= listed)
}

fn count(list: &Json) -> usize {
    list.list("contains").iter().map(|it| 1 + count(it)).sum()
}

fn expanded(expansion: &Json) -> Codes {
    let (mut found, mut open) = (Codes::default(), vec![expansion]);
    while let Some(list) = open.pop() {
        if found.single.len() > MAX_CODES {
            break;
        }
        for entry in list.list("contains") {
            let is_abstract = entry.get("abstract").and_then(Json::as_bool) == Some(true);
            if let (Some(system), Some(code), false) = (entry.str("system"), entry.str("code"), is_abstract) {
                found.single.insert((system.to_owned(), code.to_owned()));
            }
            open.push(entry);
        }
    }
    found
}
