//! Claims under attack: many at once, numbers that belong to others, money that is none, and a server that is killed at
//! every step of a claim.

use std::time::Duration;

use fhir::json::Json;
use simulators::http::Reply;
use simulators::smartlink::Faults;
use tests::TestServer;
use tests::clinic::{connected, draft, merged, settled, visiting};

tests::on_both_engines!(
    a_claim_that_is_submitted_by_many_at_once_is_sent_once,
    money_that_is_none_is_refused_before_it_is_sent,
    a_server_that_is_killed_at_any_step_bills_once,
);

fn parsed(text: &str) -> Json {
    Json::parse(text.as_bytes()).expect("JSON")
}

async fn a_claim_that_is_submitted_by_many_at_once_is_sent_once(server: TestServer) {
    let (server, payer) = connected(&server, Faults::default()).await;
    let system = server.system();
    for number in 1..=3 {
        visiting(&system, number).await;
        merged(&system, number).await;
    }
    system.store(&draft(1).0).await;
    // The same invoice number on two claims, both at once and many times.
    system.store(&draft(2).0).await;
    system.store(&parsed(&draft(3).0.to_string().replace("INV-3", "INV-2"))).await;
    let mut at_once = tokio::task::JoinSet::new();
    for turn in 0..64 {
        let claim = [1, 1, 2, 3][turn % 4];
        let call = system.post(&format!("Claim/c{claim}/$submit"));
        at_once.spawn(async move { (claim, call.try_send().await.expect("an answer").status) });
    }
    let answers = at_once.join_all().await;
    assert!(answers.iter().filter(|(claim, _)| *claim == 1).all(|(_, status)| *status == 200), "{answers:?}");
    let of = |claim: i32| answers.iter().filter(move |it| it.0 == claim).map(|it| it.1).collect::<Vec<u16>>();
    let is_through = |claim: i32| of(claim).contains(&200);
    assert!(is_through(2) != is_through(3), "one of the two has the number: {answers:?}");
    let (through, stopped) = if is_through(2) { (2, 3) } else { (3, 2) };
    assert!(of(stopped).iter().all(|status| *status == 409), "{answers:?}");
    for number in [1, through] {
        settled(&system, usize::try_from(number).expect("small"), &["billed"]).await;
    }
    assert_eq!((payer.ledger().len(), payer.posts()), (2, 2));
    assert_eq!(system.get(&format!("Claim/c{stopped}")).await.json().str("status"), Some("draft"));
    assert_eq!(system.matches("ClaimResponse").await.len(), 2, "one for each claim");
}

