//! Types as expressions name them. <http://hl7.org/fhirpath/N1/#types-and-reflection>

use crate::definitions::{self, Kind, TypeDefinition};

/// A type of FHIR.
pub(super) type FhirType = &'static TypeDefinition;

/// The types of FHIRPath itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SystemType {
    Boolean,
    Integer,
    Decimal,
    String,
    Date,
    DateTime,
    Time,
    Quantity,
    Any,
}

/// A type as an expression names it; `Quantity` alone may be either.
#[derive(Clone, Debug)]
pub(super) struct TypeSpecifier {
    pub(super) fhir: Option<FhirType>,
    pub(super) system: Option<SystemType>,
}

impl TypeSpecifier {
    /// Resolves a name; a name without namespace must be known, with one it may match nothing.
    pub(super) fn resolve(namespace: Option<&str>, name: &str) -> Option<TypeSpecifier> {
        let fhir = (namespace != Some("System")).then(|| definitions::r4().get(name)).flatten();
        let system = match namespace {
            Some("FHIR") => None,
            // R4 writes `System.string`, too.
            Some(_) => SystemType::of(&capitalised(name)),
            None => SystemType::of(name),
        };
        let known = fhir.is_some() || system.is_some() || namespace.is_some();
        known.then_some(TypeSpecifier { fhir, system })
    }
}

impl SystemType {
    pub(super) fn name(self) -> &'static str {
        &self.qualified_name()["System.".len()..]
    }

    pub(super) fn qualified_name(self) -> &'static str {
        match self {
            SystemType::Boolean => "System.Boolean",
            SystemType::Integer => "System.Integer",
            SystemType::Decimal => "System.Decimal",
            SystemType::String => "System.String",
            SystemType::Date => "System.Date",
            SystemType::DateTime => "System.DateTime",
            SystemType::Time => "System.Time",
            SystemType::Quantity => "System.Quantity",
            SystemType::Any => "System.Any",
        }
    }

    fn of(name: &str) -> Option<SystemType> {
        use SystemType as T;
        [T::Boolean, T::Integer, T::Decimal, T::String, T::Date, T::DateTime, T::Time, T::Quantity, T::Any]
            .into_iter()
            .find(|system| system.name() == name)
    }
}

fn capitalised(name: &str) -> String {
    let mut name = name.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    name
}

/// Whether `fhir_type` is `ancestor` or specialises it.
pub(super) fn is_subtype(fhir_type: FhirType, ancestor: FhirType) -> bool {
    if std::ptr::eq(fhir_type, ancestor) {
        return true;
    }
    if (ancestor.kind == Kind::Resource) != (fhir_type.kind == Kind::Resource) {
        return false;
    }
    // Most questions are answered without looking for the types between: is it a resource, and of which type.
    if ancestor.kind == Kind::Resource && (ancestor.base.is_none() || !ancestor.abstract_) {
        return ancestor.base.is_none();
    }
    definitions::r4().is_subtype(&fhir_type.name, &ancestor.name)
}
