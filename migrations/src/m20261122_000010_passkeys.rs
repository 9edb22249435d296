//! Passkeys of accounts, and the challenges that they answer. <https://www.w3.org/TR/webauthn-3/>

use sea_orm_migration::prelude::*;

use crate::table::{self, Table, bytes, index, integer, optional_integer, optional_text, text};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            table::create(manager, table).await?;
        }
        Ok(())
    }
}

static TABLES: &[Table] = &[
    Table {
        name: "passkey",
        comment: "Passkeys with which people sign in.",
        columns: &[
            bytes("id", "By what the authenticator knows it (credential id)."),
            text("account_id", "Whose it is."),
            bytes("public_key", "The public key, in the form of COSE (RFC 9052)."),
            integer("sign_count", "Signatures that the authenticator said it made; 0 from those that do not count."),
            text("name", "What its person calls it."),
            integer("created_at", "When it was made, microseconds since 1970."),
            optional_integer("used_at", "When somebody signed in with it last, microseconds since 1970."),
        ],
        primary_key: &["id"],
        clustered: false,
        indexes: &[index("passkey_by_account", &["account_id"], "the passkeys of a person")],
    },
    Table {
        name: "passkey_challenge",
        comment: "Challenges that a passkey has to sign, each good once, in one browser and for one purpose.",
        columns: &[
            bytes("hash", "SHA-256 of the challenge."),
            bytes("session_hash", "The browser that was asked; no other may answer."),
            optional_text("account_id", "Who adds a passkey; none: somebody signs in."),
            integer("created_at", "When it was made, microseconds since 1970."),
            integer("expires_at", "When it ends, microseconds since 1970."),
            optional_integer("used_at", "When it was spent, microseconds since 1970; once."),
        ],
        primary_key: &["hash"],
        clustered: false,
        indexes: &[
            index("passkey_challenge_by_session", &["session_hash"], "a new one ends the older ones of a browser"),
            index("passkey_challenge_by_expiry", &["expires_at"], "removing the old ones"),
        ],
    },
];
