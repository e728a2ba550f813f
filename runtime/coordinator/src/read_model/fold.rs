//! Journal messages into tables.

pub(super) mod rows;

use rusqlite::types::ToSql;
use rusqlite::{Connection, ErrorCode, Transaction, params};
use serde::Serialize;
use skep_protocol::{
    Batch, Event, PartitionCount, PartitionId, Record, RunId, RunRecord, RunStarted, RunStatus,
    Seq, StepPath, StepStatus, Timestamp,
};

use self::rows::Leaf;
use super::repair::Gap;
use crate::observe;

/// Returns how far each journal was read.
pub(super) fn positions(connection: &Connection) -> rusqlite::Result<Vec<(PartitionId, Seq)>> {
    let mut statement = connection.prepare("SELECT partition, seq FROM positions")?;
    let rows = statement.query_map([], |row| {
        let (partition, seq): (u16, i64) = (row.get(0)?, row.get(1)?);
        Ok((PartitionId::new(partition), Seq::new(seq.unsigned_abs())))
    })?;
    rows.collect()
}

/// What the follower of a journal has to tell.
#[derive(Debug)]
pub(super) enum Entry {
    Message { partition: PartitionId, seq: Seq, batch: Batch },
    Gap(Gap),
}

impl Entry {
    /// Returns how far the journal was read with this.
    pub(super) fn reached(&self) -> (PartitionId, Seq) {
        match self {
            Self::Message { partition, seq, .. } => (*partition, *seq),
            Self::Gap(gap) => (gap.partition, gap.last()),
        }
    }
}

/// Stores entries in one transaction. A record that cannot be stored is left out, so that it stops
/// nothing.
pub(super) fn store(
    connection: &mut Connection,
    partitions: PartitionCount,
    entries: &[Entry],
) -> rusqlite::Result<()> {
    match store_all(connection, partitions, entries, Care::Together) {
        Err(error) if is_about_the_record(&error) => {
            store_all(connection, partitions, entries, Care::OneByOne)
        }
        stored => stored,
    }
}

/// Returns whether the database itself is well: trying again cannot help.
fn is_about_the_record(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code().is_none_or(|code| {
        matches!(
            code,
            ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::ParameterOutOfRange
        )
    })
}

fn store_all(
    connection: &mut Connection,
    partitions: PartitionCount,
    entries: &[Entry],
    care: Care,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for entry in entries {
        match entry {
            Entry::Message { seq, batch, .. } => {
                for record in &batch.records {
                    let Record::Run(record) = record else { continue };
                    let fold = Fold { transaction: &transaction, seq: *seq, record };
                    let left_out = |error: &rusqlite::Error| observe::left_out(record, error);
                    care.store(&transaction, || fold.store(), left_out)?;
                }
            }
            Entry::Gap(gap) => {
                let left_out =
                    |error: &rusqlite::Error| observe::not_repaired(gap.partition, error);
                care.store(&transaction, || gap.repair(&transaction, partitions), left_out)?;
            }
        }
        let (partition, seq) = entry.reached();
        transaction
            .prepare_cached(
                "INSERT INTO positions (partition, seq) VALUES (?1, ?2)
                 ON CONFLICT (partition) DO UPDATE SET seq = excluded.seq",
            )?
            .execute(params![partition.get(), seq.get().cast_signed()])?;
    }
    transaction.commit()
}

/// In which way records are stored.
#[derive(Clone, Copy)]
enum Care {
    /// All of them or none.
    Together,
    /// Each or not, at some expense.
    OneByOne,
}

impl Care {
    fn store(
        self,
        transaction: &Transaction<'_>,
        store: impl FnOnce() -> rusqlite::Result<()>,
        left_out: impl FnOnce(&rusqlite::Error),
    ) -> rusqlite::Result<()> {
        match self {
            Self::Together => store(),
            Self::OneByOne => {
                transaction.execute_batch("SAVEPOINT one")?;
                match store() {
                    Err(error) if is_about_the_record(&error) => {
                        left_out(&error);
                        transaction.execute_batch("ROLLBACK TO one; RELEASE one")
                    }
                    Err(error) => Err(error),
                    Ok(()) => transaction.execute_batch("RELEASE one"),
                }
            }
        }
    }
}

pub(super) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("types of the protocol have a JSON form")
}

/// One record on its way into the tables.
pub(super) struct Fold<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    /// The message that holds the record.
    pub(super) seq: Seq,
    pub(super) record: &'a RunRecord,
}

