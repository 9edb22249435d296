//! Databases that were filled before a migration.
//!
//! PostgreSQL is tested where `TRIBUTARY_TEST_POSTGRES` names a server on which databases may be made.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, DbBackend, Statement};
use sea_orm_migration::MigratorTrait as _;

/// Rows that an older release wrote, and writes while both releases run.
const BEFORE: &str = "
INSERT INTO index_number (param, value, patient, chronology, rid, lead) VALUES (1, '2400011', 0, 0, 7, 1);
INSERT INTO index_quantity (param, value, unit, code, name, patient, chronology, rid, lead)
VALUES (1, '2400011', 2, 3, 4, 0, 0, 7, 1);
INSERT INTO index_composite
(param, first, second, low, high, value, unit, code, name, prefix, folded, exact, third, canonical, canonical_unit,
patient, chronology, rid, lead, element)
VALUES (1, 2, 0, 0, 0, '2400011', 2, 3, 4, '', '', '', '', '', 0, 0, 0, 7, 1, 5);";

async fn numbers_of_before_are_single_numbers(connection: &DatabaseConnection) {
    up_to(connection, "_000028_").await;
    connection.execute_unprepared(BEFORE).await.unwrap();
    migrations::Migrator::up(connection, None).await.unwrap();
    // An older release still writes.
    connection.execute_unprepared(&BEFORE.replace(", 7,", ", 8,")).await.unwrap();
    // Ranges that share an end with each other, and with a single number.
    for other in ["2400012", "2400013"] {
        let range = BEFORE.replace("(param,", "(other, param,").replace("VALUES (", &format!("VALUES ('{other}', "));
        let numbers = range.split("INSERT INTO index_composite").next().unwrap();
        connection.execute_unprepared(numbers).await.unwrap();
    }
    for (table, expected) in [
        ("index_number", &["7 ''", "7 '2400012'", "7 '2400013'", "8 ''"][..]),
        ("index_quantity", &["7 ''", "7 '2400012'", "7 '2400013'", "8 ''"]),
        ("index_composite", &["7 ''", "8 ''"]),
    ] {
        let sql = format!("SELECT rid || ' ''' || other || '''' AS found FROM {table} WHERE param = 1 ORDER BY 1");
        assert_eq!(found(connection, sql).await, expected, "{table}");
    }
}

/// Codes that were there are found in any case; more of them than are looked at together.
async fn tokens_of_before_have_no_case(connection: &DatabaseConnection) {
    up_to(connection, "_000029_").await;
    let token =
        |number: u32| format!("({number}, 's', 'Code-{number}', 0, 0), ({}, 's', 'c-{number}', 0, 0)", 5_000 + number);
    let tokens: Vec<String> = (0..1_100).map(token).collect();
    let columns = "token (token, system, code, code_hash, system_hash)";
    let insert = format!("INSERT INTO {columns} VALUES {}", tokens.join(", "));
    connection.execute_unprepared(&insert).await.unwrap();
    migrations::Migrator::up(connection, None).await.unwrap();
    // An older release still writes.
    connection.execute_unprepared(&format!("INSERT INTO {columns} VALUES (9999, 's', 'A', 0, 0)")).await.unwrap();
    let stated = "SELECT code || ' ' || folded_hash AS found FROM token WHERE folded_hash IS NOT NULL";
    // SQLite has no two processes that write.
    let is_filled = usize::from(connection.get_database_backend() == DbBackend::Postgres);
    assert_eq!(found(connection, stated.to_owned()).await.len(), 1_100 + is_filled);
    let some = found(connection, format!("{stated} AND token IN (7, 1099, 9999) ORDER BY token")).await;
    let hashes = ["Code-7 6541287470910203901", "Code-1099 7316361590638035963", "A 5374906597990186442"];
    assert_eq!(some, hashes[..2 + is_filled]);
}

