//! A run into its rows, and back.

use rusqlite::types::{ToSql, ToSqlOutput, Type, ValueRef};
use rusqlite::{
    CachedStatement, Connection, ErrorCode, OptionalExtension as _, Transaction, params,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use skep_protocol::{Event, Record, RunId, RunRecord, StepPath, Timestamp};

use super::schema::OF_A_RUN;
use super::slot::Slot;
use super::unsaved::Unsaved;
use super::view::{RunView, Told};
use crate::observe;

/// Runs on their way into the database. What of them cannot be stored is left out, so that it stops
/// nothing.
pub(super) struct Rows<'a> {
    transaction: &'a Transaction<'a>,
    unsaved: &'a Unsaved,
    /// The records of one run after the other.
    text: Vec<u8>,
    // What is done for each run is looked up once.
    insert: CachedStatement<'a>,
    update: CachedStatement<'a>,
    history: CachedStatement<'a>,
}

impl<'a> Rows<'a> {
    pub(super) fn of(
        transaction: &'a Transaction<'a>,
        unsaved: &'a Unsaved,
    ) -> rusqlite::Result<Self> {
        let insert = transaction.prepare_cached(
            "INSERT INTO runs (no, run, workflow, digest, status, started, ended, parent,
             parent_run, labels, retry_of, steps, steps_ended, entries)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT (run) DO NOTHING",
        )?;
        let update = transaction.prepare_cached(
            "UPDATE runs SET status = ?2, ended = ?3, steps = ?4, steps_ended = ?5, entries = ?6
             WHERE no = ?1",
        )?;
        let sql = "INSERT INTO history (no, first, records) VALUES (?1, ?2, ?3)";
        let history = transaction.prepare_cached(sql)?;
        Ok(Self { transaction, unsaved, text: Vec::new(), insert, update, history })
    }

    pub(super) fn write(&mut self, slot: &Slot) -> rusqlite::Result<()> {
        if slot.is_stored {
            self.update(slot)?;
        } else if !self.insert(slot)? {
            // Nothing is left of one whose id was forgotten and came again.
            forget(self.transaction, slot.view.run)?;
            self.insert(slot)?;
        }
        let (no, view) = (slot.no, &slot.view);
        let (first, records) = slot.unsaved();
        if !records.is_empty() {
            self.text.clear();
            self.unsaved.gather(records, &mut self.text);
            let text = ToSqlOutput::Borrowed(ValueRef::Text(&self.text));
            let stored = self.history.execute(params![no, first.cast_signed(), text]);
            unless_left_out(view.run, "history", stored)?;
        }
        let other = OfOne { transaction: self.transaction, slot };
        if slot.is_seeded {
            let sql = "INSERT OR REPLACE INTO seeds (no, view) VALUES (?1, ?2)";
            other.change("view", sql, &[&no, &json(view)])?;
        }
        for step in &view.doubtful {
            other.letter(step)?;
        }
        for (step, by, at) in &slot.dropped {
            let sql = "INSERT OR IGNORE INTO dropped (no, step, by_whom, at)
                       VALUES (?1, ?2, ?3, ?4)";
            other.change("dropped letter", sql, &[&no, &step.as_str(), by, &millis(*at)])?;
        }
        Ok(())
    }

    /// Returns whether there was no such run.
    fn insert(&mut self, slot: &Slot) -> rusqlite::Result<bool> {
        let view = &slot.view;
        let labels = (!view.labels.is_empty()).then(|| json(&view.labels));
        let stored = self.insert.execute(params![
            slot.no,
            key(&view.run),
            view.workflow,
            view.digest.as_bytes(),
            view.status().as_str(),
            millis(view.started),
            view.ended.map(millis),
            view.parent.as_ref().map(json),
            view.parent.as_ref().map(|parent| key(&parent.run)),
            labels,
            view.retry_of.as_ref().map(key),
            view.steps(),
            view.steps_ended(),
            view.entries.cast_signed(),
        ]);
        Ok(unless_left_out(view.run, "run", stored)? != Some(0))
    }

    fn update(&mut self, slot: &Slot) -> rusqlite::Result<()> {
        let view = &slot.view;
        let stored = self.update.execute(params![
            slot.no,
            view.status().as_str(),
            view.ended.map(millis),
            view.steps(),
            view.steps_ended(),
            view.entries.cast_signed(),
        ]);
        unless_left_out(view.run, "run", stored).map(drop)
    }
}

/// What only some runs have to store.
struct OfOne<'a> {
    transaction: &'a Transaction<'a>,
    slot: &'a Slot,
}

impl OfOne<'_> {
    fn letter(&self, step: &StepPath) -> rusqlite::Result<()> {
        let (no, path) = (self.slot.no, step.as_str());
        let Some(letter) = self.slot.view.letter(step) else {
            let sql = "DELETE FROM failed WHERE no = ?1 AND step = ?2";
            return self.change("dead letter", sql, &[&no, &path]).map(|_| ());
        };
        let sql = "INSERT OR REPLACE INTO failed
                   (no, step, error, kind, code, ended, child, attempts, agent)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        self.change(
            "dead letter",
            sql,
            &[
                &no,
                &path,
                &json(letter.failure),
                &bare(&letter.failure.kind),
                &letter.failure.code,
                &letter.ended.map(millis),
                &letter.child.map(|child| child.to_string()),
                &(letter.attempts as i64),
                &letter.agent.map(|agent| agent.as_str()),
            ],
        )
        .map(|_| ())
    }

    fn change(
        &self,
        what: &'static str,
        sql: &str,
        values: &[&dyn ToSql],
    ) -> rusqlite::Result<Option<usize>> {
        let changed = self.transaction.prepare_cached(sql)?.execute(values);
        unless_left_out(self.slot.view.run, what, changed)
    }
}

