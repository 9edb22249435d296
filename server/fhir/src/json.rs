//! JSON document of a resource: strict, ordered, decimals as written. <https://hl7.org/fhir/R4/json.html>
//!
//! A resource is held as the document it arrived in, not as one of 150 structs: what the server does not
//! reason about passes through untouched. Stricter than RFC 8259 where FHIR or safety asks for it: a duplicate
//! member, a lone surrogate, U+0000 and nesting beyond [`MAX_DEPTH`] are errors with a byte offset.

use std::fmt;
use std::fmt::Write as _;

mod parser;

/// Deepest nesting of arrays and objects that is accepted.
pub const MAX_DEPTH: usize = 64;

/// Deepest nesting in what this program itself writes: a resource as deep as [`MAX_DEPTH`] stands in Bundles there, one
/// inside the other, or comes apart into the parts of a Parameters.
pub const MAX_OWN_DEPTH: usize = 3 * MAX_DEPTH;

/// One JSON value. Numbers keep their written form, so `1.00` stays `1.00`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`, which FHIR permits only inside arrays of primitives.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number exactly as written, known to match the JSON number grammar.
    Number(Box<str>),
    /// A string, unescaped.
    String(Box<str>),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Object),
}

/// Members of a JSON object in the order they were written, names unique.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    members: Vec<(Box<str>, Json)>,
}

/// Why a text is not an acceptable JSON document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at byte {offset}")]
pub struct JsonError {
    /// Offset in bytes from the start of the text.
    pub offset: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Json {
    /// Reads one document that fills `text` but for white space.
    pub fn parse(text: &[u8]) -> Result<Self, JsonError> {
        parser::parse(text, MAX_DEPTH)
    }

    /// Reads what this program wrote, which may be as deep as [`MAX_OWN_DEPTH`].
    pub fn parse_own(text: &[u8]) -> Result<Self, JsonError> {
        parser::parse(text, MAX_OWN_DEPTH)
    }

    /// The member `name` of an object, else nothing.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.as_object()?.get(name)
    }

    /// The value at a path of member names, entering the first item of arrays on the way.
    pub fn at(&self, path: &[&str]) -> Option<&Json> {
        path.iter().try_fold(self, |value, name| value.items().first()?.get(name)).and_then(|found| match found {
            Json::Array(items) => items.first(),
            other => Some(other),
        })
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Json::String(text) = self { Some(text) } else { None }
    }

    /// The text of the string member `name`.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// The value of a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        if let Json::Bool(value) = self { Some(*value) } else { None }
    }

    /// The written form of a number.
    pub fn as_number(&self) -> Option<&str> {
        if let Json::Number(text) = self { Some(text) } else { None }
    }

    /// The members of an object.
    pub fn as_object(&self) -> Option<&Object> {
        if let Json::Object(object) = self { Some(object) } else { None }
    }

    /// The members of an object, to change them.
    pub fn as_object_mut(&mut self) -> Option<&mut Object> {
        if let Json::Object(object) = self { Some(object) } else { None }
    }

    /// The items of an array, or the value itself as the only item: FHIR elements repeat or not, readers rarely care.
    pub fn items(&self) -> &[Json] {
        match self {
            Json::Array(items) => items,
            single => std::slice::from_ref(single),
        }
    }

    /// The items of the member `name`, empty if it is absent.
    pub fn list(&self, name: &str) -> &[Json] {
        self.get(name).map_or(&[], Json::items)
    }

    /// Appends the compact text of this value to `out`.
    pub fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Number(text) => out.push_str(text),
            Json::String(text) => write_string(text, out),
            Json::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Json::Object(object) => object.write(out),
        }
    }

    /// Text with two-space indentation, for people.
    pub fn to_pretty(&self) -> String {
        let mut out = String::new();
        write_pretty(self, 0, &mut out);
        out
    }
}

impl Object {
    /// An object without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of the member `name`.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.members.iter().find(|(key, _)| &**key == name).map(|(_, value)| value)
    }

    /// The value of the member `name`, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
        self.members.iter_mut().find(|(key, _)| &**key == name).map(|(_, value)| value)
    }

    /// Sets the member `name` in its place, or appends it.
    pub fn insert(&mut self, name: &str, value: impl Into<Json>) {
        match self.get_mut(name) {
            Some(slot) => *slot = value.into(),
            None => self.members.push((name.into(), value.into())),
        }
    }

    /// Sets the member `name` at `index` if it is new: canonical order puts `resourceType`, `id`, `meta` first.
    pub fn insert_at(&mut self, index: usize, name: &str, value: impl Into<Json>) {
        match self.get_mut(name) {
            Some(slot) => *slot = value.into(),
            None => self.members.insert(index.min(self.members.len()), (name.into(), value.into())),
        }
    }

    /// Takes the member `name` out.
    pub fn remove(&mut self, name: &str) -> Option<Json> {
        let index = self.members.iter().position(|(key, _)| &**key == name)?;
        Some(self.members.remove(index).1)
    }

    /// Members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.members.iter().map(|(key, value)| (&**key, value))
    }

    /// Members in order, values to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Json)> {
        self.members.iter_mut().map(|(key, value)| (&**key, value))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn write(&self, out: &mut String) {
        out.push('{');
        for (index, (name, value)) in self.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            write_string(name, out);
            out.push(':');
            value.write(out);
        }
        out.push('}');
    }
}

impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        formatter.write_str(&out)
    }
}

impl<'a> FromIterator<(&'a str, Json)> for Object {
    fn from_iter<I: IntoIterator<Item = (&'a str, Json)>>(members: I) -> Self {
        let mut object = Object::new();
        for (name, value) in members {
            object.insert(name, value);
        }
        object
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Json::String(text.into())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Json::String(text.into())
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Json::Bool(value)
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Self {
        Json::Number(value.to_string().into())
    }
}

impl From<Object> for Json {
    fn from(object: Object) -> Self {
        Json::Object(object)
    }
}

impl From<Vec<Json>> for Json {
    fn from(items: Vec<Json>) -> Self {
        Json::Array(items)
    }
}

/// Writes a JSON object in place: `object! { "resourceType": "Patient", "active": true }` is a [`Json`].
#[macro_export]
macro_rules! object {
    ($($name:literal : $value:expr),* $(,)?) => {{
        #[allow(unused_mut, clippy::allow_attributes, reason = "no member, no mutation")]
        let mut object = $crate::json::Object::new();
        $(object.insert($name, $value);)*
        $crate::json::Json::Object(object)
    }};
}

/// Writes a JSON array in place: `array!["a", "b"]` is a [`Json`].
#[macro_export]
macro_rules! array {
    ($($value:expr),* $(,)?) => {
        $crate::json::Json::Array(vec![$($crate::json::Json::from($value)),*])
    };
}

/// Appends `text` as a JSON string with quotes; only what RFC 8259 demands is escaped.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut start = 0;
    for (index, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[start..index]);
        start = index + 1;
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[start..]);
    out.push('"');
}

fn write_pretty(value: &Json, indent: usize, out: &mut String) {
    let newline = |out: &mut String, indent: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", indent));
    };
    match value {
        Json::Array(items) if !items.is_empty() => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                newline(out, indent + 1);
                write_pretty(item, indent + 1, out);
            }
            newline(out, indent);
            out.push(']');
        }
        Json::Object(object) if !object.is_empty() => {
            out.push('{');
            for (index, (name, member)) in object.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                newline(out, indent + 1);
                write_string(name, out);
                out.push_str(": ");
                write_pretty(member, indent + 1, out);
            }
            newline(out, indent);
            out.push('}');
        }
        scalar => scalar.write(out),
    }
}
