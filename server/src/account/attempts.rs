//! How often somebody may try: a password, a code, a passkey, a link, a new account. (OA-20)
//!
//! | attempts | by one account from one network | by one account | from one network | together |
//! |---|--:|--:|--:|--:|
//! | wrong passwords, a minute | 5 | 30 | 20 | 1,200 |
//! | wrong codes, a minute | 5 | 10 | 20 | |
//! | wrong passkeys, a minute | | | 20 | |
//! | links and requests for a new password, each, a minute | | | 10 | |
//! | new accounts, an hour | | | 10 | 300 |
//! | requests that are pushed for a public app, a minute | | | 60 | |
//! | requests that an app pushes which proves who it is, a minute | | | | 600 an app |
//!
//! A network is one address of IPv4 or a /64 of IPv6: whoever has one address of such a network has all of them.
//!
//! Limits that others can use up for somebody are no lock: those of an account's passwords and of all together do not
//! hold for networks from which that person signed in within 90 days, nor for people who are signed in. Their failures
//! count all the same. An attempt counts from before it is looked at until it turns out right: many at once are no way
//! around.

use actix_web::HttpRequest;
use smart::client::{Client, ClientAuthentication};
use smart::error::OAuthError;
use store::{StoreError, events, users};

use crate::app::App;
use crate::client_address;
use crate::oauth::error::server_error;
use crate::oauth::login::fold_username;

/// A minute, microseconds.
pub const MINUTE: i64 = 60_000_000;

/// An hour, microseconds.
pub const HOUR: i64 = 3_600_000_000;

/// What attempts are counted for, and how many it may have.
pub type Subject = (String, i64);

/// Numbers of the attempts that were noted, to [forgive](users::forgive) them; none if there were too many.
pub type Noted = Option<Vec<i64>>;

/// Somebody is about to type the password of an account.
pub async fn password(app: &App, request: &HttpRequest, username: &str) -> Result<Noted, OAuthError> {
    let is_known = is_known(app, request, username).await.map_err(|error| server_error(&error))?;
    note(app, of_password(request, username, is_known)).await
}

/// The same of somebody who is signed in to it.
pub async fn own_password(app: &App, request: &HttpRequest, username: &str) -> Result<Noted, OAuthError> {
    note(app, of_password(request, username, true)).await
}

/// Somebody who knows the password of an account is about to type a code.
pub async fn code(app: &App, request: &HttpRequest, account_id: &str) -> Result<Noted, OAuthError> {
    let network = network(request);
    let subjects = vec![
        (format!("code:{account_id} {network}"), 5),
        (format!("code-account:{account_id}"), 10), // six digits can be guessed: no more, wherever it comes from
        (format!("code-address:{network}"), 20),
    ];
    note(app, subjects).await
}

/// Somebody is about to show a passkey.
pub async fn passkey(app: &App, request: &HttpRequest) -> Result<Noted, OAuthError> {
    note(app, vec![(format!("passkey-address:{}", network(request)), 20)]).await
}

/// Somebody comes with a link for a new password.
pub async fn recovery(app: &App, request: &HttpRequest) -> Result<Noted, OAuthError> {
    note(app, vec![(format!("recovery:{}", network(request)), 10)]).await
}

/// Somebody asks for a new password.
pub async fn reset(app: &App, request: &HttpRequest) -> Result<Noted, OAuthError> {
    note(app, vec![(format!("reset:{}", network(request)), 10)]).await
}

/// What new accounts are counted for.
pub fn of_sign_up(request: &HttpRequest) -> Vec<Subject> {
    vec![(format!("sign-up:{}", network(request)), 10), ("sign-ups".to_owned(), 300)]
}

/// What pushed authorization requests are counted for: anybody pushes in the name of a public app.
pub fn of_push(request: &HttpRequest, client: &Client) -> Vec<Subject> {
    vec![match client.authentication {
        ClientAuthentication::None => (format!("push:{}", network(request)), 60),
        _ => (format!("push-app:{}", client.id), 600),
    }]
}

fn of_password(request: &HttpRequest, username: &str, is_known: bool) -> Vec<Subject> {
    let (account, network) = (fold_username(username).unwrap_or_default(), network(request));
    let at_most = |most| if is_known { i64::MAX } else { most };
    vec![
        (format!("account:{account} {network}"), 5),
        (format!("account:{account}"), at_most(30)),
        (format!("address:{network}"), 20),
        ("passwords".to_owned(), at_most(1_200)),
    ]
}

/// Whether the person of an account signed in from this network before.
async fn is_known(app: &App, request: &HttpRequest, username: &str) -> Result<bool, StoreError> {
    // Asked in every case: how long it takes tells of no account (OA-21).
    let username = fold_username(username).unwrap_or_default();
    let addresses = events::signed_in_from(&app.store, &username, app.clock.now()).await?;
    let own = client_address::of(request).map(client_address::network);
    let known = addresses.iter().filter_map(|address| address.parse().ok()).map(client_address::network);
    Ok(own.is_some_and(|own| known.into_iter().any(|known| known == own)))
}

fn network(request: &HttpRequest) -> String {
    client_address::of(request).map(|address| client_address::network(address).to_string()).unwrap_or_default()
}

async fn note(app: &App, subjects: Vec<Subject>) -> Result<Noted, OAuthError> {
    let now = app.clock.now();
    let noted = app.store.write(move |tx| {
        let subjects = subjects.clone();
        Box::pin(async move { users::note_attempt(tx, &subjects, now, now - MINUTE).await })
    });
    noted.await.map_err(|error: StoreError| server_error(&error))
}
