//! Journal messages into tables.

use rusqlite::types::ToSql;
use rusqlite::{Connection, Transaction, params};
use serde::Serialize;
use skep_protocol::{
    Batch, Event, Failure, PartitionId, Payload, Record, RunId, RunRecord, RunStarted, RunStatus,
    Seq, StepPath, StepStatus, Timestamp,
};

/// Returns how far each journal was read.
pub(super) fn positions(connection: &Connection) -> rusqlite::Result<Vec<(PartitionId, Seq)>> {
    let mut statement = connection.prepare("SELECT partition, seq FROM positions")?;
    let rows = statement.query_map([], |row| {
        let (partition, seq): (u16, i64) = (row.get(0)?, row.get(1)?);
        Ok((PartitionId::new(partition), Seq::new(seq.unsigned_abs())))
    })?;
    rows.collect()
}

/// Stores messages in one transaction.
pub(super) fn store(
    connection: &mut Connection,
    messages: &[(PartitionId, Seq, Batch)],
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for (partition, seq, batch) in messages {
        for record in &batch.records {
            match record {
                Record::Run(record) => Fold { transaction: &transaction, record }.store()?,
                Record::OwnerChanged(_) | Record::WorkflowAdded(_) => {}
            }
        }
        transaction
            .prepare_cached(
                "INSERT INTO positions (partition, seq) VALUES (?1, ?2)
                 ON CONFLICT (partition) DO UPDATE SET seq = excluded.seq",
            )?
            .execute(params![partition.get(), seq.get().cast_signed()])?;
    }
    transaction.commit()
}

pub(super) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("types of the protocol have a JSON form")
}

struct Fold<'a> {
    transaction: &'a Transaction<'a>,
    record: &'a RunRecord,
}

