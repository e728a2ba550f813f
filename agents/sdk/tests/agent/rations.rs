//! How much is pulled, as coordinators say.

use expect_test::expect;
use serde_json::json;
use skep_agent::Lane;
use skep_broker::{QueueDepth, Tasks as _};
use skep_protocol::{Control, Ration, ReportReply, Task, Verdict};

use crate::harness::{Count, Stage, lines, long_time, task};
use crate::lanes::{depth_of, echo, echo_by, until_depth};

const NONE: Ration = Ration::AtMost(0);
const ONE: Ration = Ration::AtMost(1);

impl Stage {
    /// Tells the agent how much it may hold, and waits until it says so.
    async fn ration(&mut self, ration: Ration) {
        self.control(Control::Ration(ration)).await;
        self.beat_where(|beat| beat.ration == Some(ration)).await;
    }

    async fn offer(&self, task: Task) {
        self.broker.offer(task, 1).await.unwrap();
    }
}

/// A task that goes on until somebody ends it.
fn endless(step: &str) -> Task {
    Task { timeout_ms: 10_000_000, ..task(step, "echo", json!("endless")) }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_out_returns_what_it_has_not_begun_and_pulls_nothing() {
    let count = Count::default();
    let mut stage = Stage::start(echo(&count)).await;
    stage.beat_where(|beat| beat.ration == Some(Ration::Full)).await;
    // Nobody can be asked.
    stage.offer(task("s", "echo", json!(1))).await;
    until_depth(&stage, 0, 1).await;
    stage.ration(NONE).await;
    until_depth(&stage, 1, 0).await;
    let mut owner = stage.own().await;
    stage.offer(task("t", "echo", json!(1))).await;
    long_time().await;
    assert_eq!(depth_of(&stage).await, QueueDepth { waiting: 2, held: 0 });
    assert_eq!(count.get(), 0);
    stage.ration(Ration::Full).await;
    owner.apply_all(4).await;
    until_depth(&stage, 0, 0).await;
    assert_eq!(count.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_runs_goes_on_and_what_was_asked_about_is_given_back() {
    let count = Count::default();
    let mut stage = Stage::start(echo(&count)).await;
    let mut owner = stage.own().await;
    stage.offer(Task { timeout_ms: 200_000, ..task("runs", "echo", json!("slow")) }).await;
    let mut reports = vec![owner.apply().await];
    stage.offer(task("asked", "echo", json!(1))).await;
    let (asked, responder) = owner.next().await;
    reports.extend(asked);
    stage.ration(NONE).await;
    responder.send(ReportReply::from(vec![Verdict::Applied]));
    reports.extend([owner.apply().await, owner.apply().await]);
    expect![[r#"
        runs/1 taken
        asked/1 taken
        asked/1 released
        runs/1 completed "slow"
    "#]]
    .assert_eq(&lines(&reports));
    until_depth(&stage, 0, 0).await;
    assert_eq!(count.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_tried_holds_one_task_at_a_time() {
    let count = Count::default();
    let mut stage = Stage::start(echo(&count)).await;
    let mut owner = stage.own().await;
    stage.ration(ONE).await;
    let tasks = ["a", "b", "c"].map(endless);
    for task in &tasks {
        stage.offer(task.clone()).await;
    }
    owner.apply().await;
    long_time().await;
    assert_eq!(depth_of(&stage).await, QueueDepth { waiting: 2, held: 1 });
    // It is no token: the end of one makes room for the next, whatever the end was.
    stage.control(Control::Cancel { attempts: vec![tasks[0].id()] }).await;
    owner.apply().await;
    long_time().await;
    assert_eq!(depth_of(&stage).await, QueueDepth { waiting: 1, held: 1 });
    stage.ration(Ration::Full).await;
    owner.apply().await;
    long_time().await;
    assert_eq!((depth_of(&stage).await, count.get()), (QueueDepth { waiting: 0, held: 2 }, 3));
}

#[tokio::test(start_paused = true)]
async fn an_agent_of_the_direct_lane_says_nothing_of_it() {
    let count = Count::default();
    let mut stage = Stage::start(echo_by(Lane::Direct, &count)).await;
    let mut owner = stage.own().await;
    stage.control(Control::Ration(NONE)).await;
    stage.beat_where(|beat| beat.ration.is_none()).await;
    stage.give(&task("s", "echo", json!(1))).await;
    owner.apply().await;
    assert_eq!(count.get(), 1);
}
