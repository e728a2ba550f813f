//! Slots, duplicates and phases against a naive model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use skep_protocol::{Outcome, Payload, RunId, StepPath};

use super::*;

fn task(step: u8, capability: &str) -> Task {
    Task {
        v: Task::VERSION,
        run: RunId::from_key("w", "k"),
        step: StepPath::new(&format!("s{step}")),
        attempt: 1,
        fencing_token: 1,
        ask: false,
        origin: None,
        capability: capability.to_owned(),
        workflow: "w".to_owned(),
        partition: PartitionId::new(0),
        input: Payload::null(),
        checkpoint: None,
        timeout_ms: 1,
        deadline: None,
        deadline_in_ms: None,
        priority: 5,
        labels: BTreeMap::new(),
    }
}

fn completed(id: &AttemptId, text: &str) -> Report {
    let output = Payload::encode(text).unwrap();
    let body = ReportBody::Outcome(Outcome::Completed { output, duration_ms: 1 });
    Report { run: id.run, step: id.step.clone(), attempt: id.attempt, body }
}

#[derive(Debug, Clone)]
enum Op {
    Arrive(u8, u8),
    End(u8),
    Confirm(u8),
    Cancel(u8),
    Drain,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..12_u8, 0..3_u8).prop_map(|(step, capability)| Op::Arrive(step, capability)),
        4 => (0..12_u8).prop_map(Op::End),
        4 => (0..12_u8).prop_map(Op::Confirm),
        2 => (0..12_u8).prop_map(Op::Cancel),
        1 => Just(Op::Drain),
    ]
}

const CAPABILITIES: [(&str, u32); 2] = [("one", 2), ("two", 3)];
const TOTAL: u32 = 4;

proptest! {
    #[test]
    fn slots_are_never_exceeded_nor_lost_and_nothing_is_performed_twice(
        ops in prop::collection::vec(op(), 1..200),
    ) {
        let mut leases = Leases::new(CAPABILITIES.into_iter(), Some(TOTAL));
        let mut running: BTreeMap<u8, &str> = BTreeMap::new();
        let mut reporting: BTreeSet<u8> = BTreeSet::new();
        let mut done: BTreeSet<u8> = BTreeSet::new();
        let mut draining = false;
        for op in ops {
            match op {
                Op::Arrive(step, which) => {
                    let capability = ["one", "two", "three"][usize::from(which)];
                    let task = task(step, capability);
                    let busy = |name: &str| running.values().filter(|c| **c == name).count();
                    let limit = CAPABILITIES.iter().find(|(name, _)| *name == capability);
                    let expected = if running.contains_key(&step) || reporting.contains(&step) {
                        Arrival::Held
                    } else if done.remove(&step) {
                        reporting.insert(step);
                        Arrival::Finished(completed(&task.id(), "out"))
                    } else if draining {
                        Arrival::Refused(Refusal::Draining)
                    } else if limit.is_none() {
                        Arrival::Refused(Refusal::UnknownCapability)
                    } else if limit.is_some_and(|(name, slots)| busy(name) >= *slots as usize)
                        || running.len() >= TOTAL as usize
                    {
                        Arrival::Refused(Refusal::Busy)
                    } else {
                        running.insert(step, capability);
                        Arrival::New
                    };
                    let arrival = leases.arrived(&task, Phase::Working, Timestamp::EPOCH);
                    prop_assert_eq!(arrival, expected);
                }
                Op::End(step) => {
                    let Some(capability) = running.remove(&step) else { continue };
                    let id = task(step, capability).id();
                    leases.free_slots(capability, 1);
                    if leases.phase(&id) == Some(Phase::Cancelled) {
                        leases.forget(&id);
                    } else {
                        leases.report(&id);
                        reporting.insert(step);
                    }
                }
                Op::Confirm(step) => {
                    if reporting.remove(&step) {
                        let id = task(step, "one").id();
                        leases.confirmed(completed(&id, "out"));
                        done.insert(step);
                    }
                }
                Op::Cancel(step) => {
                    let id = task(step, "one").id();
                    leases.cancel(&id);
                    let token = leases.lease(&id).map(|lease| lease.signs.is_cancelled());
                    prop_assert_eq!(token.unwrap_or(false), running.contains_key(&step));
                }
                Op::Drain => {
                    leases.drain();
                    draining = true;
                }
            }
            prop_assert_eq!(leases.len(), running.len() + reporting.len());
            prop_assert_eq!(leases.working, running.len());
            prop_assert_eq!(leases.total.used as usize, running.len());
        }
    }
}

#[test]
fn kept_reports_are_bounded_by_number_and_size() {
    let id = |n: usize| {
        let mut id = task(0, "one").id();
        id.step = StepPath::new(&format!("s[{n}]"));
        id
    };
    let mut kept = Kept::default();
    for n in 0..2 * MAX_KEPT {
        kept.put(completed(&id(n), "small"));
    }
    assert_eq!(kept.reports.len(), MAX_KEPT);
    assert!(kept.take(&id(MAX_KEPT - 1)).is_none() && kept.take(&id(MAX_KEPT)).is_some());
    for n in 0..200 {
        kept.put(completed(&id(n), &"x".repeat(60_000)));
        assert!(kept.bytes <= MAX_KEPT_BYTES);
    }
    assert!(kept.take(&id(199)).is_some() && kept.take(&id(0)).is_none());
}

#[test]
fn the_slots_that_all_have_in_common_are_shared_out() {
    let three = [("a", 8), ("b", 8), ("c", 8)];
    let mut leases = Leases::new(three.into_iter(), Some(9));
    for capability in ["a", "b", "c"] {
        assert_eq!(leases.share(capability), 3);
        leases.use_slots(capability, 3);
    }
    assert_eq!(leases.share("a"), 0);
    leases.free_slots("b", 2);
    assert_eq!(leases.share("a"), 2);
    assert_eq!(Leases::new(three.into_iter(), None).share("a"), 8);
}

#[test]
fn what_waits_for_a_confirmation_is_held_as_finished() {
    let mut leases = Leases::new([("c", 1)].into_iter(), None);
    let task = task(0, "c");
    leases.arrived(&task, Phase::Working, Timestamp::EPOCH);
    assert!(!leases.held()[0].finished);
    leases.report(&task.id());
    assert!(leases.held()[0].finished);
}
