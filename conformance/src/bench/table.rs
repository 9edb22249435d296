//! The table: what was measured, and its ratio to the ceiling of the same run.

use std::fmt::Write as _;

use super::load::Measured;
use super::{ceiling, ceiling_postgres, workload};

/// One line of the table.
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: &'static str,
    /// The numbers.
    pub(crate) measured: Measured,
    /// How it compares with its ceilings.
    ratios: Vec<String>,
}

impl Row {
    /// A line without ratios yet.
    pub(crate) fn new(name: &'static str, measured: Measured) -> Self {
        Row { name, measured, ratios: Vec::new() }
    }
}

/// Which ceilings a row is compared with.
const CEILINGS: [(&str, &[&str]); 4] = [
    (workload::READ, &[ceiling::SAME_RESOURCE, ceiling::ROW, ceiling_postgres::ROW]),
    (workload::SEARCH, &[ceiling::SAME_PAGE, ceiling::PAGE, ceiling_postgres::PAGE]),
    (workload::CREATE, &[ceiling::INSERT, ceiling::INSERT_GROUPED, ceiling_postgres::INSERT]),
    (workload::TRANSACTION, &[]),
];

/// Fills in the ratios.
pub(crate) fn relate(rows: &mut [Row]) {
    for (name, ceilings) in CEILINGS {
        let Some(index) = rows.iter().position(|row| row.name == name) else { continue };
        let mut ratios = Vec::new();
        for &other in ceilings {
            let Some(ceiling) = rows.iter().find(|row| row.name == other) else { continue };
            let (mine, bare) = (&rows[index].measured, &ceiling.measured);
            let mut text = format!("{other}: {:.2} × rate", mine.rate / bare.rate);
            if let (Some(mine), Some(bare)) = (mine.cpu_micros, bare.cpu_micros) {
                let _ = write!(text, ", {:.2} × CPU", mine / bare);
            }
            ratios.push(text);
        }
        rows[index].ratios = ratios;
    }
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
