//! Search parameters as they come in a URL or form, read into a [`Query`]. <https://hl7.org/fhir/R4/search.html>
//!
//! Every pair takes effect or is refused by name (design invariant 3): with 400 and the nearest valid names, or, on
//! `Prefer: handling=lenient`, with a warning. Leniency leaves out what is unknown or not supported; a value that
//! cannot be read and a request beyond the limits are refused in any case.

use std::sync::Arc;

use fhir::outcome::Issue;

use crate::query::{Filter, Include, Query};
use crate::registry::{Parameter, registry};

use refusal::Refusal;

mod control;
mod date;
mod escape;
mod include;
mod modifier;
mod number;
mod prefix;
mod quantity;
mod reference;
mod refusal;
mod scope;
mod sort;
mod string;
mod token;
mod uri;

pub use scope::filters_from_pairs;

/// Most parameters of one search. (IN-17)
pub const MAX_PARAMETERS: usize = 100;
/// Most alternatives of one parameter, also after a bare id has become one reference for each target type. (IN-17)
pub const MAX_ALTERNATIVES: usize = 1000;
/// Most `_include` and `_revinclude` together. (IN-17)
pub const MAX_INCLUDES: usize = 20;
/// Most `_sort` keys. (IN-17)
pub const MAX_SORTS: usize = 5;

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

/// A query, and what leniency left out of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// What is asked.
    pub query: Query,
    /// One warning for each parameter that was ignored; empty unless lenient.
    pub warnings: Vec<Issue>,
}

/// Reads the pairs of a search on `resource_type`, names and values already percent-decoded.
///
/// [`Query::applied`] gets every pair that took effect, but `_cursor`, which links set themselves.
pub fn parse(resource_type: &str, pairs: &[(String, String)], options: &Options) -> Result<Parsed, Vec<Issue>> {
    let mut reader = Reader {
        options,
        query: Query::of(resource_type, options.default_count.min(options.max_count)),
        seen: Vec::new(),
    };
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    if pairs.len() > MAX_PARAMETERS {
        let refusal = Refusal::too_costly(format!("{} parameters; at most {MAX_PARAMETERS} are allowed", pairs.len()));
        return Err(vec![refusal.error()]);
    }
    for (name, value) in pairs {
        match reader.read(name, value) {
            Ok(()) => {}
            Err(refusal) if options.lenient && refusal.is_ignorable() => warnings.push(refusal.warning()),
            Err(refusal) => errors.push(refusal.error()),
        }
    }
    if errors.is_empty() { Ok(Parsed { query: reader.query, warnings }) } else { Err(errors) }
}

/// Reads pair after pair into a query.
struct Reader<'a> {
    options: &'a Options,
    query: Query,
    /// Result parameters that may come once and have come.
    seen: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let mut applied = value.to_owned();
        if name == "_include" || name.starts_with("_include:") {
            let include = include::forward(name, value, &self.query.resource_type)?;
            self.include(include)?;
        } else if name == "_revinclude" || name.starts_with("_revinclude:") {
            let include = include::reverse(name, value, &self.query.resource_type)?;
            self.include(include)?;
        } else if name == "_sort" {
            self.once(name)?;
            self.query.sort = sort::keys(value, &self.query.resource_type)?;
        } else if control::is_control(name) {
            self.once(name)?;
            match control::read(name, value, &mut self.query, self.options)? {
                Some(effective) => applied = effective,
                None => return Ok(()),
            }
        } else {
            let filter = filter(&self.query.resource_type, name, value, self.options)?;
            self.query.filters.push(filter);
        }
        self.query.applied.push((name.to_owned(), applied));
        Ok(())
    }

    fn once(&mut self, name: &str) -> Result<(), Refusal> {
        if self.seen.iter().any(|it| it == name) {
            return Err(Refusal::invalid(format!("{name} is given more than once; give it once")));
        }
        self.seen.push(name.to_owned());
        Ok(())
    }

    fn include(&mut self, include: Include) -> Result<(), Refusal> {
        if self.query.includes.len() >= MAX_INCLUDES {
            return Err(Refusal::too_costly(format!("more than {MAX_INCLUDES} _include and _revinclude")));
        }
        if !self.query.includes.contains(&include) {
            self.query.includes.push(include);
        }
        Ok(())
    }
}

/// One condition of a search.
fn filter(resource_type: &str, name: &str, value: &str, options: &Options) -> Result<Filter, Refusal> {
    if let Some(refusal) = control::not_supported(name) {
        return Err(refusal);
    }
    let (code, modifier) = match name.split_once(':') {
        Some((code, modifier)) => (code, Some(modifier)),
        None => (name, None),
    };
    let chained = modifier.is_some_and(|it| it.contains('.')) || code.contains('.');
    if chained {
        return Err(Refusal::not_supported(format!("chained parameters such as {name} are not supported yet")));
    }
    match code {
        "_id" => {
            modifier::none(code, modifier)?;
            token::ids(value)
        }
        "_lastUpdated" => {
            modifier::none(code, modifier)?;
            Ok(Filter::LastUpdated(date::matches(code, value, options.now)?))
        }
        _ => {
            let parameter = find(resource_type, code)?;
            modifier::filter(&parameter, modifier, value, options)
        }
    }
}

/// The parameter of that name, or a refusal with the nearest names.
fn find(resource_type: &str, code: &str) -> Result<Arc<Parameter>, Refusal> {
    let registry = registry();
    registry.find(resource_type, code).cloned().ok_or_else(|| {
        let known = registry.parameters(resource_type).filter(|it| it.param().is_some()).map(|it| it.code.as_str());
        let nearest = refusal::nearest(code, known.chain(control::NAMES.iter().copied()));
        Refusal::unknown(format!("{resource_type} has no search parameter {code:?}; the nearest are {nearest}"))
    })
}

#[cfg(test)]
mod tests;
