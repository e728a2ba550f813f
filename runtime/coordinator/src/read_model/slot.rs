//! A run in memory, and what of it is not stored yet.

use skep_protocol::{Event, RunId, RunStarted, StepPath, Timestamp};

use super::unsaved::Place;
use super::view::RunView;

/// What a run takes in memory beside the text of its records, about, in bytes.
const BESIDE: usize = 1_024;

#[derive(Debug)]
pub(super) struct Slot {
    /// The number under which it is stored.
    pub(super) no: i64,
    pub(super) view: RunView,
    pub(super) is_stored: bool,
    /// Something is not stored yet.
    pub(super) is_changed: bool,
    /// The view does not follow from the history alone.
    pub(super) is_seeded: bool,
    /// Dead letters that were dropped.
    pub(super) dropped: Vec<(StepPath, String, Timestamp)>,
    /// When it changed last: rises with each message.
    pub(super) changed: u64,
    /// What it takes in memory, about, in bytes.
    pub(super) size: usize,
    /// The number of the first record that is not stored yet.
    first: u64,
    /// Where the texts of those records lie.
    records: Vec<Place>,
}

impl Slot {
    /// Begins a run.
    pub(super) fn new(no: i64, (run, at): (RunId, Timestamp), started: RunStarted) -> Self {
        let stored = Self::stored(no, RunView::new(run, at, started), 0);
        Self { is_stored: false, ..stored }
    }

    /// Returns a run as it was stored, of which `size` bytes were read.
    pub(super) const fn stored(no: i64, view: RunView, size: usize) -> Self {
        Self {
            no,
            view,
            is_stored: true,
            is_changed: false,
            is_seeded: false,
            dropped: Vec::new(),
            changed: 0,
            size: BESIDE + size,
            first: 1,
            records: Vec::new(),
        }
    }

    /// Takes in what happened next.
    pub(super) fn apply(&mut self, at: Timestamp, event: Event) {
        if let Event::DeadLetterDropped { step, by } = &event {
            self.dropped.push((step.clone(), by.clone(), at));
        }
        self.view.apply(at, event);
    }

    /// Remembers where the text of the record lies that was taken in last, of `size` bytes.
    pub(super) fn record(&mut self, place: Place, size: usize) {
        if self.records.is_empty() {
            self.first = self.view.entries;
        }
        self.records.push(place);
        self.size += size;
    }

    /// Returns where the records lie that are not stored yet, and the number of the first.
    pub(super) fn unsaved(&self) -> (u64, &[Place]) {
        (self.first, &self.records)
    }

    /// Everything is stored: steps that lie behind a run may be let go of.
    pub(super) fn saved(&mut self) {
        (self.is_stored, self.is_changed, self.is_seeded) = (true, false, false);
        self.records = Vec::new();
        self.dropped.clear();
        self.view.doubtful.clear();
        if let Some(size) = self.view.abridge() {
            self.size = BESIDE + size;
        }
    }
}
