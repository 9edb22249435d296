//! What must hold of an event, as conditions of SQL.
//!
//! Who sees some patients only cannot ask for others either: an event is found by what is shown of it. So each
//! condition says for itself what a view hides, and no condition is ever unknown (`NULL`): each may be negated.

use sea_orm::sea_query::{Cond, Expr, ExprTrait as _, Func, LikeExpr, Query, UnionType};
use search::view::Compartment;

use super::{id_at, is_one_of};
use crate::search::question::one_holds;

/// What must hold of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// It is one of these.
    Ids(Vec<[u8; 16]>),
    /// It happened between these instants, both included, microseconds since 1970.
    Between(i64, i64),
    /// It is about one of these patients.
    Patients(Vec<String>),
    /// It names one of these patients, or perhaps another one: what is asked besides tells which. To be looked for by
    /// indexes instead of in the whole trail.
    MayName(Vec<String>),
    /// It is about a patient.
    HasPatients,
    /// One of these apps did it.
    Client(Vec<String>),
    /// One of these accounts did it.
    Account(Vec<String>),
    /// One of these people did it, by their records.
    Record(Vec<String>),
    /// It came from one of these addresses.
    Address(Vec<String>),
    /// It came from an address that begins with this, or that has it within, without dots and colons.
    AddressPart(String, bool),
    /// It is of one of these requests.
    Request(Vec<String>),
    /// It is of a request that has a name.
    HasRequest,
    /// It touched one of these, `Type/id`.
    Entity(Vec<String>),
    /// `C`, `R`, `U`, `D`, `E`.
    Action(Vec<String>),
    /// The status lies in one of these ranges, both ends included.
    Status(Vec<(i64, i64)>),
    /// Kinds, by their numbers.
    Kind(Vec<i64>),
    /// What happened.
    Subtype(Vec<String>),
    /// All hold.
    All(Vec<Filter>),
    /// One holds; none of an empty list.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
}

impl Filter {
    /// That it was not.
    #[must_use]
    pub fn negated(self) -> Self {
        Filter::Not(Box::new(self))
    }

    pub(super) fn condition(&self, compartment: &Compartment) -> Cond {
        let seen = match compartment {
            Compartment::Everyone => None,
            Compartment::Patients(seen) => Some(seen.as_slice()),
        };
        match self {
            Filter::Ids(ids) => any(vec![Expr::col("id").is_in(ids.iter().map(|id| id.to_vec()))]),
            Filter::Between(low, high) => Cond::all()
                .add(Expr::col("id").gte(id_at(*low, [0; 8]).to_vec()))
                .add(Expr::col("id").lte(id_at(*high, [0xff; 8]).to_vec())),
            Filter::Patients(asked) => about(asked.iter().filter(|it| seen.is_none_or(|seen| seen.contains(it)))),
            Filter::MayName(patients) => may_name(patients),
            Filter::HasPatients => match seen {
                None => any(vec![Expr::col("patients").ne("")]),
                Some(seen) => about(seen),
            },
            Filter::Client(clients) => stated_one_of("client", clients),
            // Which other patient it was, and from where, is not told, so it cannot be tried out either.
            Filter::Account(accounts) => stated_one_of("account", accounts).add(is_told(seen)),
            Filter::Record(records) => stated_one_of("fhir_user", records).add(is_told(seen)),
            Filter::Address(addresses) => stated_one_of("address", addresses).add(is_told(seen)),
            Filter::AddressPart(text, within) => address_has(text, *within).add(is_told(seen)),
            Filter::Request(requests) => stated_one_of("request", requests),
            Filter::HasRequest => any(vec![Expr::col("request").is_not_null()]),
            Filter::Entity(references) => {
                let touched = any(references.iter().flat_map(|it| touches(it)).collect());
                Cond::all().add(touched).add(is_shown(seen))
            }
            Filter::Action(actions) => any(vec![is_one_of("action", actions)]),
            Filter::Status(ranges) => {
                any(ranges.iter().map(|(low, high)| Expr::col("status").between(*low, *high)).collect())
            }
            Filter::Kind(kinds) => any(vec![Expr::col("kind").is_in(kinds.iter().copied())]),
            Filter::Subtype(subtypes) => any(vec![is_one_of("subtype", subtypes)]),
            Filter::All(filters) if filters.is_empty() => any(vec![Expr::val(1).eq(1)]),
            Filter::All(filters) => filters.iter().fold(Cond::all(), |all, it| all.add(it.condition(compartment))),
            Filter::Or(filters) => one_holds(filters.iter().map(|it| it.condition(compartment)).collect()),
            Filter::Not(inner) => Cond::all().add(inner.condition(compartment)).not(),
        }
    }
}

fn any(expressions: Vec<Expr>) -> Cond {
    one_holds(expressions.into_iter().map(|it| Cond::all().add(it)).collect())
}

/// Of a column that may be empty.
fn stated_one_of(column: &'static str, values: &[String]) -> Cond {
    Cond::all().add(Expr::col(column).is_not_null()).add(is_one_of(column, values))
}

fn about<'a>(patients: impl IntoIterator<Item = &'a String>) -> Cond {
    let patients: Vec<String> = patients.into_iter().cloned().collect();
    let mut found = Query::select();
    found.column("id").from("audit_patient").and_where(is_one_of("patient", &patients));
    any(vec![Expr::col("id").in_subquery(found)])
}

