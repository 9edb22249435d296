//! The grammar of `_filter`. <https://hl7.org/fhir/R4/search_filter.html>
//!
//! ```text
//! filter    = and *( "or" and )                  and = factor *( "and" factor )
//! factor    = "not" "(" filter ")" / "(" filter ")" / test
//! test      = path operator value                path = name [ "[" filter "]" ] *( "." path )
//! value     = JSON string / letters up to white space, ")" or "]"
//! ```

use fhir::json::Json;

use crate::parse::refusal::Refusal;

/// Deepest nesting of parentheses and brackets. (IN-17)
const MAX_NESTING: usize = 50;

const OPERATORS: &[&str] =
    &["eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap", "sa", "eb", "pr", "po", "ss", "sb", "in", "ni", "re"];

/// What is read.
#[derive(Debug)]
pub(super) enum Expression {
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
    Test(Test),
}

/// One comparison.
#[derive(Debug)]
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
#[derive(Debug)]
pub(super) struct Step {
    pub(super) at: usize,
    pub(super) name: String,
    /// What must hold of what the name points at.
    pub(super) filter: Option<Box<Expression>>,
}

/// Reads a whole expression.
pub(super) fn parse(text: &str) -> Result<Expression, Refusal> {
    let mut reader = Reader { text, at: 0, nesting: 0 };
    let expression = reader.filter()?;
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

struct Reader<'a> {
    text: &'a str,
    at: usize,
    nesting: usize,
}

impl Reader<'_> {
    fn filter(&mut self) -> Result<Expression, Refusal> {
        self.joined("or", Expression::Or, |reader| reader.joined("and", Expression::And, Reader::factor))
    }

    fn joined(
        &mut self,
        word: &str,
        join: fn(Vec<Expression>) -> Expression,
        part: fn(&mut Self) -> Result<Expression, Refusal>,
    ) -> Result<Expression, Refusal> {
        let mut parts = vec![part(self)?];
        while self.word(word) {
            parts.push(part(self)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { join(parts) })
    }

    fn factor(&mut self) -> Result<Expression, Refusal> {
        self.space();
        let start = self.at;
        if self.word("not") {
            if !self.letter('(') {
                return Err(refusal(self.at, "behind not a ( is expected"));
            }
            return Ok(Expression::Not(Box::new(self.nested(')')?)));
        }
        if self.letter('(') {
            return self.nested(')');
        }
        let path = self.path()?;
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
        Ok(Expression::Test(Test { at: start, path, operator, operator_at, value, value_at }))
    }

    fn path(&mut self) -> Result<Vec<Step>, Refusal> {
        let mut steps = Vec::new();
        loop {
            let at = self.at;
            let name = self.taken(|it| it.is_alphanumeric() || matches!(it, '-' | '_' | ':' | '$'));
            if name.is_empty() {
                return Err(refusal(at, "the name of a search parameter is expected"));
            }
            let filter = if self.letter('[') { Some(Box::new(self.nested(']')?)) } else { None };
            steps.push(Step { at, name, filter });
            if !self.text[self.at..].starts_with('.') {
                return Ok(steps);
            }
            self.at += 1;
        }
    }

    /// A filter up to the closing letter.
    fn nested(&mut self, end: char) -> Result<Expression, Refusal> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            let text = format!("{}: more than {MAX_NESTING} parentheses in each other", place(self.at));
            return Err(Refusal::too_costly(text));
        }
        let inner = self.filter()?;
        self.space();
        if !self.letter(end) {
            return Err(refusal(self.at, &format!("{end} is expected")));
        }
        self.nesting -= 1;
        Ok(inner)
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
