//! Functions on collections. <http://hl7.org/fhirpath/N1/#filtering-and-projection>

use std::cmp::Ordering;

use super::EvaluationError;
use super::calls::Invocation;
use super::distinct::Distinct;
use super::evaluator::{Evaluation, Scope};
use super::functions::Function as F;
use super::item::Item;
use super::operators::{single_value, singleton_boolean};
use super::tree::Node;
use super::value::Value;

pub(super) fn of_collection<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    let input = call.input;
    let boolean = |value: bool| Ok(vec![Item::of(Value::Boolean(value))]);
    match call.call.function {
        F::Empty => boolean(input.is_empty()),
        F::Exists => boolean(exists(call)?),
        F::All => boolean(!any(call, |condition| condition != Some(true))?),
        F::AllTrue => boolean(booleans(call)?.all(|value| value)),
        F::AnyTrue => boolean(booleans(call)?.any(|value| value)),
        F::AllFalse => boolean(booleans(call)?.all(|value| !value)),
        F::AnyFalse => boolean(booleans(call)?.any(|value| !value)),
        F::SubsetOf => boolean(is_subset(call, input, &call.argument(0)?)?),
        F::SupersetOf => boolean(is_subset(call, &call.argument(0)?, input)?),
        F::Count => Ok(vec![Item::of(Value::Integer(input.len() as i64))]),
        F::Distinct => distinct(call, input, &[]),
        F::IsDistinct => boolean(distinct(call, input, &[])?.len() == input.len()),
        F::Where => filtered(call),
        F::Select => select(call),
        F::Repeat => repeat(call),
        F::Single if input.len() > 1 => Err(call.invalid("wants a single item")),
        F::Single | F::First => Ok(input.first().cloned().into_iter().collect()),
        F::Last => Ok(input.last().cloned().into_iter().collect()),
        F::Tail => call.evaluator.copied(input.get(1..).unwrap_or_default()),
        F::Skip => {
            let count = call.integer_argument(0)?.unwrap_or(0).max(0) as usize;
            call.evaluator.copied(input.get(count..).unwrap_or_default())
        }
        F::Take => {
            let count = call.integer_argument(0)?.unwrap_or(0).max(0) as usize;
            call.evaluator.copied(&input[..count.min(input.len())])
        }
        F::Intersect => {
            let other = distinct_argument(call)?;
            let mut common = Distinct::new(&call.evaluator.meter);
            for item in input {
                if other.contains(item)? {
                    common.push(item.clone())?;
                }
            }
            Ok(common.into_items())
        }
        F::Exclude => {
            let other = distinct_argument(call)?;
            let mut rest = Vec::new();
            for item in input {
                if !other.contains(item)? {
                    rest.push(item.clone());
                }
            }
            Ok(rest)
        }
        F::Union => distinct(call, input, &call.argument(0)?),
        F::Combine => {
            let other = call.argument(0)?;
            call.evaluator.charge(input.len() + other.len())?;
            Ok(input.iter().cloned().chain(other).collect())
        }
        F::Sort => sorted(call),
        F::Aggregate => aggregate(call),
        F::Iif => iif(call),
        F::Trace => trace(call),
        F::Not => Ok(singleton_boolean(input)?.map(|value| Item::of(Value::Boolean(!value))).into_iter().collect()),
        _ => Err(call.unsupported()),
    }
}

fn exists(call: &Invocation<'_, '_, '_>) -> Result<bool, EvaluationError> {
    if call.call.arguments.is_empty() {
        return Ok(!call.input.is_empty());
    }
    any(call, |condition| condition == Some(true))
}

