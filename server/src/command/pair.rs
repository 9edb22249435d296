//! `tributary pair`: says which patient has a device. What it measured in that time becomes that patient's data.

use fhir::date::{DateTime, format_instant};
use store::pairings::{self, Pairing};

use super::CommandError;
use crate::app::App;
use crate::caller::Caller;
use crate::config::Config;
use crate::devices::pairing::{self, Wish};
use crate::devices::{ingest, mapping_files};

/// Most pairings that are listed.
const MAX_LISTED: u64 = 1000;

/// Options of `pair`; without a patient it lists.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Device identifier as the vendor writes it, such as `TaiDoc:BP800:001-3261717440000AAA-0D`.
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// Logical id of the patient.
    #[arg(long, value_name = "ID", requires = "device")]
    pub patient: Option<String>,
    /// Vendor of the device.
    #[arg(long, default_value = "medisante")]
    pub vendor: String,
    /// From when, as a FHIR date or dateTime [default: now].
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "patient")]
    pub from: Option<i64>,
    /// Until when. With an open pairing of the device and without a patient it ends that one.
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "device")]
    pub until: Option<i64>,
    /// Name that people call the device by.
    #[arg(long, requires = "patient")]
    pub name: Option<String>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Pairs, ends a pairing, or lists pairings.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let app = App::open_ready(config).await?;
    let operator = Caller::server("operator");
    match (args.device.clone(), args.patient.clone(), args.until) {
        (Some(device), Some(patient), until) => {
            if app.adapters.find(&args.vendor).is_none() {
                return Err(CommandError::usage(mapping_files::unknown(&app.adapters, &args.vendor, config)));
            }
            let wish = Wish {
                provider: args.vendor,
                device,
                patient,
                from: args.from,
                until,
                name: args.name,
                device_type: None,
            };
            let made = pairing::pair(&app, &operator, wish).await?;
            ingest::drain(&app).await?;
            show(&[made.pairing], args.json);
            if made.replayed > 0 && !args.json {
                println!("{} message(s) had waited for this", made.replayed);
            }
        }
        (Some(device), None, Some(until)) => {
            let known = pairings::of_devices(&app.store, &args.vendor, std::slice::from_ref(&device)).await?;
            let open = known.into_iter().find(|pairing| pairing.until.is_none());
            let open = open.ok_or_else(|| CommandError::new(format!("{device} has no open pairing")))?;
            let ended = pairing::end(&app, &operator, &open.id, until).await?;
            let ended =
                ended.ok_or_else(|| CommandError::new("the pairing begins after that time, or ended meanwhile"))?;
            show(&[ended], args.json);
        }
        (device, _, _) => {
            show(&pairings::list(&app.store, device.as_deref(), None, MAX_LISTED).await?, args.json);
        }
    }
    Ok(())
}

/// A FHIR date or dateTime as its first moment.
fn moment(text: &str) -> Result<i64, String> {
    let parsed = DateTime::parse(text).ok_or_else(|| "write 2025-01-31 or 2025-01-31T08:00:00Z".to_owned())?;
    Ok(parsed.start())
}

fn show(pairings: &[Pairing], json: bool) {
    if json {
        let rows: Vec<_> = pairings
            .iter()
            .map(|pairing| {
                serde_json::json!({
                    "id": pairing.id, "vendor": pairing.vendor, "device": pairing.device, "patient": pairing.patient,
                    "from": format_instant(pairing.from), "until": pairing.until.map(format_instant),
                })
            })
            .collect();
        println!("{}", serde_json::Value::Array(rows));
        return;
    }
    for pairing in pairings {
        let until = pairing.until.map_or_else(|| "now".to_owned(), format_instant);
        let (vendor, device, patient) = (&pairing.vendor, &pairing.device, &pairing.patient);
        println!("{vendor} {device}  Patient/{patient}  {} to {until}", format_instant(pairing.from));
    }
}
