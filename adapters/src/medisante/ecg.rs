//! Electrocardiograms: a PDF report as `DiagnosticReport`, curves as `SampledData`.
//!
//! <https://hl7.org/fhir/R4/diagnosticreport.html>, <https://hl7.org/fhir/R4/datatypes.html#SampledData>

use fhir::json::{Json, Object};
use fhir::outcome::{Issue, IssueCode};

use super::measurement;
use super::message::Message;
use crate::bundle::{self, Source};
use crate::observation::Circumstances;
use crate::reading::{Component, Concept, Reading, Value};
use crate::table::{self, Row};
use crate::{error, warning};

/// MDC codes of the potentials of the usual leads.
const LEADS: &[(&str, &str)] = &[
    ("I", "131329"),
    ("II", "131330"),
    ("III", "131389"),
    ("AVR", "131390"),
    ("AVL", "131391"),
    ("AVF", "131392"),
    ("V1", "131331"),
    ("V2", "131332"),
    ("V3", "131333"),
    ("V4", "131334"),
    ("V5", "131335"),
    ("V6", "131336"),
];

/// Digits after the point that a sample period is written with at most.
const PERIOD_DIGITS: usize = 9;

/// What a message holds of an electrocardiogram.
#[derive(Clone, Debug, Default)]
pub(super) struct Ecg {
    /// The report, a PDF in base64.
    report: Option<String>,
    /// The curves.
    samples: Option<Samples>,
}

#[derive(Clone, Debug)]
struct Samples {
    /// Milliseconds between two samples.
    period: String,
    /// What a sample is multiplied with.
    factor: Option<Box<str>>,
    /// Unit after that, as written.
    unit: String,
    lower: Option<Box<str>>,
    upper: Option<Box<str>>,
    /// Name and values of each channel.
    channels: Vec<(String, String)>,
}

/// Reads report and curves; what is wrong with them joins `errors`.
pub(super) fn read(measurements: &Json, errors: &mut Vec<Issue>) -> Ecg {
    let report = measurements.at(&["documents", "ecgReportBase64PDF"]).and_then(|document| match document.as_str() {
        Some(text) if is_pdf(text) => Some(text.to_owned()),
        _ => {
            let text = "measurements.documents.ecgReportBase64PDF is not a PDF in base64";
            errors.push(error(IssueCode::Value, text, "measurements.documents"));
            None
        }
    });
    let samples = measurements.get("ecgSamples").filter(|samples| **samples != Json::Null).and_then(|json| {
        let samples = samples(json);
        if samples.is_none() {
            let text =
                "measurements.ecgSamples needs a sampleRate in Hz above zero, and samples with channel and values";
            errors.push(error(IssueCode::Value, text, "measurements.ecgSamples"));
        }
        samples
    });
    Ecg { report, samples }
}

/// The entry that creates the report, once.
pub(super) fn report(message: &Message<'_>, around: &Circumstances<'_>) -> Option<Json> {
    let data = message.ecg.report.as_deref()?;
    let (system, value, identifier) = around.identifier("ecg-report");
    let mut report = around.head("DiagnosticReport", None);
    report.insert("identifier", identifier);
    report.insert("status", "final");
    let category = fhir::object! {
        "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
        "code": "EC",
        "display": "Electrocardiac (e.g., EKG, EEC, Holter)",
    };
    report.insert("category", fhir::array![fhir::object! { "coding": fhir::array![category] }]);
    let code = table::coding("http://loinc.org", "11524-6");
    report.insert("code", fhir::object! { "coding": fhir::array![code], "text": "ECG report" });
    report.insert("subject", around.subject());
    around.effective.insert(&mut report);
    if let Some(issued) = around.issued {
        report.insert("issued", issued);
    }
    let form = fhir::object! { "contentType": "application/pdf", "data": data, "title": "ECG report" };
    report.insert("presentedForm", fhir::array![form]);
    Some(bundle::post("DiagnosticReport", &system, &value, report.into()))
}

