//! Tables of codes and units: the CSV files of `adapters/mappings/`, embedded. <https://www.rfc-editor.org/rfc/rfc4180>

use std::sync::OnceLock;

use fhir::json::Json;

/// A CSV file with a header row.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// One row of a [`Table`], its fields by column name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    table: &'a Table,
    fields: &'a [String],
}

impl Table {
    /// Reads a table that is part of this package, so it is well formed.
    pub(crate) fn embedded(text: &str) -> Self {
        let mut rows = text.lines().filter(|line| !line.is_empty()).map(fields);
        let header = rows.next().unwrap_or_default();
        Self { header, rows: rows.collect() }
    }

    /// All rows in the order of the file.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|fields| Row { table: self, fields })
    }
}

impl<'a> Row<'a> {
    /// The field in `column`; empty where the row or the table has none.
    pub(crate) fn get(self, column: &str) -> &'a str {
        let index = self.table.header.iter().position(|name| name == column);
        index.and_then(|index| self.fields.get(index)).map_or("", String::as_str)
    }
}

/// The coding of a published code, with its display from `codings.csv`.
pub(crate) fn coding(system: &str, code: &str) -> Json {
    static CODINGS: OnceLock<Table> = OnceLock::new();
    let table = CODINGS.get_or_init(|| Table::embedded(include_str!("../mappings/codings.csv")));
    let known = table.rows().find(|row| row.get("system") == system && row.get("code") == code);
    if let Some(row) = known {
        fhir::object! { "system": system, "code": code, "display": row.get("display") }
    } else {
        fhir::object! { "system": system, "code": code }
    }
}

/// Codes of all Observation categories.
pub(crate) fn categories() -> Vec<&'static str> {
    table_of_categories().rows().map(|row| row.get("code")).collect()
}

/// The coding of an Observation category, with its display from `categories.csv`.
pub(crate) fn category(code: &str) -> Json {
    let display =
        table_of_categories().rows().find(|row| row.get("code") == code).map_or(code, |row| row.get("display"));
    fhir::object! {
        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
        "code": code,
        "display": display,
    }
}

fn table_of_categories() -> &'static Table {
    static CATEGORIES: OnceLock<Table> = OnceLock::new();
    CATEGORIES.get_or_init(|| Table::embedded(include_str!("../mappings/categories.csv")))
}

/// The lowest and highest believable value of a code in a unit, from `plausible-ranges.csv`.
pub(crate) fn plausible_range(code: &str, ucum: &str) -> Option<(&'static str, &'static str)> {
    static RANGES: OnceLock<Table> = OnceLock::new();
    let table = RANGES.get_or_init(|| Table::embedded(include_str!("../mappings/plausible-ranges.csv")));
    let row = table.rows().find(|row| row.get("code") == code && row.get("ucum") == ucum)?;
    Some((row.get("low"), row.get("high")))
}

/// Whether two units are written alike but for case, and for the two code points that Ω and µ each have.
pub(crate) fn same_unit(left: &str, right: &str) -> bool {
    let fold = |text: &str| text.replace('\u{2126}', "Ω").replace('\u{3bc}', "µ").to_lowercase();
    fold(left) == fold(right)
}

fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let field = fields.last_mut().expect("there is always a current field");
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_fields_keep_commas_and_quotes() {
        assert_eq!(fields(r#"a,"b, ""c""",,d"#), ["a", "b, \"c\"", "", "d"]);
    }

    #[test]
    fn every_row_of_every_table_has_the_columns_of_its_header() {
        for text in [
            include_str!("../mappings/codings.csv"),
            include_str!("../mappings/categories.csv"),
            include_str!("../mappings/plausible-ranges.csv"),
            include_str!("../mappings/medisante-measurements.csv"),
            include_str!("../mappings/medisante-annotations.csv"),
        ] {
            let table = Table::embedded(text);
            for row in &table.rows {
                assert_eq!(row.len(), table.header.len(), "{row:?}");
            }
        }
    }

    #[test]
    fn ohm_and_micro_signs_compare_equal() {
        assert!(same_unit("\u{2126}", "\u{3a9}"));
        assert!(same_unit("\u{3bc}V", "\u{b5}v"));
        assert!(!same_unit("kg", "g"));
    }
}
