//! From filters to conditions: texts become numbers, links are followed. <https://hl7.org/fhir/R4/search.html>

use std::sync::Arc;

use futures::future::BoxFuture;
use search::entry::Target;
use search::query::{Direction, Filter, Match, Param, UnitMatch};
use search::view::View;

use super::any::{Alternative, Any, Cases, table_of, tokens_where};
use super::condition::Condition;
use super::links::{self, Link};
use super::plan::Plan;
use super::{canonical, contained, exact, hierarchy};
use crate::error::StoreError;
use crate::keys;
use crate::session::Session;
use crate::view::target;

/// Up to this many tokens of a code are listed in the statement, more are left to a subquery.
pub(crate) const LISTED_TOKENS: u64 = 50;

/// In so many systems a code is looked for whose case does not count, and in no more. (IN-17)
const MOST_SYSTEMS: usize = 10_000;

/// Up to so many Patients are looked up by their ids: for more, the look-ups would cost more than they save.
const FEW_PATIENTS: usize = 4;

/// What a filter is asked of.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// What may be passed through; none where filters may not lead to other resources: in the rules of a view.
    pub(crate) view: Option<&'a View>,
    pub(crate) resource_type: &'a str,
    /// The search by all other conditions, among whose matches is looked where no index helps.
    pub(crate) narrowed: Option<&'a Plan>,
}

/// Whether it is decided by looking at resources themselves, at least in part.
pub(crate) fn looks_at_resources(filter: &Filter) -> bool {
    match filter {
        Filter::Exact(_) | Filter::Near { .. } | Filter::Words { .. } => true,
        Filter::Chain { .. } | Filter::Has { .. } => false, // what is inside is of another type
        other => other.children().iter().any(looks_at_resources),
    }
}

/// A filter as a condition.
pub(crate) async fn resolve<S: Session>(
    session: &mut S,
    scope: Scope<'_>,
    filter: &Filter,
) -> Result<Condition, StoreError> {
    if let Some(spread) = spread(filter) {
        return Ok(resolve_all(session, scope, &[spread]).await?.remove(0));
    }
    let type_id = session.known().types.id(scope.resource_type);
    Ok(match filter {
        Filter::Id(ids) => {
            let patients = patients_of_ids(session, scope.resource_type, ids).await?;
            Condition::Id { type_id, ids: ids.clone(), patients }
        }
        Filter::LastUpdated(dates) => Condition::LastUpdated { type_id, dates: dates.clone() },
        Filter::Missing { param, missing } => Condition::Missing {
            code: param.code.clone(),
            table: table_of(param.kind),
            param: param.id.0,
            stated: param.id.without_value().0,
            missing: *missing,
        },
        Filter::Any { param, matches, negated } => any(session, scope, param, matches, *negated).await?,
        Filter::Composite { param, alternatives } => composite(session, scope, param, alternatives).await?,
        Filter::Chain { param, target_type, filters } => {
            let link = Link { param, other_type: target_type, filters };
            let view = passed_through(scope)?;
            let mut ways = Vec::new();
            if param.leads.by_reference() {
                ways.push(links::chain(session, view, link).await?);
            }
            if param.leads.by_canonical() {
                ways.push(canonical::chain(session, view, link).await?);
            }
            ways.extend(contained::inward(session, view, link).await?);
            one_of(ways)
        }
        Filter::Has { source_type, param, filters } => {
            let link = Link { param, other_type: source_type, filters };
            let (view, mut ways) = (passed_through(scope)?, Vec::new());
            if param.leads.by_reference() {
                ways.push(links::has(session, view, link, type_id).await?);
            }
            if param.leads.by_canonical() {
                ways.push(canonical::has(session, view, link, scope.resource_type).await?);
            }
            one_of(ways)
        }
        Filter::All(filters) => Condition::All(resolve_all(session, scope, filters).await?),
        Filter::Or(filters) => one_of(resolve_all(session, scope, filters).await?),
        Filter::Not(inner) => {
            let mut inner = resolve_all(session, scope, std::slice::from_ref(inner)).await?;
            Condition::Not(Box::new(inner.remove(0)))
        }
        Filter::Exact(_) | Filter::Near { .. } | Filter::Words { .. } => {
            let Some(plan) = scope.narrowed else {
                return Err(StoreError::Unsupported("no index helps with this condition here".into()));
            };
            exact::resolve(session, plan, scope.resource_type, filter).await?
        }
    })
}

