//! Units of HealthKit and UCUM: `mappings/healthkit-units.csv`. Nothing is converted but percent and heights.

use std::sync::OnceLock;

use fhir::decimal::Decimal;

use super::types::Type;
use crate::number;
use crate::reading::Quantity;
use crate::table::Table;

/// Units that each profile of a vital sign takes.
const PROFILE_UNITS: &[(&str, &[&str])] = &[
    ("heartrate", &["/min"]),
    ("resprate", &["/min"]),
    ("oxygensat", &["%"]),
    ("bodytemp", &["Cel", "[degF]"]),
    ("bodyheight", &["cm", "[in_i]"]),
    ("bodyweight", &["kg", "g", "[lb_av]"]),
    ("bmi", &["kg/m2"]),
];

/// Why a number is not one of the type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The unit is of another dimension, or no unit at all.
    Unit,
    /// A fraction that is none.
    NoFraction,
    /// Out of any reading of it.
    Impossible,
}

/// The quantity of a type; `fraction` says whether percent comes as a fraction of one.
pub(super) fn quantity(kind: &Type, value: &str, unit: Option<&str>, fraction: bool) -> Result<Quantity, Problem> {
    let (ucum, shown) = match unit.map(str::trim).filter(|unit| !unit.is_empty()) {
        Some(unit) => resolved(kind, unit)?,
        None => (kind.ucum.clone(), kind.unit.clone()),
    };
    let number = Decimal::parse(value).ok_or(Problem::Impossible)?;
    if kind.fraction && fraction && ucum == "%" {
        let at_most = |limit: &str| Decimal::parse(limit).is_some_and(|limit| number <= limit);
        let positive = Decimal::parse("0").is_some_and(|zero| number >= zero);
        return match (positive, at_most("1"), at_most("100")) {
            (true, true, _) => {
                let value = number::shifted(value, 2).ok_or(Problem::Impossible)?;
                Ok(Quantity { value: value.into(), unit: shown, ucum: Some(ucum) })
            }
            (true, false, true) => Err(Problem::NoFraction),
            _ => Err(Problem::Impossible),
        };
    }
    if kind.profile.as_deref() == Some("bodyheight") && !taken_by("bodyheight", &ucum) {
        let target = if ucum == "[ft_i]" { "[in_i]" } else { "cm" };
        let converted = fhir::ucum::convert(&number, &ucum, target).map_err(|_| Problem::Unit)?;
        let shown = if target == "cm" { "cm" } else { "in" };
        let value = number::shifted(converted.as_str(), 0).ok_or(Problem::Impossible)?;
        return Ok(Quantity { value: value.into(), unit: shown.to_owned(), ucum: Some(target.to_owned()) });
    }
    let ucum = Some(ucum).filter(|ucum| !ucum.is_empty());
    Ok(Quantity { value: value.into(), unit: shown, ucum })
}

/// Whether a profile takes a unit; nothing asked of others.
pub(super) fn taken_by(profile: &str, ucum: &str) -> bool {
    PROFILE_UNITS.iter().find(|(name, _)| *name == profile).is_none_or(|(_, units)| units.contains(&ucum))
}

/// UCUM code and name for people of a unit as HealthKit writes it.
fn resolved(kind: &Type, written: &str) -> Result<(String, String), Problem> {
    let bare = without_molar_mass(written);
    let row = table().rows().find(|row| row.get("hk_unit") == bare);
    let canonical = || (kind.ucum.clone(), kind.unit.clone());
    let ucum = match row {
        Some(row) => row.get("ucum_code").to_owned(),
        None if bare == kind.unit || bare == kind.ucum => return Ok(canonical()),
        None if fhir::ucum::validate(&bare).is_ok() => bare.clone(),
        None => return Err(Problem::Unit),
    };
    if ucum.is_empty() {
        // A unit that UCUM does not have: kept as text.
        return Ok((String::new(), bare));
    }
    if ucum == kind.ucum {
        return Ok(canonical());
    }
    if ucum == "1" {
        let counted = kind.ucum.starts_with('{') || matches!(kind.ucum.as_str(), "kg/m2" | "%" | "");
        return if counted { Ok(canonical()) } else { Err(Problem::Unit) };
    }
    let glucose = kind.ucum == "mg/dL" && ucum == "mmol/L";
    let one = Decimal::parse("1").ok_or(Problem::Impossible)?;
    if glucose || fhir::ucum::convert(&one, &ucum, &kind.ucum).is_ok() {
        let shown = match ucum.as_str() {
            "[degF]" => "°F".to_owned(),
            _ => bare,
        };
        return Ok((ucum, shown));
    }
    Err(Problem::Unit)
}

/// HealthKit prints the molar mass inside the unit: `mmol<180.1558800000541>/L`.
fn without_molar_mass(unit: &str) -> String {
    match (unit.find('<'), unit.find('>')) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &unit[..start], &unit[end + 1..]),
        _ => unit.to_owned(),
    }
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| Table::embedded(include_str!("../../mappings/healthkit-units.csv")))
}

#[cfg(test)]
mod tests {
    use super::super::types::find;
    use super::*;

    fn of(identifier: &str, value: &str, unit: &str) -> Result<(String, Option<String>), Problem> {
        let kind = find(identifier).expect("a type");
        let unit = (!unit.is_empty()).then_some(unit);
        quantity(kind, value, unit, true).map(|it| (format!("{} {}", it.value, it.unit), it.ucum))
    }

    #[test]
    fn every_unit_of_the_table_is_ucum() {
        for row in table().rows().filter(|row| !row.get("ucum_code").is_empty()) {
            assert!(fhir::ucum::validate(row.get("ucum_code")).is_ok(), "{}", row.get("ucum_code"));
        }
    }

    #[test]
    fn percent_is_a_fraction_and_nothing_is_guessed() {
        let oxygen = "HKQuantityTypeIdentifierOxygenSaturation";
        assert_eq!(of(oxygen, "0.98", "%"), Ok(("98 %".to_owned(), Some("%".to_owned()))));
        assert_eq!(of(oxygen, "98", "%"), Err(Problem::NoFraction));
        assert_eq!(of(oxygen, "-0.1", "%"), Err(Problem::Impossible));
    }

    #[test]
    fn units_of_another_dimension_are_refused() {
        assert_eq!(of("HKQuantityTypeIdentifierHeartRate", "66", "furlong"), Err(Problem::Unit));
        assert_eq!(of("HKQuantityTypeIdentifierHeartRate", "66", "m"), Err(Problem::Unit));
        let distance = of("HKQuantityTypeIdentifierDistanceWalkingRunning", "5.1", "km");
        assert_eq!(distance, Ok(("5.1 km".to_owned(), Some("km".to_owned()))));
    }

    #[test]
    fn heights_are_in_the_units_of_the_profile() {
        let height = "HKQuantityTypeIdentifierHeight";
        assert_eq!(of(height, "1.79", "m"), Ok(("179 cm".to_owned(), Some("cm".to_owned()))));
        assert_eq!(of(height, "6", "ft"), Ok(("72 in".to_owned(), Some("[in_i]".to_owned()))));
    }
}
