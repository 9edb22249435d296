//! The binary on a loaded database.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Failure;

const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A running process that listens; dropping it kills it.
pub(crate) struct Server {
    process: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// An access token that may do everything, empty where none is needed.
    pub(crate) token: String,
    /// What runs; a ceiling has no commands.
    program: Option<Program>,
}

/// The executable on its database.
struct Program {
    binary: PathBuf,
    folder: PathBuf,
    database: String,
}

/// The binary, built from the sources as they are, as this program was: ceilings and server are compared.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    let this = std::env::current_exe()?;
    let is_profile = |folder: &&Path| ["release", "dist"].iter().any(|profile| folder.ends_with(profile));
    let folder = this.ancestors().find(is_profile).ok_or("run this as `cargo run --profile dist`, or `--release`")?;
    let profile = folder.file_name().unwrap_or_default();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--package", "tributary", "--profile"]).arg(profile).status()?;
    if !status.success() {
        return Err("the binary does not build".into());
    }
    Ok(folder.join("tributary"))
}

/// A port that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

impl Server {
    /// Imports the file into an empty database, mints a token and starts the server.
    pub(crate) fn load_and_start(binary: &Path, folder: &Path, database: &str, file: &Path) -> Result<Self, Failure> {
        let program =
            Program { binary: binary.canonicalize()?, folder: folder.to_owned(), database: database.to_owned() };
        run(&mut program.command(&["migrate"]))?;
        let started = Instant::now();
        let status = program.command(&["import"]).arg(file).stdout(Stdio::null()).status()?;
        if !status.success() {
            return Err("the import failed".into());
        }
        eprintln!("imported in {:.1} s", started.elapsed().as_secs_f64());
        // What is measured is the server, not the disk under a cache that has yet to fill.
        if let Some(path) = database.strip_prefix("sqlite:") {
            std::io::copy(&mut File::open(folder.join(path))?, &mut std::io::sink())?;
        }
        let address = free_address()?;
        let token = program.token(address, &["--scope", "system/*.cruds"])?;
        let mut server = Self::start(&mut program.serve(address)?, address, token)?;
        server.program = Some(program);
        Ok(server)
    }

    /// Kills the process, and starts it again at the same address.
    pub(crate) fn restart(&mut self) -> Result<(), Failure> {
        self.stop();
        let program = self.program.take().ok_or("a ceiling is not started again")?;
        let token = std::mem::take(&mut self.token);
        *self = Self::start(&mut program.serve(self.address)?, self.address, token)?;
        self.program = Some(program);
        Ok(())
    }

    /// Runs a command of the executable on the server's database; what it printed.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<String, Failure> {
        let program = self.program.as_ref().ok_or("a ceiling has no commands")?;
        run(program.command(arguments).args(["--base-url", &format!("http://{}", self.address)]))
    }

    /// Starts a process and waits until it accepts connections.
    pub(crate) fn start(command: &mut Command, address: SocketAddr, token: String) -> Result<Self, Failure> {
        let process = command.stdin(Stdio::null()).spawn()?;
        let mut server = Server { process, address, token, program: None };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.process.try_wait()? {
                return Err(format!("the server ended with {status}").into());
            }
            if Instant::now() > deadline {
                return Err("the server does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// An access token of a patient's app: it reads all that is the patient's.
    pub(crate) fn patient_token(&self, patient: &str) -> Result<String, Failure> {
        let program = self.program.as_ref().ok_or("a ceiling has no patients")?;
        program.token(self.address, &["--scope", "patient/*.rs", "--patient", patient])
    }

    /// Process id.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// Ends the process.
    pub(crate) fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Program {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).args(["--database", &self.database, "--log-level", "warn"]).current_dir(&self.folder);
        command
    }

    fn serve(&self, address: SocketAddr) -> Result<Command, Failure> {
        let mut serve =
            self.command(&["serve", "--listen", &address.to_string(), "--base-url", &format!("http://{address}")]);
        // Who has gone is noticed with the next message: the listeners of one measurement count in the next.
        serve.env("TRIBUTARY_STREAM_LISTENERS", "2000");
        let log = File::options().create(true).append(true).open(self.folder.join("server.log"))?;
        serve.stdout(log.try_clone()?).stderr(log);
        Ok(serve)
    }

    /// A token is made for one server: the base URL is part of it.
    fn token(&self, address: SocketAddr, of: &[&str]) -> Result<String, Failure> {
        let base = format!("http://{address}");
        let minted = run(self.command(&["token", "--ttl", "4h", "--base-url", &base]).args(of))?;
        Ok(minted.trim().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
