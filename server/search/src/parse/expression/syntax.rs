//! The grammar of `_filter`. <https://hl7.org/fhir/R4/search_filter.html>
//!
//! ```text
//! filter    = factor *( ( "and" / "or" ) factor ), from left to right
//! factor    = "not" "(" filter ")" / "(" filter ")" / test
//! test      = path operator value                path = name [ "[" filter "]" ] *( "." path )
//! value     = JSON string / letters up to white space, ")" or "]"
//! ```

use fhir::json::Json;

use crate::parse::refusal::Refusal;

/// Deepest nesting of parentheses and brackets. (IN-17)
const MAX_NESTING: usize = 50;

/// Most `and`, `or` and `not` that are about each other: each turn from `and` to `or` or back is one more. What asks
/// the database calls itself for each: a build without optimizations has stack for twenty, others for a hundred. (IN-17)
const MAX_DEPTH: usize = 15;

const OPERATORS: &[&str] =
    &["eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap", "sa", "eb", "pr", "po", "ss", "sb", "in", "ni", "re"];

/// What is read.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
    Test(Test),
}

/// One comparison.
#[derive(Clone, Debug)]
pub(super) struct Test {
    /// Byte at which it begins.
    pub(super) at: usize,
    pub(super) path: Vec<Step>,
    pub(super) operator: String,
    pub(super) operator_at: usize,
    pub(super) value: String,
    pub(super) value_at: usize,
}

/// One name of a path.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) at: usize,
    pub(super) name: String,
    /// What must hold of what the name points at.
    pub(super) filter: Option<Box<Expression>>,
}

/// Reads a whole expression.
pub(super) fn parse(text: &str) -> Result<Expression, Refusal> {
    let mut reader = Reader { text, at: 0, nesting: 0 };
    let (expression, _) = reader.filter()?;
    reader.space();
    if reader.at < text.len() {
        let rest: String = text[reader.at..].chars().take(20).collect();
        return Err(refusal(reader.at, &format!("and, or or the end is expected, not {rest:?}")));
    }
    Ok(expression)
}

/// How a byte is named.
pub(super) fn place(at: usize) -> String {
    format!("_filter, byte {at}")
}

/// A refusal of what stands at a byte.
pub(super) fn refusal(at: usize, text: &str) -> Refusal {
    Refusal::invalid(format!("{}: {text}", place(at)))
}

/// What is read, and how many `and`, `or` and `not` in it are about each other.
type Deep = (Expression, usize);

struct Reader<'a> {
    text: &'a str,
    at: usize,
    nesting: usize,
}

