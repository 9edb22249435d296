//! A real browser, driven by remote control. <https://www.w3.org/TR/webdriver2/>
//!
//! Chromium and its driver are used where both are installed; where not, tests that need them are skipped by name.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use crate::server::block_on;
use crate::{Engine, TestServer, program, skipped};

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// By what an element is named in answers (§12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

const DRIVER: &str = "chromedriver";
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A window size in CSS pixels.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// A phone held upright.
pub const PHONE: Screen = Screen { width: 390, height: 844 };

/// A small laptop.
pub const DESKTOP: Screen = Screen { width: 1280, height: 800 };

/// Keys that are no characters (§17.4.2).
#[derive(Clone, Copy, Debug)]
pub enum Key {
    /// To the next field.
    Tab,
    /// Presses a button.
    Enter,
    /// Ticks a box.
    Space,
}

/// One browser with its own profile. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    http: reqwest::Client,
    driver: Child,
    port: u16,
    session: String,
    profile: PathBuf,
}

/// Runs one test against a fresh server, which is the same on both engines for a browser; skipped without one.
pub fn run(name: &str, test: impl AsyncFnOnce(TestServer, Browser)) {
    let (Some(driver), Some(browser)) = (in_path(DRIVER), BROWSERS.iter().find_map(|name| in_path(name))) else {
        return skipped::skip(name, "chromium or chromedriver is not installed");
    };
    block_on(async move {
        let server = TestServer::start(Engine::Sqlite).await;
        test(server, Browser::start(driver, browser).await).await;
    });
}

/// Makes of each named `async fn name(server: TestServer, browser: Browser)` a test.
#[macro_export]
macro_rules! in_a_browser {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn chromium() {
                $crate::browser::run(concat!(module_path!(), "::chromium"), super::$name);
            }
        }
    )+};
}

impl Browser {
    async fn start(driver: PathBuf, browser: PathBuf) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("b_{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let profile = program::target_folder().join("test-browsers").join(name);
        let _ = fs::remove_dir_all(&profile);
        fs::create_dir_all(&profile).expect("the target folder is writable");
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver can be started");
        let port = port_of(&mut driver);
        let http = reqwest::Client::builder().timeout(PATIENCE * 3).build().expect("a plain client");
        let mut started = Browser { http, driver, port, session: String::new(), profile };
        started.open_session(&browser).await;
        started.resize(DESKTOP).await;
        started
    }

