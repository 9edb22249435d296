//! Whether the trail is as it was written: each seal follows from the one before it and is signed, each event is as its
//! seal says, none is missing, none was added. (CO-06; decision 16)
//!
//! The trail may grow and be cleared of what is old meanwhile, so nothing is a fault that a second look explains.

use std::collections::{BTreeMap, HashMap, HashSet};

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};

use super::seal::{Head, Leaf, Removed, Sealer, hash};
use super::sealing::{self, anchored, fixed, head_of, newest, read_removed};
use super::{instant_of, is_one_of};
use crate::error::StoreError;
use crate::row::{Cell, Row};
use crate::{Executor, Store, sqlite};

/// Seals that are read together.
const SEALS: u64 = 16;

/// Events that are read together.
const EVENTS: usize = 500;

/// Ids that are read together.
const IDS: u64 = 5_000;

/// Faults that are told of one chain; after them it is not looked at further.
const MOST_FAULTS: usize = 20;

/// Events at most that are remembered because no seal with them has come yet.
const MOST_AHEAD: usize = 1_000_000;

/// The column of an event's patients.
const PATIENTS: usize = 10;

/// A seal that somebody has noted elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Name of the chain, [`super::DATABASE`] or [`super::BESIDE`].
    pub chain: String,
    /// Number of the seal.
    pub number: i64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// One chain that was looked through.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Name of the chain.
    pub chain: &'static str,
    /// How many seals it has.
    pub seals: u64,
    /// How many events are as they were sealed.
    pub events: u64,
    /// How many events wait to be sealed.
    pub unsealed: u64,
    /// Before which instant events have been removed because they were old enough, microseconds since 1970.
    pub removed_before: Option<i64>,
    /// The last seal: worth noting elsewhere.
    pub head: Anchor,
    /// What is wrong, in the order of the chain.
    pub faults: Vec<Fault>,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The row is another than was sealed.
    #[error("event {} of {} was changed after it was sealed (seal {seal})", name(id), moment(id))]
    Changed {
        /// Its id.
        id: [u8; 16],
        /// Its seal.
        seal: i64,
    },
    /// The row is not there.
    #[error("event {} of {} is missing (seal {seal})", name(id), moment(id))]
    Missing {
        /// Its id.
        id: [u8; 16],
        /// Its seal.
        seal: i64,
    },
    /// The row was not written by a server.
    #[error("event {} of {} was added: no seal has it", name(id), moment(id))]
    Added {
        /// Its id.
        id: [u8; 16],
    },
    /// A search by patient does not find it.
    #[error("event {} of {} is not found by its patients: rows of audit_patient are missing", name(id), moment(id))]
    Hidden {
        /// Its id.
        id: [u8; 16],
    },
    /// Seals are not there.
    #[error("seals {first} to {last} are missing, with what they say of their events")]
    SealsMissing {
        /// The first of them.
        first: i64,
        /// The last of them.
        last: i64,
    },
    /// A seal does not follow from the one before it and its events.
    #[error("seal {number} was changed: its hash is not that of its events and of the seal before")]
    SealChanged {
        /// Its number.
        number: i64,
    },
    /// A seal was not made with the key of this server.
    #[error("seal {number} was not made with this server's secret key")]
    SealForged {
        /// Its number.
        number: i64,
    },
    /// What is said to have been removed was not removed with the key of this server.
    #[error("what audit_anchor says of removed events was not signed with this server's secret key")]
    RemovalForged,
    /// The chain ends before a seal that was noted elsewhere.
    #[error("the chain ends with seal {end}, before seal {number} that was noted")]
    CutOff {
        /// Its last seal.
        end: i64,
        /// The seal that was noted.
        number: i64,
    },
    /// A seal is another than was noted elsewhere.
    #[error("seal {number} is another than was noted")]
    NotAsNoted {
        /// Its number.
        number: i64,
    },
    /// A seal that was noted was removed long ago.
    #[error("seal {number} was noted before what is still kept (from seal {first} on): it cannot be compared")]
    TooOld {
        /// The seal that was noted.
        number: i64,
        /// The first that is kept.
        first: i64,
    },
    /// So many events stand in no seal that they are not looked at one by one.
    #[error("more than a million events stand in no seal")]
    TooManyAdded,
}

