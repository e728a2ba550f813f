//! C12 to C22: the queue lane.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use skep_protocol::AttemptId;

use super::Harness;
use super::fixtures::{SOON, run, soon, task};
use crate::tasks::{Delivered, QueueDepth, Settle, Tasks};

/// C12: tasks of a capability are pulled in the order in which they were offered, one by one or
/// together, each once, as they were.
pub async fn c12_tasks_come_in_order_and_once<H: Harness>(harness: &H) {
    let (sender, agent) = (harness.client().await, harness.client().await);
    let offered: Vec<_> = (0..80).map(|n| task("writer", &format!("step[{n}]"))).collect();
    let (alone, together) = offered.split_at(40);
    for task in alone {
        sender.offer(task.clone(), 1).await.expect("offer");
    }
    sender.offer_all(Vec::new()).await.expect("nothing to offer");
    let others = ["reader", "editor"].map(|other| task(other, other));
    let both = together.iter().chain(&others).map(|task| (task.clone(), 1)).collect();
    sender.offer_all(both).await.expect("offer");
    let mut pulled = pull(&agent, "writer", offered.len()).await;
    assert_eq!(pulled.iter().map(|delivered| delivered.deliveries).max(), Some(1));
    settle_all(&mut pulled, Settle::Ack).await;
    let pulled: Vec<_> = pulled.into_iter().map(|delivered| delivered.task).collect();
    assert_eq!(pulled, offered);
    assert_empty(&agent, "writer").await;
    for other in &others {
        assert_eq!(pull(&agent, &other.capability, 1).await[0].task, *other);
    }
}

/// C13: any text of 1 to 64 bytes names a capability with a queue of its own, whatever it means to
/// a subject, a file name or a consumer name.
pub async fn c13_any_capability_is_a_queue_of_its_own<H: Harness>(harness: &H) {
    let broker = harness.client().await;
    let long = "x".repeat(64);
    let names = [
        "a", "A", "a.b", "a.*", "a.>", ">", "*", "a b", "a/b", "../a", "ä", "a\t", "$JS.API", &long,
    ];
    for name in names {
        broker.offer(task(name, name), 1).await.expect("offer");
    }
    for name in names {
        let depth = broker.depth(name).await.expect("depth");
        assert_eq!(depth, QueueDepth { waiting: 1, held: 0 }, "{name:?}");
        let mut pulled = pull(&broker, name, 1).await;
        assert_eq!(pulled[0].task, task(name, name));
        settle_all(&mut pulled, Settle::Ack).await;
    }
}

/// C14: the same attempt with the same `sending` is kept once, even after it was pulled and
/// acknowledged; with a higher one, or as another attempt, it is another task. The broker may
/// forget this after two minutes.
pub async fn c14_the_same_sending_is_kept_once<H: Harness>(harness: &H) {
    let broker = harness.client().await;
    let first = task("writer", "s");
    let again = {
        let mut task = first.clone();
        task.attempt = 2;
        task
    };
    for (task, sending) in [(&first, 1), (&first, 1), (&first, 2)] {
        broker.offer(task.clone(), sending).await.expect("offer");
    }
    let more = [(&first, 2), (&again, 1), (&again, 1)];
    let more = more.map(|(task, sending)| (task.clone(), sending)).to_vec();
    broker.offer_all(more).await.expect("offer");
    let mut pulled = pull(&broker, "writer", 3).await;
    let attempts: Vec<_> = pulled.iter().map(|delivered| delivered.task.attempt).collect();
    assert_eq!(attempts, [1, 1, 2]);
    broker.offer(first.clone(), 2).await.expect("offer");
    settle_all(&mut pulled, Settle::Ack).await;
    broker.offer(first.clone(), 1).await.expect("offer");
    assert_empty(&broker, "writer").await;
    broker.offer(first, 3).await.expect("offer");
    assert_eq!(pull(&broker, "writer", 1).await.len(), 1);
}