/// It is about one of these patients, done by one of them, or one of the events that name a patient otherwise.
fn may_name(patients: &[String]) -> Cond {
    let people: Vec<String> = patients.iter().map(|patient| format!("Patient/{patient}")).collect();
    let mut found = Query::select();
    found.column("id").from("audit_patient").and_where(is_one_of("patient", patients));
    let events = |condition: Cond| Query::select().column("id").from("audit_event").cond_where(condition).take();
    found.union(UnionType::All, events(stated_one_of("fhir_user", &people)));
    found.union(UnionType::All, events(Cond::all().add(Expr::cust(migrations::NAMES_OTHERS))));
    any(vec![Expr::col("id").in_subquery(found)])
}

/// Whether the person is no patient, or one of these.
fn is_told(seen: Option<&[String]>) -> Cond {
    let Some(seen) = seen else { return Cond::all().add(Expr::val(1).eq(1)) };
    let own: Vec<String> = seen.iter().map(|patient| format!("Patient/{patient}")).collect();
    let person = || Expr::col("fhir_user");
    Cond::any().add(person().is_null()).add(person().not_like("Patient/%")).add(is_one_of("fhir_user", &own))
}

/// Whether what was touched is shown: one thing, of patients that are all seen.
fn is_shown(seen: Option<&[String]>) -> Cond {
    let Some(seen) = seen else { return Cond::all().add(Expr::val(1).eq(1)) };
    let is_one = Expr::col("entities").not_like("%\n%\n%");
    if let [only] = seen {
        return Cond::all().add(is_one).add(Expr::col("patients").eq(only.as_str()));
    }
    let mut own = Query::select();
    own.expr(Expr::col("patient").count()).from("audit_patient").and_where(is_one_of("patient", seen));
    own.and_where(Expr::col(("audit_patient", "id")).equals(("audit_event", "id")));
    let length = |text: Expr| Expr::from(Func::cust("LENGTH").arg(text));
    let without_spaces = Func::cust("REPLACE").arg(Expr::col("patients")).arg(" ").arg("");
    let all = length(Expr::col("patients")).sub(length(without_spaces.into())).add(1_i64);
    Cond::all().add(is_one).add(Expr::SubQuery(None, Box::new(own.into())).eq(all))
}

fn address_has(text: &str, within: bool) -> Cond {
    let mut pattern = if within { "%".to_owned() } else { String::new() };
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    let dotless = Func::cust("REPLACE").arg(Expr::col("address")).arg(".").arg("");
    let bare: Expr = Func::cust("REPLACE").arg(dotless).arg(":").arg("").into();
    Cond::all().add(Expr::col("address").is_not_null()).add(bare.like(LikeExpr::new(pattern).escape('\\')))
}

/// Whether a resource stands among what was touched, in a line such as `R200 Type/id/_history/1`; ids have no letter that
/// a pattern would read otherwise.
fn touches(reference: &str) -> impl Iterator<Item = Expr> {
    let patterns = ["____ {}\n%", "____ {}/\\_history/%", "%\n____ {}\n%", "%\n____ {}/\\_history/%"];
    patterns
        .into_iter()
        .map(move |pattern| Expr::col("entities").like(LikeExpr::new(pattern.replace("{}", reference)).escape('\\')))
}

#[cfg(test)]
mod tests {
    use sea_orm::sea_query::{Order, SqliteQueryBuilder};

    use super::*;

    #[test]
    fn co_09_whom_events_name_is_not_looked_for_in_the_whole_trail() {
        let connection = rusqlite::Connection::open_in_memory().expect("a database");
        let tables = format!(
            "CREATE TABLE audit_event (id BLOB PRIMARY KEY, subtype TEXT, status INTEGER, fhir_user TEXT, patients TEXT, \
             entities TEXT) WITHOUT ROWID; CREATE TABLE audit_patient (patient TEXT, id BLOB, PRIMARY KEY (patient, id)) \
             WITHOUT ROWID; CREATE INDEX by_person ON audit_event (fhir_user, id) WHERE fhir_user IS NOT NULL; \
             CREATE INDEX of_others ON audit_event (id) WHERE {};",
            migrations::NAMES_OTHERS
        );
        connection.execute_batch(&tables).expect("tables");
        let patients = || vec!["a".to_owned(), "b".to_owned()];
        let names: Vec<String> = patients().iter().map(|patient| format!("Patient/{patient}")).collect();
        let exactly = Filter::Or(vec![
            Filter::Record(names.clone()),
            Filter::Entity(names.clone()),
            Filter::Patients(patients()),
        ]);
        for filter in [Filter::All(vec![Filter::MayName(patients()), exactly]), Filter::Record(names)] {
            let mut found = Query::select();
            found.column("id").from("audit_event").cond_where(filter.condition(&Compartment::Everyone));
            let statement = found.order_by("id", Order::Desc).limit(51).to_string(SqliteQueryBuilder);
            let steps = crate::sqlite::plan_of(&connection, &statement);
            let is_whole = |step: &String| step.starts_with("SCAN audit_event") && !step.contains("of_others");
            assert!(!steps.iter().any(is_whole), "{statement}: {steps:#?}");
        }
    }
}
