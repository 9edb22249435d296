//! How long readings take from their receipt to whoever listens.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Failure, PATIENCE, Vendor, load, name, runtime};

/// Who listens to what.
pub(super) struct Listening {
    /// The first reading.
    pub(super) first: usize,
    /// Readings a second.
    pub(super) rate: f64,
    /// For so long.
    pub(super) seconds: u64,
    /// Tokens of the listeners.
    pub(super) tokens: Vec<String>,
    /// How many of them hear of each reading.
    pub(super) each: usize,
}

/// What was heard so far.
#[derive(Default)]
struct Heard {
    sent: HashMap<String, Instant>,
    /// Readings that came before their receipt was known, once for each listener.
    early: usize,
    delays: Vec<f64>,
}

impl Listening {
    /// The rest of a row of the table: how much was heard, median and 99th percentile.
    pub(super) fn run(&self, vendor: &Vendor<'_>) -> Result<String, Failure> {
        let count = (self.rate * self.seconds as f64).max(20.0) as usize;
        let heard = RefCell::new(Heard::default());
        runtime()?.block_on(async {
            let open = self.tokens.iter().map(|token| listen(vendor, token));
            let mut streams = try_join_all(open).await?;
            let begun = Instant::now();
            let hear = async {
                let listeners = streams.iter_mut().map(|stream| hear(stream, &heard, count * self.each, begun));
                try_join_all(listeners).await
            };
            let ((), heard) = futures::future::join(self.send(vendor, count, begun, &heard), hear).await;
            heard
        })?;
        let Heard { early, mut delays, .. } = heard.into_inner();
        let total = early + delays.len();
        if total < count * self.each {
            return Err(format!("{total} of {} readings were heard", count * self.each).into());
        }
        delays.extend(std::iter::repeat_n(0.0, early));
        delays.sort_by(f64::total_cmp);
        let at = |share: usize| delays.get(delays.len() * share / 100).copied().unwrap_or_default();
        Ok(format!("{total} | {:.1} | {:.1} |", at(50), at(99)))
    }

    /// Sends the readings, each when it is due.
    async fn send(&self, vendor: &Vendor<'_>, count: usize, begun: Instant, heard: &RefCell<Heard>) {
        let next = Cell::new(0);
        let work = (0..vendor.connections).map(|_| async {
            let mut connection = None;
            while next.get() < count {
                let number = next.get();
                next.set(number + 1);
                tokio::time::sleep_until((begun + Duration::from_secs_f64(number as f64 / self.rate)).into()).await;
                if vendor.send(&mut connection, self.first + number).await.is_ok() {
                    heard.borrow_mut().sent.insert(name(self.first + number), Instant::now());
                }
            }
        });
        join_all(work).await;
    }
}

async fn listen(vendor: &Vendor<'_>, token: &str) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(vendor.server.address).await?;
    stream.write_all(&load::request("GET", "/devices/stream", token, "")).await?;
    let mut greeting = vec![0; 1 << 12];
    let read = stream.read(&mut greeting).await?;
    if greeting[..read].starts_with(b"HTTP/1.1 200") {
        Ok(stream)
    } else {
        Err(format!("nobody may listen: {}", String::from_utf8_lossy(&greeting[..read])).into())
    }
}

/// Reads until all of `wanted` is heard, by this listener and the others.
async fn hear(stream: &mut TcpStream, heard: &RefCell<Heard>, wanted: usize, begun: Instant) -> Result<(), Failure> {
    let mut buffer = Vec::new();
    while begun.elapsed() < PATIENCE {
        {
            let heard = heard.borrow();
            if heard.early + heard.delays.len() >= wanted {
                return Ok(());
            }
        }
        // Another listener may have heard the last.
        let Ok(read) = tokio::time::timeout(Duration::from_millis(200), stream.read_buf(&mut buffer)).await else {
            continue;
        };
        if read? == 0 {
            return Err("the stream ended".into());
        }
        let now = Instant::now();
        let whole = buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let told = String::from_utf8_lossy(&buffer[..whole]).into_owned();
        buffer.drain(..whole);
        let mut heard = heard.borrow_mut();
        // The identifier of an Observation begins with the id of its delivery.
        for part in told.split("\"value\":\"n-").skip(1) {
            let id: String = part.chars().take_while(char::is_ascii_digit).collect();
            match heard.sent.get(&format!("n-{id}")).copied() {
                Some(sent) => heard.delays.push(now.saturating_duration_since(sent).as_secs_f64() * 1000.0),
                None => heard.early += 1,
            }
        }
    }
    Ok(())
}
