//! The conditions of a search as conditions on the columns of the trail.
//!
//! What no column tells is asked of the events themselves, as the caller sees them; columns narrow which those are,
//! where they can. Of elements with few values an event of each value is asked instead, and the columns for those that
//! match: so modifiers mean here what they mean everywhere.

use std::sync::Arc;

use search::entry::Target;
use search::fold::fold;
use search::query::{Aspect, DateMatch, Filter as Asked, Match, Param, Prefix, StringMode};
use search::registry::registry;
use store::audit::{Check, Event, Filter, Kind};

use super::render::{self, SystemOf};
use super::serve::TYPE;

/// Most values of one condition, and of all, that become part of the statement.
const MOST: usize = 100;
const MOST_IN_ALL: usize = 500;

/// The earliest and the latest instant that a date can name, microseconds since 1970.
const BEGIN: i64 = 0;
const END: i64 = 253_402_300_799_999_999;

/// Parameters of elements that no event has, or every event the same.
const CONSTANT: [&str; 9] =
    ["_security", "_source", "_tag", "agent-name", "agent-role", "altid", "policy", "site", "source"];

/// What must hold by the columns, and what is asked of events besides.
pub(super) fn of(filters: &[Asked], base: &str, seen: Option<&[String]>) -> (Vec<Filter>, Option<Check>) {
    let mut reader = Reader { base, seen, spent: 0 };
    let (mut columns, mut rest) = (Vec::new(), Vec::new());
    for filter in filters {
        let told = reader.told(filter);
        columns.extend(told.filter.filter(|filter| *filter != Filter::All(Vec::new())));
        if !told.is_exact {
            rest.push(filter.clone());
        }
    }
    let check = (!rest.is_empty()).then(|| {
        let (base, seen) = (base.to_owned(), seen.map(<[String]>::to_vec));
        Arc::new(move |event: &Event| {
            let resource = render::render(event, &base, seen.as_deref());
            rest.iter().all(|filter| search::filter::matches(filter, &resource, &base))
        }) as Check
    });
    (columns, check)
}

/// What columns tell of a condition: all of it, or what holds of each event that satisfies it. No filter: nothing.
struct Told {
    filter: Option<Filter>,
    is_exact: bool,
}

const NOTHING: Told = Told { filter: None, is_exact: false };

fn exactly(filter: Filter) -> Told {
    Told { filter: Some(filter), is_exact: true }
}

struct Reader<'a> {
    base: &'a str,
    seen: Option<&'a [String]>,
    spent: usize,
}

