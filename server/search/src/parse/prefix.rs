//! Comparison prefixes before dates, numbers and quantities. <https://hl7.org/fhir/R4/search.html#prefix>

use super::refusal::Refusal;
use crate::query::{ParamKind, Prefix};

/// The prefix (`eq` where none is written) and the rest.
pub(super) fn split<'a>(name: &str, value: &'a str) -> Result<(Prefix, &'a str), Refusal> {
    let letters = value.bytes().take_while(u8::is_ascii_alphabetic).count();
    let prefix = match &value[..letters] {
        "" | "eq" => Prefix::Eq,
        "ne" => Prefix::Ne,
        "gt" => Prefix::Gt,
        "lt" => Prefix::Lt,
        "ge" => Prefix::Ge,
        "le" => Prefix::Le,
        "sa" => Prefix::Sa,
        "eb" => Prefix::Eb,
        "ap" => Prefix::Ap,
        other => {
            return Err(Refusal::invalid(format!(
                "{name}: {other:?} in {value:?} is not a prefix; they are eq, ne, gt, lt, ge, le, sa, eb, ap"
            )));
        }
    };
    Ok((prefix, &value[letters..]))
}

/// The prefixes that values of a kind understand.
pub(super) fn of(kind: ParamKind) -> &'static [&'static str] {
    match kind {
        ParamKind::Number | ParamKind::Date | ParamKind::Quantity => {
            &["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
        }
        _ => &[],
    }
}
