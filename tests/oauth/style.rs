//! Tests of `server/src/oauth/style.rs`.

use tests::TestServer;

use crate::ehr_launch::{clinic, handle, with_launch};
use crate::launch::{Browser, exchange, location, parameter};

tests::on_both_engines!(sm_41_the_style_can_be_kept_for_ever);

async fn sm_41_the_style_can_be_kept_for_ever(server: TestServer) {
    let clinic = clinic(&server).await;
    let launch = handle(&server, &clinic, &[]).await;
    let mut browser = Browser::new(&server);
    let login = browser.ask(&with_launch(&server, &clinic, &launch)).await.expect_status(200);
    let consent = browser.sign_in(&login, &clinic.doctor).await.expect_status(200);
    let back = location(&browser.decide(&consent, "allow").await.expect_status(303));
    let code = parameter(&back, "code").expect("a code");
    let answer = exchange(&server, &clinic.app, &code, &[]).await.expect_status(200).json();
    assert!(answer.get("patient").is_none(), "none was open");
    let address = answer.str("smart_style_url").expect("a style");
    let style = server.anonymous().get(address).header("origin", "https://app.example").await.expect_status(200);
    assert_eq!(style.header("access-control-allow-origin"), Some("*"));
    assert!(style.header("cache-control").is_some_and(|it| it.contains("immutable")));
    assert!(style.json().str("color_background").is_some());
    server.anonymous().get("/oauth/style/0000000000000000.json").await.expect_status(404);
}
