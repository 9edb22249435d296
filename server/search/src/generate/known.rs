//! What occurs in the resources that will be searched.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhir::json::Json;

use super::random::SplitMix64;
use crate::contained;
use crate::filter::select::select;
use crate::filter::values::Value;
use crate::query::{Aspect, Param, ParamKind};
use crate::registry::{Parameter, registry};

/// Most values of one parameter that are kept.
const MOST: usize = 500;

/// Most words of one type that are kept.
const WORDS: usize = 50;

/// Place of a resource among those of its type: conditions that are all made to hold of it find at least that one.
pub(super) type Witness = Option<usize>;

/// Every type that occurs.
pub(super) struct Types<'a> {
    pub(super) base: &'a str,
    pub(super) list: Vec<Searched>,
    /// What occurs in contained resources.
    pub(super) contained: Vec<Searched>,
    /// Ids of List resources.
    pub(super) lists: Vec<String>,
    /// Patients, and other resources that compartments are of.
    pub(super) owners: Vec<(String, String)>,
}

/// A type that occurs in the data.
pub(super) struct Searched {
    pub(super) name: String,
    pub(super) parameters: Vec<Known>,
    pub(super) ids: Vec<String>,
    /// Texts that stand in narratives and elsewhere.
    pub(super) words: Vec<String>,
    /// Latitude and longitude as written.
    pub(super) positions: Vec<(String, String)>,
}

/// A parameter with the values that occur.
pub(super) struct Known {
    pub(super) parameter: Arc<Parameter>,
    pub(super) kind: ParamKind,
    /// Values of each aspect, and which of the resources has them.
    aspects: Vec<(Param, Vec<(usize, Value)>)>,
}

impl<'a> Types<'a> {
    pub(super) fn of(resources: &[&Json], base: &'a str) -> Self {
        let (mut found, mut inside): (BTreeMap<&str, Searched>, BTreeMap<&str, Searched>) = Default::default();
        let mut types = Types { base, list: Vec::new(), contained: Vec::new(), lists: Vec::new(), owners: Vec::new() };
        for resource in resources {
            let (Some(name), Some(id)) = (resource.str("resourceType"), resource.str("id")) else { continue };
            match name {
                "List" => types.lists.push(id.to_owned()),
                "Patient" | "Encounter" | "Practitioner" | "Device" | "RelatedPerson" => {
                    types.owners.push((name.to_owned(), id.to_owned()));
                }
                _ => {}
            }
            found.entry(name).or_insert_with(|| Searched::new(name)).look_at(resource, id, base);
            for (_, (name, contained)) in contained::of(resource) {
                let id = contained.str("id").unwrap_or("none");
                inside.entry(name).or_insert_with(|| Searched::new(name)).look_at(contained, id, base);
            }
        }
        types.list = found.into_values().collect();
        types.contained = inside.into_values().collect();
        types
    }

    pub(super) fn find(&self, name: &str) -> Option<&Searched> {
        self.list.iter().find(|it| it.name == name)
    }

    /// Types that occur among those that a reference may point at.
    pub(super) fn targets(&self, known: &Known) -> Vec<&Searched> {
        known.parameter.targets.iter().filter_map(|name| self.find(name)).collect()
    }

    /// Every type that does not occur.
    pub(super) fn absent(&self) -> impl Iterator<Item = Searched> {
        let names = fhir::definitions::resource_types().iter().map(String::as_str);
        names.filter(|name| self.find(name).is_none()).map(Searched::new)
    }

    /// Types with a reference parameter that may point at this one.
    pub(super) fn sources(&self, target: &str) -> Vec<(&Searched, &Known)> {
        let references = self.list.iter().flat_map(|it| it.references().map(move |known| (it, known)));
        references.filter(|(_, known)| known.parameter.targets.iter().any(|it| it == target)).collect()
    }
}

impl Searched {
    fn new(name: &str) -> Self {
        let registry = registry();
        let plain = registry.parameters(name).filter(|it| !matches!(it.code.as_str(), "_id" | "_lastUpdated"));
        let known = plain.filter_map(Known::new);
        Searched {
            name: name.to_owned(),
            parameters: known.collect(),
            ids: Vec::new(),
            words: Vec::new(),
            positions: Vec::new(),
        }
    }

