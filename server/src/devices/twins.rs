//! One reading by two ways: a meter whose vendor tells it directly and through another vendor measured once. Where the
//! setting `join-twin-readings` is on, what came first stands and the second message's Provenance points at it.
//!
//! Two readings are the same if the meter's IMEI, the patient, the LOINC codes and the values are, and they are at most a
//! second apart. Two that are written at the very same time are not seen as one.

use fhir::decimal::Decimal;
use fhir::json::Json;

use super::registry;
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;

/// How far apart the times of one reading may be.
const APART_MICROS: i64 = 1_000_000;

/// Devices of one IMEI, and readings of one second, that are looked at.
const MOST: usize = 10;

/// Takes readings that another vendor told already out of entries; where those stand, as references.
pub(super) async fn join(app: &App, caller: &Caller, entries: &mut Vec<Json>) -> Result<Vec<Json>, Error> {
    let mut twins = Vec::new();
    let mut index = 0;
    while index < entries.len() {
        match twin(app, caller, entries, index).await? {
            Some(standing) => {
                entries.remove(index);
                twins.push(fhir::object! { "reference": standing });
            }
            None => index += 1,
        }
    }
    Ok(twins)
}

/// Where the reading of an entry stands that is new only to its vendor.
async fn twin(app: &App, caller: &Caller, entries: &[Json], index: usize) -> Result<Option<String>, Error> {
    let entry = &entries[index];
    let resource = entry.get("resource").unwrap_or(&Json::Null);
    let measured = measured(resource);
    let time = resource.str("effectiveDateTime").and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let (true, Some(time), Some((code, _))) = (is_new_reading(entry), time, measured.first()) else { return Ok(None) };
    let own = resource.at(&["device", "reference"]).and_then(Json::as_str).unwrap_or_default();
    let Some(imei) = imei(app, caller, entries, own).await? else { return Ok(None) };
    let devices = registry::find(app, caller, "Device", &by_imei(app, &imei), MOST).await?;
    let others = devices.iter().map(|device| format!("Device/{}", device.id)).filter(|device| device != own);
    let others: Vec<String> = others.collect();
    if others.is_empty() || is_referred_to(entries, index) {
        return Ok(None);
    }
    let criteria = by_time(&others, code, time.as_microsecond());
    let found = registry::find(app, caller, "Observation", &criteria, MOST).await?;
    let same = found.into_iter().find(|stored| {
        let Ok(standing) = Json::parse(stored.body.as_bytes()) else { return false };
        let told = |resource: &Json| resource.at(&["subject", "reference"]).cloned();
        standing.str("status") != Some("entered-in-error")
            && told(&standing) == told(resource)
            && self::measured(&standing) == measured
    });
    Ok(same.map(|stored| format!("Observation/{}", stored.id)))
}

/// Whether an entry makes an Observation: one that stands already is changed at its place.
fn is_new_reading(entry: &Json) -> bool {
    let url = entry.get("request").and_then(|request| request.str("url")).unwrap_or_default();
    url.split('?').next() == Some("Observation")
}

/// Whether another entry points at this one, which then has to be there.
fn is_referred_to(entries: &[Json], index: usize) -> bool {
    let Some(url) = entries[index].str("fullUrl") else { return false };
    let mut others = entries.iter().enumerate().filter(|(other, _)| *other != index);
    others.any(|(_, other)| other.get("resource").is_some_and(|resource| resource.to_string().contains(url)))
}

/// The IMEI of a device that is in the entries or stands already.
async fn imei(app: &App, caller: &Caller, entries: &[Json], device: &str) -> Result<Option<String>, Error> {
    let system = imei_system(app);
    let of = |device: &Json| {
        let mut known = device.list("identifier").iter().filter(|it| it.str("system") == Some(system.as_str()));
        known.find_map(|identifier| identifier.str("value").map(str::to_owned))
    };
    let is_it = |entry: &&Json| {
        let url = entry.get("request").and_then(|request| request.str("url"));
        entry.str("fullUrl") == Some(device) || url == Some(device)
    };
    let told = entries.iter().find(is_it);
    if let Some(told) = told {
        return Ok(told.get("resource").and_then(of));
    }
    let Some(id) = device.strip_prefix("Device/").filter(|id| !id.contains('?')) else { return Ok(None) };
    let stored = app.store.read(&caller.view, "Device", id).await?;
    Ok(stored.and_then(|stored| Json::parse(stored.body.as_bytes()).ok()).as_ref().and_then(of))
}

/// What finds readings of a measure by devices around an instant.
fn by_time(devices: &[String], code: &str, micros: i64) -> String {
    let at = |micros: i64| jiff::Timestamp::from_microsecond(micros).unwrap_or_default().to_string();
    let mut criteria = url::form_urlencoded::Serializer::new(String::new());
    criteria.append_pair("device", &devices.join(",")).append_pair("code", &format!("http://loinc.org|{code}"));
    criteria.append_pair("date", &format!("ge{}", at(micros - APART_MICROS)));
    criteria.append_pair("date", &format!("le{}", at(micros + APART_MICROS))).finish()
}

fn imei_system(app: &App) -> String {
    format!("{}/sid/imei", app.config.adapter_namespace)
}

fn by_imei(app: &App, imei: &str) -> String {
    let mut criteria = url::form_urlencoded::Serializer::new(String::new());
    criteria.append_pair("identifier", &format!("{}|{imei}", imei_system(app))).finish()
}

/// LOINC code, and number and unit where there are, of a reading and its components; sorted, the reading's own first.
fn measured(resource: &Json) -> Vec<(String, Option<(String, String)>)> {
    let one = |part: &Json| {
        let mut codings = part.get("code").map_or(&[][..], |code| code.list("coding")).iter();
        let loinc = codings.find(|coding| coding.str("system") == Some("http://loinc.org"))?.str("code")?;
        let quantity = part.get("valueQuantity").and_then(|quantity| {
            let number = Decimal::parse(quantity.get("value")?.as_number()?)?;
            Some((number.sort_key(), quantity.str("code")?.to_owned()))
        });
        Some((loinc.to_owned(), quantity))
    };
    let Some(own) = one(resource) else { return Vec::new() };
    let mut parts: Vec<_> = resource.list("component").iter().filter_map(one).collect();
    if own.1.is_none() && parts.iter().all(|(_, value)| value.is_none()) {
        return Vec::new(); // nothing that could be told apart
    }
    parts.sort();
    parts.insert(0, own);
    parts
}
