//! Functions on text. <http://hl7.org/fhirpath/N1/#string-manipulation>

use super::EvaluationError;
use super::calls::Invocation;
use super::evaluator::Evaluation;
use super::functions::Function as F;
use super::item::Item;
use super::operators::{bounded, single_text};
use super::value::Value;

/// Functions with one text or value as result.
pub(super) fn of_text<'a>(call: &Invocation<'a, '_, '_>) -> Result<Option<Value<'a>>, EvaluationError> {
    let Some(text) = single_text(call.input)? else { return Ok(None) };
    call.evaluator.charge(text.len() / 64)?;
    match call.call.function {
        F::Upper => return Ok(Some(Value::text(text.to_uppercase()))),
        F::Lower => return Ok(Some(Value::text(text.to_lowercase()))),
        F::Trim => return Ok(Some(Value::text(text.trim().to_owned()))),
        F::Length => return Ok(Some(Value::Integer(text.chars().count() as i64))),
        F::Substring => return substring(call, &text),
        F::Matches | F::MatchesFull | F::ReplaceMatches => return with_pattern(call, &text),
        _ => {}
    }
    let Some(part) = call.text_argument(0)? else { return Ok(None) };
    let index = |found: Option<usize>| Value::Integer(found.map_or(-1, |at| text[..at].chars().count() as i64));
    Ok(match call.call.function {
        F::IndexOf => Some(index(text.find(&*part))),
        F::LastIndexOf => Some(index(text.rfind(&*part))),
        F::StartsWith => Some(Value::Boolean(text.starts_with(&*part))),
        F::EndsWith => Some(Value::Boolean(text.ends_with(&*part))),
        F::Contains => Some(Value::Boolean(text.contains(&*part))),
        F::Replace => match call.text_argument(1)? {
            Some(replacement) => {
                check_growth(&text, &part, &replacement)?;
                let replaced = bounded(text.replace(&*part, &replacement))?;
                call.evaluator.meter.charge_text(replaced.len())?;
                Some(Value::text(replaced))
            }
            None => None,
        },
        _ => None,
    })
}

/// Functions with several texts as input or result.
pub(super) fn lists<'a>(call: &Invocation<'a, '_, '_>) -> Evaluation<'a> {
    if call.call.function == F::Join {
        let separator = call.text_argument(0)?.unwrap_or_default();
        let mut joined = String::new();
        for (index, item) in call.input.iter().enumerate() {
            if index > 0 {
                joined.push_str(&separator);
            }
            let part = single_text(std::slice::from_ref(item))?.unwrap_or_default();
            call.evaluator.charge(1 + (separator.len() + part.len()) / 64)?;
            joined.push_str(&part);
            joined = bounded(joined)?;
        }
        let nothing = call.input.is_empty();
        return Ok(if nothing { Vec::new() } else { vec![Item::of(Value::text(joined))] });
    }
    let Some(text) = single_text(call.input)? else { return Ok(Vec::new()) };
    call.evaluator.charge(text.len())?;
    let item = |part: &str| Item::of(Value::text(part.to_owned()));
    if call.call.function == F::ToChars {
        return Ok(text.chars().map(|character| item(character.encode_utf8(&mut [0; 4]))).collect());
    }
    Ok(match call.text_argument(0)? {
        None => Vec::new(),
        Some(separator) if separator.is_empty() => vec![item(&text)],
        Some(separator) => text.split(&*separator).map(item).collect(),
    })
}

fn substring<'a>(call: &Invocation<'a, '_, '_>, text: &str) -> Result<Option<Value<'a>>, EvaluationError> {
    let Some(start) = call.integer_argument(0)? else { return Ok(None) };
    let length = match call.argument_node(1) {
        None => None,
        Some(_) => Some(call.integer_argument(1)?.unwrap_or(i64::MAX)),
    };
    let Ok(start) = usize::try_from(start) else { return Ok(None) };
    if start >= text.chars().count() {
        return Ok(None);
    }
    let length = length.map_or(usize::MAX, |length| length.max(0) as usize);
    Ok(Some(Value::text(text.chars().skip(start).take(length).collect::<String>())))
}

fn with_pattern<'a>(call: &Invocation<'a, '_, '_>, text: &str) -> Result<Option<Value<'a>>, EvaluationError> {
    let made;
    let pattern = if let Some(pattern) = &call.call.pattern {
        &**pattern
    } else {
        let Some(text) = call.text_argument(0)? else { return Ok(None) };
        made = call.evaluator.pattern(&text, call.call.function == F::MatchesFull)?;
        &made
    };
    let meter = &call.evaluator.meter;
    if call.call.function != F::ReplaceMatches {
        return pattern.matches(text, meter).map(|matches| Some(Value::Boolean(matches)));
    }
    let Some(replacement) = call.text_argument(1)? else { return Ok(None) };
    check_growth(text, "", &replacement)?;
    pattern.replaced(text, &replacement, meter).map(|text| Some(Value::text(text)))
}

/// Refuses replacements that could make the text too long, before making it.
fn check_growth(text: &str, part: &str, replacement: &str) -> Result<(), EvaluationError> {
    let most = (text.len() / part.len().max(1) + 1).saturating_mul(replacement.len()).saturating_add(text.len());
    if most > 16 * super::operators::MAX_TEXT { Err(EvaluationError::TooCostly) } else { Ok(()) }
}
