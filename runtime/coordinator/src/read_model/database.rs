//! The database, where it was asked for.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::Backup;

use super::schema;
use crate::observe;
use crate::settings::Settings;

/// A temporary database has so much of its pages in memory, in bytes.
pub(super) const CACHE: i64 = 16 * 1024 * 1024;
/// Pages that are copied at a time.
const PAGES: i32 = 1_024;

/// A database, and how often it was opened.
type Opened = (Connection, i64);

/// Opens a database of which no more than [`CACHE`] is in memory: the rest is in a file that has no
/// name and goes with the process. Without a place for one, everything is in memory.
pub(super) fn temporary(settings: &Settings) -> rusqlite::Result<Opened> {
    let connection = match can_spill() {
        Ok(()) => Connection::open("")?,
        Err(error) => {
            observe::no_temporary_file(&error);
            Connection::open_in_memory()?
        }
    };
    let opened = schema::prepare(connection, settings)?;
    // Said before the size of the pages, it would count those of another size.
    opened.0.pragma_update(None, "cache_size", -(CACHE / 1024))?;
    Ok(opened)
}

/// Tries whether a database without a name finds a place for what does not fit into its memory.
fn can_spill() -> rusqlite::Result<()> {
    Connection::open("")?.execute_batch(
        "PRAGMA cache_size = 1;
         CREATE TABLE probe AS SELECT zeroblob(262144) AS large;",
    )
}

/// Copies a database into memory.
pub(super) fn in_memory(from: &Connection) -> rusqlite::Result<Connection> {
    let mut to = Connection::open_in_memory()?;
    schema::set_up(&to)?;
    Backup::new(from, &mut to)?.run_to_completion(PAGES, Duration::ZERO, None)?;
    Ok(to)
}

/// Opens a database in a file; one that cannot be used is thrown away.
pub(super) fn in_file(path: &Path, settings: &Settings) -> rusqlite::Result<Opened> {
    let open = || schema::prepare(Connection::open(path)?, settings);
    open().or_else(|_| {
        throw_away(path);
        open()
    })
}

fn throw_away(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        // One that is not there is as good as one that is gone; the next open tells the rest.
        let _ = std::fs::remove_file(file);
    }
}
