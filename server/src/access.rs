//! Who may do what: the view and the rights that follow from a token. (Invariant 2; SM-22, SM-24, SM-31, LK-01)
//!
//! | scopes of the token | whose data |
//! |---|---|
//! | any `patient/` | the patient of the launch, as long as the person may see that patient |
//! | `user/`, the person is a Patient | that patient |
//! | `user/`, the person is a Practitioner | patients in their care, see [`patients_of`] |
//! | `user/`, the person is a `RelatedPerson` | the patients whom they care for, see [`patients_of`] |
//! | `system/` | everyone; if the operator named a patient, that patient |
//! | none of these | nobody |
//!
//! A token that mixes levels is confined to the narrowest of them: a `user/` scope beside a `patient/` scope reaches
//! the patient of the launch only. The letters of a scope are decided by [`decide`]; which resources of a type a
//! granular scope speaks of stands in the view, for reading, and in [`check_write`], for writing.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhir::json::Json;
use search::entry::Extracted;
use search::filter;
use search::query::{Filter, Query};
use search::view::{Compartment, TypeRule, View};
use smart::grant::{FhirUser, Terms};
use smart::scope::{Level, ResourceScope, ResourceTypes, Right, Rights, ScopeSet};

use crate::app::App;
use crate::caller::Caller;
use crate::config::Restricted;
use crate::error::Error;
use crate::rest::projected;

mod care;

/// The parameter of labels.
const LABEL: &str = "_security";

/// Restricted and very restricted. <https://terminology.hl7.org/CodeSystem-v3-Confidentiality.html>
const RESTRICTED: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality|R,\
                          http://terminology.hl7.org/CodeSystem/v3-Confidentiality|V";

pub use care::patients_of;

/// What can be done over REST. <https://hl7.org/fhir/R4/http.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interaction {
    /// GET of the current version.
    Read,
    /// GET of one version.
    Vread,
    /// History of one resource.
    History,
    /// Search of a type.
    Search,
    /// History of a type or of the system.
    TypeHistory,
    /// POST, also as part of a conditional create.
    Create,
    /// PUT, also where it creates.
    Update,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

impl Interaction {
    /// The letter of `cruds` that allows it (SM-22).
    pub fn right(self) -> Right {
        match self {
            Interaction::Read | Interaction::Vread | Interaction::History => Right::Read,
            Interaction::Search | Interaction::TypeHistory => Right::Search,
            Interaction::Create => Right::Create,
            Interaction::Update | Interaction::Patch => Right::Update,
            Interaction::Delete => Right::Delete,
        }
    }
}

/// Whether the caller may do that with resources of a type at all; which of them is up to the view.
pub fn decide(caller: &Caller, interaction: Interaction, resource_type: &str) -> Result<(), Error> {
    let right = interaction.right();
    if allows(&caller.scopes, right, resource_type) {
        let reads = matches!(interaction, Interaction::Read | Interaction::Search);
        return if reads { Ok(()) } else { projected::refuse_change(resource_type) };
    }
    let text = format!(
        "the access token has no scope for this: {resource_type}.{} is needed, granted is \"{}\"",
        right.letter(),
        caller.scopes
    );
    let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", caller.wanting(right, resource_type));
    Err(Error::forbidden(text).with_header("WWW-Authenticate", challenge))
}

/// Whether any scope gives a right on a type.
pub fn allows(scopes: &ScopeSet, right: Right, resource_type: &str) -> bool {
    scopes.resources().any(|scope| scope.rights.contains(right) && speaks_of(scope, resource_type))
}

/// Whether a scope is about a type. All types are those that people write down: of what the server itself tells, below
/// `system/`, nobody is shown anything that was not asked for, and consented to, by name.
fn speaks_of(scope: &ResourceScope, resource_type: &str) -> bool {
    let by_name = scope.types != ResourceTypes::All || scope.level == Level::System;
    scope.types.contains(resource_type) && (by_name || projected::of(resource_type).is_none())
}

