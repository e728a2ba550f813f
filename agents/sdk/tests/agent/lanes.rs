//! The queue lane.

use std::time::Duration;

use expect_test::expect;
use futures::StreamExt as _;
use serde_json::{Value, json};
use skep_agent::{Agent, Context, Failure, Lane};
use skep_broker::conformance::fixtures::only_reports;
use skep_broker::{QueueDepth, Reports as _, Tasks as _};
use skep_protocol::{Answer as _, Control, IgnoreReason, ReportReply, Task, Verdict};

use crate::harness::{Count, PARTITION, Stage, line, lines, long_time, task};

pub(crate) fn echo(count: &Count) -> Agent {
    echo_by(Lane::Queue, count)
}

pub(crate) fn echo_by(lane: Lane, count: &Count) -> Agent {
    let count = count.clone();
    let handler = move |context: Context, input: Value| {
        count.up();
        async move {
            if input == json!("slow") {
                tokio::time::sleep(Duration::from_secs(100)).await;
            }
            if input == json!("endless") {
                context.cancelled().await;
            }
            Ok::<_, Failure>(input)
        }
    };
    Agent::builder("echo").serve("echo", handler).slots(2).lane(lane).build().unwrap()
}

pub(crate) async fn depth_of(stage: &Stage) -> QueueDepth {
    stage.broker.depth("echo").await.unwrap()
}

