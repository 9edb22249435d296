//! Resources, their versions with who made them, and the search index.

use sea_orm_migration::prelude::*;

use crate::table::{self, Column, Index, Kind, Table, integer, text};

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

const PARAM: Column = integer("param", "Search parameter and its definition: search::entry::ParamId.");
const PATIENT: Column = integer(
    "patient",
    "The Patient in whose compartment the resource lies, see table target; 0 for none; one row per patient.",
);
const CHRONOLOGY: Column = integer(
    "chronology",
    "When the resource happened, microseconds since 1970; the smallest integer if it does not say. Newest first is the default order.",
);
const RID: Column =
    integer("rid", "The resource that has the value; from 2^62 on a contained one, see search::contained.");
const LEAD: Column = integer(
    "lead",
    "1 on one row of each value, 0 on its repetitions for further patients: scans over all patients read 1.",
);

static TABLES: &[Table] = &[
    Table {
        name: "resource_type",
        comment: "Numbers of the resource types, in the order of HL7's definitions.",
        columns: &[integer("type_id", "Number used in all other tables."), text("name", "Type as in FHIR.")],
        primary_key: &["type_id"],
        clustered: false,
        indexes: &[],
    },
    Table {
        name: "resource",
        comment: "The current state of each resource.",
        columns: &[
            Column { name: "rid", kind: Kind::Serial, comment: "Surrogate key, in the order of creation." },
            integer("type_id", "Resource type."),
            text("id", "Logical id."),
            integer("version", "meta.versionId."),
            integer("live", "1 current, 0 deleted."),
            integer("last_updated", "meta.lastUpdated, microseconds since 1970."),
            integer("tables", "Bit set of the index tables that hold rows of it, see store::index."),
            Column { name: "body", kind: Kind::OptionalInteger, comment: "The JSON that is served, see table body." },
        ],
        primary_key: &["rid"],
        clustered: false,
        indexes: &[
            Index {
                name: "resource_by_id",
                columns: &["type_id", "id"],
                unique: true,
                only_where: None,
                comment: "read by logical id",
            },
            Index {
                name: "resource_by_last_updated",
                columns: &["type_id", "last_updated", "rid"],
                unique: false,
                only_where: Some("live"),
                comment: "_lastUpdated and _sort=_lastUpdated",
            },
        ],
    },
    Table {
        name: "body",
        comment: "The texts of all versions, each once; on SQLite those of one patient side by side.",
        columns: &[
            Column {
                name: "number",
                kind: Kind::Serial,
                comment: "On SQLite patient (see table target) times 2^32 plus a running number; elsewhere from blocks of 4096.",
            },
            text("text", "The JSON that is served, byte for byte."),
        ],
        primary_key: &["number"],
        clustered: false,
        indexes: &[],
    },
    Table {
        name: "target",
        comment: "What references point at, whether it is stored or not: who points at a resource must not change where \
                  the resource stands among others, so this is not the resource's own key.",
        columns: &[
            Column { name: "target", kind: Kind::Serial, comment: "References and patients are kept as this number." },
            integer("type_id", "Resource type."),
            text("id", "Logical id."),
        ],
        primary_key: &["target"],
        clustered: false,
        indexes: &[Index {
            name: "target_by_id",
            columns: &["type_id", "id"],
            unique: true,
            only_where: None,
            comment: "writing a reference; searching by reference; from a resource to who refers to it",
        }],
    },
    Table {
        name: "version",
        comment: "Every version of every resource, append-only: history, who changed what, and the feed of changes.",
        columns: &[
            Column { name: "seq", kind: Kind::Serial, comment: "Order of writing." },
            integer("type_id", "Resource type."),
            integer("rid", "The resource."),
            integer("version", "meta.versionId."),
            integer("last_updated", "meta.lastUpdated of this version, microseconds since 1970."),
            integer("method", "How it came: 1 POST, 2 PUT, 3 DELETE, 4 PATCH."),
            text(
                "patients",
                "The patients in whose compartment this version lay, see table target, each after a comma, one comma at the end.",
            ),
            text("actor", "Who made it: client and user, or the part of the server that acted."),
            Column {
                name: "body",
                kind: Kind::OptionalInteger,
                comment: "The JSON that is served, see table body; none for a deletion.",
            },
        ],
        primary_key: &["seq"],
        clustered: false,
        indexes: &[
            Index {
                name: "version_by_resource",
                columns: &["rid", "version"],
                unique: true,
                only_where: None,
                comment: "vread and instance history",
            },
            Index {
                name: "version_by_type",
                columns: &["type_id", "last_updated", "rid", "version"],
                unique: false,
                only_where: None,
                comment: "history of a type and of the system, for who may see everyone's",
            },
        ],
    },
    Table {
        name: "version_patient",
        comment: "Versions by the patient in whose compartment they lay, one row per patient; under 0 those of no \
                  patient whose type every patient may see. What version.patients says, ordered for histories.",
        columns: &[
            integer("patient", "The patient, see table target; 0 for none."),
            integer("type_id", "Resource type."),
            integer("last_updated", "meta.lastUpdated of the version."),
            integer("rid", "The resource."),
            integer("version", "meta.versionId."),
        ],
        primary_key: &["patient", "type_id", "last_updated", "rid", "version"],
        clustered: true,
        indexes: &[],
    },
    Table {
        name: "listing",
        comment: "Current resources by type and patient, in the default order of answers.",
        columns: &[
            integer("type_id", "Resource type; of contained resources its negative."),
            PATIENT,
            CHRONOLOGY,
            RID,
            LEAD,
        ],
        primary_key: &["type_id", "patient", "chronology", "rid"],
        clustered: true,
        indexes: &[
            Index {
                name: "listing_of_all",
                columns: &["type_id", "chronology", "rid"],
                unique: false,
                only_where: Some("lead"),
                comment: "search of a type over all patients",
            },
            Index {
                name: "listing_by_resource",
                columns: &["rid"],
                unique: false,
                only_where: None,
                comment: "view predicate on a known resource; rewriting on update",
            },
        ],
    },
    Table {
        name: "token",
        comment: "Dictionary of the tokens that occur.",
        columns: &[
            integer("token", "First 63 bits of SHA-256 over system, U+001F and code."),
            text("system", "Code system or identifier namespace, may be empty."),
            text("code", "Code."),
            integer("code_hash", "First 63 bits of SHA-256 over the code."),
            integer("system_hash", "First 63 bits of SHA-256 over the system."),
        ],
        primary_key: &["token"],
        clustered: false,
        indexes: &[
            Index {
                name: "token_by_code",
                columns: &["code_hash"],
                unique: false,
                only_where: None,
                comment: "search by code without a system",
            },
            Index {
                name: "token_by_system",
                columns: &["system_hash"],
                unique: false,
                only_where: None,
                comment: "search by system without a code",
            },
        ],
    },
    Table {
        name: "index_token",
        comment: "Values of token parameters.",
        columns: &[PARAM, integer("token", "The value, see table token."), PATIENT, CHRONOLOGY, RID, LEAD],
        primary_key: &["param", "token", "patient", "chronology", "rid"],
        clustered: true,
        indexes: &[
            Index {
                name: "index_token_of_all",
                columns: &["param", "token", "chronology", "rid"],
                unique: false,
                only_where: Some("lead"),
                comment: "search by token over all patients, newest first",
            },
            Index {
                name: "index_token_by_resource",
                columns: &["rid", "param", "token"],
                unique: false,
                only_where: None,
                comment: "further conditions on a found resource; rewriting on update",
            },
        ],
    },
    Table {
        name: "index_reference",
        comment: "Values of reference parameters.",
        columns: &[
            PARAM,
            integer(
                "target",
                "What it points at, see table target; for other URLs the negative of the first 63 bits of their SHA-256.",
            ),
            PATIENT,
            CHRONOLOGY,
            RID,
            LEAD,
        ],
        primary_key: &["param", "target", "patient", "chronology", "rid"],
        clustered: true,
        indexes: &[Index {
            name: "index_reference_by_resource",
            columns: &["rid", "param", "target"],
            unique: false,
            only_where: None,
            comment: "_include; further conditions on a found resource",
        }],
    },
    Table {
        name: "index_date",
        comment: "Values of date parameters.",
        columns: &[
            PARAM,
            integer("low", "First microsecond since 1970 that the value may denote; the smallest integer if open."),
            integer("high", "Last microsecond; the largest integer if open."),
            PATIENT,
            CHRONOLOGY,
            RID,
            LEAD,
        ],
        primary_key: &["param", "low", "high", "patient", "rid"],
        clustered: true,
        indexes: &[
            Index {
                name: "index_date_by_patient",
                columns: &["param", "patient", "low", "rid"],
                unique: false,
                only_where: None,
                comment: "dates within one patient's data",
            },
            Index {
                name: "index_date_by_resource",
                columns: &["rid", "param", "low", "high"],
                unique: false,
                only_where: None,
                comment: "further conditions on a found resource; sorting",
            },
        ],
    },
    Table {
        name: "index_string",
        comment: "Values of string parameters.",
        columns: &[
            PARAM,
            text("prefix", "First 40 characters of the folded value: long texts do not fit into an index."),
            text("folded", "Value folded for case, accents and white space."),
            text("exact", "Value as written."),
            PATIENT,
            CHRONOLOGY,
            RID,
            LEAD,
            integer("value", "First 63 bits of SHA-256 over the exact value: tells values of one resource apart."),
        ],
        primary_key: &["param", "prefix", "patient", "rid", "value"],
        clustered: true,
        indexes: &[Index {
            name: "index_string_by_resource",
            columns: &["rid", "param"],
            unique: false,
            only_where: None,
            comment: "further conditions on a found resource; sorting",
        }],
    },
    Table {
        name: "index_number",
        comment: "Values of number parameters.",
        columns: &[
            PARAM,
            text("value", "Sortable form of the decimal, see fhir::decimal."),
            PATIENT,
            CHRONOLOGY,
            RID,
            LEAD,
        ],
        primary_key: &["param", "value", "patient", "rid"],
        clustered: true,
        indexes: &[Index {
            name: "index_number_by_resource",
            columns: &["rid", "param", "value"],
            unique: false,
            only_where: None,
            comment: "further conditions on a found resource; sorting",
        }],
    },
    Table {
        name: "index_quantity",
        comment: "Values of quantity parameters.",
        columns: &[
            PARAM,
            text("value", "Sortable form of the decimal, see fhir::decimal."),
            integer("unit", "First 63 bits of SHA-256 over unit system, U+001F and code."),
            integer("code", "First 63 bits of SHA-256 over the coded unit."),
            integer("name", "First 63 bits of SHA-256 over the unit as written for people."),
            PATIENT,
            CHRONOLOGY,
            RID,
            LEAD,
        ],
        primary_key: &["param", "value", "unit", "name", "patient", "rid"],
        clustered: true,
        indexes: &[Index {
            name: "index_quantity_by_resource",
            columns: &["rid", "param", "value"],
            unique: false,
            only_where: None,
            comment: "further conditions on a found resource; sorting",
        }],
    },
    Table {
        name: "index_uri",
        comment: "Values of uri parameters.",
        columns: &[
            PARAM,
            integer("hash", "First 63 bits of SHA-256 over the value."),
            text("value", "Value as written."),
            PATIENT,
            CHRONOLOGY,
            RID,
            LEAD,
        ],
        primary_key: &["param", "hash", "patient", "rid"],
        clustered: true,
        indexes: &[Index {
            name: "index_uri_by_resource",
            columns: &["rid", "param", "hash"],
            unique: false,
            only_where: None,
            comment: "further conditions on a found resource; sorting",
        }],
    },
    Table {
        name: "index_composite",
        comment: "Values of composite parameters: what one element has for each component. A column that the parameter's kinds of components leave unused holds 0 or an empty text.",
        columns: &[
            PARAM,
            integer("first", "The first component: token as in table token, or target as in index_reference."),
            integer(
                "second",
                "The second component, if a token or reference: as the first; if a text or URI: first 63 bits of SHA-256 over it as written.",
            ),
            integer("low", "The second component, if a date: first microsecond since 1970, as in index_date."),
            integer("high", "Last microsecond of it."),
            text(
                "value",
                "The second component, if a number or quantity: sortable form of the decimal, see fhir::decimal.",
            ),
            integer("unit", "Its unit: first 63 bits of SHA-256 over unit system, U+001F and code."),
            integer("code", "First 63 bits of SHA-256 over the coded unit."),
            integer("name", "First 63 bits of SHA-256 over the unit as written for people."),
            text("prefix", "The second component, if a text: first 40 characters of the folded value."),
            text("folded", "Value folded for case, accents and white space."),
            text("exact", "The text or URI as written."),
            text("third", "The third component, a number: sortable form."),
            text("canonical", "The quantity in canonical units of UCUM: sortable form; empty if its unit is no such."),
            integer("canonical_unit", "First 63 bits of SHA-256 over the canonical unit; 0 if there is none."),
            PATIENT,
            CHRONOLOGY,
            RID,
            LEAD,
            integer("element", "First 63 bits of SHA-256 over all values: tells elements of one resource apart."),
        ],
        primary_key: &["param", "first", "patient", "chronology", "rid", "element"],
        clustered: true,
        indexes: &[
            Index {
                name: "index_composite_of_all",
                columns: &[
                    "param",
                    "first",
                    "chronology",
                    "rid",
                    "second",
                    "value",
                    "unit",
                    "code",
                    "name",
                    "canonical",
                    "canonical_unit",
                ],
                unique: false,
                only_where: Some("lead"),
                comment: "search over all patients, newest first: the values stand in it so that what is too small is passed over quickly",
            },
            Index {
                name: "index_composite_by_resource",
                columns: &["rid", "param", "first"],
                unique: false,
                only_where: None,
                comment: "further conditions on a found resource; rewriting on update",
            },
        ],
    },
    Table {
        name: "claim",
        comment: "Criteria of conditional creates: the row that two of them meet on, so that one waits for the other.",
        columns: &[
            integer("hash", "First 63 bits of SHA-256 over type and criteria, modulo 2^18: so many rows at most."),
            integer("claims", "How often it was claimed."),
        ],
        primary_key: &["hash"],
        clustered: false,
        indexes: &[],
    },
];
