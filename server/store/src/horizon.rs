//! How far histories are complete on PostgreSQL, where transactions commit in any order. (Decision 10)
//!
//! A transaction that makes versions takes a shared advisory lock whose key is the time, then reads the clock: its
//! versions have that instant or a later one. A history asks for the clock, then for the smallest key that is locked:
//! whoever is not seen there has committed, or will read the clock later. So all versions before the smaller of the
//! two are there, and none comes in between any more.

use sea_orm::sea_query::{Alias, Expr, Query, SelectStatement};

/// The database's clock, microseconds since 1970.
const CLOCK: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// Keys below were not made from a clock after 2005: other software's locks.
const LOCKED: &str = "(SELECT min((l.classid::bigint << 32) | l.objid::bigint) FROM pg_locks l \
     WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted \
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
     AND (l.classid::bigint << 32) > (1::bigint << 50))";

/// Takes the lock until the transaction ends; its row is the clock after that.
pub(crate) fn enter() -> SelectStatement {
    // OFFSET 0 keeps the planner from merging the two: the lock is there before the clock is read.
    let mut lock = Query::select();
    lock.expr_as(Expr::cust(format!("pg_advisory_xact_lock_shared({CLOCK})")), Alias::new("held")).offset(0);
    Query::select().expr(Expr::cust(CLOCK)).from_subquery(lock, "lock").to_owned()
}

/// The instant before which all versions are there. To be asked before the statement that reads them.
pub(crate) fn horizon() -> SelectStatement {
    let mut clock = Query::select();
    clock.expr_as(Expr::cust(CLOCK), Alias::new("now")).offset(0);
    Query::select().expr(Expr::cust(format!("least(clock.now, {LOCKED})"))).from_subquery(clock, "clock").to_owned()
}
