//! What is stored and sent: messages of a journal, of tasks and of reports.

use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use skep_protocol::{Batch, Hash, ReportBatch, Seq, TaskBatch, decode, encode};

use crate::case::Case;
use crate::samples::{self, PARTITION};

/// Records, tasks or reports of one message.
const SHARED: usize = 100;
const TIMES: f64 = SHARED as f64;

pub(crate) fn cases() -> Vec<Case> {
    let [encode, decode] = journal();
    let tasks = samples::offers(SHARED).into_iter().map(|offer| offer.task()).collect();
    let reports = (0..SHARED).map(|number| samples::report(samples::run(number), 3)).collect();
    let reports = ReportBatch { v: ReportBatch::VERSION, agent: samples::agent(1), reports };
    let [encode_tasks, decode_tasks] = message("tasks", "task", TaskBatch { tasks });
    let [encode_reports, decode_reports] = message("reports", "report", reports);
    vec![encode, decode, encode_tasks, decode_tasks, encode_reports, decode_reports]
}

/// A stretch from the middle: what became of attempts, and which were scheduled for that.
fn journal() -> [Case; 2] {
    let mut records = samples::chains(SHARED, 5).records;
    let records = records.split_off(records.len() - SHARED);
    let (v, epoch, previous) = (Batch::VERSION, 1, Hash::ZERO);
    let batch = Batch { v, partition: PARTITION, epoch, previous, records };
    let bytes = batch.encode();
    [
        Case::again("protocol/encode a journal", (TIMES, "record"), move || batch.encode()),
        Case::again("protocol/decode a journal", (TIMES, "record"), move || {
            Batch::decode(&bytes, Seq::new(1), PARTITION, Hash::ZERO).expect("it was just encoded")
        }),
    ]
}

fn message<T: Serialize + DeserializeOwned + 'static>(
    what: &str,
    each: &'static str,
    message: T,
) -> [Case; 2] {
    let message = Rc::new(message);
    let bytes = encode(&*message);
    [
        Case::again(format!("protocol/encode {what}"), (TIMES, each), move || encode(&*message)),
        Case::again(format!("protocol/decode {what}"), (TIMES, each), move || {
            decode::<T>(&bytes).expect("it was just encoded")
        }),
    ]
}