fn one_of(mut any: Vec<Condition>) -> Condition {
    any.retain(|condition| !matches!(condition, Condition::Nothing));
    match any.len() {
        0 => Condition::Nothing,
        1 => any.remove(0),
        _ => Condition::Or(any),
    }
}

/// The numbers of these Patients, if they are few and somebody refers to each: as a rule, whose data they are.
async fn patients_of_ids<S: Session>(
    session: &mut S,
    resource_type: &str,
    ids: &[String],
) -> Result<Option<Vec<i64>>, StoreError> {
    if resource_type != "Patient" || ids.len() > FEW_PATIENTS {
        return Ok(None);
    }
    let mut targets = Vec::new();
    for id in ids {
        let Some(target) = target(session, resource_type, id).await? else { return Ok(None) };
        targets.push(target);
    }
    Ok(Some(targets))
}

/// A filter on a parameter without rows of its own, as filters on those that have its rows.
fn spread(filter: &Filter) -> Option<Filter> {
    let (Filter::Missing { param, .. } | Filter::Any { param, .. } | Filter::Composite { param, .. }) = filter else {
        return None;
    };
    if param.members.is_empty() {
        return None;
    }
    let of_member = |own: Param| {
        let mut filter = filter.clone();
        if let Filter::Missing { param, .. } | Filter::Any { param, .. } | Filter::Composite { param, .. } = &mut filter
        {
            *param = own;
        }
        filter
    };
    let members = param.held_as().into_iter().map(of_member).collect();
    let is_absence = matches!(filter, Filter::Missing { missing: true, .. } | Filter::Any { negated: true, .. });
    Some(if is_absence { Filter::All(members) } else { Filter::Or(members) })
}

/// Several; boxed, because filters hold filters.
pub(super) fn resolve_all<'a, S: Session>(
    session: &'a mut S,
    scope: Scope<'a>,
    filters: &'a [Filter],
) -> BoxFuture<'a, Result<Vec<Condition>, StoreError>> {
    Box::pin(async move {
        let mut conditions = Vec::new();
        for filter in filters {
            conditions.push(resolve(session, scope, filter).await?);
        }
        Ok(conditions)
    })
}

fn passed_through(scope: Scope<'_>) -> Result<&View, StoreError> {
    scope
        .view
        .ok_or_else(|| StoreError::Unsupported("a rule about what is visible cannot lead to other resources".into()))
}

async fn any<S: Session>(
    session: &mut S,
    scope: Scope<'_>,
    param: &Param,
    matches: &[Match],
    negated: bool,
) -> Result<Condition, StoreError> {
    let alternatives = alternatives(session, scope, matches).await?;
    let is_patient = |wanted: &Match| matches!(wanted, Match::Reference(Target::Local { resource_type, .. }) if resource_type == "Patient");
    let patients = Some(&alternatives).filter(|_| param.compartment && !negated && matches.iter().all(is_patient));
    let target =
        |alternative: &Alternative| if let Alternative::Target(target) = alternative { Some(*target) } else { None };
    let patients = patients.map(|targets| targets.iter().filter_map(target).collect());
    if alternatives.is_empty() && !negated {
        return Ok(Condition::Nothing);
    }
    Ok(Condition::Any(Any { patients, ..Any::of(param, alternatives, negated) }))
}

