//! Text to code: minijinja parses, every name is resolved and checked.

mod calls;
mod roots;

use std::ops::Range;

use minijinja::machinery::ast::{self, Expr};
use serde_json::Value;

use super::code::{Choice, Code, Comparison, Operator};
use super::shape::Shape;
use super::view::{Located, View};
use super::{Reference, StepPart};
use crate::diagnostic::{Code as ProblemCode, Problem, Problems, codes};
use crate::limits;

/// An expression that was compiled.
pub(crate) struct Compiled<'a> {
    pub(crate) code: Code,
    pub(crate) shape: Shape<'a>,
    /// What it reads, in the order of the text, each as often as it is read.
    pub(crate) reads: Vec<Reference>,
    /// It calls `failure()` or `always()`.
    pub(crate) asks_status: bool,
}

/// Compiles the part of a text that is an expression; reports all that is wrong with it.
pub(crate) fn compile<'a>(
    located: Located<'_>,
    part: Range<usize>,
    view: &View<'a, '_>,
    problems: &mut Problems,
) -> Option<Compiled<'a>> {
    if problems.give_up() {
        return None;
    }
    let text = &located.text[part.clone()];
    if let Some(message) = too_big(text) {
        let span = located.span(part.start..part.start + text.len().min(1));
        problems
            .error(codes::EXPRESSION_SIZE, span, message)
            .help("let an agent compute it, or split it over several steps");
        return None;
    }
    if text.trim().is_empty() {
        problems.error(codes::EXPRESSION_SYNTAX, located.span(part), "the expression is empty");
        return None;
    }
    let parsed = match minijinja::machinery::parse_expr(text) {
        Ok(parsed) => parsed,
        Err(error) => {
            let range = error.range().filter(|range| range.end <= text.len() && !range.is_empty());
            let span = match range {
                Some(range) => located.span(part.start + range.start..part.start + range.end),
                None => located.span(part),
            };
            let detail = error.detail().unwrap_or("it cannot be parsed").to_owned();
            let problem = problems.error(
                codes::EXPRESSION_SYNTAX,
                span,
                format!("not a valid expression: {detail}"),
            );
            if let Some(help) = operator_help(text) {
                problem.help(help);
            }
            return None;
        }
    };
    let mut compiler = Compiler {
        located,
        start: part.start,
        view,
        problems,
        reads: Vec::new(),
        asks_status: false,
        depth: 0,
        too_deep: false,
        minus: false,
    };
    let typed = compiler.expression(&parsed)?;
    let Compiler { reads, asks_status, .. } = compiler;
    Some(Compiled { code: typed.code, shape: typed.shape, reads, asks_status })
}

/// Says why a text is too big to be parsed, if it is.
fn too_big(text: &str) -> Option<String> {
    if text.len() > limits::EXPRESSION_BYTES {
        return Some(format!("the expression is longer than {} bytes", limits::EXPRESSION_BYTES));
    }
    let (mut open, mut deepest, mut quote) = (0usize, 0, None);
    let mut unary = 0usize;
    for byte in text.bytes() {
        match (quote, byte) {
            (Some(end), byte) if byte == end => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'(' | b'[' | b'{') => open += 1,
            (None, b')' | b']' | b'}') => open = open.saturating_sub(1),
            (None, _) => {}
        }
        unary = if byte == b'-' { unary + 1 } else { 0 };
        deepest = deepest.max(open).max(unary);
    }
    (deepest > limits::EXPRESSION_BRACKETS)
        .then(|| format!("the expression nests more than {} deep", limits::EXPRESSION_BRACKETS))
}

/// Recognizes operators of other languages.
fn operator_help(text: &str) -> Option<String> {
    if text.contains(" for ") {
        return Some("there are no loops: use `map`, `select` or `reject`".to_owned());
    }
    if text.contains("{%") {
        return Some(
            "there are no statements, only expressions: `a if condition else b`".to_owned(),
        );
    }
    let foreign = [
        ("&&", "and"),
        ("||", "or"),
        ("===", "=="),
        ("!", "not"),
        ("?", "a if condition else b"),
        ("=", "=="),
    ];
    let text = ["==", "!=", "<=", ">="].iter().fold(text.to_owned(), |t, op| t.replace(op, " "));
    foreign
        .iter()
        .find(|(foreign, _)| text.contains(foreign))
        .map(|(foreign, ours)| format!("`{foreign}` is written `{ours}` here"))
}

/// Returns where a chain such as `a.b[0].c` starts; minijinja's spans hold its last link only.
fn leftmost<'e, 's>(expr: &'e Expr<'s>) -> &'e Expr<'s> {
    let mut at = expr;
    loop {
        at = match at {
            Expr::GetAttr(of) => &of.expr,
            Expr::GetItem(of) => &of.expr,
            Expr::Call(of) => &of.expr,
            _ => return at,
        };
    }
}

/// Code and what is known about its value.
struct Typed<'a> {
    code: Code,
    shape: Shape<'a>,
}

