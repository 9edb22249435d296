//! `tributary user`: accounts with which people sign in.

use std::io::BufRead as _;

use clap::Subcommand;
use fhir::json::Json;
use search::view::View;
use smart::grant::FhirUser;
use smart::token::{Kind, Secret};
use store::apps::Purpose;
use store::roles::{self, Role};
use store::users::{self, Account, Change, insert};
use store::{StoreError, passkeys, recoveries, second_factors, signed_in};

use super::{CommandError, told};
use crate::app::App;
use crate::config::Config;
use crate::oauth::login::fold_username;
use crate::oauth::password;

mod openid;

/// Characters of a password that is made up here: 96 random bits.
const GENERATED: usize = 16;

/// Options of `user`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be done with accounts.
#[derive(Subcommand, Clone, Debug)]
pub enum Action {
    /// Add an account; without `--password-stdin` its password is made up and printed this once.
    Add(Add),
    /// Let an account sign in at the other OpenID provider.
    LinkOpenid(openid::Args),
    /// List the accounts.
    List,
    /// Print a link with which somebody who lost the password sets a new one: once, within 15 minutes.
    Recover(Recover),
    /// Say which record an account's person is.
    Record(Record),
    /// Let an account bill insurers in the portal: it sees the claims of all patients.
    Billing(Billing),
    /// Switch an account off: its sessions and all that it allowed stop working at once.
    Disable {
        /// Name to sign in with.
        username: String,
    },
    /// Switch an account on again.
    Enable {
        /// Name to sign in with.
        username: String,
    },
}

/// Options of `user recover`.
#[derive(clap::Args, Clone, Debug)]
pub struct Recover {
    /// Name to sign in with.
    pub username: String,
    /// Take the second factor and all passkeys away too, for somebody who lost them with all recovery codes.
    #[arg(long)]
    pub drop_second_factor: bool,
}

/// Options of `user record`.
#[derive(clap::Args, Clone, Debug)]
pub struct Record {
    /// Name to sign in with.
    pub username: String,
    /// The record that the person is: Patient/ID, Practitioner/ID or RelatedPerson/ID.
    #[arg(value_name = "REFERENCE")]
    pub fhir_user: String,
}

/// Options of `user billing`.
#[derive(clap::Args, Clone, Debug)]
pub struct Billing {
    /// Name to sign in with.
    pub username: String,
    /// Take the role away instead.
    #[arg(long)]
    pub off: bool,
}

/// Options of `user add`.
#[derive(clap::Args, Clone, Debug)]
pub struct Add {
    /// Name to sign in with: letters, digits and . _ - @ +
    pub username: String,
    /// Name for people [default: the name to sign in with].
    #[arg(long)]
    pub name: Option<String>,
    /// The record that the person is: Patient/ID, Practitioner/ID or RelatedPerson/ID.
    #[arg(long, value_name = "REFERENCE")]
    pub fhir_user: Option<String>,
    /// Name of the person at the other OpenID provider, to sign in there; needs the setting openid-issuer.
    #[arg(long, value_name = "SUBJECT")]
    pub openid_subject: Option<String>,
    /// Let the person look after this server in the portal.
    #[arg(long)]
    pub admin: bool,
    /// Let the person bill insurers in the portal: they see the claims of all patients.
    #[arg(long)]
    pub billing: bool,
    /// Read the password from standard input, one line.
    #[arg(long)]
    pub password_stdin: bool,
}

/// Carries it out and prints the result.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let app = App::open_ready(config).await?;
    match args.action {
        Action::Add(add) => self::add(&app, add, args.json).await,
        Action::LinkOpenid(args) => openid::link(&app, &args).await,
        Action::List => list(&app, args.json).await,
        Action::Recover(recover) => self::recover(&app, recover, args.json).await,
        Action::Record(record) => {
            let user = fhir_user(&record.fhir_user)?;
            warn_of_missing_record(&app, Some(&user)).await?;
            change(&app, &record.username, Change::FhirUser(user), args.json).await
        }
        Action::Billing(billing) => bill(&app, &billing).await,
        Action::Disable { username } => {
            change(&app, &username, Change::DisabledAt(Some(app.clock.now())), args.json).await
        }
        Action::Enable { username } => change(&app, &username, Change::DisabledAt(None), args.json).await,
    }
}

