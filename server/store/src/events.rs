//! What happened to accounts and apps, for administrators. Written in the transaction that did it.

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};

use crate::{Row, Store, StoreError, Tx};

/// How long events are kept, microseconds: 90 days.
const KEPT: i64 = 90 * 24 * 3_600_000_000;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident => $text:literal, $words:literal;)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Kind] = &[$(Kind::$name),*];

            /// Name in the database.
            pub fn as_str(self) -> &'static str {
                match self { $(Kind::$name => $text),* }
            }

            /// In words.
            pub fn words(self) -> &'static str {
                match self { $(Kind::$name => $words),* }
            }
        }
    };
}

kinds! {
    /// Somebody signed in.
    SignedIn => "signed-in", "signed in";
    /// Somebody signed out.
    SignedOut => "signed-out", "signed out";
    /// Password or code were wrong.
    SignInFailed => "sign-in-failed", "failed to sign in";
    /// A new account.
    SignedUp => "signed-up", "opened an account";
    /// A new password.
    PasswordChanged => "password-changed", "changed the password";
    /// A new password by a recovery link.
    Recovered => "recovered", "set a new password with a recovery link";
    /// Somebody asked for a recovery link.
    RecoveryAsked => "recovery-asked", "asked for a recovery link";
    /// A second factor from now on.
    SecondFactorOn => "second-factor-on", "switched the second factor on";
    /// No second factor any more.
    SecondFactorOff => "second-factor-off", "switched the second factor off";
    /// A recovery code was used.
    RecoveryCodeUsed => "recovery-code-used", "used a recovery code";
    /// A new passkey.
    PasskeyAdded => "passkey-added", "added a passkey";
    /// A passkey was removed.
    PasskeyRemoved => "passkey-removed", "removed a passkey";
    /// An app was made.
    AppRequested => "app-requested", "asked for an app";
    /// An app was changed by its developer.
    AppChanged => "app-changed", "changed an app";
    /// An app may work.
    AppApproved => "app-approved", "approved an app";
    /// An app may not work.
    AppRefused => "app-refused", "refused an app";
    /// An administrator switched an app off.
    AppStopped => "app-stopped", "switched an app off";
    /// An app got a secret.
    SecretMade => "secret-made", "made a secret for an app";
    /// A person took back what an app could see.
    GrantRevoked => "grant-revoked", "took back what an app could see";
    /// A person let an app see again by itself what they took back.
    GrantAllowed => "grant-allowed", "allowed an app again";
    /// Programs may register.
    Invited => "invited", "made an invitation to register an app";
}

/// What happened, to whom and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: Kind,
    /// Key of the account that did it, or that it happened to.
    pub account_id: Option<String>,
    /// The app that it was about.
    pub client_id: Option<String>,
    /// IP address.
    pub address: Option<String>,
}

/// An event as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Microseconds since 1970.
    pub at: i64,
    /// What; none for a kind that a later version wrote.
    pub kind: Option<Kind>,
    /// Name with which the account signs in.
    pub username: Option<String>,
    /// The app.
    pub client_id: Option<String>,
    /// IP address.
    pub address: Option<String>,
}

/// Writes an event.
pub async fn insert(tx: &mut Tx, event: &Event, now: i64) -> Result<(), StoreError> {
    let statement = Query::insert()
        .into_table("security_event")
        .columns(["at", "kind", "account_id", "client_id", "address"])
        .values_panic([
            now.into(),
            event.kind.as_str().into(),
            event.account_id.clone().into(),
            event.client_id.clone().into(),
            event.address.clone().into(),
        ])
        .to_owned();
    tx.execute(&statement).await.map(drop)
}

/// The latest events.
pub async fn latest(store: &Store, most: u64) -> Result<Vec<Seen>, StoreError> {
    let statement = Query::select()
        .columns(["at", "kind", "client_id", "address"].map(|name| ("security_event", name)))
        .column(("account", "username"))
        .from("security_event")
        .left_join("account", Expr::col(("account", "id")).equals(("security_event", "account_id")))
        .order_by(("security_event", "event"), Order::Desc)
        .limit(most)
        .to_owned();
    store.rows(&statement).await?.iter().map(read).collect()
}

/// Addresses from which somebody signed in to the account of a folded username, of the latest times.
pub async fn signed_in_from(store: &Store, username: &str, now: i64) -> Result<Vec<String>, StoreError> {
    const MOST: u64 = 100;
    let account = Query::select().column("id").from("account").and_where(Expr::col("username").eq(username)).to_owned();
    let statement = Query::select()
        .column("address")
        .from("security_event")
        .and_where(Expr::col("account_id").in_subquery(account))
        .and_where(Expr::col("kind").eq(Kind::SignedIn.as_str()))
        .and_where(Expr::col("at").gt(now - KEPT))
        .order_by("event", Order::Desc)
        .limit(MOST)
        .to_owned();
    let rows = store.rows(&statement).await?;
    Ok(rows.iter().map(|row| row.opt_text(0)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Forgets the old ones.
pub async fn sweep(tx: &mut Tx, now: i64) -> Result<(), StoreError> {
    let old = Expr::col("at").lt(now - KEPT);
    tx.execute(&Query::delete().from_table("security_event").and_where(old).to_owned()).await.map(drop)
}

fn read(row: &Row) -> Result<Seen, StoreError> {
    let kind = row.text(1)?;
    Ok(Seen {
        at: row.i64(0)?,
        kind: Kind::ALL.iter().copied().find(|other| other.as_str() == kind),
        client_id: row.opt_text(2)?,
        address: row.opt_text(3)?,
        username: row.opt_text(4)?,
    })
}
