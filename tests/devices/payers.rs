//! Claims to payers that speak FHIR: each goes to the payer that it names, once, and to the cent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fhir::decimal::Decimal;
use fhir::json::Json;
use fhir::{array, object};
use ring::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use simulators::pas::{CREDENTIALS, Faults, Pas};
use simulators::trouble::Trouble;
use tests::{Client, TestServer};

tests::on_both_engines!(
    a_claim_goes_to_the_payer_that_it_names,
    nothing_of_other_patients_goes_to_a_payer,
    a_claim_is_followed_updated_and_taken_back,
    a_day_of_claims_to_a_fhir_payer_agrees_to_the_cent,
    a_payer_is_shown_who_we_are_by_a_signature,
);

/// How long claims may take to be settled: longer than the lease of a worker that was killed.
const PATIENCE: Duration = Duration::from_mins(2);

/// A payer without troubles that decides everything at once, and for.
async fn payer(faults: Faults) -> Pas {
    Pas::start(([127, 0, 0, 1], 0).into(), faults, Trouble::default()).await.expect("a free port")
}

fn willing() -> Faults {
    Faults { denied: 0, pended: 0, seed: 1, ..Faults::default() }
}

async fn open(server: &TestServer) -> TestServer {
    TestServer::start_with(server.engine(), &["--outbound-private=true"]).await
}

/// Connects a server to a payer, for the claims of these insurers; to be asked often.
fn connect(server: &TestServer, payer: &Pas, name: &str, insurers: &str) {
    let [id, secret] = CREDENTIALS;
    let (id, secret) = (format!("client_id={id}"), format!("client_secret={secret}"));
    add(server, payer, name, &["--credential", &id, "--credential", &secret], insurers);
}

fn add(server: &TestServer, payer: &Pas, name: &str, credentials: &[&str], insurers: &str) {
    let (url, token) = (format!("{}/fhir", payer.http.origin()), format!("token_url={}/token", payer.http.origin()));
    let mut arguments = vec!["connection", "add", "pas", "--name", name, "--outbound-private=true", "--url", &url];
    arguments.extend(credentials);
    let insurers = format!("insurers={insurers}");
    for setting in [&token, "uses=preauthorization, claim", "settle_seconds=1", "follow_seconds=1"] {
        arguments.extend(["--setting", setting]);
    }
    if insurers != "insurers=" {
        arguments.extend(["--setting", &insurers]);
    }
    server.command(&arguments);
}

fn coded(system: &str, code: &str) -> Json {
    object! { "coding": array![object! { "system": system, "code": code }] }
}

fn to(reference: impl Into<String>) -> Json {
    object! { "reference": reference.into() }
}

/// A clinic, two insurers, and a patient who is covered by the first.
async fn covered(system: &Client, number: usize) {
    for (id, name) in [("clinic", "Clinic"), ("north", "North Insurance"), ("south", "South Insurance")] {
        let identifier = object! { "system": "https://insurers.example", "value": id };
        let organization = object! {
            "resourceType": "Organization", "id": id, "identifier": array![identifier], "name": name,
        };
        system.store(&organization).await;
    }
    system.store(&object! { "resourceType": "Patient", "id": format!("p{number}"), "active": true }).await;
    cover(system, number, number, "north").await;
}

async fn cover(system: &Client, coverage: usize, patient: usize, payor: &str) {
    let coverage = object! {
        "resourceType": "Coverage", "id": format!("v{coverage}"), "status": "active",
        "subscriberId": format!("M-{coverage}"), "beneficiary": to(format!("Patient/p{patient}")),
        "payor": array![to(format!("Organization/{payor}"))],
    };
    system.store(&coverage).await;
}

