//! Searches that lead over several resources, several values and several pages, on both engines.
//!
//! PostgreSQL is tested where `TRIBUTARY_TEST_POSTGRES` names a server on which databases may be made.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod composite;
mod costs;
mod include;
mod links;
mod pages;
mod texts;
mod types;
mod world;

use world::World;

#[test]
fn sqlite_finds_what_leads_there() {
    let folder = std::env::temp_dir().join(format!("tributary-search-{}", std::process::id()));
    run(&format!("sqlite:{}/test.sqlite", folder.display()));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn postgres_finds_what_leads_there() {
    let Ok(server) = std::env::var("TRIBUTARY_TEST_POSTGRES") else {
        println!("skipped: PostgreSQL (TRIBUTARY_TEST_POSTGRES is not set)");
        return;
    };
    let name = format!("search_{}", std::process::id());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        use sea_orm::ConnectionTrait;
        let admin = sea_orm::Database::connect(format!("{server}/postgres")).await.unwrap();
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    });
    run(&format!("{server}/{name}"));
}

fn run(address: &str) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let world = World::new(address).await;
        composite::finds_elements_that_match_all_components(&world).await;
        links::follows_chains(&world).await;
        links::follows_references_back(&world).await;
        links::combines_conditions(&world).await;
        links::walks_hierarchies(&world).await;
        links::passes_through_nothing_hidden(&world).await;
        links::looks_at_resources_where_no_index_helps(&world).await;
        links::compares_paths_of_uris(&world).await;
        pages::turns_both_ways_in_every_order(&world).await;
        pages::stays_in_place_while_others_write(&world).await;
        include::includes_and_iterates(&world).await;
        types::merges_several_types(&world).await;
        texts::are_remembered_once_they_are_committed(&world).await;
        costs::explains_without_values(&world).await;
        costs::gives_up_in_time(&world, address).await;
    });
}
