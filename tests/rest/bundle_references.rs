//! Tests of what conditional references of a transaction see, `server/src/rest/bundle/resolution.rs`.
//! <https://hl7.org/fhir/R4/http.html#trules>

use fhir::object;
use tests::TestServer;

use crate::bundle::{bundle, entry, observation, patient, with};

tests::on_both_engines!(conditional_references_see_what_the_transaction_writes);

/// "Resolve any conditional references" is the last step of a transaction: they see what it writes, and not what it
/// deletes. What looks into other resources cannot see that, so it is refused where it would matter.
async fn conditional_references_see_what_the_transaction_writes(server: TestServer) {
    let system = server.system();
    system.store(&with(patient("known"), "id", "p")).await;
    let of = |text: &str| with(entry("POST", "Observation"), "resource", observation(text));
    let new = with(entry("POST", "Patient"), "resource", patient("new"));
    let seen = bundle("transaction", vec![of("Patient?identifier=http://s|new"), new.clone()]);
    system.post("").json(&seen).await.expect_status(200);
    let twice = with(entry("POST", "Patient"), "resource", patient("known"));
    let ambiguous = bundle("transaction", vec![of("Patient?identifier=http://s|known"), twice]);
    system.post("").json(&ambiguous).await.expect_status(412);
    let gone = bundle("transaction", vec![of("Patient?identifier=http://s|known"), entry("DELETE", "Patient/p")]);
    system.post("").json(&gone).await.expect_status(412);
    let chained = "Patient?_has:Observation:subject:_id=o&organization.name=x";
    let refused = system.post("").json(&bundle("transaction", vec![of(chained), new])).await.expect_status(400);
    assert!(refused.issues().iter().any(|text| text.contains("looks into other resources")), "{}", refused.text());
    system.store(&with(observation("Patient/p"), "id", "o")).await;
    let plain = bundle("transaction", vec![of("Patient?_has:Observation:subject:_id=o")]);
    system.post("").json(&plain).await.expect_status(400); // an Observation is written
    let mut basic = object! { "resourceType": "Basic", "code": object! { "text": "x" } };
    basic.as_object_mut().unwrap().insert("subject", object! { "reference": "Patient?_has:Observation:subject:_id=o" });
    let basic = bundle("transaction", vec![with(entry("POST", "Basic"), "resource", basic)]);
    system.post("").json(&basic).await.expect_status(200);
    assert_eq!(system.matches("Basic?subject=Patient/p").await.len(), 1);
    assert_eq!(system.matches("Observation?subject=Patient/p").await, ["o"]);
}
