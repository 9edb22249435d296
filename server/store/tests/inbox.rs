//! The inbox on a database of its own: exactly once, leases, states, replay.

use std::path::PathBuf;
use std::sync::Arc;

use store::connections::{self, Connection};
use store::inbox::{self, Arrival, Filter, Origin, Receipt, State};
use store::pairings::{self, Paired, Pairing};
use store::{Store, StoreError, vendor_keys};

#[tokio::test]
async fn re_22_the_same_delivery_is_kept_once_and_other_content_beside_it() {
    let database = Database::new("inbox-once").await;
    let first = receive(&database.store, arrival("r1", Some("d1"), "a")).await;
    assert_eq!((first.receipt.as_str(), first.state, first.first), ("r1", State::Received, true));
    let again = receive(&database.store, arrival("r2", Some("d1"), "a")).await;
    assert_eq!((again.receipt.as_str(), again.first), ("r1", false));
    let other = receive(&database.store, arrival("r3", Some("d1"), "b")).await;
    assert_eq!((other.receipt.as_str(), other.state), ("r3", State::Duplicate));
    let other_again = receive(&database.store, arrival("r4", Some("d1"), "b")).await;
    assert_eq!(other_again.receipt, "r3");
    let nameless = receive(&database.store, Arrival { state: State::Dead, ..arrival("r5", None, "c") }).await;
    assert_eq!((nameless.receipt.as_str(), nameless.state), ("r5", State::Dead));
    let listed = inbox::list(&database.store, &Filter::default(), 10).await.expect("listed");
    assert_eq!(listed.len(), 3);
    assert_eq!(listed.iter().find(|message| message.receipt == "r1").map(|message| message.deliveries), Some(2));
    assert_eq!(inbox::body(&database.store, "r3").await.expect("read").as_deref(), Some(&b"b"[..]));
}

#[tokio::test]
async fn a_leased_message_is_free_again_when_the_lease_has_run_out() {
    let database = Database::new("inbox-lease").await;
    receive(&database.store, arrival("r1", Some("d1"), "a")).await;
    assert_eq!(lease(&database.store, 100, 200).await, ["r1"]);
    assert_eq!(lease(&database.store, 150, 250).await, [""; 0]);
    assert_eq!(lease(&database.store, 200, 300).await, ["r1"], "the worker was killed");
    settle(&database.store, "r1", State::Quarantined).await;
    assert_eq!(lease(&database.store, 1000, 1100).await, [""; 0]);
    assert_eq!(replay(&database.store, Some("gateway")).await, 1, "found by its gateway");
    assert_eq!(lease(&database.store, 1000, 1100).await, ["r1"]);
    settle(&database.store, "r1", State::Quarantined).await;
    assert_eq!(replay(&database.store, Some("third-7")).await, 1, "found by any other device");
    assert_eq!(replay(&database.store, Some("fourth")).await, 0);
    assert_eq!(lease(&database.store, 1000, 1100).await, ["r1"]);
    settle(&database.store, "r1", State::Applied).await;
    assert_eq!(replay(&database.store, None).await, 0, "what was applied is not replayed");
}

#[tokio::test]
async fn re_19_pairings_of_a_device_do_not_overlap() {
    let database = Database::new("pairings").await;
    let store = &database.store;
    let pairing = |id: &str, patient: &str, from, until| Pairing {
        id: id.to_owned(),
        vendor: "v".to_owned(),
        device: "d".to_owned(),
        patient: patient.to_owned(),
        from,
        until,
    };
    assert_eq!(pair(store, pairing("1", "a", 100, None)).await, Paired::Made);
    assert_eq!(pair(store, pairing("2", "a", 150, None)).await, Paired::Already(pairing("1", "a", 100, None)));
    assert_eq!(pair(store, pairing("3", "b", 150, Some(160))).await, Paired::Taken(pairing("1", "a", 100, None)));
    assert_eq!(pair(store, pairing("4", "b", 50, Some(100))).await, Paired::Made, "before it");
    let ended = store.write(|tx| Box::pin(async move { pairings::end(tx, "1", 200).await })).await.expect("ended");
    assert_eq!(ended, Some(pairing("1", "a", 100, Some(200))));
    assert_eq!(pair(store, pairing("5", "b", 200, None)).await, Paired::Made, "after it");
    let all = pairings::of_devices(store, "v", &["d".to_owned()]).await.expect("read");
    assert_eq!(all.iter().map(|pairing| pairing.from).collect::<Vec<_>>(), [50, 100, 200]);
}

