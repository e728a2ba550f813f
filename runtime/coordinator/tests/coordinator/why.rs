//! Of which steps it is told what they wait for.

use skep_broker::{Embedded, Queries as _};
use skep_protocol::{
    Query, QueryReply, RunDetail, RunId, StepPath, StepStatus, WaitingCause, WaitingView, decode,
    encode,
};

use crate::world::*;

async fn ask(broker: &Embedded, run: RunId, steps: &[&str]) -> RunDetail {
    let steps = steps.iter().map(|step| StepPath::new(step)).collect();
    match standing_still(broker.query(Query::Run { run, steps })).await {
        Ok(QueryReply::Run(detail)) => *detail,
        other => panic!("{other:?}"),
    }
}

fn is_explained(view: &WaitingView) -> bool {
    matches!(view.cause, Some(WaitingCause::NoAgent { .. }))
}

#[tokio::test]
async fn a_step_that_is_asked_for_is_explained_however_many_wait_before_it() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    let crowd = "
name: crowd
steps:
  each: { agent: nobody, for_each: '${{ range(2600) }}' }
  after: { agent: nobody, needs: [each] }
";
    register(&broker, crowd).await;
    let run = start(&broker, "k", "crowd").await;
    let last = StepPath::new("each[2599]");
    let scheduled = |found: &RunDetail| {
        found.steps.iter().any(|view| view.step == last && view.status == StepStatus::Scheduled)
    };
    while !scheduled(&ask(&broker, run, &[]).await) {
        tokio::time::sleep(AGAIN).await;
    }
    // The fleet is told of an attempt after the journal was.
    let told = async || {
        for _ in 0..1_000 {
            let found = ask(&broker, run, &["each[2599]"]).await;
            let found = found.waiting.into_iter().find(|view| view.step == last);
            if found.as_ref().is_some_and(is_explained) {
                return true;
            }
            tokio::time::sleep(AGAIN).await;
        }
        false
    };
    assert!(told().await, "the last item is not explained");
    let found = ask(&broker, run, &["after"]).await;
    let (each, others): (Vec<_>, Vec<_>) =
        found.waiting.iter().partition(|view| view.step.as_item().is_some());
    assert_eq!(others.len(), 1, "{others:?}");
    let vague: Vec<_> = each.iter().filter(|view| !is_explained(view)).collect();
    assert!(vague.is_empty(), "{} of {}, such as {:?}", vague.len(), each.len(), vague[0]);
}

#[tokio::test]
async fn a_step_to_come_that_is_asked_for_is_pending_and_none_that_there_cannot_be() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    let turns = "
name: turns
steps:
  g:
    for_each: '${{ range(3) }}'
    max_parallel: 1
    steps:
      p: { agent: nobody }
      q: { agent: nobody, needs: [p] }
  later:
    needs: [g]
    for_each: '${{ range(2) }}'
    steps:
      r: { agent: nobody }
  plain: { agent: nobody, needs: [g] }
";
    register(&broker, turns).await;
    let run = start(&broker, "k", "turns").await;
    while !ask(&broker, run, &[]).await.steps.iter().any(|view| view.step.as_str() == "g[0]/p") {
        tokio::time::sleep(AGAIN).await;
    }
    let there = ["g[2]/q", "g[0]/q", "later/r", "later[7]", "later[7]/r"];
    let not_there =
        ["g[3]/q", "g[2]/r", "g/q", "g[0]/x", "plain[0]", "plain/q", "later/q", "q", "g[x]/q", ""];
    let all: Vec<&str> = there.into_iter().chain(not_there).collect();
    let found = ask(&broker, run, &all).await;
    let known = |step: &&str| found.steps.iter().any(|view| view.step.as_str() == *step);
    assert_eq!(all.iter().copied().filter(known).collect::<Vec<_>>(), there);
    let to_come = found.steps.iter().find(|view| view.step.as_str() == "g[2]/q").unwrap();
    assert_eq!(to_come.status, StepStatus::Pending);
}

#[test]
fn a_question_for_no_step_is_as_older_ones_write_and_read_it() {
    let run = run_id("k");
    let older = encode(&serde_json::json!({ "run": { "run": run } }));
    assert_eq!(encode(&Query::run(run)), older);
    assert_eq!(decode::<Query>(&older).unwrap(), Query::run(run));
    let asked = Query::Run { run, steps: vec![StepPath::new("a")] };
    assert_eq!(decode::<Query>(&encode(&asked)).unwrap(), asked);
}
