//! Paths of a mapping file: `header.id`, `readings[*]`, `^.patient`, `/batch.id`, `a.b | a.c`.
//!
//! ```text
//! path   = way ("|" way)*                       the first way that leads to something counts
//! way    = "." | origin? step ("." step)*
//! origin = "/" the document | "^"+ "." so many lists further out | nothing: the item itself
//! step   = (name | '"' any name '"') ("[" digits "]" | "[*]")*
//! ```
//!
//! A path leads over members and items only: there is nothing in it that could take long.

use std::fmt::Write as _;

use fhir::json::Json;

/// Ways of one path at most.
const MAX_WAYS: usize = 8;

/// Steps of one way at most.
const MAX_STEPS: usize = 32;

/// Longest path in bytes.
const MAX_LENGTH: usize = 500;

/// A path: several ways to the same thing.
#[derive(Clone, Debug)]
pub(super) struct Path {
    ways: Vec<Way>,
    /// As the file writes it.
    written: String,
}

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Item,
    Document,
    /// So many lists further out.
    Outer(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    origin: Origin,
    steps: Vec<Step>,
}

/// One step of a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To the member of this name.
    Member(String),
    /// To the item of this number, from 0.
    Item(usize),
    /// To each item.
    Each,
}

/// One item of a document, and what it stands in.
#[derive(Clone, Debug)]
pub(super) struct Scope<'a> {
    /// The whole document.
    pub(super) document: &'a Json,
    /// The item itself.
    pub(super) item: &'a Json,
    /// The document, and the items of the lists around the one that it is in, from the outside; with how much of `place`
    /// is theirs.
    outer: Vec<(&'a Json, usize)>,
    /// Where it stands, for messages: `readings[3]`; empty for the document.
    pub(super) place: String,
}

impl<'a> Scope<'a> {
    /// The document as its own only item.
    pub(super) fn whole(document: &'a Json) -> Self {
        Scope { document, item: document, outer: Vec::new(), place: String::new() }
    }

    /// An item of a document that is a list.
    pub(super) fn of_list(document: &'a Json, index: usize, item: &'a Json) -> Self {
        Scope { document, item, outer: Vec::new(), place: format!("[{index}]") }
    }
}

impl PartialEq for Path {
    /// However they are written.
    fn eq(&self, other: &Self) -> bool {
        self.ways == other.ways
    }
}

impl Eq for Path {}

