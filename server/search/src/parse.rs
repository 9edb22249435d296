//! Search parameters as they come in a URL or form, read into a [`Query`]. <https://hl7.org/fhir/R4/search.html>
//!
//! Every pair takes effect or is refused by name (invariant 3 of docs/src/architecture.md): with 400 and the nearest valid
//! names, or, on `Prefer: handling=lenient`, with a warning. Leniency leaves out what is unknown or not supported; a value that
//! cannot be read and a request beyond the limits are refused in any case.
//!
//! ```text
//! name=value ─┬─ control, include, sort ──▶ what the answer looks like
//!             └─ condition ─┬─ chain ──▶ condition on another type
//!                           ├─ expression (_filter) ──▶ conditions
//!                           └─ modifier ──▶ token, string, date, number, quantity, reference, uri, composite
//! ```

use std::cell::Cell;

use fhir::outcome::Issue;

use crate::query::{Query, SortBy};
use crate::registry::Parameter;

use condition::find;
use control::Searched;
use place::Place;
use refusal::Refusal;

mod chain;
mod composite;
mod condition;
mod contained;
mod control;
mod date;
mod escape;
mod expression;
mod hierarchy;
mod include;
mod modifier;
mod near;
mod number;
mod place;
mod prefix;
mod quantity;
mod reference;
mod refusal;
mod scope;
mod shape;
mod sort;
mod string;
mod token;
mod uri;
mod words;

pub use control::shapes_answer;
pub use escape::literal;
pub use scope::filters_from_pairs;
pub use shape::elements_of;

/// Most parameters of one search. (IN-17)
pub const MAX_PARAMETERS: usize = 100;
/// Most alternatives of one parameter, also after a bare id has become one reference for each target type. (IN-17)
pub const MAX_ALTERNATIVES: usize = 1000;
/// Most `_include` and `_revinclude` together. (IN-17)
pub const MAX_INCLUDES: usize = 20;
/// Most `_sort` keys. (IN-17)
pub const MAX_SORTS: usize = 5;
/// Most references one behind the other, in chains and `_has`. (IN-17)
pub const MAX_DEPTH: usize = 8;
/// Most conditions of one search on a type, those behind references included. (IN-17)
pub const MAX_NODES: usize = 1000;
/// Most names of `_elements`. (IN-17)
pub const MAX_ELEMENTS: usize = 100;

/// What the server decides for all searches.
#[derive(Clone, Debug)]
pub struct Options {
    /// The FHIR base URL: references below it are this server's.
    pub base: String,
    /// Page size where `_count` is not given.
    pub default_count: usize,
    /// Largest page; a larger `_count` is lowered to it, which the self link shows.
    pub max_count: usize,
    /// `Prefer: handling=lenient`.
    pub lenient: bool,
    /// The present, microseconds since 1970: `ap` on dates is relative to it.
    pub now: i64,
}

impl Options {
    /// For searches of the server's own: pages of at most `count`, nothing lenient.
    pub fn at_most(count: usize, base: String, now: i64) -> Self {
        Options { base, default_count: count, max_count: count, lenient: false, now }
    }
}

/// A query, and what leniency left out of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// What is asked.
    pub query: Query,
    /// One warning for each parameter that was ignored; empty unless lenient.
    pub warnings: Vec<Issue>,
}

/// A search of several types.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedTypes {
    /// What is asked of each type; the same order, page size and position everywhere.
    pub queries: Vec<Query>,
    /// The parameters that took effect, for the self link.
    pub applied: Vec<(String, String)>,
    /// One warning for each parameter that was ignored; empty unless lenient.
    pub warnings: Vec<Issue>,
}

/// Reads the pairs of a search on `resource_type`, names and values already percent-decoded.
///
/// [`Query::applied`] gets every pair that took effect, but `_cursor`, which links set themselves.
pub fn parse(resource_type: &str, pairs: &[(String, String)], options: &Options) -> Result<Parsed, Vec<Issue>> {
    let (mut queries, _, warnings) = read(&[resource_type], pairs, options)?;
    Ok(Parsed { query: queries.remove(0), warnings })
}

/// Reads the pairs of a search on all of `types`, of which there must be one: parameters must be ones of every type,
/// includes concern those types that have them. <https://hl7.org/fhir/R4/http.html#search>
pub fn parse_types(types: &[&str], pairs: &[(String, String)], options: &Options) -> Result<ParsedTypes, Vec<Issue>> {
    let (queries, applied, warnings) = read(types, pairs, options)?;
    if queries.iter().any(|query| query.contained.is_some()) {
        let text = "_contained=true and both are for a search of one type, as in Medication?_contained=true: not for one of \
                    several types or of a compartment";
        return Err(vec![Refusal::not_supported(text.to_owned()).error()]);
    }
    if types.len() > 1 {
        let common = |by: &SortBy| matches!(by, SortBy::LastUpdated | SortBy::Id);
        if queries.iter().any(|query| query.sort.iter().any(|key| !common(&key.by))) {
            let text = "_sort: several types have an order by _lastUpdated and _id only";
            return Err(vec![Refusal::invalid(text.to_owned()).error()]);
        }
    }
    Ok(ParsedTypes { queries, applied, warnings })
}

