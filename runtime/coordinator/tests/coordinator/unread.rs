//! Agents that cannot read what they are sent.

use std::sync::Arc;

use expect_test::expect;
use futures::StreamExt as _;
use serde_json::json;
use skep_broker::conformance::fixtures::{agent, heartbeat};
use skep_broker::{Direct as _, Embedded, Presence as _, Queries as _};
use skep_protocol::{
    Answer as _, AttemptId, Delivery, Event, Heartbeat, Offer, Query, QueryReply, StepPath, Task,
};

use crate::world::*;

const THREE: &str = "
name: three
steps:
  one: { agent: work }
  two: { agent: work }
  three: { agent: work }
";

/// Waits until a coordinator knows so many agents.
async fn until_known(broker: &Embedded, count: usize) {
    while !matches!(
        broker.query(Query::Agents { everywhere: false }).await,
        Ok(QueryReply::Agents(agents)) if agents.len() == count
    ) {
        tokio::task::yield_now().await;
    }
}

/// A task that an agent cannot read goes to another agent, and keeps no other task away from it.
#[tokio::test]
async fn what_an_agent_cannot_read_another_one_gets() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, THREE).await;
    let mut tasks = broker.serve_tasks(&agent("old")).await.unwrap();
    let offers = vec![Offer { capability: "work".to_owned(), slots: 4 }];
    broker.beat(Heartbeat { offers, ..heartbeat("old", 1) }).await.unwrap();
    let run = start(&broker, "k", "three").await;
    let two = AttemptId { run, step: StepPath::new("two"), attempt: 1 };
    let complete = |_: &Task| Act::Complete(json!(1));
    let (mut taken, mut other) = (Vec::new(), None);
    while taken.len() < 2 {
        let request = tasks.next().await.unwrap();
        if other.is_none() {
            other = Some(FakeAgent::start(&broker, "b", &[("work", 4)], &ledger, complete).await);
            until_known(&broker, 2).await;
        }
        let sent: Vec<_> = request.message.tasks.iter().map(Task::id).collect();
        if sent.contains(&two) {
            request.responder.send(Delivery::unreadable("too new".to_owned()));
        } else {
            request.responder.send(Delivery::default());
            taken.extend(sent);
        }
    }
    ledger.until(|ledger| !ledger.performed().is_empty()).await;
    assert_eq!(ledger.performed(), [two]);
}

/// What nobody can read fails with the cause, instead of being sent for ever.
#[tokio::test]
async fn what_nobody_can_read_fails() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    register(&broker, "name: one\nsteps:\n  only: { agent: work }\n").await;
    let mut tasks = broker.serve_tasks(&agent("old")).await.unwrap();
    let offers = vec![Offer { capability: "work".to_owned(), slots: 4 }];
    broker.beat(Heartbeat { offers, ..heartbeat("old", 1) }).await.unwrap();
    let run = start(&broker, "k", "one").await;
    tasks.next().await.unwrap().responder.send(Delivery::unreadable("too new".to_owned()));
    let alive = async {
        for seq in 2.. {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            let offers = vec![Offer { capability: "work".to_owned(), slots: 4 }];
            broker.beat(Heartbeat { offers, ..heartbeat("old", seq) }).await.unwrap();
        }
        Vec::new()
    };
    let history = tokio::select! {
        biased;
        history = history_to_end(&broker, run) => history,
        none = alive => none,
    };
    let failure = history.iter().find_map(|entry| match &entry.record.event {
        Event::AttemptFailed(failed) => Some(failed.failure.to_string()),
        _ => None,
    });
    expect!["task_unreadable: agent old cannot read the task: too new"]
        .assert_eq(&failure.unwrap());
}