async fn composite<S: Session>(
    session: &mut S,
    scope: Scope<'_>,
    param: &Param,
    wanted: &[Vec<Match>],
) -> Result<Condition, StoreError> {
    let mut elements = Vec::new();
    for components in wanted {
        let mut values = Vec::new();
        for (position, component) in components.iter().enumerate() {
            if !is_held(position, component) {
                return Err(StoreError::Unsupported(format!(
                    "the index of \"{}\" does not hold component {} in this form",
                    param.code,
                    position + 1
                )));
            }
            values.push(alternatives(session, scope, std::slice::from_ref(component)).await?);
        }
        if values.iter().all(|values| !values.is_empty()) {
            elements.push(Alternative::Composite(values));
        }
    }
    if elements.is_empty() {
        return Ok(Condition::Nothing);
    }
    Ok(Condition::Any(Any::of(param, elements, false)))
}

/// Whether a composite's row has a column for such a value of the component.
fn is_held(position: usize, wanted: &Match) -> bool {
    match wanted {
        Match::Token { .. }
        | Match::AnyCase { .. }
        | Match::Reference(_)
        | Match::Hierarchy { .. }
        | Match::Terminology(_) => position < 2,
        Match::Number(_) => position > 0,
        Match::Other(inner) => is_held(position, inner),
        _ => position == 1,
    }
}

async fn alternatives<S: Session>(
    session: &mut S,
    scope: Scope<'_>,
    matches: &[Match],
) -> Result<Vec<Alternative>, StoreError> {
    let mut out = Vec::new();
    let mut codes = Vec::new();
    for wanted in matches {
        match wanted {
            Match::Token { system: None, code: Some(code) } => codes.push(keys::hash(code)),
            Match::Other(inner) => {
                let mut inner = Box::pin(one(session, scope, inner)).await?;
                inner.dedup();
                out.push(Alternative::Other(inner));
            }
            other => out.append(&mut one(session, scope, other).await?),
        }
    }
    out.append(&mut tokens_of_codes(session, codes).await?);
    Ok(out)
}

/// Tokens with these codes in any system.
async fn tokens_of_codes<S: Session>(session: &mut S, mut codes: Vec<i64>) -> Result<Vec<Alternative>, StoreError> {
    codes.sort_unstable();
    codes.dedup();
    if codes.is_empty() {
        return Ok(Vec::new());
    }
    let most = LISTED_TOKENS * codes.len() as u64;
    let tokens = match codes[..] {
        [code] => tokens_of_code(session, code).await?,
        _ => first_tokens(session, &codes, most).await?,
    };
    if tokens.len() as u64 == most {
        return Ok(codes.into_iter().map(Alternative::TokenOfCode).collect());
    }
    Ok(tokens.iter().copied().map(Alternative::Token).collect())
}

/// Of one code: most searches ask for one, and it is the same for as long as nothing is committed.
async fn tokens_of_code<S: Session>(session: &mut S, code: i64) -> Result<Arc<[i64]>, StoreError> {
    let as_of = session.as_of();
    if let Some(tokens) = as_of.and_then(|now| session.known().codes.get(&code, now)) {
        return Ok(tokens);
    }
    let tokens = match session.asks() {
        Some((asks, lines)) => asks.codes.ask(&lines, code).await?,
        None => first_tokens(session, &[code], LISTED_TOKENS).await?,
    };
    if let Some(before) = as_of {
        session.known().codes.put(code, before, tokens.clone());
    }
    Ok(tokens)
}

async fn first_tokens<S: Session>(session: &mut S, codes: &[i64], most: u64) -> Result<Arc<[i64]>, StoreError> {
    session.numbers(tokens_where("code_hash", codes).limit(most)).await.map(Arc::from)
}

