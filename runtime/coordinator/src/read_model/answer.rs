//! Tables into answers.

use std::collections::BTreeMap;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;
use skep_protocol::{
    AgentId, AttemptView, HistoryEntry, QueryReply, RunDetail, RunFilter, RunId, RunStatus,
    RunSummary, StepPath, StepStatus, StepView, Timestamp,
};

use super::Question;
use super::letters::letters;

/// Runs in a list, and entries of a history, if no number is asked for.
const DEFAULT_LIMIT: u32 = 100;
/// The most of them.
const MAX_LIMIT: u32 = 10_000;
/// Bytes of history in one answer; it has to fit into a message.
const MAX_HISTORY_BYTES: usize = 512 * 1024;

const SUMMARY: &str = "run, workflow, digest, status, started, ended, parent, labels, steps, \
                       steps_ended, active, waiting, retry_of";

pub(super) fn answer(connection: &Connection, question: &Question) -> rusqlite::Result<QueryReply> {
    match question {
        Question::Runs(filter) => runs(connection, filter).map(QueryReply::Runs),
        Question::Run(run) => detail(connection, *run),
        Question::DoneOver(run) => done_over(connection, *run).map(QueryReply::Runs),
        Question::Letters(filter) => letters(connection, filter).map(QueryReply::Letters),
        Question::History { run, after, limit } => history(connection, *run, *after, *limit),
    }
}

fn runs(connection: &Connection, filter: &RunFilter) -> rusqlite::Result<Vec<RunSummary>> {
    let sql = format!(
        "SELECT {SUMMARY} FROM runs
         WHERE (?1 IS NULL OR workflow = ?1) AND (?2 IS NULL OR parent_run = ?2)
         AND (NOT ?4 OR parent_run IS NULL)
         AND (?3 IS NULL OR (started, run) < (SELECT started, run FROM runs WHERE run = ?3))
         ORDER BY started DESC, run DESC"
    );
    let parent = filter.parent.map(|run| run.to_string());
    let mut statement = connection.prepare_cached(&sql)?;
    let after = filter.after.map(|run| run.to_string());
    let rows = statement.query_map(params![filter.workflow, parent, after, filter.top], summary)?;
    let wanted = |run: &RunSummary| {
        (filter.status.is_empty() || filter.status.contains(&run.status))
            && filter.labels.iter().all(|(name, value)| run.labels.get(name) == Some(value))
    };
    let limit = bounded(filter.limit);
    rows.filter(|row| row.as_ref().map_or(true, &wanted)).take(limit).collect()
}

pub(super) fn bounded(limit: u32) -> usize {
    let limit = if limit == 0 { DEFAULT_LIMIT } else { limit.min(MAX_LIMIT) };
    limit as usize
}

fn summary(row: &Row<'_>) -> rusqlite::Result<RunSummary> {
    let (active, waiting): (i64, i64) = (row.get(10)?, row.get(11)?);
    let stored: RunStatus = word(row, 3)?;
    let waits = stored == RunStatus::Running && active == 0 && waiting > 0;
    let status = if waits { RunStatus::Waiting } else { stored };
    Ok(RunSummary {
        run: word(row, 0)?,
        workflow: row.get(1)?,
        digest: word(row, 2)?,
        status,
        started: time(row.get(4)?),
        ended: row.get::<_, Option<i64>>(5)?.map(time),
        parent: optional_json(row, 6)?,
        labels: json(row, 7)?,
        steps: row.get(8)?,
        steps_ended: row.get(9)?,
        retry_of: optional_word(row, 12)?,
    })
}

