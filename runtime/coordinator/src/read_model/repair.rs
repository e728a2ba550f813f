//! Going on behind a gap: what was trimmed unread is learnt from a snapshot, as far as it tells.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Transaction, params};
use skep_engine::Partition;
use skep_protocol::{
    AttemptView, Event, PartitionCount, PartitionId, RunDetail, RunId, RunRecord, RunStarted,
    RunStatus, Seq, StepStatus, StepView, Timestamp,
};

use super::fold::rows::Counts;
use super::fold::{Fold, json, millis};

/// Messages of a journal that were trimmed before the read model read them.
#[derive(Debug)]
pub(super) struct Gap {
    pub(super) partition: PartitionId,
    /// The first message that is there.
    pub(super) first: Seq,
    /// When that was written.
    pub(super) at: Option<Timestamp>,
    /// A state behind the gap, and the last message that it includes.
    pub(super) state: Option<(Seq, Box<Partition>)>,
}

impl Gap {
    /// The last message that is missing.
    pub(super) fn last(&self) -> Seq {
        Seq::new(self.first.get().saturating_sub(1))
    }

    /// Brings the runs of the partition to what is known of them.
    pub(super) fn repair(
        &self,
        transaction: &Transaction<'_>,
        partitions: PartitionCount,
    ) -> rusqlite::Result<()> {
        for run in open_runs(transaction)? {
            if partitions.of(run) == self.partition {
                self.close(transaction, run)?;
            }
        }
        let Some((to, state)) = &self.state else { return Ok(()) };
        state.live().try_for_each(|(started, detail)| {
            Seed { transaction, detail: &detail, to: *to }.store(started)
        })
    }

    /// A run that was open before the gap: it may have ended in it.
    fn close(&self, transaction: &Transaction<'_>, run: RunId) -> rusqlite::Result<()> {
        let known = self.state.as_ref().and_then(|(_, state)| state.status(run));
        match known {
            Some(status) if status.is_final() => self.ended(transaction, run, status),
            Some(_) => Ok(()),
            None => forget(transaction, run),
        }
    }

    /// The run ended in the gap, or behind it; how its open steps ended is not known.
    fn ended(
        &self,
        transaction: &Transaction<'_>,
        run: RunId,
        status: RunStatus,
    ) -> rusqlite::Result<()> {
        let (text, ended) = (run.to_string(), self.at.map(millis));
        transaction.execute(
            "UPDATE runs SET status = ?2, ended = ?3 WHERE run = ?1",
            params![text, status.as_str(), ended],
        )?;
        transaction.execute(
            "DELETE FROM steps WHERE run = ?1
             AND status IN ('pending', 'scheduled', 'running', 'waiting')",
            [&text],
        )?;
        transaction.execute(
            "DELETE FROM attempts WHERE run = ?1 AND status IN ('scheduled', 'taken')",
            [&text],
        )?;
        recount(transaction, &text)
    }
}

fn open_runs(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<RunId>> {
    let mut statement = transaction.prepare("SELECT run, status FROM runs")?;
    let mut rows = statement.query([])?;
    let mut open = Vec::new();
    while let Some(row) = rows.next()? {
        let (run, status): (String, String) = (row.get(0)?, row.get(1)?);
        let status = serde_json::from_value::<RunStatus>(status.into());
        if status.is_ok_and(|status| !status.is_final())
            && let Ok(run) = serde_json::from_value(run.into())
        {
            open.push(run);
        }
    }
    Ok(open)
}

/// Nobody knows how the run ended.
fn forget(transaction: &Transaction<'_>, run: RunId) -> rusqlite::Result<()> {
    for table in ["runs", "steps", "attempts", "history", "dropped"] {
        let sql = format!("DELETE FROM {table} WHERE run = ?1");
        transaction.prepare_cached(&sql)?.execute([run.to_string()])?;
    }
    Ok(())
}

/// Counts the steps of a run anew.
fn recount(transaction: &Transaction<'_>, run: &str) -> rusqlite::Result<()> {
    let mut counts = Counts::default();
    let mut inner = 0;
    {
        let mut statement = transaction.prepare_cached(
            "SELECT status, leaf, step GLOB '*[[/]*', step GLOB '*]', coalesce(items, 0)
             FROM steps WHERE run = ?1",
        )?;
        let mut rows = statement.query([run])?;
        while let Some(row) = rows.next()? {
            counts.add(&Counts::of(&row.get::<_, String>(0)?, row.get(1)?));
            // All items are known from what they are items of.
            let more = row.get::<_, i64>(4)? - row.get::<_, i64>(3)?;
            counts.known += more;
            inner += more + row.get::<_, i64>(2)?;
        }
    }
    transaction
        .prepare_cached(
            "UPDATE runs SET steps = iif(declared > 0, declared + ?2, ?3), steps_ended = ?4,
             active = ?5, waiting = ?6 WHERE run = ?1",
        )?
        .execute(params![run, inner, counts.known, counts.ended, counts.active, counts.waiting])
        .map(|_| ())
}

/// A live run, brought to what a snapshot says of it.
struct Seed<'a> {
    transaction: &'a Transaction<'a>,
    detail: &'a RunDetail,
    to: Seq,
}

