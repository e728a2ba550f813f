//! Filters, tests and functions.

use minijinja::machinery::ast::{self, CallArg, Expr};

use super::{Compilation, Compiler, Typed};
use crate::diagnostic::codes;
use crate::expression::code::{Apply, Arguments, Code, Each, Mode, Status};
use crate::expression::names::{EACH, FUNCTIONS, Filter, Signature, Test};
use crate::expression::shape::{Found, Shape};
use crate::suggest::suggest;

impl<'a> Compiler<'a, '_, '_> {
    pub(super) fn filter(&mut self, expr: &Expr<'_>, filter: &ast::Filter<'_>) -> Compilation<'a> {
        let of = match &filter.expr {
            Some(of) => self.expression(of),
            None => return None,
        };
        if EACH.contains(&filter.name) {
            let of = of?;
            return self.each(expr, filter, of);
        }
        let Some(known) = Filter::find(filter.name) else {
            let known = Filter::NAMES.iter().chain(EACH).copied();
            return self.unknown(expr, "filter", filter.name, known);
        };
        let what = format!("filter `{}`", filter.name);
        let arguments = self.arguments(expr, &what, known.signature(), &filter.args);
        let of = of?;
        let shape = match known {
            Filter::First | Filter::Last => match self.view.catalogue.element(&of.shape, None) {
                Found::Shape(shape) => shape,
                Found::Excluded(..) => Shape::Any,
            },
            Filter::Sort | Filter::Unique | Filter::Reverse | Filter::List => match of.shape {
                list @ Shape::ListOf(_) => list,
                Shape::Any | Shape::Json(_) | Shape::Group(_) => Shape::Any,
            },
            _ => Shape::Any,
        };
        Some(Typed { code: Code::Filter(known, Box::new(of.code), arguments?), shape })
    }

    pub(super) fn test(&mut self, expr: &Expr<'_>, test: &ast::Test<'_>) -> Compilation<'a> {
        let of = self.expression(&test.expr);
        let Some(known) = Test::find(test.name) else {
            return self.unknown(expr, "test", test.name, Test::NAMES.iter().copied());
        };
        let what = format!("test `{}`", test.name);
        let arguments = self.arguments(expr, &what, known.signature(), &test.args);
        Some(Code::Test(known, Box::new(of?.code), arguments?).into())
    }

    pub(super) fn call(&mut self, expr: &Expr<'_>, call: &ast::Call<'_>) -> Compilation<'a> {
        let name = match &call.expr {
            Expr::Var(variable) => variable.id,
            Expr::GetAttr(method) => {
                let filter = Filter::find(method.name).map(|_| method.name);
                self.error(
                    codes::UNKNOWN_FUNCTION,
                    expr,
                    format!("there are no methods: `{}()` cannot be called", method.name),
                )
                .maybe_help(filter.map(|name| format!("there is a filter: `value | {name}`")));
                return None;
            }
            _ => {
                self.error(codes::UNKNOWN_FUNCTION, expr, "only functions can be called");
                return None;
            }
        };
        let status = match name {
            "success" => Status::Success,
            "failure" => Status::Failure,
            "always" => Status::Always,
            "range" => {
                let signature = Signature { least: 1, most: 3, named: &[] };
                let arguments = self.arguments(expr, "`range()`", signature, &call.args)?;
                return Some(Code::Range(arguments).into());
            }
            _ => return self.unknown(expr, "function", name, FUNCTIONS.iter().copied()),
        };
        let signature = Signature { least: 0, most: 0, named: &[] };
        self.arguments(expr, &format!("`{name}()`"), signature, &call.args)?;
        self.asks_status |= status != Status::Success;
        Some(Code::Status(status).into())
    }

    fn unknown<'n>(
        &mut self,
        expr: &Expr<'_>,
        kind: &str,
        name: &str,
        known: impl Iterator<Item = &'n str> + Clone,
    ) -> Compilation<'a> {
        let help = match suggest(name, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the {kind}s are: {}", known.collect::<Vec<_>>().join(", ")),
        };
        let short: String = name.chars().take(64).collect();
        self.error(codes::UNKNOWN_FUNCTION, expr, format!("unknown {kind} `{short}`")).help(help);
        None
    }

    fn arguments(
        &mut self,
        expr: &Expr<'_>,
        what: &str,
        signature: Signature,
        given: &[CallArg<'_>],
    ) -> Option<Arguments> {
        let mut arguments = Arguments::default();
        let mut complete = true;
        for argument in given {
            match argument {
                CallArg::Pos(value) => match self.expression(value) {
                    Some(value) => arguments.positional.push(value.code),
                    None => complete = false,
                },
                CallArg::Kwarg(name, value) => {
                    let value = self.expression(value);
                    if !signature.named.contains(name) {
                        let message = format!("{what} has no argument `{name}`");
                        let known = signature.named.join(", ");
                        let help = (!known.is_empty()).then(|| format!("it has: {known}"));
                        self.error(codes::UNKNOWN_FUNCTION, expr, message).maybe_help(help);
                        complete = false;
                    }
                    match value {
                        Some(value) => arguments.named.push(((*name).into(), value.code)),
                        None => complete = false,
                    }
                }
                CallArg::PosSplat(_) | CallArg::KwargSplat(_) => {
                    let message = "arguments cannot be unpacked with `*`";
                    self.error(codes::UNKNOWN_FUNCTION, expr, message);
                    return None;
                }
            }
        }
        let count = given.iter().filter(|one| matches!(one, CallArg::Pos(_))).count();
        if count < signature.least || count > signature.most {
            let wanted = match (signature.least, signature.most) {
                (_, 0) => "no arguments".to_owned(),
                (1, 1) => "one argument".to_owned(),
                (least, most) if least == most => format!("{most} arguments"),
                (least, most) => format!("{least} to {most} arguments"),
            };
            let message = format!("{what} takes {wanted}, but {count} are given");
            self.error(codes::UNKNOWN_FUNCTION, expr, message);
            return None;
        }
        complete.then_some(arguments)
    }

    /// Compiles `map`, `select`, `reject` and the like.
    fn each(
        &mut self,
        expr: &Expr<'_>,
        filter: &ast::Filter<'_>,
        of: Typed<'a>,
    ) -> Compilation<'a> {
        let mode = match filter.name {
            "map" => Mode::Map,
            "select" | "selectattr" => Mode::Select,
            _ => Mode::Reject,
        };
        let mut given = filter.args.iter().peekable();
        let mut attribute = None;
        let mut arguments = Arguments::default();
        if filter.name.ends_with("attr") {
            attribute = Some(self.constant_text(expr, filter.name, given.next())?);
        } else if mode == Mode::Map && matches!(given.peek(), Some(CallArg::Kwarg(..))) {
            for argument in given.by_ref() {
                match argument {
                    CallArg::Kwarg("attribute", Expr::Const(value)) => {
                        attribute = Some(value.value.to_string());
                    }
                    CallArg::Kwarg("default", value) => {
                        arguments.positional = vec![self.expression(value)?.code];
                    }
                    CallArg::Kwarg(..)
                    | CallArg::Pos(_)
                    | CallArg::PosSplat(_)
                    | CallArg::KwargSplat(_) => {
                        self.error(
                            codes::UNKNOWN_FUNCTION,
                            expr,
                            "`map` does not take this argument",
                        )
                        .help("write `map(attribute=\"name\")` or `map(\"filter\")`");
                        return None;
                    }
                }
            }
        }
        let rest: Vec<&CallArg<'_>> = given.collect();
        let (shape, apply) = match (mode, rest.split_first()) {
            (Mode::Map, None) if attribute.is_none() => {
                self.error(codes::UNKNOWN_FUNCTION, expr, "`map` needs a filter or an attribute")
                    .help("write `map(attribute=\"name\")` or `map(\"filter\")`");
                return None;
            }
            (Mode::Map, None) => (Shape::Any, Apply::Nothing),
            (_, None) => (of.shape.clone(), Apply::Truth),
            (_, Some((first, rest))) => {
                let apply;
                (apply, arguments) = self.apply(expr, (filter.name, mode), first, rest)?;
                (if mode == Mode::Map { Shape::Any } else { of.shape.clone() }, apply)
            }
        };
        let inner = self.each_attribute(expr, &of.shape, attribute.as_deref())?;
        let shape = match (mode, &apply) {
            (Mode::Map, Apply::Nothing) => Shape::ListOf(Box::new(inner)),
            _ => shape,
        };
        let attribute = attribute.map(String::into_boxed_str);
        let each = Each { list: of.code, mode, attribute, apply, arguments };
        Some(Typed { code: Code::Each(Box::new(each)), shape })
    }

    /// Resolves the filter or test that is applied to each element.
    fn apply(
        &mut self,
        expr: &Expr<'_>,
        what: (&str, Mode),
        first: &CallArg<'_>,
        rest: &[&CallArg<'_>],
    ) -> Option<(Apply, Arguments)> {
        let (what, mode) = what;
        let name = self.constant_text(expr, what, Some(first))?;
        let signature = if mode == Mode::Map {
            Filter::find(&name).map(Filter::signature)
        } else {
            Test::find(&name).map(Test::signature)
        };
        let Some(signature) = signature else {
            let (kind, known) =
                if mode == Mode::Map { ("filter", Filter::NAMES) } else { ("test", Test::NAMES) };
            self.unknown(expr, kind, &name, known.iter().copied());
            return None;
        };
        let mut arguments = Arguments::default();
        for argument in rest {
            match argument {
                CallArg::Pos(value) => arguments.positional.push(self.expression(value)?.code),
                CallArg::Kwarg(..) | CallArg::PosSplat(_) | CallArg::KwargSplat(_) => {
                    let message = format!("`{name}` takes no named arguments here");
                    self.error(codes::UNKNOWN_FUNCTION, expr, message);
                    return None;
                }
            }
        }
        let count = arguments.positional.len();
        if count < signature.least || count > signature.most {
            let message = format!("`{name}` does not take {count} arguments");
            self.error(codes::UNKNOWN_FUNCTION, expr, message);
            return None;
        }
        let apply = match (Filter::find(&name), Test::find(&name)) {
            (Some(filter), _) if mode == Mode::Map => Apply::Filter(filter),
            (_, Some(test)) => Apply::Test(test),
            (_, None) => Apply::Truth,
        };
        Some((apply, arguments))
    }

    fn constant_text(
        &mut self,
        expr: &Expr<'_>,
        what: &str,
        argument: Option<&CallArg<'_>>,
    ) -> Option<String> {
        if let Some(CallArg::Pos(Expr::Const(constant))) = argument
            && let Some(text) = constant.value.as_str()
        {
            return Some(text.to_owned());
        }
        self.error(
            codes::UNKNOWN_FUNCTION,
            expr,
            format!("`{what}` needs a constant string as its first argument"),
        );
        None
    }

    /// Checks the path that is looked at in each element.
    fn each_attribute(
        &mut self,
        expr: &Expr<'_>,
        list: &Shape<'a>,
        path: Option<&str>,
    ) -> Option<Shape<'a>> {
        let Some(path) = path else { return Some(Shape::Any) };
        let mut shape = match self.view.catalogue.element(list, None) {
            Found::Shape(shape) => shape,
            Found::Excluded(..) => Shape::Any,
        };
        for part in path.split('.') {
            let found = match part.parse::<usize>() {
                Ok(at) => self.view.catalogue.element(&shape, Some(at)),
                Err(_) => self.view.catalogue.field(&shape, part),
            };
            shape = self.found(expr, found, part)?;
        }
        Some(shape)
    }
}
