//! The follower of a journal that is trimmed under it.

use skep_broker::{Embedded, Journal as _, Snapshots as _};
use skep_engine::Partition;
use skep_protocol::{CoordinatorId, OwnerChanged, PartitionCount};

use super::*;
use crate::chain::{Chain, seal_snapshot};
use crate::read_model::feed::Intake;

const ID: PartitionId = PartitionId::new(0);

pub(super) fn change(number: u64) -> Record {
    let coordinator = CoordinatorId::new("c").unwrap();
    let at = Timestamp::from_millis(number);
    Record::OwnerChanged(OwnerChanged { epoch: number, coordinator, at })
}

/// Appends messages that each change the owner.
pub(super) async fn append(broker: &Embedded, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let (epoch, previous, records) = (number, Hash::ZERO, vec![change(number)]);
        let batch = Batch { v: 1, partition: ID, epoch, previous, records }.encode();
        broker.append(ID, Seq::new(number - 1), batch).await.unwrap();
    }
}

async fn snapshot(broker: &Embedded, seq: u64) {
    let chain = Chain { seq: Seq::new(seq), hash: Hash::ZERO };
    let sealed = seal_snapshot(chain, &Partition::new(ID).snapshot());
    broker.put_snapshot(ID, sealed).await.unwrap();
}

pub(super) fn follower(
    broker: &Embedded,
    read: u64,
    (work, intake): (mpsc::Sender<Work>, Intake),
) -> Follower<Embedded> {
    let (broker, position) = (broker.clone(), Seq::new(read));
    let (positions, followers) = (Positions::new(PartitionCount::DEFAULT), Followers::default());
    Follower { broker, partition: ID, position, intake, work, positions, followers }
}

/// Returns what the follower tells next, one word.
async fn told(work: &mut mpsc::Receiver<Work>) -> String {
    match work.recv().await {
        Some(Work::Entry(Entry::Message(message))) => format!("message {}", message.seq),
        Some(Work::Entry(Entry::Gap(gap))) => {
            let state = gap.state.as_ref().map(|(seq, _)| seq.get());
            format!("gap up to {} at {:?}, {state:?}", gap.last(), gap.at.map(Timestamp::as_millis))
        }
        Some(Work::Question { .. }) | None => panic!("neither message nor gap"),
    }
}

#[tokio::test]
async fn what_a_trim_took_away_is_a_gap_and_not_the_end() {
    let broker = Embedded::new();
    append(&broker, 1..=5).await;
    // One entry waits and one is about to be sent: the follower is never further ahead.
    let (work, mut entries) = mpsc::channel(1);
    let following = tokio::spawn(follower(&broker, 0, (work, Intake::closed())).run());
    assert_eq!(told(&mut entries).await, "message 1");
    append(&broker, 6..=20).await;
    for seq in [8, 15, 18] {
        snapshot(&broker, seq).await;
    }
    broker.trim(ID, Seq::new(15)).await.unwrap();
    let mut text = told(&mut entries).await;
    while text.starts_with("message") {
        text = told(&mut entries).await;
    }
    assert_eq!(text, "gap up to 14 at Some(15), Some(15)");
    for number in 15..=20 {
        assert_eq!(told(&mut entries).await, format!("message {number}"));
    }
    following.abort();

    // The same for one that was away.
    let (work, mut entries) = mpsc::channel(1);
    let following = tokio::spawn(follower(&broker, 3, (work, Intake::closed())).run());
    assert_eq!(told(&mut entries).await, "gap up to 14 at Some(15), Some(15)");
    assert_eq!(told(&mut entries).await, "message 15");
    following.abort();
}
