//! The audit trail: a row for each access and each authentication event. Append-only. (CO-01 … CO-08; decision 14)
//!
//! ```text
//! write        ─▶ Tx::put ─▶ Tx::record ─▶ row in the transaction of the write
//! all the rest ─▶ Store::audit ─▶ SQLite: line of the journal ─▶ answered     later many lines become rows
//!                                  PostgreSQL: what waits is one commit ─▶ answered
//! ```
//!
//! On SQLite these rows are in a file of their own beside the database, so that no read waits for the commits of writes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::sea_query::{Expr, ExprTrait as _, Value};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::resources::Method;
use crate::row::Row;
use crate::together::Rows;
use crate::tx::Tx;
use crate::{Executor, Store};
use seal::Leaf;

pub(crate) mod carrier;
mod filter;
mod journal;
pub(crate) mod log;
mod parts;
mod retention;
pub(crate) mod seal;
mod sealing;
mod search;
mod verify;

pub use filter::Filter;
pub use retention::Standing;
pub use search::{Check, TrailPage, TrailQuery};
pub use verify::{Anchor, Fault, Verified};

/// Name of the chain of seals in the database itself: of all events on PostgreSQL, of those of writes on SQLite.
pub const DATABASE: &str = "database";

/// Name of the chain of seals in the file beside an SQLite database.
pub const BESIDE: &str = "beside";

/// Columns of an event, in the order in which rows are written and read.
const COLUMNS: [&str; 13] = [
    "id",
    "kind",
    "subtype",
    "action",
    "status",
    "client",
    "account",
    "fhir_user",
    "address",
    "request",
    "patients",
    "entities",
    "query",
];

/// What kind of event it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// An interaction with FHIR data.
    #[default]
    Rest,
    /// Who somebody is, and what an app may do.
    Authentication,
    /// Accounts, apps and devices.
    Administration,
}

impl Kind {
    /// All kinds, in the order of their numbers in the database.
    pub const ALL: [Kind; 3] = [Kind::Rest, Kind::Authentication, Kind::Administration];
}

/// What happened, by whom, to what.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Event {
    /// A UUID of version 7 that holds the instant to the microsecond, see [`id_at`].
    pub id: [u8; 16],
    /// What kind it is.
    pub kind: Kind,
    /// Code of the interaction, or what happened.
    pub subtype: Cow<'static, str>,
    /// `C`, `R`, `U`, `D` or `E`.
    pub action: char,
    /// HTTP status of the answer.
    pub status: u16,
    /// `client_id` of the app.
    pub client: Option<String>,
    /// Key of the account.
    pub account: Option<String>,
    /// The record that the person is.
    pub fhir_user: Option<String>,
    /// IP address.
    pub address: Option<String>,
    /// Id of the request.
    pub request: Option<String>,
    /// Logical ids of the patients whose data it was about.
    pub patients: BTreeSet<String>,
    /// What was touched, a line each: see [`Entity`].
    pub entities: String,
    /// What was searched.
    pub query: Option<String>,
    /// Becomes true when the event is on disk, of one that is written with a change.
    #[serde(skip)]
    pub written: Option<Arc<AtomicBool>>,
}

/// One thing that was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entity<'a> {
    /// `C`, `R`, `U`, `D` or `E`.
    pub action: char,
    /// HTTP status.
    pub status: u16,
    /// `Type/id`, `Type/id/_history/version`, or a search.
    pub reference: &'a str,
}

/// The id of an event at an instant (microseconds since 1970): milliseconds and microseconds of it stand first, so
/// that ids are in the order of time. <https://www.rfc-editor.org/rfc/rfc9562#section-6.2>
pub fn id_at(micros: i64, random: [u8; 8]) -> [u8; 16] {
    let micros = u64::try_from(micros).unwrap_or(0);
    let mut id = [0; 16];
    id[..6].copy_from_slice(&(micros / 1000).to_be_bytes()[2..]);
    let within = (micros % 1000) as u16 | 0x7000;
    id[6..8].copy_from_slice(&within.to_be_bytes());
    id[8..].copy_from_slice(&random);
    id[8] = id[8] & 0x3f | 0x80;
    id
}

/// The instant of an event, microseconds since 1970.
pub fn instant_of(id: &[u8; 16]) -> i64 {
    let mut milliseconds = [0; 8];
    milliseconds[2..].copy_from_slice(&id[..6]);
    let within = u16::from_be_bytes([id[6] & 0x0f, id[7]]);
    i64::try_from(u64::from_be_bytes(milliseconds)).unwrap_or(0) * 1000 + i64::from(within)
}