impl Fold<'_> {
    fn store(&self) -> rusqlite::Result<()> {
        if let Event::RunStarted(started) = &self.record.event {
            self.run_started(started)?;
        }
        let known =
            self.change("UPDATE runs SET entries = entries + 1 WHERE run = ?1", &[&self.run()])?;
        // The beginning of the run was trimmed before this database existed.
        if known == 0 {
            return Ok(());
        }
        self.change(
            "INSERT INTO history (run, number, record)
             SELECT ?1, entries, ?2 FROM runs WHERE run = ?1",
            &[&self.run(), &json(self.record)],
        )?;
        self.event()
    }

    fn event(&self) -> rusqlite::Result<()> {
        match &self.record.event {
            Event::RunStarted(_)
            | Event::ParentNotified {}
            | Event::SignalReceived { .. }
            | Event::CheckpointSaved { .. }
            | Event::StepStopping { .. }
            | Event::ReportIgnored(_) => Ok(()),
            Event::RunPaused { .. } => self.status(RunStatus::Paused),
            Event::RunResumed { .. } => self.status(RunStatus::Running),
            Event::CancelRequested { .. } => self.status(RunStatus::Unwinding),
            Event::RunCompleted { outputs } => {
                self.change(
                    "UPDATE runs SET outputs = ?2 WHERE run = ?1",
                    &[&self.run(), &json(outputs)],
                )?;
                self.ended(RunStatus::Completed)
            }
            Event::RunFailed { failure } => {
                self.change(
                    "UPDATE runs SET error = ?2 WHERE run = ?1",
                    &[&self.run(), &json(failure)],
                )?;
                self.ended(RunStatus::Failed)
            }
            Event::RunCancelled {} => self.ended(RunStatus::Cancelled),
            event => self.step_event(event),
        }
    }

    fn step_event(&self, event: &Event) -> rusqlite::Result<()> {
        let Some(step) = event.step() else { return Ok(()) };
        match event {
            Event::StepSkipped { .. } => self.step(step, StepStatus::Skipped, Leaf::Keep),
            Event::StepExpanded(_) | Event::GroupStarted { .. } => {
                self.step(step, StepStatus::Running, Leaf::No)
            }
            Event::GroupRestarted { .. } => self.restarted(step),
            Event::WaitStarted(_) => self.step(step, StepStatus::Waiting, Leaf::Yes),
            Event::ChildStarted(child) => {
                self.step(step, StepStatus::Running, Leaf::Yes)?;
                self.on_step("child", step, &child.child.to_string())
            }
            Event::AttemptScheduled(scheduled) => {
                self.step(step, StepStatus::Scheduled, Leaf::Yes)?;
                self.attempt(step, scheduled.attempt, "scheduled")
            }
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
                self.step(step, StepStatus::Running, Leaf::Yes)?;
                self.attempt_ended(step, failed.attempt, "failed")?;
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
            Event::StepCompleted { output, .. } => {
                self.step(step, StepStatus::Completed, Leaf::Keep)?;
                output
                    .as_ref()
                    .map_or(Ok(()), |output: &Payload| self.on_step("output", step, &json(output)))
            }
            Event::StepFailed { failure, .. } => {
                self.step(step, StepStatus::Failed, Leaf::Keep)?;
                self.on_step("error", step, &json::<Failure>(failure))
            }
            Event::StepCancelled { .. } => {
                self.step(step, StepStatus::Cancelled, Leaf::Keep)?;
                self.change(
                    "UPDATE attempts SET status = 'cancelled', ended = ?3
                     WHERE run = ?1 AND step = ?2 AND ended IS NULL",
                    &[&self.run(), &step.as_str(), &self.at()],
                )
                .map(|_| ())
            }
            Event::RunStarted(_)
            | Event::RunPaused { .. }
            | Event::RunResumed { .. }
            | Event::CancelRequested { .. }
            | Event::RunCompleted { .. }
            | Event::RunFailed { .. }
            | Event::RunCancelled {}
            | Event::ParentNotified {}
            | Event::SignalReceived { .. }
            | Event::CheckpointSaved { .. }
            | Event::StepStopping { .. }
            | Event::ReportIgnored(_) => Ok(()),
        }
    }

    fn run_started(&self, started: &RunStarted) -> rusqlite::Result<()> {
        self.change(
            "INSERT INTO runs
             (run, workflow, digest, status, started, parent, parent_run, labels, inputs)
             VALUES (?1, ?2, ?3, 'running', ?4, ?5, ?6, ?7, ?8)",
            &[
                &self.run(),
                &started.workflow,
                &started.digest.to_string(),
                &self.at(),
                &started.parent.as_ref().map(json),
                &started.parent.as_ref().map(|parent| parent.run.to_string()),
                &json(&started.labels),
                &json(&started.inputs),
            ],
        )
        .map(|_| ())
    }

    fn status(&self, status: RunStatus) -> rusqlite::Result<()> {
        self.change("UPDATE runs SET status = ?2 WHERE run = ?1", &[&self.run(), &status.as_str()])
            .map(|_| ())
    }

    fn ended(&self, status: RunStatus) -> rusqlite::Result<()> {
        self.status(status)?;
        self.change("UPDATE runs SET ended = ?2 WHERE run = ?1", &[&self.run(), &self.at()])
            .map(|_| ())
    }

    /// Sets the state of a step and keeps the counters of its run.
    fn step(&self, step: &StepPath, status: StepStatus, leaf: Leaf) -> rusqlite::Result<()> {
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
             SELECT ?1, ?2, steps + 1, ?3, ?4, ?5, ?6 FROM runs WHERE run = ?1
             ON CONFLICT (run, step) DO UPDATE SET status = ?3, leaf = ?4,
             started = coalesce(steps.started, ?5), ended = ?6",
            &[&self.run(), &step.as_str(), &status.as_str(), &is_leaf, &started, &ended],
        )?;
        let old = before.as_ref().map_or(Counts::default(), |(status, leaf)| Counts {
            known: 1,
            ..Counts::of(status, *leaf)
        });
        let new = Counts { known: 1, ..Counts::of(status.as_str(), is_leaf) };
        self.change(
            "UPDATE runs SET steps = steps + ?2, steps_ended = steps_ended + ?3,
             active = active + ?4, waiting = waiting + ?5 WHERE run = ?1",
            &[
                &self.run(),
                &(new.known - old.known),
                &(new.ended - old.ended),
                &(new.active - old.active),
                &(new.waiting - old.waiting),
            ],
        )
        .map(|_| ())
    }

    /// A group starts over: what is inside is pending again.
    fn restarted(&self, group: &StepPath) -> rusqlite::Result<()> {
        self.step(group, StepStatus::Running, Leaf::No)?;
        let (from, to) = (format!("{group}/"), format!("{group}0"));
        let inner: Vec<String> = self
            .transaction
            .prepare_cached("SELECT step FROM steps WHERE run = ?1 AND step > ?2 AND step < ?3")?
            .query_map(params![self.run(), from, to], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for step in inner {
            self.step(&StepPath::new(&step), StepStatus::Pending, Leaf::Keep)?;
        }
        Ok(())
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

    fn on_step(
        &self,
        column: &'static str,
        step: &StepPath,
        value: &dyn ToSql,
    ) -> rusqlite::Result<()> {
        let sql = format!("UPDATE steps SET {column} = ?3 WHERE run = ?1 AND step = ?2");
        self.change(&sql, &[&self.run(), &step.as_str(), value]).map(|_| ())
    }

    fn change(&self, sql: &str, values: &[&dyn ToSql]) -> rusqlite::Result<usize> {
        self.transaction.prepare_cached(sql)?.execute(values)
    }

    fn run(&self) -> String {
        let run: RunId = self.record.run;
        run.to_string()
    }

    fn at(&self) -> i64 {
        millis(self.record.at)
    }
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// Whether a step is performed itself, or consists of inner steps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Yes,
    No,
    Keep,
}

#[derive(Default)]
struct Counts {
    known: i64,
    ended: i64,
    active: i64,
    waiting: i64,
}

impl Counts {
    fn of(status: &str, leaf: bool) -> Self {
        let is = |wanted: StepStatus| status == wanted.as_str();
        let ended =
            [StepStatus::Completed, StepStatus::Failed, StepStatus::Skipped, StepStatus::Cancelled];
        let active = leaf && (is(StepStatus::Scheduled) || is(StepStatus::Running));
        Self {
            known: 0,
            ended: i64::from(ended.into_iter().any(is)),
            active: i64::from(active),
            waiting: i64::from(leaf && is(StepStatus::Waiting)),
        }
    }
}
