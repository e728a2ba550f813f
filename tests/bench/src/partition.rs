//! Decisions of a partition: each is decided, applied and followed.

use skep_engine::{Input, Partition};

use crate::case::Case;
use crate::samples::{self, CHAIN, Chains, LAYER, completed, handle, run, start};

/// Runs that are live while others start or go on.
const LIVE: usize = 100;
/// Inputs that are handled at a time.
const INPUTS: usize = 100;

pub(crate) fn cases() -> Vec<Case> {
    let Chains { workflow, partition, .. } = samples::chains(LIVE, 4);
    let starts = (LIVE..LIVE + INPUTS).map(|number| start(&workflow, number)).collect();
    let reports = (0..INPUTS).map(|number| completed(run(number), 4)).collect();
    let last = samples::chains(LIVE, CHAIN - 1).partition;
    let last_reports = (0..INPUTS).map(|number| completed(run(number), CHAIN - 1)).collect();
    let workflow = samples::read(&samples::layers(10_000));
    let mut large = Partition::new(samples::PARTITION);
    handle(&mut large, start(&workflow, 0));
    let large_reports = (0..LAYER).map(|step| completed(run(0), step)).collect();
    vec![
        inputs("start a run", (partition.clone(), starts)),
        inputs("report in a chain", (partition, reports)),
        inputs("report that ends a run", (last, last_reports)),
        inputs("report in 10000 steps", (large, large_reports)),
    ]
}

fn inputs(name: &str, prepared: (Partition, Vec<Input>)) -> Case {
    let times = prepared.1.len() as f64;
    let prepare = move || prepared.clone();
    Case::new(format!("engine/{name}"), (times, "input"), prepare, |(mut partition, inputs)| {
        for input in inputs {
            let records = handle(&mut partition, input);
            assert!(!records.is_empty(), "something follows from each");
        }
        partition
    })
}
