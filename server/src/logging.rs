//! Log lines: to standard error, as text or JSON. No line ever holds a token, a query string or a resource.

use std::time::Instant;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// What others' code says only when asked for by its target: statements and the life of threads are not news, bytes that
/// are no request no errors of the server.
const QUIET: &str = "sqlx=warn,sea_orm_migration=warn,actix_server=warn,actix_http=off";

/// Starts writing log lines as `config` says; a second start in one process changes nothing.
pub fn start(config: &Config) {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.log_level)).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let started = match config.log_format {
        LogFormat::Text => lines.with_ansi(colours).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    drop(started); // an error only says that logging has been started before
}

/// Middleware that writes one line a request: method, path without query (ids are pseudonyms, searches are not),
/// status and duration.
pub async fn requests(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.path().to_owned();
    let answer = next.call(request).await;
    let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
    match &answer {
        Ok(response) if response.status().is_server_error() => {
            tracing::error!(%method, path, status = response.status().as_u16(), milliseconds, "request");
        }
        Ok(response) => {
            tracing::debug!(%method, path, status = response.status().as_u16(), milliseconds, "request");
        }
        Err(error) => {
            let status = error.as_response_error().status_code().as_u16();
            tracing::debug!(%method, path, status, milliseconds, "request");
        }
    }
    answer
}