/// A draft for an amount that no binary fraction is.
fn draft(number: usize, usage: &str, insurer: Option<&str>) -> (Json, Decimal) {
    let net = Decimal::from_scaled(100_010 + number as i128 * 37, 2);
    let money = object! { "value": Json::Number(net.as_str().into()), "currency": "KES" };
    let hl7 = |name: &str| format!("http://terminology.hl7.org/CodeSystem/{name}");
    let item = object! {
        "sequence": 1, "productOrService": coded("http://www.ama-assn.org/go/cpt", "99204"),
        "quantity": object! { "value": 1 }, "unitPrice": money.clone(), "net": money.clone(),
    };
    let identifier = object! { "system": "https://clinic.example/claims", "value": format!("C-{number}") };
    let mut claim = object! {
        "resourceType": "Claim", "id": format!("c{number}"), "identifier": array![identifier], "status": "draft",
        "type": coded(&hl7("claim-type"), "professional"), "use": usage, "patient": to(format!("Patient/p{number}")),
        "created": "2025-06-01T10:45:00+03:00", "provider": to("Organization/clinic"),
        "priority": coded(&hl7("processpriority"), "normal"),
        "insurance": array![object! { "sequence": 1, "focal": true, "coverage": to(format!("Coverage/v{number}")) }],
        "item": array![item], "total": money,
    };
    if let (Some(insurer), Some(members)) = (insurer, claim.as_object_mut()) {
        members.insert("insurer", to(format!("Organization/{insurer}")));
    }
    (claim, net)
}

fn set(claim: &mut Json, name: &str, value: impl Into<Json>) {
    claim.as_object_mut().expect("an object").insert(name, value);
}

/// The code of a ClaimResponse that says how far the claim is.
fn state(response: &Json) -> String {
    response.at(&["extension", "valueCode"]).and_then(Json::as_str).unwrap_or_default().to_owned()
}