/// Whether the caller may ask that at all. `_revinclude` is a search of the type that points here: where the token
/// can read that type but not search it, it is refused; of a type that it cannot see at all, nothing is there to find.
/// So are conditions on other resources: chains, `_has` and `_list`. `_revinclude=*` stands for the types that the token
/// may search.
pub fn decide_search(caller: &Caller, query: &mut Query) -> Result<(), Error> {
    decide(caller, Interaction::Search, &query.resource_type)?;
    projected::refuse_among_others(&query.resource_type)?;
    query.includes.retain(|include| {
        let name = &include.source_type;
        let is_searched = || projected::of(name).is_none() && decide(caller, Interaction::Search, name).is_ok();
        !include.wildcard || !include.reverse || is_searched()
    });
    decide_conditions(caller, query)
}

/// Whether the caller may ask for other resources as a search does, whatever type is searched.
pub fn decide_conditions(caller: &Caller, query: &Query) -> Result<(), Error> {
    for include in query.includes.iter().filter(|include| !include.wildcard) {
        projected::refuse_among_others(include.target_type.as_deref().unwrap_or(&include.source_type))?;
        projected::refuse_among_others(&include.source_type)?;
    }
    query.filters.iter().try_for_each(refuse_projected)?;
    let sources = query.includes.iter().filter(|include| include.reverse).map(|include| &include.source_type);
    let looked_into = query.filters.iter().flat_map(Filter::types_looked_into);
    let mut visible =
        sources.map(String::as_str).chain(looked_into).filter(|it| *caller.view.rule(it) != TypeRule::Denied);
    visible.try_for_each(|it| decide(caller, Interaction::Search, it))
}

/// Refuses what asks by name for types that are not among all others.
fn refuse_projected(filter: &Filter) -> Result<(), Error> {
    let chain = |it: &Filter| match it {
        Filter::Chain { target_type, .. } => Some(projected::of(target_type).is_some()),
        _ => None,
    };
    match filter {
        Filter::All(filters) => filters.iter().try_for_each(refuse_projected),
        Filter::Not(inner) => refuse_projected(inner),
        // A reference to anything: such types are one of many that it may lead to, and nothing of them is there.
        Filter::Or(filters) => {
            let leads_elsewhere = filters.iter().any(|it| chain(it) == Some(false));
            let mut asked = filters.iter().filter(|it| !leads_elsewhere || chain(it) != Some(true));
            asked.try_for_each(refuse_projected)
        }
        Filter::Chain { target_type, filters, .. } => {
            projected::refuse_among_others(target_type)?;
            filters.iter().try_for_each(refuse_projected)
        }
        Filter::Has { source_type, filters, .. } => {
            projected::refuse_among_others(source_type)?;
            filters.iter().try_for_each(refuse_projected)
        }
        other => other.types_looked_into().into_iter().try_for_each(projected::refuse_among_others),
    }
}

/// The types that the caller may search and see anything of.
pub fn searchable(caller: &Caller) -> impl Iterator<Item = &'static str> {
    let is_searchable = |it: &&'static str| {
        decide(caller, Interaction::Search, it).is_ok() && *caller.view.rule(it) != TypeRule::Denied
    };
    fhir::definitions::resource_types().iter().map(String::as_str).filter(is_searchable)
}

/// Whether a resource, before or after a write, is among those that the caller may write (LK-28, LK-29). Where only
/// some patients' data may be written, all patients of the resource must be among them, and it must have one: what is
/// shared by all is not theirs to change.
pub fn check_write(caller: &Caller, resource: &Json, extracted: &Extracted) -> Result<(), Error> {
    let refused = || Error::forbidden("the access token does not allow to write this resource");
    if let Compartment::Patients(allowed) = caller.view.compartment() {
        let own = |patient: &String| allowed.binary_search(patient).is_ok();
        if extracted.patients.is_empty() || !extracted.patients.iter().all(own) {
            return Err(refused());
        }
    }
    let resource_type = resource.str("resourceType").unwrap_or_default();
    if decides_care(caller, resource_type) {
        return Err(refused());
    }
    let writing = [Right::Create, Right::Update, Right::Delete];
    let holds = match rule(&caller.scopes, &writing, resource_type, (&caller.base, caller.withholds)) {
        TypeRule::Denied => false,
        TypeRule::Whole => true,
        TypeRule::Granular(alternatives) => alternatives
            .iter()
            .any(|filters| filters.iter().all(|condition| filter::matches(condition, resource, &caller.base))),
    };
    if holds { Ok(()) } else { Err(refused()) }
}

