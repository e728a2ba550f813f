//! Appends that take their time, and what gathers meanwhile.

use skep_broker::faulty::{Fault, Faulty, Operation};
use skep_broker::{Embedded, Journal as _};
use skep_protocol::{CoordinatorId, OwnerChanged, Timestamp};

use super::*;

fn clock() -> Arc<Clock> {
    Arc::new(Clock::new())
}

fn record() -> Record {
    let coordinator = CoordinatorId::new("c").unwrap();
    Record::OwnerChanged(OwnerChanged { epoch: 1, coordinator, at: Timestamp::EPOCH })
}

fn rejections(count: usize) -> Vec<Release> {
    let rejection = || Release::Command(Responder::new(drop), CommandReply::Done {});
    (0..count).map(|_| rejection()).collect()
}

#[tokio::test]
async fn what_has_no_records_fills_a_frozen_journal_as_well() {
    let (broker, script) = Faulty::new(Embedded::new());
    script.next(Operation::Append, Fault::Hold);
    let partition = PartitionId::new(0);
    let mut commit = Commit::new(broker.clone(), clock(), partition, Chain::EMPTY, None);
    commit.push(Unit::new(vec![record()], Vec::new(), rejections(1)));
    assert!(commit.start(1).is_empty() && commit.in_flight());
    let mut pushed = 0;
    while !commit.is_full() {
        commit.push(Unit::new(Vec::new(), Vec::new(), rejections(1)));
        pushed += 1;
    }
    assert!((1_000..10_000).contains(&pushed), "{pushed}");
    let freed = async {
        script.held(1).await;
        script.release().await;
        std::future::pending::<Landed>().await
    };
    let landed = tokio::select! { landed = commit.landed() => landed, landed = freed => landed };
    assert!(matches!(landed, Landed::Durable { releases, .. } if releases.len() == 1));
    assert!(commit.start(1).is_empty());
    let landed = commit.landed().await;
    assert!(matches!(landed, Landed::Durable { releases, .. } if releases.len() == pushed));
    assert!(commit.is_settled() && commit.gathered.size() == 0);
}

#[tokio::test]
async fn what_has_no_records_is_let_out_only_by_the_writer_of_the_journal() {
    let (broker, partition) = (Embedded::new(), PartitionId::new(0));
    let mut commit = Commit::new(broker.clone(), clock(), partition, Chain::EMPTY, None);
    let mut answer = async || {
        commit.push(Unit::new(Vec::new(), Vec::new(), rejections(1)));
        assert!(commit.start(1).is_empty());
        commit.landed().await
    };
    assert!(matches!(answer().await, Landed::Durable { releases, .. } if releases.len() == 1));
    broker.append(partition, Seq::ZERO, Bytes::from_static(b"a successor")).await.unwrap();
    assert!(matches!(answer().await, Landed::Replaced));
}

#[tokio::test]
async fn large_values_are_kept_at_the_same_time_and_before_the_record() {
    let (broker, script) = Faulty::new(Embedded::new());
    for _ in 0..4 {
        script.next(Operation::PutBlob, Fault::Hold);
    }
    let partition = PartitionId::new(0);
    let mut commit = Commit::new(broker.clone(), clock(), partition, Chain::EMPTY, None);
    let blobs = (0..4_u8).map(|n| Bytes::from(vec![b'0' + n])).collect();
    commit.push(Unit::new(vec![record()], blobs, Vec::new()));
    commit.start(1);
    let freed = async {
        script.held(4).await;
        assert!(broker.last(partition).await.unwrap().is_none());
        script.release().await;
        std::future::pending::<Landed>().await
    };
    let landed = tokio::select! { landed = commit.landed() => landed, landed = freed => landed };
    assert!(matches!(landed, Landed::Durable { .. }));
}

#[tokio::test]
async fn large_values_that_wait_for_an_append_are_bounded() {
    let value = || Bytes::from(vec![b'7'; MAX_GATHERED / 2]);
    let mut commit = Commit::new(Embedded::new(), clock(), PartitionId::new(3), Chain::EMPTY, None);
    for _ in 0..2 {
        assert!(!commit.is_full());
        commit.push(Unit::new(vec![record()], vec![value()], Vec::new()));
    }
    assert!(commit.is_full());
    commit.start(1);
    assert!(!commit.is_full(), "they are on their way");
    assert!(matches!(commit.landed().await, Landed::Durable { .. }));
    assert!(commit.is_settled());
}
