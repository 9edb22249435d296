//! `_include` and `_revinclude`. <https://hl7.org/fhir/R4/search.html#include>
//!
//! `_include` and `_revinclude` are `Type:parameter`, `Type:parameter:Target`, `Type:*` or `*`; with `:iterate` they are
//! applied to what was included too.

use std::sync::Arc;

use fhir::definitions::{is_resource_type, resource_types};

use super::refusal::Refusal;
use super::{chain, find};
use crate::query::{Include, Param, ParamKind};
use crate::registry::{Parameter, registry};

/// The includes that `name=value` asks for in a search of `searched`; none if it concerns only another one of `types`.
pub(super) fn read(name: &str, value: &str, searched: &str, types: &[&str]) -> Result<Vec<Include>, Refusal> {
    let (direction, modifier) = name.split_once(':').map_or((name, None), |(name, modifier)| (name, Some(modifier)));
    let iterate = match modifier {
        None => false,
        Some("iterate") => true,
        Some("recurse") => {
            let text = format!("{name}: R4 calls it {direction}:iterate, :recurse is of STU3");
            return Err(Refusal::unknown(text).firm());
        }
        Some(other) => {
            return Err(Refusal::unknown(format!("{name}: there is no modifier {other:?}; iterate is one")).firm());
        }
    };
    let concerns = |it: &Parameter| iterate || types.iter().any(|name| chain::points_at(it, name));
    Ok(match (direction, value, iterate) {
        ("_include", "*", false) => forward(name, value, searched, types, iterate)?.into_iter().collect(),
        // It is the same for all types that are searched.
        (_, "*", _) if types.first().is_some_and(|first| *first != searched) => Vec::new(),
        (_, "*", _) => of_all_types(direction == "_revinclude", iterate, concerns),
        ("_include", ..) => forward(name, value, searched, types, iterate)?.into_iter().collect(),
        _ => reverse(name, value, searched, types, iterate)?.into_iter().collect(),
    })
}

/// An include of each type that has any of the references.
fn of_all_types(reverse: bool, iterate: bool, concerns: impl Fn(&Parameter) -> bool) -> Vec<Include> {
    let registry = registry();
    let of_type = |source: &String| {
        let references =
            registry.parameters(source).filter(|it| concerns(it)).filter_map(|it| chain::reference(it).ok());
        let params: Vec<Param> = references.collect();
        let include =
            Include { reverse, source_type: source.clone(), params, target_type: None, iterate, wildcard: true };
        Some(include).filter(|include| !include.params.is_empty())
    };
    resource_types().iter().filter_map(of_type).collect()
}

fn forward(name: &str, value: &str, searched: &str, types: &[&str], iterate: bool) -> Result<Option<Include>, Refusal> {
    let everything = format!("{searched}:*");
    if value == "*" && types.len() > 1 && Written::read(name, &everything).is_err() {
        // Of several types some may have no references, as long as another one has.
        let has_references = |it: &&str| Written::read(name, &format!("{it}:*")).is_ok();
        if types.iter().any(has_references) {
            return Ok(None);
        }
    }
    let written = Written::read(name, if value == "*" { &everything } else { value })?;
    if !iterate && !types.contains(&written.source) {
        return Err(Refusal::invalid(format!(
            "{name}={value} never applies: {} is searched; includes of what is included need _include:iterate",
            types.join(", ")
        )));
    }
    if let Some(target) = written.target
        && !written.parameters.iter().any(|it| chain::points_at(it, target))
    {
        return Err(written.cannot_point_at(name, target));
    }
    let applies = iterate || written.source == searched;
    Ok(applies.then(|| written.include(false, iterate, |_| true)))
}