impl From<Code> for Typed<'_> {
    fn from(code: Code) -> Self {
        Self { code, shape: Shape::Any }
    }
}

struct Compiler<'a, 'c, 't> {
    located: Located<'t>,
    start: usize,
    view: &'c View<'a, 'c>,
    problems: &'c mut Problems,
    reads: Vec<Reference>,
    asks_status: bool,
    depth: usize,
    /// Reported once; what follows is not looked at.
    too_deep: bool,
    /// A `-` was meant as a part of a name; what follows it is not looked at.
    minus: bool,
}

type Compilation<'a> = Option<Typed<'a>>;

impl<'a> Compiler<'a, '_, '_> {
    /// Compiles an expression and what is in it.
    fn expression(&mut self, expr: &Expr<'_>) -> Compilation<'a> {
        if self.too_deep {
            return None;
        }
        self.depth += 1;
        if self.depth > limits::EXPRESSION_DEPTH {
            self.too_deep = true;
            self.error(
                codes::EXPRESSION_SIZE,
                expr,
                format!("the expression has more than {} levels", limits::EXPRESSION_DEPTH),
            )
            .help("let an agent compute it, or split it over several steps");
            return None;
        }
        let typed = self.node(expr);
        self.depth -= 1;
        typed
    }

    fn node(&mut self, expr: &Expr<'_>) -> Compilation<'a> {
        match expr {
            Expr::Var(variable) => self.variable(expr, variable.id),
            Expr::Const(constant) => self.constant(expr, &constant.value),
            Expr::GetAttr(of) => self.member(expr, &of.expr, of.name),
            Expr::GetItem(of) => self.item(expr, of),
            Expr::Slice(slice) => self.slice(slice),
            Expr::UnaryOp(unary) => {
                let of = Box::new(self.expression(&unary.expr)?.code);
                Some(Typed::from(match unary.op {
                    ast::UnaryOpKind::Not => Code::Not(of),
                    ast::UnaryOpKind::Neg => Code::Negate(of),
                }))
            }
            Expr::BinOp(binary) => self.binary(binary),
            Expr::Compare(compare) => self.chain(compare),
            Expr::IfExpr(choice) => self.choice(choice),
            Expr::Filter(filter) => self.filter(expr, filter),
            Expr::Test(test) => self.test(expr, test),
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => self.list(&list.items),
            Expr::Tuple(tuple) => self.list(&tuple.items),
            Expr::Map(map) => self.map(map),
        }
    }

    fn error(
        &mut self,
        code: ProblemCode,
        at: &Expr<'_>,
        message: impl Into<String>,
    ) -> &mut Problem {
        let (first, last) = (leftmost(at).span().start_offset, at.span().end_offset);
        let range = self.start + first as usize..self.start + last as usize;
        self.problems.error(code, self.located.span(range), message)
    }

    fn constant(&mut self, expr: &Expr<'_>, value: &minijinja::Value) -> Compilation<'a> {
        match serde_json::to_value(value) {
            // A number that is not finite would become `null`.
            Ok(json) if !json.is_null() || !value.is_number() => Some(Code::Constant(json).into()),
            Ok(_) | Err(_) => {
                self.error(codes::OUT_OF_RANGE, expr, "this number is too large");
                None
            }
        }
    }

    /// Compiles several expressions, so that the problems of all are reported.
    fn all(&mut self, expressions: &[Expr<'_>]) -> Option<Vec<Code>> {
        let compiled: Vec<_> = expressions.iter().map(|expr| self.expression(expr)).collect();
        compiled.into_iter().map(|typed| typed.map(|typed| typed.code)).collect()
    }

    fn list(&mut self, items: &[Expr<'_>]) -> Compilation<'a> {
        Some(Code::List(self.all(items)?).into())
    }

    fn map(&mut self, map: &ast::Map<'_>) -> Compilation<'a> {
        let (keys, values) = (self.all(&map.keys), self.all(&map.values));
        Some(Code::Map(keys?.into_iter().zip(values?).collect()).into())
    }

    fn slice(&mut self, slice: &ast::Slice<'_>) -> Compilation<'a> {
        let of = self.expression(&slice.expr)?;
        let mut bound = |bound: &Option<Expr<'_>>| match bound {
            Some(bound) => Some(Some(self.expression(bound)?.code)),
            None => Some(None),
        };
        let bounds = [bound(&slice.start)?, bound(&slice.stop)?, bound(&slice.step)?];
        Some(Typed { code: Code::Slice(Box::new(of.code), Box::new(bounds)), shape: of.shape })
    }

    fn choice(&mut self, choice: &ast::IfExpr<'_>) -> Compilation<'a> {
        let test = self.expression(&choice.test_expr);
        let then = self.expression(&choice.true_expr);
        let otherwise = match &choice.false_expr {
            Some(otherwise) => Some(self.expression(otherwise)?.code),
            None => None,
        };
        let choice = Choice { test: test?.code, then: then?.code, otherwise };
        Some(Code::If(Box::new(choice)).into())
    }

    fn binary(&mut self, binary: &ast::BinOp<'_>) -> Compilation<'a> {
        let left = self.expression(&binary.left);
        if std::mem::take(&mut self.minus) {
            return None;
        }
        let right = self.expression(&binary.right);
        let (left, right) = (Box::new(left?.code), Box::new(right?.code));
        let compare = |by| Operator::Compare(by);
        let operator = match binary.op {
            ast::BinOpKind::ScAnd => return Some(Code::And(left, right).into()),
            ast::BinOpKind::ScOr => return Some(Code::Or(left, right).into()),
            ast::BinOpKind::Add => Operator::Add,
            ast::BinOpKind::Sub => Operator::Subtract,
            ast::BinOpKind::Mul => Operator::Multiply,
            ast::BinOpKind::Div => Operator::Divide,
            ast::BinOpKind::FloorDiv => Operator::FloorDivide,
            ast::BinOpKind::Rem => Operator::Remainder,
            ast::BinOpKind::Pow => Operator::Power,
            ast::BinOpKind::Concat => Operator::Concatenate,
            ast::BinOpKind::Eq => compare(Comparison::Equal),
            ast::BinOpKind::Ne => compare(Comparison::NotEqual),
            ast::BinOpKind::Lt => compare(Comparison::Less),
            ast::BinOpKind::Lte => compare(Comparison::LessOrEqual),
            ast::BinOpKind::Gt => compare(Comparison::Greater),
            ast::BinOpKind::Gte => compare(Comparison::GreaterOrEqual),
            ast::BinOpKind::In => compare(Comparison::In),
        };
        Some(Code::Binary(operator, left, right).into())
    }

    fn chain(&mut self, compare: &ast::Compare<'_>) -> Compilation<'a> {
        let first = self.expression(&compare.expr);
        let mut rest = Vec::with_capacity(compare.ops.len());
        for op in &compare.ops {
            let by = match op.op {
                ast::CompareOpKind::Eq => Comparison::Equal,
                ast::CompareOpKind::Ne => Comparison::NotEqual,
                ast::CompareOpKind::Lt => Comparison::Less,
                ast::CompareOpKind::Lte => Comparison::LessOrEqual,
                ast::CompareOpKind::Gt => Comparison::Greater,
                ast::CompareOpKind::Gte => Comparison::GreaterOrEqual,
                ast::CompareOpKind::In => Comparison::In,
                ast::CompareOpKind::NotIn => Comparison::NotIn,
            };
            rest.push((by, self.expression(&op.expr)?.code));
        }
        Some(Code::Chain(Box::new(first?.code), rest).into())
    }

    /// Compiles `of.name`.
    fn member(&mut self, expr: &Expr<'_>, of: &Expr<'_>, name: &str) -> Compilation<'a> {
        if let Some(root) = self.root(expr, of, name) {
            return root;
        }
        let of = self.expression(of)?;
        let found = self.view.catalogue.field(&of.shape, name);
        let shape = self.found(expr, found, name)?;
        Some(Typed { code: Code::Field(Box::new(of.code), name.into()), shape })
    }

    /// Compiles `of[at]`.
    fn item(&mut self, expr: &Expr<'_>, item: &ast::GetItem<'_>) -> Compilation<'a> {
        if let Expr::Const(constant) = &item.subscript_expr
            && let Some(name) = constant.value.as_str()
        {
            return self.member(expr, &item.expr, name);
        }
        if let Expr::Var(variable) = &item.expr
            && variable.id == "steps"
        {
            self.error(
                codes::DYNAMIC_STEP,
                expr,
                "a step cannot be chosen while the run is under way",
            )
            .help("write the id as a constant: `steps.ID.output`");
            return None;
        }
        let of = self.expression(&item.expr);
        let at = self.expression(&item.subscript_expr);
        let (of, at) = (of?, at?);
        let shape = match &at.code {
            Code::Constant(Value::Number(number)) => {
                let at = number.as_u64().and_then(|at| usize::try_from(at).ok());
                let found = self.view.catalogue.element(&of.shape, at);
                self.found(expr, found, &format!("[{number}]"))?
            }
            _ => Shape::Any,
        };
        Some(Typed { code: Code::Item(Box::new(of.code), Box::new(at.code)), shape })
    }

    fn load(&mut self, reference: Reference, shape: Shape<'a>) -> Compilation<'a> {
        self.reads.push(reference.clone());
        Some(Typed { code: Code::Load(reference), shape })
    }

    fn load_step(&mut self, step: crate::workflow::StepIndex, part: StepPart) -> Compilation<'a> {
        let shape = match part {
            StepPart::Output | StepPart::Outputs => self.view.catalogue.result(step),
            StepPart::Status => Shape::Any,
        };
        self.load(Reference::Step(step, part), shape)
    }
}
