//! One row for each step of the definition, with counters kept as facts arrive.

use std::collections::BTreeMap;

use skep_protocol::{AgentId, StepPath, StepStatus, Timestamp};

/// One step of the run: a row's only one, or one of many.
#[derive(Debug)]
pub(crate) struct Instance {
    /// Its state.
    pub(crate) status: StepStatus,
    /// The number of its latest attempt; 0 before the first.
    pub(crate) attempt: u32,
    /// Its fallback has taken over.
    pub(crate) fallback: bool,
    /// When its latest attempt may start.
    pub(crate) not_before: Option<Timestamp>,
    /// When something first happened to it.
    pub(crate) started: Option<Timestamp>,
    /// When it ended.
    pub(crate) ended: Option<Timestamp>,
    /// What it waits for, why it failed.
    pub(crate) note: Option<String>,
    /// Who works on it.
    pub(crate) agent: Option<AgentId>,
    /// Why its latest attempt failed, if it did.
    pub(crate) attempt_failure: Option<String>,
    /// The attempt before it failed in the same way.
    pub(crate) failed_alike: bool,
    /// How far it is, as its agent says.
    pub(crate) progress: Option<String>,
}

impl Default for Instance {
    fn default() -> Self {
        let (not_before, started, ended) = (None, None, None);
        let status = StepStatus::Pending;
        let (note, agent, attempt_failure, progress) = (None, None, None, None);
        Self {
            status,
            attempt: 0,
            fallback: false,
            not_before,
            started,
            ended,
            note,
            agent,
            attempt_failure,
            failed_alike: false,
            progress,
        }
    }
}

impl Instance {
    /// Changes its state.
    pub(crate) fn enter(&mut self, status: StepStatus, at: Timestamp) -> &mut Self {
        self.status = status;
        (self.agent, self.progress) = (None, None);
        if status.is_final() {
            self.ended = Some(at);
        } else {
            self.started.get_or_insert(at);
            self.ended = None;
        }
        self
    }

    /// Tells whether its attempt may not start yet.
    pub(crate) fn is_due_after(&self, now: Timestamp) -> bool {
        !self.status.is_final() && self.not_before.is_some_and(|at| at > now)
    }

    /// Leaves a word about it.
    pub(crate) fn tell(&mut self, note: String) {
        self.note = Some(note);
    }

    /// Drops the word about it.
    pub(crate) fn forget(&mut self) {
        self.note = None;
    }
}

/// How many instances are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Not started.
    pub(crate) pending: usize,
    /// Scheduled: nobody works on it yet, as far as is known.
    pub(crate) queued: usize,
    /// Running or waiting.
    pub(crate) active: usize,
    /// Ended well.
    pub(crate) completed: usize,
    /// Ended badly.
    pub(crate) failed: usize,
    /// Did not run, or were stopped.
    pub(crate) dropped: usize,
}

impl Counts {
    fn slot(&mut self, status: StepStatus) -> &mut usize {
        match status {
            StepStatus::Pending => &mut self.pending,
            StepStatus::Scheduled => &mut self.queued,
            StepStatus::Running | StepStatus::Waiting => &mut self.active,
            StepStatus::Completed => &mut self.completed,
            StepStatus::Failed => &mut self.failed,
            StepStatus::Skipped | StepStatus::Cancelled => &mut self.dropped,
        }
    }

    /// Returns how many there are.
    pub(crate) const fn all(self) -> usize {
        self.pending + self.queued + self.active + self.done()
    }

    /// Returns how many are over.
    pub(crate) const fn done(self) -> usize {
        self.completed + self.failed + self.dropped
    }
}

/// A step of the definition.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its path without the numbers of items.
    pub(crate) key: String,
    /// What is not one of many: the step itself, also when it fans out.
    pub(crate) own: BTreeMap<StepPath, Instance>,
    /// The items of its `for_each`, or its copies in a group that is repeated.
    pub(crate) items: BTreeMap<StepPath, Instance>,
    /// How many items each `for_each` said there will be.
    fans: BTreeMap<StepPath, usize>,
    /// The states of `items`.
    pub(crate) counts: Counts,
    /// The last word about an item that failed.
    pub(crate) last_failure: Option<String>,
}

