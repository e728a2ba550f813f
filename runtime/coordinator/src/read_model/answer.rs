//! What is asked, answered from the runs in memory and from the tables.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::value::RawValue;
use skep_protocol::{Hash, HistoryEntry, QueryReply, RunFilter, RunId, RunSummary};

use super::Question;
use super::letters::letters;
use super::rows::{self, key, time, word, wrong};
use super::store::Store;

/// Runs in a list, and entries of a history, if no number is asked for.
const DEFAULT_LIMIT: u32 = 100;
/// The most of them.
const MAX_LIMIT: u32 = 10_000;
/// Bytes of history in one answer; it has to fit into a message.
const MAX_HISTORY_BYTES: usize = 512 * 1024;

const SUMMARY: &str = "run, workflow, digest, status, started, ended, parent, labels, steps, \
                       steps_ended, retry_of";

impl Question {
    /// Returns whether all has to be written before this is answered: what is told of one run is in
    /// memory, as far as it is not written.
    pub(super) const fn wants_all(&self, store: &Store) -> bool {
        match self {
            Self::Runs(_) | Self::DoneOver(_) | Self::Letters(_) => true,
            Self::Run(_) | Self::Summary(_) | Self::History { .. } => !store.tells_of_one(),
        }
    }
}

pub(super) fn answer(store: &Store, question: &Question) -> rusqlite::Result<QueryReply> {
    let connection = store.connection();
    match question {
        Question::Runs(filter) => runs(connection, filter).map(QueryReply::Runs),
        Question::Run(run) => detail(store, *run),
        Question::Summary(run) => summary_of(store, *run),
        Question::DoneOver(run) => done_over(connection, *run).map(QueryReply::Runs),
        Question::Letters(filter) => letters(connection, filter).map(QueryReply::Letters),
        Question::History { run, after, limit } => history(store, *run, *after, *limit),
    }
}

fn runs(connection: &Connection, filter: &RunFilter) -> rusqlite::Result<Vec<RunSummary>> {
    let after = match filter.after {
        Some(_) => "(started, run) < (SELECT started, run FROM runs WHERE run = ?3)",
        None => "?3 IS NULL",
    };
    let sql = format!(
        "SELECT {SUMMARY} FROM runs
         WHERE (?1 IS NULL OR workflow = ?1) AND (?2 IS NULL OR parent_run = ?2)
         AND (NOT ?4 OR parent_run IS NULL) AND {after}
         ORDER BY started DESC, run DESC"
    );
    let (parent, after) = (filter.parent.as_ref().map(key), filter.after.as_ref().map(key));
    let mut statement = connection.prepare_cached(&sql)?;
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
    Ok(RunSummary {
        run: rows::run(row.get(0)?),
        workflow: row.get(1)?,
        digest: Hash::from_bytes(row.get(2)?),
        status: word(row, 3)?,
        started: time(row.get(4)?),
        ended: row.get::<_, Option<i64>>(5)?.map(time),
        parent: rows::optional_json(row, 6)?,
        labels: rows::optional_json(row, 7)?.unwrap_or_default(),
        steps: row.get(8)?,
        steps_ended: row.get(9)?,
        retry_of: row.get::<_, Option<[u8; 16]>>(10)?.map(rows::run),
    })
}

fn summary_of(store: &Store, run: RunId) -> rusqlite::Result<QueryReply> {
    let told = match store.held(run) {
        Some(slot) => Some(slot.view.summary()),
        None => {
            let sql = format!("SELECT {SUMMARY} FROM runs WHERE run = ?1");
            let mut statement = store.connection().prepare_cached(&sql)?;
            statement.query_row([key(&run)], summary).optional()?
        }
    };
    Ok(told.map_or(QueryReply::NotFound {}, |told| QueryReply::Runs(vec![told])))
}

fn detail(store: &Store, run: RunId) -> rusqlite::Result<QueryReply> {
    let Some(mut detail) = store.detail(run)? else { return Ok(QueryReply::NotFound {}) };
    let done_over = done_over(store.connection(), run)?;
    detail.retried_by = done_over.into_iter().map(|by| by.run).collect();
    Ok(QueryReply::Run(Box::new(detail)))
}

/// Returns the runs that do a run over, in the order in which they were started.
fn done_over(connection: &Connection, run: RunId) -> rusqlite::Result<Vec<RunSummary>> {
    let sql = format!("SELECT {SUMMARY} FROM runs WHERE retry_of = ?1 ORDER BY started, run");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map([key(&run)], summary)?.collect()
}

fn history(store: &Store, run: RunId, after: u64, limit: u32) -> rusqlite::Result<QueryReply> {
    let held = store.held(run);
    let no = match held {
        Some(slot) => Some(slot.no),
        None => rows::number(store.connection(), run)?,
    };
    let Some(no) = no else { return Ok(QueryReply::NotFound {}) };
    let mut page = Page { after, limit: bounded(limit), bytes: 0, entries: Vec::new() };
    let mut statement = store.connection().prepare_cached(
        "SELECT first, records FROM history WHERE no = ?1 AND first >=
         (SELECT coalesce(max(first), 0) FROM history WHERE no = ?1 AND first <= ?2)
         ORDER BY first",
    )?;
    let next = i64::try_from(after.saturating_add(1)).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![no, next])?;
    while let Some(row) = rows.next()?.filter(|_| page.has_room()) {
        let first = row.get::<_, i64>(0)?.unsigned_abs();
        let text = row.get_ref(1)?.as_bytes().map_err(|error| wrong(1, error))?;
        page.add(first, rows::records(text)?)?;
    }
    if let Some(slot) = held.filter(|_| page.has_room()) {
        let (first, text) = store.unsaved(slot);
        page.add(first, rows::records(&text)?)?;
    }
    Ok(QueryReply::History(page.entries))
}

/// A part of a history.
struct Page {
    after: u64,
    limit: usize,
    bytes: usize,
    entries: Vec<HistoryEntry>,
}

impl Page {
    const fn has_room(&self) -> bool {
        self.entries.len() < self.limit && self.bytes <= MAX_HISTORY_BYTES
    }

    /// Adds records as far as they are wanted, and fit.
    fn add(&mut self, first: u64, records: Vec<Box<RawValue>>) -> rusqlite::Result<()> {
        for (number, text) in (first..).zip(records) {
            if number <= self.after {
                continue;
            }
            self.bytes += text.get().len();
            let is_first = self.entries.is_empty();
            if self.entries.len() >= self.limit || (self.bytes > MAX_HISTORY_BYTES && !is_first) {
                break;
            }
            let record = rows::record(text.get().as_bytes())?;
            self.entries.push(HistoryEntry { number, record });
        }
        Ok(())
    }
}
