//! Users of the service and the devices connected to them, on behalf of a caller whose rights are known.
//!
//! A patient's user has a random name (`uid`), which is paired with the patient for good: all that comes under it is
//! theirs. A connection is the vendor's answer in the inbox, and a pairing row, in one transaction.

use std::sync::Arc;

use adapters::device::is_imei;
use fhir::json::Json;
use fhir::outcome::{Issue, IssueCode};
use store::inbox;
use store::pairings::{self, Paired, Pairing};

use super::{VENDOR, users};
use crate::app::App;
use crate::connections::adapter_of;
use crate::connections::{self, Client, DEFAULT_NAME, Failure, Opened, Question, Told};
use crate::error::Error;

/// The types of devices that can be connected.
pub const TYPES: [&str; 4] = ["blood_glucose", "blood_pressure", "weight_scale", "pulse_ox"];

/// Pairings of one patient that are looked at.
const MOST: u64 = 1000;

/// A device that is or was connected.
#[derive(Clone, Debug)]
pub struct Connected {
    /// Its IMEI.
    pub device: String,
    /// Since when, microseconds since 1970.
    pub from: i64,
    /// Until when, if that is over.
    pub until: Option<i64>,
    /// Receipt of what the service answered; nothing if it was not asked.
    pub receipt: Option<String>,
}

/// Makes the user of a patient, or finds it; its name.
pub async fn provision(app: &App, actor: &str, patient: &str) -> Result<String, Error> {
    let opened = connections::open(app, VENDOR, DEFAULT_NAME).await?;
    let uid = match user_of(app, patient).await? {
        Some(uid) => uid,
        None => name_user(app, actor, patient).await?,
    };
    match user(app, &opened, &uid).await {
        Err(Failure::Refused { status: 404, .. }) => {}
        known => return known.map(|_| uid).map_err(Error::from),
    }
    let body = fhir::object! { "uid": uid.as_str() };
    let question = Question::post(&["organizations", opened.required("organization")?, "users"]).once();
    let question = question.with("token", opened.credential("token")?).json(&body);
    opened.client(app)?.ask(&question).await?;
    Ok(uid)
}

/// Connects a device with the user of a patient.
pub async fn connect(app: &App, actor: &str, patient: &str, (imei, kind): (&str, &str)) -> Result<Connected, Error> {
    if !is_imei(imei) {
        return Err(wrong(IssueCode::Value, "a device is named by its IMEI, which has 15 digits".to_owned()));
    }
    if !TYPES.contains(&kind) {
        return Err(wrong(IssueCode::Value, format!("there is no device type {kind}; there is {}", TYPES.join(", "))));
    }
    let standing = pairings::list(&app.store, Some(imei), None, MOST).await?;
    if let Some(open) = standing.iter().find(|pairing| pairing.vendor == VENDOR && pairing.until.is_none()) {
        if open.patient == patient {
            return Ok(Connected { device: imei.to_owned(), from: open.from, until: None, receipt: None });
        }
        return Err(taken());
    }
    let (opened, uid, token) = provisioned(app, patient).await?;
    let body = fhir::object! { "device_id": imei, "device_type": kind };
    let answer = ask(app, &opened, &token, &["connect"], Some(&body)).await?;
    let created = instant(&answer.json()?, "created_at").unwrap_or_else(|| app.clock.now());
    let pairing = Pairing {
        id: app.random.uuid().replace('-', ""),
        vendor: VENDOR.to_owned(),
        device: imei.to_owned(),
        patient: patient.to_owned(),
        from: created,
        until: None,
    };
    let receipt = keep(app, actor, &uid, answer.body, vec![Change::Begin(pairing)]).await?;
    if receipt.is_none() {
        // Somebody else was faster, with another patient.
        ask(app, &opened, &token, &["disconnect", imei], None).await?;
        return Err(taken());
    }
    Ok(Connected { device: imei.to_owned(), from: created, until: None, receipt })
}

/// Takes a device from the user of a patient.
pub async fn disconnect(app: &App, actor: &str, patient: &str, imei: &str) -> Result<Connected, Error> {
    let open = open_devices(app, patient).await?.into_iter().find(|pairing| pairing.device == imei);
    let open = open.ok_or_else(|| wrong(IssueCode::NotFound, "no such device is connected".to_owned()))?;
    let (opened, uid, token) = provisioned(app, patient).await?;
    let answer = ask(app, &opened, &token, &["disconnect", imei], None).await?;
    let ended = instant(&answer.json()?, "deleted_at").unwrap_or_else(|| app.clock.now()).max(open.from + 1);
    let receipt = keep(app, actor, &uid, answer.body, vec![Change::End(open.id, ended)]).await?;
    Ok(Connected { device: open.device, from: open.from, until: Some(ended), receipt })
}

/// Takes all devices from the user of a patient.
pub async fn disconnect_all(app: &App, actor: &str, patient: &str) -> Result<Vec<Connected>, Error> {
    let open = open_devices(app, patient).await?;
    let (opened, uid, token) = provisioned(app, patient).await?;
    let answer = ask(app, &opened, &token, &["disconnect_all"], None).await?;
    let json = answer.json()?;
    let mut ended = Vec::new();
    for pairing in open {
        let mut told = json.list("connections").iter();
        let told = told.find(|it| it.at(&["credentials", "device_id"]).and_then(Json::as_str) == Some(&pairing.device));
        let at = told.and_then(|told| instant(told, "deleted_at")).unwrap_or_else(|| app.clock.now());
        ended.push((pairing.id.clone(), pairing, at));
    }
    let ends = ended.iter().map(|(id, pairing, at)| Change::End(id.clone(), (*at).max(pairing.from + 1))).collect();
    let receipt = keep(app, actor, &uid, answer.body, ends).await?;
    let connected = |(_, pairing, at): (String, Pairing, i64)| Connected {
        until: Some(at.max(pairing.from + 1)),
        device: pairing.device,
        from: pairing.from,
        receipt: receipt.clone(),
    };
    Ok(ended.into_iter().map(connected).collect())
}

