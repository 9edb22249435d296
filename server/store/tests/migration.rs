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
    let migrations = migrations::Migrator::migrations();
    let before = migrations.iter().position(|it| it.name().contains("_000028_")).unwrap();
    migrations::Migrator::up(connection, Some(u32::try_from(before).unwrap())).await.unwrap();
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
        let rows =
            connection.query_all_raw(Statement::from_string(connection.get_database_backend(), sql)).await.unwrap();
        let found: Vec<String> = rows.iter().map(|row| row.try_get("", "found").unwrap()).collect();
        assert_eq!(found, expected, "{table}");
    }
}

#[tokio::test]
async fn numbers_of_before_are_single_numbers_on_sqlite() {
    let file = std::env::temp_dir().join(format!("tributary-migration-{}.sqlite", std::process::id()));
    let connection = Database::connect(format!("sqlite:{}?mode=rwc", file.display())).await.unwrap();
    numbers_of_before_are_single_numbers(&connection).await;
    connection.close().await.unwrap();
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn numbers_of_before_are_single_numbers_on_postgres() {
    let Ok(server) = std::env::var("TRIBUTARY_TEST_POSTGRES") else {
        println!("skipped: PostgreSQL (TRIBUTARY_TEST_POSTGRES is not set)");
        return;
    };
    let name = format!("migration_{}", std::process::id());
    let admin = Database::connect(format!("{server}/postgres")).await.unwrap();
    admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
    admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    let connection = Database::connect(format!("{server}/{name}")).await.unwrap();
    numbers_of_before_are_single_numbers(&connection).await;
    connection.close().await.unwrap();
    admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
}