/// C15: a pull returns as soon as there is one task, with no more than `max`; with none, it waits;
/// nothing in time is an empty list. A pull that is dropped takes nothing after the next answer.
pub async fn c15_pull_waits_for_the_first_task<H: Harness>(harness: &H) {
    let (sender, agent) = (harness.client().await, harness.client().await);
    assert!(agent.pull("writer", 3, Duration::ZERO).await.expect("pull").is_empty());
    let waited = agent.pull("writer", 3, Duration::from_millis(50)).await;
    assert!(waited.expect("pull").is_empty());
    assert!(agent.pull("writer", 0, SOON).await.expect("pull").is_empty());

    let given_up = tokio::time::timeout(Duration::from_millis(50), agent.pull("writer", 3, SOON));
    assert!(given_up.await.is_err(), "there is nothing to pull");
    assert!(agent.pull("writer", 3, Duration::ZERO).await.expect("pull").is_empty());

    let pulling = async { agent.pull("writer", 2, SOON).await.expect("pull") };
    let offering = async {
        for n in 0..3 {
            sender.offer(task("writer", &format!("s{n}")), 1).await.expect("offer");
        }
    };
    let (mut pulled, ()) = soon("a waiting pull", async { tokio::join!(pulling, offering) }).await;
    assert!((1..=2).contains(&pulled.len()), "{pulled:?}");
    pulled.extend(pull(&agent, "writer", 3 - pulled.len()).await);
    let steps: Vec<_> = pulled.iter().map(|delivered| delivered.task.step.as_str()).collect();
    assert_eq!(steps, ["s0", "s1", "s2"]);
    assert!(pulled.iter().all(|delivered| delivered.deliveries == 1), "{pulled:?}");
}

/// C16: of many who pull at once, from any client, each task reaches one.
pub async fn c16_each_task_reaches_one_puller<H: Harness>(harness: &H) {
    const TASKS: usize = 60;
    let sender = harness.client().await;
    let agents = [harness.client().await, harness.client().await, harness.client().await];
    let wait = harness.bounds().ack_wait.min(Duration::from_secs(1));
    let pulling = agents.iter().cycle().take(6).map(|agent| async move {
        let mut got = Vec::new();
        loop {
            let mut pulled = agent.pull("writer", 4, wait).await.expect("pull");
            if pulled.is_empty() {
                return got;
            }
            settle_all(&mut pulled, Settle::Ack).await;
            got.extend(pulled.iter().map(|delivered| delivered.task.id()));
        }
    });
    let offering = async {
        for n in 0..TASKS {
            sender.offer(task("writer", &format!("s{n}")), 1).await.expect("offer");
        }
    };
    let both = async { tokio::join!(join_all(pulling), offering) };
    let (got, ()) = soon("all tasks", both).await;
    let got: Vec<AttemptId> = got.into_iter().flatten().collect();
    let distinct: BTreeSet<_> = got.iter().cloned().collect();
    assert_eq!((got.len(), distinct.len()), (TASKS, TASKS));
}

/// C17: a task that was pulled and not settled comes again after `ack_wait`, to whoever pulls, with
/// the deliveries counted.
pub async fn c17_an_unsettled_task_comes_again<H: Harness>(harness: &H) {
    let (one, two) = (harness.client().await, harness.client().await);
    one.offer(task("writer", "s"), 1).await.expect("offer");
    for deliveries in 1..=3 {
        let broker = if deliveries % 2 == 0 { &one } else { &two };
        let pulled = pull(broker, "writer", 1).await;
        assert_eq!((&pulled[0].task, pulled[0].deliveries), (&task("writer", "s"), deliveries));
    }
}

/// C18: an acknowledged task does not come again; an acknowledgement counts even if it is late.
pub async fn c18_an_acknowledged_task_never_comes_again<H: Harness>(harness: &H) {
    let broker = harness.client().await;
    for step in ["in-time", "late"] {
        broker.offer(task("writer", step), 1).await.expect("offer");
    }
    let mut pulled = pull(&broker, "writer", 2).await;
    pulled[0].settle(Settle::Ack).await.expect("ack");
    let mut again = pull(&broker, "writer", 1).await;
    assert_eq!((again[0].task.step.as_str(), again[0].deliveries), ("late", 2));
    pulled[1].settle(Settle::Ack).await.expect("late ack");
    again[0].settle(Settle::Ack).await.expect("ack");
    let wait = harness.bounds().ack_wait * 2;
    let more = broker.pull("writer", 1, wait).await.expect("pull");
    assert!(more.is_empty(), "{more:?}");
}

/// C19: a task that is extended more often than every `ack_wait` does not come again, and does once
/// nobody extends it.
pub async fn c19_an_extended_task_does_not_come_again<H: Harness>(harness: &H) {
    let (holder, other) = (harness.client().await, harness.client().await);
    holder.offer(task("writer", "s"), 1).await.expect("offer");
    let mut held = pull(&holder, "writer", 1).await;
    let third = harness.bounds().ack_wait / 3;
    for _ in 0..6 {
        held[0].settle(Settle::Extend).await.expect("extend");
        let early = other.pull("writer", 1, third).await.expect("pull");
        assert!(early.is_empty(), "{early:?}");
    }
    assert_eq!(pull(&other, "writer", 1).await[0].deliveries, 2);
}

