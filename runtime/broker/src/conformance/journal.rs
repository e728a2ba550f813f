//! C1 to C11, C54: the journal.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use skep_protocol::Seq;
use skep_protocol::limits::MAX_BATCH_BYTES;
use tokio::time::{Instant, sleep};

use super::Harness;
use super::fixtures::{next, noise, partition, soon};
use crate::journal::{AppendError, Journal, JournalMessage, JournalReader, ReadError};

/// A little time.
const STEP: Duration = Duration::from_millis(20);

/// C1: an append succeeds only if the journal ends at `expected`, and takes the next position. The
/// first one has 1. Partitions do not know of each other.
pub async fn c01_an_append_needs_the_exact_end<H: Harness>(harness: &H) {
    let broker = harness.client().await;
    for number in [0, 1, 7] {
        let p = partition(number);
        assert_eq!(broker.last(p).await.expect("last"), None);
        for last in 0..5_u64 {
            let seq = broker.append(p, Seq::new(last), message(last + 1)).await;
            assert_eq!(seq.expect("the journal ends there"), Seq::new(last + 1));
        }
    }
}

/// C2: an append with any other expectation, lower or higher, is a conflict: it appends nothing and
/// tells the position of the last message.
pub async fn c02_a_conflict_appends_nothing_and_tells_the_end<H: Harness>(harness: &H) {
    let (broker, p) = (harness.client().await, partition(0));
    for (wrong, end) in [(1, 0), (9, 0), (0, 1), (2, 1), (0, 2), (1, 2), (3, 2), (u64::MAX / 4, 2)]
    {
        fill(&broker, p, end).await;
        match broker.append(p, Seq::new(wrong), Bytes::from_static(b"wrong")).await {
            Err(AppendError::Conflict { expected, last }) => {
                assert_eq!((expected, last), (Seq::new(wrong), Seq::new(end)));
            }
            other => panic!("appended at {end}, expecting {wrong}: {other:?}"),
        }
        let last = broker.last(p).await.expect("last").map(|message| message.seq);
        assert_eq!(last.unwrap_or_default(), Seq::new(end));
    }
}

/// C3: of appends at once that expect the same end, from any client, exactly one succeeds.
pub async fn c03_of_racing_appends_one_wins<H: Harness>(harness: &H) {
    let (one, two) = (harness.client().await, harness.client().await);
    let p = partition(3);
    for end in 0..20 {
        let racers = (0..8_u64).map(|racer| {
            let broker = if racer % 2 == 0 { &one } else { &two };
            async move { (racer, broker.append(p, Seq::new(end), message(racer)).await) }
        });
        let mut winners = Vec::new();
        for (racer, outcome) in soon("racing appends", join_all(racers)).await {
            match outcome {
                Ok(seq) => {
                    assert_eq!(seq, Seq::new(end + 1));
                    winners.push(racer);
                }
                Err(AppendError::Conflict { last, .. }) => assert_eq!(last, Seq::new(end + 1)),
                Err(other) => panic!("racer {racer}: {other}"),
            }
        }
        let [winner] = winners[..] else { panic!("the winners are {winners:?}") };
        let last = one.last(p).await.expect("last").expect("a message");
        assert_eq!(last, JournalMessage { seq: Seq::new(end + 1), bytes: message(winner) });
    }
}

/// C4: the bytes of a message come back exactly as they were, whatever they are.
pub async fn c04_bytes_come_back_as_they_were<H: Harness>(harness: &H) {
    let (broker, p) = (harness.client().await, partition(1));
    let mut reader = broker.follow(p, Seq::ZERO).await.expect("follow");
    let bodies =
        [&b"{}"[..], b"\0", b"\r\n\r\nNATS/1.0\r\n", "\u{fffe} bee".as_bytes(), b"\xff\xfe"];
    let noise = [noise(1, 1), noise(2, 70_000), noise(3, MAX_BATCH_BYTES)];
    let bodies = bodies.iter().map(|body| body.to_vec()).chain(noise).map(Bytes::from);
    for (end, body) in (0..).zip(bodies) {
        let seq = broker.append(p, Seq::new(end), body.clone()).await.expect("append");
        let expected = JournalMessage { seq, bytes: body };
        assert!(broker.last(p).await.expect("last").as_ref() == Some(&expected), "message {seq}");
        let read = next("the message", &mut reader).await.expect("no hole");
        assert!(read == expected, "message {seq} was read as {} bytes", read.bytes.len());
    }
}