impl Event {
    /// Adds what was touched.
    pub fn touch(&mut self, entity: Entity<'_>) {
        let Entity { action, status, reference } = entity;
        let _infallible = writeln!(self.entities, "{action}{status:03} {reference}");
    }

    /// Adds a patient whose data it was about.
    pub fn concern(&mut self, patient: &str) {
        if !self.patients.contains(patient) {
            self.patients.insert(patient.to_owned());
        }
    }

    /// What was touched.
    pub fn touched(&self) -> impl Iterator<Item = Entity<'_>> {
        self.entities.lines().filter_map(|line| {
            let (head, reference) = line.split_once(' ')?;
            let action = head.chars().next()?;
            Some(Entity { action, status: head.get(1..)?.parse().ok()?, reference })
        })
    }

    /// Adds the Patients that were touched and answered: about these it was, whether or not their texts were seen. What was
    /// refused is in nobody's trail but one's own: it says nothing of them, only of who asked.
    fn concern_touched(&mut self) {
        let answered = self.touched().filter(|entity| entity.status < 400);
        let patients = answered.filter_map(|entity| patient_of(entity.reference)).map(str::to_owned);
        for patient in patients.collect::<Vec<_>>() {
            self.concern(&patient);
        }
    }

    /// Takes over what another event of the same transaction touched.
    fn absorb(&mut self, other: &Event) {
        self.entities.push_str(&other.entities);
        for patient in &other.patients {
            self.concern(patient);
        }
        if self.action != other.action {
            self.action = 'E';
        }
        if self.status != other.status {
            self.status = 200;
        }
    }

    /// The patients as the row has them.
    fn joined_patients(&self) -> String {
        let mut joined = String::new();
        for patient in &self.patients {
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(patient);
        }
        joined
    }

    fn cells(&self) -> [Value; 13] {
        let kind = Kind::ALL.iter().position(|kind| *kind == self.kind).unwrap_or(0) as i64;
        [
            self.id.to_vec().into(),
            kind.into(),
            self.subtype.as_ref().into(),
            self.action.to_string().into(),
            i64::from(self.status).into(),
            self.client.clone().into(),
            self.account.clone().into(),
            self.fhir_user.clone().into(),
            self.address.clone().into(),
            self.request.clone().into(),
            self.joined_patients().into(),
            self.entities.as_str().into(),
            self.query.clone().into(),
        ]
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        let id: [u8; 16] = row.bytes(0)?.try_into().map_err(|_| StoreError::Column { column: 0 })?;
        let kind = usize::try_from(row.i64(1)?).ok().and_then(|kind| Kind::ALL.get(kind).copied());
        Ok(Event {
            id,
            kind: kind.ok_or(StoreError::Column { column: 1 })?,
            subtype: row.text(2)?.into(),
            action: row.text(3)?.chars().next().unwrap_or('E'),
            status: u16::try_from(row.i64(4)?).unwrap_or(0),
            client: row.opt_text(5)?,
            account: row.opt_text(6)?,
            fhir_user: row.opt_text(7)?,
            address: row.opt_text(8)?,
            request: row.opt_text(9)?,
            patients: row.text(10)?.split(' ').filter(|id| !id.is_empty()).map(str::to_owned).collect(),
            entities: row.text(11)?,
            query: row.opt_text(12)?,
            written: None,
        })
    }
}

/// The Patient that a reference or an address below the base names.
fn patient_of(reference: &str) -> Option<&str> {
    reference.strip_prefix("Patient/")?.split(['/', '?']).next().filter(|id| fhir::id::is_valid(id))
}

/// What a change of a resource does, as its event says it.
pub(crate) fn of_change(event: &mut Event, method: Method, (reference, version): (&str, i64)) {
    let created = version == 1;
    let (subtype, action, status) = match method {
        Method::Delete => ("delete", 'D', 204),
        _ if created => ("create", 'C', 201),
        Method::Patch => ("patch", 'U', 200),
        Method::Post | Method::Put => ("update", 'U', 200),
    };
    if event.subtype.is_empty() {
        (event.subtype, event.action, event.status) = (subtype.into(), action, status);
    }
    event.touch(Entity { action, status, reference: &format!("{reference}/_history/{version}") });
}

impl Tx {
    /// Has an event written with this transaction; further ones of the same work become part of it.
    pub fn record(&mut self, event: Event) {
        match &mut self.event {
            None => self.event = Some(event),
            Some(standing) => standing.absorb(&event),
        }
    }

    /// Adds to the event of this work what it touched without changing it; nothing if it has no event.
    pub fn touch(&mut self, entity: Entity<'_>, patients: BTreeSet<String>) {
        let Some(event) = &mut self.event else { return };
        event.touch(entity);
        event.patients.extend(patients);
    }

