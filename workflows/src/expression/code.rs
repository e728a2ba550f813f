//! An expression after compilation: a tree that owns everything and can only be evaluated.

use serde_json::Value;

use super::Reference;
use super::names::{Filter, Test};

/// A node of the tree.
#[derive(Debug)]
pub(crate) enum Code {
    Constant(Value),
    Load(Reference),
    Field(Box<Self>, Box<str>),
    Item(Box<Self>, Box<Self>),
    Slice(Box<Self>, Box<[Option<Self>; 3]>),
    Not(Box<Self>),
    Negate(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Binary(Operator, Box<Self>, Box<Self>),
    /// `a < b < c`: each operand is evaluated once.
    Chain(Box<Self>, Vec<(Comparison, Self)>),
    If(Box<Choice>),
    Filter(Filter, Box<Self>, Arguments),
    Test(Test, Box<Self>, Arguments),
    /// A filter or a test for each element of a list.
    Each(Box<Each>),
    Status(Status),
    Range(Arguments),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    /// Text with values between, as in a template.
    Text(Vec<Self>),
    /// An expression of a template, with its text for messages.
    Quoted(Box<str>, Box<Self>),
}

#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) test: Code,
    pub(crate) then: Code,
    pub(crate) otherwise: Option<Code>,
}

#[derive(Debug)]
pub(crate) struct Each {
    pub(crate) list: Code,
    pub(crate) mode: Mode,
    /// What of each element is looked at: `a.b`.
    pub(crate) attribute: Option<Box<str>>,
    pub(crate) apply: Apply,
    /// Those of the filter or test; without one, what stands for a missing attribute.
    pub(crate) arguments: Arguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Map,
    Select,
    Reject,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Apply {
    /// `map(attribute=…)`.
    Nothing,
    Filter(Filter),
    Test(Test),
    /// `select` without a test: what counts as true.
    Truth,
}

/// Arguments of a filter, a test or a function.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    pub(crate) positional: Vec<Code>,
    pub(crate) named: Vec<(Box<str>, Code)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Success,
    Failure,
    Always,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
    Concatenate,
    Compare(Comparison),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

impl Code {
    /// Tells whether the value can never be a boolean, whatever the data is.
    pub(crate) fn never_boolean(&self) -> bool {
        match self {
            Self::Constant(value) => !value.is_boolean(),
            Self::Negate(_) | Self::Range(_) | Self::List(_) | Self::Map(_) | Self::Text(_) => true,
            Self::Binary(operator, _, _) => !matches!(operator, Operator::Compare(_)),
            Self::Each(_) => true,
            Self::Quoted(_, code) => code.never_boolean(),
            Self::Filter(filter, _, _) => filter.never_boolean(),
            Self::And(left, right) | Self::Or(left, right) => {
                left.never_boolean() && right.never_boolean()
            }
            Self::If(choice) => {
                choice.then.never_boolean()
                    && choice.otherwise.as_ref().is_none_or(Self::never_boolean)
            }
            Self::Load(reference) => matches!(
                reference,
                Reference::Index
                    | Reference::RunId
                    | Reference::RunWorkflow
                    | Reference::Inputs
                    | Reference::Step(_, super::StepPart::Status | super::StepPart::Outputs)
            ),
            Self::Field(_, _)
            | Self::Item(_, _)
            | Self::Slice(_, _)
            | Self::Not(_)
            | Self::Chain(_, _)
            | Self::Test(_, _, _)
            | Self::Status(_) => false,
        }
    }
}