impl Store {
    /// Looks through the whole trail, a chain after the other. `noted` are seals that were noted elsewhere; `progress`
    /// is told of each number of events that were looked at.
    pub async fn verify_trail(
        &self,
        noted: &[Anchor],
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Verified>, StoreError> {
        self.settle_trail().await?;
        let mut verified = Vec::new();
        for sealer in self.sealers() {
            let noted = noted.iter().filter(|anchor| anchor.chain == sealer.chain()).cloned().collect();
            verified.push(Walk::begin(self, sealer, noted, progress).await?.finish().await?);
        }
        Ok(verified)
    }

    /// The last seal of each chain.
    pub async fn trail_heads(&self) -> Result<Vec<Anchor>, StoreError> {
        self.settle_trail().await?;
        let mut heads = Vec::new();
        for sealer in self.sealers() {
            let head = self.chain_rows(sealer, &newest()).await?.first().map(head_of).transpose()?;
            if let Some(head) = head {
                heads.push(Anchor { chain: sealer.chain().to_owned(), number: head.number, hash: head.hash });
            }
        }
        Ok(heads)
    }

    fn sealers(&self) -> Vec<&Sealer> {
        match self.executor() {
            Executor::Sqlite { trail, .. } if trail.path.exists() => vec![&self.known().sealer, &trail.sealer],
            _ => vec![&self.known().sealer],
        }
    }

    /// Rows of the file or database in which a chain is.
    async fn chain_rows(&self, sealer: &Sealer, statement: &SelectStatement) -> Result<Vec<Row>, StoreError> {
        match self.executor() {
            Executor::Sqlite { trail, .. } if sealer.chain() == super::BESIDE => {
                trail.readers.with(|connection| sqlite::rows(connection, statement))
            }
            _ => self.rows(statement).await,
        }
    }
}

/// A chain while it is looked through.
struct Walk<'a> {
    store: &'a Store,
    sealer: &'a Sealer,
    progress: &'a (dyn Fn(u64) + Sync),
    noted: Vec<Anchor>,
    removed: Removed,
    head: Head,
    seals: u64,
    events: u64,
    faults: Vec<Fault>,
    /// Up to where the ids of the table itself were read.
    table: [u8; 16],
    /// Ids that were sealed, and not read in the table so far.
    sealed: HashSet<[u8; 16]>,
    /// Ids that were read in the table, and not sealed so far.
    unsealed: HashSet<[u8; 16]>,
}

impl<'a> Walk<'a> {
    async fn begin(
        store: &'a Store,
        sealer: &'a Sealer,
        noted: Vec<Anchor>,
        progress: &'a (dyn Fn(u64) + Sync),
    ) -> Result<Self, StoreError> {
        let mut walk = Walk {
            store,
            sealer,
            progress,
            noted,
            removed: Removed::default(),
            head: Head::default(),
            seals: 0,
            events: 0,
            faults: Vec::new(),
            table: [0; 16],
            sealed: HashSet::new(),
            unsealed: HashSet::new(),
        };
        walk.look_at_removed().await?;
        walk.head = walk.removed.head;
        walk.compare_with_noted();
        Ok(walk)
    }

    async fn finish(mut self) -> Result<Verified, StoreError> {
        self.follow().await?;
        let mut unsealed = 0;
        if !self.is_enough() {
            self.read_table(None).await?;
            unsealed = self.set_waiting_aside().await?;
            self.follow().await?; // what was sealed meanwhile
            self.tell_added().await?;
        }
        for anchor in std::mem::take(&mut self.noted) {
            if self.is_enough() {
                break;
            }
            if anchor.number > self.head.number {
                self.faults.push(Fault::CutOff { end: self.head.number, number: anchor.number });
            } else {
                let first = self.removed.head.number + 1;
                self.faults.push(Fault::TooOld { number: anchor.number, first });
            }
        }
        self.faults.truncate(MOST_FAULTS);
        Ok(Verified {
            chain: self.sealer.chain(),
            seals: self.seals,
            events: self.events,
            unsealed,
            removed_before: (self.removed.upto != [0; 16]).then(|| instant_of(&self.removed.upto)),
            head: Anchor { chain: self.sealer.chain().to_owned(), number: self.head.number, hash: self.head.hash },
            faults: self.faults,
        })
    }