/// While the tokens that were there are looked at, others are written and read.
async fn tokens_are_filled_beside_writes(connection: &DatabaseConnection) {
    up_to(connection, "_000029_").await;
    let many = "INSERT INTO token (token, system, code, code_hash, system_hash) \
                SELECT n, 's', 'Code-' || n, 0, 0 FROM generate_series(1, 60000) AS n";
    connection.execute_unprepared(many).await.unwrap();
    let migrated = migrations::Migrator::up(connection, None);
    let beside = async {
        let (mut number, mut partly) = (100_000, 0);
        loop {
            number += 1;
            let insert = format!(
                "INSERT INTO token (token, system, code, code_hash, system_hash) VALUES ({number}, 's', 'B', 0, 0)"
            );
            connection.execute_unprepared(&insert).await.unwrap();
            let filled = "SELECT count(*) AS found FROM token WHERE folded_hash IS NOT NULL AND token <= 60000";
            let counted = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, filled)).await;
            // Before there is the column, none is filled.
            let filled: i64 = counted.ok().flatten().map_or(0, |row| row.try_get("", "found").unwrap());
            if filled == 60_000 {
                return partly;
            }
            partly += usize::from(filled > 0);
        }
    };
    let (migrated, partly) = tokio::join!(migrated, beside);
    migrated.unwrap();
    assert!(partly > 0, "nothing is seen of it before all is done");
    let unfilled = "SELECT code AS found FROM token WHERE folded_hash IS NULL";
    assert_eq!(found(connection, unfilled.to_owned()).await, [""; 0], "what is written beside is filled");
    let ready = "SELECT CAST(indisvalid AS text) AS found FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid \
                 WHERE relname = 'token_by_folded'";
    assert_eq!(found(connection, ready.to_owned()).await, ["true"]);
}

/// Cut off in the middle, a migration is begun again.
async fn tokens_are_filled_once_more(connection: &DatabaseConnection) {
    migrations::Migrator::up(connection, None).await.unwrap();
    connection.execute_unprepared("DELETE FROM seaql_migrations WHERE version LIKE '%_000029_%'").await.unwrap();
    connection.execute_unprepared("DROP INDEX token_by_folded").await.unwrap();
    let insert = "INSERT INTO token (token, system, code, code_hash, system_hash, folded_hash) VALUES \
                  (7, 's', 'Code-7', 0, 0, NULL)";
    connection.execute_unprepared(insert).await.unwrap();
    migrations::Migrator::up(connection, None).await.unwrap();
    let stated = "SELECT code || ' ' || folded_hash AS found FROM token";
    assert_eq!(found(connection, stated.to_owned()).await, ["Code-7 6541287470910203901"]);
}

/// Applies all migrations before that one.
async fn up_to(connection: &DatabaseConnection, name: &str) {
    let migrations = migrations::Migrator::migrations();
    let before = migrations.iter().position(|it| it.name().contains(name)).unwrap();
    migrations::Migrator::up(connection, Some(u32::try_from(before).unwrap())).await.unwrap();
}

async fn found(connection: &DatabaseConnection, sql: String) -> Vec<String> {
    let rows = connection.query_all_raw(Statement::from_string(connection.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get("", "found").unwrap()).collect()
}

async fn on_sqlite(test: impl AsyncFnOnce(&DatabaseConnection), name: &str) {
    let file = std::env::temp_dir().join(format!("tributary-{name}-{}.sqlite", std::process::id()));
    let connection = Database::connect(format!("sqlite:{}?mode=rwc", file.display())).await.unwrap();
    test(&connection).await;
    connection.close().await.unwrap();
    std::fs::remove_file(file).unwrap();
}

async fn on_postgres(test: impl AsyncFnOnce(&DatabaseConnection), name: &str) {
    let Ok(server) = std::env::var("TRIBUTARY_TEST_POSTGRES") else {
        println!("skipped: PostgreSQL (TRIBUTARY_TEST_POSTGRES is not set)");
        return;
    };
    let name = format!("{name}_{}", std::process::id());
    let admin = Database::connect(format!("{server}/postgres")).await.unwrap();
    admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
    admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    let connection = Database::connect(format!("{server}/{name}")).await.unwrap();
    test(&connection).await;
    connection.close().await.unwrap();
    admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
}

#[tokio::test]
async fn numbers_of_before_are_single_numbers_on_sqlite() {
    on_sqlite(numbers_of_before_are_single_numbers, "migration-of-numbers").await;
}

#[tokio::test]
async fn numbers_of_before_are_single_numbers_on_postgres() {
    on_postgres(numbers_of_before_are_single_numbers, "migration_of_numbers").await;
}

#[tokio::test]
async fn tokens_of_before_have_no_case_on_sqlite() {
    on_sqlite(tokens_of_before_have_no_case, "migration-of-tokens").await;
}

#[tokio::test]
async fn tokens_of_before_have_no_case_on_postgres() {
    on_postgres(tokens_of_before_have_no_case, "migration_of_tokens").await;
}

#[tokio::test]
async fn tokens_are_filled_beside_writes_on_postgres() {
    on_postgres(tokens_are_filled_beside_writes, "migration_beside_writes").await;
}

#[tokio::test]
async fn tokens_are_filled_once_more_on_sqlite() {
    on_sqlite(tokens_are_filled_once_more, "migration-once-more").await;
}

#[tokio::test]
async fn tokens_are_filled_once_more_on_postgres() {
    on_postgres(tokens_are_filled_once_more, "migration_once_more").await;
}
