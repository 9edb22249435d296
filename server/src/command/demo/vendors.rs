//! The other vendors: simulated services that this server asks, and a phone that signs in. Of each a reading arrives.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fhir::json::Json;
use search::view::View;
use simulators::healthkit;
use simulators::smart_meter::{self, SmartMeter};
use simulators::smartz::{self, Smartz};
use simulators::trouble::Trouble;
use simulators::validic::{self, Validic};
use store::inbox::{self, Filter, Message, State};

use super::seed::{METER, Seeds, USER};
use super::transcript::{Exchange, Transcript};
use super::{Demo, ensure, summary};
use crate::app::App;
use crate::command::{CommandError, connection};
use crate::connections::{self, Credentials, DEFAULT_NAME, Wish};

/// How often, every 20 ms, it is looked whether a reading has arrived: ten seconds in all.
const LOOKS: usize = 500;

/// The services, as long as the demo runs.
pub(super) struct Services {
    validic: Validic,
    smart_meter: SmartMeter,
    smartz: Smartz,
}

/// Starts the services and has the server ask them.
pub(super) async fn start(app: &App) -> Result<Services, CommandError> {
    let (at, trouble) = (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Trouble::default);
    let (token, key) = (app.random.token(), app.random.token());
    let services = Services {
        validic: Validic::start(at, &token, trouble()).await?,
        smart_meter: SmartMeter::start(at, &key, trouble()).await?,
        smartz: Smartz::start(at, 3600, trouble()).await?,
    };
    services.validic.add_user(USER);
    services.validic.publish(&validic::record(USER, 0, 64));
    services.smart_meter.take_in(smart_meter::blood_pressure(METER, 0));
    services.smartz.status(smartz::status(1));
    let origin = services.validic.http.origin();
    let organization = [("organization", validic::ORGANIZATION), ("stream", validic::STREAM)];
    let settings = [&organization[..], &[("stream-url", &origin), ("connect-url", &origin)]].concat();
    ask(app, "validic", &origin, &[("token", &token)], &settings).await?;
    ask(app, "smart_meter", &services.smart_meter.http.origin(), &[("api-key", &key)], &[]).await?;
    let [id, secret, sub] = smartz::CREDENTIALS;
    let credentials = [("app-id", id), ("app-key", secret), ("sub-key", sub)];
    let at = format!("{}/v1", services.smartz.http.origin());
    ask(app, "smartz", &at, &credentials, &[("patients", "link"), ("poll-seconds", "5")]).await?;
    Ok(services)
}

async fn ask(
    app: &App,
    vendor: &str,
    url: &str,
    credentials: &[(&str, &str)],
    settings: &[(&str, &str)],
) -> Result<(), CommandError> {
    let wish = Wish {
        vendor: vendor.to_owned(),
        name: DEFAULT_NAME.to_owned(),
        base_url: Some(url.to_owned()),
        credentials: credentials
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect::<Credentials>(),
        settings: settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        disabled: false,
    };
    connections::add(app, &wish, connection::kept(app, vendor, DEFAULT_NAME)).await?;
    Ok(())
}

/// Shows what arrived.
pub(super) async fn arrive(
    demo: &Demo,
    app: &App,
    (services, seeds): (&Services, &Seeds),
    transcript: &mut Transcript,
) -> Result<(), CommandError> {
    phone(demo, app, seeds, transcript).await?;
    let shown = [
        (
            "validic",
            "Validic tells a record on its event stream",
            &services.validic.http,
            "GET",
            "streams/stream-1/connect",
        ),
        ("smart_meter", "Smart Meter is asked for readings", &services.smart_meter.http, "POST", "readings/"),
        (
            "smartz",
            "Smartz is asked for the statuses of pods",
            &services.smartz.http,
            "GET",
            "v1/organisations/org-1/statuses",
        ),
    ];
    for (vendor, title, http, method, path) in shown {
        let reading = reading(app, vendor, &seeds.patient).await?;
        transcript.step(&Exchange {
            title,
            request: format!("{method} {}/{path}", http.origin()),
            status: 200,
            body: &reading,
            checked: format!("an Observation of Patient/{}", seeds.patient),
        });
    }
    Ok(())
}

/// A phone signs in and posts a sample.
async fn phone(demo: &Demo, app: &App, seeds: &Seeds, transcript: &mut Transcript) -> Result<(), CommandError> {
    let address = format!("{}/oauth/token", demo.base_url);
    let body = serde_json::json!({ "username": seeds.username, "password": seeds.password });
    let signed_in = demo.http.post(&address).json(&body).send().await?;
    let cookie = signed_in.headers().get("set-cookie").and_then(|cookie| cookie.to_str().ok());
    let cookie = cookie.and_then(|cookie| cookie.split(';').next()).unwrap_or_default().to_owned();
    ensure(signed_in.status().is_success() && cookie.starts_with("sid="), "a phone signs in")?;
    let address = format!("{}/health-data/healthkit", demo.base_url);
    let samples = [healthkit::heart_rate("demo", 0)];
    let sent = demo.http.post(&address).header("cookie", cookie).json(&samples).send().await?;
    let status = sent.status().as_u16();
    ensure(status == 200, "a phone delivers for its own patient")?;
    let reading = reading(app, "healthkit", &seeds.patient).await?;
    transcript.step(&Exchange {
        title: "A phone posts a heart rate of HealthKit",
        request: format!("POST {address}"),
        status,
        body: &reading,
        checked: format!("an Observation of Patient/{}", seeds.patient),
    });
    Ok(())
}

/// Waits until a reading of a vendor has become an Observation of a patient: that in one line.
async fn reading(app: &App, vendor: &str, patient: &str) -> Result<String, CommandError> {
    let filter = Filter { vendor: Some(vendor.to_owned()), state: Some(State::Applied), ..Filter::default() };
    for _ in 0..LOOKS {
        let applied = inbox::list(&app.store, &filter, 10).await?;
        let written = applied.iter().flat_map(written).find_map(|location| {
            let (_, at) = location.split_once("/Observation/")?;
            at.split('/').next().map(str::to_owned)
        });
        if let Some(id) = written {
            let stored = app.store.read(&View::system(), "Observation", &id).await?;
            let body = stored.map(|stored| stored.body).unwrap_or_default();
            let resource = Json::parse(body.as_bytes()).unwrap_or(Json::Null);
            let subject = resource.at(&["subject", "reference"]).and_then(Json::as_str);
            ensure(subject == Some(&format!("Patient/{patient}")), "a reading is of the patient whose it is")?;
            return Ok(summary(&fhir::object! { "resource": resource }));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure(false, &format!("a reading of {vendor} arrives within seconds")).map(|()| String::new())
}

/// Where a message was written to.
fn written(message: &Message) -> Vec<String> {
    let outcome = Json::parse(message.outcome.as_bytes()).unwrap_or(Json::Null);
    outcome.list("written").iter().filter_map(|location| location.as_str().map(str::to_owned)).collect()
}
