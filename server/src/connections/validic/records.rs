//! Records by asking: each user, each kind of record, the days since all was known.

use std::collections::BTreeSet;

use fhir::json::Json;

use super::{day, known_until, since, users};
use crate::connections::{Failure, Held, Question, Told};

/// Users of one answer.
const PAGE: usize = 100;

/// Pages of users at most: what a token may ask in an hour ends sooner.
const MOST_PAGES: usize = 100;

/// Asks for everything that may be new, and keeps it.
pub(super) async fn catch_up(held: &Held) -> Result<(), Failure> {
    let begun = held.app.clock.now();
    let opened = &held.opened;
    let client = opened.client(&held.app)?;
    let (organization, token) = (opened.required("organization")?, opened.credential("token")?);
    let (from, until) = (day(since(held)), day(begun));
    for uid in uids(held).await? {
        for resource in opened.setting("resources").unwrap_or_default().split(',').map(str::trim) {
            let question = Question::get(&["organizations", organization, "users", &uid, resource]);
            let question = question.with("token", token).with("start_date", &from).with("end_date", &until);
            let answer = match client.ask(&question).await {
                // A user who was removed meanwhile.
                Err(Failure::Refused { status: 404, .. }) => continue,
                answer => answer?.json()?,
            };
            held.keep(of_answer(&answer), None).await?;
        }
    }
    held.keep(Vec::new(), Some(&known_until(begun))).await?;
    Ok(())
}

/// A message for each record of an answer; the answer itself where it is a record.
pub(super) fn of_answer(answer: &Json) -> Vec<Told> {
    match answer.get("data").unwrap_or(answer) {
        Json::Array(records) => records.iter().map(|record| record_told(record, record.to_string())).collect(),
        record => vec![record_told(record, record.to_string())],
    }
}

/// A record as a message.
pub(super) fn record_told(record: &Json, text: String) -> Told {
    let uid = record.at(&["user", "uid"]).and_then(Json::as_str);
    let told = Told {
        shape: "records",
        delivery: identity(record),
        devices: uid.map(str::to_owned).into_iter().collect(),
        ..Told::default()
    };
    if record.get("metrics").is_some() {
        return Told { body: text.into_bytes(), ..told };
    }
    // Only the stream tells of deletions without saying what was measured.
    Told { shape: "stream", body: event_text("data", &text).into_bytes(), ..told }
}

/// An event as a stream writes it.
pub(super) fn event_text(name: &str, data: &str) -> String {
    let mut text = format!("event: {name}\n");
    for line in data.lines() {
        text += "data: ";
        text += line;
        text.push('\n');
    }
    text.push('\n');
    text
}

/// What a record in one state is known by.
fn identity(record: &Json) -> Option<String> {
    let (id, checksum) = (record.str("id")?, record.str("checksum")?);
    Some(format!("record:{id}:{checksum}:{}", record.str("deleted_at").unwrap_or_default()))
}

/// All users of the organization, by our names for them.
async fn uids(held: &Held) -> Result<Vec<String>, Failure> {
    let client = held.opened.client(&held.app)?;
    let mut found = BTreeSet::new();
    for page in 1..=MOST_PAGES {
        let question = users(&held.opened)?.with("limit", PAGE.to_string()).with("page", page.to_string());
        let answer = client.ask(&question).await?.json()?;
        let users = answer.get("data").unwrap_or(&answer).items();
        let before = found.len();
        for uid in users.iter().filter_map(|user| user.str("uid")) {
            found.insert(uid.to_owned());
        }
        if users.len() < PAGE || found.len() == before {
            break;
        }
    }
    Ok(found.into_iter().collect())
}
