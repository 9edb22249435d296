//! HL7's FHIR R4 definitions as data, embedded compressed. <https://hl7.org/fhir/R4/downloads.html>
//!
//! The vendored files stay as HL7 published them; what we correct stands in `profiles/overlay/` with a reason each and
//! is applied whenever a text is read, so that every reader sees the same definitions.

use std::io::Read as _;

mod overlay;

macro_rules! definitions {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $(
            $(#[$doc])*
            pub fn $name() -> String {
                text($file, include_bytes!(concat!("../vendor/hl7.fhir.r4#4.0.1/", $file, ".ndjson.gz")))
            }
        )*

        /// Every embedded file by name, with its reader.
        #[cfg(test)]
        const FILES: &[(&str, fn() -> String)] = &[$(($file, $name)),*];
    };
}

definitions! {
    /// The `CapabilityStatement` resources of the specification, one a line.
    capability_statements = "capabilitystatements-base";
    /// The `CodeSystem` resources of FHIR itself, one a line.
    code_systems_r4 = "codesystems-r4";
    /// The `CodeSystem` resources of HL7 v2, one a line.
    code_systems_v2 = "codesystems-v2";
    /// The `CodeSystem` resources of HL7 v3, one a line.
    code_systems_v3 = "codesystems-v3";
    /// The five `CompartmentDefinition` resources with our additions, one a line.
    compartments = "compartmentdefinitions";
    /// The `ConceptMap` resources, one a line.
    concept_maps = "conceptmaps";
    /// The `NamingSystem` resources, one a line.
    naming_systems = "namingsystems";
    /// The `OperationDefinition` resources, one a line.
    operation_definitions = "operationdefinitions";
    /// The 1,375 `SearchParameter` resources of the specification, one a line.
    search_parameters = "searchparameters";
    /// `SearchParameter` resources on extensions: most lack a base or a usable expression, so that no one serves them.
    search_parameters_extensions = "searchparameters-extensions-incomplete";
    /// The `StructureDefinition` resources of the extensions in the specification, one a line.
    structure_definitions_extensions = "structuredefinitions-extensions";
    /// The `StructureDefinition` resources of the profiles in the specification, one a line.
    structure_definitions_profiles = "structuredefinitions-profiles";
    /// The `StructureDefinition` resources of all resource types, one a line.
    structure_definitions_resources = "structuredefinitions-resources";
    /// The `StructureDefinition` resources of all data types, one a line.
    structure_definitions_types = "structuredefinitions-types";
    /// The `ValueSet` resources that HL7 published expanded, one a line.
    value_set_expansions = "valueset-expansions";
    /// The `ValueSet` resources of FHIR itself, one a line.
    value_sets_r4 = "valuesets-r4";
    /// The `ValueSet` resources of HL7 v2, one a line.
    value_sets_v2 = "valuesets-v2";
    /// The `ValueSet` resources of HL7 v3, one a line.
    value_sets_v3 = "valuesets-v3";
}

/// Our own `SearchParameter` resources beside HL7's, one a line: what membership of compartments is made of where R4 has
/// no parameter for it.
pub fn own_search_parameters() -> &'static str {
    include_str!("../overlay/searchparameters.ndjson")
}

/// UCUM's table of units, version 2.2, unmodified: `vendor/ucum#2.2/README.md`. <https://ucum.org>
pub fn ucum_essence() -> String {
    inflate(include_bytes!("../vendor/ucum#2.2/ucum-essence-2.2.xml.gz"))
}

fn text(file: &str, compressed: &[u8]) -> String {
    overlay::apply(file, inflate(compressed))
}

fn inflate(compressed: &[u8]) -> String {
    let size = compressed.last_chunk::<4>().map_or(0, |size| u32::from_le_bytes(*size) as usize);
    let mut text = String::with_capacity(size);
    flate2::read::GzDecoder::new(compressed)
        .read_to_string(&mut text)
        .expect("the embedded files are valid, a test reads each");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};
    use std::fmt::Write as _;
    use std::path::Path;

    #[test]
    fn every_vendored_file_is_embedded_and_has_its_checksum() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vendor/hl7.fhir.r4#4.0.1");
        let checksums = std::fs::read_to_string(folder.join("checksums.txt")).unwrap();
        assert_eq!(checksums.lines().count(), FILES.len());
        for (file, _) in FILES {
            let name = format!("{file}.ndjson.gz");
            assert!(checksums.lines().any(|line| line == checksum(&folder, &name)), "{name}");
        }
    }

    #[test]
    fn ucum_is_as_published() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vendor/ucum#2.2");
        let checksums = std::fs::read_to_string(folder.join("checksums.txt")).unwrap();
        let found = ["UCUM-LICENSE.md", "ucum-essence-2.2.xml.gz"].map(|name| checksum(&folder, name));
        assert_eq!(checksums.lines().collect::<Vec<_>>(), found);
        assert!(ucum_essence().contains("version=\"2.2\""));
    }

    /// The line of `checksums.txt` that the file deserves.
    fn checksum(folder: &Path, name: &str) -> String {
        let digest = Sha256::digest(std::fs::read(folder.join(name)).unwrap());
        let hex = digest.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        format!("{hex}  {name}")
    }

    #[test]
    fn every_file_holds_one_resource_a_line() {
        for (file, read) in FILES {
            let text = read();
            assert!(!text.is_empty(), "{file}");
            for line in text.lines() {
                assert!(line.starts_with('{') && line.ends_with('}'), "{file}");
                assert!(line.contains("\"resourceType\":\""), "{file}");
            }
        }
    }

    #[test]
    fn a_device_with_a_patient_belongs_to_that_patients_compartment() {
        let text = compartments();
        let patient = text.lines().find(|line| line.contains("\"id\":\"patient\"")).unwrap();
        assert!(patient.contains(r#"{"code":"Device","param":["patient"]}"#));
        assert!(patient.contains(r#"{"code":"Binary","param":["security-context"]}"#), "LK-34");
        assert_eq!(text.matches(r#"{"code":"Device"}"#).count(), 4, "the other compartments are untouched");
    }
}
