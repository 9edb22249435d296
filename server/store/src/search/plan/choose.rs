//! Which condition drives: the one that leaves the fewest rows, found by counting a little.

use sea_orm::sea_query::{Query as Sql, SelectStatement, UnionType};

use super::{Driver, Plan};
use crate::error::StoreError;
use crate::index::Table;
use crate::search::any::Any;
use crate::search::condition::Condition;
use crate::search::count;
use crate::session::Session;

/// Candidates are counted up to here to choose among them: beyond it, all are equally bad.
const PROBE: u64 = 256;
/// Up to so many known row ids are better than any scan that is not known to be short.
const SORTED: u64 = 10_000;

impl Plan {
    pub(super) async fn best_driver<S: Session>(&mut self, session: &mut S) -> Result<Driver, StoreError> {
        if let Some(index) = self.conditions.iter().position(|condition| matches!(condition, Condition::Id { .. })) {
            return Ok(Driver::Rows(index));
        }
        // What holds of all that is this patient's narrows nothing: the listing has that, in order.
        let holds_of_all = |it: &Condition| self.only_patient().is_some_and(|patient| it.has_no_exceptions(patient));
        let mut candidates: Vec<(usize, Source<'_>)> = (self.conditions.iter().enumerate())
            .filter(|(_, it)| !holds_of_all(it))
            .filter_map(|(index, it)| Some((index, Source::of(it)?)))
            .collect();
        // Every scan is of these patients' rows alone: to be theirs leaves all of them, any other condition fewer.
        let is_of_patients = |index: usize| self.conditions[index].patients().is_some();
        if candidates.iter().any(|(index, source)| !is_of_patients(*index) && source.is_ordered()) {
            candidates.retain(|(index, _)| !is_of_patients(*index));
        }
        match candidates.as_slice() {
            [] => return Ok(Driver::Listing),
            // Nothing to choose from: rows in order, or few of them.
            [(index, Source::Index { is_good: true, .. })] => return Ok(Driver::Index(*index)),
            [(index, Source::Rids(_))] => return Ok(Driver::Rows(*index)),
            _ => {}
        }
        let (mut best, mut estimates) = ((u64::MAX, Driver::Listing), Vec::new());
        for (index, source) in candidates {
            let (found, ordered, driver) = match source {
                // So many are sorted sooner than that a scan comes upon them.
                Source::Rids(PROBE..SORTED) => (PROBE - 1, false, Driver::Rows(index)),
                Source::Rids(count) => (count, false, Driver::Rows(index)),
                Source::Rows(condition) => {
                    let first = condition.rows().unwrap_or_default().limit(PROBE).take();
                    (count(session, first).await?, false, Driver::Rows(index))
                }
                Source::Index { scans, is_ordered, .. } => {
                    (count(session, self.probe(&scans)).await?, is_ordered, Driver::Index(index))
                }
            };
            estimates.push((index, found));
            // Rows that do not stand in the natural order would all have to be sorted.
            let cost = if found < PROBE { found } else { PROBE + u64::from(!ordered) };
            if cost < best.0 {
                best = (cost, driver);
            }
        }
        self.estimates = estimates;
        // Many values and no order: for a page in natural order the listing is no worse, and stops early.
        let is_known =
            matches!(best.1, Driver::Rows(index) if matches!(self.conditions[index], Condition::Rids { .. }));
        Ok(if best.0 > PROBE && self.in_natural_order && !is_known { Driver::Listing } else { best.1 })
    }

    /// The first rows of ranges.
    fn probe(&self, scans: &[&Any]) -> SelectStatement {
        if let [only] = scans {
            return self.probe_of(only);
        }
        // A limit belongs to a statement of its own before it is put together with others.
        let limited = |any: &&Any| Sql::select().column("rid").from_subquery(self.probe_of(any), "p").take();
        let mut probes = scans.iter().map(limited);
        let mut all = probes.next().unwrap_or_default();
        for further in probes {
            all.union(UnionType::All, further);
        }
        all
    }

    /// The first rows of one range.
    fn probe_of(&self, any: &Any) -> SelectStatement {
        let mut rows = Sql::select();
        rows.column(("d", "rid")).from_as(any.table.name(), "d").cond_where(self.scanned(any)).limit(PROBE).take()
    }
}

/// How a condition could drive.
enum Source<'a> {
    /// So many row ids are known.
    Rids(u64),
    /// Row ids come from the statement of the condition's rows.
    Rows(&'a Condition),
    /// Ranges of an index.
    Index { scans: Vec<&'a Any>, is_ordered: bool, is_good: bool },
}

impl<'a> Source<'a> {
    fn of(condition: &'a Condition) -> Option<Self> {
        if let Condition::Rids { rids, .. } = condition {
            return Some(Source::Rids(rids.len() as u64));
        }
        if condition.rows().is_some() {
            return Some(Source::Rows(condition));
        }
        let scans = condition.scans()?;
        let is_ordered = scans.iter().all(|any| any.is_ordered());
        let is_good = scans.iter().all(|any| any.is_ordered() || any.table == Table::Uri);
        Some(Source::Index { scans, is_ordered, is_good })
    }

    fn is_ordered(&self) -> bool {
        matches!(self, Source::Index { is_ordered: true, .. })
    }
}
