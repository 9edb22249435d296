//! Tests of `server/src/portal/billing.rs`: who bills insurers sees all claims, and nobody else sees the pages.

use fhir::{array, object};
use simulators::smartlink::Faults;
use tests::TestServer;
use tests::clinic::{connected, draft, merged, settled, visiting};

use crate::launch::{Browser, add_account};
use crate::portal::{add_second_factor, code, send, sign_in};

tests::on_both_engines!(
    lk_51_the_worklist_is_for_those_who_bill,
    oa_25_who_bills_needs_a_second_factor_in_the_session,
    lk_45_who_bills_sees_nothing_that_is_withheld,
    a_refused_claim_is_explained_and_sent_again,
);

async fn lk_51_the_worklist_is_for_those_who_bill(server: TestServer) {
    let account = add_account(&server, "grace", Some("Practitioner/d1"));
    let mut grace = sign_in(&server, &account).await;
    for page in ["/portal/billing", "/portal/billing/c1"] {
        grace.get(page).await.expect_status(404);
        Browser::new(&server).get(page).await.expect_status(303);
    }
    send(&mut grace, "/portal", "/portal/billing/c1", &[("do", "submit")]).await.expect_status(404);
    assert!(!grace.get("/portal").await.text().contains("/portal/billing"));
    server.command(&["user", "billing", "grace"]);
    assert!(grace.get("/portal").await.text().contains("/portal/billing"));
    add_second_factor(&mut grace, &account.password).await;
    assert!(grace.get("/portal/billing").await.expect_status(200).text().contains("There is no such claim."));
    grace.get("/portal/billing/c1").await.expect_status(404);
    for wrong in ["?state=wrong", "?from=x", "?find=%00"] {
        let status = grace.get(&format!("/portal/billing{wrong}")).await.status;
        assert!(matches!(status, 200 | 400), "{wrong}: {status}");
    }
    // The role opens these pages, and no data elsewhere.
    assert!(!grace.get("/portal/admin").await.expect_status(404).text().contains("Administration"));
    server.command(&["user", "billing", "grace", "--off"]);
    grace.get("/portal/billing").await.expect_status(404);
}

async fn oa_25_who_bills_needs_a_second_factor_in_the_session(server: TestServer) {
    let account = add_account(&server, "grace", Some("Practitioner/d1"));
    server.command(&["user", "billing", "grace"]);
    let mut grace = sign_in(&server, &account).await;
    for page in ["/portal/billing", "/portal/billing/c1"] {
        let refused = grace.get(page).await.expect_status(400).text();
        assert!(refused.contains("need a second factor") && !refused.contains("claim"), "{page}: {refused}");
    }
    let resubmit = [("do", "submit")];
    send(&mut grace, "/portal", "/portal/billing/c1", &resubmit).await.expect_status(400);
    assert!(grace.get("/portal").await.expect_status(200).text().contains("billing need a second factor"));
    let (key, codes) = add_second_factor(&mut grace, &account.password).await;
    assert!(!grace.get("/portal").await.expect_status(200).text().contains("need a second factor"));
    grace.get("/portal/billing").await.expect_status(200);
    // Who switches it off has no way in, in any session.
    let page = "/account/second-factor";
    let mut other = sign_in(&server, &account).await;
    other.get("/portal/billing").await.expect_status(303);
    send(&mut other, page, page, &[("code", &code(&key, 1))]).await.expect_status(303);
    other.get("/portal/billing").await.expect_status(200);
    let off = [("password", account.password.as_str()), ("code", codes[0].as_str())];
    send(&mut grace, "/account", "/account/second-factor/remove", &off).await.expect_status(303);
    for browser in [&mut grace, &mut other] {
        browser.get("/portal/billing").await.expect_status(400);
    }
}

