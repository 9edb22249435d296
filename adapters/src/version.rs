//! Which of two states of a vendor's record is the newer one, where the vendor says so: messages come in any order.

use fhir::date::DateTime;
use fhir::decimal::Decimal;
use fhir::json::{Json, Object};

use crate::bundle::Source;
use crate::number;
use crate::time::Moment;

/// Name of the extension of an Observation that holds it.
const NAME: &str = "record-version";

/// A number or a moment that grows with each state of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    url: String,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Number(Box<str>),
    Moment(String),
}

impl Version {
    /// A number; nothing if the text is none.
    pub(crate) fn number(text: &str, source: &Source<'_>) -> Option<Self> {
        let is_usual = number::is_number(text) && Decimal::parse(text).is_some();
        is_usual.then(|| Version { url: source.extension(NAME), value: Value::Number(text.into()) })
    }

    /// A moment.
    pub(crate) fn moment(moment: Moment, source: &Source<'_>) -> Self {
        Version { url: source.extension(NAME), value: Value::Moment(moment.text) }
    }

    /// The one that a stored resource says.
    pub fn of(resource: &Json) -> Option<Self> {
        let extension = resource.list("extension").iter().find(|extension| is_it(extension))?;
        let value = match (extension.get("valueDecimal"), extension.str("valueDateTime")) {
            (Some(Json::Number(number)), _) => Value::Number(number.clone()),
            (_, Some(moment)) => Value::Moment(moment.to_owned()),
            _ => return None,
        };
        Some(Version { url: extension.str("url")?.to_owned(), value })
    }

    /// Whether it is older than another. A number and a moment have no order.
    pub fn is_before(&self, other: &Version) -> bool {
        match (&self.value, &other.value) {
            (Value::Number(own), Value::Number(other)) => {
                Decimal::parse(own).zip(Decimal::parse(other)).is_some_and(|(own, other)| own < other)
            }
            (Value::Moment(own), Value::Moment(other)) => {
                DateTime::parse(own).zip(DateTime::parse(other)).is_some_and(|(own, other)| own.start() < other.start())
            }
            _ => false,
        }
    }

    /// Writes it into a resource, in the place of the one that stands there.
    pub(crate) fn write(&self, resource: &mut Object) {
        let mut extension = Object::new();
        extension.insert("url", self.url.as_str());
        match &self.value {
            Value::Number(number) => extension.insert("valueDecimal", Json::Number(number.clone())),
            Value::Moment(moment) => extension.insert("valueDateTime", moment.as_str()),
        }
        let others = resource.get("extension").map_or(&[][..], Json::items);
        let mut extensions: Vec<Json> = others.iter().filter(|extension| !is_it(extension)).cloned().collect();
        extensions.push(extension.into());
        let is_new = resource.get("extension").is_none();
        if is_new {
            resource.insert_at(2, "extension", extensions);
        } else {
            resource.insert("extension", extensions);
        }
    }
}

/// Whether an extension holds a version.
pub(crate) fn is_it(extension: &Json) -> bool {
    extension.str("url").is_some_and(|url| url.ends_with(&format!("/StructureDefinition/{NAME}")))
}
