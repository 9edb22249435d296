//! `tributary user`: accounts with which people sign in.

use std::io::BufRead as _;

use clap::Subcommand;
use fhir::json::Json;
use search::view::View;
use smart::grant::FhirUser;
use store::users::{self, Account};
use store::{StoreError, users::insert};

use super::CommandError;
use crate::app::App;
use crate::config::Config;
use crate::oauth::login::fold_username;
use crate::oauth::password;

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
    /// List the accounts.
    List,
}

/// Options of `user add`.
#[derive(clap::Args, Clone, Debug)]
pub struct Add {
    /// Name to sign in with: letters, digits and . _ - @ +
    pub username: String,
    /// Name for people [default: the name to sign in with].
    #[arg(long)]
    pub name: Option<String>,
    /// The record that the person is: Patient/ID or Practitioner/ID.
    #[arg(long, value_name = "REFERENCE")]
    pub fhir_user: Option<String>,
    /// Read the password from standard input, one line.
    #[arg(long)]
    pub password_stdin: bool,
}

/// Carries it out and prints the result.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let app = App::open_ready(config).await?;
    match args.action {
        Action::Add(add) => self::add(&app, add, args.json).await,
        Action::List => list(&app, args.json).await,
    }
}

async fn add(app: &App, add: Add, json: bool) -> Result<(), CommandError> {
    let username = fold_username(&add.username).ok_or_else(|| {
        CommandError::new("a name to sign in with has 1 to 128 letters, digits and . _ - @ + without accents")
    })?;
    let account = Account {
        id: app.random.uuid(),
        name: add.name.unwrap_or_else(|| username.clone()),
        username,
        fhir_user: add.fhir_user.as_deref().map(fhir_user).transpose()?,
        disabled_at: None,
    };
    warn_of_missing_record(app, account.fhir_user.as_ref()).await?;
    let typed = add.password_stdin.then(read_password).transpose()?;
    let password = typed.clone().unwrap_or_else(|| app.random.token()[..GENERATED].to_owned());
    let (stored, now) = (password::hash(&password, app.random.bytes())?, app.clock.now());
    let written = account.clone();
    let added = app.store.write(move |tx| {
        let (account, stored) = (written.clone(), stored.clone());
        Box::pin(async move { insert(tx, &account, &stored, now).await })
    });
    if !added.await.map_err(|error: StoreError| CommandError::from(error))? {
        return Err(CommandError::new(format!("there is an account \"{}\" already", account.username)));
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
    let wrong = || CommandError::new(format!("--fhir-user: \"{text}\" is not Patient/ID or Practitioner/ID"));
    FhirUser::parse(text).ok_or_else(wrong)
}

/// Records may come after accounts, so this is said but does no harm.
async fn warn_of_missing_record(app: &App, user: Option<&FhirUser>) -> Result<(), CommandError> {
    let (resource_type, id) = match user {
        Some(FhirUser::Patient(id)) => ("Patient", id),
        Some(FhirUser::Practitioner(id)) => ("Practitioner", id),
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
    })
}