impl Reader<'_> {
    fn told(&mut self, asked: &Asked) -> Told {
        match asked {
            Asked::Id(ids) if self.affords(ids.len()) => {
                exactly(Filter::Ids(ids.iter().filter_map(|id| render::id_of(id)).collect()))
            }
            Asked::LastUpdated(dates) => self.of_dates(dates.iter()),
            Asked::All(filters) => {
                let told: Vec<Told> = filters.iter().map(|filter| self.told(filter)).collect();
                let is_exact = told.iter().all(|it| it.is_exact);
                Told { filter: Some(Filter::All(told.into_iter().filter_map(|it| it.filter).collect())), is_exact }
            }
            Asked::Or(filters) => {
                let told: Vec<Told> = filters.iter().map(|filter| self.told(filter)).collect();
                let is_exact = told.iter().all(|it| it.is_exact);
                let filters: Option<Vec<Filter>> = told.into_iter().map(|it| it.filter).collect();
                Told { filter: filters.map(Filter::Or), is_exact }
            }
            Asked::Not(inner) => negated(self.told(inner)),
            Asked::Any { param, .. } | Asked::Missing { param, .. } if is_standard(param) => {
                self.of_parameter(asked, param)
            }
            _ => NOTHING,
        }
    }

    /// Whether so many values may become part of the statement.
    fn affords(&mut self, values: usize) -> bool {
        let is_little = values <= MOST && self.spent + values <= MOST_IN_ALL;
        self.spent += if is_little { values } else { 0 };
        is_little
    }

    fn of_parameter(&mut self, asked: &Asked, param: &Param) -> Told {
        if let Some(values) = values_of(&param.code) {
            let matching = values.into_iter().filter(|(_, event)| self.holds(asked, event));
            return exactly(Filter::Or(matching.map(|(filter, _)| filter).collect()));
        }
        match asked {
            // Of every event, the server that made it has an address and is an agent; each has a time.
            Asked::Missing { missing, .. } if matches!(param.code.as_str(), "address" | "agent" | "date") => {
                exactly(if *missing { Filter::Or(Vec::new()) } else { Filter::All(Vec::new()) })
            }
            Asked::Missing { missing, .. } if param.code == "subtype" => {
                let none = Filter::Subtype(vec![String::new()]);
                exactly(if *missing { none } else { none.negated() })
            }
            Asked::Any { matches, negated: false, .. } => self.of_values(param, matches),
            Asked::Any { matches, negated: true, .. } => negated(self.of_values(param, matches)),
            _ => NOTHING,
        }
    }

    fn of_values(&mut self, param: &Param, matches: &[Match]) -> Told {
        if !self.affords(matches.len()) {
            return NOTHING;
        }
        let of_one: fn(&Self, &Param, &Match) -> Option<Filter> = match (param.code.as_str(), param.aspect) {
            ("date", Aspect::Value) => |_, _, wanted| match wanted {
                Match::Date(date) => Some(of_date(date)),
                _ => None,
            },
            ("address", Aspect::Value) => Self::of_address,
            ("subtype", Aspect::Value) => Self::of_subtype,
            ("agent" | "entity" | "patient", Aspect::Value) => Self::of_reference,
            ("agent" | "entity", Aspect::Identifier) => Self::of_identifier,
            _ => return NOTHING,
        };
        let filters: Option<Vec<Filter>> = matches.iter().map(|wanted| of_one(self, param, wanted)).collect();
        let Some(filters) = filters else { return NOTHING };
        // Whoever sees some patients only looks through no more than what is about these.
        exactly(match patients_of(matches).filter(|_| self.seen.is_none()) {
            Some(patients) => Filter::All(vec![Filter::MayName(patients), one_of(filters)]),
            None => one_of(filters),
        })
    }

    fn of_dates<'d>(&mut self, dates: impl ExactSizeIterator<Item = &'d DateMatch>) -> Told {
        if self.affords(dates.len()) { exactly(Filter::Or(dates.map(of_date).collect())) } else { NOTHING }
    }

    /// The address of the server is in every event.
    fn of_address(&self, param: &Param, wanted: &Match) -> Option<Filter> {
        let Match::String { mode, text } = wanted else { return None };
        let asked = Asked::Any { param: param.clone(), matches: vec![wanted.clone()], negated: false };
        if self.holds(&asked, &Event::default()) {
            return Some(Filter::All(Vec::new()));
        }
        match mode {
            StringMode::Exact => Some(Filter::Address(vec![text.clone()])),
            // What text is before it is folded has no meaning for addresses.
            StringMode::StartsWith => Some(Filter::AddressPart(fold(text), false)),
            StringMode::Contains => Some(Filter::AddressPart(fold(text), true)),
            _ => None,
        }
    }

    fn of_subtype(&self, _param: &Param, wanted: &Match) -> Option<Filter> {
        let Match::Token { system, code } = wanted else { return None };
        let named = code.as_deref().map_or_else(
            || Filter::Subtype(vec![String::new()]).negated(),
            |code| Filter::Subtype(vec![code.to_owned()]),
        );
        let is_asked = |of: &str| system.as_deref().is_none_or(|system| system == of);
        let mut alternatives = Vec::new();
        let mut renamed = vec![];
        for (ours, theirs) in render::renamed() {
            renamed.push(ours.to_owned());
            if is_asked(render::DCM) && code.as_deref().is_none_or(|code| code == theirs) {
                alternatives.push(Filter::Subtype(vec![ours.to_owned()]));
            }
        }
        for of in [SystemOf::Interactions, SystemOf::Own] {
            if !is_asked(&of.url(self.base)) {
                continue;
            }
            let is_interaction = Filter::All(vec![
                Filter::Kind(vec![number(Kind::Rest)]),
                Filter::Subtype(vec![render::DELIVERY.to_owned()]).negated(),
            ]);
            let is_of = if of == SystemOf::Interactions { is_interaction } else { is_interaction.negated() };
            alternatives.push(Filter::All(vec![named.clone(), Filter::Subtype(renamed.clone()).negated(), is_of]));
        }
        Some(Filter::Or(alternatives))
    }

    /// Whom or what an event names: the person, its patients, what was touched.
    fn of_reference(&self, param: &Param, wanted: &Match) -> Option<Filter> {
        let Match::Reference(Target::Local { resource_type, id }) = wanted else { return None };
        let is_patient = resource_type == "Patient" && param.code != "agent";
        if is_patient && self.seen.is_some_and(|seen| seen == std::slice::from_ref(id)) {
            // Who sees one patient only sees nothing else.
            return Some(Filter::All(Vec::new()));
        }
        let name = vec![format!("{resource_type}/{id}")];
        let mut alternatives = Vec::new();
        if param.code != "entity" {
            alternatives.push(Filter::Record(name.clone()));
        }
        if param.code != "agent" {
            alternatives.push(Filter::Entity(name));
        }
        if is_patient {
            alternatives.push(Filter::Patients(vec![id.clone()]));
        }
        Some(Filter::Or(alternatives))
    }

    /// Identifiers have no system here.
    fn of_identifier(&self, param: &Param, wanted: &Match) -> Option<Filter> {
        let Match::Token { system, code } = wanted else { return None };
        let Some(code) = code.as_deref().filter(|_| system.as_deref().is_none_or(str::is_empty)) else {
            return Some(Filter::Or(Vec::new()));
        };
        let code = || vec![code.to_owned()];
        Some(match param.code.as_str() {
            "entity" => Filter::Request(code()),
            _ if code()[0] == self.base => Filter::All(Vec::new()),
            _ => Filter::Or(vec![Filter::Client(code()), Filter::Account(code())]),
        })
    }

    fn holds(&self, asked: &Asked, event: &Event) -> bool {
        search::filter::matches(asked, &render::render(event, self.base, None), self.base)
    }
}

