//! What is done to both brokers.

use std::collections::{BTreeMap, BTreeSet};

use super::Rng;
use crate::directory::Bucket;

/// What is known of the brokers, so that operations make sense.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    /// Where each journal ends.
    pub(super) ends: BTreeMap<u16, u64>,
    /// Tasks that can be pulled at once, by capability.
    pub(super) waiting: BTreeMap<&'static str, usize>,
    /// Tasks that were pulled and not settled, over all capabilities.
    pub(super) held: usize,
    /// Capabilities whose next tasks may come in another order.
    pub(super) shuffled: BTreeSet<&'static str>,
    /// Batches of durable reports that were not confirmed.
    pub(super) unconfirmed: BTreeMap<u16, usize>,
    /// Writes that succeeded.
    pub(super) written: BTreeMap<(Bucket, &'static str), usize>,
}

#[derive(Debug, Clone)]
pub(super) enum Operation {
    /// On the journal of a partition.
    Journal(u16, OnJournal),
    /// On the queue of a capability.
    Queue(&'static str, OnQueue),
    /// On the durable reports of a partition.
    Reports(u16, OnReports),
    /// On a key of a bucket.
    Fact(Bucket, &'static str, OnFact),
    /// On blobs and snapshots.
    Store(OnStore),
}

#[derive(Debug, Clone)]
pub(super) enum OnJournal {
    Append {
        expected: u64,
        len: usize,
        fill: u8,
    },
    Last,
    /// Everything from here to the end.
    Read {
        from: u64,
    },
    Trim {
        first_kept: u64,
    },
}

#[derive(Debug, Clone)]
pub(super) enum OnQueue {
    Offer {
        step: u64,
        attempt: u32,
        sending: u32,
    },
    Pull {
        count: usize,
    },
    /// The task at this place of those held, of whatever queue.
    Ack {
        held: usize,
    },
    Return {
        held: usize,
    },
    Depth,
    /// After everything held was acknowledged.
    Clear,
}

#[derive(Debug, Clone)]
pub(super) enum OnReports {
    Leave {
        step: u64,
    },
    /// Reads what was not confirmed, and confirms what the bits of `confirm` say.
    Collect {
        confirm: u64,
    },
}

#[derive(Debug, Clone)]
pub(super) enum OnFact {
    /// Expects the revision after this many writes of the key.
    Put {
        after: usize,
        value: u64,
    },
    Get,
    /// Those that start with this prefix, in place of the key.
    Keys {
        prefix: &'static str,
    },
}

#[derive(Debug, Clone)]
pub(super) enum OnStore {
    PutBlob { number: u64 },
    Blob { number: u64, wrong_size: u64 },
    PutSnapshot { partition: u16, seq: u64 },
    Snapshots { partition: u16 },
}

pub(super) const CAPABILITIES: [&str; 3] = ["writer", "a.b", "a *"];
const KEYS: [&str; 6] = ["a", "a.b", "a.c", "b", "not a key", "=-_"];
const PREFIXES: [&str; 5] = ["", "a", "a.", "z", ">"];
const BUCKETS: [Bucket; 3] = [Bucket::Cluster, Bucket::Workflows, Bucket::Coordinators];

impl Operation {
    /// Draws the next operation.
    pub(super) fn draw(rng: &mut Rng, model: &Model) -> Self {
        match rng.below(100) {
            0..35 => on_journal(rng, model),
            35..70 => on_queue(rng, model),
            70..80 => on_reports(rng),
            80..92 => on_fact(rng, model),
            _ => on_store(rng),
        }
    }
}

fn on_journal(rng: &mut Rng, model: &Model) -> Operation {
    let partition = partition(rng);
    let end = model.ends.get(&partition).copied().unwrap_or_default();
    let operation = match rng.below(20) {
        0..10 => {
            let wrong = [end, end, end, end, end + 1, end.saturating_sub(1), 0];
            let fill = rng.next_u64().to_le_bytes()[0];
            OnJournal::Append { expected: *rng.pick(&wrong), len: 1 + index(rng, 300), fill }
        }
        10..13 => OnJournal::Last,
        13..17 => OnJournal::Read { from: rng.below(end + 1) },
        _ => OnJournal::Trim { first_kept: rng.below(end + 3) },
    };
    Operation::Journal(partition, operation)
}

fn on_queue(rng: &mut Rng, model: &Model) -> Operation {
    let capability = *rng.pick(&CAPABILITIES);
    let held = index(rng, model.held);
    let operation = match rng.below(20) {
        0..7 => {
            let (step, attempt) = (rng.below(10), *rng.pick(&[1, 1, 2]));
            OnQueue::Offer { step, attempt, sending: *rng.pick(&[1, 1, 1, 2, 3]) }
        }
        7..11 => {
            let waiting = model.waiting.get(capability).copied().unwrap_or_default();
            let some = index(rng, waiting + 1);
            OnQueue::Pull {
                count: if model.shuffled.contains(capability) { waiting } else { some },
            }
        }
        11..15 if model.held > 0 => OnQueue::Ack { held },
        15..17 if model.held > 0 => OnQueue::Return { held },
        17 => OnQueue::Clear,
        _ => OnQueue::Depth,
    };
    Operation::Queue(capability, operation)
}

fn on_reports(rng: &mut Rng) -> Operation {
    let partition = partition(rng);
    let operation = if rng.below(3) < 2 {
        OnReports::Leave { step: rng.below(1_000) }
    } else {
        OnReports::Collect { confirm: rng.next_u64() }
    };
    Operation::Reports(partition, operation)
}

fn on_fact(rng: &mut Rng, model: &Model) -> Operation {
    let (bucket, key) = (*rng.pick(&BUCKETS), *rng.pick(&KEYS));
    let operation = match rng.below(8) {
        0..5 => {
            let written = model.written.get(&(bucket, key)).copied().unwrap_or_default();
            let after = *rng.pick(&[written, written, written, written.saturating_sub(1), 0]);
            OnFact::Put { after, value: rng.below(1_000) }
        }
        5..7 => OnFact::Get,
        _ => OnFact::Keys { prefix: PREFIXES[index(rng, PREFIXES.len())] },
    };
    Operation::Fact(bucket, key, operation)
}

fn on_store(rng: &mut Rng) -> Operation {
    Operation::Store(match rng.below(8) {
        0..2 => OnStore::PutBlob { number: rng.below(12) },
        2..4 => OnStore::Blob { number: rng.below(12), wrong_size: rng.below(5) / 4 },
        4..6 => OnStore::PutSnapshot { partition: partition(rng), seq: rng.below(500) },
        _ => OnStore::Snapshots { partition: partition(rng) },
    })
}

fn partition(rng: &mut Rng) -> u16 {
    *rng.pick(&[0, 1, 12])
}

fn index(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("a number below a `usize`")
}