impl Reader<'_> {
    /// "Logical expressions are evaluated left to right, with no precedence between "and" and "or"".
    fn filter(&mut self) -> Result<Deep, Refusal> {
        let (mut left, mut depth) = self.factor()?;
        loop {
            let (join, is_same): (fn(Vec<Expression>) -> Expression, _) = if self.word("and") {
                (Expression::And, matches!(left, Expression::And(_)))
            } else if self.word("or") {
                (Expression::Or, matches!(left, Expression::Or(_)))
            } else {
                return Ok((left, depth));
            };
            let (right, below) = self.factor()?;
            (left, depth) = match left {
                Expression::And(mut all) | Expression::Or(mut all) if is_same => {
                    all.push(right);
                    (join(all), depth.max(self.around(below)?))
                }
                other => (join(vec![other, right]), self.around(depth.max(below))?),
            };
        }
    }

    fn factor(&mut self) -> Result<Deep, Refusal> {
        self.space();
        let start = self.at;
        if self.word("not") {
            if !self.letter('(') {
                return Err(refusal(self.at, "behind not a ( is expected"));
            }
            let (inner, below) = self.nested(')')?;
            return Ok((Expression::Not(Box::new(inner)), self.around(below)?));
        }
        if self.letter('(') {
            return self.nested(')');
        }
        let (path, depth) = self.path()?;
        self.space();
        let operator_at = self.at;
        let operator = self.taken(|it| it.is_ascii_alphanumeric());
        if !OPERATORS.contains(&operator.as_str()) {
            let known = OPERATORS.join(", ");
            return Err(refusal(operator_at, &format!("{operator:?} is not an operator; they are {known}")));
        }
        self.space();
        let value_at = self.at;
        let value = self.value()?;
        Ok((Expression::Test(Test { at: start, path, operator, operator_at, value, value_at }), depth))
    }

    fn path(&mut self) -> Result<(Vec<Step>, usize), Refusal> {
        let (mut steps, mut depth) = (Vec::new(), 0);
        loop {
            let at = self.at;
            let name = self.taken(|it| it.is_alphanumeric() || matches!(it, '-' | '_' | ':' | '$'));
            if name.is_empty() {
                return Err(refusal(at, "the name of a search parameter is expected"));
            }
            let filter = if self.letter('[') { Some(self.nested(']')?) } else { None };
            if let Some((_, below)) = &filter {
                depth = depth.max(self.around(*below)?);
            }
            steps.push(Step { at, name, filter: filter.map(|(filter, _)| Box::new(filter)) });
            if !self.text[self.at..].starts_with('.') {
                return Ok((steps, depth));
            }
            self.at += 1;
        }
    }

    /// A filter up to the closing letter.
    fn nested(&mut self, end: char) -> Result<Deep, Refusal> {
        self.nesting += 1;
        self.check(self.nesting, MAX_NESTING, "parentheses in each other")?;
        let inner = self.filter()?;
        self.space();
        if !self.letter(end) {
            return Err(refusal(self.at, &format!("{end} is expected")));
        }
        self.nesting -= 1;
        Ok(inner)
    }

    /// How deep it is that is about something so deep.
    fn around(&self, below: usize) -> Result<usize, Refusal> {
        self.check(below + 1, MAX_DEPTH, "and, or and not about each other")?;
        Ok(below + 1)
    }

    fn check(&self, found: usize, most: usize, what: &str) -> Result<(), Refusal> {
        if found <= most {
            return Ok(());
        }
        Err(Refusal::too_costly(format!("{}: more than {most} {what}", place(self.at))))
    }

    fn value(&mut self) -> Result<String, Refusal> {
        let (at, rest) = (self.at, &self.text[self.at..]);
        if !rest.starts_with('"') {
            let value = self.taken(|it| !it.is_whitespace() && !matches!(it, ')' | ']'));
            return if value.is_empty() { Err(refusal(at, "a value is expected")) } else { Ok(value) };
        }
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, letter)| {
            let is_end = *letter == '"' && !escaped;
            escaped = *letter == '\\' && !escaped;
            is_end
        });
        let Some((end, _)) = end else { return Err(refusal(at, "the string has no end")) };
        self.at += end + 1;
        let json = Json::parse(&rest.as_bytes()[..=end]).ok();
        json.as_ref()
            .and_then(Json::as_str)
            .map(str::to_owned)
            .ok_or_else(|| refusal(at, "not a JSON string: quotes and backslashes in it are written \\\" and \\\\"))
    }

    fn space(&mut self) {
        self.taken(char::is_whitespace);
    }

    fn letter(&mut self, letter: char) -> bool {
        let rest = self.text[self.at..].trim_start();
        let found = rest.starts_with(letter);
        if found {
            self.at = self.text.len() - rest.len() + letter.len_utf8();
        }
        found
    }

    /// A word of its own.
    fn word(&mut self, word: &str) -> bool {
        let rest = self.text[self.at..].trim_start();
        let Some(behind) = rest.strip_prefix(word) else { return false };
        let found = behind.is_empty() || behind.starts_with(|it: char| it.is_whitespace() || it == '(');
        if found {
            self.at = self.text.len() - behind.len();
        }
        found
    }

    fn taken(&mut self, part: impl Fn(char) -> bool) -> String {
        let rest = &self.text[self.at..];
        let taken = &rest[..rest.find(|it| !part(it)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken.to_owned()
    }
}
