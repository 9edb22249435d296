//! What the oracle says about a search, before any server is asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use fhir::definitions::resource_types;
use fhir::json::Json;
use search::generate::{Generated, Place};
use search::oracle::{Row, Sight, World};
use search::parse::{self, Options};
use search::query::Query;
use search::view::TypeRule;
use search::{compartment, contained};

use crate::BASE;
use crate::views::Scoped;

/// Pages that are followed; with small pages that is enough to see the seams between them.
const PAGES: usize = 4;

/// Page size of the server where none is asked for.
const DEFAULT_COUNT: usize = 50;

/// A search and its answer.
pub(crate) struct Question {
    pub(crate) generated: Generated,
    /// Who asks: the scope, and its place among the views.
    pub(crate) view: String,
    pub(crate) token: usize,
    /// One a server: they agree but for instants, and with them the order by `_lastUpdated`.
    pub(crate) expected: Vec<Arc<Expected>>,
}

/// What must come.
pub(crate) enum Expected {
    /// 400 or 404: the search cannot be read, or 403 before that.
    Refused,
    /// 403: the view does not hold the type, or one of the types, at all.
    Denied,
    /// 200.
    Pages {
        /// The first ones.
        pages: Vec<Page>,
        /// Matches on all pages, where that was asked.
        total: Option<usize>,
        /// Whether there are more pages.
        more: bool,
    },
}

/// `Type/id` of what stands on one page, `Type/id#id` of contained resources.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) matches: Vec<String>,
    pub(crate) included: BTreeSet<String>,
}

/// Knows the answers.
pub(crate) struct Oracle<'a> {
    /// One a server.
    worlds: Vec<(Vec<Row<'a>>, World<'a>)>,
    views: &'a [Scoped],
}

/// Resources in the order they came, which is the order of row ids, and when each came.
pub(crate) type Stored = [(Json, i64)];

impl Question {
    pub(crate) fn is_refused(&self) -> bool {
        self.expected.iter().any(|it| matches!(**it, Expected::Refused))
    }
}

impl<'a> Oracle<'a> {
    /// Of what each server has stored.
    pub(crate) fn new(servers: &[&'a Stored], views: &'a [Scoped]) -> Self {
        let row = |(rid, (resource, updated)): (i64, &'a (Json, i64))| Row { rid, resource, last_updated: *updated };
        let worlds = servers.iter().map(|stored| {
            let rows: Vec<Row<'_>> = (0..).zip(*stored).map(row).collect();
            let world = World::new(&rows, BASE);
            (rows, world)
        });
        Oracle { worlds: worlds.collect(), views }
    }

    /// The answers to these searches, each through one of the views.
    pub(crate) fn questions<'q>(&'q self, queries: &'q [Generated]) -> impl Iterator<Item = Question> + 'q {
        let through = |world: &'q World<'a>| self.views.iter().map(|it| world.through(&it.view)).collect();
        let sights: Vec<Vec<Sight<'_, '_>>> = self.worlds.iter().map(|(_, world)| through(world)).collect();
        queries.iter().enumerate().map(move |(number, generated)| {
            // Every other search sees all.
            let token = if number % 2 == 0 { 0 } else { number / 2 % self.views.len() };
            let of = |server: usize| Arc::new(self.expected(generated, token, server, &sights[server][token]));
            let first = of(0);
            let depends = generated.pairs.iter().any(|(name, value)| name == "_sort" && value.contains("_lastUpdated"));
            let others = (1..sights.len()).map(|server| if depends { of(server) } else { Arc::clone(&first) });
            let expected = [Arc::clone(&first)].into_iter().chain(others).collect();
            Question { generated: generated.clone(), view: self.views[token].scope.clone(), token, expected }
        })
    }

    fn expected(&self, generated: &Generated, token: usize, server: usize, sight: &Sight<'_, '_>) -> Expected {
        let Some(mut queries) = self.queries(generated) else { return Expected::Refused };
        let view = &self.views[token].view;
        for contained in queries.iter_mut().filter_map(|query| query.contained.as_mut()) {
            let visible = resource_types().iter().filter(|name| *view.rule(name) != TypeRule::Denied);
            contained.containers = visible.cloned().collect();
        }
        let is_denied = |query: &Query| *view.rule(&query.resource_type) == TypeRule::Denied;
        let Some(first) = queries.first().filter(|_| !queries.iter().any(is_denied)) else { return Expected::Denied };
        let answer = sight.answer_types(&queries);
        let count = first.count.max(1);
        let matches = if first.count == 0 { &[][..] } else { &answer.matches };
        let name = |rid: &i64| self.name(server, *rid);
        let pages = matches.chunks(count).take(PAGES).map(|page| Page {
            matches: page.iter().map(name).collect(),
            included: sight.included(&queries, page).iter().map(name).collect(),
        });
        let (pages, more) = (pages.collect(), matches.len() > PAGES * count);
        Expected::Pages { pages, total: first.total.then_some(answer.total), more }
    }

    /// One query a type; none where the search cannot be read.
    fn queries(&self, generated: &Generated) -> Option<Vec<Query>> {
        // Newer than all rows, and the same for both engines as far as dates of the data go.
        let now = self.worlds[0].0.last().map_or(0, |row| row.last_updated);
        let options =
            Options { base: BASE.to_owned(), default_count: DEFAULT_COUNT, max_count: 1000, lenient: false, now };
        match &generated.place {
            Place::Type(name) => Some(vec![parse::parse(name, &generated.pairs, &options).ok()?.query]),
            Place::Types(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                Some(parse::parse_types(&names, &generated.pairs, &options).ok()?.queries)
            }
            Place::Compartment { resource_type, id, searched } => {
                let searched = searched.as_deref()?;
                let mut query = parse::parse(searched, &generated.pairs, &options).ok()?.query;
                query.filters.push(compartment::filter(resource_type, id, searched)?);
                Some(vec![query])
            }
        }
    }

    fn name(&self, server: usize, rid: i64) -> String {
        let row = |rid: i64| usize::try_from(rid).ok().and_then(|index| self.worlds[server].0.get(index));
        if let Some((rid, place)) = contained::container(rid) {
            let inside = row(rid).and_then(|row| row.resource.list("contained").get(place));
            let id = inside.and_then(|inside| inside.str("id")).unwrap_or_default();
            return format!("{}#{id}", self.name(server, rid));
        }
        row(rid).map_or_else(|| "?".to_owned(), |row| name(row.resource))
    }
}

/// `Type/id`.
pub(crate) fn name(resource: &Json) -> String {
    format!("{}/{}", resource.str("resourceType").unwrap_or("?"), resource.str("id").unwrap_or("?"))
}
