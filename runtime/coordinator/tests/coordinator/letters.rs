//! What was given up on.

use std::sync::Arc;

use serde_json::json;
use skep_broker::{Embedded, Queries as _};
use skep_protocol::{
    Command, CommandReply, DeadLetter, Event, Failure, FailureKind, LetterFilter, Query,
    QueryReply, Rejection, RunId, StepPath, Task,
};

use crate::world::*;

async fn letters(broker: &Embedded, filter: LetterFilter) -> Vec<DeadLetter> {
    match broker.query(Query::Letters(filter)).await {
        Ok(QueryReply::Letters(letters)) => letters,
        other => panic!("{other:?}"),
    }
}

async fn dropped(broker: &Embedded, run: RunId, steps: &[&str]) -> CommandReply {
    let steps = steps.iter().map(|step| StepPath::new(step)).collect();
    command(broker, run, Command::Drop { run, steps, by: "ada".to_owned() }).await
}

/// Fails every step of this name, items included.
fn act(failing: &'static str) -> impl Fn(&Task) -> Act + Send + Sync + 'static {
    move |task| match task.step.as_str().contains(failing) {
        true => Act::Fail(Failure::new(FailureKind::Agent, "broken", "on purpose").fatal()),
        false => Act::Complete(json!(1)),
    }
}

const NESTED: &str = "
name: nested
on_failure: continue
steps:
  fan: { agent: work, for_each: '${{ range(3) }}' }
  group: { steps: { bad: { agent: work } } }
  borne: { agent: work, for_each: '${{ range(2) }}', tolerate: 2 }
  call: { workflow: inner }
";

#[tokio::test]
async fn a_dead_letter_is_what_failed_by_itself() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, "name: inner\nsteps:\n  bad: { agent: work }\n").await;
    register(&broker, NESTED).await;
    let _agent = FakeAgent::start(&broker, "a", &[("work", 8)], &ledger, act("")).await;
    let run = start(&broker, "k", "nested").await;
    history_to_end(&broker, run).await;
    let found = letters(&broker, LetterFilter::default()).await;
    let mut steps: Vec<_> = found.iter().map(|letter| letter.step.as_str()).collect();
    steps.sort_unstable();
    // Items that are borne failed, too, and their run is over and failed.
    let wanted = ["borne[0]", "borne[1]", "call", "fan[0]", "fan[1]", "fan[2]", "group/bad"];
    assert_eq!(steps, wanted);
    let call = found.iter().find(|letter| letter.step.as_str() == "call").unwrap();
    assert!(call.child.is_some() && call.capability.is_none());
    let other = found.iter().find(|letter| letter.step.as_str() == "group/bad").unwrap();
    assert_eq!((other.capability.as_deref(), other.attempts), (Some("work"), 1));
    let page = |after: Option<&DeadLetter>| LetterFilter {
        limit: 2,
        after: after.map(|letter| (letter.run, letter.step.clone())),
        ..LetterFilter::default()
    };
    let mut paged: Vec<DeadLetter> = Vec::new();
    loop {
        let next = letters(&broker, page(paged.last())).await;
        if next.is_empty() {
            break;
        }
        paged.extend(next);
    }
    assert_eq!(paged, found);
}

#[tokio::test]
async fn what_is_dropped_is_dropped_once_and_for_good() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let first = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let run = start(&broker, "k", "chain").await;
    let none = |step: &str| {
        let step = StepPath::new(step);
        CommandReply::Rejected(Rejection::NoDeadLetter { run, step })
    };
    assert_eq!(dropped(&broker, run, &["two"]).await, none("two"), "it goes on");
    let _agent = FakeAgent::start(&broker, "a", &[("work", 8)], &ledger, act("two")).await;
    history_to_end(&broker, run).await;
    assert_eq!(dropped(&broker, run, &["two", "one"]).await, none("one"));
    assert_eq!(letters(&broker, LetterFilter::default()).await.len(), 1);
    for _ in 0..2 {
        assert_eq!(dropped(&broker, run, &["two"]).await, CommandReply::Done {});
    }
    let is_dropped = |event: &Event| matches!(event, Event::DeadLetterDropped { .. });
    let history = history_until(&broker, run, is_dropped).await;
    let times = history.iter().filter(|entry| is_dropped(&entry.record.event)).count();
    assert_eq!(times, 1);
    first.shutdown().await;
    let _second = coordinator(&broker).await;
    history_until(&broker, run, is_dropped).await;
    assert!(letters(&broker, LetterFilter::default()).await.is_empty());
    let all = letters(&broker, LetterFilter { all: true, ..LetterFilter::default() }).await;
    assert_eq!(all[0].dropped.as_ref().map(|dropped| dropped.by.as_str()), Some("ada"));
}
