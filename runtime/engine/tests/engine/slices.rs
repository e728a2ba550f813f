//! What follows from one input comes in slices, if it is much.

use skep_engine::{Handled, Input, Partition, Resolved};
use skep_protocol::limits::MAX_DECIDED_AT_ONCE;
use skep_protocol::{
    AgentId, CoordinatorId, Event, Outcome, PartitionId, Payload, Record, Report, ReportBody,
    RunId, RunStatus, StartRun, StepPath, encode,
};

use crate::world::{START, digest, read, run_id};

const ID: PartitionId = PartitionId::new(3);

/// Every item of `use` carries all outputs of `make`.
const FAN: &str = "
name: fan
steps:
  make: { agent: x, for_each: '${{ range(60) }}' }
  use:
    agent: y
    for_each: ${{ range(90) }}
    with: { all: '${{ steps.make.outputs }}', n: '${{ item }}' }
";

fn start(definition: &str) -> Input {
    let workflow = read(definition);
    let start = StartRun {
        run: run_id(),
        workflow: workflow.name().to_string(),
        inputs: Payload::from_text("{}").unwrap(),
        parent: None,
        depth: 0,
        labels: Default::default(),
    };
    let digest = digest(&workflow);
    let workflow = Resolved { digest, workflow: Some(workflow), pinned: Default::default() };
    Input::Start { start: Box::new(start), workflow }
}

fn completed(step: &str, output: &Payload) -> Input {
    let body = ReportBody::Outcome(Outcome::Completed { output: output.clone(), duration_ms: 0 });
    let report = Report { run: run_id(), step: StepPath::new(step), attempt: 1, body };
    Input::Report { agent: AgentId::new("a1").unwrap(), report }
}

fn size(handled: &Handled) -> usize {
    let records = handled.records.iter().map(|record| encode(record).len());
    records.sum::<usize>() + handled.blobs.iter().map(|blob| blob.len()).sum::<usize>()
}

fn scheduled(records: &[Record], step: &str) -> usize {
    let of_step = |record: &&Record| match record {
        Record::Run(record) => match &record.event {
            Event::AttemptScheduled(event) => event.step.as_str().starts_with(step),
            _ => false,
        },
        _ => false,
    };
    records.iter().filter(of_step).count()
}

/// Wakes the partition as long as it wants to go on at once; wants each slice to be small, and one
/// that leads nowhere to be the last.
fn go_on(partition: &mut Partition, records: &mut Vec<Record>) -> usize {
    let mut slices = 0;
    while partition.next_wake().is_some_and(|wake| wake.at <= START) {
        let handled = partition.handle(Input::Wake, START).unwrap();
        let more = partition.next_wake().is_some();
        assert!(!more || !handled.records.is_empty(), "a wake that leads nowhere");
        assert!(size(&handled) <= 2 * MAX_DECIDED_AT_ONCE, "{} bytes", size(&handled));
        records.extend(handled.records);
        slices += 1;
    }
    slices
}

/// Brings a run to where its fan opens: after the last `make`.
fn opened() -> (Partition, Vec<Record>, Handled) {
    let mut partition = Partition::new(ID);
    let mut records = partition.handle(start(FAN), START).unwrap().records;
    let output = Payload::from_text(&format!("\"{}\"", "x".repeat(5_000))).unwrap();
    let mut last = Handled::default();
    for item in 0..60 {
        last = partition.handle(completed(&format!("make[{item}]"), &output), START).unwrap();
        records.extend(last.records.iter().cloned());
    }
    (partition, records, last)
}

#[test]
fn one_input_makes_so_much_at_once_and_the_rest_at_once_afterwards() {
    let (mut partition, mut records, last) = opened();
    assert!(size(&last) <= 2 * MAX_DECIDED_AT_ONCE, "{} bytes at once", size(&last));
    let slices = go_on(&mut partition, &mut records);
    assert!(slices >= 3, "{slices} slices");
    assert_eq!(scheduled(&records, "use"), 90);
    assert_eq!(partition.next_wake(), None);
    let mut replayed = Partition::new(ID);
    for record in &records {
        replayed.apply(record).unwrap();
    }
    assert_eq!(replayed.digest(), partition.digest());
    for item in 0..90 {
        partition.handle(completed(&format!("use[{item}]"), &Payload::null()), START).unwrap();
    }
    assert_eq!(partition.status(run_id()), Some(RunStatus::Completed));
}

#[test]
fn who_takes_over_between_slices_goes_on_where_they_ended() {
    let (mut partition, mut records, last) = opened();
    let before = records.len();
    let snapshot = partition.snapshot();
    go_on(&mut partition, &mut records);
    let replayed = |cut| {
        let mut replayed = Partition::new(ID);
        for record in &records[..cut] {
            replayed.apply(record).unwrap();
        }
        (cut, replayed)
    };
    let mut others = vec![(before, Partition::restore(ID, &snapshot).unwrap())];
    let decided = before - last.records.len() + 1;
    others.extend((decided..records.len()).step_by(9).map(replayed));
    for (cut, mut other) in others {
        let coordinator = CoordinatorId::new("c2").unwrap();
        let handled = other.handle(Input::TookOver { coordinator }, START).unwrap();
        assert!(size(&handled) <= 2 * MAX_DECIDED_AT_ONCE, "{} bytes at once", size(&handled));
        let mut found = handled.records[1..].to_vec();
        go_on(&mut other, &mut found);
        assert!(found == records[cut..], "cut after {:?}", records[cut - 1]);
        assert_eq!(other.next_wake(), None);
    }
}

#[test]
fn a_run_does_not_wait_for_the_slices_of_another() {
    let (mut partition, _, _) = opened();
    assert!(partition.next_wake().is_some(), "more is to follow");
    let Input::Start { start, workflow } = start("name: other\nsteps:\n  a: { agent: x }\n") else {
        panic!("a start is a start");
    };
    let start = Box::new(StartRun { run: RunId::from_key("other", "1"), ..*start });
    let handled = partition.handle(Input::Start { start, workflow }, START).unwrap();
    assert_eq!(scheduled(&handled.records, "a"), 1);
    assert_eq!(scheduled(&handled.records, "use"), 0);
    assert!(partition.next_wake().is_some());
}

#[test]
fn an_input_between_slices_is_taken_in() {
    let (mut partition, mut records, _) = opened();
    let input = completed("use[0]", &Payload::null());
    records.extend(partition.handle(input, START).unwrap().records);
    let cancel = Input::Cancel { run: run_id(), reason: "enough".to_owned() };
    records.extend(partition.handle(cancel, START).unwrap().records);
    go_on(&mut partition, &mut records);
    assert_eq!(partition.status(run_id()), Some(RunStatus::Cancelled));
    assert!(scheduled(&records, "use") < 90, "nothing starts after a cancellation");
    assert_eq!(partition.next_wake(), None);
    assert_eq!(partition.outstanding(), []);
}
