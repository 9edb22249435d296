//! FHIR search: query grammar, parameter registry, index extraction, views, oracle. <https://hl7.org/fhir/R4/search.html>
//!
//! ```text
//! URL ── parse ──▶ Query ── terminology (lists codes) ──▶ store (SQL over index tables)
//!                                        └───────────▶ oracle (no index; what the answer must be)
//! resource ── extract ──▶ Extracted ──▶ store (rows of index tables)
//! ```
//!
//! Everything here is pure: no IO, no clock, no database.
//!
//! # What a query means
//!
//! The specification leaves room; this is how it is filled, for the store and for the oracle alike.
//!
//! **Filters.** All filters must hold. A filter holds if any value of the parameter matches any alternative.
//! `:not` negates that as a whole, so that resources without a value match it. `ne` negates a single comparison: one
//! value that differs is enough. A chain and `_has` hold if one resource that the view shows satisfies what stands in
//! them; what it hides does not exist, at every step. A type that does not have the parameter never matches, not even
//! negated. `:missing` asks whether the parameter selects anything, be it compared or not.
//!
//! | kind | compares |
//! |---|---|
//! | token | system and code byte for byte, of elements of type `code` whatever system is asked for, of type `string` without regard to case; `code` alone any system, `\|code` no system, `system\|` any code |
//! | string | folded text ([`fold`](mod@fold)) that starts with the folded value; `:contains`; `:exact` as written |
//! | date | the closed interval that a value may denote with the one of the search: `eq` search contains value, `ne` not `eq`, `gt` value.high > search.high, `lt` value.low < search.low, `ge` value.high >= search.low, `le` value.low <= search.high, `sa` value.low > search.high, `eb` value.high < search.low, `ap` overlap with the search interval widened by a tenth of its distance from now |
//! | number | `eq` in the implicit range (low inclusive, high exclusive), `ne` not, `gt` and `sa` greater, `lt` and `eb` less, `ge`, `le`, `ap` within 10 %, ends inclusive |
//! | quantity | as number, and the unit: any; `\|system\|code` as coded, where the system is that of UCUM and the code is valid in canonical units, which both sides are converted to; `\|\|code` and `\|code` coded or written unit, or canonical units. In data `<5` and `<=5` are all that is at most 5, `>5` and `>=5` all that is at least 5 |
//! | reference | type and id on this server, else the URL as written, also without `/_history/…`; canonicals with and without their version; `:above` and `:below` along the parameter by which the type points at itself |
//! | uri | as written, canonicals with and without their version; `:below` those whose path begins with all segments of it, `:above` those that it begins with |
//! | composite | one element has a value for each component |
//!
//! **Order.** Without `_sort` newest first: chronology descending, resources without one last. `_sort` keys: ascending
//! by the smallest value, descending by the largest; resources without a value come last in both directions. A date
//! sorts by the *low* end of its interval, in both directions; the type's `date` parameter by the chronology, the low
//! of its earliest value, in both directions. Numbers and quantities sort by the number, whatever the unit; strings by
//! folded text, tokens by the code, references by `Type/id`, uris as written: all by the bytes of their first 200
//! letters. A reference to what is not on this server has no place in the order, as if it were not there; composites
//! have none at all. **The final tie-breaker is always the row id, descending.**
//!
//! **Contained resources** are no matches of an ordinary search, and have no values of their container. A chain goes into
//! those that the resource itself contains, too. `_contained` searches them as if each stood by itself, where its
//! container stands in the order.
//!
//! **Canonical URLs** lead to what has the URL and the version, without a version to the newest ([`canonical`]).
//!
//! **Includes** follow references to resources of this server, from the matches of the page: one step, and with
//! `:iterate` from what was included too, until nothing is added. What is a match of the page is not included again.
//! A reference to a version includes that version.

pub mod canonical;
pub mod compartment;
pub mod contained;
pub mod entry;
#[cfg(test)]
mod examples;
pub mod extract;
pub mod filter;
pub mod fold;
#[cfg(any(test, feature = "generate"))]
pub mod generate;
pub mod oracle;
pub mod parse;
pub mod query;
pub mod registry;
pub mod terminology;
pub mod view;