/// C5: a message larger than the broker takes is refused as too large, which appends nothing; one
/// of [`MAX_BATCH_BYTES`] is taken.
pub async fn c05_a_message_over_the_limit_is_refused<H: Harness>(harness: &H) {
    let (broker, p) = (harness.client().await, partition(0));
    let over = harness.bounds().max_message + 1;
    match broker.append(p, Seq::ZERO, Bytes::from(vec![b'x'; over])).await {
        Err(AppendError::TooLarge { size, limit }) => {
            assert!(size >= over && limit < over, "{size} bytes, at most {limit}");
        }
        other => panic!("{over} bytes: {other:?}"),
    }
    assert_eq!(broker.last(p).await.expect("last"), None);
    let largest = Bytes::from(vec![b'x'; MAX_BATCH_BYTES]);
    assert_eq!(broker.append(p, Seq::ZERO, largest).await.expect("the largest"), Seq::new(1));
}

/// C6: what an append has returned, every client reads as the last message from there on.
pub async fn c06_last_is_never_stale<H: Harness>(harness: &H) {
    let (writer, p) = (harness.client().await, partition(5));
    let readers = [harness.client().await, harness.client().await];
    for end in 0..30 {
        let seq = writer.append(p, Seq::new(end), message(end)).await.expect("append");
        for reader in &readers {
            let last = reader.last(p).await.expect("last");
            assert_eq!(last, Some(JournalMessage { seq, bytes: message(end) }));
        }
    }
}

/// C7: a follower gets every message once, in order, those there were and those that come.
pub async fn c07_follow_never_skips_and_goes_on<H: Harness>(harness: &H) {
    let (writer, reader, p) = (harness.client().await, harness.client().await, partition(2));
    fill(&writer, p, 700).await;
    let mut follower = reader.follow(p, Seq::new(1)).await.expect("follow");
    expect_messages(&mut follower, 1..=700).await;
    for round in 0..5 {
        fill(&writer, p, 710 + round * 10).await;
        let from = 701 + if round == 0 { 0 } else { round * 10 };
        expect_messages(&mut follower, from..=710 + round * 10).await;
    }
}

/// C8: a follower starts at `from`, at the first message kept if that one was trimmed, and never
/// before `from`, even if the journal ends before it.
pub async fn c08_follow_starts_where_it_is_told<H: Harness>(harness: &H) {
    let (broker, p) = (harness.client().await, partition(2));
    fill(&broker, p, 10).await;
    broker.trim(p, Seq::new(4)).await.expect("trim");
    for (from, first) in [(0, 4), (1, 4), (4, 4), (5, 5), (10, 10)] {
        let mut follower = broker.follow(p, Seq::new(from)).await.expect("follow");
        expect_messages(&mut follower, first..=10).await;
    }
    let mut next_one = broker.follow(p, Seq::new(11)).await.expect("follow");
    let mut later = broker.follow(p, Seq::new(13)).await.expect("follow");
    fill(&broker, p, 14).await;
    expect_messages(&mut next_one, 11..=14).await;
    expect_messages(&mut later, 13..=14).await;
}

/// C9: followers do not disturb each other, nor does one that stops, nor one that does not read.
pub async fn c09_followers_do_not_disturb_each_other<H: Harness>(harness: &H) {
    let (broker, p) = (harness.client().await, partition(4));
    fill(&broker, p, 3).await;
    let mut one = broker.follow(p, Seq::ZERO).await.expect("follow");
    let mut two = broker.follow(p, Seq::new(2)).await.expect("follow");
    let idle = broker.follow(p, Seq::ZERO).await.expect("follow");
    let dropped = broker.follow(p, Seq::ZERO).await.expect("follow");
    expect_messages(&mut one, 1..=3).await;
    drop(dropped);
    fill(&broker, p, 400).await;
    expect_messages(&mut two, 2..=400).await;
    expect_messages(&mut one, 4..=400).await;
    drop(idle);
}

