//! Databases that were filled before a migration.
//!
//! PostgreSQL is tested where `TRIBUTARY_TEST_POSTGRES` names a server on which databases may be made.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, Statement};
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
    assert_eq!(found(connection, stated.to_owned()).await.len(), 1_100);
    let some = found(connection, format!("{stated} AND token IN (7, 1099) ORDER BY token")).await;
    assert_eq!(some, ["Code-7 6541287470910203901", "Code-1099 7316361590638035963"]);
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
