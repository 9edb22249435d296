//! Insured visits, and the claims that are to be sent to payers or are followed there.

use sea_orm_migration::prelude::*;

use crate::table::{self, Table, index, integer, optional_text, text, unique_index};

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
        name: "insurance_session",
        comment: "Visits as payers opened them: what has to be known of one before a claim is sent.",
        columns: &[
            text("payer", "Adapter of the payer, such as smartlink."),
            text("session", "The payer's id of the session."),
            text("patient_number", "The payer's number of the patient."),
            optional_text("visit_number", "Our number of the visit, once it was merged."),
            text("status", "PENDING, ACTIVE, BILLED, CLOSED or EXPIRED."),
            integer("seen_at", "When it was first seen, microseconds since 1970: it is open for 24 hours."),
            text("facts", "JSON: payer code, coverage, member number, currency, benefits with what is left of them."),
        ],
        primary_key: &["payer", "session"],
        clustered: true,
        indexes: &[index("insurance_session_by_status", &["status", "seen_at"], "sessions that are about to expire")],
    },
    Table {
        name: "claim_submission",
        comment: "Claims on their way to a payer: written with the Claim, sent by a worker, followed until they are settled.",
        columns: &[
            text("claim", "Logical id of the Claim."),
            text("payer", "Adapter of the payer."),
            text("connection", "Name of the connection to it."),
            text("invoice", "Invoice number: billed once."),
            text("visit", "Visit number."),
            text("session", "The payer's id of the session."),
            text("member", "Member number."),
            text("path", "Path and query of the request, below the base of the connection."),
            text("body", "The request, as it is sent."),
            text("net", "What the payer is asked for, a decimal."),
            text("currency", "Its currency."),
            text("refs", "JSON: what the ClaimResponse refers to."),
            text(
                "state",
                "waiting, sending, unknown, taken, refused, billed, cancelled, rejected, differs or given-up.",
            ),
            text("reason", "JSON: issues of the last answer."),
            text("reference", "The payer's id of the claim; empty until it is known."),
            integer("attempts", "How often it was sent."),
            integer("asked", "How often its status was asked for in vain since it was last heard of."),
            integer("sent_at", "When it was last sent, microseconds since 1970; 0 before."),
            integer("created_at", "When it was submitted."),
            integer("changed_at", "When its state last changed."),
            integer("due_at", "When a worker may take it: the end of the lease while one has it."),
            integer("lease", "Counts the leases: a worker that was given up for dead changes nothing."),
        ],
        primary_key: &["claim"],
        clustered: false,
        indexes: &[
            unique_index("claim_submission_by_invoice", &["payer", "invoice"], "an invoice is billed once"),
            index("claim_submission_by_state", &["state", "due_at"], "the worker's queue; the worklist"),
        ],
    },
];
