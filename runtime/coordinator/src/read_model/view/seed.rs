//! Going on behind a gap: a run brought to what is known of it, as far as a snapshot tells.

use std::collections::{BTreeMap, BTreeSet};

use skep_protocol::{
    AttemptView, RunDetail, RunStatus, Seq, StepPath, StepStatus, StepView, Timestamp,
};

use super::steps::more_items;
use super::{Counts, RunView, Step};

impl RunView {
    /// The run ended in the gap, or behind it; how its open steps ended is not known.
    pub(in crate::read_model) fn close(&mut self, status: RunStatus, ended: Option<Timestamp>) {
        (self.status, self.ended) = (status, ended);
        for track in self.tracks.values_mut() {
            track.step = track.step.take().filter(|step| step.status.is_final());
            track.attempts.retain(|attempt| !is_under_way(&attempt.status));
        }
        self.recount();
        self.doubt_all();
    }

    /// Brings the run to what a snapshot behind message `to` says of it.
    pub(in crate::read_model) fn seed(&mut self, told: &RunDetail, to: Seq) {
        // That it waits follows from its steps.
        let status = told.summary.status;
        self.status = if status == RunStatus::Waiting { RunStatus::Running } else { status };
        self.cancelled.clone_from(&told.cancelled);
        self.known_to = to;
        let stay: BTreeSet<&StepPath> = told.steps.iter().map(|step| &step.step).collect();
        // The others are left from an earlier round of a group.
        for (path, track) in &mut self.tracks {
            track.step = track.step.take().filter(|_| stay.contains(path));
        }
        let number = told.steps.len() as i64;
        let items = items(told);
        for (ordinal, step) in (-number..0).zip(&told.steps) {
            let items = step.items.or_else(|| items.get(step.step.as_str()).copied());
            self.seed_step(ordinal, step, items);
            if let Some(attempt) = step.attempts.last() {
                self.seed_attempt(&step.step, attempt);
            }
        }
        self.recount();
        self.doubt_all();
    }

    /// Takes a step; what is known of it from the same round stays.
    fn seed_step(&mut self, ordinal: i64, told: &StepView, items: Option<u32>) {
        let waits = told.status == StepStatus::Waiting;
        let track = self.tracks.entry(told.step.clone()).or_default();
        let step = track.step.get_or_insert_with(|| Step::new(ordinal, told.status));
        if step.started != told.started {
            (step.output, step.error, step.child, step.items) = (None, None, None, None);
        }
        step.ended = step.ended.filter(|_| step.status == told.status);
        step.status = told.status;
        step.leaf = waits || !told.attempts.is_empty() || told.child.is_some();
        step.started = told.started;
        step.output = told.output.clone().or_else(|| step.output.take());
        step.error = told.error.clone().map(Box::new).or_else(|| step.error.take());
        step.child = told.child.or(step.child);
        step.items = items.or(step.items);
    }

    /// Takes the last attempt of a step; how those before it ended is not known.
    fn seed_attempt(&mut self, step: &StepPath, told: &AttemptView) {
        let track = self.tracks.entry(step.clone()).or_default();
        track.attempts.retain(|one| one.number >= told.attempt || !is_under_way(&one.status));
        let attempt = track.attempt(told.attempt, told.scheduled);
        attempt.status = told.status.clone().into();
        attempt.agent = told.agent.clone().or_else(|| attempt.agent.take());
        attempt.error = told.error.clone().map(Box::new).or_else(|| attempt.error.take());
        attempt.fallback = told.fallback;
    }

    /// Counts the steps anew.
    fn recount(&mut self) {
        let mut counts = Counts::default();
        let mut inner = 0;
        for (path, track) in &self.tracks {
            let Some(step) = &track.step else { continue };
            counts.add(Counts::of(step.status, step.leaf));
            // All items are known from what they are items of.
            let more = more_items(path, step);
            counts.known += more;
            inner += more + i64::from(path.as_str().contains(['[', '/']));
        }
        if self.declared > 0 {
            counts.known = i64::from(self.declared) + inner;
        }
        self.counts = counts;
    }
}

fn is_under_way(status: &str) -> bool {
    matches!(status, "scheduled" | "taken")
}

/// Counts items: of a `for_each` that is over, a snapshot does not say how many there are.
fn items(told: &RunDetail) -> BTreeMap<&str, u32> {
    let mut items = BTreeMap::new();
    for step in &told.steps {
        if let Some(item) = step.step.as_str().strip_suffix(']')
            && let Some((step, _)) = item.rsplit_once('[')
        {
            *items.entry(step).or_default() += 1;
        }
    }
    items
}
