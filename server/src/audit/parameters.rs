//! Parameters of a search of the trail. <https://hl7.org/fhir/R4/auditevent.html#search>

use fhir::date::DateTime;
use fhir::outcome::{Issue, IssueCode};
use store::audit::{Filter, Kind, TrailQuery};

use super::render;
use crate::error::Error;

/// Parameters with the type that the CapabilityStatement tells, and what they understand.
pub const PARAMETERS: &[(&str, &str, &str)] = &[
    ("_id", "token", ""),
    ("_lastUpdated", "date", "prefixes eq, ne, gt, lt, ge, le, sa, eb"),
    ("action", "token", ""),
    ("address", "string", "the whole address"),
    ("agent", "reference", "a person, as Practitioner/id; modifier identifier: a client_id or the key of an account"),
    ("date", "date", "prefixes eq, ne, gt, lt, ge, le, sa, eb"),
    ("entity", "reference", "Type/id"),
    ("outcome", "token", ""),
    ("patient", "reference", ""),
    ("subtype", "token", ""),
    ("type", "token", ""),
];

/// Parameters that shape the answer.
const SHAPE: [&str; 6] = ["_count", "_sort", "_total", "_cursor", "_summary", "_elements"];

/// Most values of one parameter, and most parameters: each is a condition of one statement.
const MOST: usize = 100;

/// The latest instant that a date can name, microseconds since 1970.
const END: i64 = 253_402_300_799_999_999;

/// What pairs ask for, and a warning for each that is unknown and that leniency leaves out.
pub(super) fn read(
    pairs: &[(String, String)],
    base: &str,
    sizes: (usize, usize),
    lenient: bool,
) -> Result<(TrailQuery, Vec<Issue>), Error> {
    let mut warnings = Vec::new();
    let mut query = TrailQuery {
        filters: Vec::new(),
        applied: Vec::new(),
        oldest_first: false,
        count: sizes.0,
        cursor: None,
        total: false,
    };
    if pairs.len() > MOST {
        return Err(issue(IssueCode::TooCostly, format!("{} parameters; at most {MOST} are accepted", pairs.len())));
    }
    for (name, value) in pairs {
        let invalid = |wanted: &str| issue(IssueCode::Value, format!("{name}={value}: {wanted}"));
        match name.as_str() {
            "_count" => {
                let count = value.parse::<usize>().ok().ok_or_else(|| invalid("must be a number from 0"))?;
                query.count = count.min(sizes.1);
                query.total |= count == 0;
            }
            "_sort" => {
                query.oldest_first = match value.as_str() {
                    "date" | "_lastUpdated" => true,
                    "-date" | "-_lastUpdated" => false,
                    _ => return Err(invalid("the trail is sorted by -date (newest first) or date")),
                }
            }
            "_total" => match value.as_str() {
                "none" => {}
                "accurate" | "estimate" => query.total = true,
                _ => return Err(invalid("must be none, estimate or accurate")),
            },
            "_summary" if value == "count" => (query.count, query.total) = (0, true),
            "_summary" | "_elements" => {}
            "_cursor" => {
                query.cursor = Some(value.clone());
                continue;
            }
            // "Server SHALL reject … a modifier that the server does not support": a modifier is never left out.
            _ if lenient && !is_known(name.split(':').next().unwrap_or(name)) => {
                warnings.push(Issue::warning(IssueCode::NotSupported, format!("ignored: {}", unknown(name))));
                continue;
            }
            _ => query.filters.push(filter(name, value, base)?),
        }
        query.applied.push((name.clone(), value.clone()));
    }
    Ok((query, warnings))
}

fn is_known(name: &str) -> bool {
    PARAMETERS.iter().any(|(known, ..)| *known == name) || SHAPE.contains(&name)
}

fn unknown(name: &str) -> String {
    let known: Vec<&str> = PARAMETERS.iter().map(|(name, ..)| *name).chain(SHAPE).collect();
    format!("{name} is not supported on the audit trail; known: {}", known.join(", "))
}