/// Reads criteria that say which resource is meant, of conditional interactions: conditions, at least one, and nothing
/// that shapes an answer. <https://hl7.org/fhir/R4/http.html#ccreate>
pub fn criteria(resource_type: &str, pairs: &[(String, String)], options: &Options) -> Result<Query, Vec<Issue>> {
    if let Some((name, _)) = pairs.iter().find(|(name, _)| is_result_parameter(name)) {
        let text =
            format!("{name} shapes an answer; criteria are search parameters that say which {resource_type} is meant");
        return Err(vec![Refusal::invalid(text).error()]);
    }
    let query = parse(resource_type, pairs, &Options { lenient: false, ..options.clone() })?.query;
    if query.filters.is_empty() {
        let text = format!("criteria must say by at least one search parameter which {resource_type} is meant");
        return Err(vec![Refusal::invalid(text).error()]);
    }
    Ok(query)
}

/// The modifiers that a parameter understands; `[type]` stands for the types that a reference may point at.
pub fn modifiers(parameter: &Parameter) -> Vec<&'static str> {
    modifier::of(parameter)
}

/// The prefixes that values of a kind understand.
pub fn prefixes(kind: crate::query::ParamKind) -> &'static [&'static str] {
    prefix::of(kind)
}

/// Whether references of the parameter lead to other resources, in chains and `_has`.
pub fn can_chain(parameter: &Parameter) -> bool {
    chain::reference(parameter).is_ok()
}

fn is_result_parameter(name: &str) -> bool {
    control::is_control(name) || ["_include:", "_revinclude:"].iter().any(|it| name.starts_with(it))
}

type Read = (Vec<Query>, Vec<(String, String)>, Vec<Issue>);

/// Reads every pair for every type; what one type refuses concerns none.
fn read(types: &[&str], pairs: &[(String, String)], options: &Options) -> Result<Read, Vec<Issue>> {
    if pairs.len() > MAX_PARAMETERS {
        let refusal = Refusal::too_costly(format!("{} parameters; at most {MAX_PARAMETERS} are allowed", pairs.len()));
        return Err(vec![refusal.error()]);
    }
    let searched = Searched { types, options };
    let mut readers: Vec<Reader<'_>> = types.iter().map(|name| Reader::new(name, searched)).collect();
    let (mut applied, mut errors, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in pairs.iter().flat_map(|pair| sort::each(pair, options.lenient)) {
        let before: Vec<Query> = if readers.len() > 1 && options.lenient {
            readers.iter().map(|reader| reader.query.clone()).collect()
        } else {
            Vec::new()
        };
        match readers.iter_mut().map(|reader| reader.read(name, value)).collect::<Result<Vec<_>, _>>() {
            Ok(effective) => {
                applied.extend(effective.into_iter().flatten().next().map(|effective| (name.to_owned(), effective)));
            }
            Err(refusal) if options.lenient && refusal.is_ignorable() => {
                readers.iter_mut().zip(before).for_each(|(reader, query)| reader.query = query);
                warnings.push(refusal.warning());
            }
            Err(refusal) => errors.push(refusal.error()),
        }
    }
    let settle =
        |reader: &mut Reader<'_>| control::check(&reader.query).and_then(|()| contained::settle(&mut reader.query));
    errors.extend(readers.iter_mut().find_map(|reader| settle(reader).err()).map(Refusal::error));
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok((readers.into_iter().map(|reader| reader.query).collect(), applied, warnings))
}

/// Reads pair after pair into a query.
struct Reader<'a> {
    searched: Searched<'a>,
    query: Query,
    /// Result parameters that may come once and have come.
    seen: Vec<String>,
    /// Conditions so far.
    spent: Cell<usize>,
    /// Different `_include` and `_revinclude` so far.
    includes: usize,
}

impl<'a> Reader<'a> {
    fn new(resource_type: &str, searched: Searched<'a>) -> Self {
        let options = searched.options;
        let query = Query::of(resource_type, options.default_count.min(options.max_count));
        Reader { searched, query, seen: Vec::new(), spent: Cell::new(0), includes: 0 }
    }

    /// Gives the value that took effect; None for what links set themselves, and for what does not concern the type.
    fn read(&mut self, name: &str, value: &str) -> Result<Option<String>, Refusal> {
        let effective = self.effective(name, value)?;
        if let Some(effective) = &effective {
            self.query.applied.push((name.to_owned(), effective.clone()));
        }
        Ok(effective)
    }

    fn effective(&mut self, name: &str, value: &str) -> Result<Option<String>, Refusal> {
        let is = |parameter: &str| name.strip_prefix(parameter).is_some_and(|it| it.is_empty() || it.starts_with(':'));
        if is("_include") || is("_revinclude") {
            let mut includes = include::read(name, value, &self.query.resource_type, self.searched.types)?;
            if includes.is_empty() {
                return Ok(None);
            }
            includes.retain(|include| !self.query.includes.contains(include));
            self.includes += usize::from(!includes.is_empty());
            if self.includes > MAX_INCLUDES {
                return Err(Refusal::too_costly(format!("more than {MAX_INCLUDES} _include and _revinclude")));
            }
            self.query.includes.append(&mut includes);
        } else if name == "_sort" {
            sort::add(value, &self.query.resource_type, &mut self.query.sort)?;
        } else if control::is_control(name) {
            self.once(name)?;
            return control::read(name, value, &mut self.query, self.searched);
        } else {
            let place = Place::new(&self.query.resource_type, self.searched.options, &self.spent);
            let filter = condition::filter(place, name, value)?;
            self.query.filters.push(filter);
        }
        Ok(Some(value.to_owned()))
    }

    fn once(&mut self, name: &str) -> Result<(), Refusal> {
        if self.seen.iter().any(|it| it == name) {
            return Err(Refusal::invalid(format!("{name} is given more than once; give it once")));
        }
        self.seen.push(name.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