/// Whether the condition comes out for any item as `wanted` says.
fn any(call: &Invocation<'_, '_, '_>, wanted: fn(Option<bool>) -> bool) -> Result<bool, EvaluationError> {
    let Some(criteria) = call.argument_node(0) else { return Ok(false) };
    for (index, item) in call.input.iter().enumerate() {
        if wanted(singleton_boolean(&call.for_item(criteria, item, index)?)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn booleans(call: &Invocation<'_, '_, '_>) -> Result<impl Iterator<Item = bool> + use<>, EvaluationError> {
    call.evaluator.charge(call.input.len())?;
    let values: Option<Vec<bool>> = call.input.iter().map(Item::as_bool).collect();
    Ok(values.ok_or_else(|| call.invalid("wants booleans"))?.into_iter())
}

fn is_subset<'a>(
    call: &Invocation<'a, '_, '_>,
    part: &[Item<'a>],
    whole: &[Item<'a>],
) -> Result<bool, EvaluationError> {
    let whole = Distinct::of(&call.evaluator.meter, whole)?;
    for item in part {
        if !whole.contains(item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn distinct<'a>(call: &Invocation<'a, '_, '_>, first: &[Item<'a>], second: &[Item<'a>]) -> Evaluation<'a> {
    let mut out = Distinct::of(&call.evaluator.meter, first)?;
    for item in second {
        out.push(item.clone())?;
    }
    Ok(out.into_items())
}

fn distinct_argument<'a, 'e>(call: &Invocation<'a, 'e, '_>) -> Result<Distinct<'a, 'e>, EvaluationError> {
    Distinct::of(&call.evaluator.meter, &call.argument(0)?)
}

fn filtered<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    let mut out = Vec::new();
    let Some(criteria) = call.argument_node(0) else { return Ok(out) };
    for (index, item) in call.input.iter().enumerate() {
        if singleton_boolean(&call.for_item(criteria, item, index)?)? == Some(true) {
            out.push(item.clone());
        }
    }
    Ok(out)
}

fn select<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    let mut out = Vec::new();
    let Some(projection) = call.argument_node(0) else { return Ok(out) };
    for (index, item) in call.input.iter().enumerate() {
        let items = call.for_item(projection, item, index)?;
        call.evaluator.charge(items.len())?;
        out.extend(items);
    }
    Ok(out)
}

/// The input as it is. It, or what the projection makes of it, is told to whoever traces the evaluation.
fn trace<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    let name = call.text_argument(0)?.unwrap_or_default();
    let mut traced = Vec::new();
    match call.argument_node(1) {
        None => traced.extend_from_slice(call.input),
        Some(projection) => {
            for (index, item) in call.input.iter().enumerate() {
                traced.extend(call.for_item(projection, item, index)?);
            }
        }
    }
    call.evaluator.charge(traced.len())?;
    if let Some(trace) = call.evaluator.environment.trace {
        trace.tell(&name, &traced);
    }
    call.evaluator.copied(call.input)
}

/// Projects until nothing new comes.
fn repeat<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    let mut out = Distinct::new(&call.evaluator.meter);
    let Some(projection) = call.argument_node(0) else { return Ok(Vec::new()) };
    let mut pending = call.input.to_vec();
    while !pending.is_empty() {
        let mut found = Vec::new();
        for (index, item) in pending.iter().enumerate() {
            for new in call.for_item(projection, item, index)? {
                if out.push(new.clone())? {
                    found.push(new);
                }
            }
        }
        pending = found;
    }
    Ok(out.into_items())
}

fn aggregate<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    let mut total = call.argument(1)?;
    let Some(aggregator) = call.argument_node(0) else { return Ok(total) };
    for (index, item) in call.input.iter().enumerate() {
        call.evaluator.charge(1 + total.len())?;
        let scope = Scope { this: std::slice::from_ref(item), index: Some(index), total: Some(&total) };
        total = call.evaluator.node(aggregator, scope)?;
    }
    Ok(total)
}

fn iif<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    if call.input.len() > 1 {
        return Err(call.invalid("wants a single item"));
    }
    let scope = Scope { this: call.input, ..call.scope };
    let condition = call.argument_node(0).map_or(Ok(Vec::new()), |node| call.evaluator.node(node, scope))?;
    let condition = match condition.as_slice() {
        [item] if item.as_bool().is_none() => return Err(call.invalid("wants a boolean as condition")),
        items => singleton_boolean(items)?,
    };
    let chosen = call.argument_node(if condition == Some(true) { 1 } else { 2 });
    chosen.map_or(Ok(Vec::new()), |node| call.evaluator.node(node, scope))
}

/// Sorted by keys, each ascending unless it has a minus sign; items without a key come first either way.
fn sorted<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    let keys: Vec<(&'a Node, bool)> = call
        .call
        .arguments
        .iter()
        .map(|node| if let Node::Negate(inner) = node { (&**inner, true) } else { (node, false) })
        .collect();
    let mut rows = Vec::with_capacity(call.input.len());
    for (index, item) in call.input.iter().enumerate() {
        let mut values = Vec::with_capacity(keys.len().max(1));
        for (node, _) in &keys {
            values.push(single_value(&call.for_item(node, item, index)?)?);
        }
        if keys.is_empty() {
            values.push(item.value());
        }
        for value in values.iter().flatten() {
            call.evaluator.charge(value.size() / 4)?;
        }
        rows.push((values, item));
    }
    call.evaluator.charge(rows.len() * 16)?;
    rows.sort_by(|(left, _), (right, _)| {
        left.iter().zip(right).enumerate().fold(Ordering::Equal, |order, (at, (left, right))| {
            order.then_with(|| {
                let (Some(left), Some(right)) = (left, right) else {
                    return left.is_some().cmp(&right.is_some());
                };
                let by_key = left.order(right).ok().flatten().unwrap_or(Ordering::Equal);
                if keys.get(at).is_some_and(|(_, descending)| *descending) { by_key.reverse() } else { by_key }
            })
        })
    });
    Ok(rows.into_iter().map(|(_, item)| item.clone()).collect())
}
