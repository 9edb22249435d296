//! Which readings are vital signs, and what their R4 profiles ask of them.
//! <https://hl7.org/fhir/R4/observation-vitalsigns.html>

use super::code::Code;

/// A vital sign: its LOINC code, its profile, and the units that the profile takes.
#[derive(Debug)]
pub(super) struct Vital {
    /// The code that the profile asks for.
    pub(super) loinc: &'static str,
    /// Name of the profile.
    pub(super) profile: &'static str,
    /// UCUM codes of its value; none if its parts have the values.
    pub(super) units: &'static [&'static str],
}

/// Codes that tell a vital sign beside the one that its profile asks for.
const ALIASES: [(&str, &str); 3] = [("59408-5", "2708-6"), ("3141-9", "29463-7"), ("8331-1", "8310-5")];

/// Units of any value inside of a vital sign. <https://hl7.org/fhir/R4/valueset-ucum-vitals-common.html>
pub(super) const UNITS: &[&str] =
    &["%", "cm", "[in_i]", "kg", "g", "[lb_av]", "Cel", "[degF]", "mm[Hg]", "/min", "kg/m2", "m2"];

/// The parts of a blood pressure.
pub(super) const PRESSURES: [&str; 2] = ["8480-6", "8462-4"];

/// Unit of a pressure.
pub(super) const PRESSURE_UNIT: &str = "mm[Hg]";

const VITALS: [Vital; 9] = [
    Vital { loinc: "85354-9", profile: "bp", units: &[] },
    Vital { loinc: "8867-4", profile: "heartrate", units: &["/min"] },
    Vital { loinc: "9279-1", profile: "resprate", units: &["/min"] },
    Vital { loinc: "2708-6", profile: "oxygensat", units: &["%"] },
    Vital { loinc: "8310-5", profile: "bodytemp", units: &["Cel", "[degF]"] },
    Vital { loinc: "8302-2", profile: "bodyheight", units: &["cm", "[in_i]"] },
    Vital { loinc: "9843-4", profile: "headcircum", units: &["cm", "[in_i]"] },
    Vital { loinc: "29463-7", profile: "bodyweight", units: &["g", "kg", "[lb_av]"] },
    Vital { loinc: "39156-5", profile: "bmi", units: &["kg/m2"] },
];

/// The vital sign that one of the codes tells.
pub(super) fn of<'c>(mut codes: impl Iterator<Item = &'c Code>) -> Option<&'static Vital> {
    codes.find_map(|code| {
        let told = ALIASES.iter().find(|(alias, _)| code.is_loinc(alias)).map(|(_, loinc)| *loinc);
        VITALS.iter().find(|vital| code.is_loinc(vital.loinc) || told == Some(vital.loinc))
    })
}
