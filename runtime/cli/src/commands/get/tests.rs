//! What is shown of a run.

use expect_test::expect;
use serde_json::json;
use skep_broker::Embedded;
use skep_protocol::{
    AttemptView, BlobRef, CancelReason, Failure, FailureKind, Hash, PartitionCount, Payload, RunId,
    RunStatus, RunSummary, SkipReason, Timestamp, WaitingView,
};

use super::*;

pub(crate) fn view(step: &str, status: StepStatus) -> StepView {
    StepView {
        step: StepPath::new(step),
        status,
        attempts: Vec::new(),
        started: None,
        ended: None,
        output: None,
        error: None,
        skipped: None,
        condition: None,
        cancelled: None,
        stopped_by: None,
        child: None,
        items: None,
        kept: false,
        skipped_by: None,
    }
}

fn attempt(status: &str, error: Option<Failure>) -> AttemptView {
    AttemptView {
        attempt: 1,
        status: status.to_owned(),
        scheduled: Timestamp::EPOCH,
        agent: None,
        fallback: false,
        ended: None,
        duration_ms: None,
        error,
    }
}

fn broken() -> Failure {
    Failure::new(FailureKind::Agent, "exit_1", "no honey")
}

pub(crate) fn detail(steps: Vec<StepView>) -> RunDetail {
    RunDetail {
        summary: RunSummary {
            run: RunId::from_key("w", "k"),
            workflow: "w".to_owned(),
            digest: Hash::ZERO,
            status: RunStatus::Running,
            started: Timestamp::EPOCH,
            ended: None,
            parent: None,
            steps: 0,
            steps_ended: 0,
            labels: BTreeMap::new(),
            retry_of: None,
        },
        inputs: Payload::null(),
        outputs: None,
        error: None,
        cancelled: None,
        paused: None,
        retried_by: Vec::new(),
        steps,
        waiting: Vec::new(),
    }
}

fn rows(detail: &RunDetail) -> String {
    let done = items_done(detail);
    let row = |view| row(detail, view, &done).iter().map(ToString::to_string).collect::<Vec<_>>();
    let lines = detail.steps.iter().map(|view| row(view).join(" | ") + "\n");
    anstream::adapter::strip_str(&lines.collect::<String>()).to_string()
}

#[test]
fn an_attempt_counts_when_it_was_scheduled_and_a_back_off_tells_its_cause() {
    let mut cancelled = view("c", StepStatus::Cancelled);
    cancelled.attempts = vec![attempt("cancelled", None)];
    let mut again = view("again", StepStatus::Scheduled);
    again.attempts = vec![attempt("failed", Some(broken())), attempt("scheduled", None)];
    let mut detail = detail(vec![cancelled, again, view("last", StepStatus::Pending)]);
    let reason = "back-off, due in 0.9 s".to_owned();
    detail.waiting = vec![WaitingView::new(StepPath::new("again"), reason)];
    expect![[r#"
        c | cancelled | 1 | - | 
        again | scheduled | 2 | - | back-off, due in 0.9 s, after: exit_1: no honey
        last | pending | 0 | - | 
    "#]]
    .assert_eq(&rows(&detail));
}

#[test]
fn what_did_not_run_or_may_not_begin_yet_says_why() {
    let skipped = Some(SkipReason::Condition);
    let cancelled = Some(CancelReason::Stopping);
    let mut detail = detail(vec![
        StepView { skipped, ..view("maybe", StepStatus::Skipped) },
        StepView { cancelled, ..view("stopped", StepStatus::Cancelled) },
    ]);
    let held = WaitingView::new(StepPath::new("fan[1]"), "waits (max_parallel)".to_owned());
    detail.waiting = vec![WaitingView { alike: 2, ..held }];
    let pending = pending(&detail).map(|row| row.iter().map(ToString::to_string).collect());
    let pending: Vec<String> = pending.map(|row: Vec<String>| row.join(" | ")).collect();
    let pending = anstream::adapter::strip_str(&pending.join("\n")).to_string();
    expect![[r#"
        maybe | skipped | 0 | - | its `if` is false
        stopped | cancelled | 0 | - | the run stops
        fan[1] | pending | 0 | - | waits (max_parallel) (and 2 more)"#]]
    .assert_eq(&(rows(&detail) + &pending));
}

#[tokio::test]
async fn a_group_gives_a_map_and_a_for_each_a_list() {
    let done = |step: &str, output: Option<Value>| StepView {
        output: output.map(Payload::from),
        ..view(step, StepStatus::Completed)
    };
    let steps = vec![
        StepView { items: Some(2), ..done("each", None) },
        done("each[0]", None),
        done("each[0]/a", Some(json!(1))),
        StepView { items: Some(1), ..done("each[0]/b", None) },
        done("each[0]/b[0]", Some(json!("x"))),
        view("each[1]", StepStatus::Failed),
        done("each[1]/a", Some(json!(2))),
        done("nothing", None),
    ];
    let detail = detail(steps);
    let client = Client::new(Embedded::new(), PartitionCount::DEFAULT);
    let values = Values::of(&client, &detail);
    let each = values.value(&detail.steps[0]).await.unwrap();
    assert_eq!(each, json!([{ "a": 1, "b": ["x"] }, null]));
    assert_eq!(values.value(&detail.steps[7]).await.unwrap(), Value::Null);
}

#[test]
fn a_failure_is_told_once_and_with_its_details() {
    let mut failed = view("s", StepStatus::Failed);
    failed.attempts = vec![attempt("failed", Some(broken()))];
    failed.error = Some(broken());
    let text = one_step(&detail(Vec::new()), &failed, &Value::Null, &["Traceback".to_owned()]);
    expect![[r#"
        s  failed  -
        attempt 1 failed: exit_1: no honey
        details, their end:
          Traceback"#]]
    .assert_eq(&anstream::adapter::strip_str(&text).to_string());
}

#[test]
fn a_fallback_and_who_took_a_step_as_done_are_told() {
    let mut step = view("s~compensate", StepStatus::Skipped);
    let fallback = AttemptView { fallback: true, attempt: 2, ..attempt("failed", Some(broken())) };
    step.attempts = vec![attempt("failed", Some(broken())), fallback];
    step.skipped_by = Some("ada".to_owned());
    let text = one_step(&detail(Vec::new()), &step, &Value::Null, &[]);
    expect![[r#"
        s~compensate  skipped  -
        attempt 1 failed: exit_1: no honey
        attempt 2 of the fallback failed: exit_1: no honey
        taken as done, says ada"#]]
    .assert_eq(&anstream::adapter::strip_str(&text).to_string());
    expect![[r#"
        s~compensate | skipped | 2 | - | taken as done, says ada
    "#]]
    .assert_eq(&rows(&detail(vec![step])));
}

#[test]
fn a_large_value_is_null_beside_its_size() {
    let mut large = view("s", StepStatus::Completed);
    large.output = Some(Payload::from(BlobRef { hash: Hash::ZERO, size: 7_000_002 }));
    large.attempts = vec![attempt("completed", None)];
    let mut detail = detail(vec![large]);
    detail.cancelled = Some("--timeout passed".to_owned());
    let object = json::detail(&detail);
    let step = &object["steps"]["s"];
    assert_eq!((&step["output"], &step["output_size"]), (&Value::Null, &json!(7_000_002)));
    assert_eq!((&step["attempts"], step["tries"].as_array().unwrap().len()), (&json!(1), 1));
    assert_eq!(object["error"]["message"], "--timeout passed");
}
