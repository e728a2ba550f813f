//! The tables of the read model.

use rusqlite::Connection;

use crate::settings::Settings;

/// Rises with every change of the tables; a database of another version is thrown away.
const VERSION: i64 = 7;

const TABLES: &str = "
    CREATE TABLE cluster (id TEXT NOT NULL);
    CREATE TABLE positions (partition INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
    CREATE TABLE runs (
        run TEXT PRIMARY KEY,
        workflow TEXT NOT NULL,
        digest TEXT NOT NULL,
        status TEXT NOT NULL,
        started INTEGER NOT NULL,
        ended INTEGER,
        parent TEXT,
        parent_run TEXT,
        labels TEXT NOT NULL,
        inputs TEXT NOT NULL,
        outputs TEXT,
        error TEXT,
        cancelled TEXT,
        -- The run that this one does over.
        retry_of TEXT,
        -- Steps of the definition's top level that were counted before they came into being.
        declared INTEGER NOT NULL DEFAULT 0,
        steps INTEGER NOT NULL DEFAULT 0,
        steps_ended INTEGER NOT NULL DEFAULT 0,
        active INTEGER NOT NULL DEFAULT 0,
        waiting INTEGER NOT NULL DEFAULT 0,
        entries INTEGER NOT NULL DEFAULT 0,
        -- Messages up to this one tell nothing of the run that is not known from a snapshot.
        known_to INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE INDEX runs_by_start ON runs (started DESC);
    CREATE INDEX runs_by_parent ON runs (parent_run) WHERE parent_run IS NOT NULL;
    CREATE INDEX runs_by_retry ON runs (retry_of) WHERE retry_of IS NOT NULL;
    CREATE TABLE steps (
        run TEXT NOT NULL,
        step TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        status TEXT NOT NULL,
        leaf INTEGER NOT NULL,
        started INTEGER,
        ended INTEGER,
        output TEXT,
        error TEXT,
        -- Why it was skipped, or stopped.
        skipped TEXT,
        cancelled TEXT,
        child TEXT,
        items INTEGER,
        -- It did not run: it is as it was in the run before.
        kept INTEGER NOT NULL DEFAULT 0,
        -- Who took a compensation that failed as done.
        skipped_by TEXT,
        PRIMARY KEY (run, step)
    ) WITHOUT ROWID;
    CREATE INDEX steps_failed ON steps (run, step) WHERE status = 'failed';
    CREATE TABLE dropped (
        run TEXT NOT NULL,
        step TEXT NOT NULL,
        by_whom TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (run, step)
    ) WITHOUT ROWID;
    CREATE TABLE attempts (
        run TEXT NOT NULL,
        step TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        status TEXT NOT NULL,
        scheduled INTEGER NOT NULL,
        -- When it may begin at the earliest.
        due INTEGER,
        agent TEXT,
        fallback INTEGER NOT NULL DEFAULT 0,
        ended INTEGER,
        duration_ms INTEGER,
        error TEXT,
        PRIMARY KEY (run, step, attempt)
    ) WITHOUT ROWID;
    CREATE TABLE history (
        run TEXT NOT NULL,
        number INTEGER NOT NULL,
        record TEXT NOT NULL,
        PRIMARY KEY (run, number)
    ) WITHOUT ROWID;
";

/// Creates the tables, unless they are there, of this version and of this cluster.
pub(super) fn prepare(connection: Connection, settings: &Settings) -> rusqlite::Result<Connection> {
    let cluster = settings.cluster.as_str();
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.set_prepared_statement_cache_capacity(64);
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == VERSION {
        let same: bool = connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM cluster WHERE id = ?1)",
            [cluster],
            |row| row.get(0),
        )?;
        if same {
            return Ok(connection);
        }
    }
    for table in ["cluster", "positions", "runs", "steps", "attempts", "history", "dropped"] {
        connection.execute_batch(&format!("DROP TABLE IF EXISTS {table}"))?;
    }
    connection.execute_batch(TABLES)?;
    connection.execute("INSERT INTO cluster (id) VALUES (?1)", [cluster])?;
    connection.pragma_update(None, "user_version", VERSION)?;
    Ok(connection)
}
