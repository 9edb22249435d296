//! The compiled form of an expression.

use super::functions::Function;
use super::pattern::Pattern;
use super::types::TypeSpecifier;
use super::value::Value;

#[derive(Debug)]
pub(super) enum Node {
    /// `{}`
    Nothing,
    Literal(Value<'static>),
    This,
    Index,
    Total,
    /// `%name`
    Variable(Box<str>),
    Path(Box<Path>),
    Negate(Box<Node>),
    /// A unary `+`, which wants a number.
    Plus(Box<Node>),
    Binary(Operator, Box<[Node; 2]>),
    /// All operands of `a | b | c`.
    Union(Vec<Node>),
    /// `operand is Type`, `operand as Type`
    Type(TypeOperation, TypeSpecifier, Box<Node>),
}

/// A start and what is applied to it one after the other; flat, so that long paths need no deep stack.
#[derive(Debug)]
pub(super) struct Path {
    /// Nothing: the focus.
    pub(super) start: Option<Node>,
    pub(super) steps: Vec<Step>,
    /// Where each step begins in the text.
    pub(super) offsets: Vec<usize>,
}

#[derive(Debug)]
pub(super) enum Step {
    /// Children of this name.
    Member(Box<str>),
    /// The name of a type at the beginning of a path: the focus itself if it is of that type.
    Root(TypeSpecifier),
    Item(Node),
    /// `$this`, `$index` or `$total` after a point: what it is where the path stands, whatever comes before it.
    Special(Node),
    Call(Call),
    Type(TypeOperation, TypeSpecifier),
}

impl Step {
    /// Whether the result depends on the order of the input.
    pub(super) fn wants_order(&self) -> bool {
        use Function as F;
        match self {
            Step::Item(_) => true,
            Step::Call(call) => matches!(call.function, F::First | F::Last | F::Tail | F::Skip | F::Take),
            _ => false,
        }
    }

    /// Whether the result comes in no particular order.
    pub(super) fn is_unordered(&self) -> bool {
        matches!(self, Step::Call(call) if matches!(call.function, Function::Children | Function::Descendants))
    }
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) arguments: Vec<Node>,
    /// The pattern of a call, compiled where it is a literal.
    pub(super) pattern: Option<Box<Pattern>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TypeOperation {
    Is,
    As,
    OfType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Multiply,
    Divide,
    Div,
    Mod,
    Add,
    Subtract,
    Concatenate,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    Equivalent,
    NotEquivalent,
    In,
    Contains,
    And,
    Or,
    Xor,
    Implies,
}