fn reverse(name: &str, value: &str, searched: &str, types: &[&str], iterate: bool) -> Result<Option<Include>, Refusal> {
    let written = Written::read(name, value)?;
    let points_at = |target: &str| written.parameters.iter().any(|it| chain::points_at(it, target));
    if let Some(target) = written.target {
        if !points_at(target) {
            return Err(written.cannot_point_at(name, target));
        }
        if !iterate && !types.contains(&target) {
            let types = types.join(", ");
            return Err(Refusal::invalid(format!("{name}={value} never applies: {types} is searched")));
        }
    } else if !iterate && !types.iter().any(|it| points_at(it)) {
        return Err(written.cannot_point_at(name, searched));
    }
    let applies = iterate || (points_at(searched) && written.target.is_none_or(|it| it == searched));
    let concerns = |it: &Parameter| match written.target {
        Some(target) => chain::points_at(it, target),
        None => iterate || chain::points_at(it, searched),
    };
    Ok(applies.then(|| written.include(true, iterate, concerns)))
}

/// The parts of an include, checked one by one.
struct Written<'a> {
    source: &'a str,
    parameters: Vec<Arc<Parameter>>,
    target: Option<&'a str>,
}

impl<'a> Written<'a> {
    fn read(name: &str, value: &'a str) -> Result<Self, Refusal> {
        let parts: Vec<&str> = value.split(':').collect();
        let (source, code, target) = match parts.as_slice() {
            [source, code] => (*source, *code, None),
            [source, code, target] => (*source, *code, Some(*target)),
            _ => {
                return Err(Refusal::invalid(format!(
                    "{name}={value}: write Type:parameter, Type:parameter:Target, Type:* or *"
                )));
            }
        };
        for resource_type in [Some(source), target].into_iter().flatten() {
            if !is_resource_type(resource_type) {
                return Err(Refusal::invalid(format!("{name}={value}: {resource_type:?} is not a resource type")));
            }
        }
        if code == "*" {
            return Self::all(name, source, target);
        }
        let parameter = find(source, code)?;
        if !is_reference(&parameter) {
            return Err(Refusal::invalid(format!("{name}={value}: {code} of {source} is not a reference parameter")));
        }
        chain::reference(&parameter).map_err(|refusal| refusal.within(&format!("{name}={value}")))?;
        Ok(Written { source, parameters: vec![parameter], target })
    }

    fn all(name: &str, source: &'a str, target: Option<&'a str>) -> Result<Self, Refusal> {
        let registry = registry();
        let references = registry.parameters(source).filter(|it| chain::reference(it).is_ok());
        let wanted = references.filter(|it| target.is_none_or(|target| chain::points_at(it, target)));
        let parameters: Vec<Arc<Parameter>> = wanted.cloned().collect();
        if parameters.is_empty() {
            let towards = target.map(|it| format!(" to {it}")).unwrap_or_default();
            return Err(Refusal::invalid(format!("{name}={source}:*: {source} has no references{towards}")));
        }
        Ok(Written { source, parameters, target })
    }

    fn include(&self, reverse: bool, iterate: bool, concerns: impl Fn(&Parameter) -> bool) -> Include {
        let params: Vec<Param> = self.parameters.iter().filter(|it| concerns(it)).filter_map(|it| it.param()).collect();
        // Of the matches of a page all are of the type that is searched.
        let target_type = self.target.filter(|_| !reverse || iterate).map(str::to_owned);
        Include { reverse, source_type: self.source.to_owned(), params, target_type, iterate, wildcard: false }
    }

    fn cannot_point_at(&self, name: &str, target: &str) -> Refusal {
        let (source, code, targets) = match self.parameters.as_slice() {
            [one] => (self.source, one.code.as_str(), one.targets.join(", ")),
            _ => (self.source, "no parameter", "other types".to_owned()),
        };
        Refusal::invalid(format!("{name}: {code} of {source} cannot point at {target}, only at {targets}"))
    }
}

fn is_reference(parameter: &Parameter) -> bool {
    parameter.param().is_some_and(|it| it.kind == ParamKind::Reference)
}
