//! C39 to C47 and C53: blobs, facts and snapshots.

use bytes::Bytes;
use futures::future::join_all;
use skep_protocol::limits::MAX_DEFINITION_BYTES;
use skep_protocol::{BlobRef, Seq};

use super::Harness;
use super::fixtures::{noise, partition, soon};
use crate::blobs::{Blobs as _, Snapshot, Snapshots as _};
use crate::directory::{Bucket, Entry, PutError, Registry as _, Revision};

/// C39: a blob of any size comes back to every client by the hash and size of its content; kept
/// twice, it is one.
pub async fn c39_blobs_come_back_by_their_content<H: Harness>(harness: &H) {
    let (one, two) = (harness.client().await, harness.client().await);
    for (seed, len) in [(0, 0), (1, 1), (2, 65_537), (3, 5 * 1024 * 1024)] {
        let bytes = Bytes::from(noise(seed, len));
        for broker in [&one, &two] {
            let kept = broker.put_blob(bytes.clone()).await.expect("put");
            assert_eq!(kept, BlobRef::of(&bytes));
        }
        for broker in [&one, &two] {
            let found = broker.blob(BlobRef::of(&bytes)).await.expect("get");
            assert!(found.as_ref() == Some(&bytes), "{len} bytes did not come back");
        }
    }
}

/// C40: a blob that nobody kept is `None`, and so is one that is said to have another size.
pub async fn c40_an_unknown_blob_is_none<H: Harness>(harness: &H) {
    let broker = harness.client().await;
    let kept = broker.put_blob(Bytes::from_static(b"\"kept\"")).await.expect("put");
    for blob in [BlobRef::of(b"unknown"), BlobRef { size: kept.size + 1, ..kept }] {
        assert_eq!(broker.blob(blob).await.expect("get"), None);
    }
}

/// C41: a fact is written only if its key is at the expected revision, [`Revision::ABSENT`] if
/// there is none; revisions rise; a conflict writes nothing. Every client reads what was written.
pub async fn c41_a_fact_changes_only_from_its_revision<H: Harness>(harness: &H) {
    let (one, two) = (harness.client().await, harness.client().await);
    let (bucket, key) = (Bucket::Cluster, "name.review-pr");
    assert_eq!(one.get(bucket, key).await.expect("get"), None);
    let mut revision = Revision::ABSENT;
    for n in 0..4_u64 {
        let value = Bytes::from(n.to_string());
        let wrong = [Revision::new(revision.get() + 1), Revision::new(77_777), Revision::ABSENT];
        for expected in wrong.into_iter().filter(|wrong| *wrong != revision) {
            let refused = two.put(bucket, key, Bytes::from_static(b"wrong"), expected).await;
            assert!(matches!(refused, Err(PutError::Conflict { .. })), "{expected:?}: {refused:?}");
        }
        let next = one.put(bucket, key, value.clone(), revision).await.expect("put");
        assert!(next > revision, "{next:?} after {revision:?}");
        revision = next;
        let found = two.get(bucket, key).await.expect("get");
        assert_eq!(found, Some(Entry { value, revision }));
    }
}

/// C42: of writes at once that expect the same revision, exactly one succeeds.
pub async fn c42_of_racing_puts_one_wins<H: Harness>(harness: &H) {
    let (one, two) = (harness.client().await, harness.client().await);
    let mut revision = Revision::ABSENT;
    for _ in 0..10 {
        let racers = (0..6_u64).map(|racer| {
            let broker = if racer % 2 == 0 { &one } else { &two };
            let value = Bytes::from(racer.to_string());
            async move { (racer, broker.put(Bucket::Cluster, "k", value, revision).await) }
        });
        let mut winners = Vec::new();
        for (racer, outcome) in soon("racing puts", join_all(racers)).await {
            match outcome {
                Ok(revision) => winners.push((racer, revision)),
                Err(PutError::Conflict { .. }) => {}
                Err(other) => panic!("racer {racer}: {other}"),
            }
        }
        let [(winner, next)] = winners[..] else { panic!("the winners are {winners:?}") };
        let value = Bytes::from(winner.to_string());
        let found = two.get(Bucket::Cluster, "k").await.expect("get");
        assert_eq!(found, Some(Entry { value, revision: next }));
        revision = next;
    }
}

/// C43: `keys` gives the keys that start with a prefix, in order; buckets do not share keys.
pub async fn c43_keys_are_sorted_and_buckets_apart<H: Harness>(harness: &H) {
    let broker = harness.client().await;
    assert!(broker.keys(Bucket::Workflows, "").await.expect("keys").is_empty());
    for key in ["name.b", "name.a", "digest.00ff", "name.a-b", "name", "Name.a", "name.a.1=_"] {
        broker.put(Bucket::Workflows, key, Bytes::new(), Revision::ABSENT).await.expect("put");
    }
    let cases: [(&str, &[&str]); 6] = [
        ("name.", &["name.a", "name.a-b", "name.a.1=_", "name.b"]),
        ("name.a", &["name.a", "name.a-b", "name.a.1=_"]),
        ("digest.", &["digest.00ff"]),
        ("n", &["name", "name.a", "name.a-b", "name.a.1=_", "name.b"]),
        ("name.*", &[]),
        ("", &["Name.a", "digest.00ff", "name", "name.a", "name.a-b", "name.a.1=_", "name.b"]),
    ];
    for (prefix, keys) in cases {
        assert_eq!(broker.keys(Bucket::Workflows, prefix).await.expect("keys"), keys, "{prefix}");
    }
    assert!(broker.keys(Bucket::Cluster, "").await.expect("keys").is_empty());
    assert_eq!(broker.get(Bucket::Cluster, "name").await.expect("get"), None);
}

