//! The driver: keeps connections open and sends one request after another on each. It speaks plain HTTP/1.1 over
//! sockets, because it shares the machine with what it measures and must cost little itself.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Failure, process};

/// How to drive.
#[derive(Clone, Copy)]
pub(crate) struct Driver {
    /// Connections kept open, each with one request under way.
    pub(crate) connections: usize,
    /// For how long.
    pub(crate) length: Duration,
    /// Requests that are sent at most.
    pub(crate) most: usize,
    /// Process of the database's engine on this machine: what it and its children use is counted too.
    pub(crate) engine: Option<u32>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// Answered requests a second.
    pub(crate) rate: f64,
    /// Median latency, microseconds.
    pub(crate) p50: u32,
    /// 99th percentile, microseconds.
    pub(crate) p99: u32,
    /// Answered requests.
    pub(crate) count: usize,
    /// CPU microseconds of the server, and of a known engine, for each request.
    pub(crate) cpu_micros: Option<f64>,
    /// Resident memory after the run, MiB.
    pub(crate) resident: Option<u64>,
    /// One answer's body.
    pub(crate) sample: Vec<u8>,
}

/// A request as bytes, made from its running number.
pub(crate) type Request<'a> = dyn Fn(usize) -> Vec<u8> + 'a;

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n");
    if !body.is_empty() {
        text.push_str("content-type: application/fhir+json\r\n");
        let _ = write!(text, "content-length: {}\r\n", body.len());
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

impl Driver {
    /// Keeps so many connections open for so long.
    pub(crate) fn new(connections: usize, length: Duration) -> Self {
        Driver { connections, length, most: usize::MAX, engine: None }
    }

    /// The same with at most this many requests.
    pub(crate) fn at_most(self, most: usize) -> Self {
        Driver { most, ..self }
    }

    /// The same without an end but that of the requests.
    pub(crate) fn until_done(self) -> Self {
        Driver { length: Duration::from_hours(1), ..self }
    }

    /// Drives the server at `address`, process `server`, and measures it; any answer but 2xx ends the run.
    pub(crate) fn drive(self, address: SocketAddr, server: u32, make: &Request<'_>) -> Result<Measured, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let before = self.cpu_micros(server)?;
        let started = Instant::now();
        let run = RefCell::new(Run::default());
        runtime.block_on(async {
            let workers = (0..self.connections).map(|_| work(address, &run, make, started + self.length, self.most));
            try_join_all(workers).await
        })?;
        let seconds = started.elapsed().as_secs_f64();
        let used = self.cpu_micros(server)? - before;
        let Run { mut latencies, sample, .. } = run.into_inner();
        latencies.sort_unstable();
        let count = latencies.len();
        let at = |share: usize| latencies.get(count * share / 100).copied().unwrap_or_default();
        Ok(Measured {
            rate: count as f64 / seconds,
            count,
            p50: at(50),
            p99: at(99),
            cpu_micros: Some(used as f64 / count.max(1) as f64),
            resident: Some(process::resident_mib(server)?),
            sample,
        })
    }

    /// CPU time that the server and the engine have used.
    pub(crate) fn cpu_micros(self, server: u32) -> Result<u64, Failure> {
        Ok(process::cpu_micros(server)? + self.engine.map_or(Ok(0), process::tree_cpu_micros)?)
    }
}

/// The body of one answer.
pub(crate) fn get(address: SocketAddr, path: &str, token: &str) -> Result<Vec<u8>, Failure> {
    let one = Driver::new(1, Duration::from_mins(1)).at_most(1);
    Ok(one.drive(address, std::process::id(), &|_| request("GET", path, token, ""))?.sample)
}

#[derive(Default)]
struct Run {
    next: usize,
    latencies: Vec<u32>,
    sample: Vec<u8>,
}

/// One connection: request, answer, request, until the time is over.
async fn work(
    address: SocketAddr,
    run: &RefCell<Run>,
    make: &Request<'_>,
    end: Instant,
    most: usize,
) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(1 << 17);
    while Instant::now() < end {
        let number = {
            let mut run = run.borrow_mut();
            if run.next == most {
                break;
            }
            run.next += 1;
            run.next
        };
        let request = make(number);
        let started = Instant::now();
        stream.write_all(&request).await?;
        let answer = receive(&mut stream, &mut buffer).await?;
        let latency = u32::try_from(started.elapsed().as_micros())?;
        if !(200..300).contains(&answer.status) {
            return Err(format!("status {}: {}", answer.status, String::from_utf8_lossy(&buffer)).into());
        }
        let mut run = run.borrow_mut();
        run.latencies.push(latency);
        if run.sample.is_empty() {
            run.sample = buffer[answer.head..].to_vec();
        }
    }
    Ok(())
}

/// The head of an answer.
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Where the body starts.
    head: usize,
}

/// Reads one whole answer into `buffer`.
pub(crate) async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Answer, Failure> {
    buffer.clear();
    let head = loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err("the server closed a connection that was to be kept open".into());
        }
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = std::str::from_utf8(&buffer[..head])?;
    let status = text.get(9..12).ok_or("an answer starts with its status")?.parse()?;
    let header = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    if let Some(length) = header("content-length") {
        let end = head + length.parse::<usize>()?;
        while buffer.len() < end {
            if stream.read_buf(buffer).await? == 0 {
                return Err("an answer was cut off".into());
            }
        }
    } else if header("transfer-encoding").is_some() {
        while !buffer.ends_with(b"0\r\n\r\n") {
            if stream.read_buf(buffer).await? == 0 {
                return Err("an answer was cut off".into());
            }
        }
    }
    Ok(Answer { status, head })
}
