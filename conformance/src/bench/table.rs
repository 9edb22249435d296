//! The table: what was measured, and its ratio to the ceiling of the same run.

use std::fmt::Write as _;

use super::ceiling_insert::{INSERT, INSERT_GROUPED, INSERT_OVER_HTTP};
use super::load::Measured;
use super::{access, ceiling, ceiling_postgres, peer, statements, workload};

/// One line of the table.
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: String,
    /// The numbers.
    pub(crate) measured: Measured,
    /// How it compares with its ceilings.
    ratios: Vec<String>,
}

impl Row {
    /// A line without ratios yet.
    pub(crate) fn new(name: impl Into<String>, measured: Measured) -> Self {
        Row { name: name.into(), measured, ratios: Vec::new() }
    }
}

/// Which ceilings a row is compared with.
const CEILINGS: [(&str, &[&str]); 6] = [
    (workload::READ, &[ceiling::SAME_RESOURCE]),
    (workload::VREAD, &[ceiling::SAME_RESOURCE]),
    (workload::SEARCH, &[ceiling::SAME_PAGE]),
    (access::READ, &[access::READ_BY_SYSTEM]),
    (access::SEARCH, &[access::SEARCH_BY_SYSTEM]),
    (workload::CREATE, &[INSERT_OVER_HTTP, INSERT, INSERT_GROUPED, ceiling_postgres::INSERT]),
];

/// Names of the ceilings of a row, and of a peer's row of the same.
fn ceilings(name: &str) -> Vec<String> {
    let fixed = CEILINGS.iter().filter(|(row, _)| *row == name).flat_map(|(_, ceilings)| ceilings.iter().copied());
    let statements = statements::STATEMENTS.iter().filter(|it| it.of.contains(&name));
    let statements = statements.flat_map(|it| [it.on_sqlite(), it.on_postgres()]);
    fixed.map(str::to_owned).chain(statements).chain([peer::row_of(name)]).collect()
}

/// Fills in the ratios.
pub(crate) fn relate(rows: &mut [Row]) {
    for index in 0..rows.len() {
        let mut ratios = Vec::new();
        for other in ceilings(&rows[index].name) {
            let Some(ceiling) = rows.iter().find(|row| row.name == other) else { continue };
            let (mine, bare) = (&rows[index].measured, &ceiling.measured);
            let mut text = format!("{other}: {:.2} × rate", mine.rate / bare.rate);
            if let (Some(mine), Some(bare)) = (mine.cpu_micros, bare.cpu_micros) {
                let _ = write!(text, ", {:.2} × CPU", mine / bare);
            }
            if bare.p50 > 0 {
                let _ = write!(text, ", {:.2} × p50", f64::from(mine.p50) / f64::from(bare.p50));
            }
            ratios.push(text);
        }
        rows[index].ratios = ratios;
    }
}

/// How CPU costs grew from one table to another.
pub(crate) fn growth(before: &[Row], after: &[Row]) -> String {
    let mut text = String::from("| what | growth |\n|---|--:|\n");
    for row in after {
        let small = before.iter().find(|it| it.name == row.name).and_then(|it| it.measured.cpu_micros);
        if let (Some(small), Some(large)) = (small.filter(|micros| *micros > 0.0), row.measured.cpu_micros) {
            let _ = writeln!(text, "| {} | {:.2} |", row.name, large / small);
        }
    }
    text
}

/// The table as Markdown.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut text = String::from(
        "| what | requests/s | p50 ms | p99 ms | CPU µs/request | RSS MiB | against its ceilings |\n|---|--:|--:|--:|--:|--:|---|\n",
    );
    for row in rows {
        let Measured { rate, p50, p99, cpu_micros, resident, .. } = &row.measured;
        let millis =
            |micros: &u32| if *micros == 0 { "–".to_owned() } else { format!("{:.2}", f64::from(*micros) / 1000.0) };
        let _ = writeln!(
            text,
            "| {} | {rate:.0} | {} | {} | {} | {} | {} |",
            row.name,
            millis(p50),
            millis(p99),
            cpu_micros.map_or_else(|| "–".to_owned(), |cpu| format!("{cpu:.0}")),
            resident.map_or_else(|| "–".to_owned(), |mib| mib.to_string()),
            row.ratios.join("; "),
        );
    }
    text
}