/// C10: a trim drops what is before `first_kept`, in any client's eyes, and changes no position.
/// The last message always stays, whatever is asked for, so that the end is never forgotten.
/// Trimming again, or less, or an empty journal, does nothing.
pub async fn c10_trim_keeps_positions_and_the_last_message<H: Harness>(harness: &H) {
    let (broker, other, p) = (harness.client().await, harness.client().await, partition(6));
    broker.trim(p, Seq::new(5)).await.expect("trim an empty journal");
    fill(&broker, p, 6).await;
    for (first_kept, first) in [(0, 1), (3, 3), (3, 3), (2, 3), (6, 6)] {
        broker.trim(p, Seq::new(first_kept)).await.expect("trim");
        let mut follower = other.follow(p, Seq::ZERO).await.expect("follow");
        expect_messages(&mut follower, first..=6).await;
    }
    for end in [6, 7] {
        fill(&broker, p, end).await;
        broker.trim(p, Seq::new(1_000)).await.expect("trim");
        let last = other.last(p).await.expect("last").map(|message| message.seq);
        assert_eq!(last, Some(Seq::new(end)), "the last message stays");
        assert_eq!(
            other.append(p, Seq::ZERO, message(0)).await.map_err(|error| error.to_string()),
            Err(format!("the journal ends at {end}, not at 0"))
        );
    }
}

/// C11: a follower that a trim overtakes reads on without a gap as far as it can, and then ends
/// with [`ReadError::Hole`]. It never skips.
pub async fn c11_a_follower_overtaken_by_a_trim_does_not_skip<H: Harness>(harness: &H) {
    let (broker, p) = (harness.client().await, partition(0));
    fill(&broker, p, 2_000).await;
    let mut follower = broker.follow(p, Seq::ZERO).await.expect("follow");
    expect_messages(&mut follower, 1..=1).await;
    broker.trim(p, Seq::new(1_990)).await.expect("trim");
    for due in 2..=2_000 {
        match next("what follows", &mut follower).await {
            Ok(read) => assert_eq!(read.seq, Seq::new(due), "skipped"),
            Err(ReadError::Hole { expected, found }) => {
                assert_eq!((expected, found), (Seq::new(due), Seq::new(1_990)));
                let end = soon("the end", follower.next()).await;
                assert!(end.is_none(), "{end:?} after a hole");
                return;
            }
            Err(other) => panic!("message {due}: {other}"),
        }
    }
}

/// C54: the age of the last message grows as time passes, and begins anew with each append; an
/// empty journal has none.
pub async fn c54_the_age_of_the_end_grows_until_the_next_append<H: Harness>(harness: &H) {
    let (writer, reader, p) = (harness.client().await, harness.client().await, partition(2));
    assert_eq!(reader.age(p).await.expect("age"), Duration::ZERO);
    for end in 1..=3 {
        let before = Instant::now();
        fill(&writer, p, end).await;
        let young = reader.age(p).await.expect("age");
        // Clocks count in steps, and not all of them alike.
        let most = before.elapsed() + STEP;
        assert!(young <= most, "it is {young:?} old, and came at most {most:?} ago");
        sleep(2 * STEP).await;
        let old = reader.age(p).await.expect("age");
        assert!(old >= STEP, "it is {old:?} old after twice {STEP:?}");
    }
}

fn message(number: u64) -> Bytes {
    Bytes::from(format!("message {number}"))
}

/// Appends until the journal ends at `end`.
pub(super) async fn fill(broker: &impl Journal, p: skep_protocol::PartitionId, end: u64) {
    let last = broker.last(p).await.expect("last").map_or(0, |message| message.seq.get());
    for seq in last..end {
        let appended = broker.append(p, Seq::new(seq), message(seq + 1)).await;
        assert_eq!(appended.expect("append"), Seq::new(seq + 1));
    }
}

/// Reads messages that [`fill`] appended.
pub(super) async fn expect_messages(
    follower: &mut JournalReader,
    seqs: std::ops::RangeInclusive<u64>,
) {
    for seq in seqs {
        let read = next(&format!("message {seq}"), follower).await;
        let expected = JournalMessage { seq: Seq::new(seq), bytes: message(seq) };
        assert_eq!(read.expect("no hole"), expected);
    }
}
