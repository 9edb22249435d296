//! What the demo begins with: patients, paired devices, a vendor's key, an account and an app.

use std::sync::Arc;

use fhir::json::Json;
use fhir::{array, object};
use sha2::{Digest as _, Sha256};
use smart::client::{Client, ClientAuthentication, ClientKeys, ClientKind};
use smart::grant::FhirUser;
use smart::redirect_uri::RedirectUri;
use smart::scope::ScopeSet;
use store::pairings::Pairing;
use store::users::Account;
use store::{StoreError, Tx, clients, pairings, users, vendor_keys};

use super::ensure;
use crate::app::App;
use crate::caller::Caller;
use crate::command::CommandError;
use crate::oauth::password;
use crate::rest::bundle;

/// The vendor whose messages are delivered.
pub(super) const VENDOR: &str = "medisante";

/// The patients: id, given name, family name, birth date.
const PATIENTS: [(&str, &str, &str, &str); 2] =
    [("ada", "Ada", "Example", "1968-04-12"), ("ben", "Ben", "Sample", "1975-09-30")];

/// Who has which device, as the sample messages name them.
const DEVICES: [(&str, &str); 6] = [
    ("TaiDoc:BP800:001-3261717440000AAA-0D", "ada"),
    ("Transtek:BS-2001-G1:4C0000A1B2C3", "ada"),
    ("Fora:GW9017:123456789012345A", "ada"),
    ("90-DEMO-02", "ben"),
    ("EBMTech:BC800:003-204040000008494-25", "ben"),
    ("GETEMED:PM100:465465450001", "ben"),
];

/// Ada's name at Validic, and her blood pressure monitor of Smart Meter; at Smartz she is this patient.
pub(super) const USER: &str = "uid-ada";
pub(super) const METER: &str = "860000000000011";
const SMARTZ_PATIENT: &str = "pt-9001";

/// 2022-01-01T00:00:00Z, before any of the samples, in microseconds.
const PAIRED_SINCE: i64 = 1_640_995_200_000_000;

/// Where the app wants its codes; nothing listens there, the demo reads them from the redirect.
const REDIRECT_URI: &str = "http://localhost:4567/callback";

/// What the demo needs to know of what was planted.
pub(super) struct Seeds {
    /// How many patients there are.
    pub(super) patients: usize,
    /// How many devices are paired.
    pub(super) devices: usize,
    /// The patient with the account.
    pub(super) patient: String,
    /// Another patient.
    pub(super) other_patient: String,
    /// Name of the account.
    pub(super) username: String,
    /// Its password.
    pub(super) password: String,
    /// The app.
    pub(super) client_id: String,
    /// Where the app gets its codes.
    pub(super) redirect_uri: String,
    /// With which the vendor delivers.
    pub(super) api_key: String,
}

/// Plants everything, through the code that the commands and the REST interface use.
pub(super) async fn plant(app: &App) -> Result<Seeds, CommandError> {
    patients(app).await?;
    let password = app.random.token()[..14].to_owned();
    let api_key = app.random.token();
    let rows = Rows {
        pairings: pairings(app),
        account: Account {
            id: app.random.uuid(),
            username: "ada".to_owned(),
            name: "Ada Example".to_owned(),
            fhir_user: Some(FhirUser::Patient("ada".to_owned())),
            is_admin: false,
            developer: None,
            disabled_at: None,
        },
        password_hash: password::hash(&password, app.random.bytes())?,
        client: client()?,
        secret: Sha256::digest(api_key.as_bytes()).into(),
        now: app.clock.now(),
    };
    let client_id = rows.client.id.clone();
    let rows = Arc::new(rows);
    app.store
        .write(move |tx| {
            let rows = rows.clone();
            Box::pin(async move { write(tx, &rows).await })
        })
        .await?;
    Ok(Seeds {
        patients: PATIENTS.len(),
        devices: DEVICES.len() + 1,
        patient: "ada".to_owned(),
        other_patient: "ben".to_owned(),
        username: "ada".to_owned(),
        password,
        client_id,
        redirect_uri: REDIRECT_URI.to_owned(),
        api_key,
    })
}

/// What is written beside resources, in one transaction.
struct Rows {
    pairings: Vec<Pairing>,
    account: Account,
    password_hash: String,
    client: Client,
    secret: [u8; 32],
    now: i64,
}

async fn write(tx: &mut Tx, rows: &Rows) -> Result<(), StoreError> {
    for pairing in &rows.pairings {
        pairings::insert(tx, pairing, "demo", rows.now).await?;
    }
    users::insert(tx, &rows.account, &rows.password_hash, rows.now).await?;
    clients::insert(tx, &rows.client, rows.now).await?;
    vendor_keys::insert(tx, rows.secret, VENDOR, "demo", rows.now).await
}

async fn patients(app: &App) -> Result<(), CommandError> {
    let entries: Vec<Json> = PATIENTS
        .iter()
        .map(|(id, given, family, born)| {
            let name = object! { "family": *family, "given": array![*given] };
            let mut resource = object! {
                "resourceType": "Patient", "id": *id, "active": true, "name": array![name], "birthDate": *born,
            };
            if let Some(ada) = resource.as_object_mut().filter(|_| *id == "ada") {
                ada.insert("identifier", identifiers(app));
            }
            let request = object! { "method": "PUT", "url": format!("Patient/{id}") };
            object! { "resource": resource, "request": request }
        })
        .collect();
    let bundle = object! { "resourceType": "Bundle", "type": "transaction", "entry": entries };
    let stored = bundle::execute(app, &Caller::server("demo"), bundle).await;
    let stored = stored.map_err(|error| CommandError::new(format!("the patients are not stored: {error}")))?;
    ensure(stored.list("entry").len() == PATIENTS.len(), "all patients are stored")
}

/// What Ada is called by vendors that know users.
fn identifiers(app: &App) -> Vec<Json> {
    let namespace = &app.config.adapter_namespace;
    let identifier = |kind: &str, value: &str| object! { "system": format!("{namespace}/{kind}"), "value": value };
    vec![identifier("validic/uid", USER), identifier("smartz/patient", SMARTZ_PATIENT)]
}

fn pairings(app: &App) -> Vec<Pairing> {
    let pairing = |(vendor, device, patient): (&str, &str, &str)| Pairing {
        id: app.random.uuid().replace('-', ""),
        vendor: vendor.to_owned(),
        device: device.to_owned(),
        patient: patient.to_owned(),
        from: PAIRED_SINCE,
        until: None,
    };
    let own = DEVICES.iter().map(|(device, patient)| (VENDOR, *device, *patient));
    own.chain([("smart_meter", METER, "ada")]).map(pairing).collect()
}

fn client() -> Result<Client, CommandError> {
    Ok(Client {
        id: "demo-app".to_owned(),
        name: "Demo app".to_owned(),
        kind: ClientKind::Public,
        authentication: ClientAuthentication::None,
        keys: ClientKeys::None,
        redirect_uris: vec![RedirectUri::register(REDIRECT_URI)?],
        scopes: ScopeSet::parse("openid fhirUser launch/patient offline_access patient/*.rs")?,
        valid_from: None,
        valid_to: None,
        disabled_at: None,
    })
}
