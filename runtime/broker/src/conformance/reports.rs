//! C36 to C38 and C52: reports by the durable way.

use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::Harness;
use super::fixtures::{next, only_reports, partition, reports};
use crate::reports::{DurableReport, Late, Reports};

/// C36: what was left is read in the order in which it was left, before and after the reader came.
pub async fn c36_durable_reports_are_read_in_order<H: Harness>(harness: &H) {
    let (agent, owner, p) = (harness.client().await, harness.client().await, partition(0));
    leave(&agent, 0..5).await;
    let mut reader = only_reports(owner.durable_reports(p).await.expect("read"));
    for n in 0..10 {
        if n == 3 {
            leave(&agent, 5..10).await;
        }
        let report = next("a report", &mut reader).await;
        assert_eq!(report.batch, reports("a", &format!("s{n}")));
        report.confirm().await.expect("confirm");
    }
}

/// C37: what was not confirmed comes again, in order, to the next reader, wherever that is; what
/// was confirmed does not.
pub async fn c37_unconfirmed_reports_come_again_in_order<H: Harness>(harness: &H) {
    let (agent, owner, p) = (harness.client().await, harness.client().await, partition(0));
    leave(&agent, 0..8).await;
    let mut reader = only_reports(owner.durable_reports(p).await.expect("read"));
    for (n, report) in read(&mut reader, 6).await.into_iter().enumerate() {
        if [0, 1, 4].contains(&n) {
            report.confirm().await.expect("confirm");
        }
    }
    drop(reader);
    let successor = harness.client().await;
    let mut reader = only_reports(successor.durable_reports(p).await.expect("read"));
    let again = read(&mut reader, 5).await;
    let steps: Vec<_> = again.iter().map(|report| report.batch.reports[0].step.as_str()).collect();
    assert_eq!(steps, ["s2", "s3", "s5", "s6", "s7"]);
    for report in again {
        report.confirm().await.expect("confirm");
    }
    drop(reader);
    let mut reader = only_reports(owner.durable_reports(p).await.expect("read"));
    leave(&agent, 8..9).await;
    assert_eq!(read(&mut reader, 1).await[0].batch, reports("a", "s8"));
}

/// C38: reports are read only by the partition that they were left for.
pub async fn c38_durable_reports_stay_in_their_partition<H: Harness>(harness: &H) {
    let broker = harness.client().await;
    let mut other = only_reports(broker.durable_reports(partition(10)).await.expect("read"));
    leave(&broker, 0..1).await;
    broker.report_durably(partition(1), reports("a", "of-1")).await.expect("leave");
    let mut reader = only_reports(broker.durable_reports(partition(1)).await.expect("read"));
    assert_eq!(read(&mut reader, 1).await[0].batch, reports("a", "of-1"));
    assert!(futures::poll!(other.next()).is_pending());
}

/// C52: a reader is told once that it read all that had been left when it came; not before, also if
/// there was nothing, and whatever is left or confirmed by others meanwhile.
pub async fn c52_a_reader_is_told_that_it_caught_up<H: Harness>(harness: &H) {
    let (agent, owner, p) = (harness.client().await, harness.client().await, partition(0));
    let mut reader = owner.durable_reports(p).await.expect("read");
    assert!(matches!(next("the end", &mut reader).await, Late::CaughtUp));
    leave(&agent, 0..5).await;
    let mut all = read(&mut only_reports(reader), 5).await;
    all.remove(0).confirm().await.expect("confirm");

    let mut second = harness.client().await.durable_reports(p).await.expect("read");
    leave(&agent, 5..7).await;
    let mut seen = String::new();
    for _ in 0..7 {
        seen += &match next("what was left", &mut second).await {
            Late::Reports(late) => {
                let step = late.batch.reports[0].step.clone();
                all.push(late);
                format!("{step} ")
            }
            Late::CaughtUp => "| ".to_owned(),
        };
    }
    assert_eq!(seen, "s1 s2 s3 s4 | s5 s6 ");

    let mut third = harness.client().await.durable_reports(p).await.expect("read");
    for late in all {
        late.confirm().await.expect("confirm");
    }
    while let Late::Reports(_) = next("the end", &mut third).await {}
}

/// Leaves reports of the steps `s0`, `s1`, … with partition 0.
pub(super) async fn leave(agent: &impl Reports, steps: std::ops::Range<u32>) {
    for n in steps {
        agent.report_durably(partition(0), reports("a", &format!("s{n}"))).await.expect("leave");
    }
}

pub(super) async fn read(
    reader: &mut BoxStream<'static, DurableReport>,
    count: usize,
) -> Vec<DurableReport> {
    let mut read = Vec::new();
    for _ in 0..count {
        read.push(next("a report", reader).await);
    }
    read
}