impl Row {
    fn new(key: &str) -> Self {
        let (own, items, fans) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let key = key.to_owned();
        let (counts, last_failure) = (Counts::default(), None);
        Self { key, own, items, fans, counts, last_failure }
    }

    /// Returns its id, without those of the groups around it.
    pub(crate) fn id(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or(&self.key)
    }

    /// Returns how many groups are around it.
    pub(crate) fn depth(&self) -> usize {
        self.key.matches('/').count()
    }

    /// Tells whether it stands for many.
    pub(crate) fn is_many(&self) -> bool {
        !self.fans.is_empty() || !self.items.is_empty()
    }

    /// Returns the one step it stands for, or the one that fanned out.
    pub(crate) fn one(&self) -> Option<&Instance> {
        self.own.values().next()
    }

    /// Tells whether a `for_each` of its own said how many there will be.
    pub(crate) fn is_fan(&self) -> bool {
        !self.fans.is_empty()
    }

    /// Returns how many it stands for, as far as is known.
    pub(crate) fn total(&self) -> usize {
        self.fans.values().sum::<usize>().max(self.counts.all())
    }

    /// Tells whether all of it that could be under way waits for an agent.
    pub(crate) fn is_queued(&self) -> bool {
        let counts = self.counts;
        match self.is_many() {
            true => counts.queued > 0 && counts.active == 0,
            false => self.one().is_some_and(|one| one.status == StepStatus::Scheduled),
        }
    }

    /// Returns its state as a whole.
    pub(crate) fn status(&self) -> StepStatus {
        if let Some(one) = self.one()
            && (!self.is_many() || one.status.is_final())
        {
            return one.status;
        }
        let counts = self.counts;
        if counts.queued + counts.active + counts.done() == 0 {
            return self.one().map_or(StepStatus::Pending, |one| one.status);
        }
        if counts.done() < self.total() || self.one().is_some() {
            StepStatus::Running
        } else if counts.failed > 0 {
            StepStatus::Failed
        } else if counts.completed > 0 {
            StepStatus::Completed
        } else {
            StepStatus::Skipped
        }
    }
}

/// All rows, in the order of the definition.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    rows: Vec<Row>,
    index: BTreeMap<String, usize>,
}

impl Rows {
    /// Adds a step of the definition.
    pub(crate) fn declare(&mut self, key: &str) {
        self.row(key);
    }

    /// Returns the rows.
    pub(crate) fn all(&self) -> &[Row] {
        &self.rows
    }

    /// Returns the state of a step, if it was heard of.
    pub(crate) fn status(&self, step: &StepPath) -> Option<StepStatus> {
        self.instance(step).map(|one| one.status)
    }

    /// Returns how many a row stands for: a step inside a group that is repeated, as many as the
    /// group does.
    pub(crate) fn total(&self, row: &Row) -> usize {
        let group = row.key.rsplit_once('/').and_then(|(group, _)| self.index.get(group));
        let group = group.filter(|_| row.is_many() && !row.is_fan());
        row.total().max(group.map_or(0, |&at| self.rows[at].total()))
    }

    /// Returns the row that a step belongs to.
    pub(crate) fn of(&self, step: &StepPath) -> Option<&Row> {
        self.index.get(&without_items(step.as_str())).map(|&at| &self.rows[at])
    }

    /// Returns a step, if it was heard of.
    pub(crate) fn instance(&self, step: &StepPath) -> Option<&Instance> {
        let row = self.of(step)?;
        row.items.get(step).or_else(|| row.own.get(step))
    }

