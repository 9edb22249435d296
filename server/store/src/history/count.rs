//! How many versions a history has. (IN-17)

use super::{Bounds, LOOKED_AT_ONCE, MOST_LOOKED_AT, Scope, candidates};
use crate::error::StoreError;
use crate::session::{SOON, Session};

/// Places that are counted together where what stands there need not be looked at.
const COUNTED_AT_ONCE: usize = 10_000;

impl Scope {
    /// The number of visible versions within the bounds.
    pub(super) async fn count<S: Session>(&self, session: &mut S, mut bounds: Bounds) -> Result<u64, StoreError> {
        let shows_all = self.shows_all(bounds);
        let wanted = if shows_all { COUNTED_AT_ONCE } else { LOOKED_AT_ONCE };
        let (mut count, mut looked_at) = (0, 0);
        loop {
            if session.is_late() {
                return Err(StoreError::took_longer_than(SOON));
            }
            let positions = self.positions(session, bounds, wanted).await?;
            if shows_all {
                count += positions.len() as u64;
            } else {
                for candidate in candidates(session, &positions).await? {
                    count += u64::from(self.shows(session, &candidate, bounds).await?);
                }
                looked_at += positions.len();
            }
            if positions.len() < wanted {
                return Ok(count);
            }
            if looked_at > MOST_LOOKED_AT {
                let text = "too many versions have to be looked at to count them; narrow them with _since";
                return Err(StoreError::TooCostly(text.to_owned()));
            }
            bounds.after = positions.last().copied();
        }
    }
}
