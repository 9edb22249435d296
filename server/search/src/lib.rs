//! FHIR search: query grammar, parameter registry, index extraction, views, oracle. <https://hl7.org/fhir/R4/search.html>
//!
//! ```text
//! URL ── parse ──▶ Query ──────────▶ store (SQL over index tables)
//!                    └─────────────▶ oracle (no index; what the answer must be)
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
//! value that differs is enough.
//!
//! | kind | compares |
//! |---|---|
//! | token | system and code byte for byte; `code` alone any system, `\|code` no system, `system\|` any code |
//! | string | folded text ([`fold`](mod@fold)) that starts with the folded value; `:contains`; `:exact` as written |
//! | date | the closed interval that a value may denote with the one of the search: `eq` search contains value, `ne` not `eq`, `gt` value.high > search.high, `lt` value.low < search.low, `ge` value.high >= search.low, `le` value.low <= search.high, `sa` value.low > search.high, `eb` value.high < search.low, `ap` overlap with the search interval widened by a tenth of its distance from now |
//! | number | `eq` in the implicit range (low inclusive, high exclusive), `ne` not, `gt` and `sa` greater, `lt` and `eb` less, `ge`, `le`, `ap` within 10 %, ends inclusive |
//! | quantity | as number, and the unit: any; `\|system\|code`; `\|\|code` coded or written unit. Comparators in data (`<5`) are not looked at, units are not converted |
//! | reference | type and id on this server, else the URL as written; canonicals with and without their version |
//! | uri | as written |
//!
//! **Order.** Without `_sort` newest first: chronology descending, resources without one last. `_sort` keys: ascending by the smallest value,
//! descending by the largest; resources without a value come last in both directions. A date sorts by the *low* end
//! of its interval, in both directions; the type's `date` parameter by the chronology, the low of its earliest value,
//! in both directions. Strings sort by folded text, tokens by the code, quantities by the number, references by
//! `Type/id` or URL, uris as written: all by bytes. **The final tie-breaker is always the row id, descending.**
//!
//! **Includes** follow references to resources of this server, from the matches of the page, one step. What is a
//! match of the page is not included again.

pub mod compartment;
pub mod entry;
#[cfg(test)]
mod examples;
pub mod extract;
pub mod filter;
pub mod fold;
pub mod generate;
pub mod oracle;
pub mod parse;
pub mod query;
pub mod registry;
pub mod view;
