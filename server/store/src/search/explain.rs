//! How a search would be run, for people: what drives, how each condition is asked, the statement and the engine's
//! plan. Values stand in it as placeholders, so that nothing of a patient is in it.

use sea_orm::{DbBackend, Statement, StatementBuilder};
use search::query::Query;
use search::view::View;

use super::any::Any;
use super::condition::Condition;
use super::plan::{Driver, Plan};
use crate::error::StoreError;
use crate::row::Cell;
use crate::session::Session;

/// One thing to know about how a search is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedStep {
    /// What it is about: `driver`, `patients`, `condition`, `view`, `order`, `sql` or `plan`.
    pub about: &'static str,
    /// What there is to say.
    pub text: String,
}

pub(super) async fn explain<S: Session>(
    session: &mut S,
    view: &View,
    query: &Query,
) -> Result<Vec<ExplainedStep>, StoreError> {
    let plan = Plan::new(session, view, &query.resource_type, &query.filters, &query.sort).await?;
    let Some(plan) = plan else {
        let text = "Nothing can be found: a condition names what does not exist, or the type is not visible.".into();
        return Ok(vec![ExplainedStep { about: "driver", text }]);
    };
    let mut steps = Vec::new();
    let mut say = |about, text: String| steps.push(ExplainedStep { about, text });
    say("driver", driver(&plan, view));
    say("patients", patients(&plan));
    for (index, condition) in plan.conditions.iter().enumerate() {
        say("condition", format!("{}; {}", described(condition), asked(&plan, index, condition)));
    }
    if !view.is_unrestricted() {
        say("view", "The caller's rules stand in the statement, before it is cut to a page.".into());
    }
    say("order", order(&plan));
    let page = plan.page(None, query.count.max(1) + 1)?;
    let statement = StatementBuilder::build(&page, &session.backend());
    say("sql", shortened(&statement.sql));
    for text in engine_plan(session, statement).await? {
        say("plan", text);
    }
    Ok(steps)
}

fn driver(plan: &Plan, view: &View) -> String {
    let drives = match plan.driver {
        Driver::Listing => "The list of all resources of the type is scanned".to_owned(),
        Driver::Rows(index) => format!("The resources are known beforehand: {}", described(&plan.conditions[index])),
        Driver::Index(index) => {
            let scans = plan.conditions[index].scans().unwrap_or_default();
            format!("Index rows are scanned, in {} range(s): {}", scans.len(), described(&plan.conditions[index]))
        }
    };
    // What a probe counts may be hidden by the rules of a view: only who sees everything is told. (LK-18)
    let estimates: Vec<String> = if view.is_unrestricted() {
        let estimate = |(index, found): &(usize, u64)| format!("{found} for condition {}", index + 1);
        plan.estimates.iter().map(estimate).collect()
    } else {
        Vec::new()
    };
    if estimates.is_empty() {
        format!("{drives}.")
    } else {
        format!("{drives}. Rows counted to choose, each as far as it matters: {}.", estimates.join(", "))
    }
}

fn patients(plan: &Plan) -> String {
    match plan.patients.as_deref() {
        None => "Rows of all patients are looked at.".into(),
        Some([_]) => "Only rows of one patient are looked at.".into(),
        Some(several) => format!("Only rows of {} patients are looked at.", several.len()),
    }
}

/// How a condition takes part.
fn asked(plan: &Plan, index: usize, condition: &Condition) -> &'static str {
    let drives = matches!(plan.driver, Driver::Rows(driver) | Driver::Index(driver) if driver == index);
    match plan.only_patient().and_then(|patient| condition.exceptions(patient)) {
        _ if drives => "drives",
        None => "asked of each row",
        Some(others) if others.is_empty() => "holds of all that the patient has",
        Some(_) => "asked of each row only if the patient has any by another parameter",
    }
}

fn order(plan: &Plan) -> String {
    if plan.in_natural_order {
        "Newest first, as the index stands: the scan stops when the page is full.".into()
    } else {
        "The keys of all matches are computed and sorted, then cut to the page.".into()
    }
}

