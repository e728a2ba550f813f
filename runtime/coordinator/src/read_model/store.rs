//! The runs in memory, and the database behind them.
//!
//! What happens is folded in memory. What changed is written every now and then, with how far the
//! journals were read, in one transaction: after a crash no more than that is read again.

mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use foldhash::HashMap;
use rusqlite::{Connection, ErrorCode};
use skep_protocol::{
    Event, PartitionCount, PartitionId, Record, RunDetail, RunId, RunRecord, RunStarted, Seq,
    Texts, Timestamp,
};

use super::database;
use super::entry::{Entry, Message};
use super::repair::{Fate, Gap};
use super::rows::{self, is_about_the_record};
use super::slot::Slot;
use super::unsaved::{Place, Unsaved};
use crate::config::Retention;
use crate::observe;

/// With more than this not stored, in bytes of messages, it is written at once.
const UNSAVED: usize = 16 * 1024 * 1024;
/// Runs in memory take no more than this, about, in bytes: beyond it, those are read again when
/// they change that have not changed for longest.
const HELD: usize = 16 * 1024 * 1024;
/// The same for those that changed since the last write: they are about to change again.
const HELD_OF_LATE: usize = 3 * HELD;

/// What the read model knows.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    partitions: PartitionCount,
    retention: Retention,
    /// How often the database was opened, this time included.
    opened: i64,
    runs: HashMap<RunId, Box<Slot>>,
    /// Runs of which something is not stored.
    changed: Vec<RunId>,
    /// Runs of which nothing is to be left.
    forgotten: Vec<RunId>,
    /// Runs of a partition that were not over before a gap.
    open: Vec<RunId>,
    /// Runs that ended before the last write: they leave the memory with the next one.
    over: Vec<RunId>,
    /// How far journals were read since the last write.
    positions: BTreeMap<PartitionId, Seq>,
    /// The number of the next run.
    next: i64,
    /// Rises with each message; and what it was at the last write.
    now: u64,
    written_at: u64,
    /// And what it was when it was looked for runs to which nothing happens.
    looked_at: u64,
    /// The messages of which something is not stored.
    unsaved: Unsaved,
    /// What the runs take in memory, in bytes.
    held: usize,
    /// A run does another one over, and is not stored.
    has_unsaved_retry: bool,
    /// With so many runs begun, and so many bytes stored, it is looked which are to be dropped.
    look_at: (u64, u64),
}

impl Store {
    /// Wraps a database that was opened for the `opened`-th time.
    pub(super) fn new(
        (connection, opened): (Connection, i64),
        partitions: PartitionCount,
        retention: Retention,
    ) -> rusqlite::Result<Self> {
        let sql = "SELECT coalesce(max(no), 0) + 1 FROM runs";
        let next = connection.query_row(sql, [], |row| row.get(0))?;
        Ok(Self {
            connection,
            partitions,
            retention,
            opened,
            runs: HashMap::default(),
            changed: Vec::new(),
            forgotten: Vec::new(),
            open: Vec::new(),
            over: Vec::new(),
            positions: BTreeMap::new(),
            next,
            now: 0,
            written_at: 0,
            looked_at: 0,
            unsaved: Unsaved::default(),
            held: 0,
            has_unsaved_retry: false,
            look_at: (0, 0),
        })
    }

    /// Returns how far each journal was read.
    pub(super) fn positions(&self) -> rusqlite::Result<Vec<(PartitionId, Seq)>> {
        let mut statement = self.connection.prepare("SELECT partition, seq FROM positions")?;
        let rows = statement.query_map([], |row| {
            let (partition, seq): (u16, i64) = (row.get(0)?, row.get(1)?);
            Ok((PartitionId::new(partition), Seq::new(seq.unsigned_abs())))
        })?;
        rows.collect()
    }

    /// Returns whether anything is not stored.
    pub(super) fn is_dirty(&self) -> bool {
        !self.positions.is_empty()
    }

