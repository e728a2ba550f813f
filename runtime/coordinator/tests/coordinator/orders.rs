//! What a person orders about breakers and agents, and what is answered to what is not there.

use std::sync::Arc;

use futures::StreamExt as _;
use skep_broker::{Broker, Direct as _, Presence as _, Queries as _};
use skep_protocol::{
    AgentId, BreakerPhase, Command, CommandReply, Control, Order, PartitionId, Query, QueryReply,
    Ration, Rejection,
};

use crate::world::*;

const OWN: &str = "
name: own
steps:
  one: { agent: pay, breaker: { min_calls: 5 } }
  two: { agent: pay, needs: [one] }
  three: { wait: 1s, needs: [two] }
";

async fn ordered<B: Broker>(broker: &B, order: Order) -> CommandReply {
    broker.command(PartitionId::new(0), Command::Order(order)).await.unwrap()
}

fn trip(name: &str) -> Order {
    Order::TripBreaker { name: name.to_owned(), reason: "a test".to_owned() }
}

/// Whoever takes the order need not have seen a call of the step: the definition says what it
/// calls.
#[tokio::test]
async fn the_breaker_of_a_step_can_be_opened_before_anybody_called_it() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    register(&broker, OWN).await;
    assert_eq!(ordered(&broker, trip("own/one")).await, CommandReply::Done {});
    let reply = broker.query(Query::Breakers { everywhere: false }).await;
    let Ok(QueryReply::Breakers(views)) = reply else { panic!("{reply:?}") };
    let shown: Vec<_> = views.iter().map(|view| (view.name.as_str(), view.phase)).collect();
    assert_eq!(shown, [("own/one", BreakerPhase::Open)]);
    let ledger = Arc::new(Ledger::default());
    let pay = |_: &_| Act::Complete(serde_json::json!(1));
    let _agent = FakeAgent::start(&broker, "a", &[("pay", 1)], &ledger, pay).await;
    let run = start(&broker, "k", "own").await;
    waits_for_breaker(&broker, run).await;
    assert!(ledger.performed().is_empty());
    let reset = Order::ResetBreaker { name: "own/one".to_owned() };
    assert_eq!(ordered(&broker, reset).await, CommandReply::Done {});
    history_to_end(&broker, run).await;
}

async fn waits_for_breaker<B: Broker>(broker: &B, run: skep_protocol::RunId) {
    loop {
        let waiting = detail(broker, run).await.map(|detail| detail.waiting).unwrap_or_default();
        if waiting.iter().any(|view| view.reason.contains("own/one")) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    register(&broker, OWN).await;
    let rejected = async |order| match ordered(&broker, order).await {
        CommandReply::Rejected(rejection) => rejection,
        other => panic!("{other:?}"),
    };
    let Rejection::CannotObey { cause, help } = rejected(trip("own/two")).await else { panic!() };
    assert_eq!(cause, "own/two has no circuit breaker of its own");
    assert_eq!(help, "open that of its capability: skep breakers trip pay");
    let nobody = AgentId::new("nobody").unwrap();
    for (order, told) in [
        (trip("own/three"), "there is no step `three` with an agent in workflow `own`"),
        (trip("own/four"), "there is no step `four` with an agent in workflow `own`"),
        (trip("other/one"), "no workflow `other` is registered"),
        (
            Order::ResetBreaker { name: "never".to_owned() },
            "there is no circuit breaker `never` that is open",
        ),
        (Order::ReleaseAgent { agent: nobody }, "there is no agent `nobody` in quarantine"),
    ] {
        assert_eq!(rejected(order).await.to_string(), told);
    }
}

/// Whoever pulls from the queue and heeds no word about it cannot be kept from it, and nobody says
/// that it is.
#[tokio::test]
async fn an_agent_that_heeds_no_ration_is_not_said_to_be_in_quarantine() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    let heartbeat = r#"{"v":1,"agent":"q","seq":1,"lane":"queue","offers":[]}"#;
    broker.beat(serde_json::from_str(heartbeat).unwrap()).await.unwrap();
    loop {
        match broker.query(Query::Agents { everywhere: false }).await {
            Ok(QueryReply::Agents(agents)) if !agents.is_empty() => break,
            _ => tokio::task::yield_now().await,
        }
    }
    let agent = AgentId::new("q").unwrap();
    let reply = ordered(&broker, Order::QuarantineAgent { agent, reason: "why".to_owned() }).await;
    let CommandReply::Rejected(why) = reply else { panic!("{reply:?}") };
    assert!(why.to_string().contains("agent q pulls from the queue"), "{why}");
}

/// What a person ordered reaches an agent that pulls, and so does its end.
#[tokio::test]
async fn an_agent_that_pulls_is_told_that_it_is_out_and_that_it_is_let_in() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    let agent = AgentId::new("q").unwrap();
    let mut controls = broker.controls(&agent).await.unwrap();
    let mut told = async || loop {
        if let Some(Control::Ration(ration)) = controls.next().await {
            return ration;
        }
    };
    let says = async |seq: u32, ration: &str| {
        let heartbeat = format!(
            r#"{{"v":1,"agent":"q","seq":{seq},"lane":"queue","offers":[],"ration":{ration}}}"#
        );
        broker.beat(serde_json::from_str(&heartbeat).unwrap()).await.unwrap();
        loop {
            let Ok(QueryReply::Agents(agents)) =
                broker.query(Query::Agents { everywhere: false }).await
            else {
                continue;
            };
            let said: Ration = serde_json::from_str(ration).unwrap();
            if agents.iter().any(|view| view.ration == Some(said)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    says(1, r#""full""#).await;
    let reason = "why".to_owned();
    let out = Order::QuarantineAgent { agent: agent.clone(), reason };
    assert_eq!(ordered(&broker, out).await, CommandReply::Done {});
    assert_eq!(told().await, Ration::AtMost(0));
    says(2, r#"{"at_most":0}"#).await;
    assert_eq!(ordered(&broker, Order::ReleaseAgent { agent }).await, CommandReply::Done {});
    assert_eq!(told().await, Ration::Full);
}
