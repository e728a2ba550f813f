//! Definitions of a partition: those in use stay, of the others only so many.

use skep_engine::{Input, Partition, Resolved};
use skep_protocol::limits::MAX_IDLE_WORKFLOWS;
use skep_protocol::{PartitionId, Payload, RunId, StartRun};

use crate::world::{START, digest, read};

const ID: PartitionId = PartitionId::new(3);

fn run(number: usize) -> RunId {
    RunId::from_key("definitions", &number.to_string())
}

/// Starts a run of a definition of its own.
fn start(partition: &mut Partition, number: usize) {
    let workflow = read(&format!("name: w{number}\nsteps:\n  a: {{ agent: x }}\n"));
    let start = StartRun {
        run: run(number),
        workflow: workflow.name().to_string(),
        inputs: Payload::from_text("{}").unwrap(),
        parent: None,
        depth: 0,
        labels: Default::default(),
    };
    let digest = digest(&workflow);
    let workflow = Resolved { digest, workflow: Some(workflow), pinned: Default::default() };
    let input = Input::Start { start: Box::new(start), workflow };
    assert!(!partition.handle(input, START).unwrap().records.is_empty());
}

fn cancel(partition: &mut Partition, number: usize) {
    let input = Input::Cancel { run: run(number), reason: "enough".to_owned() };
    partition.handle(input, START).unwrap();
}

#[test]
fn a_snapshot_of_many_definitions_can_be_restored() {
    let mut partition = Partition::new(ID);
    let (used, unused) = (MAX_IDLE_WORKFLOWS + 9, MAX_IDLE_WORKFLOWS + 3);
    for number in 0..used + unused {
        start(&mut partition, number);
    }
    for number in (0..used + unused).filter(|number| number % 2 == 1).take(unused) {
        cancel(&mut partition, number);
    }
    let mut restored = Partition::restore(ID, &partition.snapshot()).unwrap();
    assert_eq!(restored.digest(), partition.digest());
    assert_eq!(restored.live_runs(), used);
    // The definition that is forgotten next is the same one, too.
    for partition in [&mut partition, &mut restored] {
        cancel(partition, 0);
        start(partition, used + unused);
    }
    assert_eq!(restored.digest(), partition.digest());
}
