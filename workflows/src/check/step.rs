//! One step after the other: what it is, its policies, its expressions.

mod kind;
mod times;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::kinds::{self, Kind};
use super::policies::{self, Defaults};
use super::step_read;
use super::survey::{Survey, Surveyed};
use crate::definition::{AgentDefinition, Any, At, StepDefinition};
use crate::diagnostic::{Problems, codes};
use crate::expression::{
    Catalogue, Condition, Place, Shape, Template, View, Written, condition, items, template,
};
use crate::name::Name;
use crate::parse::Node;
use crate::policy::{Labels, RetryPolicy, Tolerate, WhenOpen};
use crate::workflow::{ForEach, Healing, Remedy, Step, StepIndex, StepKind};
use times::Times;

/// What all steps give.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    /// The steps without their edges; `None` if one of them has a problem.
    pub(super) steps: Option<Vec<Step>>,
    /// What each step reads, and must wait for.
    pub(super) waits: Vec<BTreeSet<StepIndex>>,
    /// What each step reads at any time, its compensation included.
    pub(super) reads: Vec<BTreeSet<StepIndex>>,
    /// What the outputs of the workflow read.
    pub(super) output_reads: BTreeSet<StepIndex>,
}

/// Builds all steps of a workflow.
pub(super) struct Builder<'a, 'c> {
    pub(super) text: &'c str,
    pub(super) survey: &'a Survey,
    pub(super) catalogue: &'c Catalogue<'a>,
    pub(super) defaults: Defaults,
    pub(super) problems: &'c mut Problems,
}

impl<'a> Builder<'a, '_> {
    pub(super) fn all(&mut self) -> Drafts {
        let mut drafts = Drafts { steps: Some(Vec::new()), ..Drafts::default() };
        // What is known about `item` inside each step.
        let mut inner: Vec<Option<Shape<'a>>> = Vec::with_capacity(self.survey.steps.len());
        for (index, surveyed) in self.survey.steps.iter().enumerate() {
            let index = StepIndex(index as u32);
            let outer = surveyed.parent.and_then(|parent| inner[parent.as_usize()].clone());
            let mut one = One {
                builder: self,
                index,
                surveyed,
                outer: outer.clone(),
                inner: outer,
                waits: BTreeSet::new(),
                reads: BTreeSet::new(),
            };
            let step = one.build();
            let One { inner: item, waits, reads, .. } = one;
            inner.push(item);
            drafts.waits.push(waits);
            drafts.reads.push(reads);
            match (step, &mut drafts.steps) {
                (Some(step), Some(steps)) => steps.push(step),
                (None, steps) => *steps = None,
                (Some(_), None) => {}
            }
        }
        drafts
    }
}

/// One step under way.
struct One<'a, 'b, 'c> {
    builder: &'b mut Builder<'a, 'c>,
    index: StepIndex,
    surveyed: &'a Surveyed,
    /// `item` where `if` and `for_each` stand: that of the enclosing group.
    outer: Option<Shape<'a>>,
    /// `item` everywhere else.
    inner: Option<Shape<'a>>,
    waits: BTreeSet<StepIndex>,
    reads: BTreeSet<StepIndex>,
}