/// The devices that are or were connected with a patient's user, oldest first.
pub async fn of_patient(app: &App, patient: &str) -> Result<Vec<Connected>, Error> {
    let rows = pairings::list(&app.store, None, Some(patient), MOST).await?;
    let devices = rows.into_iter().filter(|row| row.vendor == VENDOR && is_imei(&row.device));
    let connected = |row: Pairing| Connected { device: row.device, from: row.from, until: row.until, receipt: None };
    Ok(devices.map(connected).collect())
}

enum Change {
    Begin(Pairing),
    End(String, i64),
}

/// Keeps what the service answered, and what it means for pairings; nothing if another patient has the device.
async fn keep(app: &App, actor: &str, uid: &str, body: Vec<u8>, changes: Vec<Change>) -> Result<Option<String>, Error> {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("uid", uid).finish();
    let told = Told { shape: "connection", devices: vec![uid.to_owned()], query, body, ..Told::default() };
    let unreadable = || Failure::Unreadable("it tells of no connection".to_owned());
    let (arrival, _) = connections::arrival(app, adapter_of(VENDOR)?, told).ok_or_else(unreadable)?;
    let (kept, actor, now) = (Arc::new((arrival, changes)), actor.to_owned(), app.clock.now());
    let receipt = app
        .store
        .write(move |tx| {
            let (kept, actor) = (kept.clone(), actor.clone());
            Box::pin(async move {
                for change in &kept.1 {
                    match change {
                        Change::Begin(pairing) => {
                            if let Paired::Taken(_) = pairings::insert(tx, pairing, &actor, now).await? {
                                return Ok(None);
                            }
                        }
                        Change::End(id, at) => drop(pairings::end(tx, id, *at).await?),
                    }
                }
                Ok::<_, Error>(Some(inbox::receive(tx, &kept.0).await?.receipt))
            })
        })
        .await?;
    app.inbox_changed.notify_waiters();
    Ok(receipt)
}

/// Name of the patient's user, if one was made.
async fn user_of(app: &App, patient: &str) -> Result<Option<String>, Error> {
    let rows = pairings::list(&app.store, None, Some(patient), MOST).await?;
    let mut users = rows.into_iter().filter(|row| row.vendor == VENDOR && !is_imei(&row.device));
    Ok(users.find(|row| row.until.is_none()).map(|row| row.device))
}

/// Gives a patient's user a name that says nothing to others, and is the same for two callers at once.
async fn name_user(app: &App, actor: &str, patient: &str) -> Result<String, Error> {
    let (actor, now) = (actor.to_owned(), app.clock.now());
    let secret = app.secret.derive(&format!("user of validic for {patient}"));
    let uid = fhir::hexadecimal(&secret[..16]);
    let pairing = Pairing {
        id: app.random.uuid().replace('-', ""),
        vendor: VENDOR.to_owned(),
        device: uid.clone(),
        patient: patient.to_owned(),
        // It never was anybody else's: what a source tells of the time before is this patient's too.
        from: 0,
        until: None,
    };
    app.store
        .write(move |tx| {
            let (pairing, actor) = (pairing.clone(), actor.clone());
            Box::pin(async move { pairings::insert(tx, &pairing, &actor, now).await })
        })
        .await?;
    Ok(uid)
}

async fn open_devices(app: &App, patient: &str) -> Result<Vec<Pairing>, Error> {
    let rows = pairings::list(&app.store, None, Some(patient), MOST).await?;
    let open = |row: &Pairing| row.vendor == VENDOR && row.until.is_none() && is_imei(&row.device);
    Ok(rows.into_iter().filter(open).collect())
}

/// The connection, the patient's user, and the token with which its devices are connected.
async fn provisioned(app: &App, patient: &str) -> Result<(Opened, String, String), Error> {
    let none = || wrong(IssueCode::BusinessRule, "the patient has no user yet: $provision-device-user".to_owned());
    let uid = user_of(app, patient).await?.ok_or_else(none)?;
    let opened = connections::open(app, VENDOR, DEFAULT_NAME).await?;
    let user = user(app, &opened, &uid).await?;
    let unreadable = || Failure::Unreadable("the user has no marketplace token".to_owned());
    let token = user.at(&["marketplace", "token"]).and_then(Json::as_str).ok_or_else(unreadable)?.to_owned();
    Ok((opened, uid, token))
}

async fn user(app: &App, opened: &Opened, uid: &str) -> Result<Json, Failure> {
    opened.client(app)?.ask(&users(opened)?.below(uid)).await?.json()
}

/// A question about connections of devices, which is not repeated: the second answer would be that it is done already.
async fn ask(
    app: &App,
    opened: &Opened,
    token: &str,
    path: &[&str],
    body: Option<&Json>,
) -> Result<connections::Answer, Failure> {
    let client: Client = opened.client_at(app, "connect-url")?.hiding(token);
    let segments = [&["direct", "auth", "smart_meter"], path].concat();
    let question = Question::post(&segments).once().with("token", token);
    let question = if let Some(body) = body { question.json(body) } else { question };
    client.ask(&question).await
}

fn instant(json: &Json, name: &str) -> Option<i64> {
    json.str(name)?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

fn taken() -> Error {
    Error::conflict(Issue::error(IssueCode::Conflict, "the device is connected with another patient"))
}

fn wrong(code: IssueCode, text: String) -> Error {
    Error::unprocessable(Issue::error(code, text))
}
