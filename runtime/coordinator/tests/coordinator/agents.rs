//! What several coordinators have seen of one agent.

use std::sync::Arc;

use futures::StreamExt as _;
use serde_json::json;
use skep_broker::{Broker, Commands as _};
use skep_engine::placement::RENEWED_EVERY;
use skep_protocol::{
    AgentView, ClusterAgents, Command, CommandReply, PartitionId, Query, QueryReply,
};

use crate::breakers::{names, said_to_serve};
use crate::shared::{named, until_shared};
use crate::world::*;

const RUNS: u32 = 30;
/// A chain has three steps.
const CALLS: u32 = 3 * RUNS;

async fn agents<B: Broker>(broker: &B) -> ClusterAgents {
    loop {
        match broker.query(Query::Agents { everywhere: true }).await {
            Ok(QueryReply::ClusterAgents(agents)) => return agents,
            Ok(other) => panic!("{other:?}"),
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_asked_tells_how_an_agent_does_in_the_runs_of_all_of_them() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let (mut a, mut b, mut c) =
        (named(&broker, "a").await, named(&broker, "b").await, named(&broker, "c").await);
    until_shared(&mut [&mut a, &mut b, &mut c]).await;
    register(&broker, CHAIN).await;
    let complete = |_: &_| Act::Complete(json!(1));
    let _agent = FakeAgent::start(&broker, "w", &[("work", 8)], &ledger, complete).await;
    for number in 0..RUNS {
        start(&broker, &number.to_string(), "chain").await;
    }
    for number in 0..RUNS {
        history_to_end(&broker, run_id(&number.to_string())).await;
    }
    // What one of them has taken, the others read in their next round.
    tokio::time::sleep(2 * RENEWED_EVERY).await;
    // Each of them answers some of the questions.
    for _ in 0..6 {
        let all = agents(&broker).await;
        assert_eq!((names(&all.told_by), all.missing), (vec!["a", "b", "c"], Vec::new()));
        let [view] = all.agents.try_into().expect("one agent");
        let health = view.health.expect("it did something");
        assert_eq!((view.agent.as_str(), health.calls, health.failed), ("w", CALLS, 0));
        let calls: Vec<u32> = health.shares.iter().map(|share| share.calls).collect();
        assert_eq!((calls.len(), calls.iter().sum()), (3, CALLS), "{calls:?}");
        assert!(calls.iter().all(|share| *share > 0), "{calls:?}");
    }
}

fn seen(name: &str, calls: u32) -> AgentView {
    let health = json!({ "calls": calls, "failed": calls, "standing": "well" });
    let view = json!({
        "agent": name, "lane": "direct", "offers": [], "held": 0, "draining": false, "seen": 1,
        "software": "x", "health": health,
    });
    serde_json::from_value(view).unwrap()
}

/// One listens and answers nobody; one is older, and tells what it has seen without its name.
#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_named_and_an_older_one_is_understood() {
    let broker = embedded();
    let [of_hung, of_old] = [PartitionId::new(0), PartitionId::new(1)];
    said_to_serve(&broker, "hung", of_hung).await;
    said_to_serve(&broker, "old", of_old).await;
    let _hung = broker.serve_commands(of_hung).await.unwrap();
    let mut old = broker.serve_commands(of_old).await.unwrap();
    let answering = tokio::spawn(async move {
        while let Some(request) = old.next().await {
            if let Command::Ask(Query::Agents { .. }) = request.message {
                let reply = QueryReply::Agents(vec![seen("w", 7)]);
                request.responder.send(CommandReply::Answer(Box::new(reply)));
            }
        }
    });
    let _a = named(&broker, "a").await;
    let all = agents(&broker).await;
    assert_eq!((names(&all.told_by), names(&all.missing)), (vec!["a", "old"], vec!["hung"]));
    let [view] = all.agents.try_into().expect("one agent");
    let health = view.health.expect("somebody has seen it");
    assert_eq!((health.failed, health.shares[0].coordinator.as_str()), (7, "old"));
    answering.abort();
}