impl<'a> One<'a, '_, '_> {
    fn build(&mut self) -> Option<Step> {
        let definition = &self.surveyed.definition;
        let id = &self.surveyed.key;
        let kind = kinds::kind(definition, &id.text, id.span, self.builder.problems);
        if let Some(kind) = kind {
            kinds::keys(definition, kind, self.builder.problems);
        }
        let condition = self.condition(definition);
        let for_each = self.for_each(definition);
        let step_kind = match kind {
            Some(kind) => self.kind(definition, kind),
            None => self.without_kind(definition),
        };
        let healing = self.healing(definition);
        let retry = self.retry(definition, kind);
        let labels = self.labels(definition, kind);
        let defaults = &self.builder.defaults;
        let problems = &mut *self.builder.problems;
        let times = Times::of(definition, kind, defaults, problems);
        let priority = policies::priority(definition.priority.as_ref(), problems);
        Some(Step {
            id: Name::new_unchecked(&id.text),
            index: self.index,
            parent: self.surveyed.parent,
            children: self.surveyed.children.clone(),
            depth: self.surveyed.depth,
            rank: 0,
            kind: step_kind?,
            needs: Vec::new(),
            dependents: Vec::new(),
            reads: Vec::new(),
            readers: Vec::new(),
            outputs_read: false,
            join: definition.join.as_ref().map(|at| at.value.0).unwrap_or_default(),
            condition: condition?,
            for_each: for_each?,
            timeout: times.timeout,
            deadline: times.deadline,
            queue_timeout: times.queue_timeout,
            progress_within: times.progress_within,
            retry,
            expect: self.surveyed.expect.clone(),
            priority: priority.unwrap_or(defaults.priority),
            labels,
            on_failure: definition.on_failure.as_ref().map(|at| at.value).unwrap_or_default(),
            healing: healing?,
        })
    }

    /// Looks at the input of a step that is nothing, for what is wrong with it besides.
    fn without_kind(&mut self, definition: &StepDefinition) -> Option<StepKind> {
        self.with(definition.with.as_ref(), Place::Step);
        None
    }

    fn view(&self, place: Place, item: Option<Shape<'a>>) -> View<'a, '_> {
        View { catalogue: self.builder.catalogue, owner: Some(self.index), place, item }
    }

    /// Remembers what an expression reads; a compensation waits for nothing.
    fn note<T>(&mut self, place: Place, written: Written<T>) -> T {
        let steps: Vec<StepIndex> = written.reads.iter().filter_map(step_read).collect();
        if place != Place::Compensate {
            self.waits.extend(&steps);
        }
        self.reads.extend(steps);
        written.value
    }

    /// Compiles `if`. Errors are `None`, an absent condition is `Some(None)`.
    fn condition(&mut self, definition: &StepDefinition) -> Option<Option<Condition>> {
        let Some(At { value, .. }) = &definition.condition else { return Some(None) };
        let view = View {
            catalogue: self.builder.catalogue,
            owner: Some(self.index),
            place: Place::Step,
            item: self.outer.clone(),
        };
        let written = condition(&value.0, self.builder.text, &view, self.builder.problems)?;
        Some(Some(self.note(Place::Step, written)))
    }

    fn for_each(&mut self, definition: &StepDefinition) -> Option<Option<ForEach>> {
        let max_parallel = policies::number(
            definition.max_parallel.as_ref(),
            "`max_parallel`",
            1,
            u32::MAX,
            self.builder.problems,
        );
        if definition.keys.span("for_each").is_none() {
            return Some(None);
        }
        self.inner = Some(Shape::Any);
        let written = definition.for_each.as_ref()?;
        let view = View {
            catalogue: self.builder.catalogue,
            owner: Some(self.index),
            place: Place::Step,
            item: self.outer.clone(),
        };
        let problems = &mut *self.builder.problems;
        let (items, item) = items(&written.value.0, self.builder.text, &view, problems)?;
        self.inner = Some(item);
        Some(Some(ForEach {
            items: self.note(Place::Step, items),
            max_parallel: max_parallel.and_then(NonZeroU32::new),
            tolerate: definition.tolerate.as_ref().map_or_else(Tolerate::default, |at| at.value.0),
        }))
    }

    fn template(&mut self, node: &Node, place: Place) -> Option<Template> {
        let view = self.view(place, self.inner.clone());
        // The view borrows the catalogue only, which outlives the builder's borrow.
        let view = View { catalogue: self.builder.catalogue, ..view };
        let written = template(node, self.builder.text, &view, self.builder.problems)?;
        Some(self.note(place, written))
    }

    fn with(&mut self, with: Option<&At<Any>>, place: Place) -> Option<Template> {
        match with {
            Some(At { value: Any(node), .. }) => self.template(node, place),
            None => Some(Template::empty()),
        }
    }

