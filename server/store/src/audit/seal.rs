//! How events are sealed: each seal is a hash over some events and over the seal before it, and is signed with a key
//! that is not in the database. Pure. (CO-06; decision 16)
//!
//! ```text
//! event  = id ‖ SHA-256(columns of its row, each with its type and length)
//! hash   = SHA-256(hash before ‖ number ‖ event ‖ event …)
//! mac    = HMAC-SHA-256(key, chain ‖ number ‖ hash)
//! ```

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sea_orm::sea_query::Value;
use sha2::{Digest as _, Sha256};

use super::Event;
use crate::row::Cell;

/// Most events of one seal.
pub(super) const MOST: usize = 4_096;

/// Bytes of an event in a seal.
pub(super) const LEAF: usize = 48;

/// What an event is to its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(super) id: [u8; 16],
    /// Hash of its row; zeros of one that was gone before it was sealed.
    pub(super) digest: [u8; 32],
}

/// Makes the seals of one chain.
#[derive(Clone)]
pub(crate) struct Sealer {
    chain: &'static str,
    key: [u8; 32],
}

/// The end of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) number: i64,
    pub(super) hash: [u8; 32],
}

/// A row of `audit_seal`.
#[derive(Clone, Debug)]
pub(super) struct Seal {
    pub(super) head: Head,
    pub(super) mac: [u8; 32],
    pub(super) events: Vec<u8>,
}

/// What has been removed from a chain, as `audit_anchor` says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Removed {
    /// The first id that is kept.
    pub(super) upto: [u8; 16],
    /// The last seal that was removed.
    pub(super) head: Head,
}

impl Leaf {
    pub(crate) fn of(event: &Event) -> Self {
        let mut digest = Rowwise::default();
        for value in &event.cells() {
            digest.value(value);
        }
        Leaf { id: event.id, digest: digest.finish() }
    }

    /// Of a row as it stands; nothing if it has no id.
    pub(super) fn of_row(cells: &[Cell]) -> Option<Self> {
        let Some(Cell::Bytes(id)) = cells.first() else { return None };
        let mut digest = Rowwise::default();
        for cell in cells {
            digest.cell(cell);
        }
        Some(Leaf { id: id.as_slice().try_into().ok()?, digest: digest.finish() })
    }

    /// Of an event that was gone before it could be sealed.
    pub(super) fn gone(id: [u8; 16]) -> Self {
        Leaf { id, digest: [0; 32] }
    }

    /// Those of a seal; nothing if it is damaged.
    pub(super) fn all(events: &[u8]) -> Option<Vec<Leaf>> {
        let (leaves, []) = events.as_chunks::<LEAF>() else { return None };
        let leaf = |bytes: &[u8; LEAF]| {
            let (id, digest) = bytes.split_at(16);
            Some(Leaf { id: id.try_into().ok()?, digest: digest.try_into().ok()? })
        };
        leaves.iter().map(leaf).collect()
    }
}

impl Sealer {
    /// Of a chain by its name; `secret` is known to the servers of this database only.
    pub(crate) fn of(chain: &'static str, secret: &[u8; 32]) -> Self {
        Sealer { chain, key: mac(secret, &[b"audit seals"]) }
    }

    /// Name of the chain.
    pub(super) fn chain(&self) -> &'static str {
        self.chain
    }

    /// The seal after `head`.
    pub(super) fn next(&self, head: Head, leaves: &[Leaf]) -> Seal {
        let mut events = Vec::with_capacity(leaves.len() * LEAF);
        for leaf in leaves {
            events.extend(leaf.id);
            events.extend(leaf.digest);
        }
        let number = head.number + 1;
        let head = Head { number, hash: hash(&head.hash, number, &events) };
        Seal { mac: self.sign(&head), head, events }
    }

    /// What proves that a server with the key made the seal.
    pub(super) fn sign(&self, head: &Head) -> [u8; 32] {
        mac(&self.key, &[b"seal", self.chain.as_bytes(), &head.number.to_be_bytes(), &head.hash])
    }

    /// What proves that a server with the key removed what is said to be removed.
    pub(super) fn sign_removed(&self, removed: &Removed) -> [u8; 32] {
        let Removed { upto, head } = removed;
        mac(&self.key, &[b"removed", self.chain.as_bytes(), upto, &head.number.to_be_bytes(), &head.hash])
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.chain)
    }
}

/// The hash of a seal.
pub(super) fn hash(before: &[u8; 32], number: i64, events: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(before);
    digest.update(number.to_be_bytes());
    digest.update(events);
    digest.finalize().into()
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Hashes a row column by column, so that no two different rows are hashed alike.
#[derive(Default)]
struct Rowwise(Sha256);

impl Rowwise {
    fn value(&mut self, value: &Value) {
        match value {
            Value::BigInt(Some(number)) => self.part(1, &number.to_be_bytes()),
            Value::String(Some(text)) => self.part(2, text.as_bytes()),
            Value::Bytes(Some(bytes)) => self.part(3, bytes),
            _ => self.part(0, &[]),
        }
    }

    fn cell(&mut self, cell: &Cell) {
        match cell {
            Cell::Integer(number) => self.part(1, &number.to_be_bytes()),
            Cell::Text(text) => self.part(2, text.as_bytes()),
            Cell::Bytes(bytes) => self.part(3, bytes),
            Cell::Null => self.part(0, &[]),
        }
    }

    fn part(&mut self, kind: u8, bytes: &[u8]) {
        self.0.update([kind]);
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, id_at};
    use super::*;

    fn event() -> Event {
        Event { id: id_at(7, [1; 8]), subtype: "read".into(), action: 'R', status: 200, ..Event::default() }
    }

    #[test]
    fn co_06_every_column_counts() {
        let text = || Some("x".to_owned());
        let others = [
            Event { id: id_at(8, [1; 8]), ..event() },
            Event { kind: Kind::Administration, ..event() },
            Event { subtype: "vread".into(), ..event() },
            Event { action: 'E', ..event() },
            Event { status: 404, ..event() },
            Event { client: text(), ..event() },
            Event { account: text(), ..event() },
            Event { fhir_user: text(), ..event() },
            Event { address: text(), ..event() },
            Event { request: text(), ..event() },
            Event { patients: ["x".to_owned()].into(), ..event() },
            Event { entities: "R200 Patient/a\n".to_owned(), ..event() },
            Event { query: text(), ..event() },
            Event { query: Some(String::new()), ..event() },
        ];
        let mut digests: Vec<_> = others.iter().chain([&event()]).map(|event| Leaf::of(event).digest).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), others.len() + 1);
    }

    #[test]
    fn co_06_a_seal_depends_on_all_before_it_and_on_the_key() {
        let (sealer, leaf) = (Sealer::of("database", &[1; 32]), Leaf::of(&event()));
        let one = sealer.next(Head::default(), &[leaf, Leaf::gone([2; 16])]);
        let two = sealer.next(one.head, &[leaf]);
        assert_eq!(Leaf::all(&one.events).as_deref(), Some(&[leaf, Leaf::gone([2; 16])][..]));
        assert_eq!((one.head.number, two.head.number), (1, 2));
        assert_ne!(two.head.hash, sealer.next(Head { number: 1, hash: [0; 32] }, &[leaf]).head.hash);
        for other in [Sealer::of("beside", &[1; 32]), Sealer::of("database", &[2; 32])] {
            assert_ne!(other.sign(&one.head), one.mac);
        }
        assert_eq!(Leaf::all(&one.events[1..]), None);
    }
}