impl Path {
    /// Reads a path; the reason why it is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("a path has {MAX_LENGTH} characters at most"));
        }
        let ways = split(text, '|').into_iter().map(way).collect::<Result<Vec<_>, _>>()?;
        if ways.len() > MAX_WAYS {
            return Err(format!("a path has {MAX_WAYS} ways at most"));
        }
        Ok(Path { ways, written: text.to_owned() })
    }

    /// The same from the top of a message, where a path of an item begins at the item.
    pub(super) fn at_top(mut self) -> Self {
        self.ways.iter_mut().for_each(|way| way.origin = Origin::Item);
        self
    }

    /// As the file writes it.
    pub(super) fn written(&self) -> &str {
        &self.written
    }

    /// Whether it has several ways.
    pub(super) fn is_choice(&self) -> bool {
        self.ways.len() > 1
    }

    /// Whether it leads to many things: has `[*]` in it.
    pub(super) fn is_many(&self) -> bool {
        self.ways.iter().any(|way| way.steps.contains(&Step::Each))
    }

    /// Lists further out that it speaks of.
    pub(super) fn reach(&self) -> usize {
        let reach = |way: &Way| match way.origin {
            Origin::Outer(levels) => levels,
            Origin::Item | Origin::Document => 0,
        };
        self.ways.iter().map(reach).max().unwrap_or_default()
    }

    /// Lists that the items it leads to are in.
    pub(super) fn depth(&self) -> usize {
        let lists = |way: &Way| way.steps.iter().filter(|step| **step == Step::Each).count();
        self.ways.iter().map(lists).min().unwrap_or_default()
    }

    /// What it leads to; nothing if it is not there, or null.
    pub(super) fn get<'a>(&self, scope: &Scope<'a>) -> Option<&'a Json> {
        self.ways.iter().find_map(|way| way.get(scope))
    }

    /// What it leads to as text: texts without white space around them, numbers and truth values as they are written.
    pub(super) fn text(&self, scope: &Scope<'_>) -> Option<String> {
        self.ways.iter().find_map(|way| text(way.get(scope)?))
    }

    /// Where in the message that is; where it would be first, if it is not there.
    pub(super) fn place(&self, scope: &Scope<'_>) -> String {
        let way = self.ways.iter().find(|way| way.get(scope).is_some()).or(self.ways.first());
        way.map_or_else(|| scope.place.clone(), |way| way.place(scope))
    }

    /// The ways of items that this path leads to, as steps from the top of a message.
    pub(super) fn steps_to_items(&self) -> impl Iterator<Item = &[Step]> {
        self.ways.iter().map(|way| way.steps.as_slice())
    }

    /// The steps from the top of a message to what this path says of the items at the end of `list`.
    pub(super) fn within<'p>(&'p self, list: &'p [Step]) -> impl Iterator<Item = Vec<Step>> + 'p {
        self.ways.iter().map(|way| {
            let around = match way.origin {
                Origin::Document => &[][..],
                Origin::Item => list,
                Origin::Outer(levels) => outer_list(list, levels),
            };
            [around, &way.steps[..]].concat()
        })
    }

    /// The items that it leads to in a document, up to one more than `most`; nothing if none of its ways is there.
    pub(super) fn items<'a>(&self, document: &'a Json, most: usize) -> Option<Vec<Scope<'a>>> {
        self.ways.iter().find_map(|way| {
            let mut found = Vec::new();
            Way::spread(Scope::whole(document), (document, 0), &way.steps, most, &mut found).then_some(found)
        })
    }
}

impl Way {
    fn get<'a>(&self, scope: &Scope<'a>) -> Option<&'a Json> {
        let mut current = match self.origin {
            Origin::Item => scope.item,
            Origin::Document => scope.document,
            Origin::Outer(levels) => scope.outer.get(scope.outer.len().checked_sub(levels)?)?.0,
        };
        for step in &self.steps {
            current = follow(current, step)?;
        }
        (*current != Json::Null).then_some(current)
    }

    fn place(&self, scope: &Scope<'_>) -> String {
        let outer = |levels: usize| scope.outer.get(scope.outer.len().checked_sub(levels)?);
        let mut place = match self.origin {
            Origin::Item => scope.place.clone(),
            Origin::Document => String::new(),
            Origin::Outer(levels) => outer(levels).map_or("", |(_, length)| &scope.place[..*length]).to_owned(),
        };
        for step in &self.steps {
            extend(&mut place, step);
        }
        place
    }

    /// Collects the items behind `steps`; says whether the lists on the way are there. `around` is the item of the list
    /// that `scope` is in, or the document, and how much of the place is its.
    fn spread<'a>(
        scope: Scope<'a>,
        around: (&'a Json, usize),
        steps: &[Step],
        most: usize,
        found: &mut Vec<Scope<'a>>,
    ) -> bool {
        let Some((step, rest)) = steps.split_first() else {
            if found.len() <= most {
                found.push(scope);
            }
            return true;
        };
        if *step == Step::Each {
            // What stands once in XML looks like a single item.
            let items = match scope.item {
                Json::Array(items) => items.as_slice(),
                Json::Null => &[],
                single => std::slice::from_ref(single),
            };
            for (index, item) in items.iter().enumerate().take(most.saturating_add(1)) {
                let mut inner = Scope { item, place: format!("{}[{index}]", scope.place), ..scope.clone() };
                inner.outer.push(around);
                let length = inner.place.len();
                Self::spread(inner, (item, length), rest, most, found);
            }
            return true;
        }
        let Some(item) = follow(scope.item, step) else { return false };
        let mut place = scope.place.clone();
        extend(&mut place, step);
        Self::spread(Scope { item, place, ..scope }, around, rest, most, found)
    }
}

