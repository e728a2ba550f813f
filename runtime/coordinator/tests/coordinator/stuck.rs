//! Journals that take nothing in, change hands all the time, or have lost their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use skep_broker::{
    AppendError, Bucket, Commands as _, Embedded, Queries as _, Registry as _, Revision,
};
use skep_coordinator::{Config, Coordinator};
use skep_protocol::{
    Command, CommandReply, PartitionCount, PartitionId, Query, QueryReply, Rejection, RunFilter,
    RunId,
};

use crate::flaky::{Call, Flaky};
use crate::world::*;

const MINUTE: Duration = Duration::from_secs(60);

fn unknown() -> AppendError {
    AppendError::Unknown { reason: "on purpose".to_owned() }
}

/// Returns a run of another partition.
fn elsewhere(run: RunId) -> String {
    let partition = PartitionCount::DEFAULT.of(run);
    let mut keys = (0..).map(|n| format!("o{n}"));
    keys.find(|key| PartitionCount::DEFAULT.of(run_id(key)) != partition).unwrap()
}

/// Asks the owner of a run until it says that the partition has stopped, and why.
async fn cause_of_stop<B: skep_broker::Broker>(broker: &B, run: RunId) -> String {
    let partition = PartitionCount::DEFAULT.of(run);
    let ask = async {
        loop {
            let resume = Command::Resume { run, by: "test".to_owned() };
            match broker.command(partition, resume).await {
                Ok(CommandReply::Rejected(Rejection::PartitionStopped { cause })) => return cause,
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(MINUTE, ask).await.expect("the partition does not say that it stopped")
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_takes_nothing_in_keeps_no_agent() {
    let (inner, ledger) = (embedded(), Arc::new(Ledger::default()));
    let (run, other) = (run_id("k"), elsewhere(run_id("k")));
    let partition = PartitionCount::DEFAULT.of(run);
    let full = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&full);
    let broker = Flaky::hooked(inner.clone(), move |call| {
        let here = matches!(call, Call::Append(at) if at == partition);
        (here && fails.load(Ordering::Relaxed)).then(unknown)
    });
    let _coordinator = coordinator(&broker).await;
    register(&inner, CHAIN).await;
    let gate = Arc::new(Gate::default());
    let closed = Arc::clone(&gate);
    let act = move |task: &skep_protocol::Task| match task.run == run {
        true => Act::Wait(Arc::clone(&closed)),
        false => Act::Complete(json!(1)),
    };
    let _agent = FakeAgent::start(&inner, "a", &[("work", 1)], &ledger, act).await;
    start(&inner, "k", "chain").await;
    ledger.until(|ledger| ledger.performed().len() == 1).await;

    full.store(true, Ordering::Relaxed);
    gate.open();
    let other = start(&inner, &other, "chain").await;
    // By what the agent did: paused time runs ahead of whoever reads a history.
    let of_other = |ledger: &Ledger| {
        ledger.verdicts().iter().filter(|(attempt, _)| attempt.run == other).count()
    };
    let reported = ledger.until(|ledger| of_other(ledger) == 3);
    tokio::time::timeout(MINUTE, reported).await.expect("the agent keeps its slot");
    history_to_end(&inner, other).await;
    assert!(cause_of_stop(&inner, run).await.contains("stuck: "));

    full.store(false, Ordering::Relaxed);
    history_to_end(&inner, run).await;
    assert_nothing_ran_again(&ledger);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_vanishes_stops_its_partition() {
    let inner = embedded();
    let run = run_id("k");
    let partition = PartitionCount::DEFAULT.of(run);
    let gone = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&gone);
    let broker = Flaky::hooked(inner.clone(), move |call| {
        let here = matches!(call, Call::Append(at) | Call::Last(at) if at == partition);
        (here && fails.load(Ordering::Relaxed)).then(unknown)
    });
    let _coordinator = coordinator(&broker).await;
    gone.store(true, Ordering::Relaxed);
    assert!(cause_of_stop(&inner, run).await.contains("on purpose"));
    gone.store(false, Ordering::Relaxed);
    let again = async {
        let resume = || Command::Resume { run, by: "test".to_owned() };
        let well = CommandReply::Rejected(Rejection::RunNotFound { run });
        while inner.command(partition, resume()).await.ok().as_ref() != Some(&well) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(MINUTE, again).await.expect("it is well again");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_lost_at_once_is_taken_back_ever_more_slowly() {
    let partition = PartitionId::new(3);
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    let broker = Flaky::hooked(embedded(), move |call| {
        let here = matches!(call, Call::Append(at) if at == partition);
        // A loop without a pause would never let the time go on.
        assert!(!here || counted.fetch_add(1, Ordering::Relaxed) < 200, "no pause");
        let (expected, last) = (skep_protocol::Seq::ZERO, skep_protocol::Seq::new(7));
        here.then_some(AppendError::Conflict { expected, last })
    });
    let _coordinator = Coordinator::start(broker, Config::embedded()).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    let tries = tries.load(Ordering::Relaxed);
    assert!((5..30).contains(&tries), "{tries}");
}

/// Returns a broker without any journal that has the settings of another one.
async fn emptied(broker: &Embedded) -> Embedded {
    let empty = embedded();
    for key in broker.keys(Bucket::Cluster, "").await.unwrap() {
        let entry = broker.get(Bucket::Cluster, &key).await.unwrap().unwrap();
        empty.put(Bucket::Cluster, &key, entry.value, Revision::ABSENT).await.unwrap();
    }
    empty
}

#[tokio::test]
async fn a_journal_that_ends_before_the_read_model_stops_its_partition() {
    let folder = tempfile::tempdir().unwrap();
    let config = || Config::daemon(folder.path().join("read-model.db"));
    let broker = embedded();
    let first = coordinator_with(&broker, config()).await;
    register(&broker, CHAIN).await;
    let run = start(&broker, "k", "chain").await;
    // All is stored before a list is told of.
    let listed = broker.query(Query::Runs(RunFilter::default())).await.unwrap();
    assert!(matches!(listed, QueryReply::Runs(runs) if runs[0].run == run));
    first.kill().await;

    let empty = emptied(&broker).await;
    let second = Coordinator::start(empty.clone(), config()).await.unwrap();
    let cause = cause_of_stop(&empty, run).await;
    assert!(cause.contains("read model") && cause.contains("were lost"), "{cause}");
    second.kill().await;
    // A read model of another cluster proves nothing.
    let other = embedded();
    let _third = coordinator_with(&other, config()).await;
    assert!(detail(&other, run).await.is_none());
}