/// Returns how many rows changed; `None` if what is to be stored was left out.
fn unless_left_out(
    run: RunId,
    what: &'static str,
    changed: rusqlite::Result<usize>,
) -> rusqlite::Result<Option<usize>> {
    match changed {
        Err(error) if is_about_the_record(&error) => {
            observe::left_out(run, what, &error);
            Ok(None)
        }
        changed => changed.map(Some),
    }
}

/// Returns whether the database itself is well: trying again cannot help.
pub(super) fn is_about_the_record(error: &rusqlite::Error) -> bool {
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

/// Removes all that is stored of a run.
pub(super) fn forget(connection: &Connection, run: RunId) -> rusqlite::Result<()> {
    let Some(no) = number(connection, run)? else { return Ok(()) };
    for table in OF_A_RUN {
        let sql = format!("DELETE FROM {table} WHERE no = ?1");
        connection.prepare_cached(&sql)?.execute([no])?;
    }
    Ok(())
}

/// Returns the number under which a run is stored.
pub(super) fn number(connection: &Connection, run: RunId) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT no FROM runs WHERE run = ?1")?
        .query_row([key(&run)], |row| row.get(0))
        .optional()
}

/// Reads a run.
pub(super) fn load(connection: &Connection, run: RunId) -> rusqlite::Result<Option<Slot>> {
    let told = connection
        .prepare_cached(
            "SELECT no, status, ended, steps, steps_ended, entries FROM runs WHERE run = ?1",
        )?
        .query_row([key(&run)], |row| {
            let told = Told {
                status: word(row, 1)?,
                ended: row.get::<_, Option<i64>>(2)?.map(time),
                steps: row.get(3)?,
                steps_ended: row.get(4)?,
                entries: row.get::<_, i64>(5)?.unsigned_abs(),
            };
            Ok((row.get(0)?, told))
        })
        .optional()?;
    let Some((no, told)) = told else { return Ok(None) };
    let (view, size) = fold(connection, no)?;
    let mut view = view.ok_or_else(|| unreadable("the beginning of its history is missing"))?;
    view.correct(&told);
    Ok(Some(Slot::stored(no, view, size)))
}

/// Folds what is stored of a run; tells how many bytes that were, too.
fn fold(connection: &Connection, no: i64) -> rusqlite::Result<(Option<RunView>, usize)> {
    let seed: Option<String> = connection
        .prepare_cached("SELECT view FROM seeds WHERE no = ?1")?
        .query_row([no], |row| row.get(0))
        .optional()?;
    let mut size = seed.as_ref().map_or(0, String::len);
    let mut view: Option<RunView> = seed
        .map(|seed| serde_json::from_str(&seed).map_err(|error| wrong(0, error)))
        .transpose()?;
    let sql = "SELECT first, records FROM history WHERE no = ?1 ORDER BY first";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([no])?;
    while let Some(row) = rows.next()? {
        let first = row.get::<_, i64>(0)?.unsigned_abs();
        let text = row.get_ref(1)?.as_bytes().map_err(|error| wrong(1, error))?;
        size += text.len();
        for (number, text) in (first..).zip(records(text)?) {
            if view.as_ref().is_some_and(|view| number <= view.entries) {
                continue;
            }
            let RunRecord { run, at, event } = record(text.get().as_bytes())?;
            match (&mut view, event) {
                (None, Event::RunStarted(started)) => {
                    view = Some(RunView::new(run, at, *started));
                }
                (None, _) => {}
                (Some(view), event) => view.apply(at, event),
            }
        }
    }
    Ok((view, size))
}

/// Takes the records of a row apart.
pub(super) fn records(text: &[u8]) -> rusqlite::Result<Vec<Box<RawValue>>> {
    serde_json::from_slice(&[b"[", text, b"]"].concat()).map_err(|error| wrong(1, error))
}

pub(super) fn record(text: &[u8]) -> rusqlite::Result<RunRecord> {
    match serde_json::from_slice(text).map_err(|error| wrong(1, error))? {
        Record::Run(record) => Ok(record),
        Record::OwnerChanged(_) | Record::WorkflowAdded(_) => {
            Err(unreadable("a record in its history is that of no run"))
        }
    }
}

/// Returns under which key a run is found.
pub(super) const fn key(run: &RunId) -> &[u8; 16] {
    run.as_uuid().as_bytes()
}

pub(super) const fn run(key: [u8; 16]) -> RunId {
    RunId::from_uuid(uuid::Uuid::from_bytes(key))
}

pub(super) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("types of the protocol have a JSON form")
}

/// Returns a value whose JSON is a bare text.
pub(super) fn bare<T: Serialize>(value: &T) -> String {
    json(value).trim_matches('"').to_owned()
}

pub(super) fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn time(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms.unsigned_abs())
}

/// Reads a value whose JSON is a bare text.
pub(super) fn word<T: DeserializeOwned>(
    row: &rusqlite::Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_value(text.into()).map_err(|error| wrong(column, error))
}

pub(super) fn optional_word<T: DeserializeOwned>(
    row: &rusqlite::Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_value(text.into()).map_err(|error| wrong(column, error)))
        .transpose()
}

pub(super) fn json_of<T: DeserializeOwned>(
    row: &rusqlite::Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| wrong(column, error))
}

pub(super) fn optional_json<T: DeserializeOwned>(
    row: &rusqlite::Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| wrong(column, error))).transpose()
}

pub(super) fn wrong(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

fn unreadable(cause: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, cause.into())
}
