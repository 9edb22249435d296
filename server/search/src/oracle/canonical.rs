//! What canonical URLs lead to, read from the resources. <https://hl7.org/fhir/R4/references.html#canonical>

use fhir::json::Json;

use super::{Sight, World, type_of};
use crate::canonical;
use crate::entry::NO_CHRONOLOGY;
use crate::query::Param;
use crate::registry::registry;

impl World<'_> {
    /// The canonical URLs that a resource states by a parameter.
    pub(super) fn stated(&self, index: usize, param: &Param) -> Vec<String> {
        let registry = registry();
        let parameter = registry.find(type_of(&self.rows[index]), &param.code);
        let Some(parameter) = parameter.filter(|_| param.leads.by_canonical()) else { return Vec::new() };
        let elements = parameter.select_plainly(self.rows[index].resource).unwrap_or_default();
        elements.iter().filter_map(|element| Some(element.json.as_str()?.to_owned())).collect()
    }
}

impl Sight<'_, '_> {
    /// What of a type a canonical URL means: of that version, or the newest that is visible.
    pub(super) fn meant(&self, url: &str, resource_type: &str) -> Vec<usize> {
        if canonical::names(resource_type).is_none() {
            return Vec::new();
        }
        let world = self.world;
        let text = |index: usize, name: &str| world.rows[index].resource.str(name).unwrap_or_default().to_owned();
        let visible = world.of_type(resource_type).iter().copied().filter(|index| self.sees(*index));
        if url.contains('|') {
            let has_version =
                |index: &usize| world.rows[*index].resource.get("version").is_some_and(|it| *it != Json::Null);
            let name = |index: usize| format!("{}|{}", text(index, "url"), text(index, "version"));
            return visible.filter(has_version).filter(|index| name(*index) == url).collect();
        }
        let age = |index: &usize| (world.chronology(*index).unwrap_or(NO_CHRONOLOGY), world.rows[*index].rid);
        visible.filter(|index| !url.is_empty() && text(*index, "url") == url).max_by_key(age).into_iter().collect()
    }

    /// What a resource leads to by the canonical URLs of a parameter; of one type, or of any.
    pub(super) fn behind_canonicals(&self, index: usize, param: &Param, only: Option<&str>) -> Vec<usize> {
        let urls = self.world.stated(index, param);
        let of_type = |name: &str| urls.iter().flat_map(|url| self.meant(url, name)).collect::<Vec<_>>();
        match only {
            _ if urls.is_empty() => Vec::new(),
            Some(only) => of_type(only),
            None => canonical::types().flat_map(of_type).collect(),
        }
    }
}
