//! Generated searches are well formed, the same for the same seed, and find something.

use super::*;
use crate::examples::examples;
use crate::parse::{Options, parse, parse_types};

const BASE: &str = "http://server/fhir";

#[test]
fn all_parse_and_repeat() {
    let Some(examples) = examples("all_parse_and_repeat") else { return };
    let resources: Vec<&Json> = examples.iter().collect();
    let options = Options { base: BASE.to_owned(), default_count: 10, max_count: 50, lenient: false, now: 0 };
    let draw = |seed| Generator::new(&resources, BASE, seed).take(2000).collect::<Vec<_>>();
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    let mut refused = Vec::new();
    for generated in draw(7) {
        let parsed = match &generated.place {
            Place::Type(name) => parse(name, &generated.pairs, &options).map(drop),
            Place::Types(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                parse_types(&names, &generated.pairs, &options).map(drop)
            }
            Place::Compartment { .. } => Ok(()),
        };
        if let Err(issues) = parsed {
            refused.push(format!("{:?}: {:?}", generated.pairs, issues[0].diagnostics));
        }
    }
    assert!(refused.len() <= 100, "{} of 2000 are refused: {:#?}", refused.len(), &refused[..30]);
}
