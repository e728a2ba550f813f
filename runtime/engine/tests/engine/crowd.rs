//! A partition that is full of runs.

use std::time::Duration;

use skep_engine::{Input, Partition, Reply, Resolved};
use skep_protocol::limits::MAX_RUNS_PER_PARTITION;
use skep_protocol::{
    CommandReply, Parent, PartitionId, Payload, Rejection, RunId, StartRun, StepPath,
};

use crate::world::{START, digest, read};

/// Starts a run and tells whether there was room for it.
fn start(partition: &mut Partition, start: StartRun, workflow: &Resolved) -> bool {
    let input = Input::Start { start: Box::new(start), workflow: workflow.clone() };
    match partition.handle(input, START.after(Duration::from_secs(1))).unwrap().reply {
        Some(Reply::Command(CommandReply::Started { existing: false, .. })) => true,
        Some(Reply::Command(CommandReply::Rejected(Rejection::Busy { .. }))) => false,
        reply => panic!("{reply:?}"),
    }
}

fn numbered(number: usize) -> StartRun {
    StartRun {
        run: RunId::from_key("crowd", &number.to_string()),
        workflow: "w".to_owned(),
        inputs: Payload::from_text("{}").unwrap(),
        parent: None,
        depth: 0,
        labels: Default::default(),
    }
}

fn child(number: usize, depth: u32) -> StartRun {
    let run = RunId::from_key("crowd", &(number / 2).to_string());
    let parent = Some(Parent { run, step: StepPath::new("call"), attempt: 1 });
    StartRun { parent, depth, ..numbered(number) }
}

#[test]
fn a_full_partition_has_room_for_the_children_of_its_runs() {
    let workflow = read("name: w\nsteps:\n  a: { wait_for: { signal: go } }\n");
    let mut partition = Partition::new(PartitionId::new(3));
    let digest = digest(&workflow);
    let known = Resolved { digest, workflow: Some(workflow), pinned: Default::default() };
    assert!(start(&mut partition, numbered(0), &known));
    let known = Resolved { workflow: None, ..known };
    let mut runs = 1;
    while start(&mut partition, numbered(runs), &known) {
        runs += 1;
    }
    assert_eq!(runs, MAX_RUNS_PER_PARTITION);
    // Who only says that it is nested does not get in.
    assert!(!start(&mut partition, StartRun { depth: 3, ..numbered(runs) }, &known));
    let mut children = 0;
    while start(&mut partition, child(runs + children, 1), &known) {
        children += 1;
    }
    assert!(children > 0);
    // What these wait for goes on all the same; a deeper run is one less that waits.
    assert!(start(&mut partition, child(runs + children, 2), &known));
    assert!(!start(&mut partition, child(runs + children + 1, 1), &known));
}