async fn money_that_is_none_is_refused_before_it_is_sent(server: TestServer) {
    let (server, payer) = connected(&server, Faults::default()).await;
    let system = server.system();
    visiting(&system, 1).await;
    merged(&system, 1).await;
    let good = draft(1).0.to_string();
    let huge = "123456789012345678901234567890.12";
    let total = "\"total\":{\"value\":3001.51";
    let (price, net) = ("\"unitPrice\":{\"value\":1000.47", "\"net\":{\"value\":3001.41");
    let all = |pairs: &[(&str, String)]| {
        pairs.iter().fold(good.clone(), |text, (from, to)| {
            assert!(text.contains(from), "{from} in {text}");
            text.replacen(from, to, 1)
        })
    };
    let huge_everywhere = all(&[
        (price, format!("\"unitPrice\":{{\"value\":{huge}")),
        (net, format!("\"net\":{{\"value\":{huge}")),
        (total, format!("\"total\":{{\"value\":{huge}")),
    ]);
    let negative = all(&[
        ("\"quantity\":{\"value\":3}", "\"quantity\":{\"value\":-3}".to_owned()),
        (price, "\"unitPrice\":{\"value\":-1000.47".to_owned()),
    ]);
    let credit = all(&[
        ("\"quantity\":{\"value\":3}", "\"quantity\":{\"value\":-3}".to_owned()),
        (net, "\"net\":{\"value\":-3001.41".to_owned()),
        (total, "\"total\":{\"value\":-3001.31".to_owned()),
    ]);
    let cases: Vec<(&str, String, &str)> = vec![
        ("30 digits", huge_everywhere, "Claim.total"),
        ("an exponent", all(&[(total, "\"total\":{\"value\":3e300".to_owned())]), "Claim.total"),
        ("two negatives", negative, "less than nothing"),
        ("a negative", credit, "less than nothing"),
        ("another currency", good.replace("\"KES\"", "\"UGX\""), "currency"),
        ("no currency", good.replace("\"currency\":\"KES\"", "\"currency\":\"\""), "currency"),
        ("one of another currency", good.replacen("\"KES\"", "\"UGX\"", 1), "currency"),
        ("a cent too much", all(&[(total, "\"total\":{\"value\":3001.52".to_owned())]), "Claim.total"),
        ("a millionth too much", all(&[(net, "\"net\":{\"value\":3001.410001".to_owned())]), "item[0].net"),
        ("more paid than done", good.replace("500.05", "3001.52"), "more than the total"),
        ("a negative payment", good.replace("500.05", "-500.05"), "payment"),
        ("no amount", all(&[(total, "\"total\":{\"id\":\"x\"".to_owned())]), "Claim.total"),
    ];
    for (name, claim, told) in cases {
        let stored = system.put("Claim/c1").json(&parsed(&claim)).await;
        if stored.status == 400 || stored.status == 422 {
            continue; // it is no FHIR at all
        }
        let refused = system.post("Claim/c1/$submit").await.expect_status(422).text();
        assert!(refused.contains(told), "{name}: {refused}");
        assert_eq!(system.get("Claim/c1").await.json().str("status"), Some("draft"), "{name}");
    }
    assert_eq!(payer.posts(), 0, "nothing was sent");
    system.store(&parsed(&good)).await;
    system.post("Claim/c1/$submit").await.expect_status(200);
    settled(&system, 1, &["billed"]).await;
    let list = system.get("Claim/$worklist?state=billed").await.expect_status(200).text();
    assert!(list.contains("2501.46"), "{list}");
}

async fn a_server_that_is_killed_at_any_step_bills_once(server: TestServer) {
    let (mut server, payer) = connected(&server, Faults::default()).await;
    let system = server.system();
    let silent = || Reply::Silent(Duration::from_mins(1));
    // Where the payer is silent when the server is killed, and whether it took the claim then.
    let steps: [(&[&str], bool); 4] =
        [(&["oauth/token"], false), (&["api/claims"], false), (&["api/claims"], true), (&["claim-status"], false)];
    for (place, (door, takes)) in steps.into_iter().enumerate() {
        let number = place + 1;
        visiting(&system, number).await;
        merged(&system, number).await;
        system.store(&draft(number).0).await;
        if door == ["oauth/token"] {
            payer.http.say(&["api/claims"], Reply::Json(401, serde_json::json!({ "error": "invalid_token" })));
        }
        if takes {
            payer.set_faults(Faults { late: 1000, ..Faults::default() });
        } else {
            payer.http.say(door, silent());
        }
        let before = payer.posts();
        system.post(&format!("Claim/c{number}/$submit")).await.expect_status(200);
        let is_there = || if takes { payer.posts() > before } else { payer.http.unsaid() == 0 };
        for _ in 0..600 {
            if is_there() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(is_there(), "{door:?} was asked");
        payer.set_faults(Faults::default());
        server.restart().await;
        settled(&system, number, &["billed"]).await;
    }
    // Killed while the claim is handed in: it is there or not, and handed in again it is billed once.
    for number in 5..=8_usize {
        visiting(&system, number).await;
        merged(&system, number).await;
        system.store(&draft(number).0).await;
        let call = system.post(&format!("Claim/c{number}/$submit"));
        let asked = tokio::spawn(call.try_send());
        tokio::time::sleep(Duration::from_millis(15 * (number as u64 - 5))).await;
        server.restart().await;
        let _ = asked.await;
        system.post(&format!("Claim/c{number}/$submit")).await.expect_status(200);
        settled(&system, number, &["billed"]).await;
    }
    let mut invoices: Vec<String> = payer.ledger().into_iter().map(|billed| billed.invoice).collect();
    invoices.sort();
    assert_eq!(invoices, (1..=8).map(|number| format!("INV-{number}")).collect::<Vec<_>>());
}
