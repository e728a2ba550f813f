//! More than a connection takes at once: large journals read together, agents that never stop.

use std::fs;

use bytes::Bytes;
use futures::StreamExt as _;
use skep_broker::Journal as _;
use skep_broker::conformance::fixtures::{partition, soon};
use skep_nats::server::{Options, ThrowawayServer};
use skep_nats::{ConnectOptions, Nats};
use skep_protocol::limits::MAX_BATCH_BYTES;
use skep_protocol::{PartitionCount, Seq};

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