    async fn open_session(&mut self, browser: &std::path::Path) {
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", self.profile.display()),
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "unhandledPromptBehavior": "ignore",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": browser, "args": arguments },
        } } });
        let opened = self.send(reqwest::Method::POST, "/session", &capabilities).await;
        let opened = opened.unwrap_or_else(|error| panic!("chromium does not start: {error}"));
        opened["sessionId"].as_str().expect("a session has an id").clone_into(&mut self.session);
    }

    /// Opens an address and waits until the page is there.
    pub async fn go(&self, url: &str) {
        self.post("/url", &json!({ "url": url })).await;
    }

    /// Where it is.
    pub async fn url(&self) -> Url {
        let url = self.get("/url").await;
        Url::parse(url.as_str().unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {url}"))
    }

    /// Waits until its address begins so.
    pub async fn arrives_at(&self, start: &str) -> Url {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let url = self.url().await;
            if url.as_str().starts_with(start) {
                return url;
            }
            assert!(Instant::now() < deadline, "the browser is at {url}, not at {start}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The text that a person sees of the first element that a CSS selector finds.
    pub async fn text(&self, selector: &str) -> String {
        let element = self.find(selector).await;
        let text = self.get(&format!("/element/{element}/text")).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks the first element that a CSS selector finds.
    pub async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        self.post(&format!("/element/{element}/click"), &json!({})).await;
    }

    /// Clicks, and waits until another page is there.
    pub async fn submit(&self, selector: &str) {
        let page = self.find("html").await;
        self.click(selector).await;
        self.leaves(&page).await;
    }

    /// Presses a key, and waits until another page is there.
    pub async fn submit_by(&self, key: Key) {
        let page = self.find("html").await;
        self.press(key).await;
        self.leaves(&page).await;
    }

    /// Replaces what stands in a field.
    pub async fn fill(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        self.post(&format!("/element/{element}/clear"), &json!({})).await;
        self.post(&format!("/element/{element}/value"), &json!({ "text": text })).await;
    }

    /// Types where the focus is.
    pub async fn types(&self, text: &str) {
        let strokes: Vec<Value> = text.chars().flat_map(|key| stroke(&key.to_string())).collect();
        self.post("/actions", &keyboard(&strokes)).await;
    }

    /// Presses a key where the focus is.
    pub async fn press(&self, key: Key) {
        let key = match key {
            Key::Tab => "\u{e004}",
            Key::Enter => "\u{e007}",
            Key::Space => " ",
        };
        self.post("/actions", &keyboard(&stroke(key))).await;
    }

    /// Runs the body of a function in the page and returns what it returns.
    pub async fn evaluate(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Forgets who is signed in.
    pub async fn delete_cookies(&self) {
        self.devtools("Network.clearBrowserCookies", &json!({})).await;
    }

    /// Whether a page got a dialog opened: `alert` and its kin.
    pub async fn shows_dialog(&self) -> bool {
        self.send(reqwest::Method::GET, &self.path("/alert/text"), &Value::Null).await.is_ok()
    }

    /// What pages complained about since this was asked last.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({ "type": "browser" })).await;
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        entries.as_array().into_iter().flatten().map(text).collect()
    }

    /// Gives the page another size.
    pub async fn resize(&self, screen: Screen) {
        let metrics = json!({ "width": screen.width, "height": screen.height, "deviceScaleFactor": 1, "mobile": screen.width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics).await;
    }

    /// What `prefers-color-scheme` says.
    pub async fn prefer_dark(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &features).await;
    }

    /// Gives it an authenticator for passkeys, whose person is verified at once, or never.
    /// <https://www.w3.org/TR/webauthn-3/#sctn-automation>
    pub async fn add_authenticator(&self, is_verified: bool) {
        let options = json!({
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true,
            "isUserVerified": is_verified,
        });
        self.post("/webauthn/authenticator", &options).await;
    }

    /// Lets pages run no script of their own.
    pub async fn disable_scripts(&self) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": true })).await;
    }

    /// Writes the whole page to `target/screenshots/NAME.png`.
    pub async fn screenshot(&self, name: &str) {
        let layout = self.devtools("Page.getLayoutMetrics", &json!({})).await;
        let size = &layout["cssContentSize"];
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        let taken =
            self.devtools("Page.captureScreenshot", &json!({ "captureBeyondViewport": true, "clip": clip })).await;
        let image = STANDARD.decode(taken["data"].as_str().unwrap_or_default()).expect("an image in base64");
        let folder = program::target_folder().join("../screenshots");
        fs::create_dir_all(&folder).expect("the target folder is writable");
        fs::write(folder.join(format!("{name}.png")), image).expect("the target folder is writable");
    }

    /// An element of a page that is gone is stale (§12.3).
    async fn leaves(&self, page: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.send(reqwest::Method::GET, &self.path(&format!("/element/{page}/name")), &Value::Null).await.is_ok()
        {
            assert!(Instant::now() < deadline, "the browser stays at {}", self.url().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn find(&self, selector: &str) -> String {
        let found = self.post("/element", &json!({ "using": "css selector", "value": selector })).await;
        found[ELEMENT].as_str().expect("an element has a reference").to_owned()
    }

    async fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.send(reqwest::Method::GET, &self.path(path), &Value::Null).await;
        answer.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.send(reqwest::Method::POST, &self.path(path), body).await;
        answer.unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }

    fn path(&self, path: &str) -> String {
        format!("/session/{}{path}", self.session)
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: &Value) -> Result<Value, String> {
        let mut request = self.http.request(method, format!("http://127.0.0.1:{}{path}", self.port));
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let is_success = answer.status().is_success();
        let mut answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        let value = answer["value"].take();
        if is_success { Ok(value) } else { Err(format!("{}: {}", value["error"], value["message"])) }
    }
}

impl Drop for Browser {
    /// The driver ends its browser when the session ends, not when the driver itself is killed.
    fn drop(&mut self) {
        if let Ok(mut driver) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
            let _ = driver.set_read_timeout(Some(PATIENCE));
            let _ = write!(
                driver,
                "DELETE {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
                self.path(""),
                self.port
            );
            let _ = driver.read(&mut [0; 1024]); // it answers when the browser has ended
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

fn stroke(key: &str) -> [Value; 2] {
    [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
}

fn keyboard(strokes: &[Value]) -> Value {
    json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] })
}

/// The driver chooses a free port and says which.
fn port_of(driver: &mut Child) -> u16 {
    let output = driver.stdout.take().expect("its output is piped");
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let port = lines.find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    std::thread::spawn(move || lines.for_each(drop)); // it must not block on what nobody reads
    port.expect("chromedriver says on which port it listens")
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
