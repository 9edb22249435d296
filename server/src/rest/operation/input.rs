//! Parameters of an operation: of the URL, or of a Parameters resource. <https://hl7.org/fhir/R4/operations.html#request>
//!
//! The two are added together. Simple values may stand in the URL; what is a resource or a data type of several
//! elements needs the body. A body that is no Parameters resource is the operation's resource.

use fhir::date::DateTime;
use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::nearest::nearest;
use fhir::outcome::{Issue, IssueCode, Severity};

use super::{Operation, Parameter, Target, invalid};
use crate::error::Error;
use crate::rest::request::Pairs;

/// The types of parameters that are no text.
const COMPLEX: &[&str] = &["Resource", "Reference", "Coding", "Period", "Meta"];

/// What was given, checked against the table.
#[derive(Clone, Debug, Default)]
pub struct Input {
    values: Vec<(&'static str, Json)>,
    /// What is no parameter of the operation itself, but of the search that it makes.
    pub searched: Pairs,
}

impl Input {
    /// Reads and checks.
    pub(super) fn read(
        operation: &'static Operation,
        target: &Target,
        pairs: Pairs,
        body: Option<Json>,
    ) -> Result<Self, Error> {
        let mut given: Vec<(String, Json)> = Vec::new();
        match body {
            None => {}
            Some(body) if is_parameters(operation, target, &body) => {
                check(&body)?;
                let parameters = body.list("parameter").iter().enumerate();
                given = parameters.map(|(index, parameter)| value_of(index, parameter)).collect::<Result<_, _>>()?;
            }
            Some(body) => match operation.resource_parameter() {
                Some(parameter) => given.push((parameter.name.to_owned(), body)),
                None => return Err(invalid(IssueCode::Invalid, "the body must be a Parameters resource")),
            },
        }
        given.extend(pairs.into_iter().map(|(name, text)| (name, Json::from(text))));
        let mut input = Input::default();
        let mut issues = Vec::new();
        for (name, value) in given {
            let checked = match operation.parameter(&name) {
                Some(parameter) => input.take(parameter, value),
                None if operation.searches => searched(&name, &value).map(|text| input.searched.push((name, text))),
                None => Err(unknown(operation, &name)),
            };
            issues.extend(checked.err());
        }
        for parameter in operation.parameters.iter().filter(|parameter| parameter.required) {
            if issues.is_empty() && !input.values.iter().any(|(name, _)| *name == parameter.name) {
                let text = format!("parameter {} is missing: {}", parameter.name, parameter.what);
                issues.push(Issue::error(IssueCode::Required, text));
            }
        }
        if issues.is_empty() { Ok(input) } else { Err(Error::bad_request(issues)) }
    }

    fn take(&mut self, parameter: &'static Parameter, value: Json) -> Result<(), Issue> {
        let name = parameter.name;
        if !parameter.repeats && self.values.iter().any(|(known, _)| *known == name) {
            return Err(Issue::error(IssueCode::Invalid, format!("parameter {name} is given twice; give it once")));
        }
        let is_complex = COMPLEX.contains(&parameter.kind);
        let text = match &value {
            Json::String(text) | Json::Number(text) if !is_complex => text.to_string(),
            Json::Bool(value) if !is_complex => value.to_string(),
            Json::Object(_) if is_complex => {
                self.values.push((name, value));
                return Ok(());
            }
            _ => {
                let how = if is_complex { "; send it in a Parameters resource with POST" } else { "" };
                let text = format!("parameter {name} must be of the type {}{how}", parameter.kind);
                return Err(Issue::error(IssueCode::Value, text));
            }
        };
        if !is_valid(parameter.kind, &text) {
            let text = format!("parameter {name} must be of the type {}, not {text:?}", parameter.kind);
            return Err(Issue::error(IssueCode::Value, text));
        }
        self.values.push((name, text.into()));
        Ok(())
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Json> {
        self.values.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The value of a parameter.
    pub fn value(&self, name: &str) -> Option<&Json> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The value of a parameter that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name)?.as_str()
    }