impl Fold<'_> {
    pub(super) fn store(&self) -> rusqlite::Result<()> {
        if let Event::RunStarted(started) = &self.record.event {
            self.run_started(started)?;
        }
        let known = self.change(
            "UPDATE runs SET entries = entries + 1 WHERE run = ?1 AND known_to < ?2",
            &[&self.run(), &self.seq.get().cast_signed()],
        )?;
        // The beginning of the run was trimmed unread, or a snapshot told what follows from this.
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

    #[expect(clippy::too_many_lines, reason = "a table with a line for each kind of event")]
    fn event(&self) -> rusqlite::Result<()> {
        match &self.record.event {
            Event::RunStarted(_)
            | Event::ParentNotified {}
            | Event::SignalReceived { .. }
            | Event::CheckpointSaved { .. }
            | Event::StepStopping { .. }
            | Event::ReportIgnored(_) => Ok(()),
            Event::RunPaused { .. } => self.shift(RunStatus::Running, RunStatus::Paused),
            Event::RunResumed { .. } => {
                self.shift(RunStatus::Paused, RunStatus::Running)?;
                self.tried_again()
            }
            Event::CancelRequested { reason } => {
                self.change(
                    "UPDATE runs SET cancelled = ?2 WHERE run = ?1",
                    &[&self.run(), reason],
                )?;
                self.status(RunStatus::Unwinding)
            }
            Event::RunCompleted { outputs } => {
                self.change(
                    "UPDATE runs SET outputs = ?2 WHERE run = ?1",
                    &[&self.run(), &json(outputs)],
                )?;
                self.ended(RunStatus::Completed)
            }
            Event::RunFailed { failure } => {
                self.error(failure)?;
                self.ended(RunStatus::Failed)
            }
            Event::RunCancelled {} => self.ended(RunStatus::Cancelled),
            Event::UnwindStarted { failure } => {
                if let Some(failure) = failure {
                    self.error(failure)?;
                }
                self.status(RunStatus::Unwinding)
            }
            Event::RunCompensated { failure } => {
                self.error(failure)?;
                self.ended(RunStatus::Compensated)
            }
            Event::RunStuck { .. } => self.status(RunStatus::Stuck),
            Event::CompensationSkipped { step, by } => self.skipped(step, by),
            Event::DeadLetterDropped { step, by } => self.letter_dropped(step, by),
            Event::StepKept(_)
            | Event::StepSkipped { .. }
            | Event::StepExpanded(_)
            | Event::GroupStarted { .. }
            | Event::GroupRestarted { .. }
            | Event::RestartDecided { .. }
            | Event::StepRestarted { .. }
            | Event::RestartsExhausted { .. }
            | Event::WaitStarted(_)
            | Event::ChildStarted(_)
            | Event::AttemptScheduled(_)
            | Event::AttemptTaken { .. }
            | Event::AttemptReleased { .. }
            | Event::AttemptCompleted(_)
            | Event::AttemptFailed(_)
            | Event::AttemptLost { .. }
            | Event::StepCompleted { .. }
            | Event::StepFailed { .. }
            | Event::StepCancelled { .. } => {
                self.record.event.step().map_or(Ok(()), |step| self.step_event(step))
            }
        }
    }

    fn step_event(&self, step: &StepPath) -> rusqlite::Result<()> {
        match &self.record.event {
            Event::StepKept(kept) => self.kept(kept),
            Event::StepSkipped { reason, .. } => self.left_out(step, reason),
            Event::StepExpanded(expanded) => {
                self.step(step, StepStatus::Running, Leaf::No)?;
                self.expanded(step, expanded.total)
            }
            Event::GroupStarted { .. } => self.step(step, StepStatus::Running, Leaf::No),
            Event::GroupRestarted { .. } => self.restarted(step),
            Event::StepRestarted { .. } => self.step_restarted(step),
            Event::RestartDecided { .. } | Event::RestartsExhausted { .. } => Ok(()),
            Event::WaitStarted(_) => self.step(step, StepStatus::Waiting, Leaf::Yes),
            Event::ChildStarted(child) => {
                self.step(step, StepStatus::Running, Leaf::Yes)?;
                self.on_step("child", step, &child.child.to_string())?;
                self.attempt_due(step, child.attempt, "taken", child.not_before)
            }
            Event::StepCompleted { output, .. } => {
                self.step(step, StepStatus::Completed, Leaf::Keep)?;
                self.attempts_over(step, "completed")?;
                output.as_ref().map_or(Ok(()), |output| self.on_step("output", step, &json(output)))
            }
            Event::StepFailed { failure, .. } => {
                self.step(step, StepStatus::Failed, Leaf::Keep)?;
                self.on_step("error", step, &json(failure))
            }
            Event::StepCancelled { reason, .. } => {
                self.stopped(step, *reason)?;
                self.attempts_over(step, "cancelled")
            }
            Event::AttemptScheduled(_)
            | Event::AttemptTaken { .. }
            | Event::AttemptReleased { .. }
            | Event::AttemptCompleted(_)
            | Event::AttemptFailed(_)
            | Event::AttemptLost { .. } => self.attempt_event(step),
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
            | Event::CheckpointSaved { .. }
            | Event::StepStopping { .. }
            | Event::ReportIgnored(_) => Ok(()),
        }
    }

    /// Makes the run; nothing is left of one whose id was forgotten and came again.
    fn run_started(&self, started: &RunStarted) -> rusqlite::Result<()> {
        self.change("DELETE FROM steps WHERE run = ?1", &[&self.run()])?;
        self.change("DELETE FROM attempts WHERE run = ?1", &[&self.run()])?;
        self.change("DELETE FROM history WHERE run = ?1", &[&self.run()])?;
        self.change("DELETE FROM dropped WHERE run = ?1", &[&self.run()])?;
        self.change(
            "INSERT OR REPLACE INTO runs
             (run, workflow, digest, status, started, parent, parent_run, labels, inputs,
              declared, steps, retry_of)
             VALUES (?1, ?2, ?3, 'running', ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)",
            &[
                &self.run(),
                &started.workflow,
                &started.digest.to_string(),
                &self.at(),
                &started.parent.as_ref().map(json),
                &started.parent.as_ref().map(|parent| parent.run.to_string()),
                &json(&started.labels),
                &json(&started.inputs),
                &started.steps.unwrap_or_default(),
                &started.retry.as_ref().map(|retry| retry.run.to_string()),
            ],
        )
        .map(|_| ())
    }

    /// The compensations that failed for good are tried again.
    fn tried_again(&self) -> rusqlite::Result<()> {
        let again = self.change(
            "UPDATE runs SET status = 'unwinding' WHERE run = ?1 AND status = 'stuck'",
            &[&self.run()],
        )?;
        if again == 0 {
            return Ok(());
        }
        self.change(
            "UPDATE steps SET status = 'pending', ended = NULL, error = NULL
             WHERE run = ?1 AND step GLOB '*~compensate' AND status = 'failed'",
            &[&self.run()],
        )
        .and_then(|steps| {
            self.change(
                "UPDATE runs SET steps_ended = steps_ended - ?2 WHERE run = ?1",
                &[&self.run(), &i64::try_from(steps).unwrap_or_default()],
            )
        })
        .map(|_| ())
    }

    /// A compensation counts as done; the run stays stuck for as long as another one is.
    fn skipped(&self, step: &StepPath, by: &str) -> rusqlite::Result<()> {
        self.step(step, StepStatus::Skipped, Leaf::Keep)?;
        self.on_step("skipped_by", step, &by)?;
        self.change(
            "UPDATE runs SET status = iif(EXISTS(SELECT 1 FROM steps WHERE run = ?1 AND
             step GLOB '*~compensate' AND status = 'failed'), 'stuck', 'unwinding')
             WHERE run = ?1",
            &[&self.run()],
        )
        .map(|_| ())
    }

    fn status(&self, status: RunStatus) -> rusqlite::Result<()> {
        self.change("UPDATE runs SET status = ?2 WHERE run = ?1", &[&self.run(), &status.as_str()])
            .map(|_| ())
    }

    /// Sets the state of a run that is in another one; one that is unwinding stays so.
    fn shift(&self, from: RunStatus, to: RunStatus) -> rusqlite::Result<()> {
        self.change(
            "UPDATE runs SET status = ?3 WHERE run = ?1 AND status = ?2",
            &[&self.run(), &from.as_str(), &to.as_str()],
        )
        .map(|_| ())
    }

    fn ended(&self, status: RunStatus) -> rusqlite::Result<()> {
        self.status(status)?;
        self.change("UPDATE runs SET ended = ?2 WHERE run = ?1", &[&self.run(), &self.at()])
            .map(|_| ())
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

pub(super) fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}