/// Whether records of the type say whom the caller may see: nobody widens or prolongs their own rights. A `Person`
/// record says which records are one human's, which is the hospital's to say; a `RelatedPerson` record who cares for
/// whom, which the patient may say, but not the one who cares.
fn decides_care(caller: &Caller, resource_type: &str) -> bool {
    let is_confined = *caller.view.compartment() != Compartment::Everyone;
    let is_carer = caller.fhir_user.as_deref().is_some_and(|user| user.starts_with("RelatedPerson/"));
    is_confined && (resource_type == "Person" || (resource_type == "RelatedPerson" && is_carer))
}

/// The view of a token's terms, as things stand now: who is in whose care is looked up at each use.
pub async fn view(app: &App, terms: &Terms) -> Result<View, Error> {
    let compartment = compartment(app, terms).await?;
    let base = app.config.fhir_base();
    let scopes = terms.scopes();
    let reads_all = |scope: &ResourceScope| {
        scope.types == ResourceTypes::All
            && scope.constraint.is_empty()
            && scope.rights.intersect(Rights::READ) == Some(Rights::READ)
    };
    if compartment == Compartment::Everyone && scopes.resources().any(reads_all) {
        return Ok(View::system());
    }
    let withholds = withholds(app, scopes);
    let types = app.rules.get_with(rules_key(scopes), || {
        let read_rule =
            |name: &str| (name.to_owned(), rule(scopes, &[Right::Read, Right::Search], name, (&base, withholds)));
        Arc::new(named_types(scopes).into_iter().map(read_rule).collect())
    });
    Ok(View::listed(compartment, types))
}

/// Whether resources that are labelled restricted are withheld from who has these scopes: from persons and their apps,
/// where the operator wants it. (LK-45)
pub fn withholds(app: &App, scopes: &ScopeSet) -> bool {
    app.config.restricted == Restricted::Withheld && (scopes.has_level(Level::Patient) || scopes.has_level(Level::User))
}

/// What a page of this server shows to who may do there what `scopes` say: all of the types that they name, but for what
/// is labelled restricted where that is withheld.
pub fn of_page(app: &App, scopes: &ScopeSet, compartment: Compartment) -> View {
    let base = app.config.fhir_base();
    let whole = |name: &str| match app.config.restricted {
        Restricted::Shown => TypeRule::Whole,
        // Nothing where it cannot be told.
        Restricted::Withheld => {
            not_labelled(name, &base).map_or(TypeRule::Denied, |filter| TypeRule::Granular(vec![vec![filter]]))
        }
    };
    let rules: BTreeMap<_, _> = named_types(scopes).into_iter().map(|name| (name.to_owned(), whole(name))).collect();
    View::listed(compartment, rules)
}

/// The filter of what is not labelled restricted or very restricted.
fn not_labelled(resource_type: &str, base: &str) -> Option<Filter> {
    let pair = (LABEL.to_owned(), RESTRICTED.to_owned());
    let mut filters = search::parse::filters_from_pairs(resource_type, &[pair], base).ok()?;
    match filters.pop()? {
        Filter::Any { param, matches, .. } => Some(Filter::Any { param, matches, negated: true }),
        _ => None,
    }
}

/// Conditions of scopes are made of search parameters, which the database may change.
fn rules_key(scopes: &ScopeSet) -> String {
    format!("{} {scopes}", search::registry::registry().generation())
}

