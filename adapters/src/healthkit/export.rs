//! `export.xml` of the phone, read as a stream: memory does not grow with the file.
//!
//! Samples have no UUID there; [`identity`] is what they are known by. Parts of a correlation stand in the file twice,
//! once inside it and once alone: [`parts`] finds them in a first pass, so that the second can pass over the copies.
//! The real file begins with a document type, which is passed over: entities of its own are not resolved.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};

use fhir::json::{Json, Object};
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::sample;

/// Deepest nesting of elements.
const MAX_DEPTH: usize = 16;

/// Parts of one sample at most: entries of metadata, parts of a correlation, statistics of a workout.
const MAX_PARTS: usize = 10_000;

/// Longest tag, text or comment in bytes: each is in memory as a whole.
pub const MAX_TOKEN: usize = 1 << 20;

/// Longest sample in bytes, with all its parts.
pub const MAX_SAMPLE: u64 = 8 << 20;

/// Attributes of one element at most: each is compared with all others.
const MAX_ATTRIBUTES: usize = 64;

/// Why an export cannot be read further.
#[derive(Debug, thiserror::Error)]
#[error("the export cannot be read at byte {offset}: {message}")]
pub struct ExportError {
    /// Offset in bytes from the start.
    pub offset: u64,
    /// What is wrong.
    pub message: String,
}

/// The samples of an export, one after the other.
#[derive(Debug)]
pub struct Samples<R> {
    reader: Reader<Bounded<R>>,
    buffer: Vec<u8>,
    depth: usize,
    over: bool,
}

impl<R: BufRead> Samples<R> {
    /// Reads from the start of a document.
    pub fn new(reader: R) -> Self {
        let mut reader = Reader::from_reader(Bounded { inner: reader, left: 0 });
        reader.config_mut().expand_empty_elements = true;
        Samples { reader, buffer: Vec::new(), depth: 0, over: false }
    }

    /// How many bytes were read.
    pub fn position(&self) -> u64 {
        self.reader.buffer_position()
    }

    fn error(&self, message: impl Into<String>) -> ExportError {
        ExportError { offset: self.reader.buffer_position(), message: message.into() }
    }

    /// The next start or end of an element with its attributes; nothing at the end.
    fn step(&mut self) -> Result<Option<Step>, ExportError> {
        loop {
            self.buffer.clear();
            let offset = self.reader.buffer_position();
            self.reader.get_mut().left = MAX_TOKEN + 1;
            let event = self.reader.read_event_into(&mut self.buffer);
            if self.reader.get_ref().left == 0 {
                let message = format!("a tag, text or comment begins that is longer than {MAX_TOKEN} bytes");
                return Err(ExportError { offset, message });
            }
            let step = match event {
                Ok(Event::Start(start)) => Step::Start(element(&start)),
                Ok(Event::End(_)) => Step::End,
                Ok(Event::Eof) => return Ok(None),
                Ok(_) => continue,
                Err(cause) => return Err(self.error(cause.to_string())),
            };
            return match step {
                Step::Start(Ok(element)) => {
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        return Err(self.error(format!("elements are nested deeper than {MAX_DEPTH}")));
                    }
                    Ok(Some(Step::Start(Ok(element))))
                }
                Step::Start(Err(message)) => Err(self.error(message)),
                Step::End => {
                    self.depth = self.depth.saturating_sub(1);
                    Ok(Some(Step::End))
                }
            };
        }
    }

    fn next_sample(&mut self) -> Result<Option<Json>, ExportError> {
        loop {
            let Some(step) = self.step()? else {
                return if self.depth == 0 { Ok(None) } else { Err(self.error("the file ends in the middle")) };
            };
            let Step::Start(Ok(element)) = step else { continue };
            if self.depth == 1 && element.name != "HealthData" {
                return Err(self.error(format!("<{}> is not <HealthData>", element.name)));
            }
            if self.depth == 2 {
                let level = self.depth;
                let sample = self.whole(&element, level)?;
                if let Some(sample) = sample {
                    return Ok(Some(sample));
                }
            }
        }
    }

    /// The rest of an element whose start was read; nothing if it is no sample.
    fn whole(&mut self, element: &Element, level: usize) -> Result<Option<Json>, ExportError> {
        let begun = self.reader.buffer_position();
        let mut sample = started(element);
        let mut metadata = Object::new();
        let (mut objects, mut statistics) = (Vec::new(), Vec::new());
        while self.depth >= level {
            let Some(step) = self.step()? else { return Err(self.error("the file ends in the middle")) };
            if self.reader.buffer_position().saturating_sub(begun) > MAX_SAMPLE {
                return Err(self.error(format!("a sample is longer than {MAX_SAMPLE} bytes")));
            }
            let Step::Start(Ok(inner)) = step else { continue };
            if metadata.len() + objects.len() + statistics.len() > MAX_PARTS {
                return Err(self.error("a sample has too many parts"));
            }
            match inner.name.as_str() {
                "MetadataEntry" => {
                    if let (Some(key), Some(value)) = (inner.get("key"), inner.get("value")) {
                        metadata.insert(key, value);
                    }
                }
                "Record" => {
                    let level = self.depth;
                    objects.extend(self.whole(&inner, level)?);
                }
                "WorkoutStatistics" => {
                    statistics
                        .push(Json::from(inner.object(&["type", "sum", "average", "minimum", "maximum", "unit"])));
                }
                _ => {}
            }
        }
        let Some(sample) = sample.as_mut() else { return Ok(None) };
        if !metadata.is_empty() {
            sample.insert("metadata", metadata);
        }
        if element.name == "Correlation" {
            sample.insert("objects", objects);
        }
        if element.name == "Workout" {
            sample.insert("statistics", statistics);
        }
        Ok(Some(Json::from(std::mem::take(sample))))
    }
}

