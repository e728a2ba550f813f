//! Streams that somebody changed, and those of an earlier version.

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use async_nats::jetstream::{self, Context};
use skep_broker::Reports as _;
use skep_broker::conformance::fixtures::{partition, reports};
use skep_nats::{LayoutError, Nats};
use skep_protocol::PartitionCount;

use crate::harness::{NatsHarness, connect, stranger};

type Change = fn(&mut Config);

async fn start() -> (NatsHarness, Nats, Context) {
    let harness = NatsHarness::start().await;
    let (nats, stranger) = (connect(&harness, |_| {}).await, stranger(&harness).await);
    (harness, nats, jetstream::new(stranger))
}

async fn settings(js: &Context, stream: &str) -> Config {
    let stream = js.get_stream(stream).await.expect("the stream");
    stream.cached_info().config.clone()
}

fn partitions(count: u16) -> PartitionCount {
    PartitionCount::new(count).expect("not zero")
}

#[tokio::test]
async fn a_limit_that_somebody_set_is_refused_and_shown() {
    let changes: [(Change, &str); 5] = [
        (|config| config.max_bytes = 1_000_000, "max_bytes = 1000000, but skep needs unlimited"),
        (|config| config.max_messages = 10, "max_msgs = 10, but skep needs unlimited"),
        (|config| config.max_message_size = 512, "max_msg_size = 512, but skep needs unlimited"),
        (
            |config| config.max_age = std::time::Duration::from_secs(3_600),
            "max_age = 3600s, but skep needs unlimited",
        ),
        (|config| config.sealed = true, "sealed = yes, but skep needs no"),
    ];
    let (_harness, nats, js) = start().await;
    for (number, (change, expected)) in changes.into_iter().enumerate() {
        let stream = format!("skep_journal_{number}");
        let mut config = settings(&js, &stream).await;
        change(&mut config);
        js.update_stream(&config).await.expect("changed");
        let error = nats.ensure_layout(partitions(8)).await.expect_err("it differs");
        assert!(matches!(error, LayoutError::Differs { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
        let seen = nats.inspect().await.expect("an inspection");
        let seen = seen.streams.iter().find(|one| one.name == stream).expect("the stream");
        assert!(seen.differs.iter().any(|text| text == expected), "{seen:?}");
        js.delete_stream(&stream).await.expect("deleted");
        nats.ensure_layout(partitions(8)).await.expect("made again");
    }
    let seen = nats.inspect().await.expect("an inspection");
    assert!(seen.streams.iter().all(|stream| stream.differs.is_empty()), "{seen:?}");
}

#[tokio::test]
async fn streams_of_an_earlier_version_are_brought_up_to_date() {
    let (_harness, nats, js) = start().await;
    nats.report_durably(partition(3), reports("a", "s")).await.expect("left");
    for stream in ["skep_late", "skep_journal_0"] {
        let mut config = settings(&js, stream).await;
        config.discard = DiscardPolicy::Old;
        if stream == "skep_late" {
            config.subjects = vec!["skep.late.*.*".to_owned()];
        }
        js.update_stream(&config).await.expect("as it was");
    }
    nats.ensure_layout(partitions(8)).await.expect("brought up to date");
    let (late, journal) = (settings(&js, "skep_late").await, settings(&js, "skep_journal_0").await);
    assert_eq!((late.discard, journal.discard), (DiscardPolicy::New, DiscardPolicy::New));
    assert_eq!(late.subjects.len(), 8, "{late:?}");
    nats.ensure_layout(partitions(13)).await.expect("more partitions");
    assert_eq!(settings(&js, "skep_late").await.subjects.len(), 13);
    let kept = js.get_stream("skep_late").await.expect("the stream").cached_info().state.messages;
    assert_eq!(kept, 1, "what was left is kept");
}

#[tokio::test]
async fn nothing_can_be_left_for_a_partition_that_is_not_there() {
    let (_harness, nats, js) = start().await;
    let published = js.publish("skep.late.99.mallory", "{}".into()).await.expect("sent");
    published.await.expect_err("nobody would ever remove it");
    nats.report_durably(partition(12), reports("a", "s")).await.expect("left");
}
