//! Tokens of FHIRPath. <http://hl7.org/fhirpath/N1/#lexical-elements>

use super::PathError;

/// A token and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) offset: usize,
    pub(super) kind: TokenKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// A plain word, keywords included: the grammar decides by position.
    Word(Box<str>),
    /// A word in backticks, never a keyword.
    Quoted(Box<str>),
    /// A string literal, unescaped.
    Text(Box<str>),
    /// Digits with or without a fraction.
    Number(Box<str>),
    /// What follows `@` of a date or date and time.
    Date(Box<str>),
    /// What follows `@T`.
    Time(Box<str>),
    /// `$this`, `$index`, `$total` without `$`.
    Special(Box<str>),
    /// Operator or punctuation.
    Symbol(&'static str),
    End,
}

/// Longest first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 24] = [
    "<=", ">=", "!=", "!~", "(", ")", "[", "]", "{", "}", ".", ",", "+", "-", "*", "/", "&", "|", "<", ">", "=", "~",
    "%", "!",
];

/// Splits `text` into tokens; the last one is `End`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, PathError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let offset = lexer.at;
        let kind = lexer.token()?;
        let end = kind == TokenKind::End;
        tokens.push(Token { offset, kind });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn error(&self, message: &str) -> PathError {
        PathError { offset: self.at, message: message.to_owned() }
    }

    fn skip_blanks(&mut self) -> Result<(), PathError> {
        loop {
            let rest = self.rest().trim_start();
            self.at = self.text.len() - rest.len();
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let end = rest.find("*/").ok_or_else(|| self.error("comment without end; write */"))?;
                self.at += end + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<TokenKind, PathError> {
        let Some(first) = self.rest().chars().next() else { return Ok(TokenKind::End) };
        match first {
            '\'' => self.quoted('\'').map(TokenKind::Text),
            '`' | '"' => self.quoted(first).map(TokenKind::Quoted),
            '@' => self.temporal(),
            '$' => {
                self.at += 1;
                let word = self.take_while(is_word);
                if matches!(word, "this" | "index" | "total") {
                    Ok(TokenKind::Special(word.into()))
                } else {
                    Err(self.error("unknown special variable; there are $this, $index and $total"))
                }
            }
            '0'..='9' => Ok(TokenKind::Number(self.number().into())),
            'A'..='Z' | 'a'..='z' | '_' => Ok(TokenKind::Word(self.take_while(is_word).into())),
            _ => {
                let symbol = SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol));
                let symbol = symbol.ok_or_else(|| self.error(&format!("unexpected character {first:?}")))?;
                self.at += symbol.len();
                Ok(TokenKind::Symbol(symbol))
            }
        }
    }

    fn take_while(&mut self, accept: fn(u8) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.bytes().position(|byte| !accept(byte)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn number(&mut self) -> &'t str {
        let start = self.at;
        self.take_while(is_digit);
        let mut following = self.rest().bytes();
        if following.next() == Some(b'.') && following.next().is_some_and(is_digit) {
            self.at += 1;
            self.take_while(is_digit);
        }
        &self.text[start..self.at]
    }

    /// What follows `@`: the longest text of the shape `YYYY[-MM[-DD]][T[hh[:mm[:ss[.f]]][zone]]]` or `Thh[:mm[:ss[.f]]]`.
    fn temporal(&mut self) -> Result<TokenKind, PathError> {
        self.at += 1;
        let start = self.at;
        if self.accept("T") {
            self.clock()?;
            return Ok(TokenKind::Time(self.text[start + 1..self.at].into()));
        }
        self.digits(4)?;
        for _ in 0..2 {
            if self.is_separated_digits("-") {
                self.at += 3;
            } else {
                break;
            }
        }
        if self.accept("T") && self.rest().starts_with(|next: char| next.is_ascii_digit()) {
            self.clock()?;
            if !self.accept("Z") && (self.is_separated_digits("+") || self.is_separated_digits("-")) {
                self.at += 3;
                if !self.is_separated_digits(":") {
                    return Err(self.error("a time zone is Z, +hh:mm or -hh:mm"));
                }
                self.at += 3;
            }
        }
        Ok(TokenKind::Date(self.text[start..self.at].into()))
    }

    fn clock(&mut self) -> Result<(), PathError> {
        self.digits(2)?;
        let mut components = 1;
        while components < 3 && self.is_separated_digits(":") {
            self.at += 3;
            components += 1;
        }
        let mut following = self.rest().bytes();
        if components == 3 && following.next() == Some(b'.') && following.next().is_some_and(is_digit) {
            self.at += 1;
            self.take_while(is_digit);
        }
        Ok(())
    }

    fn is_separated_digits(&self, separator: &str) -> bool {
        self.rest().strip_prefix(separator).is_some_and(|rest| {
            let mut bytes = rest.bytes();
            bytes.next().is_some_and(is_digit) && bytes.next().is_some_and(is_digit)
        })
    }

    fn digits(&mut self, count: usize) -> Result<(), PathError> {
        let rest = self.rest();
        if rest.len() < count || !rest.bytes().take(count).all(is_digit) {
            return Err(self.error(&format!("expected {count} digits")));
        }
        self.at += count;
        Ok(())
    }

    fn accept(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn quoted(&mut self, quote: char) -> Result<Box<str>, PathError> {
        let start = self.at;
        self.at += 1;
        let mut units: Vec<u16> = Vec::new();
        let mut out = String::new();
        loop {
            let Some(next) = self.rest().chars().next() else {
                self.at = start;
                return Err(self.error("quoted text without end"));
            };
            self.at += next.len_utf8();
            if next == '\\'
                && let Some(unit) = self.unit()
            {
                units.push(unit);
                continue;
            }
            if !units.is_empty() {
                out.push_str(&String::from_utf16(&units).map_err(|_| self.error("a surrogate that stands alone"))?);
                units.clear();
            }
            if next == quote {
                return Ok(out.into());
            }
            match next {
                '\\' => out.extend(self.escape()),
                next => out.push(next),
            }
        }
    }

    /// What `u` and four hexadecimal digits stand for, if they come next.
    fn unit(&mut self) -> Option<u16> {
        let hex = self.rest().strip_prefix('u')?.get(..4).filter(|hex| hex.bytes().all(|it| it.is_ascii_hexdigit()))?;
        self.at += 5;
        u16::from_str_radix(hex, 16).ok()
    }

    /// What comes after a backslash. Before a character that is no escape, the backslash means nothing.
    fn escape(&mut self) -> Option<char> {
        let escaped = self.rest().chars().next()?;
        self.at += escaped.len_utf8();
        Some(match escaped {
            'r' => '\r',
            'n' => '\n',
            't' => '\t',
            'f' => '\u{c}',
            same => same,
        })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokens(text).expect("tokens").into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn literals() {
        assert_eq!(
            kinds("1.combine"),
            [TokenKind::Number("1".into()), TokenKind::Symbol("."), TokenKind::Word("combine".into()), TokenKind::End]
        );
        assert_eq!(kinds(r"'a\'\u00e4\ud83d\ude00'")[0], TokenKind::Text("a'ä😀".into()));
        assert_eq!(kinds(r"'\p\3\u005\u+041\\'")[0], TokenKind::Text(r"p3u005u+041\".into()));
        assert_eq!(kinds("@2015-02T.is")[0], TokenKind::Date("2015-02T".into()));
        assert_eq!(kinds("@2015-02-04T14:34:28.1+10:00")[0], TokenKind::Date("2015-02-04T14:34:28.1+10:00".into()));
        assert_eq!(kinds("@2015-02-04T14.is")[0], TokenKind::Date("2015-02-04T14".into()));
        assert_eq!(kinds("@T14:34")[0], TokenKind::Time("14:34".into()));
        assert_eq!(kinds("a // b\n/* c */ <= `d e`").len(), 4);
    }

    #[test]
    fn errors_have_offsets() {
        for (text, offset) in [("a ; b", 2), ("'open", 0), (r"'\'", 0), ("/* open", 0), ("$that", 5), ("@20", 1)] {
            assert_eq!(tokens(text).expect_err(text).offset, offset, "{text}");
        }
    }
}
