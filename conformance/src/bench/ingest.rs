//! `conformance ingest`: a vendor's readings, sent several times each and in any order while the server is killed, are
//! one Observation each; and how fast readings become FHIR and reach whoever listens, next to bare creates.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fhir::json::Json;
use futures::future::{join_all, try_join_all};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::load::{self, Driver};
use super::server::{self, Server};
use super::{Failure, ceiling_postgres};

mod listening;

use listening::Listening;

/// Devices that the readings come from, each with a patient of its own.
const DEVICES: usize = 100;

/// How long readings may wait to be applied.
const PATIENCE: Duration = Duration::from_mins(30);

/// How long a connection that broke waits before it is made again.
const PAUSE: Duration = Duration::from_millis(20);

/// Seconds for which rates are measured.
const SECONDS: u64 = 5;

/// What to send, and to what.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Database to send to: an empty one, which is left behind. Default: a temporary SQLite file.
    #[arg(long)]
    database: Option<String>,
    /// Drop the PostgreSQL database first, and make it anew.
    #[arg(long, requires = "database")]
    anew: bool,
    /// Different readings.
    #[arg(long, default_value_t = 100_000)]
    readings: usize,
    /// Connections that the vendor keeps open.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// How often the server is killed meanwhile.
    #[arg(long, default_value_t = 5)]
    kills: usize,
    /// Listeners at once, each on the readings of one patient; none: they are left out.
    #[arg(long, default_value_t = 1000)]
    listeners: usize,
    /// Readings a second that they hear of together.
    #[arg(long, default_value_t = 20.0)]
    listened: f64,
    /// Leave out what is measured: only count.
    #[arg(long)]
    count_only: bool,
    /// The executable under test; default: built as this program was.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Folder for the temporary database.
    #[arg(long, default_value = "target/ingest")]
    folder: PathBuf,
}

/// The vendor's side.
struct Vendor<'a> {
    server: &'a Server,
    key: String,
    connections: usize,
    /// Process of the database's engine on this machine.
    engine: Option<u32>,
}

/// Sends, counts, measures; an error where a reading was lost or doubled.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => server::build()?,
    };
    let _ = std::fs::remove_dir_all(&arguments.folder);
    std::fs::create_dir_all(&arguments.folder)?;
    let folder = arguments.folder.canonicalize()?;
    let given = arguments.database.clone();
    let database = given.unwrap_or_else(|| format!("sqlite:{}", folder.join("ingest.db").display()));
    if arguments.anew {
        ceiling_postgres::make_anew(&database)?;
    }
    let engine = if database.starts_with("postgres") { ceiling_postgres::engine(&database) } else { None };
    let file = folder.join("patients.ndjson");
    let patient = |number| format!("{{\"resourceType\":\"Patient\",\"id\":\"p{number}\"}}\n");
    std::fs::write(&file, (0..DEVICES).map(patient).collect::<String>())?;
    let mut server = Server::load_and_start(&binary, &folder, &database, &file)?;
    let key = server.command(&["vendor", "add", "medisante"])?.trim().to_owned();
    let pairing = progress("devices paired", DEVICES);
    for number in 0..DEVICES {
        let (device, patient) = (device(number), format!("p{number}"));
        server.command(&["pair", "--device", &device, "--patient", &patient, "--from", "2020-01-01"])?;
        pairing.inc(1);
    }
    pairing.finish();
    exactly_once(arguments, &mut server, &key)?;
    if !arguments.count_only {
        measure(arguments, &Vendor { server: &server, key, connections: arguments.connections, engine })?;
    }
    Ok(())
}

/// How much of something long is done, told on a terminal; elsewhere a line each tenth.
fn progress(what: &'static str, count: usize) -> Progress {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {elapsed}, {eta} left");
    let bar = ProgressBar::new(count as u64).with_message(what);
    Progress { bar: style.map_or_else(|_unknown| ProgressBar::hidden(), |style| bar.with_style(style)), what }
}

/// See [`progress`].
struct Progress {
    bar: ProgressBar,
    what: &'static str,
}