/// Waits until the queue is as full as `wanted`.
pub(crate) async fn until_depth(stage: &Stage, waiting: u64, held: u64) {
    while depth_of(stage).await != (QueueDepth { waiting, held }) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pulled_task_is_begun_once_the_coordinator_says_so() {
    let count = Count::default();
    let stage = Stage::start(echo(&count)).await;
    let mut owner = stage.own().await;
    stage.broker.offer(task("s", "echo", json!(1)), 1).await.unwrap();
    let (taken, responder) = owner.next().await;
    assert_eq!(count.get(), 0);
    responder.send(ReportReply::from(vec![Verdict::Applied]));
    let outcome = owner.apply().await;
    expect![[r#"
        s/1 taken
        s/1 completed 1
    "#]]
    .assert_eq(&lines(&[taken[0].clone(), outcome]));
    until_depth(&stage, 0, 0).await;
    assert_eq!(count.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_of_no_interest_is_taken_off_the_queue_and_not_performed() {
    let count = Count::default();
    let stage = Stage::start(echo(&count)).await;
    let mut owner = stage.own().await;
    for (step, verdict) in [
        ("stale", Verdict::Ignored(IgnoreReason::Stale)),
        ("double", Verdict::Ignored(IgnoreReason::Duplicate)),
        ("odd", Verdict::Rejected("no".to_owned())),
    ] {
        stage.broker.offer(task(step, "echo", json!(1)), 1).await.unwrap();
        assert_eq!(line(&owner.answer(verdict).await), format!("{step}/1 taken"));
    }
    stage.broker.offer(task("unread", "echo", json!(1)), 1).await.unwrap();
    let (_, responder) = owner.next().await;
    responder.send(ReportReply::unreadable("too new".to_owned()));
    until_depth(&stage, 0, 0).await;
    assert_eq!(count.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_sent_before_is_asked_about_wherever_it_comes_from() {
    let count = Count::default();
    let mut stage = Stage::start(echo_by(Lane::Direct, &count)).await;
    let mut owner = stage.own().await;
    let again = |step: &str| Task { ask: true, ..task(step, "echo", json!(1)) };
    let mut reports = Vec::new();
    for (step, verdict) in
        [("taken", Verdict::Ignored(IgnoreReason::Stale)), ("wanted", Verdict::Applied)]
    {
        stage.give(&again(step)).await;
        reports.push(owner.answer(verdict).await);
    }
    reports.push(owner.apply().await);
    assert_eq!(count.get(), 1);
    // One that is not begun by the time the agent leaves is handed back.
    stage.give(&again("late")).await;
    let (late, responder) = owner.next().await;
    reports.extend(late);
    stage.stop();
    responder.send(ReportReply::from(vec![Verdict::Applied]));
    reports.push(owner.apply().await);
    expect![[r#"
        taken/1 taken
        wanted/1 taken
        wanted/1 completed 1
        late/1 taken
        late/1 released
    "#]]
    .assert_eq(&lines(&reports));
    assert_eq!(count.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_while_nobody_can_be_asked() {
    let count = Count::default();
    let stage = Stage::start(echo(&count)).await;
    stage.broker.offer(task("s", "echo", json!(1)), 1).await.unwrap();
    until_depth(&stage, 0, 1).await;
    long_time().await;
    assert_eq!((depth_of(&stage).await.held, count.get()), (1, 0));
    let mut durable = only_reports(stage.broker.durable_reports(PARTITION).await.unwrap());
    let mut owner = stage.own().await;
    let reports = [owner.apply().await, owner.apply().await];
    expect![[r#"
        s/1 taken
        s/1 completed 1
    "#]]
    .assert_eq(&lines(&reports));
    let left = tokio::time::timeout(Duration::from_secs(60), durable.next()).await;
    assert!(left.is_err(), "a question was left where nobody answers: {left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_is_kept_while_it_is_worked_on_and_until_its_report_is_confirmed() {
    let count = Count::default();
    let stage = Stage::start(echo(&count)).await;
    let mut owner = stage.own().await;
    stage.broker.offer(task("s", "echo", json!("slow")), 1).await.unwrap();
    owner.apply().await;
    let (_, responder) = owner.next().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(depth_of(&stage).await, QueueDepth { waiting: 0, held: 1 });
    responder.send(ReportReply::from(vec![Verdict::Applied]));
    until_depth(&stage, 0, 0).await;
    assert_eq!(count.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_as_many_are_pulled_as_there_are_slots() {
    let count = Count::default();
    let stage = Stage::start(echo(&count)).await;
    let mut owner = stage.own().await;
    for step in ["a", "b", "c", "d", "e"] {
        let mut task = task(step, "echo", json!("endless"));
        task.timeout_ms = 10_000_000;
        stage.broker.offer(task, 1).await.unwrap();
    }
    owner.apply_all(2).await;
    until_depth(&stage, 3, 2).await;
    long_time().await;
    assert_eq!(depth_of(&stage).await.held, 2);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_leaves_the_queue() {
    let count = Count::default();
    let stage = Stage::start(echo(&count)).await;
    let mut owner = stage.own().await;
    let begun = task("begun", "echo", json!("endless"));
    stage.broker.offer(begun.clone(), 1).await.unwrap();
    owner.apply().await;
    while count.get() == 0 {
        tokio::task::yield_now().await;
    }
    stage.control(Control::Cancel { attempts: vec![begun.id()] }).await;
    until_depth(&stage, 0, 0).await;
    drop(owner);
    let asked = task("asked", "echo", json!(1));
    stage.broker.offer(asked.clone(), 1).await.unwrap();
    until_depth(&stage, 0, 1).await;
    stage.control(Control::Cancel { attempts: vec![asked.id()] }).await;
    until_depth(&stage, 0, 0).await;
    assert_eq!(count.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_leaves_returns_what_it_has_not_begun() {
    let count = Count::default();
    let mut stage = Stage::start(echo(&count)).await;
    stage.broker.offer(task("s", "echo", json!(1)), 1).await.unwrap();
    until_depth(&stage, 0, 1).await;
    stage.stop();
    stage.beat_where(|beat| beat.leaving).await;
    assert_eq!((depth_of(&stage).await.waiting, count.get()), (1, 0));
    stage.left().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_allowed_after_the_agent_began_to_leave_is_given_back() {
    let count = Count::default();
    let mut stage = Stage::start(echo(&count)).await;
    let mut owner = stage.own().await;
    stage.broker.offer(task("s", "echo", json!(1)), 1).await.unwrap();
    let (_, responder) = owner.next().await;
    stage.stop();
    stage.beat_where(|beat| beat.draining).await;
    responder.send(ReportReply::from(vec![Verdict::Applied]));
    expect!["s/1 released"].assert_eq(&line(&owner.apply().await));
    until_depth(&stage, 0, 0).await;
    assert_eq!(count.get(), 0);
    stage.left().await.unwrap();
}