    fn remedy(&mut self, definition: &AgentDefinition, place: Place) -> Option<Remedy> {
        let with = self.with(definition.with.as_ref(), place);
        let problems = &mut *self.builder.problems;
        let timeout = policies::positive(definition.timeout.as_ref(), "`timeout`", problems);
        let base = match place {
            // To give up on making good needs an operator: it is tried for minutes before.
            Place::Compensate => Arc::clone(&self.builder.defaults.compensation),
            Place::Fallback | Place::Step | Place::Signal | Place::Outputs => {
                Arc::clone(&self.builder.defaults.never)
            }
        };
        let retry = match &definition.retry {
            Some(retry) => policies::retry_policy(retry, &base, problems),
            None => base,
        };
        let capability = Name::new_unchecked(&definition.agent.as_ref()?.value.0);
        let timeout = timeout.unwrap_or_else(|| self.builder.defaults.agent_timeout());
        Some(Remedy { capability, with: with?, timeout, retry })
    }

    /// Builds what a step does when things go wrong. Errors are `None`, nothing is `Some(None)`.
    fn healing(&mut self, definition: &StepDefinition) -> Option<Option<Box<Healing>>> {
        let mut agent = |written: &Option<Box<At<AgentDefinition>>>, place| match written {
            Some(at) => self.remedy(&at.value, place).map(Some),
            None => Some(None),
        };
        let compensate = agent(&definition.compensate, Place::Compensate);
        let fallback = agent(&definition.fallback, Place::Fallback);
        let problems = &mut *self.builder.problems;
        let breaker = definition.breaker.as_ref().map(|at| policies::breaker(&at.value, problems));
        let supervision = match &definition.supervise {
            Some(at) => policies::supervision(&at.value, problems).map(Some),
            None => Some(None),
        };
        warn_of_pivot_made_good(definition, problems);
        let is_agent = definition.keys.span("agent").is_some();
        let defaults = Some(&self.builder.defaults).filter(|_| is_agent);
        let healing = Healing {
            compensate: compensate?,
            fallback: fallback?,
            pivot: definition.pivot.as_ref().is_some_and(|at| at.value),
            when_open: definition
                .when_open
                .as_ref()
                .map(|at| at.value)
                .or_else(|| defaults.map(|defaults| defaults.when_open))
                .unwrap_or_default(),
            breaker: breaker.or_else(|| defaults.and_then(|defaults| defaults.breaker.clone())),
            supervision: supervision?,
        };
        let nothing = healing.compensate.is_none()
            && healing.fallback.is_none()
            && !healing.pivot
            && healing.when_open == WhenOpen::default()
            && healing.breaker.is_none()
            && healing.supervision.is_none();
        Some((!nothing).then(|| Box::new(healing)))
    }

    fn retry(&mut self, definition: &StepDefinition, kind: Option<Kind>) -> Arc<RetryPolicy> {
        let defaults = &self.builder.defaults;
        let base = match kind {
            Some(Kind::Agent | Kind::Workflow) => &defaults.retry,
            Some(Kind::Wait | Kind::Signal | Kind::Group) | None => &defaults.never,
        };
        match &definition.retry {
            Some(retry) => policies::retry_policy(retry, base, self.builder.problems),
            None => Arc::clone(base),
        }
    }

    fn labels(&self, definition: &StepDefinition, kind: Option<Kind>) -> Labels {
        let base = match kind {
            Some(Kind::Agent) => self.builder.defaults.labels.clone(),
            Some(Kind::Workflow | Kind::Wait | Kind::Signal | Kind::Group) | None => {
                Labels::default()
            }
        };
        match &definition.labels {
            Some(at) => policies::labels(&at.value, &base),
            None => base,
        }
    }
}

/// Warns of a compensation that never has its turn: what may have passed the pivot unwinds no more.
fn warn_of_pivot_made_good(definition: &StepDefinition, problems: &mut Problems) {
    if let (Some(compensate), Some(At { value: true, .. })) =
        (&definition.compensate, &definition.pivot)
    {
        problems
            .warning(
                codes::NO_EFFECT,
                compensate.span,
                "`compensate` has no effect at a step that is a `pivot`",
            )
            .help(
                "once it was done, or may have been, the run unwinds no more: remove one of them",
            );
    }
}
