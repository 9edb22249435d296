//! `$lastn`: the newest observations of each code. <https://hl7.org/fhir/R4/observation-operation-lastn.html>
//!
//! All search parameters of Observation are parameters of it: one of `patient` and `subject`, unless the token is of one
//! patient, and one of `code` and `category`. Observations that share a coding are of one group; those without a coding
//! are grouped by `code.text`.
//!
//! ```text
//! newest page ─▶ groups ─▶ some are full? ─ yes ─▶ search again without their codes
//!                                          └ no ──▶ next page
//! ```
//!
//! So a code that was measured a thousand times costs no more than its newest.

use std::collections::{HashMap, HashSet};

use fhir::json::Json;
use fhir::outcome::IssueCode;
use search::parse::shapes_answer;
use search::query::{Elements, Filter, Match, Query};
use search::registry::registry;
use search::view::Compartment;
use store::{SearchPage, Stored};

use super::{Invocation, invalid};
use crate::app::App;
use crate::caller::Caller;
use crate::error::Error;
use crate::rest::response::Answer;
use crate::rest::search::{Searched, prepare, write};

/// Most observations of one code.
const MAX_OF_CODE: usize = 1000;
/// Most observations of one answer.
const MAX_ANSWERED: usize = 10_000;
/// How many are looked at together.
const PAGE: usize = 500;
/// How often it is searched for one answer.
const MAX_SEARCHES: usize = 200;

/// Finds the newest of each code.
pub(super) async fn execute(app: &App, caller: &Caller, invocation: &Invocation) -> Result<Answer, Error> {
    let pairs = &invocation.input.searched;
    check(caller, pairs)?;
    let most = invocation.input.number("max").unwrap_or(1);
    if most > MAX_OF_CODE {
        return Err(invalid(IssueCode::TooCostly, format!("max is at most {MAX_OF_CODE}")));
    }
    let parsed = prepare(app, caller, "Observation", pairs, false).await?;
    let mut groups = Groups::new(most);
    collect(app, caller, parsed.query, &mut groups).await?;
    let matches = groups.into_list();
    let page = SearchPage { total: Some(matches.len() as u64), matches, ..SearchPage::default() };
    caller.saw_page(&page);
    let mut applied: Vec<_> = invocation.input.pairs().collect();
    applied.extend(pairs.iter().cloned());
    let searched = Searched {
        base: &app.config.fhir_base(),
        path: "Observation/$lastn",
        applied: &applied,
        cursor: None,
        elements: &Elements::All,
        warnings: &[],
    };
    write(&searched, &page).map(Answer::resource)
}

fn check(caller: &Caller, pairs: &[(String, String)]) -> Result<(), Error> {
    let bare = |name: &str| name.split([':', '.']).next().unwrap_or(name).to_owned();
    let has = |wanted: &[&str]| pairs.iter().any(|(name, _)| wanted.contains(&bare(name).as_str()));
    if let Some((name, _)) = pairs.iter().find(|(name, _)| shapes_answer(&bare(name))) {
        let text =
            format!("{name} has no effect on $lastn; leave it out, and say by max how many of each code you want");
        return Err(invalid(IssueCode::NotSupported, text));
    }
    let is_of_one = matches!(caller.view.compartment(), Compartment::Patients(patients) if patients.len() <= 1);
    if !is_of_one && !has(&["patient", "subject"]) {
        return Err(invalid(IssueCode::Required, "say whose observations: patient=[id] or subject=[type]/[id]"));
    }
    if !has(&["code", "category"]) {
        return Err(invalid(IssueCode::Required, "say which observations: code=… or category=…"));
    }
    Ok(())
}

