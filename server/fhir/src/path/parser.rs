//! Grammar of FHIRPath, by precedence climbing. <http://hl7.org/fhirpath/N1/#grammar>

use super::PathError;
use super::functions::Function;
use super::lexer::{self, Token, TokenKind};
use super::number::Number;
use super::pattern::{Pattern, Patterns};
use super::tree::{Call, Node, Operator, Path, Step, TypeOperation};
use super::types::TypeSpecifier;
use super::value::{self, Value};

/// Longest expression that is compiled.
const MAX_LENGTH: usize = 64 * 1024;
/// Deepest nesting of parentheses, arguments, indexers and signs. (IN-18)
const MAX_DEPTH: usize = 64;
/// Most operators of one expression, unions apart, since each may nest once more. (IN-18)
const MAX_OPERATORS: usize = 250;

/// What stands between two operands.
enum Infix {
    Binary(Operator),
    Union,
    Type(TypeOperation),
}

/// Compiles `text`, and its patterns out of what is left for them.
pub(super) fn parse(text: &str, patterns: &mut Patterns) -> Result<Node, PathError> {
    if text.len() > MAX_LENGTH {
        return Err(PathError { offset: MAX_LENGTH, message: format!("longer than {MAX_LENGTH} bytes") });
    }
    let mut parser = Parser { tokens: lexer::tokens(text)?, at: 0, depth: 0, operators: 0, patterns };
    let node = parser.expression(0)?;
    match parser.peek() {
        TokenKind::End => Ok(node),
        _ => Err(parser.error("expected an operator or the end")),
    }
}

struct Parser<'p> {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    operators: usize,
    patterns: &'p mut Patterns,
}