/// C44: what is no key (see [`is_key`](crate::is_key)) is refused when written, and is under no
/// fact.
pub async fn c44_what_is_no_key_is_refused<H: Harness>(harness: &H) {
    let broker = harness.client().await;
    let long = "k".repeat(256);
    for key in ["", ".", "a.", ".a", "a..b", "a b", "*", ">", "a/b", "ä", "a\0", "$x", &long] {
        let put = broker.put(Bucket::Cluster, key, Bytes::new(), Revision::ABSENT).await;
        assert!(matches!(put, Err(PutError::InvalidKey { .. })), "{key:?}: {put:?}");
        assert_eq!(broker.get(Bucket::Cluster, key).await.expect("get"), None, "{key:?}");
    }
    let longest = "k".repeat(255);
    broker.put(Bucket::Cluster, &longest, Bytes::new(), Revision::ABSENT).await.expect("put");
}

/// C45: the text of the largest definition is a fact like any other.
pub async fn c45_the_largest_definition_is_a_fact<H: Harness>(harness: &H) {
    let broker = harness.client().await;
    let letters = noise(9, MAX_DEFINITION_BYTES).into_iter().map(|byte| b' ' + byte % 64);
    let value = Bytes::from(letters.collect::<Vec<_>>());
    let put = broker.put(Bucket::Workflows, "digest.00", value.clone(), Revision::ABSENT).await;
    let revision = put.expect("put");
    let found = broker.get(Bucket::Workflows, "digest.00").await.expect("get").expect("a fact");
    assert_eq!(found.revision, revision);
    assert!(found.value == value, "{} bytes came back", found.value.len());
}

/// C53: the record of a coordinator is written again and again, and apart from other buckets.
pub async fn c53_records_of_coordinators_are_facts<H: Harness>(harness: &H) {
    let (one, two) = (harness.client().await, harness.client().await);
    let bucket = Bucket::Coordinators;
    let mut revision = Revision::ABSENT;
    for n in 0..20_u64 {
        let value = Bytes::from(n.to_string());
        let next = one.put(bucket, "c-1", value.clone(), revision).await.expect("put");
        assert!(next > revision, "{next:?} after {revision:?}");
        revision = next;
        let found = two.get(bucket, "c-1").await.expect("get");
        assert_eq!(found, Some(Entry { value, revision }));
    }
    two.put(bucket, "c-2", Bytes::new(), Revision::ABSENT).await.expect("put");
    assert_eq!(one.keys(bucket, "").await.expect("keys"), ["c-1", "c-2"]);
    assert!(one.keys(Bucket::Cluster, "").await.expect("keys").is_empty());
}

/// C46: snapshots come with the highest position first, and at least the two highest are kept,
/// whatever the order in which they were written; each as it was written.
pub async fn c46_snapshots_come_newest_first<H: Harness>(harness: &H) {
    let (broker, other, p) = (harness.client().await, harness.client().await, partition(0));
    assert!(broker.snapshots(p).await.expect("snapshots").is_empty());
    let mut highest: Vec<u64> = Vec::new();
    for seq in [5, 9, 100, 7, 1_000, 101] {
        broker.put_snapshot(p, snapshot(seq, 100)).await.expect("put");
        highest.push(seq);
        highest.sort_unstable_by(|a, b| b.cmp(a));
        highest.truncate(2);
        let found = other.snapshots(p).await.expect("snapshots");
        assert!(found.is_sorted_by(|a, b| a.seq > b.seq), "not in order: {found:?}");
        let newest: Vec<_> = found.iter().map(|s| s.seq.get()).take(2).collect();
        assert_eq!(newest, highest);
        assert!(found.iter().all(|found| *found == snapshot(found.seq.get(), 100)));
    }
}

/// C47: snapshots are as large as they need to be, and belong to one partition.
pub async fn c47_snapshots_are_large_and_stay_in_their_partition<H: Harness>(harness: &H) {
    let broker = harness.client().await;
    for (number, len) in [(1, 0), (2, 6 * 1024 * 1024), (12, 1)] {
        let put = snapshot(u64::from(number), len);
        broker.put_snapshot(partition(number), put).await.expect("put");
    }
    for (number, len) in [(1, 0), (2, 6 * 1024 * 1024), (12, 1)] {
        let found = broker.snapshots(partition(number)).await.expect("snapshots");
        assert!(found == [snapshot(u64::from(number), len)], "partition {number}");
    }
}

/// Returns a snapshot with content of its own.
pub(super) fn snapshot(seq: u64, len: usize) -> Snapshot {
    Snapshot { seq: Seq::new(seq), bytes: Bytes::from(noise(seq, len)) }
}