    /// Changes a step.
    pub(crate) fn change(
        &mut self,
        step: &StepPath,
        at: Timestamp,
        change: impl FnOnce(&mut Instance),
    ) {
        let row = self.row(&without_items(step.as_str()));
        if !step.as_str().contains('[') || row.own.contains_key(step) {
            let one = row.own.entry(step.clone()).or_default();
            change(one);
            one.started.get_or_insert(at);
            return;
        }
        if !row.items.contains_key(step) {
            row.counts.pending += 1;
        }
        let one = row.items.entry(step.clone()).or_default();
        let before = one.status;
        change(one);
        *row.counts.slot(before) -= 1;
        *row.counts.slot(one.status) += 1;
        if one.status == StepStatus::Failed {
            row.last_failure.clone_from(&one.note);
        }
    }

    /// Takes in that an agent has an attempt in its hands that was scheduled.
    pub(crate) fn hold(&mut self, step: &StepPath, attempt: u32, agent: &AgentId) {
        let known = self.instance(step);
        let is_news =
            |one: &&Instance| one.status == StepStatus::Scheduled && one.attempt == attempt;
        let Some(at) = known.filter(is_news).and_then(|one| one.started) else { return };
        self.change(step, at, |one| {
            one.enter(StepStatus::Running, at).forget();
            one.agent = Some(agent.clone());
        });
    }

    /// Takes in how far a step is; nothing else changes.
    pub(crate) fn set_progress(&mut self, step: &StepPath, agent: &AgentId, progress: &str) {
        let Some(&at) = self.index.get(&without_items(step.as_str())) else { return };
        let row = &mut self.rows[at];
        let one = row.items.get_mut(step).or_else(|| row.own.get_mut(step));
        if let Some(one) = one.filter(|one| !one.status.is_final()) {
            one.agent = Some(agent.clone());
            one.progress = Some(progress.to_owned());
        }
    }

    /// Takes in how many items a `for_each` has.
    pub(crate) fn expand(&mut self, step: &StepPath, items: u32, at: Timestamp) {
        let row = self.row(&without_items(step.as_str()));
        row.fans.insert(step.clone(), items as usize);
        if let Some(item) = row.items.remove(step) {
            *row.counts.slot(item.status) -= 1;
            row.own.insert(step.clone(), item);
        }
        row.own.entry(step.clone()).or_default().enter(StepStatus::Running, at);
    }

    /// Forgets how far the inner steps of a group were.
    pub(crate) fn restart(&mut self, group: &StepPath) {
        self.forget(&format!("{}/", group.as_str()));
    }

    /// A step starts again: what is inside, and its items, are as if they had never been.
    pub(crate) fn restart_step(&mut self, step: &StepPath) {
        self.forget(&format!("{}/", step.as_str()));
        self.forget(&format!("{}[", step.as_str()));
    }

    fn forget(&mut self, inside: &str) {
        for row in &mut self.rows {
            row.own.retain(|step, _| !step.as_str().starts_with(inside));
            let counts = &mut row.counts;
            row.items.retain(|step, one| {
                let stays = !step.as_str().starts_with(inside);
                if !stays {
                    *counts.slot(one.status) -= 1;
                }
                stays
            });
            row.fans.retain(|step, _| !step.as_str().starts_with(inside));
        }
    }

    fn row(&mut self, key: &str) -> &mut Row {
        if let Some(&at) = self.index.get(key) {
            return &mut self.rows[at];
        }
        // A step that was not declared goes below its group, after what is there.
        let at = key.rsplit_once('/').map_or(self.rows.len(), |(group, _)| {
            let inside = format!("{group}/");
            let last =
                self.rows.iter().rposition(|row| row.key == group || row.key.starts_with(&inside));
            last.map_or(self.rows.len(), |last| last + 1)
        });
        self.rows.insert(at, Row::new(key));
        if at + 1 < self.rows.len() {
            self.index =
                self.rows.iter().enumerate().map(|(n, row)| (row.key.clone(), n)).collect();
        } else {
            self.index.insert(key.to_owned(), at);
        }
        &mut self.rows[at]
    }
}

/// Returns a path without the numbers of items: `group[0]/inner[7]` → `group/inner`.
pub(crate) fn without_items(path: &str) -> String {
    let mut inside = false;
    let keep = |letter: &char| {
        match letter {
            '[' => inside = true,
            ']' => inside = false,
            _ => return !inside,
        }
        false
    };
    path.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests;