fn detail(connection: &Connection, run: RunId) -> rusqlite::Result<QueryReply> {
    let sql =
        format!("SELECT {SUMMARY}, inputs, outputs, error, cancelled FROM runs WHERE run = ?1");
    let detail = connection
        .prepare_cached(&sql)?
        .query_row([run.to_string()], |row| {
            Ok(RunDetail {
                summary: summary(row)?,
                inputs: json(row, 13)?,
                outputs: optional_json(row, 14)?,
                error: optional_json(row, 15)?,
                cancelled: row.get(16)?,
                paused: None,
                retried_by: Vec::new(),
                steps: Vec::new(),
                waiting: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut detail) = detail else { return Ok(QueryReply::NotFound {}) };
    detail.steps = steps(connection, run)?;
    detail.retried_by = done_over(connection, run)?.into_iter().map(|by| by.run).collect();
    Ok(QueryReply::Run(Box::new(detail)))
}

/// Returns the runs that do a run over, in the order in which they were started.
fn done_over(connection: &Connection, run: RunId) -> rusqlite::Result<Vec<RunSummary>> {
    let sql = format!("SELECT {SUMMARY} FROM runs WHERE retry_of = ?1 ORDER BY started, run");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map([run.to_string()], summary)?.collect()
}

fn steps(connection: &Connection, run: RunId) -> rusqlite::Result<Vec<StepView>> {
    let mut steps: Vec<StepView> = connection
        .prepare_cached(
            "SELECT step, status, started, ended, output, error, child, items, kept, skipped_by,
             skipped, cancelled
             FROM steps
             WHERE run = ?1 ORDER BY ordinal",
        )?
        .query_map([run.to_string()], |row| {
            Ok(StepView {
                step: StepPath::new(&row.get::<_, String>(0)?),
                status: word::<StepStatus>(row, 1)?,
                attempts: Vec::new(),
                started: row.get::<_, Option<i64>>(2)?.map(time),
                ended: row.get::<_, Option<i64>>(3)?.map(time),
                output: optional_json(row, 4)?,
                error: optional_json(row, 5)?,
                child: optional_word(row, 6)?,
                items: row.get(7)?,
                kept: row.get(8)?,
                skipped_by: row.get(9)?,
                skipped: optional_json(row, 10)?,
                cancelled: optional_json(row, 11)?,
                condition: None,
                stopped_by: None,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut by_path: BTreeMap<String, Vec<AttemptView>> = BTreeMap::new();
    let mut statement = connection.prepare_cached(
        "SELECT step, attempt, status, scheduled, agent, ended, duration_ms, error, fallback
         FROM attempts WHERE run = ?1 ORDER BY step, attempt",
    )?;
    let mut rows = statement.query([run.to_string()])?;
    while let Some(row) = rows.next()? {
        let view = AttemptView {
            attempt: row.get(1)?,
            status: row.get(2)?,
            scheduled: time(row.get(3)?),
            agent: optional_word::<AgentId>(row, 4)?,
            ended: row.get::<_, Option<i64>>(5)?.map(time),
            duration_ms: row.get::<_, Option<i64>>(6)?.map(i64::unsigned_abs),
            error: optional_json(row, 7)?,
            fallback: row.get(8)?,
        };
        by_path.entry(row.get(0)?).or_default().push(view);
    }
    for step in &mut steps {
        step.attempts = by_path.remove(step.step.as_str()).unwrap_or_default();
    }
    Ok(steps)
}

fn history(
    connection: &Connection,
    run: RunId,
    after: u64,
    limit: u32,
) -> rusqlite::Result<QueryReply> {
    let known: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM runs WHERE run = ?1)")?
        .query_row([run.to_string()], |row| row.get(0))?;
    if !known {
        return Ok(QueryReply::NotFound {});
    }
    let mut statement = connection.prepare_cached(
        "SELECT number, record FROM history WHERE run = ?1 AND number > ?2
         ORDER BY number LIMIT ?3",
    )?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![run.to_string(), after, bounded(limit) as i64])?;
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let text = row.get_ref(1)?.as_str().map_err(|error| wrong(1, error))?;
        bytes += text.len();
        if bytes > MAX_HISTORY_BYTES && !entries.is_empty() {
            break;
        }
        let record = serde_json::from_str(text).map_err(|error| wrong(1, error))?;
        entries.push(HistoryEntry { number: row.get::<_, i64>(0)?.unsigned_abs(), record });
    }
    Ok(QueryReply::History(entries))
}

pub(super) fn time(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms.unsigned_abs())
}

/// Reads a value whose JSON is a bare text.
pub(super) fn word<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_value(text.into()).map_err(|error| wrong(column, error))
}

pub(super) fn optional_word<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_value(text.into()).map_err(|error| wrong(column, error)))
        .transpose()
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| wrong(column, error))
}

fn optional_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| wrong(column, error))).transpose()
}

fn wrong(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
