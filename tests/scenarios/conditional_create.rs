//! 64 devices send the same thing at once, as devices do. (RE-16)

use fhir::object;
use tests::TestServer;

const AT_ONCE: usize = 64;
const ROUNDS: usize = 5;

tests::on_both_engines!(re_16_parallel_conditional_creates_make_one_resource);

async fn re_16_parallel_conditional_creates_make_one_resource(server: TestServer) {
    let system = server.system();
    for round in 0..ROUNDS {
        let criteria = format!("identifier=urn:example:round|{round}");
        let patient = object! {
            "resourceType": "Patient",
            "identifier": fhir::array![object! { "system": "urn:example:round", "value": round.to_string() }],
        };
        let mut creates = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let call = system.post("Patient").header("if-none-exist", &criteria).json(&patient);
            creates.spawn(async move { call.await });
        }
        let answers = creates.join_all().await;
        let with_status = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((with_status(201), with_status(200)), (1, AT_ONCE - 1), "one creates, all others are told of it");
        assert_eq!(system.matches(&format!("Patient?{criteria}")).await.len(), 1);
        let locations: std::collections::BTreeSet<_> =
            answers.iter().filter_map(|answer| answer.header("location")).collect();
        assert!(locations.len() <= 1, "all are told of the same resource: {locations:?}");
    }
}
