//! More than a connection takes at once: large journals read together, agents that never stop.

use std::fs;

use bytes::Bytes;
use futures::StreamExt as _;
use skep_broker::conformance::fixtures::{heartbeat, next, partition, soon};
use skep_broker::{Journal as _, Presence as _};
use skep_nats::server::{Options, ThrowawayServer};
use skep_nats::{ConnectOptions, Nats};
use skep_protocol::limits::MAX_BATCH_BYTES;
use skep_protocol::{PartitionCount, Seq, encode};

use crate::harness::{NatsHarness, connect, stranger};

/// Readers that share a connection ask for less, together, than the server holds for it; each
/// still gets the largest message there can be.
#[tokio::test(flavor = "multi_thread")]
async fn journals_read_together_do_not_overwhelm_the_connection() {
    const JOURNALS: u16 = 6;
    const MESSAGES: u64 = 24;
    // A small share of the default of 64 MiB for a small share of the usual journals.
    let more = "max_pending: 12MB\n".to_owned();
    let server = ThrowawayServer::start(Options { more, ..Options::default() }).await;
    let server = server.expect("a server");
    let writer = Nats::connect(ConnectOptions::url(&server.url())).await.expect("a connection");
    let partitions = PartitionCount::new(JOURNALS).expect("not zero");
    writer.ensure_layout(partitions).await.expect("the layout");
    let largest = Bytes::from(vec![b'x'; MAX_BATCH_BYTES]);
    for number in 0..JOURNALS {
        for expected in 0..MESSAGES {
            let appended = writer.append(partition(number), Seq::new(expected), largest.clone());
            appended.await.expect("appended");
        }
    }
    let reader = Nats::connect(ConnectOptions::url(&server.url())).await.expect("a connection");
    let reading = (0..JOURNALS).map(|number| {
        let reader = reader.clone();
        tokio::spawn(async move {
            let mut journal = reader.follow(partition(number), Seq::ZERO).await.expect("follow");
            for _ in 0..MESSAGES {
                let read = journal.next().await.expect("a message").expect("no hole");
                assert_eq!(read.bytes.len(), MAX_BATCH_BYTES);
            }
        })
    });
    let reading = reading.collect::<Vec<_>>();
    for reader in reading {
        soon("a whole journal", reader).await.expect("read");
    }
    let log = fs::read_to_string(server.log_file()).expect("a log");
    assert!(!log.contains("Slow Consumer"), "{log}");
}

/// An agent that never stops to beat is heard now and then, and takes nothing from the others; not
/// even while the listener is busy with something else.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_heartbeats_drowns_nobody() {
    // Together three times what the client keeps for a subscription.
    const ROUNDS: u64 = 10;
    const AT_ONCE: u64 = 20_000;
    let harness = NatsHarness::start().await;
    let (nats, mallory) = (connect(&harness, |_| {}).await, stranger(&harness).await);
    let mut beats = nats.beats().await.expect("listen");
    let payload = encode(&heartbeat("mallory", 1));
    for _ in 0..ROUNDS {
        for _ in 0..AT_ONCE {
            mallory.publish("skep.beat.mallory", payload.clone()).await.expect("sent");
        }
        mallory.flush().await.expect("flushed");
        // What the server sent before this answer has arrived with it; the listener is still busy.
        nats.last(partition(0)).await.expect("an answer");
    }
    connect(&harness, |_| {}).await.beat(heartbeat("honest", 1)).await.expect("beat");
    let mut floods = 0;
    while next("a beat", &mut beats).await != heartbeat("honest", 1) {
        floods += 1;
    }
    assert!(floods < 1_000, "{floods} of the flood were heard");
}
