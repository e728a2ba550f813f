//! What is cut off before anybody can have begun it left nothing.

use std::sync::Arc;
use std::time::Duration;

use expect_test::expect;
use futures::StreamExt as _;
use serde_json::json;
use skep_broker::conformance::fixtures::{agent, heartbeat};
use skep_broker::{Direct as _, Embedded, Presence as _, Reports as _, Tasks as _};
use skep_coordinator::Handle;
use skep_protocol::{
    Answer as _, Command, CommandReply, Delivery, Event, Heartbeat, Held, HistoryEntry, Lane,
    Offer, PartitionCount, Report, ReportBatch, ReportBody, RunId, Task, Timestamp, Verdict,
};

use crate::world::*;

const TRIP: &str = "
name: trip
steps:
  book: { agent: work, compensate: { agent: work } }
  pay: { agent: bank, needs: [book], pivot: true }
";

/// Starts a coordinator that knows a workflow, and an agent that performs all `work`.
async fn running(source: &str) -> (Embedded, Handle, FakeAgent) {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let coordinator = coordinator(&broker).await;
    register(&broker, source).await;
    let complete = |_: &Task| Act::Complete(json!(1));
    let worker = FakeAgent::start(&broker, "worker", &[("work", 4)], &ledger, complete).await;
    (broker, coordinator, worker)
}

/// Starts a run and waits until its pivot is owed.
async fn until_paying(broker: &Embedded, key: &str) -> RunId {
    let run = start(broker, key, "trip").await;
    let is_paying = |event: &Event| {
        matches!(event, Event::AttemptScheduled(_)) && event.step().unwrap().as_str() == "pay"
    };
    journal_until(broker, run, is_paying).await;
    run
}

/// Cancels a run and returns what followed.
async fn cancelled(broker: &Embedded, run: RunId) -> String {
    let cancel = Command::Cancel { run, reason: "changed my mind".to_owned() };
    assert_eq!(command(broker, run, cancel).await, CommandReply::Done {});
    let history = journal_until(broker, run, Event::ends_run).await;
    let is_cancel =
        |entry: &HistoryEntry| matches!(entry.record.event, Event::CancelRequested { .. });
    let from = history.iter().position(is_cancel).unwrap();
    words(&history[from..])
}

/// Nothing but the pivot was cut off, and counts as passed.
const PASSED: &str = "cancel_requested\nstep_cancelled pay\nrun_cancelled\n";

