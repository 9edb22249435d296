//! What vendors deliver, which of their devices belongs to whom, and with which keys they come.

use sea_orm_migration::prelude::*;

use crate::table::{self, Column, Kind, Table, index, integer, optional_text, text, unique_index};

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

const VENDOR: Column = text("vendor", "Name of the adapter, such as medisante.");

static TABLES: &[Table] = &[
    Table {
        name: "inbox",
        comment: "Every vendor message that was acknowledged, as it came, and what became of it.",
        columns: &[
            text(
                "receipt",
                "What the vendor was answered: 24 hexadecimal digits, the first 8 are the second of receipt.",
            ),
            VENDOR,
            text(
                "delivery",
                "The vendor's id of the message; sha256:… where it has none; id#sha256… for the same id with other content.",
            ),
            Column { name: "hash", kind: Kind::Bytes, comment: "SHA-256 of the body." },
            Column { name: "body", kind: Kind::Bytes, comment: "The message, byte for byte." },
            optional_text(
                "device",
                "Device that may be paired with a patient; the one on the patient where there is a gateway too.",
            ),
            optional_text("gateway", "The gateway that sent for it."),
            text("shape", "Which of the vendor's shapes it is in, such as fhir-json."),
            optional_text("patient", "Logical id of the patient whose app sent it."),
            text("query", "What the URL said of it beside the path: type=… or nothing."),
            text("state", "received, applied, quarantined or dead."),
            integer("received_at", "When it came first, microseconds since 1970."),
            integer("delivered_at", "When it came last."),
            integer("deliveries", "How often it came with the same content."),
            integer("attempts", "How often it was tried to be applied since it was received or replayed."),
            integer("due_at", "When a worker may take it: a lease while one works on it, a delay after a failure."),
            integer("settled_at", "When it got its state; 0 while it is received."),
            text("outcome", "JSON: what was written, and the issues as in an OperationOutcome."),
        ],
        primary_key: &["receipt"],
        clustered: false,
        indexes: &[
            unique_index("inbox_by_delivery", &["vendor", "delivery"], "exactly once"),
            index("inbox_by_state", &["state", "due_at", "receipt"], "the worker's queue; lists by state"),
            index("inbox_by_device", &["vendor", "device", "state"], "replay after a pairing"),
            index("inbox_by_gateway", &["vendor", "gateway", "state"], "replay after the pairing of a gateway"),
        ],
    },
    Table {
        name: "tombstone",
        comment: "Records that a vendor deleted: what still arrives of them is not published.",
        columns: &[
            VENDOR,
            text("record", "The vendor's id of the record."),
            integer("at", "When the deletion was read, microseconds since 1970."),
        ],
        primary_key: &["vendor", "record"],
        clustered: true,
        indexes: &[],
    },
    Table {
        name: "pairing",
        comment: "Which device was with which patient, and when. Device data gets its patient from here only.",
        columns: &[
            text("pairing", "Its id: 32 hexadecimal digits."),
            text("vendor", "Vendor or provider of the device."),
            text("device", "Device identifier as the vendor writes it."),
            text("patient", "Logical id of the patient."),
            integer("from_at", "First moment, microseconds since 1970."),
            integer("until_at", "First moment after it; the largest integer while it is open."),
            integer("created_at", "When it was written."),
            text("created_by", "Who wrote it."),
        ],
        primary_key: &["pairing"],
        clustered: false,
        indexes: &[
            unique_index(
                "pairing_by_device",
                &["vendor", "device", "until_at"],
                "whose reading is it; at most one open pairing a device",
            ),
            index("pairing_by_patient", &["patient"], "the devices of a patient"),
        ],
    },
    Table {
        name: "vendor_key",
        comment: "Secrets that senders show, one for each sender; only their hashes.",
        columns: &[
            Column { name: "hash", kind: Kind::Bytes, comment: "SHA-256 of the secret." },
            VENDOR,
            text("sender", "Name of the sender, for people."),
            integer("created_at", "When it was made, microseconds since 1970."),
            integer("revoked_at", "When it was revoked, 0 while it is good."),
        ],
        primary_key: &["hash"],
        clustered: false,
        indexes: &[index("vendor_key_by_vendor", &["vendor", "created_at"], "the keys to compare with")],
    },
];