async fn add(app: &App, add: Add, json: bool) -> Result<(), CommandError> {
    if add.openid_subject.is_some() {
        openid::issuer(app)?;
    }
    let username = fold_username(&add.username).ok_or_else(|| {
        CommandError::new("a name to sign in with has 1 to 128 letters, digits and . _ - @ + without accents")
    })?;
    let account = Account {
        id: app.random.uuid(),
        name: add.name.unwrap_or_else(|| username.clone()),
        username,
        fhir_user: add.fhir_user.as_deref().map(fhir_user).transpose()?,
        is_admin: add.admin,
        developer: None,
        disabled_at: None,
    };
    warn_of_missing_record(app, account.fhir_user.as_ref()).await?;
    let typed = add.password_stdin.then(read_password).transpose()?;
    let password = typed.clone().unwrap_or_else(|| app.random.token()[..GENERATED].to_owned());
    let (stored, now) = (password::hash(&password, app.random.bytes())?, app.clock.now());
    let written = account.clone();
    let event = told(app, "account-added", 'C', &format!("account/{}", account.username));
    let added = app.store.write(move |tx| {
        let (account, stored, event) = (written.clone(), stored.clone(), event.clone());
        Box::pin(async move {
            let added = insert(tx, &account, &stored, now).await?;
            if added && add.billing {
                roles::set(tx, &account.id, Role::Billing, true).await?;
            }
            if added {
                tx.record(event);
            }
            Ok(added)
        })
    });
    if !added.await.map_err(|error: StoreError| CommandError::from(error))? {
        return Err(CommandError::new(format!("there is an account \"{}\" already", account.username)));
    }
    if let Some(openid_subject) = add.openid_subject {
        openid::link(app, &openid::Args { username: account.username.clone(), openid_subject }).await?;
    }
    let shown = typed.is_none().then_some(password);
    if json {
        let mut object = describe(&account);
        object["password"] = shown.into();
        println!("{object}");
        return Ok(());
    }
    println!("username  {}", account.username);
    if let Some(password) = shown {
        println!("password  {password}");
        eprintln!("The password is not shown again.");
    }
    Ok(())
}

async fn bill(app: &App, billing: &Billing) -> Result<(), CommandError> {
    let account = find(app, &billing.username).await?;
    let (id, is_on) = (account.id.clone(), !billing.off);
    let event = told(app, "account-role", 'U', &format!("account/{}", account.username));
    let written = app.store.write(move |tx| {
        let (id, event) = (id.clone(), event.clone());
        Box::pin(async move {
            tx.record(event);
            roles::set(tx, &id, Role::Billing, is_on).await
        })
    });
    written.await.map_err(|error: StoreError| CommandError::from(error))?;
    println!("{} {} insurers in the portal", account.username, if is_on { "bills" } else { "no longer bills" });
    Ok(())
}

async fn find(app: &App, username: &str) -> Result<Account, CommandError> {
    let folded = fold_username(username).unwrap_or_default();
    let found = users::find_by_username(&app.store, &folded).await?;
    let unknown = || CommandError::new(format!("there is no account \"{username}\"; `tributary user list` shows all"));
    found.map(|(account, _)| account).ok_or_else(unknown)
}