    /// All values of a parameter that is text, each also taken apart at commas.
    pub fn listed<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).filter_map(Json::as_str).flat_map(|text| text.split(',')).filter(|text| !text.is_empty())
    }

    /// The value of a parameter that is a positive number.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.text(name)?.parse().ok()
    }

    /// The resource that is a parameter.
    pub fn resource(&self, name: &str) -> Result<&Json, Error> {
        self.value(name).ok_or_else(|| invalid(IssueCode::Required, format!("parameter {name} is missing")))
    }

    /// What was given as text, for links.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (String, String)> {
        self.values.iter().filter_map(|(name, value)| Some(((*name).to_owned(), value.as_str()?.to_owned())))
    }
}

/// Whether a body holds parameters: a Parameters resource does, unless it is what the operation is about.
fn is_parameters(operation: &Operation, target: &Target, body: &Json) -> bool {
    if body.str("resourceType") != Some("Parameters") {
        return false;
    }
    let Some(resource) = operation.resource_parameter() else { return true };
    let holds = |parameter: &Json| parameter.str("name") == Some(resource.name) && parameter.get("resource").is_some();
    let may_be_meant = target.resource_type.is_empty() || target.resource_type == "Parameters";
    !may_be_meant || body.list("parameter").iter().any(holds)
}

/// Refuses a Parameters resource that is not valid. The resources in it are what the operation is about: some look for
/// what is wrong with them.
fn check(parameters: &Json) -> Result<(), Error> {
    let mut checked = parameters.clone();
    if let Some(Json::Array(list)) = checked.as_object_mut().and_then(|object| object.get_mut("parameter")) {
        for parameter in list.iter_mut().filter_map(Json::as_object_mut) {
            if parameter.get("resource").is_some_and(|resource| resource.as_object().is_some()) {
                parameter.insert("resource", fhir::object! { "resourceType": "Parameters", "id": "it" });
            }
        }
    }
    let issues = validation::validate(&checked);
    if issues.iter().any(|issue| issue.severity >= Severity::Error) { Err(Error::bad_request(issues)) } else { Ok(()) }
}

/// Name and value of a parameter.
fn value_of(index: usize, parameter: &Json) -> Result<(String, Json), Error> {
    let wrong = |text: &str| {
        let issue = Issue::error(IssueCode::Structure, text.to_owned());
        Error::bad_request(issue.at(format!("Parameters.parameter[{index}]")))
    };
    let name = parameter.str("name").ok_or_else(|| wrong("every parameter has a name"))?;
    let members = parameter.as_object().ok_or_else(|| wrong("a parameter is an object"))?;
    let mut values = members.iter().filter(|(name, _)| name.starts_with("value") || *name == "resource");
    let value = values.next().map(|(_, value)| value.clone());
    match (value, values.next()) {
        (Some(value), None) => Ok((name.to_owned(), value)),
        _ => Err(wrong("a parameter of this operation has one value[x] or one resource")),
    }
}

fn searched(name: &str, value: &Json) -> Result<String, Issue> {
    match value {
        Json::String(text) | Json::Number(text) => Ok(text.to_string()),
        Json::Bool(value) => Ok(value.to_string()),
        _ => Err(Issue::error(IssueCode::Value, format!("search parameter {name} must be a string"))),
    }
}

fn unknown(operation: &Operation, name: &str) -> Issue {
    let known = || operation.parameters.iter().map(|parameter| parameter.name).filter(|it| *it != "_cursor");
    let mut near = nearest(name, known());
    if near.is_empty() {
        near = known().collect();
    }
    let code = operation.code;
    let hint = if near.is_empty() { "it has none".to_owned() } else { format!("known: {}", near.join(", ")) };
    Issue::error(IssueCode::NotSupported, format!("${code} has no parameter {name}; {hint}"))
}

