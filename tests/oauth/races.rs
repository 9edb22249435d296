//! Many at once with one code or one refresh token: `server/src/oauth/token.rs`, `server/store/src/tokens.rs`.

use std::sync::Arc;

use tests::{Answer, TestServer};

use crate::launch::{self, App, SCOPE, Tokens, add_app, error, parameter, read, refresh, seed, tokens};

tests::on_both_engines!(
    oa_04_of_parallel_exchanges_one_gets_tokens_which_then_end,
    oa_08_of_parallel_refreshes_one_descendant_lives,
    oa_08_a_lost_answer_can_be_asked_for_again,
    oa_08_a_successor_that_was_used_makes_a_repetition_theft,
    oa_08_a_replaced_successor_is_theft,
);

/// So many that several are between look and exchange at the same time.
const AT_ONCE: usize = 32;

async fn all_at_once<F>(attempt: impl Fn() -> F) -> Vec<Answer>
where
    F: Future<Output = Answer> + Send + 'static,
{
    let attempts: Vec<_> = (0..AT_ONCE).map(|_| tokio::spawn(attempt())).collect();
    let mut answers = Vec::new();
    for attempt in attempts {
        answers.push(attempt.await.expect("answered"));
    }
    answers
}

async fn opens(server: &TestServer, access: &str) -> bool {
    server.anonymous().with_token(access).get("Patient/p1").await.status == 200
}

async fn oa_04_of_parallel_exchanges_one_gets_tokens_which_then_end(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let code = parameter(&launch::launch(&server, &app, &account, SCOPE).await, "code").expect("a code");
    let server = Arc::new(server);
    let answers = all_at_once(|| {
        let (server, app, code) = (server.clone(), app.clone(), code.clone());
        async move { launch::exchange(&server, &app, &code, &[]).await }
    })
    .await;
    let granted: Vec<Tokens> = answers.iter().filter(|answer| answer.status == 200).map(read).collect();
    assert_eq!(granted.len(), 1);
    assert!(answers.iter().filter(|answer| answer.status != 200).all(|answer| error(answer) == "invalid_grant"));
    // the others were replays of a faultless request: all that came of the code has ended
    assert!(!opens(&server, &granted[0].access).await);
    refresh(&server, &app, &granted[0].refresh, None).await.expect_status(400);
}

async fn oa_08_of_parallel_refreshes_one_descendant_lives(server: TestServer) {
    let account = seed(&server).await;
    let app = add_app(&server, "public");
    let first = tokens(&server, &app, &account, SCOPE).await;
    let server = Arc::new(server);
    let answers = all_at_once(|| {
        let (server, app, token) = (server.clone(), app.clone(), first.refresh.clone());
        async move { refresh(&server, &app, &token, None).await }
    })
    .await;
    let granted: Vec<Tokens> = answers.iter().filter(|answer| answer.status == 200).map(read).collect();
    assert!(!granted.is_empty(), "{}", answers[0].describe());
    assert!(answers.iter().all(|answer| answer.status == 200 || error(answer) == "invalid_grant"));
    let mut alive = Vec::new();
    for granted in &granted {
        if opens(&server, &granted.access).await {
            alive.push(granted);
        }
    }
    assert_eq!(alive.len(), 1, "of {} answers", granted.len());
    let next = read(&refresh(&server, &app, &alive[0].refresh, None).await.expect_status(200));
    assert!(opens(&server, &next.access).await);
}

async fn start(server: &TestServer) -> (App, Tokens) {
    let account = seed(server).await;
    let app = add_app(server, "public");
    let first = tokens(server, &app, &account, SCOPE).await;
    (app, first)
}

async fn again(server: &TestServer, app: &App, token: &str) -> Tokens {
    read(&refresh(server, app, token, None).await.expect_status(200))
}

async fn oa_08_a_lost_answer_can_be_asked_for_again(server: TestServer) {
    let (app, first) = start(&server).await;
    let lost = again(&server, &app, &first.refresh).await;
    let got = again(&server, &app, &first.refresh).await;
    assert_ne!(lost.refresh, got.refresh);
    assert!(opens(&server, &got.access).await && !opens(&server, &lost.access).await, "one descendant lives");
    assert!(opens(&server, &first.access).await, "what was handed out before is not touched");
    let twice = again(&server, &app, &first.refresh).await;
    assert!(!opens(&server, &got.access).await);
    again(&server, &app, &twice.refresh).await;
}

async fn oa_08_a_successor_that_was_used_makes_a_repetition_theft(server: TestServer) {
    let (app, first) = start(&server).await;
    let second = again(&server, &app, &first.refresh).await;
    let third = again(&server, &app, &second.refresh).await;
    assert_eq!(error(&refresh(&server, &app, &first.refresh, None).await.expect_status(400)), "invalid_grant");
    assert!(!opens(&server, &third.access).await && !opens(&server, &first.access).await);
    refresh(&server, &app, &third.refresh, None).await.expect_status(400);
}

async fn oa_08_a_replaced_successor_is_theft(server: TestServer) {
    let (app, first) = start(&server).await;
    let stolen = again(&server, &app, &first.refresh).await;
    let got = again(&server, &app, &first.refresh).await;
    let next = again(&server, &app, &got.refresh).await;
    refresh(&server, &app, &stolen.refresh, None).await.expect_status(400);
    assert!(!opens(&server, &next.access).await, "whoever held the other one was no friend");
}
