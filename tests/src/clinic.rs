//! A clinic that bills insurers: a server that is connected to a payer, patients on a visit, claims with amounts that no
//! binary fraction is.

use std::time::{Duration, Instant};

use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::object;
use simulators::smartlink::{Faults, SmartLink};

use crate::{Client, Engine, TestServer};

/// Base of the adapter's identifiers.
pub const NS: &str = "https://example.org/fhir/adapters/smartlink";

/// How long claims may take to be settled: longer than the lease of a worker that was killed.
const PATIENCE: Duration = Duration::from_mins(2);

/// A server that is connected to a payer.
pub async fn connected(server: &TestServer, faults: Faults) -> (TestServer, SmartLink) {
    connected_with(server, faults, &[]).await
}

/// The same with further settings of the connection.
pub async fn connected_with(server: &TestServer, faults: Faults, settings: &[&str]) -> (TestServer, SmartLink) {
    connected_to(server.engine(), &[], faults, settings).await
}

/// The same with further arguments of the server.
pub async fn connected_to(
    engine: Engine,
    serve: &[&str],
    faults: Faults,
    settings: &[&str],
) -> (TestServer, SmartLink) {
    let payer = SmartLink::start(faults, 20_250_601).await.expect("a free port");
    let open = TestServer::start_with(engine, &[&["--outbound-private=true"], serve].concat()).await;
    let mut arguments = vec!["connection", "add", "smartlink", "--outbound-private=true", "--url"];
    arguments.push(payer.base_url());
    for credential in ["client_id=hmis", "client_secret=s3cret", "username=u", "password=p4ssword"] {
        arguments.extend(["--credential", credential]);
    }
    for setting in ["provider_key=SKSP_0000", "sp_id=6122", "settle_seconds=1", "follow_seconds=1"] {
        arguments.extend(["--setting", setting]);
    }
    arguments.extend(settings.iter().flat_map(|setting| ["--setting", setting]));
    open.command(&arguments);
    (open, payer)
}

/// A patient with a number at the payer, and a visit that is going on.
pub async fn visiting(system: &Client, number: usize) {
    let identifier = object! { "system": format!("{NS}/patient-number"), "value": format!("P{number}") };
    let patient = object! {
        "resourceType": "Patient", "id": format!("p{number}"), "identifier": fhir::array![identifier],
        "name": fhir::array![object! { "family": "Kamau", "given": fhir::array!["Amina"] }],
    };
    system.store(&patient).await;
    let encounter = object! {
        "resourceType": "Encounter", "id": format!("e{number}"), "status": "in-progress",
        "class": object! { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB" },
        "subject": object! { "reference": format!("Patient/p{number}") },
        "period": object! { "start": "2025-06-01T09:05:00+03:00" },
    };
    system.store(&encounter).await;
}

/// Fetches and merges a visit; the payer's id of its session.
pub async fn merged(system: &Client, number: usize) -> String {
    let path = format!("CoverageEligibilityRequest/$fetch-visit?patient-number=P{number}");
    let fetched = system.post(&path).await.expect_status(200).json();
    let resources: Vec<&Json> = fetched.list("entry").iter().filter_map(|entry| entry.get("resource")).collect();
    let request = resources.iter().find(|it| it.str("resourceType") == Some("CoverageEligibilityRequest"));
    let session = request.and_then(|it| it.at(&["identifier", "value"])).and_then(Json::as_str).expect("a session");
    let merge = format!("Encounter/e{number}/$merge-visit?session={session}");
    let mut answer = system.post(&merge).await;
    for _ in 0..5 {
        if answer.status != 409 {
            break;
        }
        answer = system.post(&merge).await; // it was marked as about to expire at the same time
    }
    answer.expect_status(200);
    session.to_owned()
}

/// A draft with two lines, of amounts that no binary fraction is.
pub fn draft(number: usize) -> (Json, Decimal) {
    let price = Decimal::from_scaled(100_010 + number as i128 * 37, 2);
    let (mantissa, _) = price.to_scaled().expect("small");
    let net = Decimal::from_scaled(mantissa * 3, 2);
    let total = Decimal::from_scaled(mantissa * 3 + 10, 2);
    let paid = Decimal::from_scaled(50_005, 2);
    let asked = Decimal::from_scaled(mantissa * 3 + 10 - 50_005, 2);
    let money = |amount: &Decimal| object! { "value": Json::Number(amount.as_str().into()), "currency": "KES" };
    let item = |sequence: i64, code: &str, quantity: i64, price: &Decimal, net: &Decimal| {
        let coding = object! { "system": format!("{NS}/item"), "code": code, "display": code };
        object! {
            "sequence": sequence,
            "productOrService": object! { "coding": fhir::array![coding] },
            "servicedPeriod": object! { "start": "2025-06-01T09:30:00+03:00", "end": "2025-06-01T09:30:00+03:00" },
            "quantity": object! { "value": quantity },
            "unitPrice": money(price),
            "net": money(net),
            "encounter": fhir::array![object! { "reference": format!("Encounter/e{number}") }],
        }
    };
    let coded =
        |system: &str, code: &str| object! { "coding": fhir::array![object! { "system": system, "code": code }] };
    let hl7 = |name: &str| format!("http://terminology.hl7.org/CodeSystem/{name}");
    let tenth = Decimal::from_scaled(10, 2);
    let diagnosis = object! {
        "sequence": 1,
        "diagnosisCodeableConcept": coded("http://hl7.org/fhir/sid/icd-10", "J06.9"),
        "type": fhir::array![coded(&hl7("ex-diagnosistype"), "principal")],
    };
    let claim = object! {
        "resourceType": "Claim",
        "id": format!("c{number}"),
        "identifier": fhir::array![object! { "system": format!("{NS}/invoice"), "value": format!("INV-{number}") }],
        "status": "draft",
        "type": coded(&hl7("claim-type"), "institutional"),
        "use": "claim",
        "patient": object! { "reference": format!("Patient/p{number}") },
        "billablePeriod": object! { "start": "2025-06-01T09:05:00+03:00", "end": "2025-06-01T10:40:00+03:00" },
        "created": "2025-06-01T10:45:00+03:00",
        "provider": object! { "display": "Example Hospital" },
        "priority": coded(&hl7("processpriority"), "normal"),
        "diagnosis": fhir::array![diagnosis],
        "insurance": fhir::array![object! { "sequence": 1, "focal": true, "coverage": object! { "display": "SmartLink" } }],
        "item": fhir::array![item(1, "CONS-01", 3, &price, &net), item(2, "LAB-22", 1, &tenth, &tenth)],
        "total": money(&total),
        "extension": fhir::array![object! {
            "url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-Claim.patientPaid",
            "valueMoney": money(&paid),
        }],
    };
    (claim, asked)
}

/// The code of a ClaimResponse that says how far the claim is.
pub fn state(response: &Json) -> String {
    response.at(&["extension", "valueCode"]).and_then(Json::as_str).unwrap_or_default().to_owned()
}

/// Waits until a claim is in one of these states; its ClaimResponse.
pub async fn settled(system: &Client, number: usize, states: &[&str]) -> Json {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found =
            system.get(&format!("ClaimResponse?request=Claim/c{number}")).await.expect_status(200).entries("match");
        assert_eq!(found.len(), 1, "one ClaimResponse for each claim");
        if states.contains(&state(&found[0]).as_str()) {
            return found[0].clone();
        }
        assert!(Instant::now() < deadline, "claim {number} is {}", state(&found[0]));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
