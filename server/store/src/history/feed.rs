//! What is committed, in the order in which it becomes visible, for those who listen. (LK-11)
//!
//! The feed is the history of some types, read from the oldest: complete up to the [horizon](crate::horizon), so that
//! nothing is passed over, whichever process wrote it. One reader asks for everything and hands it on; what of it a
//! listener may see is decided by [`Sight::shows`], with the same [view](crate::view) as everywhere.

use search::query::Query;
use search::view::View;

use super::{Bounds, HistoryOf, Position, Scope, candidates, holds, horizon};
use crate::Store;
use crate::error::StoreError;
use crate::resources::Stored;
use crate::row::Cell;
use crate::search::order;
use crate::session::Session;

/// A place in the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub(super) Position);

/// A version that was committed.
#[derive(Clone, Debug)]
pub struct Happening {
    /// Its place.
    pub place: Place,
    /// The version.
    pub stored: Stored,
    type_id: i64,
    patients: String,
}

/// A page of the feed.
#[derive(Clone, Debug)]
pub struct Fed {
    /// What the view shows, oldest first.
    pub happenings: Vec<Happening>,
    /// Where the next page begins.
    pub place: Place,
    /// Whether there may be more already.
    pub more: bool,
}

/// A view of some types, ready to be asked about one version after the other.
#[derive(Clone, Debug)]
pub struct Sight(Scope);

impl Sight {
    /// Whether the view shows a version.
    pub fn shows(&self, happening: &Happening) -> bool {
        let Some(view) = self.0.view(happening.type_id) else { return false };
        holds(view, &happening.patients) && view.shows(&happening.stored)
    }
}

impl Store {
    /// The place behind everything of these types that is there now.
    pub async fn feed_end(&self, types: &[&str]) -> Result<Place, StoreError> {
        let of = of(types);
        with_session!(self, session => end(session, &of).await)
    }

    /// Up to `count` versions of these types after a place, and how far they were looked at.
    pub async fn feed(&self, view: &View, types: &[&str], after: Place, count: usize) -> Result<Fed, StoreError> {
        let (of, view) = (of(types), view.clone());
        with_session!(self, session => page(session, &view, &of, after, count).await)
    }

    /// What a view shows of these types.
    pub async fn sight(&self, view: &View, types: &[&str]) -> Result<Sight, StoreError> {
        let (of, view) = (of(types), view.clone());
        with_session!(self, session => Scope::resolve(session, &view, &of).await.map(Sight))
    }

    /// A place as a text that tells nothing of what others have stored.
    pub fn seal_place(&self, Place(place): Place) -> String {
        let keys = [place.last_updated, place.rid, place.version].map(Cell::Integer).to_vec();
        self.cursor().seal(&order::Position { keys, backwards: false }, &View::system(), &binding())
    }

    /// The place of such a text.
    pub fn open_place(&self, text: &str) -> Result<Place, StoreError> {
        let opened = self.cursor().open(text, &View::system(), &binding())?;
        super::start_of(&opened).map(|start| Place(start.after)).ok_or(StoreError::Cursor)
    }
}

fn of(types: &[&str]) -> HistoryOf {
    HistoryOf::Types(types.iter().map(|name| (*name).to_owned()).collect())
}

/// A place is good for every view: it says when, and what is there is asked of the view of whoever shows it.
fn binding() -> [Query; 1] {
    [Query::of("feed", 1)]
}

async fn end<S: Session>(session: &mut S, of: &HistoryOf) -> Result<Place, StoreError> {
    let scope = Scope::resolve(session, &View::system(), of).await?;
    let high = horizon(session, of).await?;
    let bounds = Bounds { low: i64::MIN, high, after: None, descending: true, current_after: None };
    let last = scope.positions(session, bounds, 1).await?.into_iter().next();
    Ok(Place(last.unwrap_or(Position { last_updated: 0, rid: 0, version: 0 })))
}

async fn page<S: Session>(
    session: &mut S,
    view: &View,
    of: &HistoryOf,
    Place(after): Place,
    count: usize,
) -> Result<Fed, StoreError> {
    let scope = Scope::resolve(session, view, of).await?;
    let high = horizon(session, of).await?;
    let bounds = Bounds { low: after.last_updated, high, after: Some(after), descending: false, current_after: None };
    let positions = scope.positions(session, bounds, count).await?;
    let mut happenings = Vec::with_capacity(positions.len());
    for candidate in candidates(session, &positions).await? {
        if scope.shows(session, &candidate, bounds).await? {
            happenings.push(Happening {
                place: Place(candidate.position),
                stored: candidate.stored,
                type_id: candidate.type_id,
                patients: candidate.patients,
            });
        }
    }
    let place = Place(positions.last().copied().unwrap_or(after));
    Ok(Fed { happenings, place, more: positions.len() >= count })
}