async fn collect(app: &App, caller: &Caller, query: Query, groups: &mut Groups) -> Result<(), Error> {
    let param = registry().find("Observation", "code").and_then(|parameter| parameter.param());
    let param = param.ok_or_else(|| Error::internal("Observation has no parameter code"))?;
    let mut cursor = None;
    for _ in 0..MAX_SEARCHES {
        let mut query = Query { count: PAGE, cursor: cursor.take(), ..query.clone() };
        let matches: Vec<Match> = groups.full.iter().map(|(system, code)| token(system, code)).collect();
        if !matches.is_empty() {
            query.filters.push(Filter::Any { param: param.clone(), matches, negated: true });
        }
        let page = app.store.search(&caller.view, &query).await?;
        let before = groups.full.len();
        for stored in page.matches {
            groups.add(stored)?;
        }
        if groups.seen.len() > MAX_ANSWERED {
            break;
        }
        match (page.next, groups.full.len() > before) {
            (None, _) => return Ok(()),
            (Some(_), true) => {} // again from the newest, without the codes that are full
            (next, false) => cursor = next,
        }
    }
    Err(invalid(IssueCode::TooCostly, "there are too many different codes; ask for fewer by code or category"))
}

fn token(system: &str, code: &str) -> Match {
    Match::Token { system: Some(system.to_owned()), code: Some(code.to_owned()) }
}

/// System (empty for none) and code.
type Coding = (String, String);

/// The newest of each group.
struct Groups {
    most: usize,
    /// Which group a coding belongs to.
    of_coding: HashMap<Coding, usize>,
    of_text: HashMap<String, usize>,
    /// Another group that a group was joined with.
    joined: Vec<usize>,
    counts: Vec<usize>,
    /// Codings of the groups that have enough.
    full: Vec<Coding>,
    /// Ids of what was taken or passed over.
    seen: HashSet<String>,
    /// What was taken, newest first, with its group.
    taken: Vec<(usize, Stored)>,
}

impl Groups {
    fn new(most: usize) -> Self {
        Groups {
            most,
            of_coding: HashMap::new(),
            of_text: HashMap::new(),
            joined: Vec::new(),
            counts: Vec::new(),
            full: Vec::new(),
            seen: HashSet::new(),
            taken: Vec::new(),
        }
    }

    /// The next newest; one that was here before changes nothing.
    fn add(&mut self, stored: Stored) -> Result<(), Error> {
        if !self.seen.insert(stored.id.clone()) {
            return Ok(());
        }
        let observation = Json::parse(stored.body.as_bytes()).map_err(Error::internal)?;
        let code = observation.get("code");
        let codings: Vec<Coding> =
            code.map(|code| code.list("coding")).unwrap_or_default().iter().filter_map(coding).collect();
        let group = if codings.is_empty() {
            let text = code.and_then(|code| code.str("text")).unwrap_or_default().to_owned();
            let next = self.counts.len();
            let group = *self.of_text.entry(text).or_insert(next);
            self.known(group)
        } else {
            self.group_of(&codings)
        };
        if self.counts[group] < self.most {
            self.counts[group] += 1;
            self.taken.push((group, stored));
        }
        if self.counts[group] >= self.most {
            let mut full = Vec::new();
            for coding in self.of_coding.keys() {
                if self.root(self.of_coding[coding]) == group && !self.full.contains(coding) {
                    full.push(coding.clone());
                }
            }
            full.sort_unstable();
            self.full.extend(full);
        }
        Ok(())
    }

    /// The group of any of the codings; several are joined.
    fn group_of(&mut self, codings: &[Coding]) -> usize {
        let known = codings.iter().find_map(|coding| self.of_coding.get(coding).copied());
        let group = known.map_or(self.counts.len(), |group| self.root(group));
        let group = self.known(group);
        for coding in codings {
            let other = self.of_coding.insert(coding.clone(), group).map(|other| self.root(other));
            if let Some(other) = other.filter(|other| *other != group) {
                self.joined[other] = group;
                self.counts[group] += self.counts[other];
            }
        }
        group
    }

    /// The group itself, made where it is new.
    fn known(&mut self, group: usize) -> usize {
        if group == self.counts.len() {
            self.counts.push(0);
            self.joined.push(group);
        }
        group
    }