/// Tokens with this code in that system, or in any, whatever the case of their letters.
async fn tokens_in_any_case<S: Session>(
    session: &mut S,
    system: Option<&str>,
    code: &str,
) -> Result<Vec<Alternative>, StoreError> {
    let cases = Cases::of(code);
    let Some(system) = system else {
        let tokens = session.numbers(cases.tokens(&["token"]).limit(LISTED_TOKENS)).await?;
        if tokens.len() as u64 == LISTED_TOKENS {
            return Ok(vec![Alternative::TokenInAnyCase(cases)]);
        }
        return Ok(tokens.into_iter().map(Alternative::Token).collect());
    };
    let rows = session.rows(cases.tokens(&["token", "system"]).limit(MOST_SYSTEMS as u64)).await?;
    if rows.len() == MOST_SYSTEMS {
        return Err(StoreError::TooCostly(format!("more than {MOST_SYSTEMS} systems have the code {code:?}")));
    }
    let system = system.to_lowercase();
    let mut found = Vec::new();
    for row in rows {
        if row.text(1)?.to_lowercase() == system {
            found.push(Alternative::Token(row.i64(0)?));
        }
    }
    Ok(found)
}

async fn one<S: Session>(session: &mut S, scope: Scope<'_>, wanted: &Match) -> Result<Vec<Alternative>, StoreError> {
    Ok(match wanted {
        Match::Token { system: Some(system), code: Some(code) } => vec![Alternative::Token(keys::token(system, code))],
        Match::Token { system: None, code: Some(code) } => tokens_of_codes(session, vec![keys::hash(code)]).await?,
        Match::Token { system, code: None } => {
            vec![Alternative::TokenOfSystem(keys::hash(system.as_deref().unwrap_or_default()))]
        }
        Match::AnyCase { system, code } => tokens_in_any_case(session, system.as_deref(), code).await?,
        Match::Reference(Target::Local { resource_type, id }) => {
            target(session, resource_type, id).await?.map(Alternative::Target).into_iter().collect()
        }
        Match::Reference(Target::Url(text)) => vec![Alternative::Target(keys::url(text))],
        Match::String { mode, text } => vec![Alternative::Text { mode: *mode, text: text.clone() }],
        Match::Date(date) => vec![Alternative::Date(*date)],
        Match::Period { low, high } => vec![Alternative::Period { low: *low, high: *high }],
        Match::Number(number) => vec![Alternative::Number(number.clone())],
        Match::Quantity { unit: Some(UnitMatch::OfSystem(_)), .. } => {
            return Err(StoreError::Unsupported("no index has the systems of units without their codes".into()));
        }
        Match::Quantity { number, unit } => {
            vec![Alternative::Quantity { number: number.clone(), unit: unit.clone() }]
        }
        Match::Uri(text) => vec![Alternative::Uri(text.clone())],
        Match::UriHierarchy { uri, direction } => uris(uri, *direction),
        Match::Hierarchy { target, parent, direction } => {
            let view = passed_through(scope)?;
            hierarchy::expand(session, view, target, parent, *direction).await?
        }
        Match::Other(_) => {
            return Err(StoreError::Unsupported("the negation of a negation is the thing itself: ask for it".into()));
        }
        Match::Imprecise(_) => {
            return Err(StoreError::Unsupported("no index has the precision in which a number is written".into()));
        }
        Match::MediaType(_) => {
            return Err(StoreError::Unsupported("no index has media types without their parameters".into()));
        }
        Match::Terminology(_) => {
            return Err(StoreError::Unsupported(
                "this value set or code system was not turned into a list of codes".into(),
            ));
        }
    })
}

/// The URI and those above or below it. URNs have no path. <https://hl7.org/fhir/R4/search.html#uri>
fn uris(uri: &str, direction: Direction) -> Vec<Alternative> {
    let mut found = vec![Alternative::Uri(uri.to_owned())];
    if uri.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn:")) {
        return found;
    }
    match direction {
        Direction::Below => {
            let begin = if uri.ends_with('/') { uri.to_owned() } else { format!("{uri}/") };
            found.push(Alternative::UriBelow(begin));
        }
        Direction::Above => {
            for (at, _) in uri.match_indices('/') {
                for end in [at, at + 1] {
                    let above = Alternative::Uri(uri[..end].to_owned());
                    if !found.contains(&above) {
                        found.push(above);
                    }
                }
            }
        }
    }
    found
}
