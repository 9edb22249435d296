//! A row as both engines hand it over.

use crate::error::StoreError;

/// One value of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// One row; columns are addressed by their position in the select list.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Cell>,
}

impl Row {
    /// An integer.
    pub(crate) fn i64(&self, column: usize) -> Result<i64, StoreError> {
        self.opt_i64(column)?.ok_or(StoreError::Column { column })
    }

    /// An integer or nothing.
    pub(crate) fn opt_i64(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.cells.get(column) {
            Some(Cell::Integer(value)) => Ok(Some(*value)),
            Some(Cell::Null) => Ok(None),
            _ => Err(StoreError::Column { column }),
        }
    }

    /// A text.
    pub(crate) fn text(&self, column: usize) -> Result<String, StoreError> {
        self.opt_text(column)?.ok_or(StoreError::Column { column })
    }

    /// A text or nothing.
    pub(crate) fn opt_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        match self.cells.get(column) {
            Some(Cell::Text(value)) => Ok(Some(value.clone())),
            Some(Cell::Null) => Ok(None),
            _ => Err(StoreError::Column { column }),
        }
    }

    /// Bytes.
    pub(crate) fn bytes(&self, column: usize) -> Result<Vec<u8>, StoreError> {
        match self.cells.get(column) {
            Some(Cell::Bytes(value)) => Ok(value.clone()),
            _ => Err(StoreError::Column { column }),
        }
    }

    /// Bytes or nothing.
    pub(crate) fn opt_bytes(&self, column: usize) -> Result<Option<Vec<u8>>, StoreError> {
        match self.cells.get(column) {
            Some(Cell::Bytes(value)) => Ok(Some(value.clone())),
            Some(Cell::Null) => Ok(None),
            _ => Err(StoreError::Column { column }),
        }
    }

    pub(crate) fn take_text(&mut self, column: usize) -> Result<Option<String>, StoreError> {
        match self.cells.get_mut(column).map(|cell| std::mem::replace(cell, Cell::Null)) {
            Some(Cell::Text(value)) => Ok(Some(value)),
            Some(Cell::Null) => Ok(None),
            _ => Err(StoreError::Column { column }),
        }
    }
}
