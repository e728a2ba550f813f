//! The tables of the read model.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use crate::settings::Settings;

/// Rises with every change of the tables; a database of another version is thrown away.
const VERSION: i64 = 9;

const TABLES: &str = "
    CREATE TABLE cluster (
        id TEXT NOT NULL,
        -- Rises whenever somebody opens the database: whoever had it before writes no more.
        opened INTEGER NOT NULL
    );
    CREATE TABLE positions (partition INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
    -- What lists tell of a run, and what they find it by. All else follows from its history.
    CREATE TABLE runs (
        no INTEGER PRIMARY KEY,
        run BLOB NOT NULL UNIQUE,
        workflow TEXT NOT NULL,
        digest BLOB NOT NULL,
        status TEXT NOT NULL,
        started INTEGER NOT NULL,
        ended INTEGER,
        parent TEXT,
        parent_run BLOB,
        labels TEXT,
        -- The run that this one does over.
        retry_of BLOB,
        steps INTEGER NOT NULL,
        steps_ended INTEGER NOT NULL,
        entries INTEGER NOT NULL
    );
    CREATE INDEX runs_by_start ON runs (started, run);
    CREATE INDEX runs_by_parent ON runs (parent_run) WHERE parent_run IS NOT NULL;
    CREATE INDEX runs_by_retry ON runs (retry_of) WHERE retry_of IS NOT NULL;
    -- Many records in a row: the JSON of each, with commas between them.
    CREATE TABLE history (
        no INTEGER NOT NULL,
        first INTEGER NOT NULL,
        records TEXT NOT NULL,
        PRIMARY KEY (no, first)
    );
    -- What a run was behind a gap of its history: a view, as JSON.
    CREATE TABLE seeds (no INTEGER PRIMARY KEY, view TEXT NOT NULL);
    -- Steps that are dead letters if their run fails.
    CREATE TABLE failed (
        no INTEGER NOT NULL,
        step TEXT NOT NULL,
        error TEXT NOT NULL,
        kind TEXT NOT NULL,
        code TEXT NOT NULL,
        ended INTEGER,
        child TEXT,
        attempts INTEGER NOT NULL,
        agent TEXT,
        PRIMARY KEY (no, step)
    ) WITHOUT ROWID;
    CREATE TABLE dropped (
        no INTEGER NOT NULL,
        step TEXT NOT NULL,
        by_whom TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (no, step)
    ) WITHOUT ROWID;
";

/// Every table that there is, or was in another version.
const NAMES: [&str; 9] =
    ["cluster", "positions", "runs", "history", "seeds", "failed", "dropped", "steps", "attempts"];

/// The tables that hold something of one run, by its number.
pub(super) const OF_A_RUN: [&str; 5] = ["runs", "history", "seeds", "failed", "dropped"];

/// Says how a database is to be used.
pub(super) fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    // Histories are long: most of one fits into a page. Of a database that is there, it stays.
    connection.pragma_update(None, "page_size", 16 * 1024)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Creates the tables, unless they are there, of this version and of this cluster. Returns with the
/// connection how often the database was opened.
pub(super) fn prepare(
    mut connection: Connection,
    settings: &Settings,
) -> rusqlite::Result<(Connection, i64)> {
    let cluster = settings.cluster.as_str();
    set_up(&connection)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let opened = match version {
        VERSION => transaction
            .query_row(
                "UPDATE cluster SET opened = opened + 1 WHERE id = ?1 RETURNING opened",
                [cluster],
                |row| row.get(0),
            )
            .optional()?,
        _ => None,
    };
    if opened.is_none() {
        for table in NAMES {
            transaction.execute_batch(&format!("DROP TABLE IF EXISTS {table}"))?;
        }
        transaction.execute_batch(TABLES)?;
        transaction.execute("INSERT INTO cluster (id, opened) VALUES (?1, 0)", [cluster])?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok((connection, opened.unwrap_or_default()))
}
