//! Agents that cannot read what they are sent.

use std::sync::Arc;

use futures::StreamExt as _;
use serde_json::json;
use skep_broker::conformance::fixtures::{agent, heartbeat};
use skep_broker::{Direct as _, Presence as _};
use skep_protocol::{Answer as _, AttemptId, Delivery, Heartbeat, Offer, StepPath, Task};

use crate::world::*;

const THREE: &str = "
name: three
steps:
  one: { agent: work }
  two: { agent: work }
  three: { agent: work }
";

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
    let mut taken = Vec::new();
    while taken.len() < 2 {
        let request = tasks.next().await.unwrap();
        let sent: Vec<_> = request.message.tasks.iter().map(Task::id).collect();
        if sent.contains(&two) {
            request.responder.send(Delivery::unreadable("too new".to_owned()));
        } else {
            request.responder.send(Delivery::default());
            taken.extend(sent);
        }
    }
    let complete = |_: &Task| Act::Complete(json!(1));
    let _agent = FakeAgent::start(&broker, "b", &[("work", 4)], &ledger, complete).await;
    ledger.until(|ledger| !ledger.performed().is_empty()).await;
    assert_eq!(ledger.performed(), [two]);
}
