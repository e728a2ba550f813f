//! Reports leave in order, one message at a time for each partition, and none is lost.

use std::time::Duration;

use proptest::prelude::*;
use skep_protocol::{Outcome, Payload, RunId, StepPath};

use super::*;

const PARTITION: PartitionId = PartitionId::new(1);

fn report(n: usize, body: ReportBody) -> Report {
    let step = StepPath::new(&format!("s{n}"));
    Report { run: RunId::from_key("w", "k"), step, attempt: 1, body }
}

fn output(bytes: usize) -> ReportBody {
    let output = Payload::encode(&"x".repeat(bytes)).unwrap();
    ReportBody::Outcome(Outcome::Completed { output, duration_ms: 1 })
}

fn numbers(reports: &[Report]) -> Vec<usize> {
    reports.iter().map(|report| report.step.as_str()[1..].parse().unwrap()).collect()
}

#[derive(Debug, Clone)]
enum Op {
    Push(u16),
    Take,
    Answer,
    Fail,
    TooLarge,
    Later(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..3_u16).prop_map(Op::Push),
        4 => Just(Op::Take),
        3 => Just(Op::Answer),
        2 => Just(Op::Fail),
        1 => Just(Op::TooLarge),
        3 => (1..9_000_u16).prop_map(Op::Later),
    ]
}

proptest! {
    #[test]
    fn every_report_is_answered_once_and_in_the_order_of_its_partition(
        ops in prop::collection::vec(op(), 1..200),
    ) {
        let mut now = Instant::now();
        let mut outbox = Outbox::default();
        let (mut pushed, mut under_way) = (0, Vec::new());
        let mut answered: BTreeMap<PartitionId, Vec<usize>> = BTreeMap::new();
        let rest = (0..400).flat_map(|_| [Op::Later(9_000), Op::Take, Op::Answer]);
        for op in ops.into_iter().chain(rest) {
            match op {
                Op::Push(partition) => {
                    let (partition, body) = (PartitionId::new(partition), output(1));
                    outbox.push(partition, report(pushed, body));
                    pushed += 1;
                }
                Op::Take => {
                    for (partition, reports) in outbox.take(now) {
                        prop_assert!(!reports.is_empty() && reports.len() <= MAX_SHARED);
                        prop_assert!(under_way.iter().all(|(other, _)| *other != partition));
                        under_way.push((partition, reports));
                    }
                }
                Op::Answer => {
                    for (partition, reports) in under_way.drain(..) {
                        outbox.answered(partition);
                        answered.entry(partition).or_default().extend(numbers(&reports));
                    }
                }
                Op::Fail => {
                    for (partition, reports) in under_way.drain(..) {
                        outbox.unconfirmed(partition, reports, now);
                    }
                }
                Op::TooLarge => {
                    for (partition, reports) in under_way.drain(..) {
                        outbox.refused(partition, reports);
                    }
                }
                Op::Later(ms) => now += Duration::from_millis(u64::from(ms)),
            }
            let known = answered.values().map(Vec::len).sum::<usize>();
            prop_assert_eq!(outbox.len(), pushed - known);
        }
        prop_assert_eq!(outbox.len(), 0);
        prop_assert_eq!(outbox.next_wake(), None);
        for numbers in answered.values() {
            prop_assert!(numbers.is_sorted(), "{:?}", numbers);
        }
    }
}

#[test]
fn messages_are_bounded_by_size_too() {
    let mut outbox = Outbox::default();
    let now = Instant::now();
    for n in 0..20 {
        outbox.push(PARTITION, report(n, output(60_000)));
    }
    let mut sizes = Vec::new();
    while let Some((partition, reports)) = outbox.take(now).pop() {
        sizes.push(reports.len());
        outbox.answered(partition);
    }
    assert_eq!(sizes, [8, 8, 4]);
}

#[test]
fn a_message_that_nobody_takes_is_halved_until_it_is_taken() {
    let mut outbox = Outbox::default();
    let now = Instant::now();
    (0..5).for_each(|n| outbox.push(PARTITION, report(n, output(1))));
    let mut sizes = Vec::new();
    while let Some((partition, reports)) = outbox.take(now).pop() {
        sizes.push(reports.len());
        if reports.len() > 1 {
            outbox.refused(partition, reports);
        } else {
            outbox.answered(partition);
        }
    }
    assert_eq!(sizes, [5, 2, 1, 4, 2, 1, 3, 1, 2, 1, 1]);
}

#[test]
fn a_question_can_be_withdrawn_until_it_leaves() {
    let mut outbox = Outbox::default();
    let question = |n| report(n, ReportBody::Taken {});
    (0..2).for_each(|n| outbox.push(PARTITION, question(n)));
    assert!(outbox.withdraw_question(PARTITION, &question(0).id()));
    let (_, reports) = outbox.take(Instant::now()).pop().unwrap();
    assert_eq!(numbers(&reports), [1]);
    assert!(!outbox.withdraw_question(PARTITION, &question(1).id()));
    assert!(!outbox.withdraw_question(PartitionId::new(7), &question(1).id()));
}
