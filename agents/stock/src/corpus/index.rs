//! One index: a SQLite file with the passages of many files, searched by BM25.
//!
//! What it holds does not depend on the order in which files arrive, nor on how often: a file that
//! comes again with the same text changes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params,
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::passages::Passage;
use super::words::{self, Terms};

/// The rowid of a passage is its file's id, shifted by this, plus its position.
const POSITION_BITS: u32 = 20;
/// How many passages a file may have.
pub(super) const MAX_PASSAGES: usize = 1 << POSITION_BITS;
/// How long a writer waits for another process.
const BUSY: Duration = Duration::from_secs(30);
/// How often it looks.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// After so many steps of its machine, SQLite asks whether to go on.
const STEPS: i32 = 10_000;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS files (
        id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, hash TEXT NOT NULL,
        bytes INTEGER NOT NULL, passage_count INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS bad_files (
        path TEXT PRIMARY KEY, reason TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE VIRTUAL TABLE IF NOT EXISTS passages USING fts5(
        heading, text, first_line UNINDEXED, last_line UNINDEXED,
        tokenize = 'porter unicode61 remove_diacritics 2'
    );";

/// An open index.
#[derive(Debug)]
pub(super) struct Index(Connection);

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// There is no such index: never opened, or forgotten already.
    #[error("there is no index `{0}`: `corpus-open` makes one")]
    Unknown(String),
    /// Its name is none.
    #[error("`{0}` is no name of an index: 1 to 64 of A-Z a-z 0-9 _ - are")]
    InvalidName(String),
    /// Another process writes to it for too long.
    #[error("the index is busy")]
    Busy(#[source] rusqlite::Error),
    /// The directory of indexes cannot be written to.
    #[error("cannot keep indexes in the state directory")]
    State(#[source] std::io::Error),
    /// Its file is not that of an index, or no longer.
    #[error("the index is damaged")]
    Damaged(#[source] rusqlite::Error),
    /// SQLite cannot read or write it.
    #[error("the index cannot be used")]
    Broken(#[source] rusqlite::Error),
    /// The work was told to stop.
    #[error("the attempt was cancelled or its time was up")]
    Stopped,
}

impl From<rusqlite::Error> for IndexError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                Self::Busy(error)
            }
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                Self::Damaged(error)
            }
            _ => Self::Broken(error),
        }
    }
}

/// What a file came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingested {
    /// Its path, relative to the directory.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// How many passages it was cut into.
    pub passages: u64,
}

/// A passage that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The file it is from.
    pub file: String,
    /// Its first line.
    pub first_line: u32,
    /// Its last line.
    pub last_line: u32,
    /// The heading it stands under.
    #[serde(default)]
    pub heading: String,
    /// Its text.
    pub text: String,
    /// How well it fits: greater is better; comparable within one answer only.
    pub score: f64,
}

/// What a search found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// The words of the question that count, with how much each says.
    pub terms: Terms,
    /// The passages, best first.
    pub passages: Vec<Found>,
}

