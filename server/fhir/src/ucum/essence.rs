//! UCUM's own table of prefixes and units. <https://ucum.org/ucum#section-Tables-of-Terminal-Symbols>

use std::collections::HashMap;
use std::sync::OnceLock;

use num_rational::BigRational;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::number;
use super::unit::Unit;
use crate::decimal::Decimal;

/// The table.
#[derive(Default)]
pub(super) struct Essence {
    prefixes: Vec<Prefix>,
    atoms: Vec<Atom>,
    by_code: HashMap<String, usize>,
}

/// `m`, `Ki`
#[derive(Default)]
pub(super) struct Prefix {
    pub(super) code: String,
    pub(super) name: String,
    pub(super) factor: BigRational,
}

/// A unit without prefix and exponent.
#[derive(Default)]
pub(super) struct Atom {
    pub(super) code: String,
    pub(super) name: String,
    /// Whether it takes prefixes.
    pub(super) metric: bool,
    /// Stands for itself: does not convert into anything else.
    arbitrary: bool,
    pub(super) definition: Definition,
    /// The definition followed down to base units, when first asked for.
    pub(super) unit: OnceLock<Unit>,
}

/// What a unit is.
#[derive(Default)]
pub(super) enum Definition {
    /// One of the seven base units, or an arbitrary one, which is a base unit of its own.
    #[default]
    Base,
    /// So many of another unit.
    Multiple(BigRational, String),
    /// A function of so many of another unit.
    Function(String, BigRational, String),
}

/// The table, read when first asked for.
pub(super) fn essence() -> &'static Essence {
    static ESSENCE: OnceLock<Essence> = OnceLock::new();
    ESSENCE.get_or_init(|| read(&profiles::ucum_essence()))
}

impl Essence {
    /// The unit with exactly this code.
    pub(super) fn atom(&self, code: &str) -> Option<&Atom> {
        self.by_code.get(code).map(|index| &self.atoms[*index])
    }

    pub(super) fn atoms(&self) -> &[Atom] {
        &self.atoms
    }

    /// The ways to read `symbol` as a prefix before something, longest prefix first.
    pub(super) fn split<'e, 's>(&'e self, symbol: &'s str) -> impl Iterator<Item = (&'e Prefix, &'s str)> {
        let mut found: Vec<_> =
            self.prefixes.iter().filter_map(|prefix| Some((prefix, symbol.strip_prefix(&*prefix.code)?))).collect();
        found.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.code.len()));
        found.into_iter()
    }
}

fn read(text: &str) -> Essence {
    let mut reader = Reader::from_str(text);
    let mut essence = Essence::default();
    let (mut prefix, mut atom) = (None, None);
    let mut name = None;
    loop {
        match reader.read_event().expect("the embedded table is well formed, a test reads it") {
            Event::Start(start) | Event::Empty(start) => match start.name().as_ref() {
                "prefix" => prefix = Some(Prefix { code: attribute(&start, "Code"), ..Prefix::default() }),
                "base-unit" | "unit" => atom = Some(started(&start)),
                "name" => name = Some(String::new()),
                "value" | "function" => match (&mut prefix, &mut atom) {
                    (Some(prefix), _) => prefix.factor = value(&start),
                    (_, Some(atom)) => define(atom, &start),
                    _ => {}
                },
                _ => {}
            },
            Event::Text(part) => {
                if let Some(name) = &mut name {
                    name.push_str(&part);
                }
            }
            Event::GeneralRef(entity) => {
                let character = entity.resolve_char_ref().ok().flatten();
                if let Some(name) = &mut name {
                    name.extend(character);
                }
            }
            Event::End(end) => match end.name().as_ref() {
                "name" => {
                    let name = name.take().unwrap_or_default();
                    if let Some(prefix) = &mut prefix {
                        prefix.name = name;
                    } else if let Some(atom) = &mut atom {
                        atom.name = name;
                    }
                }
                "prefix" => essence.prefixes.extend(prefix.take()),
                "base-unit" | "unit" => essence.atoms.extend(atom.take()),
                _ => {}
            },
            Event::Eof => break,
            _ => {}
        }
    }
    essence.by_code = essence.atoms.iter().enumerate().map(|(index, atom)| (atom.code.clone(), index)).collect();
    essence
}

fn started(start: &BytesStart<'_>) -> Atom {
    Atom {
        code: attribute(start, "Code"),
        metric: start.name().as_ref() == "base-unit" || attribute(start, "isMetric") == "yes",
        arbitrary: attribute(start, "isArbitrary") == "yes",
        ..Atom::default()
    }
}

/// Takes the definition from `<value Unit="…" value="…"/>`, or from the `<function …/>` within it.
fn define(atom: &mut Atom, start: &BytesStart<'_>) {
    let unit = attribute(start, "Unit");
    if start.name().as_ref() == "function" {
        atom.definition = Definition::Function(attribute(start, "name"), value(start), unit);
    } else if !(atom.arbitrary && unit == "1") {
        // Of the value around a function nothing is kept: the function follows.
        atom.definition = Definition::Multiple(value(start), unit);
    }
}

fn value(start: &BytesStart<'_>) -> BigRational {
    Decimal::parse(&attribute(start, "value")).map(|value| number::fraction(&value)).unwrap_or_default()
}

fn attribute(start: &BytesStart<'_>, name: &str) -> String {
    let found = start.attributes().flatten().find(|attribute| attribute.key.as_ref() == name);
    let value = found.and_then(|found| found.normalized_value(XmlVersion::Explicit1_0).map(String::from).ok());
    value.unwrap_or_default()
}
