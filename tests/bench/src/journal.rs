//! Recovery: from a journal, and from a snapshot.

use std::rc::Rc;

use skep_engine::Partition;
use skep_protocol::{Batch, Hash, Record, Seq};

use crate::case::Case;
use crate::samples::{self, CHAIN, PARTITION};

/// Runs that begin and end in the journal.
const RUNS: usize = 500;
/// Records of one message.
const SHARED: usize = 100;
/// Runs that are live in a snapshot.
const LIVE: usize = 1_000;

pub(crate) fn cases() -> Vec<Case> {
    let records = samples::chains(RUNS, CHAIN).records;
    let messages = messages(&records);
    let times = (records.len() as f64 / 1e6, "million records");
    let live = Rc::new(samples::chains(LIVE, CHAIN / 2).partition);
    let snapshot = live.snapshot();
    vec![
        Case::again("engine/apply records", times, move || {
            let mut partition = Partition::new(PARTITION);
            apply(&mut partition, &records);
            partition
        }),
        Case::again("engine/recover from a journal", times, move || recover(&messages)),
        Case::again("engine/take a snapshot", (LIVE as f64, "run"), move || live.snapshot()),
        Case::again("engine/restore a snapshot", (LIVE as f64, "run"), move || {
            let restored = Partition::restore(PARTITION, &snapshot).expect("it was just taken");
            assert_eq!(restored.live_runs(), LIVE, "every run is there again");
            restored
        }),
    ]
}

fn messages(records: &[Record]) -> Vec<Vec<u8>> {
    let mut previous = Hash::ZERO;
    let messages = records.chunks(SHARED).map(|records| {
        let (v, epoch, records) = (Batch::VERSION, 1, records.to_vec());
        let bytes = Batch { v, partition: PARTITION, epoch, previous, records }.encode();
        previous = Hash::of(&bytes);
        bytes.to_vec()
    });
    messages.collect()
}

fn recover(messages: &[Vec<u8>]) -> Partition {
    let (mut partition, mut seq, mut previous) = (Partition::new(PARTITION), Seq::ZERO, Hash::ZERO);
    for bytes in messages {
        seq = seq.next();
        let batch = Batch::decode(bytes, seq, PARTITION, previous).expect("it follows");
        previous = Hash::of(bytes);
        apply(&mut partition, &batch.records);
    }
    assert_eq!(partition.live_runs(), 0, "each run that begins ends, too");
    partition
}

fn apply(partition: &mut Partition, records: &[Record]) {
    for record in records {
        partition.apply(record).expect("it follows");
    }
}
