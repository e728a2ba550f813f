//! Random operations on the memory machine and on a real server: when they differ, the machine is
//! what gets corrected.

use std::time::Duration;

use skep_broker::Embedded;
use skep_broker::differential::compare;
use skep_broker::memory::Settings;
use skep_protocol::PartitionCount;

use crate::harness::{NatsHarness, PARTITIONS, connect};

const OPERATIONS: usize = 400;
/// Longer than a comparison lasts, so that nothing comes again by itself.
const ACK_WAIT: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_machine_answers_like_a_server() {
    let harness = NatsHarness::start().await;
    for seed in 0..12 {
        let settings = Settings { ack_wait: ACK_WAIT, ..Settings::default() };
        let nats = connect(&harness, |options| {
            options.namespace = format!("seed-{seed}").parse().expect("a namespace");
            options.ack_wait = ACK_WAIT;
        })
        .await;
        let partitions = PartitionCount::new(PARTITIONS).expect("not zero");
        nats.ensure_layout(partitions).await.expect("the layout");
        let compared = compare(seed, OPERATIONS, Embedded::with_settings(settings), nats).await;
        if let Err(divergence) = compared {
            panic!("{divergence}");
        }
    }
}
