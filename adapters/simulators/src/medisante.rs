//! Medisanté's side: posts measurements to a webhook as its cloud does, with an API key.

use std::time::Duration;

use serde_json::{Value, json};

/// How long the vendor waits for a receipt.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file of the fixtures, embedded.
macro_rules! sample {
    ($file:literal, $device:expr) => {
        Sample { file: $file, body: include_str!(concat!("../../fixtures/medisante/", $file)), device: $device }
    };
}

/// The messages of `adapters/fixtures/medisante`, in their order.
pub const SAMPLES: &[Sample] = &[
    sample!("01-blood-pressure-bp800.json", Some("TaiDoc:BP800:001-3261717440000AAA-0D")),
    sample!("02-glucose-bg800-empty-device-id.json", Some("90-DEMO-02")),
    sample!("03-weight-grams-bs2001.json", Some("Transtek:BS-2001-G1:4C0000A1B2C3")),
    sample!("04-weight-impedance-bc800.json", Some("EBMTech:BC800:003-204040000008494-25")),
    sample!("05-gateway-spo2-nested-device.json", Some("Fora:GW9017:123456789012345A")),
    sample!("06-ecg-pdf-pm100.json", Some("GETEMED:PM100:465465450001")),
    sample!("07-blood-pressure-duplicate.json", Some("TaiDoc:BP800:001-3261717440000AAA-0D")),
    sample!("08-unassigned-device.json", Some("TaiDoc:BP800:NOT-ASSIGNED")),
    sample!("09-blood-pressure-string-booleans.json", Some("TaiDoc:BP800:001-3261717440000AAA-0D")),
    sample!("10-truncated-json.json", None),
    sample!("11-blood-pressure-no-diastolic.json", Some("TaiDoc:BP800:001-3261717440000AAA-0D")),
];

/// A message that the vendor could send.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Name of its file.
    pub file: &'static str,
    /// Its bytes.
    pub body: &'static str,
    /// The device by which it is paired, unless it is unreadable.
    pub device: Option<&'static str>,
}

/// The vendor's cloud, configured with one webhook.
#[derive(Clone, Debug)]
pub struct Medisante {
    webhook: String,
    api_key: String,
    http: reqwest::Client,
}

/// What the receiver answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body, or null if it is no JSON.
    pub body: Value,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
#[error("the webhook did not answer: {0}")]
pub struct Undelivered(#[from] reqwest::Error);

impl Medisante {
    /// A cloud that posts to `webhook`, such as `http://127.0.0.1:8080/health-data/medisante`.
    pub fn new(webhook: &str, api_key: &str) -> Result<Self, Undelivered> {
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        Ok(Self { webhook: webhook.to_owned(), api_key: api_key.to_owned(), http })
    }

    /// Posts a message.
    pub async fn send(&self, body: impl Into<String>) -> Result<Answer, Undelivered> {
        let request = self
            .http
            .post(&self.webhook)
            .header("content-type", "application/json; charset=utf-8")
            .header("x-api-key", &self.api_key)
            .body(body.into());
        Answer::of(request.send().await?).await
    }
}

impl Answer {
    /// All of an answer.
    pub(crate) async fn of(response: reqwest::Response) -> Result<Self, Undelivered> {
        let status = response.status().as_u16();
        let bytes = response.bytes().await?;
        Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
    }

    /// The receipt, if the message was taken.
    pub fn receipt(&self) -> Option<&str> {
        self.body.get("_id")?.as_str()
    }
}

/// A blood pressure reading of a device: correlation id `run-number`, one reading a minute from 2025 on.
pub fn blood_pressure(device: &str, run: &str, number: u64) -> String {
    let (hour, minute) = (number / 60 % 24, number % 60);
    let (month, day) = (number / 60 / 24 / 28 % 12 + 1, number / 60 / 24 % 28 + 1);
    let moment = format!("2025-{month:02}-{day:02}T{hour:02}:{minute:02}:00");
    let measure = |value: u64, unit: &str| json!({ "value": value, "unit": unit, "isInRange": true });
    let mut parts = device.split(':');
    let (manufacturer, model, serial) = (parts.next(), parts.next(), parts.next().unwrap_or(device));
    let message = json!({
        "metadata": {
            "correlationId": format!("{run}-{number}"),
            "receivedTime": format!("{moment}.500Z"),
            "deviceGroups": [],
            "measurementType": "BloodPressure",
        },
        "device": { "id": device, "serialNumber": serial, "manufacturer": manufacturer, "model": model, "timezone": "UTC" },
        "measurements": {
            "systolicBloodPressure": measure(110 + number * 7 % 40, "mmHg"),
            "diastolicBloodPressure": measure(65 + number * 5 % 25, "mmHg"),
            "pulse": measure(55 + number * 3 % 40, "bpm"),
            "annotations": { "averageMeasurement": false, "irregularHeartBeat": number % 10 == 9 },
            "timestamp": format!("{moment}Z"),
        },
    });
    message.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_messages_are_json_and_differ_in_their_id() {
        let read = |number| -> Value { serde_json::from_str(&blood_pressure("A:B:C", "run", number)).expect("JSON") };
        assert_eq!(read(0)["metadata"]["correlationId"], "run-0");
        assert_eq!(read(1501)["measurements"]["timestamp"], "2025-01-02T01:01:00Z");
        assert_eq!(read(1)["device"]["serialNumber"], "C");
    }

    #[test]
    fn every_sample_but_the_truncated_one_is_json() {
        for sample in SAMPLES {
            let readable = serde_json::from_str::<Value>(sample.body).is_ok();
            assert_eq!(readable, sample.device.is_some(), "{}", sample.file);
        }
    }
}