impl Progress {
    fn inc(&self, more: usize) {
        self.to(self.bar.position() as usize + more);
    }

    fn to(&self, done: usize) {
        let count = self.bar.length().unwrap_or_default().max(1);
        let tenth = |position: u64| position.min(count) * 10 / count;
        let before = tenth(self.bar.position());
        self.bar.set_position(done as u64);
        if self.bar.is_hidden() && tenth(done as u64) > before {
            eprintln!("{} of {count} {}, {:.0} s", done, self.what, self.bar.elapsed().as_secs_f64());
        }
    }

    fn finish(&self) {
        self.bar.finish();
    }
}

/// Rates and delays, as rows of a table.
fn measure(arguments: &Arguments, vendor: &Vendor<'_>) -> Result<(), Failure> {
    let create = bare_creates(vendor)?;
    let ingest = vendor.rate(arguments.readings)?;
    println!("| what | a second | of bare creates | CPU µs each | of bare creates |\n|---|--:|--:|--:|--:|");
    println!("| bare creates | {:.0} | | {:.0} | |", create.rate, create.micros);
    let (rates, costs) = (ingest.rate / create.rate, ingest.micros / create.micros);
    println!("| readings to FHIR | {:.0} | {rates:.2} | {:.0} | {costs:.2} |", ingest.rate, ingest.micros);
    println!("\n| from receipt to listeners | readings a second | heard | median ms | p99 ms |\n|---|--:|--:|--:|--:|");
    let first = 2 * arguments.readings + 1_000_000;
    let one = Listening {
        first,
        rate: ingest.rate / 2.0,
        seconds: SECONDS,
        tokens: vec![vendor.server.token.clone()],
        each: 1,
    };
    println!("| 1, at half of that rate | {:.0} | {}", one.rate, one.run(vendor)?);
    if arguments.listeners > 0 {
        let own = |number: usize| vendor.server.patient_token(&format!("p{number}"));
        let own: Vec<String> = (0..DEVICES).map(own).collect::<Result<_, _>>()?;
        let each = arguments.listeners.div_ceil(DEVICES);
        let tokens = own.iter().flat_map(|token| std::iter::repeat_n(token.clone(), each)).collect();
        let all = Listening { first: 2 * first, rate: arguments.listened, seconds: 2 * SECONDS, tokens, each };
        println!("| {} | {:.0} | {}", each * DEVICES, all.rate, all.run(vendor)?);
    }
    Ok(())
}

/// How much is done a second, and what it costs.
struct Rate {
    rate: f64,
    /// CPU microseconds of the server for each.
    micros: f64,
}

/// Each reading 1 to 5 times, shuffled, with kills in between.
fn exactly_once(arguments: &Arguments, server: &mut Server, key: &str) -> Result<(), Failure> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let mut deliveries: Vec<usize> = Vec::new();
    for number in 0..arguments.readings {
        deliveries.extend(std::iter::repeat_n(number, 1 + next(5)));
    }
    for index in (1..deliveries.len()).rev() {
        deliveries.swap(index, next(index + 1));
    }
    let started = Instant::now();
    let sending = progress("deliveries", deliveries.len());
    let rounds = arguments.kills + 1;
    let size = deliveries.len().div_ceil(rounds).max(1);
    for (round, some) in deliveries.chunks(size).enumerate() {
        let killed = round + 1 < rounds;
        // The server goes when half of the round is answered, and comes back for the rest.
        let (before, after) = some.split_at(if killed { some.len() / 2 } else { some.len() });
        Vendor::of(server, key, arguments).send_all(before, killed, Some(&sending))?;
        if killed {
            server.restart()?;
            // what was under way when it went is not known to have arrived
            let again: Vec<usize> = before.iter().rev().take(10 * arguments.connections).copied().collect();
            let vendor = Vendor::of(server, key, arguments);
            vendor.send_all(&again, false, None)?;
            vendor.send_all(after, false, Some(&sending))?;
        }
    }
    sending.finish();
    let sent = deliveries.len();
    eprintln!("{sent} deliveries of {} readings in {:.0} s", arguments.readings, started.elapsed().as_secs_f64());
    let vendor = Vendor::of(server, key, arguments);
    let applying = progress("readings applied", arguments.readings);
    let (found, _) = vendor.settled(arguments.readings, Some(&applying))?;
    applying.finish();
    let devices = vendor.count("Device")?;
    println!("{} readings, {sent} deliveries, {} kills: {found} Observations", arguments.readings, arguments.kills);
    vendor.each_once(arguments.readings)?;
    if found != arguments.readings || devices != DEVICES {
        return Err(
            format!("{found} Observations and {devices} Devices, not {} and {DEVICES}", arguments.readings).into()
        );
    }
    Ok(())
}

