//! The grammar of UCUM codes. <https://ucum.org/ucum#section-Syntax-Rules>

use num_bigint::BigInt;

use super::UcumError;
use super::essence::{Atom, Prefix, essence};

/// Longest code.
const MAX_LENGTH: usize = 256;
/// Deepest nesting of parentheses. (IN-18)
const MAX_DEPTH: usize = 32;
/// Largest exponent, either way. (IN-18)
const MAX_EXPONENT: i32 = 999;

/// A product and quotient, from left to right.
#[derive(Debug)]
pub(super) struct Term {
    pub(super) parts: Vec<Part>,
}

#[derive(Debug)]
pub(super) struct Part {
    /// After `/`.
    pub(super) divided: bool,
    /// Where it begins.
    pub(super) offset: usize,
    pub(super) component: Component,
}

pub(super) enum Component {
    Number(BigInt),
    Unit {
        prefix: Option<&'static Prefix>,
        atom: &'static Atom,
        exponent: i32,
    },
    /// `{…}` on its own is 1.
    Annotation,
    Group(Term),
}

/// Reads a code.
pub(super) fn parse(code: &str) -> Result<Term, UcumError> {
    if code.is_empty() {
        return Err(UcumError::at(0, "an empty text is no unit; the unit of a plain number is 1"));
    }
    if code.len() > MAX_LENGTH {
        return Err(UcumError::at(MAX_LENGTH, format!("longer than {MAX_LENGTH} characters")));
    }
    if let Some(offset) = code.bytes().position(|byte| !byte.is_ascii_graphic()) {
        return Err(UcumError::at(offset, "only printable ASCII characters stand in a code, and no blanks"));
    }
    let mut parser = Parser { code, at: 0, depth: 0 };
    let divided = parser.accept(b'/');
    let term = parser.term(divided)?;
    if parser.at < code.len() {
        return Err(parser.unexpected());
    }
    Ok(term)
}

/// All of the code is ASCII by now, so that any byte is a character.
struct Parser<'c> {
    code: &'c str,
    at: usize,
    depth: usize,
}

impl<'c> Parser<'c> {
    fn peek(&self) -> Option<u8> {
        self.code.as_bytes().get(self.at).copied()
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, UcumError> {
        Err(UcumError::at(self.at, message))
    }

    fn unexpected(&self) -> UcumError {
        let message = match self.peek() {
            None => "expected a unit, not the end".to_owned(),
            Some(b')') => ") without (".to_owned(),
            Some(byte) => format!("unexpected {}; units are joined by . or /", char::from(byte)),
        };
        UcumError::at(self.at, message)
    }

    fn term(&mut self, mut divided: bool) -> Result<Term, UcumError> {
        let mut parts = Vec::new();
        loop {
            let offset = self.at;
            parts.push(Part { divided, offset, component: self.component()? });
            if self.accept(b'.') {
                divided = false;
            } else if self.accept(b'/') {
                divided = true;
            } else {
                return Ok(Term { parts });
            }
        }
    }

    fn component(&mut self) -> Result<Component, UcumError> {
        match self.peek() {
            Some(b'(') => self.group().map(Component::Group),
            Some(b'{') => {
                self.annotation()?;
                Ok(Component::Annotation)
            }
            Some(b'0'..=b'9') if !self.rest().starts_with("10*") && !self.rest().starts_with("10^") => self.number(),
            _ => self.unit(),
        }
    }

    fn group(&mut self) -> Result<Term, UcumError> {
        let start = self.at;
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error(format!("nested deeper than {MAX_DEPTH}"));
        }
        let term = self.term(false)?;
        if !self.accept(b')') {
            return Err(if self.at == self.code.len() {
                UcumError::at(start, "( without )")
            } else {
                self.unexpected()
            });
        }
        self.depth -= 1;
        Ok(term)
    }

    fn number(&mut self) -> Result<Component, UcumError> {
        let start = self.at;
        let digits = self.digits();
        if let Some(next) = self.peek().filter(|next| !matches!(next, b'.' | b'/' | b')' | b'{')) {
            let advice = if next.is_ascii_alphabetic() || next == b'[' {
                format!("; write {digits}.{}", self.symbol())
            } else {
                String::new()
            };
            return Err(UcumError::at(start, format!("after the number {digits} comes . or /{advice}")));
        }
        let number = digits.parse::<BigInt>().unwrap_or_default();
        if number == BigInt::ZERO {
            return Err(UcumError::at(start, "a factor is a positive integer"));
        }
        self.annotations()?;
        Ok(Component::Number(number))
    }

