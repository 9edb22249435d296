//! What evaluations may cost. (IN-18)

use std::cell::Cell;

use super::EvaluationError;

/// Bytes of text that are copied, searched or compared in one step.
const BYTES: usize = 64;

/// The steps that are left. One touches an item, or a piece of text.
#[derive(Debug)]
pub struct Meter(Cell<u64>);

impl Meter {
    /// Grants so many.
    pub fn new(steps: u64) -> Meter {
        Meter(Cell::new(steps))
    }

    pub(super) fn left(&self) -> u64 {
        self.0.get()
    }

    #[inline]
    pub(super) fn charge(&self, steps: usize) -> Result<(), EvaluationError> {
        match self.0.get().checked_sub(steps as u64) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => Err(self.spent()),
        }
    }

    #[cold]
    fn spent(&self) -> EvaluationError {
        self.0.set(0);
        EvaluationError::TooCostly
    }

    /// Counts work on a text of so many bytes.
    #[inline]
    pub(super) fn charge_text(&self, bytes: usize) -> Result<(), EvaluationError> {
        self.charge(bytes / BYTES)
    }
}
