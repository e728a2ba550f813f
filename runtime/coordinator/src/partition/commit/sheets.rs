//! What gathers for the next appends: messages that are being written, each with what waits for it.

use std::collections::VecDeque;

use bytes::Bytes;
use skep_protocol::limits::{MAX_BATCH_BYTES, TARGET_BATCH_BYTES};
use skep_protocol::{Draft, Record};

use super::{Release, Unit};

/// What a message takes beside its records, in bytes.
const ENVELOPE: usize = 512;
/// What waits for records takes so much each, about, in bytes.
const RELEASE: usize = 512;
/// Drafts that are kept for the next messages.
const SPARE: usize = 2;

/// One message.
pub(super) struct Sheet {
    pub(super) draft: Draft,
    pub(super) records: Vec<Record>,
    pub(super) blobs: Vec<Bytes>,
    pub(super) releases: Vec<Release>,
}

impl Sheet {
    fn new(draft: Draft, (records, releases): (usize, usize)) -> Self {
        let (records, releases) = (Vec::with_capacity(records), Vec::with_capacity(releases));
        Self { draft, records, blobs: Vec::new(), releases }
    }

    /// Splits off what comes after the first `count` records; what waits for them goes along.
    fn split_off(&mut self, count: usize) -> Self {
        let mut rest = Self::new(self.draft.split_off(count), (0, 0));
        rest.records = self.records.split_off(count);
        rest.releases = std::mem::take(&mut self.releases);
        rest
    }

    fn size(&self) -> usize {
        self.draft.size() + beside(&self.blobs, &self.releases)
    }
}

/// Messages, in order. No record stands in a message that its input's other records do not stand
/// in, unless one cannot hold them all.
pub(super) struct Sheets {
    sheets: VecDeque<Sheet>,
    size: usize,
    spare: Vec<Draft>,
    /// How many records and releases the last message had: the next one may have as many.
    last: (usize, usize),
}

impl Sheets {
    pub(super) const fn new() -> Self {
        Self { sheets: VecDeque::new(), size: 0, spare: Vec::new(), last: (0, 0) }
    }

    /// Returns how much memory they take, about, in bytes.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sheets.is_empty()
    }

    /// Writes down what follows from one input.
    pub(super) fn push(&mut self, unit: Unit) {
        let last = self.sheets.pop_back();
        self.size -= last.as_ref().map_or(0, Sheet::size);
        let mut sheet = last.unwrap_or_else(|| {
            let draft = self.spare.pop().unwrap_or_default();
            Sheet::new(draft, std::mem::take(&mut self.last))
        });
        let before = sheet.draft.len();
        unit.records.iter().for_each(|record| sheet.draft.push(record));
        if before > 0 && !unit.records.is_empty() && sheet.draft.size() > TARGET_BATCH_BYTES {
            let draft = sheet.draft.split_off(before);
            self.put(sheet);
            sheet = Sheet::new(draft, (0, 0));
        }
        let Unit { mut records, mut blobs, mut releases } = unit;
        sheet.records.append(&mut records);
        sheet.blobs.append(&mut blobs);
        sheet.releases.append(&mut releases);
        while sheet.draft.size() + ENVELOPE > MAX_BATCH_BYTES && sheet.draft.len() > 1 {
            let count = sheet.draft.fitting(TARGET_BATCH_BYTES).max(1);
            let rest = sheet.split_off(count);
            self.put(sheet);
            sheet = rest;
        }
        self.put(sheet);
    }

    /// Takes the first message out.
    pub(super) fn pop(&mut self) -> Option<Sheet> {
        let sheet = self.sheets.pop_front()?;
        self.size -= sheet.size();
        self.last = (sheet.records.len(), sheet.releases.len());
        Some(sheet)
    }

    /// Takes back a draft that is of no more use.
    pub(super) fn reuse(&mut self, mut draft: Draft) {
        if self.spare.len() < SPARE && draft.size() <= TARGET_BATCH_BYTES {
            draft.clear();
            self.spare.push(draft);
        }
    }

    fn put(&mut self, sheet: Sheet) {
        self.size += sheet.size();
        self.sheets.push_back(sheet);
    }
}

/// Returns how much memory is taken beside records: a rejection has none, and waits as well.
fn beside(blobs: &[Bytes], releases: &[Release]) -> usize {
    blobs.iter().map(Bytes::len).sum::<usize>() + releases.len() * RELEASE
}