    fn unit(&mut self) -> Result<Component, UcumError> {
        let start = self.at;
        let ten = ["10*", "10^"].into_iter().find(|ten| self.rest().starts_with(ten));
        let symbol = ten.unwrap_or_else(|| self.symbol());
        self.at += symbol.len();
        if symbol.is_empty() {
            return Err(self.unexpected());
        }
        let (prefix, atom) = find(symbol).map_err(|message| UcumError::at(start, message))?;
        let exponent = self.exponent()?;
        self.annotations()?;
        Ok(Component::Unit { prefix, atom, exponent })
    }

    /// The letters of a unit with its prefix; what stands in brackets belongs to it whatever it is.
    fn symbol(&self) -> &'c str {
        let rest = self.rest();
        let mut inside = false;
        let end = rest.bytes().position(|byte| {
            match byte {
                b'[' => inside = true,
                b']' => inside = false,
                _ => {}
            }
            !inside && matches!(byte, b'.' | b'/' | b'(' | b')' | b'{' | b'}' | b'+' | b'-' | b'0'..=b'9')
        });
        &rest[..end.unwrap_or(rest.len())]
    }

    fn exponent(&mut self) -> Result<i32, UcumError> {
        let start = self.at;
        let negative = self.accept(b'-');
        let signed = negative || self.accept(b'+');
        let digits = self.digits();
        match digits.parse::<i32>() {
            Ok(exponent) if exponent <= MAX_EXPONENT => Ok(if negative { -exponent } else { exponent }),
            _ if digits.is_empty() && !signed => Ok(1),
            _ if digits.is_empty() => self.error("expected the digits of an exponent"),
            _ => Err(UcumError::at(start, format!("an exponent is {MAX_EXPONENT} at most"))),
        }
    }

    fn annotations(&mut self) -> Result<(), UcumError> {
        if self.peek() == Some(b'{') { self.annotation() } else { Ok(()) }
    }

    fn annotation(&mut self) -> Result<(), UcumError> {
        let inside = &self.rest()[1..];
        match inside.find(['{', '}']) {
            Some(end) if inside.as_bytes()[end] == b'}' => {
                self.at += end + 2;
                Ok(())
            }
            Some(_) => self.error("annotations do not nest"),
            None => self.error("{ without }"),
        }
    }

    fn digits(&mut self) -> &'c str {
        let rest = self.rest();
        let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn rest(&self) -> &'c str {
        &self.code[self.at..]
    }
}

/// The unit that `symbol` is, with its prefix.
fn find(symbol: &str) -> Result<(Option<&'static Prefix>, &'static Atom), String> {
    if let Some(atom) = essence().atom(symbol) {
        return Ok((None, atom));
    }
    let mut without_prefix = None;
    for (prefix, rest) in essence().split(symbol) {
        match essence().atom(rest) {
            Some(atom) if atom.metric => return Ok((Some(prefix), atom)),
            Some(atom) => without_prefix = Some(&*atom.code),
            None => {}
        }
    }
    if let Some(code) = without_prefix {
        return Err(format!("there is no unit {symbol}: {code} takes no prefix"));
    }
    Err(match suggestion(symbol) {
        Some(code) => format!("there is no unit {symbol}; {code} is one"),
        None => format!("there is no unit {symbol}"),
    })
}

/// A unit, perhaps with a prefix, that is spelled almost like `symbol`: in brackets, or in other case.
fn suggestion(symbol: &str) -> Option<String> {
    let bare = symbol.trim_matches(['[', ']']);
    let like = |atom: &&Atom, text: &str| atom.code.trim_matches(['[', ']']).eq_ignore_ascii_case(text);
    let atoms = essence().atoms();
    if let Some(atom) = atoms.iter().find(|atom| like(atom, bare)) {
        return Some(atom.code.clone());
    }
    essence().split(symbol).find_map(|(prefix, rest)| {
        let rest = rest.trim_matches(['[', ']']);
        let atom = atoms.iter().find(|atom| atom.metric && like(atom, rest))?;
        Some(format!("{}{}", prefix.code, atom.code))
    })
}

impl std::fmt::Debug for Component {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Component::Number(number) => write!(formatter, "{number}"),
            Component::Unit { prefix, atom, exponent } => {
                write!(formatter, "{}{}{exponent}", prefix.map_or("", |prefix| &prefix.code), atom.code)
            }
            Component::Annotation => formatter.write_str("{}"),
            Component::Group(term) => term.fmt(formatter),
        }
    }
}