    fn is_enough(&self) -> bool {
        self.faults.len() >= MOST_FAULTS
    }

    async fn rows(&self, statement: &SelectStatement) -> Result<Vec<Row>, StoreError> {
        self.store.chain_rows(self.sealer, statement).await
    }

    /// What is said to have been removed, if that is signed.
    async fn look_at_removed(&mut self) -> Result<(), StoreError> {
        let Some(row) = self.rows(&anchored()).await?.into_iter().next() else { return Ok(()) };
        match read_removed(&row) {
            Ok((removed, mac)) if mac == self.sealer.sign_removed(&removed) => self.removed = removed,
            _ if self.faults.contains(&Fault::RemovalForged) => {}
            _ => self.faults.push(Fault::RemovalForged),
        }
        Ok(())
    }

    /// Goes through the seals after the last one.
    async fn follow(&mut self) -> Result<(), StoreError> {
        while !self.is_enough() {
            let mut next = Query::select();
            next.columns(["number", "hash", "mac", "events"]).from("audit_seal");
            next.and_where(Expr::col("number").gt(self.head.number)).order_by("number", Order::Asc).limit(SEALS);
            let rows = self.rows(&next).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in &rows {
                if self.is_enough() {
                    break;
                }
                self.look_at_seal(row).await?;
            }
        }
        Ok(())
    }

    async fn look_at_seal(&mut self, row: &Row) -> Result<(), StoreError> {
        let number = row.i64(0)?;
        if number != self.head.number + 1 {
            self.look_at_removed().await?; // it may just have been cleared
            if self.removed.head.number >= number {
                return Ok(());
            }
            if self.removed.head.number > self.head.number {
                self.head = self.removed.head;
            }
        }
        let events = row.bytes(3)?;
        let follows = number == self.head.number + 1;
        if !follows {
            self.faults.push(Fault::SealsMissing { first: self.head.number + 1, last: number - 1 });
        }
        let expected = if follows { hash(&self.head.hash, number, &events) } else { fixed(row.bytes(1)?, 1)? };
        let head = head_of(row).unwrap_or(Head { number, hash: [0; 32] });
        let leaves = Leaf::all(&events);
        if head.hash != expected || leaves.is_none() {
            self.faults.push(Fault::SealChanged { number });
        } else if row.bytes(2)? != self.sealer.sign(&head) {
            self.faults.push(Fault::SealForged { number });
        }
        self.head = head;
        self.seals += 1;
        self.compare_with_noted();
        let leaves = leaves.unwrap_or_default();
        for some in leaves.chunks(EVENTS) {
            if self.is_enough() {
                return Ok(());
            }
            self.look_at_events(number, some).await?;
        }
        let last = leaves.iter().map(|leaf| leaf.id).max();
        if last.is_some_and(|last| last > self.table) { self.read_table(last).await } else { Ok(()) }
    }

    /// Whether the seal that was reached is as it was noted.
    fn compare_with_noted(&mut self) {
        let head = self.head;
        let (here, others) = std::mem::take(&mut self.noted).into_iter().partition(|it| it.number == head.number);
        self.noted = others;
        let here: Vec<Anchor> = here;
        if here.iter().any(|anchor| anchor.hash != head.hash) {
            self.faults.push(Fault::NotAsNoted { number: head.number });
        }
    }

    async fn look_at_events(&mut self, seal: i64, leaves: &[Leaf]) -> Result<(), StoreError> {
        let rows = self.rows(&sealing::events(leaves.iter().map(|leaf| leaf.id.to_vec()))).await?;
        let standing = sealing::leaves(&rows);
        for leaf in leaves {
            match standing.get(&leaf.id) {
                Some(found) if found == leaf => self.events += 1,
                Some(_) => self.faults.push(Fault::Changed { id: leaf.id, seal }),
                None if leaf.id < self.removed.upto => continue,
                None => {
                    self.look_at_removed().await?;
                    if leaf.id >= self.removed.upto {
                        self.faults.push(Fault::Missing { id: leaf.id, seal });
                    }
                    continue;
                }
            }
            if !self.unsealed.remove(&leaf.id) {
                self.sealed.insert(leaf.id);
            }
        }
        for id in self.hidden(&rows).await? {
            self.faults.push(Fault::Hidden { id });
        }
        (self.progress)(leaves.len() as u64);
        Ok(())
    }