async fn lk_45_who_bills_sees_nothing_that_is_withheld(server: TestServer) {
    let (mut server, _payer) = connected(&server, Faults::default()).await;
    let system = server.system();
    for number in 1..=2 {
        visiting(&system, number).await;
        merged(&system, number).await;
        system.store(&draft(number).0).await;
        system.post(&format!("Claim/c{number}/$submit")).await.expect_status(200);
        settled(&system, number, &["billed"]).await;
    }
    let label = object! { "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R" };
    let meta = object! { "name": "meta", "valueMeta": object! { "security": array![label] } };
    let labelled = object! { "resourceType": "Parameters", "parameter": array![meta] };
    system.post("Claim/c1/$meta-add").json(&labelled).await.expect_status(200);
    let account = add_account(&server, "grace", Some("Practitioner/d1"));
    server.command(&["user", "billing", "grace"]);
    let mut grace = sign_in(&server, &account).await;
    let (key, _) = add_second_factor(&mut grace, &account.password).await;
    let list = grace.get("/portal/billing?state=all").await.expect_status(200).text();
    assert!(list.contains("INV-1</bdi>") && list.contains("INV-2</bdi>"), "{list}");
    std::fs::write(server.folder().join("tributary.toml"), "restricted = \"withheld\"\n").expect("a folder");
    server.restart().await;
    let mut grace = sign_in(&server, &account).await;
    let page = "/account/second-factor";
    send(&mut grace, page, page, &[("code", &code(&key, 1))]).await.expect_status(303);
    let list = grace.get("/portal/billing?state=all").await.expect_status(200).text();
    assert!(!list.contains("INV-1</bdi>") && list.contains("INV-2</bdi>"), "{list}");
    grace.get("/portal/billing/c1").await.expect_status(404);
    grace.get("/portal/billing/c2").await.expect_status(200);
}

async fn a_refused_claim_is_explained_and_sent_again(server: TestServer) {
    let (server, payer) = connected(&server, Faults { expiry: 1000, ..Faults::default() }).await;
    let system = server.system();
    for number in 1..=2 {
        visiting(&system, number).await;
        merged(&system, number).await;
        system.store(&draft(number).0).await;
        system.post(&format!("Claim/c{number}/$submit")).await.expect_status(200);
        settled(&system, number, &["refused"]).await;
    }
    server.command(&["user", "add", "bill", "--billing"]);
    server.command(&["user", "add", "till"]);
    let link = server.command(&["user", "recover", "bill", "--json"]);
    let link = crate::portal::between(&link, "link=", "\"").to_owned();
    let mut bill = Browser::new(&server);
    let password = "nobody guesses this one";
    let page = format!("/account/recover?link={link}");
    send(&mut bill, &page, "/account/recover", &[("link", &link), ("password", password)]).await.expect_status(303);
    let account = crate::launch::Account { username: "bill".to_owned(), password: password.to_owned() };
    let mut bill = sign_in(&server, &account).await;
    add_second_factor(&mut bill, password).await;
    let list = bill.get("/portal/billing").await.expect_status(200).text();
    for told in ["INV-1", "INV-2", "Amina Kamau", "refused", "2501.46 KES", "Session is not active", "5004.03", "<svg"]
    {
        assert!(list.contains(told), "{told}: {list}");
    }
    let found = bill.get("/portal/billing?find=INV-2").await.expect_status(200).text();
    assert!(found.contains("INV-2</bdi>") && !found.contains("INV-1</bdi>"), "{found}");
    assert!(bill.get("/portal/billing?state=billed").await.text().contains("There is no such claim."));
    let shown = bill.get("/portal/billing/c1").await.expect_status(200).text();
    for told in
        ["POST /api/claims", "Session is not active", "&quot;claim_code&quot;: &quot;INV-1&quot;", "Submit it again"]
    {
        let told = told.replace("&quot;", "&#34;");
        assert!(shown.contains(&told), "{told}: {shown}");
    }
    payer.set_faults(Faults::default());
    merged(&system, 1).await; // the insurer's side opened the session again
    let page = "/portal/billing/c1";
    send(&mut bill, page, page, &[("do", "sing")]).await.expect_status(400);
    send(&mut bill, page, page, &[("do", "submit")]).await.expect_status(303);
    settled(&system, 1, &["billed"]).await;
    assert!(bill.get(page).await.text().contains("in the payer&#39;s books"));
    let page = "/portal/billing/c2";
    send(&mut bill, page, page, &[("do", "withdraw")]).await.expect_status(303);
    assert_eq!(system.get("Claim/c2").await.json().str("status"), Some("cancelled"));
    let refused = send(&mut bill, page, "/portal/billing/c1", &[("do", "withdraw")]).await.expect_status(422).text();
    assert!(refused.contains("has to cancel it"), "{refused}");
    assert_eq!((payer.ledger().len(), payer.posts()), (1, 3));
    let events = system.get("AuditEvent?entity=Claim/c1&_count=100").await.expect_status(200).text();
    assert!(events.contains("portal"), "who looked is in the trail");
}