    fn look_at(&mut self, resource: &Json, id: &str, base: &str) {
        let place = self.ids.len();
        self.ids.push(id.to_owned());
        for (param, values) in self.parameters.iter_mut().flat_map(|it| &mut it.aspects) {
            if values.len() < MOST {
                values.extend(select(param, resource, base).unwrap_or_default().into_iter().map(|it| (place, it)));
            }
        }
        if self.words.len() < WORDS {
            let narrative = resource.at(&["text", "div"]).and_then(Json::as_str).unwrap_or_default();
            let words = narrative.split(|it: char| !it.is_alphanumeric()).filter(|it| it.len() > 3);
            self.words.extend(words.skip(8).step_by(7).take(5).map(str::to_owned));
        }
        let degrees = |name: &str| resource.at(&["position", name])?.as_number().map(str::to_owned);
        self.positions.extend(degrees("latitude").zip(degrees("longitude")));
    }

    pub(super) fn references(&self) -> impl Iterator<Item = &Known> {
        self.parameters.iter().filter(|it| it.kind == ParamKind::Reference)
    }

    /// One of its resources.
    pub(super) fn witness(&self, random: &mut SplitMix64) -> Witness {
        Some(random.below(self.ids.len())).filter(|_| !random.one_in(5))
    }

    /// The resource with this id.
    pub(super) fn place(&self, id: &str) -> Witness {
        self.ids.iter().position(|it| it == id)
    }

    /// Any parameter, most often one that has a value in the witness, or in another resource.
    pub(super) fn pick(&self, witness: Witness, random: &mut SplitMix64) -> Option<&Known> {
        let told: Vec<&Known> = self.parameters.iter().filter(|it| it.is_of(witness)).collect();
        if random.one_in(6) || told.is_empty() { random.pick(&self.parameters) } else { random.pick(&told).copied() }
    }
}

impl Known {
    fn new(parameter: &Arc<Parameter>) -> Option<Known> {
        let kind = parameter.param()?.kind;
        let all = [Aspect::Value, Aspect::Text, Aspect::OfType, Aspect::Identifier, Aspect::Canonical];
        let aspects = all.into_iter().filter_map(|aspect| Some((parameter.aspect(aspect)?, Vec::new())));
        Some(Known { parameter: Arc::clone(parameter), kind, aspects: aspects.collect() })
    }

    pub(super) fn code(&self) -> &str {
        &self.parameter.code
    }

    /// The values that occur; none where the parameter does not have the aspect.
    pub(super) fn values(&self, aspect: Aspect) -> impl Iterator<Item = &Value> {
        self.of(aspect).iter().map(|(_, value)| value)
    }

    /// A value, most often of the witness.
    pub(super) fn pick(&self, aspect: Aspect, witness: Witness, random: &mut SplitMix64) -> Option<&Value> {
        let all = self.of(aspect);
        let told: Vec<&Value> =
            all.iter().filter(|(place, _)| Some(*place) == witness).map(|(_, value)| value).collect();
        match random.pick(&told) {
            Some(value) if !random.one_in(6) => Some(value),
            _ => random.pick(all).map(|(_, value)| value),
        }
    }

    /// The resources that have this value.
    pub(super) fn places_of(&self, wanted: &Value) -> Vec<usize> {
        self.of(Aspect::Value).iter().filter(|(_, value)| value == wanted).map(|(place, _)| *place).collect()
    }

    /// Whether the witness has a value; without one, whether any resource has.
    fn is_of(&self, witness: Witness) -> bool {
        self.of(Aspect::Value).iter().any(|(place, _)| witness.is_none_or(|it| it == *place))
    }

    fn of(&self, aspect: Aspect) -> &[(usize, Value)] {
        self.aspects.iter().find(|(param, _)| param.aspect == aspect).map_or(&[], |(_, values)| values)
    }
}