/// Observations that are created one by one.
fn bare_creates(vendor: &Vendor<'_>) -> Result<Rate, Failure> {
    let body = |number: usize| {
        format!(
            r#"{{"resourceType":"Observation","status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"29463-7"}}]}},"subject":{{"reference":"Patient/p{}"}},"effectiveDateTime":"2024-01-01T00:00:00Z","valueQuantity":{{"value":{number},"unit":"g","system":"http://unitsofmeasure.org","code":"g"}}}}"#,
            number % DEVICES
        )
    };
    let server = vendor.server;
    let make = |number: usize| load::request("POST", "/fhir/Observation", &server.token, &body(number));
    let measured = vendor.driver().drive(server.address, server.process(), &make)?;
    Ok(Rate { rate: measured.rate, micros: measured.cpu_micros.unwrap_or_default() })
}

impl<'a> Vendor<'a> {
    fn of(server: &'a Server, key: &str, arguments: &Arguments) -> Self {
        Vendor { server, key: key.to_owned(), connections: arguments.connections, engine: None }
    }

    /// Sends all of these readings; with `killed` the server goes when the last is sent.
    fn send_all(&self, numbers: &[usize], killed: bool, progress: Option<&Progress>) -> Result<(), Failure> {
        let next = Cell::new(0);
        let stop = Cell::new(false);
        let process = self.server.process();
        let last = numbers.len().saturating_sub(self.connections);
        runtime()?.block_on(async {
            let work = (0..self.connections).map(|_| async {
                let mut connection: Option<TcpStream> = None;
                while let Some(&number) = numbers.get(next.get()).filter(|_| !stop.get()) {
                    next.set(next.get() + 1);
                    if killed && next.get() > last && !stop.replace(true) {
                        kill(process);
                    }
                    while !stop.get() && self.send(&mut connection, number).await.is_err() {
                        connection = None;
                        tokio::time::sleep(PAUSE).await;
                    }
                    progress.inspect(|progress| progress.inc(1));
                }
            });
            join_all(work).await;
        });
        Ok(())
    }

