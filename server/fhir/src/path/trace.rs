//! What `trace()` tells of an evaluation. <http://hl7.org/fhirpath/N1/#trace>

use std::fmt;

use super::item::Item;

/// Gets the name and the items of every `trace()`, in the order in which they are evaluated.
pub struct Trace<'f>(&'f dyn Fn(&str, &[Item<'_>]));

impl<'f> Trace<'f> {
    /// Calls `listener` for each.
    pub fn new(listener: &'f dyn Fn(&str, &[Item<'_>])) -> Trace<'f> {
        Trace(listener)
    }

    pub(super) fn tell(&self, name: &str, items: &[Item<'_>]) {
        (self.0)(name, items);
    }
}

impl fmt::Debug for Trace<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Trace")
    }
}
