//! What the steps of a run wait for, and what that waits for, down to the causes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use skep_protocol::{
    CancelReason, RunDetail, SkipReason, StepPath, StepStatus, StepView, WaitingCause, WaitingView,
};

use super::advice;
use super::alike::{Alike, fold, order, without_items, without_numbers};
use crate::human;

/// What is known of the steps of a run.
#[derive(Debug)]
pub(super) struct Causes<'a> {
    detail: &'a RunDetail,
    waiting: BTreeMap<&'a StepPath, &'a WaitingView>,
    views: BTreeMap<&'a StepPath, &'a StepView>,
    /// The inner steps of each group, the items of each `for_each`.
    inside: BTreeMap<StepPath, BTreeSet<&'a StepPath>>,
    /// The compensations of each step, and of what is inside it.
    compensations: BTreeMap<StepPath, BTreeSet<&'a StepPath>>,
}

impl<'a> Causes<'a> {
    pub(super) fn of(detail: &'a RunDetail) -> Self {
        let waiting: BTreeMap<_, _> =
            detail.waiting.iter().map(|view| (&view.step, view)).collect();
        let views: BTreeMap<_, _> = detail.steps.iter().map(|view| (&view.step, view)).collect();
        let mut inside: BTreeMap<StepPath, BTreeSet<&StepPath>> = BTreeMap::new();
        let mut compensations: BTreeMap<StepPath, BTreeSet<&StepPath>> = BTreeMap::new();
        for step in views.keys().chain(waiting.keys()) {
            if let Some(around) = step.around() {
                inside.entry(around).or_default().insert(*step);
            }
            let mut made_good = step.compensated();
            while let Some(of) = made_good {
                made_good = of.around();
                compensations.entry(of).or_default().insert(*step);
            }
        }
        Self { detail, waiting, views, inside, compensations }
    }

