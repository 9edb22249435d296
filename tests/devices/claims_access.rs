//! Who may see what is paid by whom: cover, claims and answers, on every path by which data leaves. (LK-51)

use fhir::json::Json;
use simulators::smartlink::Faults;
use tests::clinic::{connected, draft, merged, settled, visiting};
use tests::{Client, TestServer};

tests::on_both_engines!(
    lk_51_a_patient_sees_what_is_paid_for_them_and_for_nobody_else,
    lk_51_without_financial_scopes_there_are_no_claims,
    lk_51_an_answer_of_the_payer_goes_to_the_patient_who_was_asked_about,
);

/// Types that say what is paid by whom.
const FINANCIAL: [&str; 5] =
    ["Claim", "ClaimResponse", "Coverage", "CoverageEligibilityRequest", "CoverageEligibilityResponse"];

/// Ways by which a patient's app gets what is its patient's.
const WAYS: [&str; 20] = [
    "Claim",
    "ClaimResponse",
    "Coverage",
    "CoverageEligibilityRequest",
    "CoverageEligibilityResponse",
    "Claim?_include=*&_revinclude=ClaimResponse:*",
    "Patient?_revinclude=Claim:patient&_revinclude=Coverage:beneficiary",
    "Claim?patient.family=Kamau",
    "ClaimResponse?request:Claim.status=active",
    "Claim/_history",
    "ClaimResponse/_history",
    "Coverage/_history",
    "_history",
    "Patient/p1/$everything",
    "Patient/$everything",
    "Claim/$worklist?state=billed,taken,waiting",
    "Patient?_has:Claim:patient:status=active",
    "Patient/p1/Claim",
    "?_type=Claim,Coverage,ClaimResponse",
    "Organization?_revinclude=CoverageEligibilityResponse:insurer",
];

/// Two patients, each with cover, a session, a claim that is billed, and its answer.
async fn two_insured(server: &TestServer) -> TestServer {
    let (server, payer) = connected(server, Faults::default()).await;
    let system = server.system();
    for number in 1..=2 {
        visiting(&system, number).await;
        merged(&system, number).await;
        system.store(&draft(number).0).await;
        system.post(&format!("Claim/c{number}/$submit")).await.expect_status(200);
        system.post(&format!("Encounter/e{number}/$fetch-copay")).await.expect_status(200);
    }
    for number in 1..=2 {
        settled(&system, number, &["billed"]).await;
    }
    drop(payer);
    server
}

/// Names of the financial resources of a patient.
async fn own(system: &Client, patient: &str) -> Vec<String> {
    let mut names = Vec::new();
    for resource_type in FINANCIAL {
        let parameter = if resource_type == "Coverage" { "beneficiary" } else { "patient" };
        let found = system.get(&format!("{resource_type}?{parameter}=Patient/{patient}")).await.expect_status(200);
        let found = found.entries("match");
        assert!(!found.is_empty(), "{patient} has a {resource_type}");
        names.extend(found.iter().filter_map(|it| Some(format!("{resource_type}/{}", it.str("id")?))));
    }
    names
}

async fn lk_51_a_patient_sees_what_is_paid_for_them_and_for_nobody_else(server: TestServer) {
    let server = two_insured(&server).await;
    let system = server.system();
    let (mine, theirs) = (own(&system, "p1").await, own(&system, "p2").await);
    let patient = server.patient("p1");
    for name in &mine {
        patient.get(name).await.expect_status(200);
        patient.get(&format!("{name}/_history")).await.expect_status(200);
    }
    for name in &theirs {
        patient.get(name).await.expect_status(404);
        patient.get(&format!("{name}/_history")).await.expect_status(404);
        patient.get(&format!("{name}/_history/1")).await.expect_status(404);
    }
    let hidden = |text: &str, path: &str| {
        for name in &theirs {
            assert!(!text.contains(name.as_str()), "{path} tells of {name}");
        }
        for word in ["INV-2", "Patient/p2", "M-P2"] {
            assert!(!text.contains(word), "{path} tells of {word}: {text}");
        }
    };
    for path in WAYS {
        let answer = patient.get(path).await.expect_status(200).text();
        hidden(&answer, path);
    }
    for path in [
        "Claim?identifier=INV-2",
        "ClaimResponse?request=Claim/c2",
        "Coverage?beneficiary=Patient/p2",
        "CoverageEligibilityRequest?patient=Patient/p2",
        "Claim?_id=c2",
        "Patient/p2/Claim",
    ] {
        let found = patient.get(path).await;
        assert!(found.entries("match").is_empty(), "{path}: {}", found.describe());
    }
    let everything = patient.get("Patient/p1/$everything?_count=200").await.expect_status(200).text();
    for resource_type in FINANCIAL {
        assert!(everything.contains(&format!("\"resourceType\":\"{resource_type}\"")), "{resource_type} is theirs");
    }
    for call in [
        "Claim/c2/$submit",
        "Claim/c2/$withdraw",
        "Claim/c2/$send-diagnoses",
        "Encounter/e2/$fetch-copay",
        "Encounter/e2/$close-visit",
        "Encounter/e2/$merge-visit?session=1001",
    ] {
        patient.post(call).await.expect_status(404);
    }
    let list = patient.get("Claim/$worklist?state=billed").await.expect_status(200).text();
    assert!(list.contains("Claim/c1") && list.contains("\"valueInteger\":1"), "{list}");
}