    fn root(&self, mut group: usize) -> usize {
        while self.joined[group] != group {
            group = self.joined[group];
        }
        group
    }

    /// Group by group, that of the newest first; of groups that were joined late, no more than there may be.
    fn into_list(self) -> Vec<Stored> {
        let mut order: Vec<usize> = Vec::new();
        let mut lists: HashMap<usize, Vec<Stored>> = HashMap::new();
        let roots: Vec<usize> = self.taken.iter().map(|(group, _)| self.root(*group)).collect();
        for (group, (_, stored)) in roots.into_iter().zip(self.taken) {
            if !order.contains(&group) {
                order.push(group);
            }
            let list = lists.entry(group).or_default();
            if list.len() < self.most {
                list.push(stored);
            }
        }
        order.into_iter().filter_map(|group| lists.remove(&group)).flatten().collect()
    }
}

fn coding(coding: &Json) -> Option<Coding> {
    Some((coding.str("system").unwrap_or_default().to_owned(), coding.str("code")?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir::{array, object};
    use store::Method;

    fn stored(id: &str, code: Json) -> Stored {
        let body = object! { "resourceType": "Observation", "id": id, "code": code };
        Stored {
            resource_type: "Observation".into(),
            id: id.into(),
            version: 1,
            last_updated: 0,
            deleted: false,
            body: body.to_string().into(),
            method: Method::Post,
        }
    }

    fn codes(codes: &[&str]) -> Json {
        let codings: Vec<Json> = codes.iter().map(|code| object! { "system": "s", "code": *code }).collect();
        object! { "coding": codings }
    }

    fn grouped(most: usize, given: Vec<Stored>) -> (Vec<String>, usize) {
        let mut groups = Groups::new(most);
        for stored in given {
            groups.add(stored).unwrap();
        }
        let full = groups.full.len();
        (groups.into_list().into_iter().map(|stored| stored.id).collect(), full)
    }

    #[test]
    fn newest_of_each_group() {
        let given = vec![
            stored("1", codes(&["a"])),
            stored("2", codes(&["b"])),
            stored("3", codes(&["a"])),
            stored("4", object! { "text": "x" }),
            stored("5", object! { "text": "x" }),
            stored("1", codes(&["a"])),
        ];
        assert_eq!(grouped(1, given.clone()), (vec!["1".into(), "2".into(), "4".into()], 2));
        assert_eq!(grouped(2, given).0, ["1", "3", "2", "4", "5"]);
    }

    #[test]
    fn translations_are_of_one_group() {
        let given = vec![stored("1", codes(&["a"])), stored("2", codes(&["b"])), stored("3", codes(&["a", "b"]))];
        assert_eq!(grouped(1, given.clone()).0, ["1"]);
        assert_eq!(grouped(3, given).0, ["1", "2", "3"]);
        let one = vec![stored("1", object! { "coding": array![object! { "code": "a" }] }), stored("2", codes(&["a"]))];
        assert_eq!(grouped(1, one).0, ["1", "2"], "a code without a system is another");
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        let caller = Caller::server("test");
        let of = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            check(&caller, &pairs).is_ok()
        };
        assert!(of(&[("patient", "a"), ("code", "x")]) && of(&[("subject:Patient", "a"), ("category", "x")]));
        assert!(of(&[("patient", "a"), ("code", "x"), ("_type", "Observation"), ("_tag", "x")]));
        for bad in [
            &[("patient", "a")][..],
            &[("code", "x")][..],
            &[("patient", "a"), ("code", "x"), ("_sort", "date")][..],
            &[("patient", "a"), ("code", "x"), ("_containedType", "container")][..],
            &[("patient", "a"), ("code", "x"), ("__explain", "true")][..],
            &[("patient", "a"), ("code", "x"), ("_include:iterate", "Observation:subject")][..],
        ] {
            assert!(!of(bad), "{bad:?}");
        }
    }
}
