//! The rows of steps and their attempts, and the counters of their run.

use rusqlite::params;
use rusqlite::types::ToSql;
use skep_protocol::{
    AttemptScheduled, CancelReason, Event, Failure, SkipReason, StepKept, StepPath, StepStatus,
    Timestamp,
};

use super::{Fold, json, millis};

impl Fold<'_> {
    /// An event of one attempt.
    #[expect(clippy::too_many_lines, reason = "a table with a line for each kind of event")]
    pub(super) fn attempt_event(&self, step: &StepPath) -> rusqlite::Result<()> {
        match &self.record.event {
            Event::AttemptScheduled(scheduled) => self.scheduled(scheduled),
            Event::AttemptTaken { attempt, agent, .. } => {
                self.step(step, StepStatus::Running, Leaf::Yes)?;
                self.attempt(step, *attempt, "taken")?;
                self.on_attempt("agent", step, *attempt, &agent.as_str())
            }
            Event::AttemptReleased { attempt, .. } => {
                self.step(step, StepStatus::Scheduled, Leaf::Yes)?;
                self.attempt(step, *attempt, "scheduled")
            }
            Event::AttemptCompleted(done) => {
                self.step(step, StepStatus::Completed, Leaf::Yes)?;
                self.on_step("output", step, &json(&done.output))?;
                self.attempt_ended(step, done.attempt, "completed")?;
                self.on_attempt("agent", step, done.attempt, &done.agent.as_str())?;
                let duration = i64::try_from(done.duration_ms).unwrap_or(i64::MAX);
                self.on_attempt("duration_ms", step, done.attempt, &duration)
            }
            Event::AttemptFailed(failed) => {
                self.step(step, StepStatus::Running, Leaf::Keep)?;
                self.attempt_ended(step, failed.attempt, "failed")?;
                self.attempt_took(step, failed.attempt)?;
                if let Some(agent) = &failed.agent {
                    self.on_attempt("agent", step, failed.attempt, &agent.as_str())?;
                }
                self.on_attempt("error", step, failed.attempt, &json(&failed.failure))
            }
            Event::AttemptLost { attempt, agent, .. } => {
                self.attempt_ended(step, *attempt, "lost")?;
                agent.as_ref().map_or(Ok(()), |agent| {
                    self.on_attempt("agent", step, *attempt, &agent.as_str())
                })
            }
            Event::RunStarted(_)
            | Event::RunPaused { .. }
            | Event::RunResumed { .. }
            | Event::CancelRequested { .. }
            | Event::UnwindStarted { .. }
            | Event::RunCompensated { .. }
            | Event::RunStuck { .. }
            | Event::CompensationSkipped { .. }
            | Event::RunCompleted { .. }
            | Event::RunFailed { .. }
            | Event::RunCancelled {}
            | Event::ParentNotified {}
            | Event::DeadLetterDropped { .. }
            | Event::SignalReceived { .. }
            | Event::StepKept(_)
            | Event::StepSkipped { .. }
            | Event::StepExpanded(_)
            | Event::GroupStarted { .. }
            | Event::GroupRestarted { .. }
            | Event::RestartDecided { .. }
            | Event::StepRestarted { .. }
            | Event::RestartsExhausted { .. }
            | Event::WaitStarted(_)
            | Event::ChildStarted(_)
            | Event::CheckpointSaved { .. }
            | Event::ReportIgnored(_)
            | Event::StepCompleted { .. }
            | Event::StepStopping { .. }
            | Event::StepFailed { .. }
            | Event::StepCancelled { .. } => Ok(()),
        }
    }

    fn scheduled(&self, scheduled: &AttemptScheduled) -> rusqlite::Result<()> {
        let (step, attempt) = (&scheduled.step, scheduled.attempt);
        let is_fallback = scheduled.fallback || self.follows_fallback(step, attempt)?;
        self.step(step, StepStatus::Scheduled, Leaf::Yes)?;
        self.attempt_due(step, attempt, "scheduled", scheduled.not_before)?;
        if is_fallback { self.on_attempt("fallback", step, attempt, &true) } else { Ok(()) }
    }

    /// Returns whether the attempt before was the fallback's, and the step did not start again.
    fn follows_fallback(&self, step: &StepPath, attempt: u32) -> rusqlite::Result<bool> {
        if attempt < 2 {
            return Ok(false);
        }
        self.transaction
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM attempts a JOIN steps s USING (run, step)
                 WHERE run = ?1 AND step = ?2 AND a.attempt = ?3 AND a.fallback
                 AND s.status <> 'pending')",
            )?
            .query_row(params![self.run(), step.as_str(), attempt - 1], |row| row.get(0))
    }

    /// A step is as it was in the run before.
    pub(super) fn kept(&self, kept: &StepKept) -> rusqlite::Result<()> {
        if kept.status == StepStatus::Pending {
            return Ok(());
        }
        self.step(&kept.step, kept.status, Leaf::Keep)?;
        self.on_step("kept", &kept.step, &true)?;
        if let Some(items) = kept.items {
            self.expanded(&kept.step, items)?;
        }
        let output = kept.output.as_ref();
        output.map_or(Ok(()), |output| self.on_step("output", &kept.step, &json(output)))
    }

    /// A step did not run.
    pub(super) fn left_out(&self, step: &StepPath, reason: &SkipReason) -> rusqlite::Result<()> {
        self.step(step, StepStatus::Skipped, Leaf::Keep)?;
        self.on_step("skipped", step, &json(reason))
    }

    /// A step was stopped.
    pub(super) fn stopped(&self, step: &StepPath, reason: CancelReason) -> rusqlite::Result<()> {
        self.step(step, StepStatus::Cancelled, Leaf::Keep)?;
        self.on_step("cancelled", step, &json(&reason))
    }

    /// Sets why a run failed.
    pub(super) fn error(&self, failure: &Failure) -> rusqlite::Result<()> {
        let sql = "UPDATE runs SET error = ?2 WHERE run = ?1";
        self.change(sql, &[&self.run(), &json(failure)]).map(|_| ())
    }

    /// A dead letter is taken off the list.
    pub(super) fn letter_dropped(&self, step: &StepPath, by: &str) -> rusqlite::Result<()> {
        self.change(
            "INSERT OR IGNORE INTO dropped (run, step, by_whom, at) VALUES (?1, ?2, ?3, ?4)",
            &[&self.run(), &step.as_str(), &by, &self.at()],
        )
        .map(|_| ())
    }

    /// What was under way when a step ended by itself or was stopped.
    pub(super) fn attempts_over(&self, step: &StepPath, status: &str) -> rusqlite::Result<()> {
        self.change(
            "UPDATE attempts SET status = ?4, ended = ?3
             WHERE run = ?1 AND step = ?2 AND ended IS NULL",
            &[&self.run(), &step.as_str(), &self.at(), &status],
        )
        .map(|_| ())
    }

    /// Sets how many items a `for_each` has, and counts them.
    pub(super) fn expanded(&self, step: &StepPath, items: u32) -> rusqlite::Result<()> {
        self.change(
            "UPDATE runs SET steps = steps + ?3 -
             (SELECT coalesce(items, 0) FROM steps WHERE run = ?1 AND step = ?2)
             WHERE run = ?1",
            &[&self.run(), &step.as_str(), &items],
        )?;
        self.on_step("items", step, &items)
    }

    /// Sets the state of a step and keeps the counters of its run. Why it failed is forgotten: that
    /// is told of a step that is failed, and set after its state.
    pub(super) fn step(
        &self,
        step: &StepPath,
        status: StepStatus,
        leaf: Leaf,
    ) -> rusqlite::Result<()> {
        let before: Option<(String, bool)> = {
            let sql = "SELECT status, leaf FROM steps WHERE run = ?1 AND step = ?2";
            let mut statement = self.transaction.prepare_cached(sql)?;
            let mut rows = statement.query(params![self.run(), step.as_str()])?;
            match rows.next()? {
                Some(row) => Some((row.get(0)?, row.get(1)?)),
                None => None,
            }
        };
        let is_leaf = match leaf {
            Leaf::Yes => true,
            Leaf::No => false,
            Leaf::Keep => before.as_ref().is_some_and(|(_, leaf)| *leaf),
        };
        let ended = status.is_final().then(|| self.at());
        let started = (!status.is_final() || leaf == Leaf::Yes).then(|| self.at());
        self.change(
            "INSERT INTO steps (run, step, ordinal, status, leaf, started, ended)
             SELECT ?1, ?2, entries, ?3, ?4, ?5, ?6 FROM runs WHERE run = ?1
             ON CONFLICT (run, step) DO UPDATE SET status = ?3, leaf = ?4, error = NULL,
             started = coalesce(steps.started, ?5), ended = ?6, skipped = NULL,
             cancelled = NULL",
            &[&self.run(), &step.as_str(), &status.as_str(), &is_leaf, &started, &ended],
        )?;
        let old = before
            .as_ref()
            .map_or_else(Counts::default, |(status, leaf)| Counts::of(status, *leaf));
        let is_top_level = !step.as_str().contains(['/', '[']) && step.compensated().is_none();
        let is_item = step.as_str().ends_with(']');
        let new = Counts::of(status.as_str(), is_leaf);
        self.change(
            "UPDATE runs SET steps = steps + iif(?7 OR (declared > 0 AND ?6), 0, ?2),
             steps_ended = steps_ended + ?3, active = active + ?4, waiting = waiting + ?5
             WHERE run = ?1",
            &[
                &self.run(),
                &(new.known - old.known),
                &(new.ended - old.ended),
                &(new.active - old.active),
                &(new.waiting - old.waiting),
                &is_top_level,
                &is_item,
            ],
        )
        .map(|_| ())
    }

    /// A group starts over: what is inside is as if it had never been, until it comes into being
    /// again. The attempts stay; their numbers go on.
    pub(super) fn restarted(&self, group: &StepPath) -> rusqlite::Result<()> {
        self.step(group, StepStatus::Running, Leaf::No)?;
        self.forget_between(&format!("{group}/"), &format!("{group}0"))
    }

    /// A step starts again: so is what is inside, and its items.
    pub(super) fn step_restarted(&self, step: &StepPath) -> rusqlite::Result<()> {
        self.step(step, StepStatus::Pending, Leaf::Keep)?;
        self.on_step("started", step, &Option::<i64>::None)?;
        self.forget_between(&format!("{step}/"), &format!("{step}0"))?;
        self.forget_between(&format!("{step}["), &format!("{step}\\"))
    }

    fn forget_between(&self, from: &str, to: &str) -> rusqlite::Result<()> {
        let mut gone = Counts::default();
        let mut statement = self.transaction.prepare_cached(
            "DELETE FROM steps WHERE run = ?1 AND step > ?2 AND step < ?3
             RETURNING status, leaf, step GLOB '*]', items",
        )?;
        let mut rows = statement.query(params![self.run(), from, to])?;
        while let Some(row) = rows.next()? {
            gone.add(&Counts::of(&row.get::<_, String>(0)?, row.get(1)?));
            gone.known += row.get::<_, Option<i64>>(3)?.unwrap_or_default();
            gone.known -= row.get::<_, i64>(2)?;
        }
        self.change(
            "UPDATE runs SET steps = steps - ?2, steps_ended = steps_ended - ?3,
             active = active - ?4, waiting = waiting - ?5 WHERE run = ?1",
            &[&self.run(), &gone.known, &gone.ended, &gone.active, &gone.waiting],
        )
        .map(|_| ())
    }

    fn attempt(&self, step: &StepPath, attempt: u32, status: &str) -> rusqlite::Result<()> {
        self.change(
            "INSERT INTO attempts (run, step, attempt, status, scheduled)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (run, step, attempt) DO UPDATE SET status = ?4",
            &[&self.run(), &step.as_str(), &attempt, &status, &self.at()],
        )
        .map(|_| ())
    }

    /// Stores an attempt that may begin at a given time.
    pub(super) fn attempt_due(
        &self,
        step: &StepPath,
        attempt: u32,
        status: &str,
        not_before: Timestamp,
    ) -> rusqlite::Result<()> {
        self.attempt(step, attempt, status)?;
        self.on_attempt("due", step, attempt, &millis(not_before).max(self.at()))
    }

    /// Stores how long an attempt took that does not say so itself.
    fn attempt_took(&self, step: &StepPath, attempt: u32) -> rusqlite::Result<()> {
        self.change(
            "UPDATE attempts SET duration_ms = max(ended - due, 0)
             WHERE run = ?1 AND step = ?2 AND attempt = ?3 AND due IS NOT NULL",
            &[&self.run(), &step.as_str(), &attempt],
        )
        .map(|_| ())
    }

    fn attempt_ended(&self, step: &StepPath, attempt: u32, status: &str) -> rusqlite::Result<()> {
        self.attempt(step, attempt, status)?;
        self.on_attempt("ended", step, attempt, &self.at())
    }

    fn on_attempt(
        &self,
        column: &'static str,
        step: &StepPath,
        attempt: u32,
        value: &dyn ToSql,
    ) -> rusqlite::Result<()> {
        let sql = format!(
            "UPDATE attempts SET {column} = ?4 WHERE run = ?1 AND step = ?2 AND attempt = ?3"
        );
        self.change(&sql, &[&self.run(), &step.as_str(), &attempt, value]).map(|_| ())
    }

    pub(super) fn on_step(
        &self,
        column: &'static str,
        step: &StepPath,
        value: &dyn ToSql,
    ) -> rusqlite::Result<()> {
        let sql = format!("UPDATE steps SET {column} = ?3 WHERE run = ?1 AND step = ?2");
        self.change(&sql, &[&self.run(), &step.as_str(), value]).map(|_| ())
    }
}

/// Whether a step is performed itself, or consists of inner steps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Yes,
    No,
    Keep,
}

/// How many steps there are, and in which state.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) known: i64,
    pub(crate) ended: i64,
    pub(crate) active: i64,
    pub(crate) waiting: i64,
}

impl Counts {
    pub(crate) fn of(status: &str, leaf: bool) -> Self {
        let is = |wanted: StepStatus| status == wanted.as_str();
        let ended =
            [StepStatus::Completed, StepStatus::Failed, StepStatus::Skipped, StepStatus::Cancelled];
        let active = leaf && (is(StepStatus::Scheduled) || is(StepStatus::Running));
        Self {
            known: 1,
            ended: i64::from(ended.into_iter().any(is)),
            active: i64::from(active),
            waiting: i64::from(leaf && is(StepStatus::Waiting)),
        }
    }

    pub(crate) fn add(&mut self, more: &Self) {
        self.known += more.known;
        self.ended += more.ended;
        self.active += more.active;
        self.waiting += more.waiting;
    }
}