async fn lk_51_without_financial_scopes_there_are_no_claims(server: TestServer) {
    let server = two_insured(&server).await;
    let names = own(&server.system(), "p1").await;
    let clinical = "Patient.rs Encounter.rs Observation.rs Condition.rs Organization.rs";
    for (level, patient) in [("patient", Some("p1")), ("system", None)] {
        let scope: Vec<String> = clinical.split(' ').map(|scope| format!("{level}/{scope}")).collect();
        let clinician = server.with_scope(&scope.join(" "), patient);
        for resource_type in FINANCIAL {
            clinician.get(resource_type).await.expect_status(403);
        }
        for name in &names {
            clinician.get(name).await.expect_status(403);
            clinician.get(&format!("{name}/_history")).await.expect_status(403);
        }
        clinician.get("Claim/$worklist").await.expect_status(403);
        clinician.post("Claim/c1/$submit").await.expect_status(403);
        clinician.post("Claim/c1/$withdraw").await.expect_status(403);
        for path in [
            "Patient/p1/$everything",
            "Patient?_revinclude=Claim:patient&_revinclude=Coverage:beneficiary",
            "Encounter?_include=*&_revinclude=Claim:*",
            "_history",
            "Patient?_has:Claim:patient:status=active",
        ] {
            let answer = clinician.get(path).await;
            let text = answer.text();
            for resource_type in FINANCIAL {
                let says = format!("\"resourceType\":\"{resource_type}\"");
                assert!(!text.contains(&says), "{path} shows a {resource_type}: {}", answer.describe());
            }
        }
        let counted = clinician.get("Patient?_has:Claim:patient:status=active&_summary=count").await;
        assert!(counted.json().get("total").and_then(Json::as_number).is_none_or(|total| total == "0"));
    }
    // Who may read claims, but not write them, bills nobody.
    let reader = server.with_scope("patient/Claim.rs patient/ClaimResponse.rs", Some("p1"));
    reader.get("Claim/c1").await.expect_status(200);
    reader.get("Coverage").await.expect_status(403);
    reader.post("Claim/c1/$submit").await.expect_status(403);
    let list = reader.get("Claim/$worklist?state=billed").await.expect_status(200).text();
    assert!(list.contains("Claim/c1") && !list.contains("\"session\""), "{list}");
}

async fn lk_51_an_answer_of_the_payer_goes_to_the_patient_who_was_asked_about(server: TestServer) {
    let (server, _) = connected(&server, Faults::default()).await;
    let system = server.system();
    for number in 1..=2 {
        visiting(&system, number).await;
    }
    // Somebody who may write for the first patient only asks for the second one's number: nothing comes of it.
    let patient = server.patient("p1");
    let refused = patient.post("CoverageEligibilityRequest/$fetch-visit?patient-number=P2").await;
    assert!(matches!(refused.status, 403 | 404 | 412 | 422), "{}", refused.describe());
    for resource_type in FINANCIAL {
        assert_eq!(system.matches(resource_type).await.len(), 0, "{resource_type}");
    }
    merged(&system, 1).await;
    // A session of one patient is not merged with the visit of another.
    let session = system.get("CoverageEligibilityRequest").await.entries("match")[0].clone();
    let session = session.at(&["identifier", "value"]).and_then(Json::as_str).expect("a session").to_owned();
    let crossed = system.post(&format!("Encounter/e2/$merge-visit?session={session}")).await.expect_status(422).text();
    assert!(crossed.contains("another patient"), "{crossed}");
}