/// The curves as one reading with a component for each channel.
pub(super) fn waveform(
    message: &Message<'_>,
    rows: &[Row<'_>],
    source: &Source<'_>,
    issues: &mut Vec<Issue>,
) -> Option<Reading> {
    let samples = message.ecg.samples.as_ref()?;
    let (row, known) = measurement::row_for(rows, "ecgSamples", &samples.unit)?;
    if !known {
        let text = format!("Unit \"{}\" of ecgSamples has no UCUM code here; kept as text", samples.unit);
        issues.push(warning(IssueCode::CodeInvalid, text, "measurements.ecgSamples.factorUnit"));
    }
    let ucum = known.then(|| row.get("ucum"));
    let components = samples.channels.iter().map(|(channel, values)| Component {
        concept: Concept { codings: vec![lead(channel, source)], text: None },
        value: Value::Sampled(sampled_data(samples, values, ucum)),
        in_range: None,
    });
    Some(Reading {
        suffix: row.get("suffix").to_owned(),
        category: row.get("category").to_owned(),
        concept: measurement::concept(row, source),
        components: components.collect(),
        ..Reading::default()
    })
}

fn lead(channel: &str, source: &Source<'_>) -> Json {
    let name = channel.trim().trim_start_matches("Lead ").to_ascii_uppercase();
    match LEADS.iter().find(|(lead, _)| *lead == name) {
        Some((_, code)) => table::coding("urn:iso:std:iso:11073:10101", code),
        None => measurement::vendor_coding(channel, None, "ecg-channel", source),
    }
}

fn sampled_data(samples: &Samples, values: &str, ucum: Option<&str>) -> Json {
    let mut origin = Object::new();
    origin.insert("value", 0);
    origin.insert("unit", samples.unit.as_str());
    if let Some(ucum) = ucum {
        origin.insert("system", fhir::ucum::SYSTEM);
        origin.insert("code", ucum);
    }
    let mut data = Object::new();
    data.insert("origin", origin);
    data.insert("period", Json::Number(samples.period.as_str().into()));
    for (name, number) in [("factor", &samples.factor), ("lowerLimit", &samples.lower), ("upperLimit", &samples.upper)]
    {
        if let Some(number) = number {
            data.insert(name, Json::Number(number.clone()));
        }
    }
    data.insert("dimensions", 1);
    data.insert("data", values);
    data.into()
}

fn samples(json: &Json) -> Option<Samples> {
    let number = |name| json.get(name).and_then(Json::as_number).map(Box::from);
    let rate: u64 = json.get("sampleRate")?.as_number()?.parse().ok().filter(|rate| *rate > 0)?;
    if !json.str("sampleRateUnit").is_none_or(|unit| unit.eq_ignore_ascii_case("hz")) {
        return None;
    }
    let channels: Option<Vec<_>> = json.list("samples").iter().map(channel).collect();
    let channels = channels.filter(|channels| !channels.is_empty())?;
    Some(Samples {
        period: period(rate),
        factor: number("factor"),
        unit: json.str("factorUnit").unwrap_or_default().to_owned(),
        lower: number("minValue"),
        upper: number("maxValue"),
        channels,
    })
}

fn channel(sample: &Json) -> Option<(String, String)> {
    let name = sample.get("channel").and_then(|name| name.as_str().or(name.as_number()))?;
    let values: Option<Vec<&str>> = sample.list("values").iter().map(Json::as_number).collect();
    Some((name.to_owned(), values.filter(|values| !values.is_empty())?.join(" ")))
}

/// 1000 ms divided by the rate, as a decimal without a float in between.
fn period(rate: u64) -> String {
    let (mut whole, mut rest) = ((1000 / rate).to_string(), 1000 % rate);
    let mut digits = String::new();
    while rest > 0 && digits.len() < PERIOD_DIGITS {
        rest *= 10;
        digits.push_str(&(rest / rate).to_string());
        rest %= rate;
    }
    if !digits.is_empty() {
        whole.push('.');
        whole.push_str(&digits);
    }
    whole
}

/// Base64 that starts like `%PDF-`.
fn is_pdf(base64: &str) -> bool {
    let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let body = base64.trim_end_matches('=');
    base64.len().is_multiple_of(4)
        && base64.len() - body.len() <= 2
        && body.bytes().all(alphabet)
        && body.starts_with("JVBERi")
        && matches!(body.as_bytes().get(6), Some(b'0'..=b'3'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_exact_where_they_end() {
        assert_eq!(period(500), "2");
        assert_eq!(period(250), "4");
        assert_eq!(period(128), "7.8125");
        assert_eq!(period(300), "3.333333333");
        assert_eq!(period(2000), "0.5");
    }

    #[test]
    fn only_a_pdf_is_a_pdf() {
        assert!(is_pdf("JVBERi0xLjQKJWRlbW8KJSVFT0YK"));
        assert!(!is_pdf("PGh0bWw+PHNjcmlwdD48L2h0bWw+"), "markup under the name of a PDF");
        assert!(!is_pdf("JVBERi0xLjQKJWRlbW8KJSVFT0Y"));
        assert!(!is_pdf("JVBERi0x LjQKJWRlbW8KJSVFT0YK"));
        assert!(!is_pdf(""));
    }
}
