//! Steps and their attempts, and the counters of their run.

use std::collections::BTreeSet;
use std::ops::Bound::Excluded;

use skep_protocol::{AttemptScheduled, StepKept, StepPath, StepStatus, Timestamp};

use super::{Attempt, Counts, RunView, Step, Track, is_compensation};

/// Whether a step is performed itself, or consists of inner steps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Yes,
    No,
    Keep,
}

/// When an attempt came into being, and when it may begin.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) at: Timestamp,
    pub(super) due: Timestamp,
}

/// A step, looked up once for each event, with what of its run changes with it.
pub(super) struct Known<'v> {
    path: &'v StepPath,
    track: &'v mut Track,
    counts: &'v mut Counts,
    doubtful: &'v mut BTreeSet<StepPath>,
    declared: u32,
    /// What the step is numbered with if it comes into being.
    ordinal: i64,
}

impl Known<'_> {
    /// Sets the state of the step and keeps the counters. Why it failed is forgotten: that is told
    /// of a step that is failed, and set after its state.
    pub(super) fn step(&mut self, status: StepStatus, leaf: Leaf, at: Timestamp) -> &mut Step {
        let (path, ordinal) = (self.path, self.ordinal);
        let step = &mut self.track.step;
        let before = step.as_ref().map(|step| (step.status, step.leaf));
        let leaf = match leaf {
            Leaf::Yes => Some(true),
            Leaf::No => Some(false),
            Leaf::Keep => None,
        };
        let started = !status.is_final() || leaf == Some(true);
        let step = step.get_or_insert_with(|| Step::new(ordinal, status));
        step.status = status;
        step.leaf = leaf.unwrap_or(step.leaf);
        step.started = step.started.or_else(|| started.then_some(at));
        step.ended = status.is_final().then_some(at);
        (step.error, step.skipped, step.cancelled) = (None, None, None);

        self.counts.add(Counts::of(status, step.leaf));
        match before {
            Some((status, leaf)) => self.counts.take(Counts::of(status, leaf)),
            None if is_counted(path, self.declared) => self.counts.known -= 1,
            None => {}
        }
        let is_failed = |status| status == StepStatus::Failed;
        if is_failed(status) || before.is_some_and(|(before, _)| is_failed(before)) {
            self.doubtful.insert(path.clone());
        }
        step
    }

    /// Sets how many items a `for_each` has, and counts them.
    pub(super) fn expanded(&mut self, items: u32) {
        if let Some(step) = &mut self.track.step {
            self.counts.known += i64::from(items) - i64::from(step.items.unwrap_or_default());
            step.items = Some(items);
        }
    }

    /// Returns whether the attempt before was the fallback's, and the step did not start again.
    fn follows_fallback(&self, number: u32) -> bool {
        let Some(before) = number.checked_sub(1) else { return false };
        let Track { step, attempts } = &*self.track;
        let goes_on = step.as_ref().is_some_and(|step| step.status != StepStatus::Pending);
        let before = attempts.binary_search_by_key(&before, |attempt| attempt.number);
        goes_on && before.is_ok_and(|before| attempts[before].fallback)
    }

    /// Sets the state of an attempt, which comes into being with it unless it is there.
    pub(super) fn attempt(
        &mut self,
        number: u32,
        status: &'static str,
        at: Timestamp,
    ) -> &mut Attempt {
        if self.track.step.as_ref().is_some_and(|step| step.status == StepStatus::Failed) {
            self.doubtful.insert(self.path.clone());
        }
        let attempt = self.track.attempt(number, at);
        attempt.status = status.into();
        attempt
    }

    /// Sets the state of an attempt that may begin at a given time.
    pub(super) fn attempt_due(
        &mut self,
        number: u32,
        status: &'static str,
        At { at, due }: At,
    ) -> &mut Attempt {
        let attempt = self.attempt(number, status, at);
        attempt.due = Some(due.max(at));
        attempt
    }

    /// What was under way when the step ended by itself or was stopped.
    pub(super) fn attempts_over(&mut self, status: &'static str, at: Timestamp) {
        for attempt in self.track.attempts.iter_mut().filter(|attempt| attempt.ended.is_none()) {
            attempt.status = status.into();
            attempt.ended = Some(at);
        }
    }
}

impl RunView {
    /// Returns what is known of a step, to be changed.
    pub(super) fn known<'v>(&'v mut self, path: &'v StepPath) -> Known<'v> {
        let track = self.tracks.entry(path.clone());
        Known {
            path,
            track: track.or_insert_with(|| self.briefs.take(path).unwrap_or_default()),
            counts: &mut self.counts,
            doubtful: &mut self.doubtful,
            declared: self.declared,
            ordinal: self.entries.cast_signed(),
        }
    }