/// C20: a task that is given back comes again once its delay is over, to others than its holder
/// too; without a delay, at once.
pub async fn c20_a_returned_task_comes_again_after_its_delay<H: Harness>(harness: &H) {
    let (holder, other) = (harness.client().await, harness.client().await);
    holder.offer(task("writer", "s"), 1).await.expect("offer");
    let mut held = pull(&holder, "writer", 1).await;
    held[0].settle(Settle::Return(Duration::ZERO)).await.expect("return");
    let mut held = pull(&other, "writer", 1).await;
    assert_eq!(held[0].deliveries, 2);

    let delay = Duration::from_millis(400);
    held[0].settle(Settle::Return(delay)).await.expect("return");
    let early = holder.pull("writer", 1, delay / 4).await.expect("pull");
    assert!(early.is_empty(), "{early:?} before its delay was over");
    assert_eq!(pull(&holder, "writer", 1).await[0].deliveries, 3);
}

/// C21: `depth` counts a task as waiting until it is pulled, and as held from then on until it is
/// acknowledged. One that was given back, or not settled in time, counts as either, but once.
pub async fn c21_depth_counts_each_task_once<H: Harness>(harness: &H) {
    let broker = harness.client().await;
    assert_eq!(broker.depth("unknown").await.expect("depth"), QueueDepth::default());
    for n in 0..5 {
        broker.offer(task("writer", &format!("s{n}")), 1).await.expect("offer");
    }
    assert_depth(&broker, 5, 0).await;
    let mut pulled = pull(&broker, "writer", 2).await;
    assert_depth(&broker, 3, 2).await;
    pulled[0].settle(Settle::Ack).await.expect("ack");
    assert_depth(&broker, 3, 1).await;
    pulled[1].settle(Settle::Return(SOON)).await.expect("return");
    let depth = broker.depth("writer").await.expect("depth");
    assert_eq!(depth.waiting + depth.held, 4, "{depth:?}");
}

/// C22: after `clear`, nothing of this capability that was offered before is pulled, held or not.
/// Other queues stay as they were. The queue goes on; a task is offered again with a higher
/// `sending`.
pub async fn c22_clear_drops_everything<H: Harness>(harness: &H) {
    let broker = harness.client().await;
    broker.clear("unknown").await.expect("clear");
    for n in 0..4 {
        broker.offer(task("writer", &format!("s{n}")), 1).await.expect("offer");
    }
    broker.offer(task("reader", "r"), 1).await.expect("offer");
    let held = pull(&broker, "writer", 1).await;
    broker.clear("writer").await.expect("clear");
    drop(held);
    assert_eq!(broker.depth("writer").await.expect("depth").waiting, 0);
    let wait = harness.bounds().ack_wait * 2;
    let left = broker.pull("writer", 9, wait).await.expect("pull");
    assert!(left.is_empty(), "{left:?}");
    broker.offer(task("writer", "s3"), 2).await.expect("offer");
    assert_eq!(pull(&broker, "writer", 1).await[0].task.step.as_str(), "s3");
    assert_eq!(pull(&broker, "reader", 1).await[0].task.run, run("tasks"));
}

/// Pulls until `count` tasks have come.
pub(super) async fn pull(broker: &impl Tasks, capability: &str, count: usize) -> Vec<Delivered> {
    let mut pulled = Vec::new();
    while pulled.len() < count {
        let more = broker.pull(capability, count - pulled.len(), SOON).await.expect("pull");
        assert!(!more.is_empty(), "{} of {count} tasks came within {SOON:?}", pulled.len());
        pulled.extend(more);
    }
    assert_eq!(pulled.len(), count, "more than `max`");
    pulled
}

async fn settle_all(pulled: &mut [Delivered], settle: Settle) {
    for delivered in pulled {
        delivered.settle(settle).await.expect("settle");
    }
}

async fn assert_empty(broker: &impl Tasks, capability: &str) {
    let left = broker.pull(capability, 9, Duration::from_millis(20)).await.expect("pull");
    assert!(left.is_empty(), "{left:?}");
}

async fn assert_depth(broker: &impl Tasks, waiting: u64, held: u64) {
    let depth = broker.depth("writer").await.expect("depth");
    assert_eq!(depth, QueueDepth { waiting, held });
}