    /// Ends the event of what this work did so far: what follows is another one.
    pub fn end_event(&mut self) {
        self.ended_events.extend(self.event.take());
    }

    /// Writes the events of this work.
    pub(crate) fn write_events(&mut self) -> Result<(), StoreError> {
        self.end_event();
        let (mut written, mut parts) = (Vec::new(), Vec::new());
        for mut event in std::mem::take(&mut self.ended_events) {
            written.extend(event.written.take());
            parts.extend(event.parts());
        }
        if let Some(connection) = self.sqlite_connection() {
            let written = parts.iter().try_for_each(|part| carrier::insert(connection, part));
            written.map_err(|error| StoreError::Audit(error.to_string()))?;
            self.leaves.extend(parts.iter().map(Leaf::of));
        } else {
            // Written with the rest of the work, in the same statement.
            self.pending.events.extend(rows(&parts));
        }
        for written in written {
            self.on_commit(move || written.store(true, Ordering::Release));
        }
        Ok(())
    }
}

impl Store {
    /// Writes an event that no change comes with; answered when it outlives this process.
    pub async fn audit(&self, event: Event) -> Result<(), StoreError> {
        for part in event.parts() {
            match self.executor() {
                Executor::Sqlite { trail, .. } => trail.carrier.write(part)?,
                Executor::Postgres { trail, .. } => trail.write(part).await?,
            }
        }
        Ok(())
    }
}

impl Store {
    /// Waits until all events are rows of the trail that so far are only safe.
    pub async fn settle_trail(&self) -> Result<(), StoreError> {
        match self.executor() {
            Executor::Sqlite { trail, .. } => trail.carrier.settle().await,
            Executor::Postgres { .. } => Ok(()),
        }
    }
}

/// The rows of events, for PostgreSQL.
fn rows(events: &[Event]) -> [Rows; 2] {
    let cells = events.iter().map(|event| event.cells().to_vec()).collect();
    let patients = events.iter().flat_map(|event| event.patients.iter().map(|patient| (patient, event.id)));
    let keys = patients.map(|(patient, id)| vec![patient.as_str().into(), id.to_vec().into()]).collect();
    [Rows::new("audit_event", &COLUMNS, cells), Rows::new("audit_patient", &["patient", "id"], keys)]
}

/// Whether a column has one of these values.
fn is_one_of(column: &'static str, values: &[String]) -> Expr {
    Expr::col(column).is_in(values.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hold_the_instant_and_are_in_its_order() {
        let mut before = id_at(0, [0xff; 8]);
        for micros in [1, 999, 1000, 1_795_356_180_123_456, 1_795_356_180_123_457] {
            let id = id_at(micros, [0; 8]);
            assert_eq!(instant_of(&id), micros);
            assert!(id > before);
            assert_eq!((id[6] >> 4, id[8] >> 6), (7, 2), "version and variant");
            before = id_at(micros, [0xff; 8]);
        }
    }

    #[test]
    fn statements_of_many_patients_stay_below_what_can_be_bound() {
        use sea_orm::StatementBuilder as _;
        let patients: BTreeSet<String> = (0..500).map(|number| format!("p{number}")).collect();
        let events: Vec<Event> =
            (0..64).map(|at| Event { id: id_at(at, [0; 8]), patients: patients.clone(), ..Event::default() }).collect();
        let built = crate::together::statements(rows(&events).into());
        let values = |insert: &crate::together::Insert| insert.build(&sea_orm::DbBackend::Postgres).values;
        let bound: Vec<usize> = built.iter().map(|it| values(it).map_or(0, |values| values.0.len())).collect();
        // The lists of 32,000 keys, 2,000 a statement, and those of the events.
        assert_eq!(bound.len(), 64 * 500 / 2_000);
        assert_eq!(bound.iter().sum::<usize>(), 13 + 2 * bound.len());
    }

    #[test]
    fn what_was_touched_is_read_back() {
        let mut event = Event::default();
        of_change(&mut event, Method::Put, ("Patient/a", 1));
        event.touch(Entity { action: 'R', status: 404, reference: "Patient/b" });
        assert_eq!((event.subtype.as_ref(), event.action, event.status), ("create", 'C', 201));
        let touched: Vec<_> = event.touched().collect();
        assert_eq!(touched[0], Entity { action: 'C', status: 201, reference: "Patient/a/_history/1" });
        assert_eq!(touched[1], Entity { action: 'R', status: 404, reference: "Patient/b" });
    }
}
