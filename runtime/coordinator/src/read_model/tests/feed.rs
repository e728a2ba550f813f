//! What the owner of a partition hands over, beside what is read from the journal.

use skep_broker::{Embedded, Journal as _};
use skep_protocol::PartitionCount;
use tokio::task::JoinHandle;

use super::follow::{append, change, follower};
use super::*;
use crate::read_model::feed::Intake;

const ID: PartitionId = PartitionId::new(0);
/// More than a lane holds.
const MANY: u64 = 5_000;

struct World {
    broker: Embedded,
    lanes: Lanes,
    told: mpsc::Receiver<Work>,
    following: JoinHandle<()>,
}

impl World {
    /// Follows behind message `read` with a way to the thread that holds `room` messages.
    async fn new(there: u64, read: u64, room: usize) -> Self {
        let (broker, lanes) = (Embedded::new(), Lanes::new(PartitionCount::DEFAULT));
        append(&broker, 1..=there).await;
        let (work, told) = mpsc::channel(room);
        let intake = lanes.intake(ID);
        let following = tokio::spawn(follower(&broker, read, (work, intake)).run());
        Self { broker, lanes, told, following }
    }

    fn feed(&self) -> Feed {
        self.lanes.feed(ID).unwrap()
    }

    /// Expects messages in this order, and no others before them.
    async fn tells(&mut self, messages: std::ops::RangeInclusive<u64>) {
        for number in messages {
            match self.told.recv().await {
                Some(Work::Entry(Entry::Message(message))) => {
                    assert_eq!(message.seq, Seq::new(number));
                    assert_eq!(message.texts.len(), message.records.len());
                }
                Some(Work::Entry(Entry::Gap(_)) | Work::Question { .. }) | None => {
                    panic!("message {number} is missing")
                }
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.following.abort();
    }
}

fn lands(feed: &mut Feed, messages: std::ops::RangeInclusive<u64>) {
    for number in messages {
        let record = change(number);
        let message = format!("{{\"records\":[{}]}}", serde_json::to_string(&record).unwrap());
        let texts = skep_protocol::Texts::find(message.into()).unwrap();
        feed.landed(Seq::new(number), vec![record], texts);
    }
}

#[tokio::test]
async fn what_the_owner_hands_over_is_not_read_from_the_journal() {
    let mut world = World::new(3, 0, 1).await;
    world.tells(1..=3).await;
    let mut feed = world.feed();
    // These are in no journal: there is but one place where they can come from.
    lands(&mut feed, 4..=9);
    world.tells(4..=9).await;
}

#[tokio::test]
async fn what_came_before_the_owner_did_is_read_from_the_journal() {
    let mut world = World::new(20, 5, 1).await;
    let mut feed = world.feed();
    lands(&mut feed, 21..=23);
    world.tells(6..=23).await;
}

#[tokio::test]
async fn an_owner_that_hands_the_partition_over_is_followed_by_the_journal() {
    let mut world = World::new(2, 0, 1).await;
    let mut feed = world.feed();
    lands(&mut feed, 3..=4);
    append(&world.broker, 3..=4).await;
    drop(feed);
    append(&world.broker, 5..=7).await;
    world.tells(1..=7).await;
    let mut feed = world.feed();
    lands(&mut feed, 8..=8);
    world.tells(8..=8).await;
}

#[tokio::test]
async fn what_finds_no_room_is_read_from_the_journal() {
    let mut world = World::new(1, 0, 1).await;
    let mut feed = world.feed();
    // The follower is at work only while somebody takes what it tells.
    append(&world.broker, 2..=MANY).await;
    lands(&mut feed, 2..=MANY);
    world.tells(1..=MANY).await;
    append(&world.broker, MANY + 1..=MANY + 1).await;
    lands(&mut feed, MANY + 1..=MANY + 1);
    world.tells(MANY + 1..=MANY + 1).await;
}

#[tokio::test]
async fn large_messages_leave_no_room_for_others() {
    let mut world = World::new(1, 0, 1).await;
    let mut feed = world.feed();
    append(&world.broker, 2..=200).await;
    for number in 2..=200 {
        let message = format!("{{\"records\":[\"{}\"]}}", "x".repeat(512 * 1024));
        let texts = skep_protocol::Texts::find(message.into()).unwrap();
        feed.landed(Seq::new(number), vec![change(number)], texts);
    }
    world.tells(1..=200).await;
}

/// Whatever owners come and go, and however slow the reader is: each message once, in order.
#[tokio::test]
async fn each_message_comes_once_wherever_it_comes_from() {
    for seed in 0..60_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut below = |most: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % most
        };
        let mut world = World::new(below(4), 0, 1 + below(8) as usize).await;
        let mut end = world.broker.last(ID).await.unwrap().map_or(0, |last| last.seq.get());
        let (mut feed, mut read) = (None, 0);
        for _ in 0..40 {
            match below(6) {
                0 => feed = None,
                1 => feed = Some(world.feed()),
                2 => {
                    let some = below(end - read + 1);
                    world.tells(read + 1..=read + some).await;
                    read += some;
                }
                _ => {
                    let more = 1 + below(if seed % 10 == 0 { MANY } else { 5 });
                    append(&world.broker, end + 1..=end + more).await;
                    if let Some(feed) = &mut feed {
                        lands(feed, end + 1..=end + more);
                    }
                    end += more;
                }
            }
            if below(2) == 0 {
                tokio::task::yield_now().await;
            }
        }
        world.tells(read + 1..=end).await;
    }
}

#[tokio::test]
async fn there_is_one_end_of_a_lane() {
    let lanes = Lanes::new(PartitionCount::DEFAULT);
    let mut first = lanes.intake(ID);
    let mut feed = lanes.feed(ID).unwrap();
    lands(&mut feed, 1..=1);
    for mut other in [lanes.intake(ID), Intake::closed()] {
        assert!(other.next(Seq::ZERO).await.is_none(), "it has to read the journal");
    }
    let seq = first.next(Seq::ZERO).await.map(|message| message.seq);
    assert_eq!(seq, Some(Seq::new(1)));
}