fn filter(name: &str, value: &str, base: &str) -> Result<Filter, Error> {
    let invalid = |wanted: &str| issue(IssueCode::Value, format!("{name}={value}: {wanted}"));
    let values: Vec<String> = value.split(',').map(str::to_owned).collect();
    if values.len() > MOST {
        let text = format!("{name} has {} values; at most {MOST} are accepted", values.len());
        return Err(issue(IssueCode::TooCostly, text));
    }
    let codes = || values.iter().map(|value| value.rsplit('|').next().unwrap_or_default().to_owned());
    let references = |implied: &str| {
        let one = |value: &String| {
            let value = value.strip_prefix(base).map_or(value.as_str(), |rest| rest.trim_start_matches('/'));
            if value.contains('/') || implied.is_empty() { value.to_owned() } else { format!("{implied}/{value}") }
        };
        values.iter().map(one).collect::<Vec<_>>()
    };
    Ok(match name {
        "_id" => {
            let ids = values.iter().filter_map(|value| render::id_of(value));
            Filter::Ids(ids.collect())
        }
        "date" | "_lastUpdated" => date(value)
            .ok_or_else(|| invalid("must be a date or instant, perhaps after one of eq, ne, gt, lt, ge, le, sa, eb"))?,
        "patient" => {
            let of_patient = |it: String| it.strip_prefix("Patient/").map(str::to_owned);
            Filter::Patients(references("Patient").into_iter().filter_map(of_patient).collect())
        }
        "entity" => {
            let references = references("");
            let is_plain = |it: &String| {
                it.split_once('/')
                    .is_some_and(|(name, id)| fhir::definitions::is_resource_type(name) && fhir::id::is_valid(id))
            };
            if !references.iter().all(is_plain) {
                return Err(invalid("must be Type/id"));
            }
            Filter::Entity(references)
        }
        "agent" => Filter::User(references("")),
        "agent:identifier" => Filter::Agent(codes().collect()),
        "address" => Filter::Address(values),
        "action" => Filter::Action(codes().collect()),
        "subtype" => Filter::Subtype(codes().map(|code| render::subtype_of(&code).to_owned()).collect()),
        "type" => {
            let number = |code: String| Kind::ALL.iter().position(|kind| render::type_of(*kind).1 == code);
            Filter::Kind(codes().filter_map(number).map(|number| number as i64).collect())
        }
        "outcome" => Filter::Status(codes().filter_map(|code| render::statuses_of(&code)).collect()),
        _ => return Err(issue(IssueCode::NotSupported, unknown(name))),
    })
}

fn date(value: &str) -> Option<Filter> {
    let (prefix, rest) = match value.get(..2) {
        Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_lowercase()) => (prefix, &value[2..]),
        _ => ("eq", value),
    };
    let (low, high) = DateTime::parse(&rest.replace(' ', "+"))?.interval();
    Some(match prefix {
        "eq" => Filter::Between(low, high, true),
        "ne" => Filter::Between(low, high, false),
        "gt" | "sa" => Filter::Between(high + 1, END, true),
        "lt" | "eb" => Filter::Between(0, low - 1, true),
        "ge" => Filter::Between(low, END, true),
        "le" => Filter::Between(0, high, true),
        _ => return None,
    })
}

fn issue(code: IssueCode, text: String) -> Error {
    Error::bad_request(Issue::error(code, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> Result<TrailQuery, u16> {
        let pairs = [(name.to_owned(), value.to_owned())];
        read(&pairs, "http://s/fhir", (50, 1000), false)
            .map(|(query, _)| query)
            .map_err(|error| error.status().as_u16())
    }

    fn filter_of(name: &str, value: &str) -> Filter {
        of(name, value).expect("read").filters.remove(0)
    }

    #[test]
    fn parameters_become_conditions() {
        assert_eq!(filter_of("patient", "a,Patient/b,http://s/fhir/Patient/c"), {
            Filter::Patients(["a", "b", "c"].map(str::to_owned).to_vec())
        });
        assert_eq!(filter_of("date", "lt1970-01-01T00:00:01Z"), Filter::Between(0, 999_999, true));
        assert_eq!(filter_of("date", "ne1970-01-01"), Filter::Between(0, 86_399_999_999, false));
        assert_eq!(filter_of("outcome", "4,0"), Filter::Status(vec![(400, 499), (0, 399)]));
        assert_eq!(filter_of("type", "http://dicom.nema.org/resources/ontology/DCM|110114"), Filter::Kind(vec![1]));
        assert_eq!(filter_of("subtype", "110122"), Filter::Subtype(vec!["login".to_owned()]));
        assert_eq!(of("_sort", "date").map(|query| query.oldest_first), Ok(true));
        assert_eq!(of("_count", "0").map(|query| (query.count, query.total)), Ok((0, true)));
    }

    #[test]
    fn only_so_many_values_become_one_statement() {
        for name in ["entity", "agent", "patient", "_id"] {
            assert!(of(name, &["Patient/a"; 100].join(",")).is_ok(), "{name}");
            assert_eq!(of(name, &["Patient/a"; 101].join(",")).map(drop), Err(400), "{name}");
        }
        let many = vec![("entity".to_owned(), "Patient/a".to_owned()); 101];
        assert!(read(&many, "http://s/fhir", (50, 1000), false).is_err());
    }

    #[test]
    fn what_the_trail_does_not_know_is_refused() {
        for (name, value) in [
            ("site", "x"),
            ("entity", "x"),
            ("date", "ap2020"),
            ("date", "x"),
            ("_sort", "agent"),
            ("_count", "-1"),
            ("_total", "x"),
            ("_include", "AuditEvent:agent"),
            ("patient:missing", "true"),
        ] {
            assert_eq!(of(name, value).map(drop), Err(400), "{name}={value}");
        }
    }
}
