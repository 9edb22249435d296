//! Resource validation against the R4 definitions. <https://hl7.org/fhir/R4/validation.html>
//!
//! | aspect | done |
//! |---|---|
//! | structure: known members, JSON types, arrays, choices, `_` siblings, contained resources | yes |
//! | cardinality | yes |
//! | values of primitives: form, range, real calendar dates | yes |
//! | narrative: allow-list of XHTML (IN-03) | yes |
//! | invariants, bindings, profiles, reference targets | no |

use fhir::json::Json;
use fhir::outcome::Issue;

mod primitive;
mod structure;

/// Most issues that are reported for one resource; the last one then says that there may be more.
pub const MAX_ISSUES: usize = 100;

/// What is wrong with a resource; empty if it is valid. Each issue names its element by FHIRPath and says what would
/// be right.
pub fn validate(resource: &Json) -> Vec<Issue> {
    structure::check(resource)
}