/// The steps to the items of the list so many lists further out than `list`; none where that is the document.
fn outer_list(list: &[Step], levels: usize) -> &[Step] {
    let lists: Vec<usize> = (0..list.len()).filter(|index| list[*index] == Step::Each).collect();
    let around = lists.len().checked_sub(levels + 1).and_then(|index| lists.get(index));
    around.map_or(&[], |index| &list[..=*index])
}

/// Adds a step to a place.
pub(super) fn extend(place: &mut String, step: &Step) {
    match step {
        Step::Member(name) if place.is_empty() => place.push_str(name),
        Step::Member(name) => {
            place.push('.');
            place.push_str(name);
        }
        Step::Item(index) => {
            let _ = write!(place, "[{index}]");
        }
        Step::Each => place.push_str("[*]"),
    }
}

fn follow<'a>(current: &'a Json, step: &Step) -> Option<&'a Json> {
    match step {
        Step::Member(name) => current.get(name),
        Step::Item(index) => current.items().get(*index),
        Step::Each => None,
    }
}

/// A text or number or truth value as text; nothing if it is empty or something else.
pub(super) fn text(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(value) => Some(value.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

fn way(text: &str) -> Result<Way, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a path is empty".to_owned());
    }
    if text == "." {
        return Ok(Way { origin: Origin::Item, steps: Vec::new() });
    }
    let outer = text.bytes().take_while(|byte| *byte == b'^').count();
    let (origin, rest) = match text.strip_prefix('/') {
        Some(rest) => (Origin::Document, rest),
        None if outer > 0 => {
            let rest = &text[outer..];
            (Origin::Outer(outer), rest.strip_prefix('.').ok_or("after ^ comes a point and a name")?)
        }
        None => (Origin::Item, text),
    };
    let mut steps = Vec::new();
    // A document that is a list is entered at once: `[*]`, `/[0].id`.
    for (index, part) in split(rest, '.').into_iter().enumerate() {
        step(part, index == 0, &mut steps)?;
    }
    if steps.len() > MAX_STEPS {
        return Err(format!("a path has {MAX_STEPS} steps at most"));
    }
    Ok(Way { origin, steps })
}

fn step(part: &str, may_be_bare: bool, steps: &mut Vec<Step>) -> Result<(), String> {
    let (name, mut rest) = match part.strip_prefix('"') {
        Some(quoted) => {
            let (name, rest) =
                quoted.split_once('"').ok_or_else(|| format!("{part}: the quotation mark is not closed"))?;
            (name, rest)
        }
        None => part.split_at(part.find('[').unwrap_or(part.len())),
    };
    let is_quoted = part.starts_with('"');
    let is_plain = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-' | '@' | '#' | ':');
    if name.is_empty() && !(may_be_bare && part.starts_with('[')) {
        return Err("a name between two points is empty".to_owned());
    }
    if !is_quoted && !name.chars().all(is_plain) {
        return Err(format!("{name:?} is no name; write \"{name}\" with quotation marks if it is one"));
    }
    if !name.is_empty() {
        steps.push(Step::Member(name.to_owned()));
    }
    while !rest.is_empty() {
        let inner = rest.strip_prefix('[').and_then(|inner| inner.split_once(']'));
        let (index, behind) =
            inner.ok_or_else(|| format!("{part}: behind a name comes [*] or a number such as [0]"))?;
        steps.push(match index {
            "*" => Step::Each,
            digits => Step::Item(digits.parse().map_err(|_| format!("[{digits}] is neither [*] nor a number"))?),
        });
        rest = behind;
    }
    Ok(())
}

/// The parts between separators, but for those inside of quotation marks.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut quoted) = (Vec::new(), 0, false);
    for (index, character) in text.char_indices() {
        quoted ^= character == '"';
        if character == separator && !quoted {
            parts.push(&text[start..index]);
            start = index + character.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}
