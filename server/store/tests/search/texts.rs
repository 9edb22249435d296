//! Texts of resources that are remembered.

use search::query::Query;
use search::view::View;
use store::{Change, StoreError, Work};

use crate::world::{SUBJECT, World, event, observation, query, refers};

/// On SQLite the number of a text that was undone is given to the next one of the patient.
pub(crate) async fn are_remembered_once_they_are_committed(world: &World) {
    let told = |id: &str, text: &str| Change {
        id: id.into(),
        body: Some(format!("{{\"resourceType\":\"Observation\",\"id\":\"{id}\",\"told\":\"{text}\"}}")),
        ..observation(7, 0)
    };
    let asked = || query("Observation", vec![refers(SUBJECT, "Patient", "7")]);
    let undone = told("undone", "undone");
    let write = world.store.write(move |tx| -> Work<'_, (), StoreError> {
        let (change, asked) = (undone.clone(), asked());
        Box::pin(async move {
            tx.put(Change { event: event(), ..change }).await?;
            let page = tx.search(&View::system(), &asked).await?;
            assert!(page.matches.iter().any(|stored| stored.body.contains("undone")));
            Err(StoreError::Conflict)
        })
    });
    assert!(write.await.is_err());
    world.put(vec![told("kept", "first")]).await;
    for _ in 0..2 {
        assert_eq!(texts_of(world, &asked()).await, ["first"]);
    }
    world.put(vec![Change { version: 2, ..told("kept", "second") }]).await;
    assert_eq!(texts_of(world, &asked()).await, ["second"]);
}

/// What the resources tell that tell anything.
async fn texts_of(world: &World, query: &Query) -> Vec<String> {
    let page = world.store.search(&View::system(), query).await.unwrap();
    let told = page.matches.iter().filter_map(|stored| stored.body.split_once("\"told\":\""));
    told.map(|(_, rest)| rest.trim_end_matches("\"}").to_owned()).collect()
}
