//! A server process of its own for each test.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::database::{Database, Engine};
use crate::{program, skipped};

const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A running `tributary serve`. Dropping it kills the process and removes its database.
#[derive(Debug)]
pub struct TestServer {
    origin: String,
    port: u16,
    process: Option<Child>,
    arguments: Vec<String>,
    database: Database,
}

/// Another process on the database of a server, which believes to be at the same address; ends when dropped.
#[derive(Debug)]
pub struct Beside {
    /// Where it listens.
    pub origin: String,
    process: Child,
}

impl Beside {
    /// Starts it.
    pub async fn start(server: &TestServer) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        let arguments =
            ["serve", "--listen", &listen, "--base-url", server.origin(), "--database", server.database_url()];
        let mut command = program::command(&arguments);
        let process = command.current_dir(server.folder()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let beside = Beside { origin: format!("http://{listen}"), process: process.expect("it can be started") };
        let deadline = Instant::now() + START_TIMEOUT;
        while reqwest::get(format!("{}/health", beside.origin)).await.is_err() {
            assert!(Instant::now() < deadline, "the second process does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        beside
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs one test against a fresh server on `engine`; what [`on_both_engines`](crate::on_both_engines) expands to.
pub fn run(engine: Engine, name: &str, test: impl AsyncFnOnce(TestServer)) {
    if !engine.is_available() {
        return skipped::skip(name, "TRIBUTARY_TEST_POSTGRES is not set");
    }
    block_on(async move { test(TestServer::start(engine).await).await });
}

/// Runs a future to its end on several threads.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads can be started").block_on(future)
}

impl TestServer {
    /// A server on a fresh database.
    pub async fn start(engine: Engine) -> Self {
        Self::start_with(engine, &[]).await
    }

    /// A server on a fresh database with further arguments to `serve`.
    pub async fn start_with(engine: Engine, arguments: &[&str]) -> Self {
        let database = Database::create(engine);
        let port = free_port();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let origin = format!("http://127.0.0.1:{port}");
        let mut server = TestServer { origin, port, process: None, arguments, database };
        server.restart().await;
        server
    }

    /// Starts the process again under another name of this machine, such as `localhost`.
    pub async fn move_to(&mut self, host: &str) {
        self.origin = format!("http://{host}:{}", self.port);
        self.restart().await;
    }

    /// Starts the process again on the same database and address; kills the old one if it still runs.
    pub async fn restart(&mut self) {
        self.kill();
        self.spawn();
        self.wait_until_healthy().await;
    }

    /// A further process on the same database, which takes itself for the same server.
    pub async fn another(&self) -> Another {
        let listen = format!("127.0.0.1:{}", free_port());
        let arguments = ["serve", "--listen", &listen, "--base-url", &self.origin, "--database", self.database.url()];
        let log = File::create(self.database.folder().join("another.log")).expect("the folder is writable");
        let mut command = program::command(&arguments);
        command.current_dir(self.database.folder()).stdout(log.try_clone().expect("a file handle")).stderr(log);
        let another = Another {
            origin: format!("http://{listen}"),
            process: command.spawn().expect("the tributary executable can be started"),
        };
        let deadline = Instant::now() + START_TIMEOUT;
        while std::net::TcpStream::connect(&listen).is_err() {
            assert!(Instant::now() < deadline, "the second process does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        another
    }

    fn spawn(&mut self) {
        let listen = format!("127.0.0.1:{}", self.port);
        let mut arguments =
            vec!["serve", "--listen", &listen, "--base-url", &self.origin, "--database", self.database.url()];
        arguments.extend(self.arguments.iter().map(String::as_str));
        let log = File::options().create(true).append(true).open(self.log_path()).expect("the folder is writable");
        let process = program::command(&arguments)
            .current_dir(self.database.folder())
            .stdout(log.try_clone().expect("a file handle can be copied"))
            .stderr(log)
            .spawn()
            .expect("the tributary executable can be started");
        self.process = Some(process);
    }

    /// kill -9, and wait until the process is gone.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// A client that may do everything (`system/*.cruds`).
    pub fn system(&self) -> Client {
        self.with_scope("system/*.cruds", None)
    }

    /// The app of one patient, with all rights in that patient's compartment.
    pub fn patient(&self, id: &str) -> Client {
        self.with_scope("patient/*.cruds", Some(id))
    }

    /// A client with a token of just this scope.
    pub fn with_scope(&self, scope: &str, patient: Option<&str>) -> Client {
        self.anonymous().with_token(&self.mint(scope, patient))
    }

    /// A client without a token.
    pub fn anonymous(&self) -> Client {
        Client::new(&self.origin)
    }

    /// An access token, minted as an operator does it.
    pub fn mint(&self, scope: &str, patient: Option<&str>) -> String {
        let mut arguments = vec!["token", "--scope", scope, "--ttl", "1h"];
        if let Some(patient) = patient {
            arguments.extend(["--patient", patient]);
        }
        self.command(&arguments).trim().to_owned()
    }

    /// Runs a command of the executable on this server's database and returns what it printed.
    pub fn command(&self, arguments: &[&str]) -> String {
        program::run(self.database.folder(), &self.on_its_database(arguments))
    }

    /// The same of one that may fail: whether it ended well, and all it printed.
    pub fn try_command(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = program::command(&self.on_its_database(arguments));
        let output = command.current_dir(self.database.folder()).output().expect("the executable can be started");
        let printed = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
    }

    fn on_its_database<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--database", self.database.url(), "--base-url", &self.origin]);
        arguments
    }

    /// From now on nothing can be written into the audit trail.
    pub fn break_trail(&self) {
        self.database.execute_on_trail("ALTER TABLE audit_event RENAME TO audit_event_away");
    }

    /// The audit trail can be written again.
    pub fn mend_trail(&self) {
        self.database.execute_on_trail("ALTER TABLE audit_event_away RENAME TO audit_event");
    }

    /// Changes something where the events of accesses are, behind the server's back.
    pub fn tamper_beside(&self, statement: &str) {
        self.database.execute_on_trail(statement);
    }

    /// Changes something in the database itself, behind the server's back.
    pub fn tamper(&self, statement: &str) {
        self.database.execute(statement);
    }

    /// Scheme, host and port: `http://127.0.0.1:49152`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The FHIR base, without a slash at its end.
    pub fn fhir_base(&self) -> String {
        format!("{}/fhir", self.origin)
    }

    /// Which engine it runs on.
    pub fn engine(&self) -> Engine {
        self.database.engine()
    }

    /// What `--database` was.
    pub fn database_url(&self) -> &str {
        self.database.url()
    }

    /// The server's working folder.
    pub fn folder(&self) -> &Path {
        self.database.folder()
    }

    /// Process id while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// All that the process has printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> std::path::PathBuf {
        self.database.folder().join("server.log")
    }

    async fn wait_until_healthy(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        let health = format!("{}/health", self.origin);
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().expect("a plain client");
        loop {
            if http.get(&health).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            let ended = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
            let log = || self.log();
            // A connection of another test may hold the port for a moment: nothing reserves it.
            let is_taken = ended.is_some() && log().contains("Address already in use");
            assert!(ended.is_none() || is_taken, "the server ended with {ended:?}:\n{}", log());
            if is_taken {
                self.spawn();
            }
            assert!(Instant::now() < deadline, "the server is not healthy after {START_TIMEOUT:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A second process of a server; dropping it kills it.
#[derive(Debug)]
pub struct Another {
    origin: String,
    process: Child,
}

impl Another {
    /// A client of this process.
    pub fn client(&self) -> Client {
        Client::new(&self.origin)
    }
}

impl Drop for Another {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let start = log.char_indices().rev().nth(8_000).map_or(0, |(index, _)| index);
            eprintln!("--- log of the server ---\n{}", &log[start..]);
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("this machine has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