fn described(condition: &Condition) -> String {
    let list = |conditions: &[Condition]| conditions.iter().map(described).collect::<Vec<_>>().join("; ");
    match condition {
        Condition::Nothing => "nothing satisfies it".into(),
        Condition::Id { ids, .. } => format!("{} logical id(s)", ids.len()),
        Condition::LastUpdated { .. } => "_lastUpdated, in the table of resources".into(),
        Condition::Missing { code, table, missing, .. } => {
            format!("\"{code}\" has {} value, in {}", if *missing { "no" } else { "a" }, table.name())
        }
        Condition::Any(any) => described_any(any),
        Condition::Rids { how, .. } => format!("resources {how}"),
        Condition::Linked(linked) => {
            let way = if linked.is_reverse { "is referred to through" } else { "refers through" };
            format!("{way} \"{}\" to what satisfies: {}", linked.code, list(&linked.conditions))
        }
        Condition::Inside(_) => "it is contained in a resource that can be seen".into(),
        Condition::Inward(inward) => {
            format!("refers to a contained resource that satisfies: {}", list(&inward.conditions))
        }
        Condition::All(all) => format!("all of ({})", list(all)),
        Condition::Or(any) => format!("one of ({})", list(any)),
        Condition::Not(inner) => format!("not ({})", described(inner)),
    }
}

fn described_any(any: &Any) -> String {
    let is = if any.negated { "has none of" } else { "has one of" };
    format!("\"{}\" {is} {} value(s), in {}", any.code, any.alternatives.len(), any.table.name())
}

/// The engine's own words, a line each.
async fn engine_plan<S: Session>(session: &mut S, statement: Statement) -> Result<Vec<String>, StoreError> {
    let keyword = if session.backend() == DbBackend::Sqlite { "EXPLAIN QUERY PLAN" } else { "EXPLAIN" };
    let explained = Explained(Statement { sql: format!("{keyword} {}", statement.sql), ..statement });
    let rows = session.rows(&explained).await?;
    let line = |cells: Vec<Cell>| {
        cells.into_iter().rev().find_map(|cell| if let Cell::Text(text) = cell { Some(text) } else { None })
    };
    Ok(rows.into_iter().filter_map(|row| line(row.cells)).map(|line| without_values(&line)).collect())
}

struct Explained(Statement);

impl StatementBuilder for Explained {
    fn build(&self, _backend: &DbBackend) -> Statement {
        self.0.clone()
    }
}

/// Long lists of numbers are what an earlier step found.
fn shortened(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len().min(4096));
    let mut rest = sql;
    while let Some(at) = rest.find(" IN (") {
        let (head, list) = rest.split_at(at + " IN (".len());
        out.push_str(head);
        let end = list.find(')').unwrap_or(list.len());
        let is_numbers = list[..end].bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b'-' | b' '));
        out.push_str(if is_numbers { "…" } else { &list[..end] });
        rest = &list[end..];
    }
    out.push_str(rest);
    out
}

/// Conditions in a plan of PostgreSQL hold the values that were asked for.
fn without_values(line: &str) -> String {
    if !line.contains("Cond:") && !line.contains("Filter:") {
        return line.to_owned();
    }
    let mut out = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    let mut before = ' ';
    while let Some(character) = characters.next() {
        if character == '\'' {
            while let Some(inside) = characters.next() {
                if inside == '\'' && characters.peek() != Some(&'\'') {
                    break;
                }
                if inside == '\'' {
                    characters.next();
                }
            }
            out.push('?');
        } else if character.is_ascii_digit() && !before.is_alphanumeric() && before != '_' {
            while characters.peek().is_some_and(char::is_ascii_digit) {
                characters.next();
            }
            out.push('?');
        } else {
            out.push(character);
        }
        before = character;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_hold_no_values() {
        for (line, expected) in [
            (
                "  Index Cond: ((param = 12) AND (prefix >= 'o''neil'::text))",
                "  Index Cond: ((param = ?) AND (prefix >= ?::text))",
            ),
            ("  Filter: (folded ~~ 'smith%'::text)", "  Filter: (folded ~~ ?::text)"),
            ("  Index Cond: (k0 = $1)", "  Index Cond: (k0 = $?)"),
            ("Limit  (cost=0.1..8.2 rows=51 width=8)", "Limit  (cost=0.1..8.2 rows=51 width=8)"),
        ] {
            assert_eq!(without_values(line), expected);
        }
        assert_eq!(shortened("a IN (1,2,-3) AND b IN ($1, $2)"), "a IN (…) AND b IN ($1, $2)");
    }
}