impl Seed<'_> {
    fn store(&self, started: &RunStarted) -> rusqlite::Result<()> {
        self.begin(started)?;
        // That it waits follows from its steps.
        let told = self.detail.summary.status;
        let status = if told == RunStatus::Waiting { RunStatus::Running } else { told };
        self.transaction
            .prepare_cached(
                "UPDATE runs SET status = ?2, cancelled = ?3, known_to = ?4 WHERE run = ?1",
            )?
            .execute(params![
                self.run(),
                status.as_str(),
                self.detail.cancelled,
                self.to.get().cast_signed()
            ])?;
        self.drop_other_steps()?;
        let number = self.detail.steps.len() as i64;
        let items = self.items();
        for (ordinal, step) in (-number..0).zip(&self.detail.steps) {
            let items = step.items.or_else(|| items.get(step.step.as_str()).copied());
            self.step(ordinal, step, items)?;
            if let Some(attempt) = step.attempts.last() {
                self.attempt(step, attempt)?;
            }
        }
        recount(self.transaction, &self.run())
    }

    /// Makes the run unless it is there.
    fn begin(&self, started: &RunStarted) -> rusqlite::Result<()> {
        let summary = &self.detail.summary;
        let known: bool = self
            .transaction
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM runs WHERE run = ?1 AND started = ?2)")?
            .query_row(params![self.run(), millis(summary.started)], |row| row.get(0))?;
        if known {
            return Ok(());
        }
        let event = Event::RunStarted(Box::new(started.clone()));
        let record = &RunRecord { run: summary.run, at: summary.started, event };
        Fold { transaction: self.transaction, seq: self.to, record }.store()
    }

    /// Drops steps that are left from an earlier round of a group.
    fn drop_other_steps(&self) -> rusqlite::Result<()> {
        let stay: BTreeSet<&str> =
            self.detail.steps.iter().map(|step| step.step.as_str()).collect();
        let there: Vec<String> = self
            .transaction
            .prepare_cached("SELECT step FROM steps WHERE run = ?1")?
            .query_map([self.run()], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for step in there.iter().filter(|step| !stay.contains(step.as_str())) {
            self.transaction
                .prepare_cached("DELETE FROM steps WHERE run = ?1 AND step = ?2")?
                .execute(params![self.run(), step])?;
        }
        Ok(())
    }

    /// Counts items: of a `for_each` that is over, a snapshot does not say how many there are.
    fn items(&self) -> BTreeMap<&str, u32> {
        let mut items = BTreeMap::new();
        for step in &self.detail.steps {
            if let Some(item) = step.step.as_str().strip_suffix(']')
                && let Some((step, _)) = item.rsplit_once('[')
            {
                *items.entry(step).or_default() += 1;
            }
        }
        items
    }

    /// Stores a step; what is known of it from the same round stays.
    fn step(&self, ordinal: i64, step: &StepView, items: Option<u32>) -> rusqlite::Result<()> {
        let waits = step.status == StepStatus::Waiting;
        let leaf = waits || !step.attempts.is_empty() || step.child.is_some();
        self.transaction
            .prepare_cached(
                "INSERT INTO steps
                 (run, step, ordinal, status, leaf, started, output, error, child, items)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (run, step) DO UPDATE SET status = ?4, leaf = ?5, started = ?6,
                 ended = iif(status = ?4, ended, NULL),
                 output = iif(started IS ?6, coalesce(?7, output), ?7),
                 error = iif(started IS ?6, coalesce(?8, error), ?8),
                 child = iif(started IS ?6, coalesce(?9, child), ?9),
                 items = iif(started IS ?6, coalesce(?10, items), ?10)",
            )?
            .execute(params![
                self.run(),
                step.step.as_str(),
                ordinal,
                step.status.as_str(),
                leaf,
                step.started.map(millis),
                step.output.as_ref().map(json),
                step.error.as_ref().map(json),
                step.child.map(|child| child.to_string()),
                items,
            ])
            .map(|_| ())
    }

    /// Stores the last attempt of a step; how those before it ended is not known.
    fn attempt(&self, step: &StepView, attempt: &AttemptView) -> rusqlite::Result<()> {
        let step = step.step.as_str();
        self.transaction
            .prepare_cached(
                "DELETE FROM attempts
                 WHERE run = ?1 AND step = ?2 AND attempt < ?3
                 AND status IN ('scheduled', 'taken')",
            )?
            .execute(params![self.run(), step, attempt.attempt])?;
        self.transaction
            .prepare_cached(
                "INSERT INTO attempts
                 (run, step, attempt, status, scheduled, agent, error, fallback)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (run, step, attempt) DO UPDATE SET status = ?4,
                 agent = coalesce(?6, agent), error = coalesce(?7, error),
                 fallback = ?8",
            )?
            .execute(params![
                self.run(),
                step,
                attempt.attempt,
                attempt.status,
                millis(attempt.scheduled),
                attempt.agent.as_ref().map(|agent| agent.as_str()),
                attempt.error.as_ref().map(json),
                attempt.fallback,
            ])
            .map(|_| ())
    }

    fn run(&self) -> String {
        self.detail.summary.run.to_string()
    }
}