impl Parser<'_> {
    fn peek(&self) -> &TokenKind {
        &self.tokens[self.at].kind
    }

    fn advance(&mut self) -> TokenKind {
        let kind = self.tokens[self.at].kind.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        kind
    }

    fn error(&self, message: impl Into<String>) -> PathError {
        PathError { offset: self.tokens[self.at].offset, message: message.into() }
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), TokenKind::Symbol(next) if *next == symbol);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), PathError> {
        if self.accept(symbol) { Ok(()) } else { Err(self.error(format!("expected {symbol}"))) }
    }

    /// An expression whose operators all bind tighter than `least`.
    fn expression(&mut self, least: u8) -> Result<Node, PathError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH}")));
        }
        let mut left = self.signed()?;
        while let Some((power, infix)) = self.infix().filter(|(power, _)| *power > least) {
            self.advance();
            self.operators += usize::from(!matches!(infix, Infix::Union));
            if self.operators > MAX_OPERATORS {
                return Err(self.error(format!("more than {MAX_OPERATORS} operators")));
            }
            left = match infix {
                Infix::Binary(operator) => Node::Binary(operator, Box::new([left, self.expression(power)?])),
                Infix::Type(operation) => Node::Type(operation, self.type_specifier()?, Box::new(left)),
                Infix::Union => {
                    let right = self.expression(power)?;
                    match left {
                        Node::Union(mut operands) => {
                            operands.push(right);
                            Node::Union(operands)
                        }
                        first => Node::Union(vec![first, right]),
                    }
                }
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    /// The next token as an operator, and how tightly it binds.
    fn infix(&self) -> Option<(u8, Infix)> {
        let operator = match self.peek() {
            TokenKind::Symbol(text) => *text,
            TokenKind::Word(text) => text,
            _ => return None,
        };
        let binary = |power, operator| Some((power, Infix::Binary(operator)));
        match operator {
            "implies" => binary(1, Operator::Implies),
            "or" => binary(2, Operator::Or),
            "xor" => binary(2, Operator::Xor),
            "and" => binary(3, Operator::And),
            "in" => binary(4, Operator::In),
            "contains" => binary(4, Operator::Contains),
            "=" => binary(5, Operator::Equal),
            "!=" => binary(5, Operator::NotEqual),
            "~" => binary(5, Operator::Equivalent),
            "!~" => binary(5, Operator::NotEquivalent),
            "<" => binary(6, Operator::Less),
            "<=" => binary(6, Operator::LessOrEqual),
            ">" => binary(6, Operator::Greater),
            ">=" => binary(6, Operator::GreaterOrEqual),
            "|" => Some((7, Infix::Union)),
            "is" => Some((8, Infix::Type(TypeOperation::Is))),
            "as" => Some((8, Infix::Type(TypeOperation::As))),
            "+" => binary(9, Operator::Add),
            "-" => binary(9, Operator::Subtract),
            "&" => binary(9, Operator::Concatenate),
            "*" => binary(10, Operator::Multiply),
            "/" => binary(10, Operator::Divide),
            "div" => binary(10, Operator::Div),
            "mod" => binary(10, Operator::Mod),
            _ => None,
        }
    }

    fn signed(&mut self) -> Result<Node, PathError> {
        let mut signs = Vec::new();
        loop {
            if self.accept("-") {
                signs.push(true);
            } else if self.accept("+") {
                signs.push(false);
            } else {
                break;
            }
        }
        if signs.len() > MAX_DEPTH {
            return Err(self.error("too many signs"));
        }
        let mut node = self.postfix()?;
        for negative in signs.into_iter().rev() {
            node = if negative { Node::Negate(Box::new(node)) } else { Node::Plus(Box::new(node)) };
        }
        Ok(node)
    }

    fn postfix(&mut self) -> Result<Node, PathError> {
        let first = self.tokens[self.at].offset;
        let (start, mut steps) = self.term()?;
        let mut offsets = vec![first; steps.len()];
        loop {
            let bracket = self.tokens[self.at].offset;
            if self.accept(".") {
                offsets.push(self.tokens[self.at].offset);
                steps.push(self.invocation()?);
            } else if self.accept("[") {
                offsets.push(bracket);
                steps.push(Step::Item(self.expression(0)?));
                self.expect("]")?;
            } else {
                break;
            }
        }
        Ok(match start {
            Some(node) if steps.is_empty() => node,
            start => Node::Path(Box::new(Path { start, steps, offsets })),
        })
    }

    /// The first term of a path: a node of its own, or a first step from the focus.
    fn term(&mut self) -> Result<(Option<Node>, Vec<Step>), PathError> {
        let node = match self.peek() {
            TokenKind::Symbol("(") => {
                self.advance();
                let node = self.expression(0)?;
                self.expect(")")?;
                node
            }
            TokenKind::Symbol("{") => {
                self.advance();
                self.expect("}")?;
                Node::Nothing
            }
            TokenKind::Symbol("%") => {
                self.advance();
                match self.advance() {
                    TokenKind::Word(name) | TokenKind::Quoted(name) | TokenKind::Text(name) => Node::Variable(name),
                    _ => return Err(self.error("expected a name after %")),
                }
            }
            TokenKind::Special(name) => {
                let node = special(name);
                self.advance();
                node
            }
            TokenKind::Word(_) => match self.boolean() {
                Some(node) => node,
                None => return Ok((None, vec![self.first_step()?])),
            },
            TokenKind::Quoted(_) => return Ok((None, vec![self.first_step()?])),
            _ => Node::Literal(self.literal()?),
        };
        Ok((Some(node), Vec::new()))
    }

    fn boolean(&mut self) -> Option<Node> {
        let TokenKind::Word(word) = self.peek() else { return None };
        let value = match &**word {
            "true" => true,
            "false" => false,
            _ => return None,
        };
        self.advance();
        Some(Node::Literal(Value::Boolean(value)))
    }

    /// A first step: names of types begin with a capital letter, names of elements do not.
    fn first_step(&mut self) -> Result<Step, PathError> {
        let offset = self.tokens[self.at].offset;
        match self.invocation()? {
            Step::Member(name) if name.starts_with(|first: char| first.is_ascii_uppercase()) => {
                let specifier = TypeSpecifier::resolve(None, &name);
                let unknown = || PathError { offset, message: format!("unknown type {name}") };
                specifier.map(Step::Root).ok_or_else(unknown)
            }
            step => Ok(step),
        }
    }

    fn invocation(&mut self) -> Result<Step, PathError> {
        let offset = self.tokens[self.at].offset;
        let name = match self.advance() {
            TokenKind::Word(name) | TokenKind::Quoted(name) => name,
            TokenKind::Special(name) => return Ok(Step::Special(special(&name))),
            _ => return Err(PathError { offset, message: "expected a name".to_owned() }),
        };
        if !self.accept("(") {
            return Ok(Step::Member(name));
        }
        let operation = match &*name {
            "is" => Some(TypeOperation::Is),
            "as" => Some(TypeOperation::As),
            "ofType" => Some(TypeOperation::OfType),
            _ => None,
        };
        if let Some(operation) = operation {
            let specifier = self.type_specifier()?;
            self.expect(")")?;
            return Ok(Step::Type(operation, specifier));
        }
        let unknown = || PathError { offset, message: format!("unknown function {name}()") };
        let (function, min, max) = Function::of(&name).ok_or_else(unknown)?;
        let arguments = self.arguments()?;
        if arguments.len() < min || arguments.len() > max {
            let message = format!("{name}() takes {min} to {max} arguments, not {}", arguments.len());
            return Err(PathError { offset, message });
        }
        let pattern = precompiled(function, &arguments, self.patterns);
        let pattern = pattern.map_err(|message| PathError { offset, message })?;
        Ok(Step::Call(Call { function, arguments, pattern }))
    }

    fn arguments(&mut self) -> Result<Vec<Node>, PathError> {
        let mut arguments = Vec::new();
        if self.accept(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression(0)?);
            if self.accept(")") {
                return Ok(arguments);
            }
            self.expect(",")?;
        }
    }

    fn type_specifier(&mut self) -> Result<TypeSpecifier, PathError> {
        let offset = self.tokens[self.at].offset;
        let expected = || PathError { offset, message: "expected the name of a type".to_owned() };
        let (TokenKind::Word(first) | TokenKind::Quoted(first)) = self.advance() else { return Err(expected()) };
        let (namespace, name) = if matches!(&*first, "FHIR" | "System") && self.accept(".") {
            let (TokenKind::Word(name) | TokenKind::Quoted(name)) = self.advance() else { return Err(expected()) };
            (Some(first), name)
        } else {
            (None, first)
        };
        TypeSpecifier::resolve(namespace.as_deref(), &name)
            .ok_or_else(|| PathError { offset, message: format!("unknown type {name}") })
    }

    fn literal(&mut self) -> Result<Value<'static>, PathError> {
        let offset = self.tokens[self.at].offset;
        let signed = self.at > 0 && matches!(self.tokens[self.at - 1].kind, TokenKind::Symbol("-"));
        let error = |message: &str| PathError { offset, message: message.to_owned() };
        match self.advance() {
            TokenKind::Text(text) => Ok(Value::String(text.into_string().into())),
            TokenKind::Number(text) => self.number(&text, signed).ok_or_else(|| error("a number too large")),
            TokenKind::Date(text) => value::parse_date_literal(&text).ok_or_else(|| error("no such date or time")),
            TokenKind::Time(text) => value::parse_time(&text).ok_or_else(|| error("no such time of day")),
            TokenKind::End => Err(error("unexpected end; expected a value")),
            _ => Err(error("expected a value, a name or an opening parenthesis")),
        }
    }

    /// A number, or a quantity if a unit follows; `signed`: after a minus sign.
    fn number(&mut self, text: &str, signed: bool) -> Option<Value<'static>> {
        let text = without_leading_zeros(text);
        let unit = match self.peek() {
            TokenKind::Text(unit) => Some((unit.to_string(), false)),
            TokenKind::Word(word) => value::calendar_unit(word).map(|unit| (unit.to_owned(), true)),
            _ => None,
        };
        if let Some((unit, calendar)) = unit {
            self.advance();
            return Some(Value::quantity(Number::parse(text)?, unit, calendar));
        }
        if text.contains('.') {
            return Number::parse(text).map(Value::Decimal);
        }
        // The least integer is written as the negative of one that there is not.
        let value = text.parse().ok()?;
        if signed && value == -i64::from(i32::MIN) { Some(Value::Integer(value)) } else { Value::integer(value) }
    }
}

/// `$this`, `$index`, `$total` by their names.
fn special(name: &str) -> Node {
    match name {
        "this" => Node::This,
        "index" => Node::Index,
        _ => Node::Total,
    }
}

/// `1.5` of `01.5`, which FHIRPath permits and decimals of FHIR do not.
fn without_leading_zeros(digits: &str) -> &str {
    let whole = digits.find('.').unwrap_or(digits.len());
    let zeros = digits[..whole].bytes().take_while(|digit| *digit == b'0').count();
    &digits[zeros.min(whole - 1)..]
}

/// Compiles a pattern that is a literal once, here.
fn precompiled(
    function: Function,
    arguments: &[Node],
    patterns: &mut Patterns,
) -> Result<Option<Box<Pattern>>, String> {
    match (function, arguments.first()) {
        (
            Function::Matches | Function::MatchesFull | Function::ReplaceMatches,
            Some(Node::Literal(Value::String(text))),
        ) => {
            let pattern = Pattern::of_expression(text, function == Function::MatchesFull, patterns)?;
            Ok(Some(Box::new(pattern)))
        }
        _ => Ok(None),
    }
}
