//! Types whose resources the server itself makes and nobody writes: they are no rows of the table of resources, but
//! another table as FHIR shows it. What they can do is this table; everything else about them is refused by name.

use fhir::outcome::{Issue, IssueCode};
use futures::future::BoxFuture;

use crate::app::App;
use crate::audit;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::response::Answer;

/// How such a type is searched: one page for the parameters, leniently if the last says so.
pub type Search = for<'a> fn(&'a App, &'a Caller, &'a [(String, String)], bool) -> BoxFuture<'a, Result<Answer, Error>>;

/// One such type.
#[derive(Debug)]
pub struct Projected {
    /// Its name.
    pub resource_type: &'static str,
    /// Why nobody writes it.
    pub why: &'static str,
    /// Reads one.
    pub read: for<'a> fn(&'a App, &'a Caller, &'a str) -> BoxFuture<'a, Result<Answer, Error>>,
    /// Searches one page.
    pub search: Search,
}

/// All of them.
pub const TABLE: &[Projected] = &[Projected {
    resource_type: audit::serve::TYPE,
    why: "the audit trail is written by the server alone, and what stands in it does not change",
    read: audit::serve::read,
    search: audit::serve::search,
}];

/// The row of a type.
pub fn of(resource_type: &str) -> Option<&'static Projected> {
    TABLE.iter().find(|row| row.resource_type == resource_type)
}

/// Refuses what is not read or searched.
pub fn refuse_change(resource_type: &str) -> Result<(), Error> {
    let Some(row) = of(resource_type) else { return Ok(()) };
    let text = format!("{resource_type} can be read and searched only: {}", row.why);
    Err(Error::method_not_allowed(text).with_header("Allow", "GET, HEAD, OPTIONS"))
}

/// Refuses what would look for such resources among all others, where they are not.
pub fn refuse_among_others(resource_type: &str) -> Result<(), Error> {
    if of(resource_type).is_none() {
        return Ok(());
    }
    let text = format!(
        "{resource_type} is searched by itself, as GET {resource_type}?…, not with other types, in includes, chains, \
         compartments or transactions"
    );
    Err(Error::bad_request(Issue::error(IssueCode::NotSupported, text)))
}