    /// Those of the events that the index of patients lacks.
    async fn hidden(&self, rows: &[Row]) -> Result<Vec<[u8; 16]>, StoreError> {
        let mut alike: BTreeMap<&str, Vec<[u8; 16]>> = BTreeMap::new();
        for row in rows {
            if let (Some(Cell::Text(patients)), Ok(id)) = (row.cells.get(PATIENTS), fixed(row.bytes(0)?, 0))
                && !patients.is_empty()
            {
                alike.entry(patients).or_default().push(id);
            }
        }
        let mut hidden = Vec::new();
        for (patients, ids) in alike {
            let patients: Vec<String> = patients.split(' ').map(str::to_owned).collect();
            let mut found = Query::select();
            found.column("id").from("audit_patient").and_where(is_one_of("patient", &patients));
            found.and_where(Expr::col("id").is_in(ids.iter().map(|id| id.to_vec())));
            let mut times: HashMap<Vec<u8>, usize> = HashMap::new();
            for row in self.rows(&found).await? {
                *times.entry(row.bytes(0)?).or_default() += 1;
            }
            let lacks = |id: &[u8; 16]| times.get(id.as_slice()).is_none_or(|times| *times < patients.len());
            for id in ids.into_iter().filter(lacks) {
                if id >= self.removed.upto {
                    hidden.push(id);
                }
            }
        }
        Ok(hidden)
    }

    /// Reads ids of the table up to `last`, or all, and strikes out those that are sealed.
    async fn read_table(&mut self, last: Option<[u8; 16]>) -> Result<(), StoreError> {
        while last.is_none_or(|last| self.table < last) && self.unsealed.len() < MOST_AHEAD {
            let mut next = Query::select();
            next.column("id").from("audit_event").and_where(Expr::col("id").gt(self.table.to_vec()));
            next.order_by("id", Order::Asc).limit(IDS);
            let rows = self.rows(&next).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                self.table = fixed(row.bytes(0)?, 0)?;
                if !self.sealed.remove(&self.table) {
                    self.unsealed.insert(self.table);
                }
            }
        }
        Ok(())
    }

    /// Of what no seal has, what waits for one; says how many.
    async fn set_waiting_aside(&mut self) -> Result<u64, StoreError> {
        let mut waiting = Query::select();
        waiting.column("id").from("audit_unsealed").limit(MOST_AHEAD as u64);
        let rows = self.rows(&waiting).await?;
        for row in &rows {
            self.unsealed.remove(row.bytes(0)?.as_slice());
        }
        Ok(rows.len() as u64)
    }

    /// What is left was added behind the server's back, unless it is gone by now.
    async fn tell_added(&mut self) -> Result<(), StoreError> {
        // What stood in seals that are gone is not told one by one.
        let lacks_seals = |fault: &Fault| matches!(fault, Fault::SealsMissing { .. } | Fault::SealChanged { .. });
        if self.faults.iter().any(lacks_seals) {
            return Ok(());
        }
        if self.unsealed.len() >= MOST_AHEAD {
            self.faults.push(Fault::TooManyAdded);
            return Ok(());
        }
        let mut left: Vec<[u8; 16]> = self.unsealed.drain().collect();
        left.sort_unstable();
        for some in left.chunks(EVENTS) {
            let mut still = Query::select();
            still.column("id").from("audit_event").and_where(Expr::col("id").is_in(some.iter().map(|id| id.to_vec())));
            for row in self.rows(still.order_by("id", Order::Asc)).await? {
                if self.is_enough() {
                    return Ok(());
                }
                self.faults.push(Fault::Added { id: fixed(row.bytes(0)?, 0)? });
            }
        }
        Ok(())
    }
}

/// A UUID as AuditEvent.id has it.
fn name(id: &[u8; 16]) -> String {
    let hexadecimal = fhir::hexadecimal(id);
    let part = |from: usize, to: usize| hexadecimal.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

fn moment(id: &[u8; 16]) -> String {
    fhir::date::format_instant(instant_of(id))
}
