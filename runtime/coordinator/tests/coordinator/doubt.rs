//! Owners that cannot know whether they still are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use skep_broker::AppendError;

use crate::flaky::{Call, Flaky};
use crate::world::*;

/// Longer than an owner trusts what it knew, shorter than agents may be silent.
const GAP: Duration = Duration::from_secs(6);

#[tokio::test(start_paused = true)]
async fn after_a_gap_nothing_is_sent_before_the_journal_was_looked_at() {
    let (inner, ledger) = (embedded(), Arc::new(Ledger::default()));
    let blind = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&blind);
    let broker = Flaky::hooked(inner.clone(), move |call| {
        let fails = matches!(call, Call::Last(_)) && fails.load(Ordering::Relaxed);
        fails.then(|| AppendError::Unknown { reason: "on purpose".to_owned() })
    });
    let _coordinator = coordinator(&broker).await;
    register(&inner, CHAIN).await;
    let gate = Arc::new(Gate::default());
    let closed = Arc::clone(&gate);
    let wait = move |_: &_| Act::Wait(Arc::clone(&closed));
    let _busy = FakeAgent::start(&inner, "busy", &[("work", 1)], &ledger, wait).await;
    let runs = [start(&inner, "a", "chain").await, start(&inner, "b", "chain").await];
    ledger.until(|ledger| ledger.performed().len() == 1).await;

    blind.store(true, Ordering::Relaxed);
    tokio::time::advance(GAP).await;
    let complete = |_: &_| Act::Complete(json!(1));
    let _free = FakeAgent::start(&inner, "free", &[("work", 1)], &ledger, complete).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(ledger.performed().len(), 1, "somebody else may own the partition");

    blind.store(false, Ordering::Relaxed);
    gate.open();
    for run in runs {
        history_to_end(&inner, run).await;
    }
    assert_nothing_ran_again(&ledger);
}
