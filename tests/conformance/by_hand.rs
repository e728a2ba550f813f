//! The loops written by hand, against which `skep bench` holds skep: they do what they say, and
//! leave nothing behind.

use std::pin::pin;

use async_nats::jetstream::{Context, new, stream};
use futures::TryStreamExt as _;
use futures::future::{Either, select};
use skep_broker::conformance::fixtures::soon;
use skep_nats::Nats;
use skep_nats::by_hand::{ByHandError, Chains, Played, Way, drive, perform};

use crate::harness::{NatsHarness, connect, stranger};

const WAYS: [Way; 3] = [Way::Direct, Way::Queue, Way::Plain];
const PREFIX: &str = "by-hand";

/// Plays a loop beside its agent.
async fn play(driver: &Nats, agent: &Nats, way: Way, plan: Chains) -> Result<Played, ByHandError> {
    let driving = pin!(drive(driver, PREFIX, way, plan));
    let performing = pin!(perform(agent, PREFIX, way));
    let playing = async {
        match select(driving, performing).await {
            Either::Left((played, _)) => played,
            // Its queue was removed at the end.
            Either::Right((_, driving)) => driving.await,
        }
    };
    soon("the end of the loop", playing).await
}

async fn left_behind(js: &Context) -> Vec<String> {
    let names: Vec<String> = js.stream_names().try_collect().await.expect("the streams");
    names.into_iter().filter(|name| name.starts_with(PREFIX)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_of_a_loop_ends_and_leaves_nothing_behind() {
    let harness = NatsHarness::start().await;
    let (driver, agent) = (connect(&harness, |_| {}).await, connect(&harness, |_| {}).await);
    let js = new(stranger(&harness).await);
    for way in WAYS {
        for (chains, steps, seen) in [(1, 20, 20), (100, 3, 0), (6_000, 1, 0)] {
            let plan = Chains { chains, steps, payload: 16 };
            let played = play(&driver, &agent, way, plan).await;
            let played = played.unwrap_or_else(|error| panic!("{way:?}, {plan:?}: {error}"));
            assert_eq!(played.steps.len(), seen, "{way:?}, {plan:?}");
            assert!(played.steps.iter().sum::<std::time::Duration>() <= played.took, "{way:?}");
            assert_eq!(left_behind(&js).await, [""; 0], "{way:?}, {plan:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_cannot_go_on_says_why_and_leaves_nothing_behind() {
    let harness = NatsHarness::start().await;
    let (driver, agent) = (connect(&harness, |_| {}).await, connect(&harness, |_| {}).await);
    let js = new(stranger(&harness).await);
    for way in WAYS {
        let plan = Chains { chains: 1, steps: 1, payload: 2 << 20 };
        let error = play(&driver, &agent, way, plan).await.expect_err("too large").to_string();
        assert!(error.starts_with("the loop written by hand cannot "), "{way:?}: {error}");
        assert!(error.contains("max payload size exceeded"), "{way:?}: {error}");
        assert_eq!(left_behind(&js).await, [""; 0], "{way:?}");
    }
}

/// Without a journal no result can be stored.
#[tokio::test(flavor = "multi_thread")]
async fn the_plain_loop_keeps_a_task_whose_result_is_not_stored() {
    let harness = NatsHarness::start().await;
    let agent = connect(&harness, |_| {}).await;
    let js = new(stranger(&harness).await);
    let config = stream::Config {
        name: format!("{PREFIX}-tasks"),
        subjects: vec![format!("{PREFIX}.tasks")],
        retention: stream::RetentionPolicy::WorkQueue,
        ..stream::Config::default()
    };
    let mut queue = js.create_stream(config).await.expect("a queue");
    let offered = js.publish(format!("{PREFIX}.tasks"), "task".into()).await.expect("a task");
    offered.await.expect("a task");
    let performed = soon("its end", perform(&agent, PREFIX, Way::Plain)).await;
    let error = performed.expect_err("nothing is stored").to_string();
    assert!(error.contains("cannot store a result"), "{error}");
    assert_eq!(queue.info().await.expect("the queue").state.messages, 1);
}