    /// A step is as it was in the run before.
    pub(super) fn kept(&mut self, kept: StepKept, at: Timestamp) {
        if kept.status == StepStatus::Pending {
            return;
        }
        let mut known = self.known(&kept.step);
        let step = known.step(kept.status, Leaf::Keep, at);
        step.kept = true;
        step.output = kept.output.or_else(|| step.output.take());
        if let Some(items) = kept.items {
            known.expanded(items);
        }
    }

    /// A group starts over: what is inside is as if it had never been, until it comes into being
    /// again. The attempts stay; their numbers go on.
    pub(super) fn group_restarted(&mut self, group: &StepPath, at: Timestamp) {
        self.known(group).step(StepStatus::Running, Leaf::No, at);
        self.forget_between(&format!("{group}/"), &format!("{group}0"));
    }

    /// A step starts again: so is what is inside, and its items.
    pub(super) fn step_restarted(&mut self, path: &StepPath, at: Timestamp) {
        self.known(path).step(StepStatus::Pending, Leaf::Keep, at).started = None;
        self.forget_between(&format!("{path}/"), &format!("{path}0"));
        self.forget_between(&format!("{path}["), &format!("{path}\\"));
    }

    fn forget_between(&mut self, from: &str, to: &str) {
        let between = (Excluded(StepPath::new(from)), Excluded(StepPath::new(to)));
        for path in self.briefs.between(between.clone()) {
            let track = self.briefs.take(&path).unwrap_or_default();
            self.tracks.insert(path, track);
        }
        for (path, track) in self.tracks.range_mut(between) {
            let Some(step) = track.step.take() else { continue };
            self.counts.take(Counts::of(step.status, step.leaf));
            self.counts.known -= more_items(path, &step);
            if step.status == StepStatus::Failed {
                self.doubtful.insert(path.clone());
            }
        }
    }

    pub(super) fn scheduled(&mut self, scheduled: &AttemptScheduled, at: Timestamp) {
        let (mut known, number) = (self.known(&scheduled.step), scheduled.attempt);
        let is_fallback = scheduled.fallback || known.follows_fallback(number);
        known.step(StepStatus::Scheduled, Leaf::Yes, at);
        let at = At { at, due: scheduled.not_before };
        let attempt = known.attempt_due(number, "scheduled", at);
        attempt.fallback |= is_fallback;
    }
}

/// Returns whether a step was counted before it came into being: an item with its `for_each`, the
/// top level of a definition with the run.
fn is_counted(path: &StepPath, declared: u32) -> bool {
    let is_top_level = !path.as_str().contains(['/', '[']) && !is_compensation(path);
    path.as_str().ends_with(']') || (declared > 0 && is_top_level)
}

/// Returns how many more steps are counted with a step than itself: its items are, and an item is
/// one of them.
pub(super) fn more_items(path: &StepPath, step: &Step) -> i64 {
    i64::from(step.items.unwrap_or_default()) - i64::from(path.as_str().ends_with(']'))
}

impl Track {
    pub(super) fn attempt(&mut self, number: u32, at: Timestamp) -> &mut Attempt {
        let place = match self.attempts.last() {
            Some(last) if last.number < number => Err(self.attempts.len()),
            Some(_) | None => self.attempts.binary_search_by_key(&number, |one| one.number),
        };
        let place = place.unwrap_or_else(|place| {
            if place == 0 {
                // Of most steps there is one.
                self.attempts.reserve_exact(1);
            }
            self.attempts.insert(place, Attempt::new(number, at));
            place
        });
        &mut self.attempts[place]
    }
}

impl Step {
    pub(super) const fn new(ordinal: i64, status: StepStatus) -> Self {
        Self {
            ordinal,
            status,
            leaf: false,
            started: None,
            ended: None,
            output: None,
            error: None,
            skipped: None,
            cancelled: None,
            child: None,
            items: None,
            kept: false,
            skipped_by: None,
        }
    }
}

impl Attempt {
    pub(super) const fn new(number: u32, scheduled: Timestamp) -> Self {
        Self {
            number,
            status: std::borrow::Cow::Borrowed("scheduled"),
            scheduled,
            due: None,
            agent: None,
            fallback: false,
            ended: None,
            duration_ms: None,
            error: None,
        }
    }
}