/// Waits until a claim is in one of these states; its ClaimResponse.
async fn settled(system: &Client, claim: &str, states: &[&str]) -> Json {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found =
            system.get(&format!("ClaimResponse?request=Claim/{claim}")).await.expect_status(200).entries("match");
        assert_eq!(found.len(), 1, "one ClaimResponse for each claim");
        if states.contains(&state(&found[0]).as_str()) {
            return found[0].clone();
        }
        assert!(Instant::now() < deadline, "claim {claim} is {}", state(&found[0]));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn a_claim_goes_to_the_payer_that_it_names(server: TestServer) {
    let (north, south) = (payer(willing()).await, payer(willing()).await);
    let server = open(&server).await;
    let system = server.system();
    covered(&system, 1).await;
    let (claim, net) = draft(1, "preauthorization", Some("north"));
    system.store(&claim).await;
    system.post("Claim/c1/$submit").await.expect_status(503); // there is no payer at all
    connect(&server, &north, "north", "Organization/north");
    connect(&server, &south, "south", "https://insurers.example|south");
    let mut at_once = tokio::task::JoinSet::new();
    for _ in 0..16 {
        at_once.spawn(system.post("Claim/c1/$submit").try_send());
    }
    for answer in at_once.join_all().await {
        let status = answer.expect("an answer").status;
        assert!([200, 409, 412].contains(&status), "one of them submits it, the others see that: {status}");
    }
    let response = settled(&system, "c1", &["approved"]).await;
    assert_eq!((response.str("outcome"), response.str("use")), (Some("complete"), Some("preauthorization")));
    assert_eq!(response.str("preAuthRef"), Some("AUTH-C-1"), "what the payer says stands in it: {response}");
    assert!(response.at(&["item", "adjudication"]).is_some(), "{response}");
    assert_eq!(response.at(&["patient", "reference"]).and_then(Json::as_str), Some("Patient/p1"));
    assert_eq!((north.ledger().len(), south.ledger().len()), (1, 0));
    assert_eq!(Decimal::parse(&north.ledger()[0].amount), Some(net));
    // The insurer is known by its identifier; without an insurer the cover says who pays.
    for (number, insurer) in [(2, Some("south")), (3, None)] {
        covered(&system, number).await;
        let (claim, _) = draft(number, "claim", insurer);
        if number == 2 {
            cover(&system, 2, 2, "south").await;
        }
        system.store(&claim).await;
        system.post(&format!("Claim/c{number}/$submit")).await.expect_status(200);
        settled(&system, &format!("c{number}"), &["approved"]).await;
    }
    assert_eq!((north.ledger().len(), south.ledger().len()), (2, 1));
    // Two payers that could be meant, and none.
    covered(&system, 4).await;
    let (claim, _) = draft(4, "claim", Some("south"));
    system.store(&claim).await;
    let refused = system.post("Claim/c4/$submit").await.expect_status(422).text();
    assert!(refused.contains("pas north") && refused.contains("pas south"), "{refused}");
    let (claim, _) = draft(4, "claim", Some("clinic"));
    let claim = claim.to_string().replace("Coverage/v4", "Coverage/v5");
    cover(&system, 5, 4, "clinic").await;
    system.store(&Json::parse(claim.as_bytes()).expect("JSON")).await;
    let refused = system.post("Claim/c4/$submit").await.expect_status(422).text();
    assert!(
        refused.contains("no connection serves the insurer") && refused.contains("Organization/north"),
        "{refused}"
    );
    assert_eq!((north.ledger().len(), south.ledger().len()), (2, 1), "nothing was sent");
    let log = server.log();
    assert!(!log.contains("token-1") && !log.contains("pas-secret"), "secrets are not logged");
}

async fn nothing_of_other_patients_goes_to_a_payer(server: TestServer) {
    let payer = payer(willing()).await;
    let server = open(&server).await;
    connect(&server, &payer, "default", "");
    let system = server.system();
    covered(&system, 1).await;
    covered(&system, 2).await;
    let observation = |id: &str, patient: &str| {
        object! {
            "resourceType": "Observation", "id": id, "status": "final", "code": object! { "text": "a secret" },
            "subject": to(format!("Patient/{patient}")),
        }
    };
    system.store(&observation("mine", "p1")).await;
    system.store(&observation("theirs", "p2")).await;
    let order = object! {
        "resourceType": "ServiceRequest", "id": "order", "status": "active", "intent": "order", "subject": to("Patient/p1"),
        "requester": to("Organization/clinic"), "supportingInfo": array![to("Observation/mine"), to("Observation/theirs")],
    };
    system.store(&order).await;
    let info = |target: &str| {
        array![object! {
            "sequence": 1, "category": object! { "text": "why" }, "valueReference": to(target),
        }]
    };
    let (mut claim, _) = draft(1, "preauthorization", Some("north"));
    for other in ["Observation/theirs", "Patient/p2", "Coverage/v2"] {
        set(&mut claim, "supportingInfo", info(other));
        system.store(&claim).await;
        let refused = system.post("Claim/c1/$submit").await.expect_status(422).text();
        assert!(refused.contains("not of the claim's patient") && refused.contains(other), "{refused}");
    }
    set(&mut claim, "insurance", array![object! { "sequence": 1, "focal": true, "coverage": to("Coverage/v2") }]);
    set(&mut claim, "supportingInfo", info("ServiceRequest/order"));
    system.store(&claim).await;
    system.post("Claim/c1/$submit").await.expect_status(422);
    assert_eq!(payer.submitted(), Vec::<String>::new());
    set(&mut claim, "insurance", array![object! { "sequence": 1, "focal": true, "coverage": to("Coverage/v1") }]);
    system.store(&claim).await;
    system.post("Claim/c1/$submit").await.expect_status(200);
    settled(&system, "c1", &["approved"]).await;
    let [sent] = &payer.submitted()[..] else { panic!("sent once") };
    assert!(sent.contains("ServiceRequest/order") && sent.contains("masked"), "{sent}");
    assert!(!sent.contains("Observation") && !sent.contains("a secret") && !sent.contains("p2"), "{sent}");
    // Who may not change claims sends none, and a patient sees their own only.
    server.with_scope("system/Claim.rs", None).post("Claim/c1/$submit").await.expect_status(403);
    assert_eq!(server.patient("p1").matches("ClaimResponse").await.len(), 1);
    assert_eq!(server.patient("p2").matches("ClaimResponse").await.len(), 0);
}

async fn a_claim_is_followed_updated_and_taken_back(server: TestServer) {
    let payer = payer(Faults { pended: 1000, ..willing() }).await;
    let server = open(&server).await;
    connect(&server, &payer, "default", "");
    let system = server.system();
    covered(&system, 1).await;
    let (claim, _) = draft(1, "preauthorization", Some("north"));
    system.store(&claim).await;
    let response = system.post("Claim/c1/$submit").await.expect_status(200).json();
    let id = response.str("id").expect("an id").to_owned();
    settled(&system, "c1", &["approved"]).await; // it was pended first, and asked for
    let versions = system.get(&format!("ClaimResponse/{id}/_history")).await.expect_status(200).text();
    assert!(versions.contains("\"taken\"") && versions.contains("\"A4\"") && versions.contains("\"A1\""), "{versions}");
    // An update: another Claim, which the first stands in.
    payer.set_faults(willing());
    let (first, _) = draft(2, "preauthorization", Some("north"));
    let update = first.to_string().replace("Patient/p2", "Patient/p1").replace("Coverage/v2", "Coverage/v1");
    let mut update = Json::parse(update.as_bytes()).expect("JSON");
    let relation = coded("http://terminology.hl7.org/CodeSystem/ex-relatedclaimrelationship", "prior");
    set(&mut update, "related", array![object! { "claim": to("Claim/c1"), "relationship": relation }]);
    system.store(&update).await;
    system.post("Claim/c2/$submit").await.expect_status(200);
    settled(&system, "c2", &["approved"]).await;
    settled(&system, "c1", &["replaced"]).await;
    let states: Vec<&str> = payer.ledger().iter().map(|entry| entry.state).collect();
    assert_eq!(states, ["replaced", "approved"]);
    system.post("Claim/c1/$submit").await.expect_status(200); // says how it stands; nothing is sent
    // Taken back: the payer is told, also if it does not say that it heard.
    payer.set_faults(Faults { silence: 1000, ..willing() });
    set(&mut update, "status", "cancelled");
    system.store(&update).await;
    let answer = system.post("Claim/c2/$submit").await.expect_status(200).json();
    assert_eq!(answer.str("disposition"), Some("To be cancelled at the payer"));
    let response = settled(&system, "c2", &["cancelled"]).await;
    assert_eq!(response.str("status"), Some("cancelled"));
    assert_eq!(system.get("Claim/c2").await.json().str("status"), Some("cancelled"), "it stays so here");
    let states: Vec<&str> = payer.ledger().iter().map(|entry| entry.state).collect();
    assert_eq!(states, ["replaced", "cancelled"]);
    assert_eq!(payer.submitted().len(), 3, "each was sent once");
    // What the payer decided against or never had is not updated.
    let (mut late, _) = draft(3, "preauthorization", Some("north"));
    late = Json::parse(
        late.to_string().replace("Patient/p3", "Patient/p1").replace("Coverage/v3", "Coverage/v1").as_bytes(),
    )
    .expect("JSON");
    let relation = coded("http://terminology.hl7.org/CodeSystem/ex-relatedclaimrelationship", "prior");
    set(&mut late, "related", array![object! { "claim": to("Claim/c2"), "relationship": relation }]);
    system.store(&late).await;
    let refused = system.post("Claim/c3/$submit").await.expect_status(422).text();
    assert!(refused.contains("Claim/c2 is cancelled"), "{refused}");
}

async fn a_day_of_claims_to_a_fhir_payer_agrees_to_the_cent(server: TestServer) {
    let claims = std::env::var("TRIBUTARY_TEST_VISITS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    // In a test of few claims each fault must come at all; by hand, with 1,000, each is one in a hundred.
    let often = if claims < 500 { 70 } else { 10 };
    let faults = Faults {
        denied: 100,
        pended: 200,
        refused: often,
        silence: often,
        error_after: often,
        error_before: often,
        garbage: often,
        mixed_up: often,
        invalid: often,
        throttled: often,
        token: often / 2,
        inquiry: often,
        seed: 20_261_123,
    };
    let payer = payer(faults).await;
    let mut server = open(&server).await;
    connect(&server, &payer, "default", "");
    let system = server.system();
    let mut asked: BTreeMap<String, Decimal> = BTreeMap::new();
    for number in 0..claims {
        covered(&system, number).await;
        let (claim, amount) = draft(number, if number % 2 == 0 { "claim" } else { "preauthorization" }, Some("north"));
        system.store(&claim).await;
        asked.insert(format!("C-{number}"), amount);
        system.post(&format!("Claim/c{number}/$submit")).await.expect_status(200);
        if number == claims / 2 {
            server.restart().await; // kill -9 while claims are on their way
        }
    }
    let mut taken = 0;
    for number in 0..claims {
        let response = settled(&system, &format!("c{number}"), &["approved", "denied", "refused"]).await;
        let ledger: Vec<_> = payer.ledger().into_iter().filter(|it| it.identifier == format!("C-{number}")).collect();
        if state(&response) == "refused" {
            assert_eq!(ledger, [], "C-{number} was refused");
            assert!(response.to_string().contains("the claim is not understood"), "{response}");
            continue;
        }
        assert_eq!(ledger.len(), 1, "C-{number} is there once");
        assert_eq!(ledger[0].state, state(&response), "C-{number} is as decided");
        assert_eq!(Decimal::parse(&ledger[0].amount).as_ref(), asked.get(&ledger[0].identifier), "to the cent");
        taken += 1;
    }
    assert_eq!(payer.ledger().len(), taken, "nothing is in the ledger that is not in the claims");
    let is_one = |sent: &String| sent.matches("\"resourceType\":\"Patient\"").count() == 1;
    assert!(payer.submitted().iter().all(is_one), "each claim brings its own patient, and nobody else");
    println!("{claims} claims, {taken} taken, {} sent, {} inquiries", payer.submitted().len(), payer.inquiries());
}

async fn a_payer_is_shown_who_we_are_by_a_signature(server: TestServer) {
    let payer = payer(willing()).await;
    let server = open(&server).await;
    let random = ring::rand::SystemRandom::new();
    let made =
        ring::signature::EcdsaKeyPair::generate_pkcs8(&ring::signature::ECDSA_P384_SHA384_FIXED_SIGNING, &random);
    let pem = base64::engine::general_purpose::STANDARD.encode(made.expect("a key").as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n");
    let file = server.folder().join("key.pem");
    std::fs::write(&file, &pem).expect("a file");
    let key = format!("private_key=file:{}", file.display());
    add(&server, &payer, "default", &["--credential", "client_id=clinic", "--credential", &key], "");
    let checked = server.command(&["connection", "check", "pas", "--outbound-private=true"]);
    assert!(checked.contains("a token was given"), "{checked}");
    let set = Json::parse(server.command(&["connection", "key", "pas"]).as_bytes()).expect("a JWK Set");
    let key = set.at(&["keys"]).expect("a key");
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64url");
    let point = [vec![4], decode(key.str("x").expect("x")), decode(key.str("y").expect("y"))].concat();
    let form = payer.token_requests().pop().expect("a request");
    assert!(form.contains("grant_type=client_credentials") && !form.contains("client_secret"), "{form}");
    let assertion = form.split('&').find_map(|pair| pair.strip_prefix("client_assertion=")).expect("an assertion");
    let (signed, signature) = assertion.rsplit_once('.').expect("a JWS");
    let public = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point);
    public.verify(signed.as_bytes(), &decode(signature)).expect("the signature is good");
    let (header, claims) = signed.split_once('.').expect("two parts");
    let header = Json::parse(&decode(header)).expect("JSON");
    assert_eq!((header.str("alg"), header.str("kid")), (Some("ES384"), key.str("kid")));
    let claims = Json::parse(&decode(claims)).expect("JSON");
    let audience = format!("{}/token", payer.http.origin());
    assert_eq!((claims.str("iss"), claims.str("sub")), (Some("clinic"), Some("clinic")));
    assert_eq!(claims.str("aud"), Some(audience.as_str()));
    assert!(claims.str("jti").is_some_and(|it| it.len() > 20));
    assert!(!set.to_string().contains("\"d\"") && !server.log().contains("PRIVATE"), "the private half stays here");
}
