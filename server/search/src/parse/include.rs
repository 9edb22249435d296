//! `_include` and `_revinclude`. <https://hl7.org/fhir/R4/search.html#include>

use std::sync::Arc;

use fhir::definitions::is_resource_type;

use super::find;
use super::refusal::Refusal;
use crate::query::{Include, Param, ParamKind};
use crate::registry::Parameter;

/// `_include=Type:parameter[:Target]` on a search of `searched`.
pub(super) fn forward(name: &str, value: &str, searched: &str) -> Result<Include, Refusal> {
    let written = Written::read(name, value)?;
    if written.source != searched {
        return Err(Refusal::invalid(format!(
            "{name}={value} never applies: {searched} is searched, and includes of includes are not supported yet"
        )));
    }
    if let Some(target) = written.target
        && !written.parameter.targets.iter().any(|it| it == target)
    {
        return Err(written.cannot_point_at(name, target));
    }
    Ok(written.include(false, written.target.map(str::to_owned)))
}

/// `_revinclude=Type:parameter[:Target]` on a search of `searched`.
pub(super) fn reverse(name: &str, value: &str, searched: &str) -> Result<Include, Refusal> {
    let written = Written::read(name, value)?;
    let pointed_at = written.target.unwrap_or(searched);
    if !written.parameter.targets.iter().any(|it| it == pointed_at) {
        return Err(written.cannot_point_at(name, pointed_at));
    }
    if pointed_at != searched {
        return Err(Refusal::invalid(format!("{name}={value} never applies: {searched} is searched")));
    }
    Ok(written.include(true, None))
}

/// The parts of an include, checked one by one.
struct Written<'a> {
    source: &'a str,
    parameter: Arc<Parameter>,
    param: Param,
    target: Option<&'a str>,
}

impl<'a> Written<'a> {
    fn read(name: &str, value: &'a str) -> Result<Self, Refusal> {
        if let Some((_, modifier)) = name.split_once(':') {
            return Err(match modifier {
                "iterate" | "recurse" => Refusal::not_supported(format!("{name} is not supported yet")),
                _ => Refusal::unknown(format!("{name}: there is no modifier {modifier:?}")),
            });
        }
        if value.contains('*') {
            return Err(Refusal::not_supported(format!("{name}={value}: wildcards are not supported yet")));
        }
        let parts: Vec<&str> = value.split(':').collect();
        let (source, code, target) = match parts.as_slice() {
            [source, code] => (*source, *code, None),
            [source, code, target] => (*source, *code, Some(*target)),
            _ => {
                return Err(Refusal::invalid(format!("{name}={value}: write Type:parameter or Type:parameter:Target")));
            }
        };
        for resource_type in [Some(source), target].into_iter().flatten() {
            if !is_resource_type(resource_type) {
                return Err(Refusal::invalid(format!("{name}={value}: {resource_type:?} is not a resource type")));
            }
        }
        let parameter = find(source, code)?;
        match parameter.param() {
            Some(param) if param.kind == ParamKind::Reference => Ok(Written { source, parameter, param, target }),
            _ => Err(Refusal::invalid(format!("{name}={value}: {code} of {source} is not a reference parameter"))),
        }
    }

    fn include(&self, reverse: bool, target_type: Option<String>) -> Include {
        Include {
            reverse,
            source_type: self.source.to_owned(),
            params: vec![self.param.clone()],
            target_type,
            iterate: false,
        }
    }

    fn cannot_point_at(&self, name: &str, target: &str) -> Refusal {
        let (source, code, targets) = (self.source, &self.param.code, self.parameter.targets.join(", "));
        Refusal::invalid(format!("{name}: {code} of {source} cannot point at {target}, only at {targets}"))
    }
}
