//! The audit trail is found by who did it, and by the patients that are named in it without it being about them: a try
//! that was refused, a batch. <https://hl7.org/fhir/R4/auditevent.html#search>
//!
//! On PostgreSQL the indexes are built beside the writes. Begun again after it was cut off, it makes them anew.

use sea_orm_migration::prelude::*;

use crate::table::{self, Index, index};

/// The migration.
#[derive(DeriveMigrationName, Debug)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        table::add_index_where(manager, "audit_event", &BY_PERSON, "fhir_user IS NOT NULL").await?;
        table::add_index_where(manager, "audit_event", &OF_OTHERS, NAMES_OTHERS).await
    }
}

const BY_PERSON: Index = index("audit_event_by_person", &["fhir_user", "id"], "what somebody did");

const OF_OTHERS: Index =
    index("audit_event_of_others", &["id"], "events that name patients whom audit_patient does not have for them");

/// What all events satisfy that touched a Patient and are not about it, and few others. Engines use the index for a
/// statement that has these very words.
pub const NAMES_OTHERS: &str = "entities LIKE '% Patient/%' AND (patients = '' OR status >= 400 OR subtype = 'batch' \
     OR (subtype = 'transaction' AND entities LIKE '%R___ Patient/%'))";