async fn recover(app: &App, recover: Recover, json: bool) -> Result<(), CommandError> {
    let account = find(app, &recover.username).await?;
    let secret = Secret::new(Kind::Recovery, app.random.bytes());
    let (hash, now, id) = (secret.hash(), app.clock.now(), account.id.clone());
    let event = told(app, "account-recovery-made", 'U', &format!("account/{}", account.username));
    let written = app.store.write(move |tx| {
        let (id, event) = (id.clone(), event.clone());
        Box::pin(async move {
            tx.record(event);
            if recover.drop_second_factor {
                passkeys::remove_all(tx, &id).await?;
                second_factors::remove(tx, &id).await?;
            }
            recoveries::insert(tx, hash, &id, now).await
        })
    });
    written.await.map_err(|error: StoreError| CommandError::from(error))?;
    let link = format!("{}/account/recover?link={}", app.config.base_url, secret.expose());
    if json {
        println!("{}", serde_json::json!({ "username": account.username, "link": link }));
        return Ok(());
    }
    println!("{link}");
    eprintln!("Give it to {} and to nobody else. It works once, within 15 minutes.", account.name);
    Ok(())
}

async fn change(app: &App, username: &str, change: Change, json: bool) -> Result<(), CommandError> {
    let account = find(app, username).await?;
    let (id, now) = (account.id.clone(), app.clock.now());
    let subtype = match &change {
        Change::DisabledAt(Some(_)) => "account-disabled",
        Change::DisabledAt(None) => "account-enabled",
        _ => "account-linked",
    };
    let event = told(app, subtype, 'U', &format!("account/{}", account.username));
    let written = app.store.write(move |tx| {
        let (id, change, event) = (id.clone(), change.clone(), event.clone());
        Box::pin(async move {
            tx.record(event);
            if matches!(change, Change::DisabledAt(Some(_))) {
                signed_in::end_all(tx, &id, None, now).await?;
            }
            users::change(tx, &id, &change).await
        })
    });
    written.await.map_err(|error: StoreError| CommandError::from(error))?;
    let account = find(app, username).await?;
    if json {
        println!("{}", describe(&account));
    } else {
        println!("{} is changed", account.username);
    }
    Ok(())
}

async fn list(app: &App, json: bool) -> Result<(), CommandError> {
    let accounts = users::all(&app.store).await?;
    if json {
        println!("{}", serde_json::Value::from(accounts.iter().map(describe).collect::<Vec<_>>()));
        return Ok(());
    }
    for account in &accounts {
        let record = account.fhir_user.as_ref().map(ToString::to_string).unwrap_or_default();
        println!("{}\t{}\t{record}", account.username, account.name);
    }
    Ok(())
}

fn fhir_user(text: &str) -> Result<FhirUser, CommandError> {
    let wrong =
        || CommandError::new(format!("--fhir-user: \"{text}\" is not Patient/ID, Practitioner/ID or RelatedPerson/ID"));
    FhirUser::parse(text).ok_or_else(wrong)
}

/// Records may come after accounts, so this is said but does no harm.
async fn warn_of_missing_record(app: &App, user: Option<&FhirUser>) -> Result<(), CommandError> {
    let (resource_type, id) = match user {
        Some(FhirUser::Patient(id)) => ("Patient", id),
        Some(FhirUser::Practitioner(id)) => ("Practitioner", id),
        Some(FhirUser::RelatedPerson(id)) => ("RelatedPerson", id),
        None => return Ok(()),
    };
    let found = app.store.read(&View::system(), resource_type, id).await?;
    let exists = found.is_some_and(|stored| !stored.deleted && Json::parse(stored.body.as_bytes()).is_ok());
    if !exists {
        eprintln!("note: there is no {resource_type}/{id} yet");
    }
    Ok(())
}

fn read_password() -> Result<String, CommandError> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn describe(account: &Account) -> serde_json::Value {
    serde_json::json!({
        "username": account.username, "name": account.name,
        "fhir_user": account.fhir_user.as_ref().map(ToString::to_string), "disabled": account.disabled_at.is_some(),
        "admin": account.is_admin, "developer": account.developer.map(Purpose::as_str),
    })
}