    /// Returns the step of that name in one of the items around it, for a path without an item.
    pub(super) fn of_an_item(&self, step: &StepPath) -> Option<&'a StepPath> {
        let mut known = self.views.keys().chain(self.waiting.keys()).copied();
        known.find(|known| without_items(known).replace("[]", "") == step.as_str())
    }

    /// Returns the steps that have begun and of which nobody said what they wait for.
    pub(super) fn untold(&self) -> impl Iterator<Item = &'a StepPath> {
        self.views.values().filter(|view| self.is_untold(view)).map(|view| &view.step)
    }

    fn is_untold(&self, view: &StepView) -> bool {
        let waits = matches!(view.status, StepStatus::Scheduled | StepStatus::Waiting);
        waits && !self.detail.summary.status.is_final() && !self.waits(&view.step)
    }

    /// Returns how to ask for a step of which nobody said what it waits for.
    pub(super) fn ask(&self, step: &StepPath) -> Option<String> {
        let view = self.views.get(step).filter(|view| self.is_untold(view))?;
        Some(format!("to look into it: skep why {} {}", self.detail.summary.run, view.step))
    }

    /// Returns the compensations of a step, or of what is inside it, that are not over.
    fn makes_good(&self, step: &StepPath) -> Vec<StepPath> {
        let all = self.compensations.get(step).into_iter().flatten();
        let is_open = |one: &&&StepPath| {
            let status = self.views.get(**one).map(|view| view.status);
            self.waits(one) || status.is_some_and(|status| !status.is_final())
        };
        all.filter(is_open).map(|one| (*one).clone()).collect()
    }

    /// Returns whether the run has a step, as far as that is known.
    pub(super) fn knows(&self, step: &StepPath) -> bool {
        self.views.contains_key(step) || self.waiting(step).is_some()
    }

    /// Returns whether a step is told of as waiting.
    pub(super) fn waits(&self, step: &StepPath) -> bool {
        self.waiting.contains_key(step)
    }

    /// Returns all steps that are told of as waiting, in order.
    pub(super) fn all_waiting(&self) -> Vec<StepPath> {
        let mut steps: Vec<StepPath> = self.waiting.keys().map(|step| (*step).clone()).collect();
        steps.sort_by_cached_key(order);
        steps
    }

    /// Returns how many steps that are not told of wait as this one does.
    pub(super) fn more(&self, step: &StepPath) -> u32 {
        self.waiting.get(step).map_or(0, |view| view.alike)
    }

    /// Returns whether a step is an item that waits for another one of its `for_each`.
    pub(super) fn is_held_back(&self, step: &StepPath) -> bool {
        let fan = |step: &StepPath| step.as_item().map(|(fan, _)| fan);
        let other = self.waiting(step).and_then(|view| view.waits_for.as_ref());
        other.is_some_and(|other| fan(step).is_some() && fan(step) == fan(other))
    }

    /// Returns what a step waits for; of items that wait for the same, one is told of.
    fn waiting(&self, step: &StepPath) -> Option<&'a WaitingView> {
        if let Some(view) = self.waiting.get(step) {
            return Some(view);
        }
        let (fan, index) = step.as_item().filter(|_| !self.views.contains_key(step))?;
        let is_item = self.views.get(&fan)?.items.is_some_and(|items| index < items);
        let told = self.inside.get(&fan)?.iter().filter_map(|item| self.waiting.get(*item));
        let mut told = told.filter(|view| view.alike > 0 && is_item);
        told.find(|view| view.step.as_item().is_some_and(|(_, first)| first <= index)).copied()
    }

    /// Returns what has to go on first, for a step to go on.
    fn before(&self, step: &StepPath) -> Vec<StepPath> {
        if let Some(view) = self.waiting(step) {
            return view.waits_for.iter().chain(&view.and_for).cloned().collect();
        }
        let Some(view) = self.views.get(step) else { return Vec::new() };
        let made_good = self.makes_good(step);
        if view.status.is_final() && !made_good.is_empty() {
            return made_good;
        }
        match (view.status, &view.skipped) {
            (StepStatus::Running, _) if !is_performed(view) && view.child.is_none() => {
                self.open_inside(step)
            }
            (StepStatus::Pending, _) => self.not_begun(step).into_iter().collect(),
            (StepStatus::Skipped, Some(SkipReason::Upstream(need))) => vec![need.clone()],
            (StepStatus::Skipped | StepStatus::Cancelled, _) => {
                view.stopped_by.iter().cloned().collect()
            }
            (
                StepStatus::Running
                | StepStatus::Scheduled
                | StepStatus::Waiting
                | StepStatus::Completed
                | StepStatus::Failed,
                _,
            ) => Vec::new(),
        }
    }

    /// Returns what is around a step, if that has not begun: also an item that came into being no
    /// more than the step did.
    fn not_begun(&self, step: &StepPath) -> Option<StepPath> {
        let around = step.around()?;
        match self.views.get(&around) {
            Some(view) => (view.status == StepStatus::Pending).then_some(around),
            None if self.waiting(&around).is_some() => Some(around),
            None => self.not_begun(&around),
        }
    }

    /// Returns what is under way inside a step, without what waits for something else in there.
    fn open_inside(&self, step: &StepPath) -> Vec<StepPath> {
        let Some(inside) = self.inside.get(step) else { return Vec::new() };
        let is_open = |step: &StepPath| {
            let status = self.views.get(step).map(|view| view.status);
            self.waits(step) || status.is_some_and(|s| !s.is_final() && s != StepStatus::Pending)
        };
        let is_held = |step: &StepPath| {
            let view = self.waiting.get(step);
            let others =
                view.into_iter().flat_map(|view| view.waits_for.iter().chain(&view.and_for));
            others.into_iter().any(|other| inside.contains(other))
        };
        inside.iter().filter(|step| is_open(step) && !is_held(step)).map(|s| (*s).clone()).collect()
    }

    /// Returns a step, what it waits for, and so on, with how many are between it and the first.
    pub(super) fn tree(&self, step: StepPath) -> Vec<(usize, Alike)> {
        let mut seen = BTreeSet::from([step.clone()]);
        let mut open: Vec<(usize, Alike)> = vec![];
        open.extend(self.fold(vec![step], |_| 0).into_iter().map(|alike| (0, alike)));
        let mut tree = Vec::new();
        while let Some((depth, alike)) = open.pop() {
            let before = alike.steps.iter().flat_map(|step| self.before(step));
            let before: Vec<_> = before.filter(|step| seen.insert(step.clone())).collect();
            let before = self.fold(before, |step| self.more(step));
            open.extend(before.into_iter().rev().map(|alike| (depth + 1, alike)));
            tree.push((depth, alike));
        }
        tree
    }

    /// Returns the steps that others wait for, or somebody works on, and that wait for no other
    /// step: those that are worked on first, those that were not looked into last.
    pub(super) fn ends(&self) -> Vec<Alike> {
        let reached = self.reached();
        let ends = reached.into_iter().filter(|step| self.before(step).is_empty());
        let (waiting, others): (Vec<_>, Vec<_>) = ends.partition(|step| self.waits(step));
        let (untold, busy) = others.into_iter().partition(|step| self.ask(step).is_some());
        let kinds = [busy, waiting, untold].map(|steps| self.fold(steps, |step| self.more(step)));
        kinds.into_iter().flatten().collect()
    }

    /// Returns for each step those that wait for it.
    pub(super) fn holders(&self) -> BTreeMap<StepPath, Vec<StepPath>> {
        let mut holders: BTreeMap<StepPath, Vec<StepPath>> = BTreeMap::new();
        for step in self.reached() {
            for before in self.before(&step) {
                holders.entry(before).or_default().push(step.clone());
            }
        }
        holders
    }

    /// Returns the steps that wait or are worked on, and whatever has to go on before them.
    fn reached(&self) -> BTreeSet<StepPath> {
        let busy = self.views.values().filter(|view| is_performed(view)).map(|view| &view.step);
        let begun = busy.chain(self.untold());
        let mut open: Vec<StepPath> = self.waiting.keys().copied().chain(begun).cloned().collect();
        let mut reached = BTreeSet::new();
        while let Some(step) = open.pop() {
            if reached.insert(step.clone()) {
                open.extend(self.before(&step));
            }
        }
        reached
    }

    fn fold(&self, steps: Vec<StepPath>, more: impl Fn(&StepPath) -> u32) -> Vec<Alike> {
        fold(steps, |step| self.key(step), more)
    }

    /// Returns what steps have in common that are told of together: a cause that somebody can do
    /// something about, or that they are items of one step and wait for the same kind of thing.
    fn key(&self, step: &StepPath) -> String {
        let path = without_items(step);
        let view = self.waiting(step);
        let signal = view.and_then(|view| view.signal.as_deref()).unwrap_or_default();
        match view.and_then(|view| view.cause.as_ref()) {
            Some(
                WaitingCause::Paused
                | WaitingCause::NoAgent { .. }
                | WaitingCause::Breaker { .. }
                | WaitingCause::Quarantine { .. },
            ) => self.line(step),
            Some(WaitingCause::Run { .. }) => format!("{path} run"),
            Some(WaitingCause::Stuck | WaitingCause::Unknown) | None => {
                let performed = self.views.get(step).is_some_and(|view| is_performed(view));
                match view.is_none() && performed {
                    true => format!("{path} agent"),
                    false => format!("{path} {signal} {}", without_numbers(&self.line(step))),
                }
            }
        }
    }

    /// Says why steps are as they are of which the same is to be said.
    pub(super) fn say(&self, alike: &Alike) -> String {
        let line = self.line(alike.first());
        match alike.steps.iter().all(|step| self.line(step) == line) {
            true => line,
            false => format!("{line}; the others likewise"),
        }
    }

    /// Says of one step why it is as it is.
    pub(super) fn line(&self, step: &StepPath) -> String {
        if let Some(view) = self.waiting(step) {
            return human::reason(&view.reason);
        }
        match self.views.get(step) {
            Some(view) if view.status == StepStatus::Pending => match self.not_begun(step) {
                Some(around) => format!("has not begun, since {around} has not"),
                None => "has not begun".to_owned(),
            },
            Some(view) if self.is_untold(view) => {
                format!("{}, not looked into any further", view.status)
            }
            Some(view) => match (self.makes_good(step).is_empty(), view.status) {
                (true, _) => self.state(view),
                (false, StepStatus::Completed) => "completed, is being made good".to_owned(),
                (false, _) => format!("{}; is being made good", self.state(view)),
            },
            None => "has not begun".to_owned(),
        }
    }

    /// Says how a step is that has begun, or is over, and waits for nothing.
    fn state(&self, view: &StepView) -> String {
        let agent = view.attempts.last().and_then(|attempt| attempt.agent.as_ref());
        match (view.status, agent, &view.child) {
            (StepStatus::Running, _, Some(child)) => format!("its run {child} goes on"),
            (StepStatus::Running, Some(agent), None) => format!("agent {agent} works on it"),
            (StepStatus::Running, None, None) => "what is inside it is under way".to_owned(),
            (StepStatus::Failed, _, _) => {
                let error = view.error.as_ref().map(ToString::to_string).unwrap_or_default();
                format!("failed: {}", human::short_lines(&error))
            }
            (status @ (StepStatus::Skipped | StepStatus::Cancelled), _, _) => {
                match (self.ended_with_the_run(view), human::not_run(view)) {
                    (Some(why), _) | (None, Some(why)) => format!("{status}, since {why}"),
                    (None, None) => status.to_string(),
                }
            }
            (
                status @ (StepStatus::Pending
                | StepStatus::Scheduled
                | StepStatus::Waiting
                | StepStatus::Completed),
                _,
                _,
            ) => status.to_string(),
        }
    }

    /// Says of a step that a person ended along with its run why they did.
    fn ended_with_the_run(&self, view: &StepView) -> Option<String> {
        let reason = self.detail.cancelled.as_ref()?;
        let is_told = view.cancelled == Some(CancelReason::RunCancelled)
            || (view.skipped == Some(SkipReason::Stopping) && view.stopped_by.is_none());
        let why = human::cancelled(CancelReason::RunCancelled);
        is_told.then(|| format!("{why}: {}", human::short_lines(reason)))
    }

    /// Returns what a person can do for a step to go on.
    pub(super) fn advice(&self, step: &StepPath) -> Option<String> {
        let run = self.detail.summary.run;
        if let Some(view) = self.waiting(step) {
            return advice::about(run, step, view);
        }
        let view = self.views.get(step)?;
        let tells = matches!(view.status, StepStatus::Running | StepStatus::Failed);
        view.child.filter(|_| tells).map(advice::why)
    }

    /// Says of one step why it is as it is, for programs.
    pub(super) fn json(&self, step: &StepPath) -> Value {
        let view = self.waiting(step);
        json!({
            "step": step,
            "reason": self.line(step),
            "waits_for": view.and_then(|view| view.waits_for.as_ref()),
            "and_for": view.map(|view| &view.and_for),
            "signal": view.and_then(|view| view.signal.as_ref()),
            "cause": view.and_then(|view| view.cause.as_ref()),
            "stopped_by": self.views.get(step).and_then(|view| view.stopped_by.as_ref()),
            "alike": self.more(step),
            "help": self.advice(step),
        })
    }
}

/// Returns whether somebody works on a step at the moment.
fn is_performed(view: &StepView) -> bool {
    view.status == StepStatus::Running && view.attempts.last().is_some_and(|a| a.agent.is_some())
}
