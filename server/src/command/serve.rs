//! `tributary serve`: starts the server and keeps it until SIGTERM or SIGINT.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App as WebApp, HttpServer, middleware, web};
use tokio::task::JoinHandle;

use super::CommandError;
use crate::app::App;
use crate::background::Worker;
use crate::config::Config;
use crate::devices::{ingest, mapping_files, stream};
use crate::{audit, connections, cors, insurance, jobs, logging, routes, search_parameters, usage};

/// Options of `serve`; everything else is a setting.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Args {
    /// Print what was started as one JSON line.
    #[arg(long)]
    pub json: bool,
}

/// A server that answers requests.
pub struct Running {
    /// The address it listens on.
    pub address: SocketAddr,
    /// Its state.
    pub app: web::Data<App>,
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
    /// Applies what vendors deliver, as long as the server runs.
    _inbox: Worker,
    /// Tells listeners what is committed, as long as the server runs.
    _stream: Worker,
    /// Carries out what goes on in the background, as long as the server runs.
    _jobs: Worker,
    /// Sends claims to payers and follows them, as long as the server runs.
    _claims: Worker,
    /// Asks services of vendors, as long as the server runs.
    _connections: Worker,
    /// Indexes by search parameters that the database defines, as long as the server runs.
    _parameters: Worker,
    /// Writes how much apps ask, as long as the server runs.
    _usage: Worker,
    /// Seals the audit trail, as long as the server runs.
    _seals: Worker,
}

/// Serves until told to stop.
pub async fn run(args: Args, config: &Config) -> Result<(), CommandError> {
    let running = start(config).await?;
    announce(&running.app.config, args.json);
    running.until_stopped().await
}

/// Starts a server inside this process: binds, opens the database, sees to its tables, answers.
pub async fn start(config: &Config) -> Result<Running, CommandError> {
    let at = |error| CommandError::new(format!("cannot listen on {}: {error}; choose another --listen", config.listen));
    let listener = TcpListener::bind(config.listen).map_err(at)?;
    let mut config = config.clone();
    config.listen = listener.local_addr().map_err(at)?;
    let address = config.listen;
    let app = web::Data::new(App::open_ready(&config).await?);
    let shared = app.clone();
    let server = HttpServer::new(move || {
        WebApp::new()
            .app_data(shared.clone())
            .wrap(middleware::from_fn(audit::record))
            .wrap(middleware::from_fn(cors::answer))
            .wrap(middleware::from_fn(logging::requests))
            .configure(routes::configure)
    })
    .workers(workers(&config))
    .keep_alive(Duration::from_secs(75))
    .shutdown_timeout(config.shutdown_seconds)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    mapping_files::log(&app.adapters, &app.config);
    tracing::info!(%address, base_url = app.config.base_url, "listening");
    let inbox = ingest::start(app.get_ref().clone());
    let stream = stream::start(app.get_ref().clone());
    let jobs = jobs::start(app.get_ref().clone());
    let claims = insurance::worker::start(app.get_ref().clone());
    let connections = connections::start(app.get_ref().clone());
    let parameters = search_parameters::start(app.get_ref().clone());
    let usage = usage::start(app.get_ref().clone());
    let seals = audit::seals::start(app.get_ref().clone());
    Ok(Running {
        address,
        app,
        handle,
        task: tokio::spawn(server),
        _inbox: inbox,
        _stream: stream,
        _jobs: jobs,
        _claims: claims,
        _connections: connections,
        _parameters: parameters,
        _usage: usage,
        _seals: seals,
    })
}

impl Running {
    /// Waits for SIGTERM or SIGINT, then lets requests in flight finish; a second signal does not wait for them.
    pub async fn until_stopped(self) -> Result<(), CommandError> {
        let Running { handle, task, ref app, .. } = self;
        let finished = async move { task.await? };
        tokio::pin!(finished);
        tokio::select! {
            ended = &mut finished => return Ok(ended?),
            signal = signal() => tracing::info!(signal = signal?, "stopping: requests in flight may finish"),
        }
        app.listeners.close(); // a stream never ends by itself
        let gracefully = handle.stop(true);
        tokio::pin!(gracefully);
        tokio::select! {
            () = &mut gracefully => {}
            signal = signal() => {
                tracing::warn!(signal = signal?, "stopping now");
                handle.stop(false).await;
            }
        }
        let finished = finished.await;
        usage::flush(app).await?;
        audit::strangers::tell(app, true).await;
        app.store.settle_trail().await?;
        app.store.seal_events().await?;
        Ok(finished?)
    }

    /// Stops without a signal, letting requests in flight finish.
    pub async fn stop(self) -> Result<(), CommandError> {
        self.app.listeners.close();
        self.handle.stop(true).await;
        Ok(self.task.await??)
    }
}

/// Where things are and what to try next.
pub(super) fn announce(config: &Config, json: bool) {
    let (base, fhir) = (&config.base_url, config.fhir_base());
    let database = config.database_for_display();
    if json {
        let started = serde_json::json!({
            "listen": config.listen.to_string(), "baseUrl": base, "fhirBase": fhir,
            "portal": format!("{base}/"), "database": database,
        });
        println!("{started}");
        return;
    }
    println!("Tributary {} is running.", env!("CARGO_PKG_VERSION"));
    println!("  FHIR base  {fhir}");
    println!("  Portal     {base}/");
    println!("  Database   {database}");
    println!();
    println!("Try next, in another terminal:");
    println!("  curl {fhir}/metadata");
    println!("  TOKEN=$(tributary token --scope 'system/*.cruds' --ttl 1h{})", config.flags_to_reach());
    println!("  curl -H \"Authorization: Bearer $TOKEN\" {fhir}/Patient");
    println!("  tributary demo --listen 127.0.0.1:0     # the whole product in under a minute");
    println!("Stop with Ctrl+C.");
}

fn workers(config: &Config) -> usize {
    match config.workers {
        0 => std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        count => count,
    }
}

/// The name of the next signal that asks to stop.
#[cfg(unix)]
async fn signal() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}

/// The name of the next signal that asks to stop.
#[cfg(not(unix))]
async fn signal() -> std::io::Result<&'static str> {
    tokio::signal::ctrl_c().await.map(|()| "Ctrl+C")
}
