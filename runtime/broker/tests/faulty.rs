//! A broker that fails by script: it fails as told, once, and is a broker otherwise.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join;
use skep_broker::conformance::fixtures::{
    command, heartbeat, only_reports, partition, reports, soon, task,
};
use skep_broker::conformance::{Bounds, Harness, Restart};
use skep_broker::faulty::{Fault, Faulty, Operation, Script};
use skep_broker::memory::Settings;
use skep_broker::{
    AppendError, Bucket, Commands as _, Embedded, Journal as _, Presence as _, PutError,
    Registry as _, Reports as _, RequestError, Revision, Settle, Tasks as _,
};
use skep_protocol::Seq;

struct Unfailing(Embedded, Arc<Script>);

impl Harness for Unfailing {
    type Broker = Faulty<Embedded>;

    async fn client(&self) -> Faulty<Embedded> {
        Faulty::with_script(self.0.clone(), Arc::clone(&self.1))
    }

    async fn restart(&self) -> Restart {
        Restart::Impossible
    }

    fn bounds(&self) -> Bounds {
        let Settings { ack_wait, request_timeout, max_message, .. } = Settings::default();
        Bounds { ack_wait, request_timeout, max_message }
    }
}

fn harness() -> Unfailing {
    let embedded = Embedded::with_settings(Settings { max_asked: 100, ..Settings::default() });
    let (_, script) = Faulty::new(embedded.clone());
    Unfailing(embedded, script)
}

mod without_a_script {
    use super::*;

    skep_broker::conformance_tests!(tokio::test(start_paused = true), harness());
}

fn one() -> Bytes {
    Bytes::from_static(b"one")
}

async fn end(broker: &Faulty<Embedded>) -> Seq {
    broker.last(partition(0)).await.expect("last").map(|last| last.seq).unwrap_or_default()
}

#[tokio::test]
async fn appends_are_lost_done_refused_or_done_later() {
    let (broker, script) = Faulty::new(Embedded::new());
    let p = partition(0);
    let cases = [
        (Fault::Lose, "the outcome of the append is unknown: the script says so", 0),
        (Fault::Refuse, "the journal ends at 1, not at 0", 0),
        (Fault::DoLater, "the outcome of the append is unknown: the script says so", 0),
        (Fault::LoseAnswer, "the outcome of the append is unknown: the script says so", 1),
    ];
    script.pass(Operation::Last, 1);
    for (fault, error, stored) in cases {
        script.next(Operation::Append, fault);
        let failed = broker.append(p, Seq::ZERO, one()).await.unwrap_err();
        assert_eq!(failed.to_string(), error);
        assert_eq!(end(&broker).await, Seq::new(stored), "{fault:?}");
    }
    let retried = broker.append(p, Seq::ZERO, one()).await;
    assert!(matches!(retried, Err(AppendError::Conflict { last, .. }) if last == Seq::new(1)));
    // The ghost expects an end that is past: it is refused like any other.
    script.release().await;
    assert_eq!(end(&broker).await, Seq::new(1));
    assert_eq!(script.count(Operation::Append), 5);
}

#[tokio::test]
async fn a_ghost_is_stored_when_it_is_released() {
    let (broker, script) = Faulty::new(Embedded::new());
    script.pass(Operation::Append, 1);
    script.next(Operation::Append, Fault::DoLater);
    broker.append(partition(0), Seq::ZERO, one()).await.unwrap();
    assert!(broker.append(partition(0), Seq::new(1), one()).await.is_err());
    script.release().await;
    assert_eq!(end(&broker).await, Seq::new(2));
}

#[tokio::test]
async fn what_is_held_goes_on_when_released() {
    for (fault, seen) in [(Fault::Hold, 0), (Fault::HoldAnswer, 1)] {
        let (broker, script) = Faulty::new(Embedded::new());
        script.next(Operation::Append, fault);
        let appending = broker.append(partition(0), Seq::ZERO, one());
        let releasing = async {
            script.held(1).await;
            assert_eq!(end(&broker).await, Seq::new(seen), "{fault:?}");
            script.release().await;
        };
        let (appended, ()) = soon("the append", join(appending, releasing)).await;
        assert_eq!(appended.unwrap(), Seq::new(1));
        script.begun(Operation::Append, 1).await;
    }
}

#[tokio::test]
async fn cut_off_nothing_is_reached_until_reconnected() {
    let (broker, script) = Faulty::new(Embedded::new());
    script.cut_off();
    assert!(!broker.is_connected());
    assert!(broker.beat(heartbeat("a", 1)).await.is_err());
    assert!(broker.last(partition(0)).await.is_err());
    let asked = broker.command(partition(0), command("c")).await;
    assert!(matches!(asked, Err(RequestError::TimedOut { .. })), "{asked:?}");
    script.reconnect();
    assert!(broker.is_connected());
    assert_eq!(end(&broker).await, Seq::ZERO);
}

#[tokio::test]
async fn settling_confirming_and_writing_facts_fail_too() {
    let (broker, script) = Faulty::new(Embedded::new());
    for operation in [Operation::Settle, Operation::Confirm] {
        script.next(operation, Fault::Lose);
    }
    broker.offer(task("writer", "s"), 1).await.unwrap();
    let mut pulled = broker.pull("writer", 1, std::time::Duration::ZERO).await.unwrap();
    assert!(pulled[0].settle(Settle::Ack).await.is_err());
    assert_eq!(broker.depth("writer").await.unwrap().held, 1);
    pulled[0].settle(Settle::Ack).await.unwrap();
    assert_eq!(broker.depth("writer").await.unwrap().held, 0);

    broker.report_durably(partition(0), reports("a", "s")).await.unwrap();
    for confirmed in [false, true] {
        let mut reader = only_reports(broker.durable_reports(partition(0)).await.unwrap());
        let report = futures::StreamExt::next(&mut reader).await.unwrap();
        assert_eq!(report.confirm().await.is_ok(), confirmed);
    }
    script.next(Operation::Put, Fault::Refuse);
    let put = broker.put(Bucket::Cluster, "k", one(), Revision::ABSENT).await;
    assert!(matches!(put, Err(PutError::Conflict { .. })), "{put:?}");
}