async fn compartment(app: &App, terms: &Terms) -> Result<Compartment, Error> {
    let scopes = terms.scopes();
    let context = terms.context().patient.clone();
    let fhir_user = terms.person().map(|person| person.fhir_user.as_ref());
    if scopes.has_level(Level::Patient) {
        let Some(patient) = context else { return Ok(Compartment::Patients(Vec::new())) };
        let may_see = match fhir_user {
            None => true, // the operator named the patient
            Some(None) => false,
            Some(Some(FhirUser::Patient(own))) => *own == patient,
            Some(Some(user)) => patients_of(app, user).await?.contains(&patient),
        };
        return Ok(Compartment::Patients(if may_see { vec![patient] } else { Vec::new() }));
    }
    if scopes.has_level(Level::User) {
        let patients = match fhir_user {
            Some(Some(user)) => patients_of(app, user).await?,
            _ => Vec::new(),
        };
        return Ok(Compartment::Patients(patients));
    }
    match (scopes.has_level(Level::System), terms.person(), context) {
        (true, None, None) => Ok(Compartment::Everyone),
        (true, None, Some(patient)) => Ok(Compartment::Patients(vec![patient])),
        _ => Ok(Compartment::Patients(Vec::new())), // SM-31: no rule, nothing
    }
}

/// The types that any scope speaks of.
fn named_types(scopes: &ScopeSet) -> Vec<&str> {
    if scopes.resources().any(|scope| scope.types == ResourceTypes::All) {
        return fhir::definitions::resource_types().iter().map(String::as_str).collect();
    }
    let mut types: Vec<&str> = scopes.resources().map(|scope| scope.types.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    types
}

/// Which resources of a type are spoken of by the scopes that give any of these rights. Where the rights differ in
/// their conditions, the conditions of each must hold: narrower than the letters, never wider.
fn rule(scopes: &ScopeSet, rights: &[Right], resource_type: &str, at: (&str, bool)) -> TypeRule {
    let mut met: Option<TypeRule> = None;
    for right in rights {
        let one = rule_of_right(scopes, *right, resource_type, at);
        met = match (met, one) {
            (met, TypeRule::Denied) => met,
            (None | Some(TypeRule::Denied), one) => Some(one),
            (Some(met), one) if met == one => Some(met),
            (Some(TypeRule::Whole), other) | (Some(other), TypeRule::Whole) => Some(other),
            (Some(TypeRule::Granular(mine)), TypeRule::Granular(theirs)) => {
                Some(TypeRule::Granular(both(&mine, &theirs)))
            }
        };
    }
    met.unwrap_or(TypeRule::Denied)
}

fn rule_of_right(scopes: &ScopeSet, right: Right, resource_type: &str, (base, withholds): (&str, bool)) -> TypeRule {
    // What the server itself tells has no labels.
    let withholds = withholds && projected::of(resource_type).is_none();
    let mut alternatives = Vec::new();
    for scope in scopes.resources().filter(|scope| scope.rights.contains(right) && speaks_of(scope, resource_type)) {
        let pairs = scope.constraint.pairs();
        if pairs.is_empty() && !withholds {
            return TypeRule::Whole;
        }
        // SM-25: what cannot be honoured gives nothing
        // A scope without conditions has none to honour, which is not what the parser of conditions takes.
        let honoured = if pairs.is_empty() {
            Ok(Vec::new())
        } else {
            search::parse::filters_from_pairs(resource_type, &pairs, base)
        };
        let Ok(mut filters) = honoured else { continue };
        // LK-45: a label is seen by whom it was granted by name
        if withholds && !pairs.iter().any(|(name, _)| name == LABEL) {
            let Some(not_labelled) = not_labelled(resource_type, base) else { continue };
            filters.push(not_labelled);
        }
        alternatives.push(filters);
    }
    if alternatives.is_empty() { TypeRule::Denied } else { TypeRule::Granular(alternatives) }
}

fn both(mine: &[Vec<Filter>], theirs: &[Vec<Filter>]) -> Vec<Vec<Filter>> {
    let pairs = mine.iter().flat_map(|one| theirs.iter().map(move |other| (one, other)));
    pairs.map(|(one, other)| one.iter().chain(other).cloned().collect()).collect()
}

/// Whether every condition of a granular scope can be honoured on every type that it speaks of (SM-25).
pub fn is_honoured(scope: &ResourceScope, base: &str) -> bool {
    let pairs = scope.constraint.pairs();
    match &scope.types {
        _ if pairs.is_empty() => true,
        ResourceTypes::All => false,
        ResourceTypes::Named(name) => search::parse::filters_from_pairs(name, &pairs, base).is_ok(),
    }
}

#[cfg(test)]
mod tests;