impl<R: BufRead> Iterator for Samples<R> {
    type Item = Result<Json, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.next_sample();
        self.over = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

/// What a sample of an export is known by.
pub fn identity(sample: &Json) -> String {
    sample::identity(sample)
}

/// Identities of the parts of correlations: their copies elsewhere in the file are to be passed over.
pub fn parts<R: BufRead>(reader: R) -> Result<BTreeSet<String>, ExportError> {
    let mut found = BTreeSet::new();
    for sample in Samples::new(reader) {
        found.extend(sample?.list("objects").iter().map(identity));
    }
    Ok(found)
}

/// A reader that ends with an error where one token takes too many bytes.
#[derive(Debug)]
struct Bounded<R> {
    inner: R,
    /// Bytes that the token may still have.
    left: usize,
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = {
            let mut available = self.fill_buf()?;
            available.read(into)?
        };
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let available = self.inner.fill_buf()?;
        Ok(&available[..available.len().min(self.left)])
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count);
        self.inner.consume(count);
    }
}

enum Step {
    Start(Result<Element, String>),
    End,
}

struct Element {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Element {
    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn object(&self, names: &[&str]) -> Object {
        let mut object = Object::new();
        for (name, value) in names.iter().filter_map(|name| Some((*name, self.get(name)?))) {
            object.insert(name, value);
        }
        object
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, String> {
    let name = start.name().as_ref().to_owned();
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        if attributes.len() >= MAX_ATTRIBUTES {
            return Err(format!("an element has more than {MAX_ATTRIBUTES} attributes"));
        }
        let attribute = attribute.map_err(|cause| cause.to_string())?;
        let value = attribute.normalized_value(XmlVersion::Explicit1_0).map_err(|cause| cause.to_string())?;
        attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    Ok(Element { name, attributes })
}

/// The sample of an element, without its parts; nothing if it is none.
fn started(element: &Element) -> Option<Object> {
    let common = ["type", "sourceName", "unit", "creationDate", "startDate", "endDate", "value"];
    let mut sample = match element.name.as_str() {
        "Record" | "Correlation" => element.object(&common),
        "Workout" => {
            let mut sample = element.object(&[
                "workoutActivityType",
                "duration",
                "durationUnit",
                "sourceName",
                "creationDate",
                "startDate",
                "endDate",
            ]);
            sample.insert("type", "HKWorkoutTypeIdentifier");
            sample
        }
        _ => return None,
    };
    if let Some(device) = element.get("device") {
        sample.insert("device", hardware(device));
    }
    Some(sample)
}

/// `<<HKDevice: 0x281>, name:Apple Watch, …>`: the address changes with every export, and values may hold commas.
fn hardware(text: &str) -> Object {
    const NAMES: [(&str, &str); 6] = [
        ("name:", "name"),
        ("manufacturer:", "manufacturer"),
        ("model:", "model"),
        ("hardware:", "hardwareVersion"),
        ("firmware:", "firmwareVersion"),
        ("software:", "softwareVersion"),
    ];
    let mut device = Object::new();
    let mut current: Option<(&str, String)> = None;
    for part in text.trim_end_matches('>').split(',') {
        let trimmed = part.trim_start();
        let known = NAMES.iter().find(|(prefix, _)| trimmed.starts_with(prefix));
        match (known, current.as_mut()) {
            (Some((prefix, name)), _) => {
                if let Some((name, value)) = current.take() {
                    device.insert(name, value);
                }
                current = Some((name, trimmed[prefix.len()..].to_owned()));
            }
            (None, Some((_, value))) => {
                // A comma inside of a value; what other names there are is not ours.
                if !trimmed.contains(':') {
                    value.push(',');
                    value.push_str(part);
                }
            }
            (None, None) => {}
        }
    }
    if let Some((name, value)) = current {
        device.insert(name, value);
    }
    device
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_loses_its_address_and_keeps_its_commas() {
        let text = "<<HKDevice: 0x281>, name:Apple Watch, manufacturer:Apple Inc., model:Watch, hardware:Watch6,2, software:10.5>";
        let device = Json::from(hardware(text));
        assert_eq!(device.str("name"), Some("Apple Watch"));
        assert_eq!(device.str("hardwareVersion"), Some("Watch6,2"));
        assert_eq!(device.str("softwareVersion"), Some("10.5"));
        assert!(!device.to_string().contains("0x281"));
    }

    #[test]
    fn a_document_type_is_passed_over_and_an_unknown_entity_is_an_error() {
        let samples = |text: &str| Samples::new(text.as_bytes()).collect::<Result<Vec<_>, _>>();
        let good = r#"<?xml version="1.0"?><!DOCTYPE HealthData [<!ENTITY a "b">]><HealthData><Record type="x" value="1"/></HealthData>"#;
        assert_eq!(samples(good).expect("readable").len(), 1);
        assert!(samples(&good.replace("\"x\"", "\"&a;\"")).is_err());
        assert!(samples("<HealthData><Record type=\"x\"/>").is_err());
        assert!(samples("<Other/>").is_err());
    }

    #[test]
    fn what_would_fill_the_memory_is_refused_where_it_begins() {
        let failure = |text: &str| {
            let failed = Samples::new(text.as_bytes()).find_map(Result::err);
            failed.unwrap_or_else(|| panic!("taken: {}", &text[..60]))
        };
        let start = "<HealthData>";
        let long = "x".repeat(MAX_TOKEN + 1);
        for token in [
            format!("<Record type=\"{long}\"/>"),
            long.clone(),
            format!("<!--{long}-->"),
            format!("<![CDATA[{long}]]>"),
            format!("<{long}"),
        ] {
            let failed = failure(&format!("{start}{token}</HealthData>"));
            assert_eq!((failed.offset, failed.message.contains("longer than")), (start.len() as u64, true), "{failed}");
        }
        let half = "x".repeat(MAX_TOKEN / 2);
        let entry = format!("<MetadataEntry key=\"{half}\" value=\"y\"/>");
        let sample = format!("{start}<Record type=\"t\">{}</Record></HealthData>", entry.repeat(20));
        assert!(failure(&sample).message.contains("a sample is longer than"));
        let many = (0..1000).map(|number| format!(" a{number}=\"\"")).collect::<Vec<_>>().concat();
        assert!(failure(&format!("{start}<Record{many}/></HealthData>")).message.contains("attributes"));
        let just = "x".repeat(MAX_TOKEN - 100);
        let fine = format!("{start}<Record type=\"{just}\"/><!--{just}--><Record type=\"{just}\"/></HealthData>");
        assert_eq!(Samples::new(fine.as_bytes()).flatten().count(), 2);
    }
}