    /// Returns whether so much is not stored that it has to be written at once.
    pub(super) const fn is_full(&self) -> bool {
        self.unsaved.size() >= UNSAVED
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Goes on in memory if it was there that no room was left for what does not fit into it.
    /// Returns whether it did.
    pub(super) fn flee(&mut self, from: &rusqlite::Error) -> bool {
        let is_room = matches!(
            from.sqlite_error_code(),
            Some(ErrorCode::DiskFull | ErrorCode::CannotOpen | ErrorCode::SystemIoFailure)
        );
        if !is_room || self.connection.path() != Some("") {
            return false;
        }
        let Ok(copied) = database::in_memory(&self.connection) else { return false };
        self.connection = copied;
        observe::no_temporary_file(from);
        true
    }

    /// Returns a run that is in memory.
    pub(super) fn held(&self, run: RunId) -> Option<&Slot> {
        self.runs.get(&run).map(|slot| &**slot)
    }

    /// Returns the records of a run that are not stored, with commas between them, and the number
    /// of the first.
    pub(super) fn unsaved(&self, slot: &Slot) -> (u64, Vec<u8>) {
        let (first, places) = slot.unsaved();
        let mut text = Vec::new();
        self.unsaved.gather(places, &mut text);
        (first, text)
    }

    /// Returns whether the database, together with what is in memory, tells all of one run: of
    /// several, only what is written can be told.
    pub(super) const fn tells_of_one(&self) -> bool {
        !self.has_unsaved_retry && self.forgotten.is_empty()
    }

    /// Brings what an entry tells of into memory; without it, it cannot be taken in. Before a gap,
    /// all has to be written.
    pub(super) fn prepare(&mut self, entry: &Entry) -> rusqlite::Result<()> {
        match entry {
            Entry::Message(message) => {
                let mut begun = BTreeSet::new();
                for record in &message.records {
                    let Record::Run(RunRecord { run, event, .. }) = record else { continue };
                    if matches!(event, Event::RunStarted(_)) {
                        begun.insert(*run);
                    } else if !self.runs.contains_key(run) && !begun.contains(run) {
                        self.load(*run)?;
                    }
                }
                Ok(())
            }
            Entry::Gap(gap) => {
                self.open = self.open_runs(gap.partition)?;
                for run in self.open.clone() {
                    match gap.fate(run) {
                        Fate::Ended(_) => self.load_all(run)?,
                        Fate::GoesOn | Fate::Unknown => {}
                    }
                }
                gap.live().try_for_each(|(_, told)| self.load_all(told.summary.run))
            }
        }
    }

    /// Takes in an entry; what it tells of was brought into memory.
    pub(super) fn take_in(&mut self, entry: Entry) {
        self.now += 1;
        let (partition, seq) = entry.reached();
        match entry {
            Entry::Message(message) => self.message(message),
            Entry::Gap(gap) => self.repair(&gap),
        }
        self.positions.insert(partition, seq);
    }

    fn message(&mut self, Message { seq, records, texts, .. }: Message) {
        for (record, place) in records.into_iter().zip(self.unsaved.keep(texts)) {
            match record {
                Record::Run(record) => self.record(seq, record, place),
                Record::OwnerChanged(_) | Record::WorkflowAdded(_) => {}
            }
        }
    }

    fn record(&mut self, seq: Seq, RunRecord { run, at, event }: RunRecord, place: Place) {
        let (now, size) = (self.now, self.unsaved.text(place).len());
        let slot = if let Event::RunStarted(started) = event {
            self.begin((run, at), *started)
        } else {
            // The beginning of the run was trimmed unread, or a snapshot told what follows from
            // this.
            let known = self.runs.get_mut(&run).filter(|slot| slot.view.known_to < seq);
            let Some(slot) = known else { return };
            slot.apply(at, event);
            slot
        };
        slot.record(place, size);
        slot.changed = now;
        if !slot.is_changed {
            slot.is_changed = true;
            self.changed.push(run);
        }
        self.held += size;
    }

    /// Makes a run; nothing is left of one whose id was forgotten and came again.
    fn begin(&mut self, (run, at): (RunId, Timestamp), started: RunStarted) -> &mut Slot {
        self.has_unsaved_retry |= started.retry.is_some();
        let slot = Slot::new(self.next, (run, at), started);
        self.next += 1;
        self.hold(run, slot)
    }

    fn hold(&mut self, run: RunId, slot: Slot) -> &mut Slot {
        self.held += slot.size;
        if let Some(before) = self.runs.remove(&run) {
            self.held -= before.size;
            self.changed.retain(|changed| *changed != run);
        }
        self.runs.entry(run).or_insert_with(|| Box::new(slot))
    }

    /// Brings a run into memory if it is known.
    fn load(&mut self, run: RunId) -> rusqlite::Result<()> {
        if self.runs.contains_key(&run) {
            return Ok(());
        }
        match rows::load(&self.connection, run) {
            Ok(Some(slot)) => {
                self.hold(run, slot);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) if is_about_the_record(&error) => {
                observe::left_out(run, "what follows", &error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Brings all that is known of a run into memory; everything is stored.
    fn load_all(&mut self, run: RunId) -> rusqlite::Result<()> {
        if self.runs.get(&run).is_some_and(|slot| slot.view.is_abridged()) {
            self.leave(run);
        }
        self.load(run)
    }

    /// Returns what is known of a run, with what is not stored yet.
    pub(super) fn detail(&self, run: RunId) -> rusqlite::Result<Option<RunDetail>> {
        let held = self.runs.get(&run);
        if let Some(slot) = held.filter(|slot| !slot.view.is_abridged()) {
            return Ok(Some(slot.view.detail()));
        }
        let Some(mut slot) = rows::load(&self.connection, run)? else { return Ok(None) };
        for place in held.into_iter().flat_map(|slot| slot.unsaved().1) {
            let RunRecord { at, event, .. } = rows::record(self.unsaved.text(*place))?;
            slot.view.apply(at, event);
        }
        Ok(Some(slot.view.detail()))
    }

    /// Returns the runs of a partition that were not over at the last write.
    fn open_runs(&self, partition: PartitionId) -> rusqlite::Result<Vec<RunId>> {
        let sql = "SELECT run FROM runs
                   WHERE status NOT IN ('completed', 'failed', 'cancelled', 'compensated')";
        let mut statement = self.connection.prepare(sql)?;
        let runs = statement.query_map([], |row| Ok(rows::run(row.get(0)?)))?;
        let of_it = |run: &RunId| self.partitions.of(*run) == partition;
        runs.filter(|run| run.as_ref().map_or(true, of_it)).collect()
    }

    /// Brings the runs of a partition to what is known of them behind a gap.
    fn repair(&mut self, gap: &Gap) {
        for run in mem::take(&mut self.open) {
            match (gap.fate(run), self.runs.get_mut(&run)) {
                (Fate::Ended(status), Some(slot)) => {
                    slot.view.close(status, gap.at);
                    Self::seeded(slot, &mut self.changed);
                }
                (Fate::Unknown, _) => self.forget(run),
                (Fate::Ended(_) | Fate::GoesOn, _) => {}
            }
        }
        for (started, told) in gap.live() {
            let (run, at) = (told.summary.run, told.summary.started);
            if self.runs.get(&run).is_none_or(|slot| slot.view.started != at) {
                let event = Event::RunStarted(Box::new(started.clone()));
                let record = Record::Run(RunRecord { run, at, event });
                let (partition, seq, texts) = (gap.partition, gap.to(), Texts::of(&record));
                self.message(Message { partition, seq, records: vec![record], texts });
            }
            if let Some(slot) = self.runs.get_mut(&run) {
                slot.view.seed(&told, gap.to());
                Self::seeded(slot, &mut self.changed);
            }
        }
    }

    /// Nobody knows how the run ended.
    fn forget(&mut self, run: RunId) {
        if let Some(slot) = self.runs.remove(&run) {
            self.held -= slot.size;
        }
        self.forgotten.push(run);
    }

    /// The view of a run does not follow from its history alone.
    fn seeded(slot: &mut Slot, changed: &mut Vec<RunId>) {
        slot.is_seeded = true;
        if !mem::replace(&mut slot.is_changed, true) {
            changed.push(slot.view.run);
        }
    }
}
