//! What several coordinators have of one circuit breaker.

use futures::StreamExt as _;
use skep_broker::{Broker, Bucket, Commands as _, Embedded, Registry as _, Revision};
use skep_engine::placement::{Ownership, Placement};
use skep_protocol::{
    BreakerPhase, BreakerView, ClusterBreakers, Command, CommandReply, CoordinatorId, Order,
    PartitionCount, PartitionId, Query, QueryReply, encode,
};

use crate::shared::{named, until_shared};
use crate::world::*;

const RUNS: u32 = 30;

async fn breakers<B: Broker>(broker: &B) -> ClusterBreakers {
    loop {
        match broker.query(Query::Breakers { everywhere: true }).await {
            Ok(QueryReply::ClusterBreakers(breakers)) => return breakers,
            Ok(other) => panic!("{other:?}"),
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

pub(crate) fn names(coordinators: &[CoordinatorId]) -> Vec<&str> {
    coordinators.iter().map(CoordinatorId::as_str).collect()
}

/// Opens the breaker, and waits until every coordinator holds work back.
async fn open(broker: &Embedded) {
    let (name, reason) = ("work".to_owned(), "a test".to_owned());
    let order = Command::Order(Order::TripBreaker { name, reason });
    assert_eq!(command(broker, run_id("any"), order).await, CommandReply::Done {});
    loop {
        let all = breakers(broker).await;
        let shares = all.breakers.iter().flat_map(|view| &view.shares);
        if shares.filter(|share| share.phase == BreakerPhase::Open).count() == 3 {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_asked_tells_what_all_of_them_have() {
    let broker = embedded();
    let (mut a, mut b, mut c) =
        (named(&broker, "a").await, named(&broker, "b").await, named(&broker, "c").await);
    until_shared(&mut [&mut a, &mut b, &mut c]).await;
    register(&broker, CHAIN).await;
    open(&broker).await;
    for number in 0..RUNS {
        start(&broker, &number.to_string(), "chain").await;
    }
    // Each of them answers some of the questions.
    for _ in 0..6 {
        let view = loop {
            let all = breakers(&broker).await;
            assert_eq!((names(&all.told_by), all.missing), (vec!["a", "b", "c"], Vec::new()));
            let [view] = all.breakers.try_into().expect("one breaker");
            if view.parked == RUNS {
                break view;
            }
            tokio::time::sleep(AGAIN).await;
        };
        assert_eq!((view.name.as_str(), view.phase), ("work", BreakerPhase::Open));
        let parked: Vec<u32> = view.shares.iter().map(|share| share.parked).collect();
        assert_eq!((parked.len(), parked.iter().sum()), (3, RUNS), "{parked:?}");
        assert!(parked.iter().all(|share| *share > 0), "{parked:?}");
    }
}

/// Writes the record of a coordinator that is said to serve a partition.
pub(crate) async fn said_to_serve(broker: &Embedded, name: &str, partition: PartitionId) {
    let id = CoordinatorId::new(name).unwrap();
    let mut placement = Placement::new(id, PartitionCount::DEFAULT);
    placement.owns(partition, Ownership::Taken);
    let record = encode(&placement.member("a process"));
    broker.put(Bucket::Coordinators, name, record, Revision::ABSENT).await.unwrap();
}

fn calls(name: &str, calls: u32) -> BreakerView {
    let view = serde_json::json!({
        "name": name, "capability": name, "phase": "closed", "calls": calls, "failed": 0,
        "slow": 0, "parked": 0, "trips": 0,
    });
    serde_json::from_value(view).unwrap()
}

/// One listens and answers nobody; one is older, and tells what it has without its name.
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
            if let Command::Ask(Query::Breakers { .. }) = request.message {
                let reply = QueryReply::Breakers(vec![calls("pay", 7)]);
                request.responder.send(CommandReply::Answer(Box::new(reply)));
            }
        }
    });
    let _a = named(&broker, "a").await;
    let all = breakers(&broker).await;
    assert_eq!((names(&all.told_by), names(&all.missing)), (vec!["a", "old"], vec!["hung"]));
    let [pay] = all.breakers.try_into().expect("one breaker");
    assert_eq!((pay.calls, pay.shares[0].coordinator.as_str()), (7, "old"));
    answering.abort();
}
