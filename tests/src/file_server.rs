//! A web server on loopback that hands out a few files: where an app's own pages are.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The server; it ends with the runtime of its test.
#[derive(Clone, Debug)]
pub struct FileServer {
    origin: String,
    files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
}

impl FileServer {
    /// A server without files.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("this machine has a free port");
        let origin = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let server = FileServer { origin, files: Arc::default() };
        let shared = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, shared.clone()));
            }
        });
        server
    }

    /// The address of a file.
    pub fn address(&self, name: &str) -> String {
        format!("{}/{name}", self.origin)
    }

    /// Hands out a text under a name.
    pub fn put(&self, name: &str, content: impl Into<Vec<u8>>) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("/{name}"), content.into());
    }

    /// Hands out a file under its own name.
    pub fn put_file(&self, path: &Path) {
        let content = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.put(&path.file_name().unwrap_or_default().to_string_lossy(), content);
    }

    fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}

async fn answer(mut stream: TcpStream, server: FileServer) {
    let mut request = Vec::new();
    let mut buffer = [0; 2048];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.split([' ', '?']).nth(1).unwrap_or_default();
    let (status, content) = server.content(path).map_or(("404 Not Found", Vec::new()), |content| ("200 OK", content));
    let kind = match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript",
        _ => "text/plain",
    };
    let length = content.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&content).await;
    let _ = stream.shutdown().await;
}
