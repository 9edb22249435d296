//! Page cursors: encrypted, authenticated, bound to the search and to the view. (IN-19, LK-19, LK-57)
//!
//! A cursor holds the sort keys of the row beside a page, and on which side of it the page lies. It is encrypted because
//! row ids count what others have stored, and bound to search and view so that it cannot be carried elsewhere. The nonce
//! is derived from the content: the same page has the same cursor, and no randomness is needed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};
use search::query::Query;
use search::view::View;
use sha2::{Digest, Sha256};

use crate::error::StoreError;
use crate::row::Cell;
use crate::search::order::Position;

const NONCE: usize = 12;

/// Makes and opens cursors.
#[derive(Clone)]
pub(crate) struct Cursor {
    key: [u8; 32],
}

impl Cursor {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Cursor { key }
    }

    /// For searches inside the server, which do not page.
    pub(crate) fn none() -> Self {
        Cursor { key: [0; 32] }
    }

    pub(crate) fn seal(&self, position: &Position, view: &View, queries: &[Query]) -> String {
        let mut plain = encode(&[Cell::Integer(i64::from(position.backwards))]);
        plain.extend(encode(&position.keys));
        let bound = fingerprint(view, queries);
        let mut digest = Sha256::new();
        digest.update(self.key);
        digest.update(bound);
        digest.update(&plain);
        let digest = digest.finalize();
        let nonce: [u8; NONCE] = digest[..NONCE].try_into().expect("a digest has 32 bytes");
        let payload = Payload { msg: &plain, aad: &bound };
        let sealed = self
            .cipher()
            .encrypt(Nonce::from_slice(&nonce), payload)
            .expect("a position is far shorter than the cipher's limit");
        URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())
    }

    pub(crate) fn open(&self, text: &str, view: &View, queries: &[Query]) -> Result<Position, StoreError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_error| StoreError::Cursor)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE).ok_or(StoreError::Cursor)?;
        let payload = Payload { msg: sealed, aad: &fingerprint(view, queries) };
        let plain = self.cipher().decrypt(Nonce::from_slice(nonce), payload).map_err(|_error| StoreError::Cursor)?;
        let mut keys = decode(&plain).ok_or(StoreError::Cursor)?;
        if keys.is_empty() {
            return Err(StoreError::Cursor);
        }
        let backwards = keys.remove(0) == Cell::Integer(1);
        Ok(Position { keys, backwards })
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(Key::from_slice(&self.key))
    }
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Cursor")
    }
}

/// What must be the same for a cursor to be accepted: the search as it was written, but for the size of the page and
/// the form of the answer, and the view.
fn fingerprint(view: &View, queries: &[Query]) -> [u8; 32] {
    const FREE: [&str; 4] = ["_count", "_total", "_format", "_pretty"];
    let mut digest = Sha256::new();
    for query in queries {
        digest.update(format!("{:?}\n{}\n{:?}\n", query.path, query.resource_type, query.sort));
    }
    digest.update(format!("{view:?}"));
    let applied = queries.iter().take(1).flat_map(|query| &query.applied);
    for (name, value) in applied.filter(|(name, _)| !FREE.contains(&name.as_str())) {
        digest.update(format!("\n{name:?}={value:?}"));
    }
    digest.finalize().into()
}

fn encode(position: &[Cell]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for cell in position {
        match cell {
            Cell::Null => bytes.push(0),
            Cell::Integer(value) => {
                bytes.push(1);
                bytes.extend(value.to_be_bytes());
            }
            Cell::Text(text) => {
                bytes.push(2);
                bytes.extend((text.len() as u32).to_be_bytes());
                bytes.extend(text.as_bytes());
            }
            Cell::Bytes(_) => {} // no sort key is of this type
        }
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Option<Vec<Cell>> {
    let mut cells = Vec::new();
    while let Some((kind, rest)) = bytes.split_first() {
        let (cell, rest) = match kind {
            0 => (Cell::Null, rest),
            1 => {
                let (value, rest) = rest.split_first_chunk::<8>()?;
                (Cell::Integer(i64::from_be_bytes(*value)), rest)
            }
            2 => {
                let (length, rest) = rest.split_first_chunk::<4>()?;
                let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
                (Cell::Text(String::from_utf8(text.to_vec()).ok()?), rest)
            }
            _ => return None,
        };
        cells.push(cell);
        bytes = rest;
    }
    Some(cells)
}
