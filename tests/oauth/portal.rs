//! People in front of the portal: signing in, sending forms, one-time passwords.

pub(crate) use tests::totp::code;
use tests::{Answer, TestServer};

use crate::launch::{Account, Browser, REDIRECT_URI, add_account, fields};

/// What an app asks for in these tests.
pub(crate) const SCOPES: &str = "launch/patient offline_access patient/*.rs user/*.rs";

/// Opens a page and sends a form to an address, with the hidden fields that are the same in all forms of a page.
pub(crate) async fn send(browser: &mut Browser<'_>, page: &str, to: &str, pairs: &[(&str, &str)]) -> Answer {
    let shown = browser.get(page).await.expect_status(200);
    let token = fields(&shown.text()).into_iter().find(|(name, _)| name == "form_token").expect("a form token");
    let mut form = vec![token];
    form.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    browser.post(to, &form).await
}

/// Signs in to the portal.
pub(crate) async fn sign_in<'a>(server: &'a TestServer, account: &Account) -> Browser<'a> {
    let mut browser = Browser::new(server);
    let pairs = [("username", account.username.as_str()), ("password", &account.password)];
    send(&mut browser, "/account/sign-in", "/account/sign-in", &pairs).await.expect_status(303);
    browser
}

/// Opens an account for somebody who makes apps; they are signed in then.
pub(crate) async fn sign_up<'a>(server: &'a TestServer, username: &str, purpose: &str) -> Browser<'a> {
    let mut browser = Browser::new(server);
    let pairs =
        [("username", username), ("name", "Dev Eloper"), ("purpose", purpose), ("password", "a calm river runs deep")];
    send(&mut browser, "/account/sign-up", "/account/sign-up", &pairs).await.expect_status(303);
    browser
}

/// Switches the second factor of a signed-in person on; the key, and the recovery codes.
pub(crate) async fn add_second_factor(browser: &mut Browser<'_>, password: &str) -> (String, Vec<String>) {
    let start = "/account/second-factor/start";
    send(browser, "/account", start, &[("password", password)]).await.expect_status(303);
    send(browser, "/account", start, &[("password", password)]).await.expect_status(303); // replaces the first
    let page = browser.get("/account/second-factor/setup").await.expect_status(200).text();
    let key = between(&page, "<code class=\"key\">", "</code>").replace(' ', "");
    let setup = "/account/second-factor/setup";
    let shown = send(browser, setup, setup, &[("code", &code(&key, 0))]).await.expect_status(200).text();
    let codes = shown.split("<li><code>").skip(1).filter_map(|rest| rest.split("</code>").next()).map(str::to_owned);
    (key, codes.collect())
}

/// An administrator who is signed in.
pub(crate) async fn administrator(server: &TestServer) -> Browser<'_> {
    administrator_with_key(server).await.0
}

/// The same, and the key of their one-time passwords.
pub(crate) async fn administrator_with_key(server: &TestServer) -> (Browser<'_>, String) {
    server.command(&["user", "add", "root", "--admin", "--json"]);
    let link = server.command(&["user", "recover", "root", "--json"]);
    let link = between(&link, "link=", "\"").to_owned();
    let mut browser = Browser::new(server);
    let password = "nobody guesses this one";
    let page = format!("/account/recover?link={link}");
    send(&mut browser, &page, "/account/recover", &[("link", &link), ("password", password)]).await.expect_status(303);
    let mut browser = sign_in(server, &Account { username: "root".to_owned(), password: password.to_owned() }).await;
    let (key, _) = add_second_factor(&mut browser, password).await;
    (browser, key)
}

/// Asks for an app; its key id.
pub(crate) async fn make_app(browser: &mut Browser<'_>, kind: &str, scopes: &str) -> String {
    let redirect_uri = if kind == "backend" { "" } else { REDIRECT_URI };
    let pairs = [
        ("name", "Heart Watch"),
        ("description", "Shows the pulse."),
        ("kind", kind),
        ("authentication", "secret"),
        ("redirect_uris", redirect_uri),
        ("scopes", scopes),
    ];
    let made = send(browser, "/portal/apps/new", "/portal/apps/new", &pairs).await.expect_status(303);
    made.header("location").and_then(|to| to.rsplit('/').next()).expect("the address of the app").to_owned()
}

/// What an administrator says about an app, as it is shown to them.
pub(crate) async fn decide(administrator: &mut Browser<'_>, app: &str, decision: &str) -> Answer {
    let shown = shown(administrator, app).await;
    let to = format!("/portal/admin/apps/{app}");
    send(administrator, "/portal/admin", &to, &[("decision", decision), ("shown", &shown)]).await
}

/// What the form about an app carries of what was shown of it; empty where there is no such form.
pub(crate) async fn shown(administrator: &mut Browser<'_>, app: &str) -> String {
    let page = administrator.get("/portal/admin").await.expect_status(200).text();
    let form = page.split("<form").find(|form| form.contains(&format!("action=\"/portal/admin/apps/{app}\"")));
    let value = form.and_then(|form| form.split("name=\"shown\" value=\"").nth(1)?.split('"').next());
    value.unwrap_or_default().to_owned()
}

/// Makes a secret of an app.
pub(crate) async fn make_secret(browser: &mut Browser<'_>, app: &str) -> String {
    let page = format!("/portal/apps/{app}");
    let shown = browser.get(&page).await.expect_status(200).text();
    let newest = fields(&shown).into_iter().find(|(name, _)| name == "newest").expect("the newest").1;
    let shown = send(browser, &page, &format!("{page}/secret"), &[("newest", &newest)]).await.expect_status(200);
    between(&shown.text(), "id=\"secret\">", "</code>").to_owned()
}

/// A patient's record with an account that makes apps of its own.
pub(crate) async fn patient_developer<'a>(server: &'a TestServer, patient: &str) -> Browser<'a> {
    developer(server, &format!("dev-{patient}"), &format!("Patient/{patient}"), "personal").await
}

/// Somebody with a record who makes apps.
pub(crate) async fn developer<'a>(server: &'a TestServer, name: &str, record: &str, purpose: &str) -> Browser<'a> {
    let account = add_account(server, name, Some(record));
    let mut browser = sign_in(server, &account).await;
    send(&mut browser, "/portal", "/account/developer", &[("purpose", purpose)]).await.expect_status(303);
    browser
}

/// The text between two others.
pub(crate) fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let start = text.find(before).unwrap_or_else(|| panic!("no {before} in {text}")) + before.len();
    text[start..].split(after).next().expect("split has a first part")
}
