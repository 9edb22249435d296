//! A phone's side: posts samples of HealthKit with the access token that its patient gave the app.

use std::time::Duration;

use serde_json::{Value, json};

use crate::medisante::{Answer, Undelivered};

/// How long the app waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// An app on a phone.
#[derive(Clone, Debug)]
pub struct Phone {
    url: String,
    token: String,
    http: reqwest::Client,
}

impl Phone {
    /// An app that posts to `url`, such as `http://127.0.0.1:8080/health-data/healthkit`.
    pub fn new(url: &str, token: &str) -> Result<Self, Undelivered> {
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        Ok(Phone { url: url.to_owned(), token: token.to_owned(), http })
    }

    /// Posts samples.
    pub async fn send(&self, samples: &[Value]) -> Result<Answer, Undelivered> {
        let request = self.http.post(&self.url).bearer_auth(&self.token).json(&samples);
        Answer::of(request.send().await?).await
    }
}

/// A heart rate, one a minute from 2025 on; the same number is the same sample.
pub fn heart_rate(run: &str, number: u64) -> Value {
    let (hour, minute, day) = (number / 60 % 24, number % 60, number / 1440 % 28 + 1);
    let at = format!("2025-04-{day:02}T{hour:02}:{minute:02}:00.000+0000");
    json!({
        "id": format!("{run}-{number}"), "type": "HKQuantityTypeIdentifierHeartRate", "value": 60 + number * 7 % 40,
        "unit": "count/min", "startDate": at, "endDate": at, "sourceId": "com.example.watch", "sourceName": "Watch",
    })
}