#[tokio::test]
async fn a_connection_is_with_one_worker_and_only_that_one_changes_it() {
    let database = Database::new("connections").await;
    let store = &database.store;
    let wanted = Connection {
        id: "1".to_owned(),
        vendor: "v".to_owned(),
        name: "n".to_owned(),
        base_url: "https://v.example".to_owned(),
        credentials: b"sealed".to_vec(),
        settings: "{}".to_owned(),
        enabled: true,
        cursor: String::new(),
        state: connections::State::New,
        failing_since: None,
        error: String::new(),
        attempts: 0,
        asked_at: None,
        due_at: 0,
    };
    let kept = wanted.clone();
    let put = store.write(move |tx| {
        let kept = kept.clone();
        Box::pin(async move { connections::put(tx, &kept, 1).await })
    });
    assert_eq!(put.await.expect("kept"), "1");
    let lease = async |holder: &'static str, now: i64, until: i64| {
        let leased = store
            .write(move |tx| Box::pin(async move { connections::lease(tx, holder, now, until, 8).await }))
            .await
            .expect("leased");
        leased.len()
    };
    let advance = async |holder: &'static str, cursor: &'static str| {
        let advanced =
            store.write(move |tx| Box::pin(async move { connections::advance(tx, "1", holder, cursor).await }));
        advanced.await.expect("written")
    };
    assert_eq!((lease("a", 100, 200).await, lease("b", 150, 250).await), (1, 0));
    assert!(advance("a", "10").await);
    assert_eq!(lease("b", 200, 300).await, 1, "the first was killed");
    assert!(!advance("a", "20").await, "and is too late");
    let fail = store
        .write(|tx| Box::pin(async move { connections::fail(tx, "1", "b", (250, 400), "no answer in time").await }));
    assert!(fail.await.expect("written"));
    assert_eq!(lease("a", 399, 500).await, 0);
    let found = connections::find(store, "v", "n").await.expect("read").expect("there");
    assert_eq!((found.cursor.as_str(), found.failing_since, found.attempts), ("10", Some(250), 1));
    assert_eq!(lease("a", 400, 500).await, 1);
    let settle = store.write(|tx| Box::pin(async move { connections::settle(tx, "1", "a", 450, 900).await }));
    assert!(settle.await.expect("written"));
    let found = connections::find(store, "v", "n").await.expect("read").expect("there");
    assert_eq!((found.state, found.failing_since, found.due_at), (connections::State::Ok, None, 900));
    assert_eq!(
        Connection { state: connections::State::New, asked_at: None, due_at: 0, cursor: String::new(), ..found },
        wanted
    );
}

#[tokio::test]
async fn a_revoked_key_is_no_key() {
    let database = Database::new("vendor-keys").await;
    let store = &database.store;
    store.write(|tx| Box::pin(async move { vendor_keys::insert(tx, [7; 32], "v", "s", 1).await })).await.expect("made");
    assert_eq!(vendor_keys::sender(store, [7; 32], "v").await.expect("read").as_deref(), Some("s"));
    assert_eq!(vendor_keys::sender(store, [7; 32], "other").await.expect("read"), None);
    let revoked = store.write(|tx| Box::pin(async move { vendor_keys::revoke(tx, "v", "s", 2).await })).await;
    assert_eq!(revoked.expect("revoked"), 1);
    assert_eq!(vendor_keys::sender(store, [7; 32], "v").await.expect("read"), None);
}

fn arrival(receipt: &str, delivery: Option<&str>, body: &str) -> Arrival {
    Arrival {
        receipt: receipt.to_owned(),
        vendor: "v".to_owned(),
        delivery: delivery.map(str::to_owned),
        body: body.as_bytes().into(),
        devices: ["device".to_owned(), "gateway".to_owned()]
            .into_iter()
            .chain((0..300).map(|number| format!("third-{number}")))
            .collect(),
        origin: Origin { shape: "s".to_owned(), patient: Some("p".to_owned()), query: String::new() },
        state: State::Received,
        outcome: "{}".to_owned(),
        at: 10,
    }
}

async fn receive(store: &Store, arrival: Arrival) -> Receipt {
    let arrival = Arc::new(arrival);
    let kept = store.write(move |tx| {
        let arrival = arrival.clone();
        Box::pin(async move { inbox::receive(tx, &arrival).await })
    });
    kept.await.expect("kept")
}

async fn lease(store: &Store, now: i64, until: i64) -> Vec<String> {
    let leased = store.write(move |tx| Box::pin(async move { inbox::lease(tx, now, until, 10).await })).await;
    leased.expect("leased").into_iter().map(|(message, _)| message.receipt).collect()
}

async fn settle(store: &Store, receipt: &'static str, state: State) {
    let settled: Result<bool, StoreError> =
        store.write(move |tx| Box::pin(async move { inbox::settle(tx, receipt, state, "{}", 1).await })).await;
    assert!(settled.expect("settled"));
}

async fn replay(store: &Store, device: Option<&str>) -> u64 {
    let filter = Filter { device: device.map(str::to_owned), ..Filter::default() };
    let replayed = store.write(move |tx| {
        let filter = filter.clone();
        Box::pin(async move { inbox::replay(tx, &filter).await })
    });
    replayed.await.expect("replayed")
}

async fn pair(store: &Store, pairing: Pairing) -> Paired {
    let paired = store.write(move |tx| {
        let pairing = pairing.clone();
        Box::pin(async move { pairings::insert(tx, &pairing, "test", 1).await })
    });
    paired.await.expect("paired")
}

/// A database in a folder that goes away with it.
struct Database {
    store: Store,
    folder: PathBuf,
}

impl Database {
    async fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tributary-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let store =
            Store::open(&format!("sqlite:{}", folder.join("t.sqlite").display()), [0; 32], "http://localhost/fhir")
                .await
                .expect("opened");
        store.migrate().await.expect("migrated");
        Database { store, folder }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
