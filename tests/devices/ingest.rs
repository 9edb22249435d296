//! Tests of `server/src/devices/ingest.rs`.

use fhir::json::Json;
use simulators::medisante::blood_pressure;
use tests::TestServer;

use crate::{MONITOR, count, inbox, only, paired, vendor};

tests::on_both_engines!(
    re_22_what_was_acknowledged_is_applied_once_after_kill_9,
    messages_of_one_device_make_no_version_of_it_each,
    a_new_devices_first_messages_make_one_device,
);

async fn re_22_what_was_acknowledged_is_applied_once_after_kill_9(mut server: TestServer) {
    paired(&server, "pat-001", MONITOR).await;
    let vendor = vendor(&server);
    let mut acknowledged = 0;
    for round in 0..5 {
        let sends: Vec<_> = (0..20)
            .map(|number| {
                let (vendor, body) = (vendor.clone(), blood_pressure(MONITOR, &format!("round{round}"), number));
                tokio::spawn(async move { vendor.send(body).await.is_ok_and(|answer| answer.status == 200) })
            })
            .collect();
        for send in sends {
            acknowledged += usize::from(send.await.expect("no panic"));
        }
        server.kill();
        server.restart().await;
    }
    assert_eq!(acknowledged, 100);
    let kept = inbox(&server).await;
    assert_eq!(kept.iter().filter(|message| message["state"] == "applied").count(), acknowledged, "{kept:?}");
    assert_eq!(count(&server.system(), "Observation").await, 2 * acknowledged);
    assert_eq!(count(&server.system(), "Device").await, 1);
}

async fn messages_of_one_device_make_no_version_of_it_each(server: TestServer) {
    paired(&server, "pat-001", MONITOR).await;
    let vendor = vendor(&server);
    vendor.send(blood_pressure(MONITOR, "run", 0)).await.expect("an answer");
    inbox(&server).await;
    let system = server.system();
    let identifier = format!("https://example.org/fhir/adapters/medisante/device-id|{MONITOR}");
    let before = only(&system, "Device", &identifier).await;
    for number in 1..10 {
        vendor.send(blood_pressure(MONITOR, "run", number)).await.expect("an answer");
    }
    inbox(&server).await;
    let after = only(&system, "Device", &identifier).await;
    assert_eq!(before, after);
    assert_eq!(
        after.at(&["patient", "reference"]).and_then(Json::as_str),
        Some("Patient/pat-001"),
        "the pairing's word stays"
    );
    assert_eq!(after.str("manufacturer"), Some("TaiDoc"), "the message's word is added");
    assert_eq!(count(&system, "Observation").await, 20);
}

async fn a_new_devices_first_messages_make_one_device(server: TestServer) {
    let vendor = vendor(&server);
    let sends: Vec<_> = (0..32)
        .map(|number| {
            let (vendor, body) = (vendor.clone(), blood_pressure(MONITOR, "run", number));
            tokio::spawn(async move { vendor.send(body).await.expect("an answer").status })
        })
        .collect();
    for send in sends {
        assert_eq!(send.await.expect("no panic"), 200);
    }
    assert!(inbox(&server).await.iter().all(|message| message["state"] == "quarantined"));
    paired(&server, "pat-001", MONITOR).await;
    assert!(inbox(&server).await.iter().all(|message| message["state"] == "applied"));
    assert_eq!((count(&server.system(), "Device").await, count(&server.system(), "Observation").await), (1, 64));
}
