//! `tributary token`: mints an access token straight from the database, for the person who runs the server.
//!
//! `--patient` confines the token to one patient, whatever its scopes; `--user` mints what that person would get.

use std::time::Duration;

use smart::grant::{Holder, Terms};
use smart::launch::LaunchContext;
use smart::scope::ScopeSet;
use store::audit::{Event, Kind};
use store::grants::{self, NewGrant};
use store::{StoreError, tokens, users};

use super::CommandError;
use crate::access;
use crate::app::App;
use crate::caller::Caller;
use crate::config::Config;
use crate::oauth::issue::Issue;
use crate::oauth::login::fold_username;

/// Longest life of a token, 31 days.
const MAX_TTL: Duration = Duration::from_hours(31 * 24);

/// Options of `token`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What it may do, as in SMART: `system/*.cruds`, `patient/Observation.rs`, …
    #[arg(long, value_name = "SCOPES")]
    pub scope: String,
    /// Logical id of the patient whose data alone it reaches; needed for `patient/` scopes.
    #[arg(long, value_name = "ID")]
    pub patient: Option<String>,
    /// Account for which it acts; needed for `user/` scopes.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// How long it lives: a number with s, m, h or d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub ttl: Duration,
    /// Print the token with what is known of it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Prints the token and nothing else.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let app = App::open_ready(config).await?;
    if args.ttl > MAX_TTL || args.ttl.is_zero() {
        return Err(CommandError::new("--ttl is more than nothing and at most 31d"));
    }
    let terms = terms(&app, &args).await?;
    let issue = Issue::new(&app, args.ttl.as_micros() as i64);
    let grant = NewGrant {
        id: app.random.uuid(),
        client_id: tokens::OPERATOR.to_owned(),
        audience: app.config.fhir_base(),
        session: None,
        nonce: None,
        auth_time: None,
        expires_at: issue.now + issue.lifetime,
        terms,
    };
    let (written, scope, patient) =
        (issue.clone(), grant.terms.scopes().to_string(), grant.terms.context().patient.clone());
    let event = Event {
        kind: Kind::Authentication,
        subtype: "token-by-operator".into(),
        action: 'E',
        status: 200,
        ..Caller::server(tokens::OPERATOR).event(&app)
    };
    let minted = app.store.write(move |tx| {
        let (issue, grant, event) = (written.clone(), grant.clone(), event.clone());
        Box::pin(async move {
            tx.record(event);
            grants::insert(tx, &grant, issue.now).await?;
            issue.write(tx, (&grant.id, grant.expires_at), grant.terms.clone(), false).await.map(drop)
        })
    });
    minted.await.map_err(|error: StoreError| CommandError::from(error))?;
    if args.json {
        let token = serde_json::json!({
            "access_token": issue.access.expose(), "token_type": "Bearer", "expires_in": args.ttl.as_secs(),
            "scope": scope, "patient": patient,
        });
        println!("{token}");
    } else {
        println!("{}", issue.access.expose());
    }
    Ok(())
}

async fn terms(app: &App, args: &Args) -> Result<Terms, CommandError> {
    let scopes = ScopeSet::parse(&args.scope)?;
    let base = app.config.fhir_base();
    if let Some(scope) = scopes.resources().find(|scope| !access::is_honoured(scope, &base)) {
        return Err(CommandError::new(format!("the conditions of {scope} cannot be honoured by a search of its type")));
    }
    if let Some(patient) = args.patient.as_deref().filter(|patient| !fhir::id::is_valid(patient)) {
        return Err(CommandError::new(format!("--patient: \"{patient}\" is not a logical id")));
    }
    let holder = match &args.user {
        None => Holder::Operator,
        Some(name) => {
            let username = fold_username(name).unwrap_or_default();
            let found = users::find_by_username(&app.store, &username).await?;
            let (account, _) = found.ok_or_else(|| CommandError::new(format!("there is no account \"{name}\"")))?;
            Holder::Person(account.person())
        }
    };
    let context = LaunchContext { patient: args.patient.clone(), ..LaunchContext::default() };
    Terms::new(holder, scopes, context).map_err(|error| {
        CommandError::new(format!("{error}; see --patient for patient/ scopes, --user for user/ scopes"))
    })
}

/// `90s`, `15m`, `1h`, `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a time: write a number with s, m, h or d, as 1h");
    let (number, seconds) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h"), Ok(Duration::from_hours(1)));
        assert_eq!(duration("7d"), Ok(Duration::from_hours(168)));
        for text in ["", "h", "1", "1w", "-1h", "1.5h", "99999999999h", "1é"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