fn is_valid(kind: &str, text: &str) -> bool {
    match kind {
        "boolean" => matches!(text, "true" | "false"),
        "positiveInt" => text.parse::<i32>().is_ok_and(|number| number > 0),
        "integer" => text.parse::<i32>().is_ok_and(|number| number >= 0),
        "decimal" => Decimal::parse(text).is_some(),
        "date" => DateTime::parse(text).is_some(),
        "instant" => DateTime::parse(text).is_some_and(|instant| instant.offset.is_some()),
        _ => !text.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::operation::TABLE;
    use fhir::{array, object};

    fn read(code: &str, pairs: &[(&str, &str)], body: Option<Json>) -> Result<Input, Error> {
        let operation = TABLE.iter().find(|operation| operation.code == code).unwrap();
        let target = Target { resource_type: "Patient".into(), ..Target::default() };
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Input::read(operation, &target, pairs, body)
    }

    #[test]
    fn url_and_body_are_added() {
        let period = object! { "start": "2020" };
        let body = object! { "resourceType": "Parameters", "parameter": array![
            object! { "name": "subject", "valueUri": "Patient/a" },
            object! { "name": "period", "valuePeriod": period.clone() },
            object! { "name": "include", "valueBoolean": true },
        ]};
        let input = read("stats", &[("statistic", "average,max"), ("statistic", "sum")], Some(body)).unwrap();
        assert_eq!(input.listed("statistic").collect::<Vec<_>>(), ["average", "max", "sum"]);
        assert_eq!((input.text("subject"), input.text("include")), (Some("Patient/a"), Some("true")));
        assert_eq!(input.value("period"), Some(&period));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (code, pairs, words) in [
            ("everything", &[("sart", "2020")][..], "start"),
            ("everything", &[("start", "2020"), ("start", "2021")][..], "twice"),
            ("everything", &[("start", "yesterday")][..], "date"),
            ("everything", &[("_since", "2020")][..], "instant"),
            ("stats", &[("statistic", "sum")][..], "subject"),
            ("stats", &[("period", "2020"), ("subject", "x"), ("statistic", "sum")][..], "POST"),
            ("lastn", &[("max", "0")][..], "positiveInt"),
            ("meta", &[("x", "1")][..], "none"),
        ] {
            let error = read(code, pairs, None).unwrap_err();
            assert_eq!(error.status(), 400);
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn parameters_are_valid_parameters() {
        let read_one = |parameter: Json| {
            let body = object! { "resourceType": "Parameters", "parameter": array![parameter] };
            read("validate", &[], Some(body)).map(drop).map_err(|error| error.to_string())
        };
        let invalid = object! { "resourceType": "Patient", "odd": true };
        assert_eq!(read_one(object! { "name": "resource", "resource": invalid.clone() }), Ok(()), "is to be validated");
        let misspelt = object! { "name": "resource", "resource": invalid, "parts": array![] };
        let odd_value = object! { "name": "mode", "valueCode": object! {} };
        let no_value = object! { "name": "mode", "valueCodes": "create" };
        for (parameter, named) in [(misspelt, "parts"), (odd_value, "not a code"), (no_value, "valueCodes")] {
            let error = read_one(parameter).unwrap_err();
            assert!(error.starts_with("400") && error.contains(named), "{error}");
        }
        let body = object! { "resourceType": "Parameters", "parameter": object! { "name": "mode", "valueCode": "x" } };
        assert_eq!(read("validate", &[], Some(body)).unwrap_err().status(), 400, "a list is an array");
        let foreign = object! { "resourceType": "Parameters", "foo": 1_i64 };
        assert_eq!(read("meta-add", &[], Some(foreign)).unwrap_err().status(), 400);
    }

    #[test]
    fn a_body_is_the_resource_or_holds_it() {
        let patient = object! { "resourceType": "Patient" };
        assert_eq!(read("validate", &[], Some(patient.clone())).unwrap().resource("resource").unwrap(), &patient);
        let holding = object! { "resourceType": "Parameters", "parameter": array![
            object! { "name": "resource", "resource": patient.clone() },
        ]};
        assert_eq!(read("validate", &[], Some(holding)).unwrap().resource("resource").unwrap(), &patient);
        assert!(read("everything", &[], Some(patient)).is_err());
    }
}