impl Index {
    /// Opens the index in a file; makes it if it is not there.
    pub(super) fn create(path: &Path) -> Result<Self, IndexError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.execute_batch(SCHEMA)?;
        Self::prepare(connection)
    }

    /// Opens the index in a file that is there.
    pub(super) fn open(path: &Path) -> Result<Self, IndexError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Self::prepare(Connection::open_with_flags(path, flags)?)
    }

    fn prepare(connection: Connection) -> Result<Self, IndexError> {
        connection.busy_timeout(BUSY)?;
        // A commit that a power failure takes back is noticed: `corpus-summary` counts.
        connection.pragma_update(None, "synchronous", "normal")?;
        Ok(Self(connection))
    }

    /// Lets what follows fail once `stop` is cancelled: long queries, and the wait for a writer in
    /// another process.
    pub(super) fn stop_on(&mut self, stop: CancellationToken) -> Result<(), IndexError> {
        let pauses = BUSY.as_millis() / BUSY_PAUSE.as_millis();
        let patient = stop.clone();
        self.0.busy_handler(Some(move |times: i32| {
            let waits = !patient.is_cancelled() && u128::from(times.unsigned_abs()) < pauses;
            if waits {
                thread::sleep(BUSY_PAUSE);
            }
            waits
        }))?;
        Ok(self.0.progress_handler(STEPS, Some(move || stop.is_cancelled()))?)
    }

    /// Puts the passages of a file in, at most [`MAX_PASSAGES`], in place of what was there of it.
    pub(super) fn put(
        &mut self,
        file: &str,
        text: &str,
        passages: &[Passage],
    ) -> Result<Ingested, IndexError> {
        let hash = blake3::hash(text.as_bytes()).to_hex();
        let (bytes, count) = (text.len() as u64, passages.len() as u64);
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known: Option<(i64, String)> = transaction
            .prepare_cached("SELECT id, hash FROM files WHERE path = ?1")?
            .query_row([file], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let ingested = Ingested { file: file.to_owned(), bytes, passages: count };
        if let Some((id, known)) = known {
            if known == hash.as_str() {
                return Ok(ingested);
            }
            remove(&transaction, id)?;
        }
        transaction.execute("DELETE FROM bad_files WHERE path = ?1", [file])?;
        let counts = params![file, hash.as_str(), bytes.cast_signed(), count.cast_signed()];
        transaction
            .prepare_cached(
                "INSERT INTO files (path, hash, bytes, passage_count) VALUES (?, ?, ?, ?)",
            )?
            .execute(counts)?;
        let first = transaction.last_insert_rowid() << POSITION_BITS;
        let mut insert = transaction.prepare_cached(
            "INSERT INTO passages (rowid, heading, text, first_line, last_line) \
             VALUES (?, ?, ?, ?, ?)",
        )?;
        for (row, passage) in (first..).zip(passages) {
            let Passage { first_line, last_line, heading, text } = passage;
            insert.execute(params![row, heading, text, first_line, last_line])?;
        }
        drop(insert);
        transaction.commit()?;
        Ok(ingested)
    }

    /// Remembers why a file has no passages, and drops those that an earlier attempt put in.
    pub(super) fn put_bad(&mut self, file: &str, reason: &str) -> Result<(), IndexError> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known: Option<i64> = transaction
            .prepare_cached("SELECT id FROM files WHERE path = ?1")?
            .query_row([file], |row| row.get(0))
            .optional()?;
        if let Some(id) = known {
            remove(&transaction, id)?;
        }
        transaction
            .prepare_cached("INSERT OR REPLACE INTO bad_files (path, reason) VALUES (?1, ?2)")?
            .execute([file, reason])?;
        Ok(transaction.commit()?)
    }

    /// Returns the bad files with their reasons.
    pub(super) fn bad(&self) -> Result<BTreeMap<String, String>, IndexError> {
        let mut query = self.0.prepare("SELECT path, reason FROM bad_files")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the files that are in.
    pub(super) fn files(&self) -> Result<std::collections::BTreeSet<String>, IndexError> {
        let mut query = self.0.prepare("SELECT path FROM files")?;
        let rows = query.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Finds the passages that fit a question best. Of passages with the same text, only that of
    /// the first file counts.
    pub(super) fn search(&self, question: &str, limit: usize) -> Result<Search, IndexError> {
        let terms = words::terms(question);
        if terms.is_empty() {
            return Ok(Search::default());
        }
        let quoted = |term: &String| format!("\"{term}\"");
        let total: i64 =
            self.0.query_row("SELECT coalesce(sum(passage_count), 0) FROM files", [], |row| {
                row.get(0)
            })?;
        let mut weights = Terms::new();
        let mut count =
            self.0.prepare_cached("SELECT count(*) FROM passages WHERE passages MATCH ?1")?;
        for term in &terms {
            let found: i64 = count.query_row([quoted(term)], |row| row.get(0))?;
            let weight = words::weight(found.cast_unsigned(), total.cast_unsigned());
            weights.insert(term.clone(), weight);
        }
        let matching = terms.iter().map(quoted).collect::<Vec<_>>().join(" OR ");
        Ok(Search { terms: weights, passages: self.best(&matching, limit)? })
    }

    fn best(&self, matching: &str, limit: usize) -> Result<Vec<Found>, IndexError> {
        // Ties are decided by what does not depend on the order of arrival. Texts are fetched for
        // the best only: half of all passages may match.
        let mut ranked = self.0.prepare_cached(
            "SELECT passages.rowid, path, bm25(passages, 2.0, 1.0) AS score
             FROM passages JOIN files ON files.id = passages.rowid >> ?2
             WHERE passages MATCH ?1 ORDER BY score, path, passages.rowid",
        )?;
        let mut fetch = self.0.prepare_cached(
            "SELECT first_line, last_line, heading, text FROM passages WHERE rowid = ?1",
        )?;
        let mut rows = ranked.query(params![matching, POSITION_BITS])?;
        let mut best: Vec<Found> = Vec::new();
        while let Some(row) = rows.next()?
            && best.len() < limit
        {
            let (id, file, score): (i64, String, f64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let found = fetch.query_row([id], |row| {
                let (first_line, last_line) = (row.get(0)?, row.get(1)?);
                let (heading, text) = (row.get(2)?, row.get(3)?);
                Ok(Found {
                    file,
                    first_line,
                    last_line,
                    heading,
                    text,
                    score: words::round(-score),
                })
            })?;
            if best.iter().all(|other| other.text != found.text) {
                best.push(found);
            }
        }
        Ok(best)
    }
}

fn remove(transaction: &Transaction<'_>, id: i64) -> Result<(), IndexError> {
    let rows = params![id << POSITION_BITS, (id + 1) << POSITION_BITS];
    transaction.execute("DELETE FROM passages WHERE rowid >= ?1 AND rowid < ?2", rows)?;
    transaction.execute("DELETE FROM files WHERE id = ?1", [id])?;
    Ok(())
}

#[cfg(test)]
mod tests;