/// Asks whether to begin, as an agent of the queue lane does.
async fn ask(broker: &Embedded, task: &Task) -> Verdict {
    let body = ReportBody::Taken {};
    let report = Report { run: task.run, step: task.step.clone(), attempt: task.attempt, body };
    let batch = ReportBatch { v: 1, agent: agent("teller"), reports: vec![report] };
    let reply = broker.report(PartitionCount::DEFAULT.of(task.run), batch).await.unwrap();
    reply.verdicts.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_pivot_for_which_there_is_no_agent_is_not_passed() {
    let (broker, _coordinator, _worker) = running(TRIP).await;
    let run = until_paying(&broker, "k").await;
    expect![[r#"
        cancel_requested
        step_cancelled pay
        unwind_started
        attempt_scheduled book~compensate
        attempt_completed book~compensate
        run_cancelled
    "#]]
    .assert_eq(&cancelled(&broker, run).await);
}

/// The one who could perform it is busy: what it performs is passed, what waits for it is not.
#[tokio::test]
async fn a_pivot_that_waits_for_a_slot_is_not_passed_and_one_that_has_it_is() {
    let (broker, _coordinator, _worker) = running(TRIP).await;
    let tellers = Arc::new(Ledger::default());
    let keep = |_: &Task| Act::Keep;
    let _teller = FakeAgent::start(&broker, "teller", &[("bank", 1)], &tellers, keep).await;
    let first = until_paying(&broker, "first").await;
    tellers.until(|tellers| tellers.performed().len() == 1).await;
    let second = until_paying(&broker, "second").await;
    let undone = "cancel_requested\nstep_cancelled pay\nunwind_started\n";
    assert!(cancelled(&broker, second).await.starts_with(undone));
    assert_eq!(cancelled(&broker, first).await, PASSED);
    assert_eq!(tellers.performed().len(), 1, "what was cut off was sent to nobody");
}

/// Whoever pulls a task asks before it begins: until then nobody has begun it.
#[tokio::test]
async fn a_pivot_that_was_pulled_and_not_asked_about_is_not_passed() {
    let (broker, _coordinator, _worker) = running(TRIP).await;
    let offers = vec![Offer { capability: "bank".to_owned(), slots: 4 }];
    let beat = heartbeat("teller", 1);
    broker.beat(Heartbeat { lane: Lane::Queue, offers, ..beat }).await.unwrap();
    for (key, asks) in [("asked", true), ("unasked", false)] {
        let run = until_paying(&broker, key).await;
        let wait = Duration::from_secs(5);
        let pulled = broker.pull("bank", 1, wait).await.unwrap().remove(0);
        assert_eq!(pulled.task.run, run);
        if asks {
            assert_eq!(ask(&broker, &pulled.task).await, Verdict::Applied);
        }
        let followed = cancelled(&broker, run).await;
        assert_eq!(followed == PASSED, asks, "{followed}");
        assert!(matches!(ask(&broker, &pulled.task).await, Verdict::Ignored(_)));
    }
}

/// Nobody knows what a coordinator sent that is not there any more.
#[tokio::test]
async fn a_pivot_of_which_another_coordinator_knew_may_have_been_begun() {
    let (broker, first, _worker) = running(TRIP).await;
    let run = until_paying(&broker, "k").await;
    first.shutdown().await;
    let _second = coordinator(&broker).await;
    assert_eq!(cancelled(&broker, run).await, PASSED);
}

/// The pivot is waited for no longer than two seconds.
const SHORT: &str = "
name: trip
on_failure: compensate
steps:
  book: { agent: work, compensate: { agent: work } }
  pay: { agent: bank, needs: [book], pivot: true, queue_timeout: 2s, retry: { attempts: 1 } }
";

/// Waits until a run that came to its pivot is over; returns what followed, and whether anybody may
/// have begun the pivot.
async fn from_pivot_to_end(broker: &Embedded, run: RunId) -> (String, bool) {
    let history = journal_until(broker, run, Event::ends_run).await;
    let failed = |entry: &HistoryEntry| match &entry.record.event {
        Event::AttemptFailed(failed) => Some(failed.in_doubt),
        _ => None,
    };
    let from = history.iter().position(|entry| failed(entry).is_some()).unwrap();
    (words(&history[from..]), failed(&history[from]).unwrap())
}

const MADE_GOOD: &str = "\
attempt_failed pay
step_failed pay
unwind_started
attempt_scheduled book~compensate
attempt_completed book~compensate
run_compensated
";

#[tokio::test(start_paused = true)]
async fn a_pivot_that_nobody_took_in_time_is_not_passed() {
    let (broker, _coordinator, _worker) = running(SHORT).await;
    let run = until_paying(&broker, "k").await;
    let (followed, in_doubt) = from_pivot_to_end(&broker, run).await;
    assert_eq!((followed.as_str(), in_doubt), (MADE_GOOD, false));
}

/// Somebody to whom the coordinator before sent it may be at it.
#[tokio::test(start_paused = true)]
async fn a_pivot_of_another_coordinator_that_nobody_was_seen_to_take_may_have_been_begun() {
    let (broker, first, _worker) = running(SHORT).await;
    let run = until_paying(&broker, "k").await;
    first.shutdown().await;
    let _second = coordinator(&broker).await;
    let (followed, in_doubt) = from_pivot_to_end(&broker, run).await;
    let passed = "attempt_failed pay\nstep_failed pay\nrun_failed\n";
    assert_eq!((followed.as_str(), in_doubt), (passed, true));
}

/// Whoever has it in hand has time to say so before a successor gives it up.
#[tokio::test(start_paused = true)]
async fn what_the_coordinator_before_sent_is_not_given_up_before_its_agent_can_say_so() {
    let (broker, first, _worker) = running(SHORT).await;
    let mut sent = broker.serve_tasks(&agent("teller")).await.unwrap();
    let beat = |seq, held| {
        let offers = vec![Offer { capability: "bank".to_owned(), slots: 4 }];
        broker.beat(Heartbeat { offers, held, ..heartbeat("teller", seq) })
    };
    beat(1, Vec::new()).await.unwrap();
    let run = until_paying(&broker, "k").await;
    let request = sent.next().await.unwrap();
    let (attempt, since) = (request.message.tasks[0].id(), Timestamp::EPOCH);
    request.responder.send(Delivery::default());
    first.shutdown().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let _second = coordinator(&broker).await;
    let held = Held { attempt, since, progress: None, finished: false };
    beat(2, vec![held]).await.unwrap();
    let is_decided = |event: &Event| {
        matches!(event, Event::StepFailed { .. })
            || matches!(event, Event::AttemptTaken { step, .. } if step.as_str() == "pay")
    };
    let history = journal_until(&broker, run, is_decided).await;
    assert!(matches!(history.last().unwrap().record.event, Event::AttemptTaken { .. }));
}

/// Whoever cannot read it says so, and has not begun it.
#[tokio::test(start_paused = true)]
async fn a_pivot_that_nobody_can_read_is_not_passed() {
    let (broker, _coordinator, _worker) = running(&SHORT.replace("queue_timeout: 2s, ", "")).await;
    let mut sent = broker.serve_tasks(&agent("teller")).await.unwrap();
    let teller = async {
        let beats = async {
            for seq in 1.. {
                let offers = vec![Offer { capability: "bank".to_owned(), slots: 4 }];
                broker.beat(Heartbeat { offers, ..heartbeat("teller", seq) }).await.unwrap();
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let answers = async {
            while let Some(request) = sent.next().await {
                request.responder.send(Delivery::unreadable("too new".to_owned()));
            }
        };
        tokio::join!(beats, answers)
    };
    let history = async {
        let run = until_paying(&broker, "k").await;
        from_pivot_to_end(&broker, run).await
    };
    let (followed, in_doubt) = tokio::select! {
        biased;
        history = history => history,
        _ = teller => unreachable!("it goes on for ever"),
    };
    assert_eq!((followed.as_str(), in_doubt), (MADE_GOOD, false));
}
