//! Clients, accounts, sessions, authorization requests, grants, codes and tokens.
//!
//! Each single-use artefact has a table of its own (OA-06), found by the SHA-256 of what was handed out (OA-31).

use sea_orm_migration::prelude::*;

use crate::table::{self, Column, Kind, Table, index, integer, optional_integer, optional_text, text, unique_index};

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

const fn hash(comment: &'static str) -> Column {
    Column { name: "hash", kind: Kind::Bytes, comment }
}

const CREATED: Column = integer("created_at", "When it was made, microseconds since 1970.");
const EXPIRES: Column = integer("expires_at", "When it ends, microseconds since 1970.");
const USED: Column = optional_integer("used_at", "When it was spent, microseconds since 1970; once.");

static TABLES: &[Table] = &[
    Table {
        name: "client",
        comment: "Registered OAuth clients.",
        columns: &[
            text("id", "client_id."),
            text("name", "Name for people, shown at consent."),
            text("kind", "public, confidential or backend."),
            text("authentication", "How it proves who it is: none, secret or private_key_jwt."),
            optional_text("jwks", "Its public keys, a JWK Set, where they were registered by value."),
            optional_text("jwks_url", "Where its public keys are, where they were registered by address."),
            text("redirect_uris", "Where answers may go, separated by a space."),
            optional_text("launch_uri", "Where an EHR starts it, as the operator said; a developer says it in app."),
            text("scope", "The most that it can be granted, as in RFC 6749."),
            optional_text(
                "patients",
                "The only patients it can reach, logical ids separated by a space; none: whoever its person may see.",
            ),
            optional_integer("valid_from", "Not accepted before, microseconds since 1970."),
            optional_integer("valid_to", "Not accepted from then on, microseconds since 1970."),
            optional_integer("disabled_at", "When an operator switched it off, microseconds since 1970."),
            CREATED,
        ],
        primary_key: &["id"],
        clustered: false,
        indexes: &[],
    },
    Table {
        name: "client_secret",
        comment: "Secrets of clients: two may live at once, so that one can be replaced without a gap.",
        columns: &[
            hash("SHA-256 of the secret."),
            text("client_id", "Whose it is."),
            CREATED,
            optional_integer("expires_at", "Not accepted from then on, microseconds since 1970; none: until replaced."),
        ],
        primary_key: &["hash"],
        clustered: false,
        indexes: &[index("client_secret_by_client", &["client_id"], "rotation; finding what is still live")],
    },
    Table {
        name: "account",
        comment: "People who sign in.",
        columns: &[
            text("id", "Surrogate key, a UUID."),
            text("username", "Name to sign in with, folded for case and Unicode form."),
            text("name", "Name for people."),
            text("password_hash", "argon2id in PHC form."),
            optional_text(
                "fhir_user",
                "The record that the person is: Patient/ID, Practitioner/ID or RelatedPerson/ID.",
            ),
            integer("is_admin", "1: looks after this server in the portal."),
            optional_text(
                "developer",
                "What the apps are for that this person makes: personal or work; none: makes none.",
            ),
            optional_integer("disabled_at", "When an operator switched it off, microseconds since 1970."),
            CREATED,
        ],
        primary_key: &["id"],
        clustered: false,
        indexes: &[unique_index("account_by_username", &["username"], "signing in; no two accounts of one name")],
    },
    Table {
        name: "login_failure",
        comment: "Failed sign-ins of the last minutes, to slow down guessing (OA-20).",
        columns: &[
            Column { name: "failure", kind: Kind::Serial, comment: "Order of writing." },
            text("subject", "account: and the name that was tried, or address: and where it came from."),
            integer("at", "Microseconds since 1970."),
        ],
        primary_key: &["failure"],
        clustered: false,
        indexes: &[
            index("login_failure_by_subject", &["subject", "at"], "counting the recent ones"),
            index("login_failure_by_time", &["at"], "removing the old ones"),
        ],
    },
    Table {
        name: "session",
        comment: "Browsers; before and after somebody signs in these are different rows (OA-15).",
        columns: &[
            hash("SHA-256 of the cookie."),
            optional_text("account_id", "Who is signed in; none before."),
            optional_text("half_account_id", "Whose password was right, while the second factor is still asked for."),
            optional_integer("auth_time", "When the person signed in, microseconds since 1970; none before."),
            optional_text("agent", "What the browser calls itself, cut, so that people recognise their sessions."),
            CREATED,
            integer("seen_at", "Last request, microseconds since 1970, written at most once a minute."),
            EXPIRES,
            optional_integer("ended_at", "When the person signed out, microseconds since 1970."),
        ],
        primary_key: &["hash"],
        clustered: false,
        indexes: &[
            index("session_by_account", &["account_id"], "ending all sessions of an account"),
            index("session_by_expiry", &["expires_at"], "removing the old ones"),
        ],
    },
    Table {
        name: "authorization_request",
        comment: "Authorization requests that passed all checks and wait for a person.",
        columns: &[
            hash("SHA-256 of the handle in the page's address."),
            Column { name: "session_hash", kind: Kind::Bytes, comment: "The browser that it belongs to." },
            optional_text("account_id", "Who signed in to answer it; nobody else may (OA-16)."),
            text("client_id", "Who asks."),
            text("redirect_uri", "Where the answer goes."),
            text("scope", "What is asked, cut down to what the client is registered for."),
            text("state", "Echoed byte for byte."),
            text("code_challenge", "PKCE, S256."),
            text("audience", "The FHIR base that the tokens will be for."),
            optional_text("nonce", "Echoed in the id_token (OpenID Connect)."),
            optional_text("login_hint", "Whom the app expects to sign in; fills the field of the login page."),
            optional_text("launch_account", "Who launched the app in the EHR; nobody else may answer (SM-35)."),
            optional_text("launch_context", "What the EHR handed over, a JSON object of members of the token answer."),
            CREATED,
            EXPIRES,
            USED,
        ],
        primary_key: &["hash"],
        clustered: false,
        indexes: &[index("authorization_request_by_expiry", &["expires_at"], "removing the old ones")],
    },
    Table {
        name: "app_grant",
        comment: "What somebody gave a client: the family of all tokens that come of it.",
        columns: &[
            text("id", "Surrogate key, a UUID."),
            text("holder", "Who stands behind it: person, service or operator."),
            text("client_id", "Who it was given to."),
            optional_text("account_id", "Who gave it; none for a service and the operator."),
            text("scope", "What was given."),
            optional_text("patient", "Logical id of the patient of the launch context."),
            optional_text("encounter", "Logical id of the encounter of the launch context."),
            optional_text("context", "The rest of the launch context, a JSON object of members of the token answer."),
            optional_text("nonce", "What the app wants to find in its id_token (OpenID Connect)."),
            optional_integer("auth_time", "When the person signed in, microseconds since 1970."),
            text("audience", "The FHIR base that its tokens are for."),
            Column {
                name: "session_hash",
                kind: Kind::OptionalBytes,
                comment: "The session with which renewal ends (online_access).",
            },
            CREATED,
            integer("expires_at", "When it ends, however often it is renewed, microseconds since 1970."),
            optional_integer("revoked_at", "When it was withdrawn, microseconds since 1970."),
        ],
        primary_key: &["id"],
        clustered: false,
        indexes: &[
            index("app_grant_by_account", &["account_id"], "which apps a person let in"),
            index("app_grant_by_client", &["client_id"], "ending all grants of a client"),
        ],
    },
    Table {
        name: "authorization_code",
        comment: "Authorization codes, spent once.",
        columns: &[
            hash("SHA-256 of the code."),
            text("grant_id", "What it stands for."),
            text("client_id", "Who it was issued to."),
            text("redirect_uri", "Where it was sent."),
            text("code_challenge", "PKCE, S256."),
            CREATED,
            EXPIRES,
            USED,
        ],
        primary_key: &["hash"],
        clustered: false,
        indexes: &[index("authorization_code_by_expiry", &["expires_at"], "removing the old ones")],
    },
    Table {
        name: "client_assertion",
        comment: "Signed assertions that clients authenticated with: each is accepted once (SM-63).",
        columns: &[
            text("client_id", "Who signed it; two clients may choose the same jti."),
            hash("SHA-256 of its jti."),
            integer("expires_at", "From when on it would be refused anyway, microseconds since 1970."),
        ],
        primary_key: &["client_id", "hash"],
        clustered: true,
        indexes: &[index("client_assertion_by_expiry", &["expires_at"], "removing the old ones")],
    },
    Table {
        name: "pushed_request",
        comment: "Authorization requests that clients pushed (RFC 9126), taken once.",
        columns: &[
            hash("SHA-256 of the handle in the request_uri."),
            text("client_id", "Who pushed it; nobody else may take it."),
            text("parameters", "The parameters, form-urlencoded."),
            CREATED,
            EXPIRES,
            USED,
        ],
        primary_key: &["hash"],
        clustered: false,
        indexes: &[index("pushed_request_by_expiry", &["expires_at"], "removing the old ones")],
    },
    Table {
        name: "invitation",
        comment: "Initial access tokens for registering a client (RFC 7591), spent once.",
        columns: &[
            hash("SHA-256 of the token."),
            optional_text("account_id", "Who invited; none: the operator."),
            optional_text("client_id", "Which client was registered with it."),
            CREATED,
            EXPIRES,
            USED,
        ],
        primary_key: &["hash"],
        clustered: false,
        indexes: &[index("invitation_by_expiry", &["expires_at"], "removing the old ones")],
    },
    Table {
        name: "access_token",
        comment: "Access tokens.",
        columns: &[
            hash("SHA-256 of the token."),
            text("grant_id", "The grant it comes of."),
            text("scope", "What it gives, within its grant."),
            Column {
                name: "refresh_hash",
                kind: Kind::OptionalBytes,
                comment: "The refresh token that was handed out beside it; it ends when that one is replaced.",
            },
            CREATED,
            EXPIRES,
            optional_integer("revoked_at", "When it alone was withdrawn, microseconds since 1970."),
        ],
        primary_key: &["hash"],
        clustered: false,
        indexes: &[
            index("access_token_by_grant", &["grant_id"], "withdrawing a family"),
            index("access_token_by_expiry", &["expires_at"], "removing the old ones"),
        ],
    },
    Table {
        name: "refresh_token",
        comment: "Refresh tokens, each exchanged once for its successor.",
        columns: &[
            hash("SHA-256 of the token."),
            text("grant_id", "The grant it comes of; its scope is the token's."),
            CREATED,
            EXPIRES,
            USED,
            Column { name: "successor_hash", kind: Kind::OptionalBytes, comment: "What it was exchanged for." },
        ],
        primary_key: &["hash"],
        clustered: false,
        indexes: &[
            index("refresh_token_by_grant", &["grant_id"], "withdrawing a family"),
            index("refresh_token_by_expiry", &["expires_at"], "removing the old ones"),
        ],
    },
];
