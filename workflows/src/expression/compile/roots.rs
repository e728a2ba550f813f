//! The variables: `steps`, `inputs`, `item`, `run` and the rest.

use minijinja::machinery::ast::Expr;

use super::{Compilation, Compiler};
use crate::diagnostic::codes;
use crate::expression::shape::{Found, Shape};
use crate::expression::view::Place;
use crate::expression::{Reference, StepPart};
use crate::name::Name;
use crate::workflow::StepIndex;

const ROOTS: &[&str] = &["error", "index", "inputs", "item", "output", "run", "signal", "steps"];

impl<'a> Compiler<'a, '_, '_> {
    /// Compiles a variable that stands alone.
    pub(super) fn variable(&mut self, expr: &Expr<'_>, name: &str) -> Compilation<'a> {
        let place = self.view.place;
        match name {
            "inputs" => self.load(Reference::Inputs, Shape::Any),
            "item" | "index" => match (self.view.item.clone(), name) {
                (Some(shape), "item") => self.load(Reference::Item, shape),
                (Some(_), _) => self.load(Reference::Index, Shape::Any),
                (None, _) => self.misplaced(expr, name, "inside a step or group with `for_each`"),
            },
            "signal" if place == Place::Signal => self.load(Reference::Signal, Shape::Any),
            "signal" => self.misplaced(expr, name, "in `wait_for.if`"),
            "output" if place == Place::Compensate => {
                let shape = match self.view.owner {
                    // Of a step with items each item is made good by itself.
                    Some(owner) => self.view.catalogue.output(owner),
                    None => Shape::Any,
                };
                self.load(Reference::Output, shape)
            }
            "output" => self.misplaced(expr, name, "in `compensate`"),
            "error" if matches!(place, Place::Compensate | Place::Fallback) => {
                self.load(Reference::Error, Shape::Any)
            }
            "error" => self.misplaced(expr, name, "in `compensate` and `fallback`"),
            "steps" => {
                self.error(codes::DYNAMIC_STEP, expr, "`steps` is not a value")
                    .help("name the step: `steps.ID.output`");
                None
            }
            "run" => {
                self.error(codes::UNKNOWN_PART, expr, "`run` is not a value")
                    .help("it has `run.id` and `run.workflow`");
                None
            }
            _ => self.unknown_variable(expr, name),
        }
    }

    fn misplaced(&mut self, expr: &Expr<'_>, name: &str, place: &str) -> Compilation<'a> {
        self.error(codes::MISPLACED_VARIABLE, expr, format!("`{name}` has no value here"))
            .help(format!("it can be used {place}"));
        None
    }

    fn unknown_variable(&mut self, expr: &Expr<'_>, name: &str) -> Compilation<'a> {
        let catalogue = self.view.catalogue;
        let help = if catalogue.inputs.contains_key(name) {
            format!("did you mean `inputs.{name}`?")
        } else if catalogue.by_id.contains_key(name) {
            format!("did you mean `steps.{name}.output`?")
        } else if let Some(near) = self.problems.suggest(name, ROOTS.iter().copied()) {
            format!("did you mean `{near}`?")
        } else {
            "text needs quotes here; the variables are `inputs`, `steps`, `item`, `index` and `run`"
                .to_owned()
        };
        let short: String = name.chars().take(64).collect();
        self.error(codes::UNKNOWN_VARIABLE, expr, format!("unknown variable `{short}`")).help(help);
        None
    }

    /// Compiles `of.name` if `of` is a variable with members of its own; `None` if it is a value.
    pub(super) fn root(
        &mut self,
        expr: &Expr<'_>,
        of: &Expr<'_>,
        name: &str,
    ) -> Option<Compilation<'a>> {
        if let Expr::Var(variable) = of {
            return match variable.id {
                "inputs" => Some(self.input(expr, name)),
                "run" => Some(self.run(expr, name)),
                "steps" => {
                    if self.step(expr, name).is_some() {
                        self.error(
                            codes::UNKNOWN_PART,
                            expr,
                            format!("`steps.{name}` is not a value"),
                        )
                        .help(format!("it has `steps.{name}.output` and `steps.{name}.status`"));
                    }
                    Some(None)
                }
                _ => None,
            };
        }
        let (base, id) = match of {
            Expr::GetAttr(of) => (&of.expr, of.name.to_owned()),
            Expr::GetItem(of) => match &of.subscript_expr {
                Expr::Const(constant) => (&of.expr, constant.value.as_str()?.to_owned()),
                _ => return None,
            },
            _ => return None,
        };
        match base {
            Expr::Var(variable) if variable.id == "steps" => {
                Some(self.step(of, &id).and_then(|step| self.part(expr, step, name)))
            }
            _ => None,
        }
    }

    fn input(&mut self, expr: &Expr<'_>, name: &str) -> Compilation<'a> {
        let catalogue = self.view.catalogue;
        match catalogue.inputs.get(name) {
            Some(schema) => {
                let shape = schema.map_or(Shape::Any, Shape::Json);
                self.load(Reference::Input(Name::new_unchecked(name)), shape)
            }
            None => {
                let hyphenated = self.hyphenated(expr, name);
                let names = &catalogue.input_names;
                let help =
                    if let Some(full) = hyphenated.filter(|full| names.contains(&full.as_str())) {
                        self.minus = true;
                        format!("`-` is a minus here: write `inputs['{full}']`")
                    } else if let Some(near) = self.problems.suggest(name, names.iter().copied()) {
                        format!("did you mean `{near}`?")
                    } else if names.is_empty() {
                        "the workflow declares no `inputs`".to_owned()
                    } else {
                        format!("the inputs are: {}", listed(names))
                    };
                self.error(codes::UNKNOWN_INPUT, expr, format!("there is no input `{name}`"))
                    .help(help);
                None
            }
        }
    }

    /// Reports a field or an element that can never be there.
    pub(super) fn found(
        &mut self,
        expr: &Expr<'_>,
        found: Found<'a>,
        name: &str,
    ) -> Option<Shape<'a>> {
        match found {
            Found::Shape(shape) => Some(shape),
            Found::Excluded(why, known) => {
                let near = self.problems.suggest(name, known.iter().copied());
                let help = match near {
                    Some(near) => Some(format!("did you mean `{near}`?")),
                    None if known.is_empty() => None,
                    None => Some(format!("it has: {}", listed(&known))),
                };
                self.error(
                    codes::EXCLUDED_FIELD,
                    expr,
                    format!("there can be no `{name}` here: {why}"),
                )
                .maybe_help(help);
                None
            }
        }
    }

    fn run(&mut self, expr: &Expr<'_>, name: &str) -> Compilation<'a> {
        match name {
            "id" => self.load(Reference::RunId, Shape::Any),
            "workflow" => self.load(Reference::RunWorkflow, Shape::Any),
            _ => {
                self.error(codes::UNKNOWN_PART, expr, format!("`run` has no `{name}`"))
                    .help("it has `run.id` and `run.workflow`");
                None
            }
        }
    }

    /// Resolves a step that the owner may read.
    fn step(&mut self, expr: &Expr<'_>, id: &str) -> Option<StepIndex> {
        let catalogue = self.view.catalogue;
        let Some(step) = catalogue.by_id.get(id).copied() else {
            if catalogue.steps_known && !catalogue.broken.contains(id) {
                let help = match self.hyphenated(expr, id) {
                    Some(full) if catalogue.by_id.contains_key(full.as_str()) => {
                        self.minus = true;
                        Some(format!("`-` is a minus here: write `steps['{full}']`"))
                    }
                    Some(_) | None => {
                        let near = self.problems.suggest(id, catalogue.ids());
                        near.map(|near| format!("did you mean `{near}`?"))
                    }
                };
                let short: String = id.chars().take(64).collect();
                self.error(codes::UNKNOWN_STEP, expr, format!("there is no step `{short}`"))
                    .maybe_help(help);
            }
            return None;
        };
        if self.view.is_around(step) {
            let message = if self.view.owner == Some(step) {
                format!("step `{id}` waits for itself")
            } else {
                format!("the step is inside `{id}` and cannot wait for it")
            };
            let help = if self.view.place == Place::Compensate {
                Some("in `compensate`, `output` is the step's own output")
            } else {
                None
            };
            self.error(codes::CYCLE, expr, message).maybe_help(help);
            return None;
        }
        if !self.view.can_see(step) {
            let group = catalogue.step(step).parent.map(|group| catalogue.step(group).id);
            let help =
                group.map(|group| format!("the group gives it away: `steps.{group}.output.{id}`"));
            self.error(
                codes::OUT_OF_SCOPE,
                expr,
                format!("step `{id}` is inside a group and cannot be seen from here"),
            )
            .maybe_help(help);
            return None;
        }
        Some(step)
    }

    fn part(&mut self, expr: &Expr<'_>, step: StepIndex, name: &str) -> Compilation<'a> {
        let facts = self.view.catalogue.step(step);
        let (id, has_items) = (facts.id, facts.has_items);
        let (message, help) = match (name, has_items) {
            ("status", _) => return self.load_step(step, StepPart::Status),
            ("output", false) => return self.load_step(step, StepPart::Output),
            ("outputs", true) => return self.load_step(step, StepPart::Outputs),
            ("output", true) => (
                format!("step `{id}` has `for_each`: it has no single output"),
                format!("`steps.{id}.outputs` is the list of all"),
            ),
            ("outputs", false) => (
                format!("step `{id}` has no `for_each`: it has a single output"),
                format!("write `steps.{id}.output`"),
            ),
            _ => {
                let output = if has_items { "outputs" } else { "output" };
                let help = if ["result", "results", "value", "data"].contains(&name) {
                    format!("did you mean `{output}`?")
                } else {
                    format!(
                        "it has `steps.{id}.{output}` and `steps.{id}.status`; the fields of \
                             its output are `steps.{id}.{output}.{name}`"
                    )
                };
                (format!("step `{id}` has no `{name}`"), help)
            }
        };
        self.error(codes::UNKNOWN_PART, expr, message).help(help);
        None
    }

    /// Returns the name together with what follows it after a `-`.
    fn hyphenated(&self, expr: &Expr<'_>, name: &str) -> Option<String> {
        let end = self.start + expr.span().end_offset as usize;
        let rest = self.located.text.get(end..)?;
        let more = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte))
            .count();
        (more > 1 && rest.starts_with('-')).then(|| format!("{name}{}", &rest[..more]))
    }
}

/// Lists names for a hint, no more than fit into one.
fn listed(names: &[&str]) -> String {
    names.iter().take(100).copied().collect::<Vec<_>>().join(", ")
}
