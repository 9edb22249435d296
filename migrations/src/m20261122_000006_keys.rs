//! Keys that sign, and sign-in at another OpenID provider.

use sea_orm_migration::prelude::*;

use crate::table::{self, Column, Index, Kind, Table};

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

const fn column(name: &'static str, kind: Kind, comment: &'static str) -> Column {
    Column { name, kind, comment }
}

const CREATED: Column = column("created_at", Kind::Integer, "When it was made, microseconds since 1970.");

static TABLES: &[Table] = &[
    Table {
        name: "signing_key",
        comment: "Keys that sign id_tokens: published before they sign and as long as what they signed is valid.",
        columns: &[
            column("kid", Kind::Text, "Its name in tokens and in the published set: the thumbprint of RFC 7638."),
            column("algorithm", Kind::Text, "RS256."),
            column("public_key", Kind::Text, "What is published, a JWK."),
            column(
                "private_key",
                Kind::Bytes,
                "PKCS#8, encrypted with a key that is derived from the server's secret.",
            ),
            CREATED,
            column("active_from", Kind::Integer, "From when it signs, microseconds since 1970."),
            column("retired_at", Kind::OptionalInteger, "From when it does not, microseconds since 1970."),
        ],
        primary_key: &["kid"],
        clustered: false,
        indexes: &[],
    },
    Table {
        name: "external_identity",
        comment: "Who somebody is at another OpenID provider.",
        columns: &[
            column("issuer", Kind::Text, "The provider."),
            column("subject", Kind::Text, "Its name for the person, which it never gives to another."),
            column("account_id", Kind::Text, "The account here."),
            CREATED,
        ],
        primary_key: &["issuer", "subject"],
        clustered: false,
        indexes: &[Index {
            name: "external_identity_by_account",
            columns: &["account_id"],
            unique: false,
            only_where: None,
            comment: "what an account is linked to",
        }],
    },
    Table {
        name: "external_sign_in",
        comment: "People who were sent to another OpenID provider and are expected back, once.",
        columns: &[
            column("hash", Kind::Bytes, "SHA-256 of the state."),
            column("session_hash", Kind::Bytes, "The browser that was sent."),
            column("request_hash", Kind::OptionalBytes, "The authorization request that waits for them, if any."),
            CREATED,
            column("expires_at", Kind::Integer, "When it ends, microseconds since 1970."),
            column("used_at", Kind::OptionalInteger, "When they came back, microseconds since 1970; once."),
        ],
        primary_key: &["hash"],
        clustered: false,
        indexes: &[Index {
            name: "external_sign_in_by_expiry",
            columns: &["expires_at"],
            unique: false,
            only_where: None,
            comment: "removing the old ones",
        }],
    },
];
