//! Agents that hold what they should, what they should not, and what nobody remembers.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::json;
use skep_broker::{Direct as _, Embedded, Presence as _};
use skep_protocol::{
    AgentId, AttemptId, Command, Control, Delivery, Event, Heartbeat, Held, Lane, Offer, StepPath,
    Timestamp,
};

use crate::world::*;

const GOES_ON: &str = "
name: goes-on
steps:
  one: { agent: work, timeout: 1s, on_failure: continue }
  two: { wait_for: { signal: never } }
";

/// Says that the agent `deaf` holds an attempt.
async fn beat(broker: &Embedded, seq: u64, held: &[AttemptId]) {
    let held = held.iter().cloned();
    let heartbeat = Heartbeat {
        v: 1,
        agent: AgentId::new("deaf").unwrap(),
        seq,
        lane: Lane::Direct,
        offers: vec![Offer { capability: "work".to_owned(), slots: 1 }],
        labels: std::collections::BTreeMap::new(),
        held: held
            .map(|attempt| Held {
                attempt,
                since: Timestamp::EPOCH,
                progress: None,
                finished: false,
            })
            .collect(),
        draining: false,
        leaving: false,
        software: String::new(),
        answers: Vec::new(),
        ration: None,
    };
    broker.beat(heartbeat).await.unwrap();
}

/// An agent that goes on with an attempt that is over is told to stop, until it does.
#[tokio::test]
async fn a_cancel_is_told_for_as_long_as_the_attempt_is_held() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    register(&broker, GOES_ON).await;
    let deaf = AgentId::new("deaf").unwrap();
    let mut tasks = broker.serve_tasks(&deaf).await.unwrap();
    let mut controls = broker.controls(&deaf).await.unwrap();
    beat(&broker, 1, &[]).await;
    let run = start(&broker, "k", "goes-on").await;
    let request = tasks.next().await.unwrap();
    let attempt = request.message.tasks[0].id();
    assert_eq!(attempt, AttemptId { run, step: StepPath::new("one"), attempt: 1 });
    request.responder.send(Delivery::default());
    let (mut cancels, mut seq) = (0, 1);
    let mut beats = tokio::time::interval(Duration::from_millis(100));
    while cancels < 3 {
        tokio::select! {
            control = controls.next() => match control.unwrap() {
                Control::Cancel { attempts } => {
                    assert_eq!(attempts, std::slice::from_ref(&attempt));
                    cancels += 1;
                }
                Control::Drain {} | Control::Ration(_) | Control::RollCall { .. } => {}
            },
            _ = beats.tick() => {
                seq += 1;
                beat(&broker, seq, std::slice::from_ref(&attempt)).await;
            }
        }
    }
}

/// An attempt that was sent before its run was paused is not sent again when nobody recorded that.
#[tokio::test]
async fn a_paused_run_sends_nothing_twice_after_a_crash() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let first = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let _slow = FakeAgent::start(&broker, "slow", &[("work", 1)], &ledger, move |_| {
        Act::Wait(Arc::clone(&wait))
    })
    .await;
    let run = start(&broker, "k", "chain").await;
    ledger.until(|ledger| ledger.performed().len() == 1).await;
    command(&broker, run, Command::Pause { run, by: "test".to_owned() }).await;
    first.kill().await;
    let complete = |_: &_| Act::Complete(json!(1));
    let _idle = FakeAgent::start(&broker, "idle", &[("work", 4)], &ledger, complete).await;
    let _second = coordinator(&broker).await;
    history_until(&broker, run, |event| matches!(event, Event::AttemptTaken { .. })).await;
    command(&broker, run, Command::Resume { run, by: "test".to_owned() }).await;
    gate.open();
    history_to_end(&broker, run).await;
    assert_nothing_ran_again(&ledger);
}

/// Nobody is sent anything any more, and still the death of a process is seen before its silence.
#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_over_a_long_step_is_missed_at_once() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let keeper = FakeAgent::start(&broker, "keeper", &[("work", 1)], &ledger, |_| Act::Keep).await;
    let run = start(&broker, "k", "chain").await;
    history_until(&broker, run, |event| matches!(event, Event::AttemptTaken { .. })).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    drop(keeper);
    let is_lost = |event: &Event| matches!(event, Event::AttemptLost { .. });
    let history = history_until(&broker, run, is_lost).await;
    let cause = history.iter().find_map(|entry| match &entry.record.event {
        Event::AttemptLost { cause, .. } => Some(cause.as_str()),
        _ => None,
    });
    assert_eq!(cause, Some("agent keeper is gone"));
}
