//! `tributary ucum`: check and convert units of measure, without a server. <https://ucum.org/ucum>

use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::object;

use super::CommandError;
use crate::config::Config;

/// Options of `ucum`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with units.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Action {
    /// Say whether a code is valid, and what it means; ends with 1 if it is not.
    Validate {
        /// Code, such as `mg/dL`.
        code: String,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Convert a value into another unit.
    Convert {
        /// Decimal number.
        #[arg(allow_negative_numbers = true)]
        value: String,
        /// Unit of the value.
        from: String,
        /// Unit wanted.
        to: String,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a quantity in base units, as searches compare it.
    Canonical {
        /// Decimal number.
        #[arg(allow_negative_numbers = true)]
        value: String,
        /// Unit of the value.
        code: String,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Checks or converts.
#[expect(clippy::unused_async, reason = "every command has the same shape")]
pub async fn run(args: Args, _: &Config) -> Result<(), CommandError> {
    match args.action {
        Action::Validate { code, json } => validate(&code, json),
        Action::Convert { value, from, to, json } => {
            let converted = fhir::ucum::convert(&decimal(&value)?, &from, &to)?;
            print(json, &converted, &to);
            Ok(())
        }
        Action::Canonical { value, code, json } => {
            let canonical = fhir::ucum::canonical(&decimal(&value)?, &code)?;
            print(json, &canonical.value, &canonical.code);
            Ok(())
        }
    }
}

fn validate(code: &str, json: bool) -> Result<(), CommandError> {
    match fhir::ucum::display(code).and_then(|display| fhir::ucum::validate(code).map(|()| display)) {
        Ok(display) => {
            if json {
                println!("{}", object! { "valid": true, "code": code, "display": display });
            } else {
                println!("{code} is valid: {display}");
            }
            Ok(())
        }
        Err(error) => {
            if json {
                let offset = error.offset as i64;
                println!("{}", object! { "valid": false, "code": code, "offset": offset, "message": &*error.message });
            }
            Err(error.into())
        }
    }
}

fn print(json: bool, value: &Decimal, code: &str) {
    if json {
        println!("{}", object! { "value": Json::Number(value.as_str().into()), "code": code });
    } else {
        println!("{value} {code}");
    }
}

fn decimal(text: &str) -> Result<Decimal, CommandError> {
    Decimal::parse(text)
        .ok_or_else(|| CommandError::usage(format!("{text} is no decimal number; write one as in JSON: 5, 0.25, 1e-3")))
}