    /// Sends a reading; an error where it was not acknowledged.
    async fn send(&self, connection: &mut Option<TcpStream>, number: usize) -> Result<(), Failure> {
        if connection.is_none() {
            let stream = TcpStream::connect(self.server.address).await?;
            stream.set_nodelay(true)?;
            *connection = Some(stream);
        }
        let Some(stream) = connection.as_mut() else { return Err("no connection".into()) };
        let body = weight(number);
        let request = format!(
            "POST /health-data/medisante HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut buffer = Vec::new();
        match load::receive(stream, &mut buffer).await?.status {
            200 => Ok(()),
            status => Err(format!("status {status}: {}", String::from_utf8_lossy(&buffer)).into()),
        }
    }

    /// As many connections as it keeps open; what the engine uses is counted too.
    fn driver(&self) -> Driver {
        Driver { engine: self.engine, ..Driver::new(self.connections, Duration::from_secs(SECONDS)) }
    }

    /// Readings from the first delivery to the last Observation, at full speed.
    fn rate(&self, known: usize) -> Result<Rate, Failure> {
        let (first, count) = (known, known.clamp(200, 10_000));
        let already = self.count("Observation")?;
        let driver = self.driver();
        let used = driver.cpu_micros(self.server.process())?;
        let started = Instant::now();
        self.send_all(&(first..first + count).collect::<Vec<_>>(), false, None)?;
        let (found, reached) = self.settled(already + count, None)?;
        let seconds = reached.duration_since(started).as_secs_f64();
        let used = driver.cpu_micros(self.server.process())? - used;
        if found != already + count {
            return Err("readings were lost or doubled".into());
        }
        Ok(Rate { rate: count as f64 / seconds, micros: used as f64 / count as f64 })
    }

    /// How many Observations there are when nothing is left to be applied.
    /// And when they were as many as wanted.
    fn settled(&self, wanted: usize, progress: Option<&Progress>) -> Result<(usize, Instant), Failure> {
        let started = Instant::now();
        let mut reached = None;
        loop {
            let asked = Instant::now();
            let found = self.count("Observation")?;
            progress.inspect(|progress| progress.to(found));
            if found >= wanted {
                reached.get_or_insert(asked);
            }
            // Counting many costs what is to be measured.
            let pause = PAUSE.max(20 * asked.elapsed());
            if reached.is_some() || started.elapsed() > PATIENCE {
                let waiting =
                    self.server.command(&["inbox", "list", "--state", "received", "--limit", "1", "--json"])?;
                if waiting.trim() == "[]" || started.elapsed() > PATIENCE {
                    return Ok((self.count("Observation")?, reached.unwrap_or(asked)));
                }
            }
            std::thread::sleep(pause);
        }
    }

    /// Looks for each reading by its identifier.
    fn each_once(&self, readings: usize) -> Result<(), Failure> {
        let next = Cell::new(0);
        let asking = progress("readings looked for", readings);
        let ask = |number: usize| {
            let path = format!("/fhir/Observation?identifier={}:body-weight&_summary=count", name(number));
            load::request("GET", &path, &self.server.token, "")
        };
        runtime()?.block_on(async {
            let work = (0..self.connections).map(|_| async {
                let mut stream = TcpStream::connect(self.server.address).await?;
                let mut buffer = Vec::new();
                while next.get() < readings {
                    let number = next.get();
                    next.set(number + 1);
                    stream.write_all(&ask(number)).await?;
                    load::receive(&mut stream, &mut buffer).await?;
                    let answer = String::from_utf8_lossy(&buffer);
                    if !answer.contains("\"total\":1,") && !answer.contains("\"total\":1}") {
                        return Err::<(), Failure>(format!("{} is not there once", name(number)).into());
                    }
                    asking.inc(1);
                }
                Ok(())
            });
            try_join_all(work).await
        })?;
        asking.finish();
        println!("each of them is there once");
        Ok(())
    }

    fn count(&self, resource_type: &str) -> Result<usize, Failure> {
        let path = format!("/fhir/{resource_type}?_summary=count");
        let answer = Json::parse(&load::get(self.server.address, &path, &self.server.token)?)?;
        Ok(answer.get("total").and_then(Json::as_number).ok_or("no total")?.parse()?)
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn kill(process: u32) {
    let _ = std::process::Command::new("kill").args(["-9", &process.to_string()]).status();
}

fn device(number: usize) -> String {
    format!("Transtek:LS802:{:012}", number % DEVICES)
}

fn name(number: usize) -> String {
    format!("n-{number}")
}

/// A reading that becomes one Observation.
fn weight(number: usize) -> String {
    let (device, minute) = (device(number), number / DEVICES);
    let at = format!(
        "20{:02}-{:02}-{:02}T{:02}:{:02}:00",
        21 + minute / 40_320 / 12 % 4,
        minute / 40_320 % 12 + 1,
        minute / 1440 % 28 + 1,
        minute / 60 % 24,
        minute % 60
    );
    format!(
        r#"{{"metadata":{{"correlationId":"{}","receivedTime":"{at}.500Z","deviceGroups":[],"measurementType":"BodyWeight"}},"device":{{"id":"{device}","serialNumber":"{:012}","manufacturer":"Transtek","model":"LS802","timezone":"UTC"}},"measurements":{{"bodyWeight":{{"value":{},"unit":"g","isInRange":true}},"timestamp":"{at}Z"}}}}"#,
        name(number),
        number % DEVICES,
        60_000 + number % 40_000,
    )
}