/// The patients that are asked for, if nothing else is.
fn patients_of(matches: &[Match]) -> Option<Vec<String>> {
    let patient = |wanted: &Match| match wanted {
        Match::Reference(Target::Local { resource_type, id }) if resource_type == "Patient" => Some(id.clone()),
        _ => None,
    };
    matches.iter().map(patient).collect()
}

/// That one holds; what always holds needs no other.
fn one_of(filters: Vec<Filter>) -> Filter {
    let always = Filter::All(Vec::new());
    if filters.contains(&always) { always } else { Filter::Or(filters) }
}

fn negated(told: Told) -> Told {
    match told.filter {
        Some(filter) if told.is_exact => exactly(filter.negated()),
        _ => NOTHING,
    }
}

/// Whether it is HL7's: what a database defines may have any expression.
fn is_standard(param: &Param) -> bool {
    registry().find(TYPE, &param.code).is_some_and(|known| !known.is_custom)
}

fn number(kind: Kind) -> i64 {
    Kind::ALL.iter().position(|it| *it == kind).unwrap_or(0) as i64
}

/// All values that a parameter may have, each as the condition for it and an event that has it; together they are all
/// events. None where there are too many to list.
fn values_of(code: &str) -> Option<Vec<(Filter, Event)>> {
    let event = Event { action: 'E', ..Event::default() };
    Some(match code {
        "type" => {
            let of = |kind: Kind| (Filter::Kind(vec![number(kind)]), Event { kind, ..event.clone() });
            Kind::ALL.into_iter().map(of).collect()
        }
        "action" => {
            let of = |action: char| (Filter::Action(vec![action.to_string()]), Event { action, ..event.clone() });
            "CRUDE".chars().map(of).collect()
        }
        "outcome" => {
            let of = |(low, high): (u16, u16)| {
                (Filter::Status(vec![(low.into(), high.into())]), Event { status: low, ..event.clone() })
            };
            render::OUTCOMES.map(|(low, high, _)| of((low, high))).to_vec()
        }
        _ if CONSTANT.contains(&code) => vec![(Filter::All(Vec::new()), event)],
        _ => return None,
    })
}

/// An instant is no longer than a microsecond.
fn of_date(date: &DateMatch) -> Filter {
    let DateMatch { prefix, low, high } = *date;
    match prefix {
        Prefix::Eq | Prefix::Ap => Filter::Between(low, high),
        Prefix::Ne => Filter::Between(low, high).negated(),
        Prefix::Gt | Prefix::Sa => Filter::Between(high.saturating_add(1), END),
        Prefix::Lt | Prefix::Eb => Filter::Between(BEGIN, low.saturating_sub(1)),
        Prefix::Ge => Filter::Between(low, END),
        Prefix::Le => Filter::Between(BEGIN, high),
    }
}
