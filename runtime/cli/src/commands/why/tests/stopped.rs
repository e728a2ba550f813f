//! What is said of a run that stops, or is over, and of what did not run in it.

use skep_protocol::{CancelReason, Failure, FailureKind, SkipReason};

use super::*;

#[test]
fn only_what_failed_for_good_is_to_be_skipped() {
    let waiting = vec![
        waits_for("reserve~compensate", "pack~compensate"),
        waits_for("pack~compensate", "ship~compensate"),
        waits("ship~compensate", "failed for good").because(WaitingCause::Stuck),
    ];
    let mut steps = vec![view("ship~compensate", StepStatus::Failed)];
    steps.extend(["reserve", "pack"].map(|step| view(step, StepStatus::Completed)));
    let mut run = run(steps, waiting);
    run.summary.status = RunStatus::Stuck;
    check(
        &run,
        &["reserve~compensate"],
        &expect![[r#"
        run RUN of w is stuck
        ship~compensate: failed for good
          help: skep resume RUN to try again, or to take it as done: skep skip RUN ship
          holds up pack~compensate, reserve~compensate

        reserve~compensate: waits for step pack~compensate
          pack~compensate: waits for step ship~compensate
            ship~compensate: failed for good
              help: skep resume RUN to try again, or to take it as done: skep skip RUN ship"#]],
    );
}

#[test]
fn what_did_not_run_says_why() {
    let skipped =
        |step: &str, reason| StepView { skipped: Some(reason), ..view(step, StepStatus::Skipped) };
    let failure = Failure::new(FailureKind::Agent, "exit_1", "no honey");
    let cancelled = Some(CancelReason::RunCancelled);
    let steps = vec![
        StepView { error: Some(failure), ..view("read", StepStatus::Failed) },
        skipped("think", SkipReason::Upstream(StepPath::new("read"))),
        skipped("write", SkipReason::Upstream(StepPath::new("think"))),
        skipped("maybe", SkipReason::Condition),
        StepView {
            condition: Some("inputs.copies > 3\n  and failure()".to_owned()),
            ..skipped("rarely", SkipReason::Condition)
        },
        StepView { cancelled, ..view("stopped", StepStatus::Cancelled) },
        view("old", StepStatus::Skipped),
    ];
    let mut run = run(steps, Vec::new());
    (run.summary.status, run.cancelled) = (RunStatus::Cancelled, Some("enough".to_owned()));
    check(
        &run,
        &["write", "maybe", "rarely", "stopped", "old"],
        &expect![[r#"
            run RUN of w is over: cancelled: enough

            write: skipped, since `think` did not complete
              think: skipped, since `read` did not complete
                read: failed: exit_1: no honey

            maybe: skipped, since its `if` is false

            rarely: skipped, since its `if` is false: inputs.copies > 3 and failure()

            stopped: cancelled, since the run was cancelled: enough

            old: skipped"#]],
    );
}

#[test]
fn what_stopped_a_step_is_named_with_its_failure() {
    let failure = Failure::new(FailureKind::Agent, "declined", "no money");
    let stopped_by = Some(StepPath::new("pay"));
    let cancelled = Some(CancelReason::Stopping);
    let skipped = Some(SkipReason::Stopping);
    let mut run = run(
        vec![
            StepView { error: Some(failure.clone()), ..view("pay", StepStatus::Failed) },
            StepView {
                cancelled,
                stopped_by: stopped_by.clone(),
                ..view("pack", StepStatus::Cancelled)
            },
            StepView { skipped: skipped.clone(), stopped_by, ..view("ship", StepStatus::Skipped) },
            StepView { skipped, ..view("late", StepStatus::Skipped) },
            busy("slow", "a1"),
        ],
        Vec::new(),
    );
    run.summary.status = RunStatus::Unwinding;
    check(
        &run,
        &["pack", "ship", "late"],
        &expect![[r#"
        run RUN of w is unwinding, since `pay` failed: declined: no money
        slow: agent a1 works on it

        pack: cancelled, since `pay` failed
          pay: failed: declined: no money

        ship: skipped, since `pay` failed
          pay: failed: declined: no money

        late: skipped, since the run stops"#]],
    );
    run.error = Some(Failure { message: "pay: no money".to_owned(), ..failure });
    run.summary.status = RunStatus::Stuck;
    check(
        &run,
        &[],
        &expect![[r#"
        run RUN of w is stuck, since it failed: declined: pay: no money
        slow: agent a1 works on it"#]],
    );
    (run.error, run.cancelled) = (None, Some("enough".to_owned()));
    check(
        &run,
        &["late"],
        &expect![[r#"
        run RUN of w is stuck, since it was cancelled: enough
        slow: agent a1 works on it

        late: skipped, since the run was cancelled: enough"#]],
    );
}

#[test]
fn what_is_being_made_good_is_not_just_over() {
    let stuck = |step: &str| waits(step, "failed for good").because(WaitingCause::Stuck);
    let waiting = vec![
        stuck("charge~compensate"),
        waits("pay~compensate", "back-off, due in 3.2 s"),
        waits_for("g/in~compensate", "charge~compensate"),
    ];
    let failure = Failure::new(FailureKind::Agent, "declined", "no money");
    let mut steps = vec![
        view("charge~compensate", StepStatus::Failed),
        view("pay~compensate", StepStatus::Scheduled),
        view("done~compensate", StepStatus::Completed),
        StepView { error: Some(failure), ..view("pay", StepStatus::Failed) },
    ];
    let completed = ["charge", "done", "g", "g/in", "other"];
    steps.extend(completed.map(|step| view(step, StepStatus::Completed)));
    let mut run = run(steps, waiting);
    run.summary.status = RunStatus::Stuck;
    check(
        &run,
        &["charge", "pay", "g", "done", "other"],
        &expect![[r#"
        run RUN of w is stuck
        charge~compensate: failed for good
          help: skep resume RUN to try again, or to take it as done: skep skip RUN charge
          holds up g/in~compensate
        pay~compensate: back-off, due in 3.2 s

        charge: completed, is being made good
          charge~compensate: failed for good
            help: skep resume RUN to try again, or to take it as done: skep skip RUN charge

        pay: failed: declined: no money; is being made good
          pay~compensate: back-off, due in 3.2 s

        g: completed, is being made good
          g/in~compensate: waits for step charge~compensate
            charge~compensate: failed for good
              help: skep resume RUN to try again, or to take it as done: skep skip RUN charge

        done: completed

        other: completed"#]],
    );
    assert_eq!(
        object(&run, &Causes::of(&run), Some(StepPath::new("charge")))["because"][1]["step"],
        "charge~compensate"
    );
}

#[test]
fn a_run_that_is_over_says_why_and_what_can_be_done() {
    let mut over = run(Vec::new(), Vec::new());
    (over.summary.status, over.cancelled) = (RunStatus::Cancelled, Some("enough".to_owned()));
    check(&over, &[], &expect!["run RUN of w is over: cancelled: enough"]);
    over.summary.status = RunStatus::Failed;
    over.error = Some(Failure::new(FailureKind::Agent, "declined", "no money"));
    over.cancelled = None;
    check(
        &over,
        &[],
        &expect![[r#"
        run RUN of w is over: failed, declined: no money
          help: what was given up on: skep deadletters show RUN
          help: to do it over: skep retry RUN"#]],
    );
}
