//! What people see of a run, as text.

mod left;
mod told;

use expect_test::{Expect, expect};
use serde_json::json;
use skep_protocol::{
    AgentId, AttemptView, Event, Failure, FailureKind, Heartbeat, Held, Lane, RunId, RunStatus,
    SkipReason, StepExpanded, StepPath, StepStatus, Timestamp, WaitStarted, WaitingFor,
    WaitingView,
};

use super::{Failures, LineFilter, summary};
use crate::commands::get::tests::{detail, view};
use told::{START, Told, plain};

fn check(text: &str, expected: &Expect) {
    expected.assert_eq(text);
}

fn fan_out(total: u32) -> Event {
    let items = (0..total).map(|item| json!(item).into()).collect();
    Event::StepExpanded(StepExpanded { step: StepPath::new("read"), items, offset: 0, total })
}

#[test]
fn a_step_is_drawn_as_it_is_tried() {
    let mut told = three_steps();
    told.scheduled("fetch", 1, 0).after(1_200);
    check(
        &told.frame(10),
        &expect![[r#"
            ⠹ review  running  1.2 s  13155c83-f2c9-81f8-9a99-aad745d64cc3
              ○ fetch     1.2 s
              · read
              · publish
        "#]],
    );
    told.failed("fetch", 1, "connection refused").scheduled("fetch", 2, 2_000).after(500);
    check(
        &told.frame(10),
        &expect![[r#"
            ⠧ review  running  1.7 s  13155c83-f2c9-81f8-9a99-aad745d64cc3
              ○ fetch     1.7 s  attempt 2  in 1.5 s, after: exit_1: connection refused
              · read
              · publish
        "#]],
    );
}

fn three_steps() -> Told {
    let mut told = Told::new(LineFilter::All);
    for step in ["fetch", "read", "publish"] {
        told.progress.rows.declare(step);
    }
    told
}

/// Four items: one completed, one failed, one waits, one is still to come.
fn in_the_middle() -> Told {
    let mut told = three_steps();
    told.scheduled("fetch", 1, 0).after(3_700).completed("fetch", 1).event(fan_out(4));
    for item in 0..3 {
        told.scheduled(&format!("read[{item}]"), 1, 0);
    }
    told.after(3_000).completed("read[0]", 1).failed("read[1]", 1, "not text\nat all");
    let failure = Failure::new(FailureKind::Agent, "exit_1", "not text\nat all");
    told.event(Event::StepFailed { step: StepPath::new("read[1]"), failure, untouched: false });
    told
}

#[test]
fn items_are_counted_and_what_they_wait_for_is_said() {
    let mut told = in_the_middle();
    check(
        &told.frame(10),
        &expect![[r#"
            ⠧ review  running  6.7 s  13155c83-f2c9-81f8-9a99-aad745d64cc3
              ✔ fetch     3.7 s
              ○ read      ━━━━━━──────  2/4, 1 failed, 1 queued  3.0 s  exit_1: not text…
              · publish
        "#]],
    );
    let waiting = WaitingView::new(StepPath::new("read[2]"), "no live agent offers reader".into());
    told.progress.set_waiting(&[waiting]);
    check(
        &told.frame(10),
        &expect![[r#"
            ⠧ review  running  6.7 s  13155c83-f2c9-81f8-9a99-aad745d64cc3
              ✔ fetch     3.7 s
              ○ read      ━━━━━━──────  2/4, 1 failed, 1 queued  3.0 s
                  no live agent offers reader
              · publish
        "#]],
    );
}

#[test]
fn a_run_that_failed_says_why() {
    let mut told = in_the_middle();
    let failure = Failure::new(FailureKind::Inner, "item_failed", "1 of 4 items failed");
    told.event(Event::StepFailed {
        step: StepPath::new("read"),
        failure: failure.clone(),
        untouched: false,
    });
    let reason = SkipReason::Upstream(StepPath::new("read"));
    told.event(Event::StepSkipped { step: StepPath::new("publish"), reason });
    told.event(Event::RunFailed { failure });
    check(
        &told.frame(10),
        &expect![[r#"
            ✘ review  failed  6.7 s  13155c83-f2c9-81f8-9a99-aad745d64cc3
              ✔ fetch     3.7 s
              ✘ read      ━━━━━━──────  2/4, 1 failed, 1 queued  3.0 s
                  item_failed: 1 of 4 items failed
              – publish   `read` did not complete
        "#]],
    );
    check(
        &plain(&summary(&told.progress, None, Failures::Untold)),
        &expect![[r#"
            ✘ review failed in 6.7 s
              item_failed: 1 of 4 items failed"#]],
    );
    check(
        &told.lines(),
        &expect![[r#"
        run of review started (definition 000000000000)
        fetch: attempt 1 scheduled
        fetch: completed in 250 ms by exec-1
        read: fans out to 4 items
        read[0]: attempt 1 scheduled
        read[1]: attempt 1 scheduled
        read[2]: attempt 1 scheduled
        read[0]: completed in 250 ms by exec-1
        read[1]: attempt 1 failed: exit_1: not text
                    at all
        read[1]: failed: exit_1: not text
                    at all
        read: failed: item_failed: 1 of 4 items failed
        publish: skipped: `read` did not complete
        run failed: item_failed: 1 of 4 items failed
    "#]],
    );
}

#[test]
fn a_short_terminal_shows_what_matters() {
    let mut told = Told::new(LineFilter::Brief);
    for step in 0..40 {
        told.progress.rows.declare(&format!("s{step:02}"));
    }
    for step in 0..30 {
        told.scheduled(&format!("s{step:02}"), 1, 0);
    }
    for step in (0..28).filter(|step| *step != 7) {
        told.after(10).completed(&format!("s{step:02}"), 1);
    }
    let failure = Failure::new(FailureKind::Timeout, "timeout", "took longer than 10 s");
    told.event(Event::StepFailed { step: StepPath::new("s07"), failure, untouched: false });
    check(
        &told.frame(8),
        &expect![[r#"
            ⠹ review  running  270 ms  13155c83-f2c9-81f8-9a99-aad745d64cc3
              ✘ s07       270 ms  timeout: took longer than 10 s
              ○ s28       270 ms
              ○ s29       270 ms
              · s30
              · s31
              · s32
              … and 34 more: 27 over, 7 to come
        "#]],
    );
}

#[test]
fn what_waits_says_for_what() {
    let mut told = Told::new(LineFilter::Brief);
    told.event(Event::WaitStarted(WaitStarted {
        step: StepPath::new("approve"),
        waiting_for: WaitingFor::Signal("approved".to_owned()),
        until: None,
    }));
    told.after(4_000);
    check(
        &told.frame(8),
        &expect![[r#"
        ⠋ review  running  4.0 s  13155c83-f2c9-81f8-9a99-aad745d64cc3
          ◌ approve   4.0 s  waits for the signal `approved`
    "#]],
    );
    told.event(Event::SignalReceived {
        name: "approved".to_owned(),
        id: "s-1".parse().unwrap(),
        payload: json!({ "by": "Ada" }).into(),
    });
    told.event(Event::StepCompleted { step: StepPath::new("approve"), output: None, signal: None });
    told.event(Event::RunCompleted { outputs: json!({}).into() });
    check(
        &told.lines(),
        &expect![[r#"
        run of review started (definition 000000000000)
        approve: waits for the signal `approved`
        signal `approved` received: {"by":"Ada"}
        approve: completed
        run completed
    "#]],
    );
    check(
        &plain(&summary(&told.progress, None, Failures::Untold)),
        &expect!["✔ review completed in 4.0 s"],
    );
}

#[test]
fn items_are_counted_in_lines_not_told() {
    let mut told = Told::new(LineFilter::Brief);
    told.event(fan_out(40));
    for item in 0..40 {
        let step = format!("read[{item}]");
        told.scheduled(&step, 1, 0);
        if item == 3 {
            told.failed(&step, 1, "not text");
            told.scheduled(&step, 2, 0);
        }
        told.completed(&step, 1);
    }
    check(
        &told.lines(),
        &expect![[r#"
        run of review started (definition 000000000000)
        read: fans out to 40 items
        read[3]: attempt 1 failed: exit_1: not text
        read: 4 of 40 done
        read: 8 of 40 done
        read: 12 of 40 done
        read: 16 of 40 done
        read: 20 of 40 done
        read: 24 of 40 done
        read: 28 of 40 done
        read: 32 of 40 done
        read: 36 of 40 done
        read: 40 of 40 done
    "#]],
    );
}

#[test]
fn groups_hold_their_steps() {
    let mut told = Told::new(LineFilter::Brief);
    told.progress.rows.declare("build");
    told.progress.rows.declare("build/compile");
    told.progress.rows.declare("build/test");
    let group = StepPath::new("build");
    told.event(Event::GroupStarted { step: group.clone() });
    told.scheduled("build/compile", 1, 0).completed("build/compile", 1);
    told.scheduled("build/test", 1, 0).after(2_000).failed("build/test", 1, "red");
    check(
        &told.frame(8),
        &expect![[r#"
            ⠋ review  running  2.0 s  13155c83-f2c9-81f8-9a99-aad745d64cc3
              ⠋ build      2.0 s
                ✔ compile  0 ms
                · test     exit_1: red
        "#]],
    );
    let not_before = Timestamp::from_millis(told.at);
    told.event(Event::GroupRestarted { step: group, round: 2, not_before });
    check(
        &told.frame(8),
        &expect![[r#"
            ⠋ review  running  2.0 s  13155c83-f2c9-81f8-9a99-aad745d64cc3
              ⠋ build      2.0 s  started again, round 2
                · compile
                · test
        "#]],
    );
}

#[test]
fn what_an_agent_says_is_shown_while_it_works() {
    let mut told = Told::new(LineFilter::Brief);
    told.scheduled("fetch", 1, 0).after(2_500);
    let attempt = skep_protocol::AttemptId {
        run: RunId::from_key("w", "k"),
        step: StepPath::new("fetch"),
        attempt: 1,
    };
    let progress = skep_protocol::Progress {
        calls: 3,
        per_mille: None,
        note: Some("page 3 of 10".to_owned()),
    };
    let since = Timestamp::from_millis(START);
    told.progress.hear(&Heartbeat {
        v: Heartbeat::VERSION,
        agent: AgentId::new("exec-1").unwrap(),
        seq: 1,
        lane: Lane::Direct,
        offers: Vec::new(),
        labels: Default::default(),
        held: vec![Held { attempt, since, progress: Some(progress), finished: false }],
        draining: false,
        leaving: false,
        software: String::new(),
        answers: Vec::new(),
        ration: None,
    });
    check(
        &told.frame(8),
        &expect![[r#"
        ⠴ review  running  2.5 s  13155c83-f2c9-81f8-9a99-aad745d64cc3
          ⠴ fetch     2.5 s  page 3 of 10
    "#]],
    );
    told.completed("fetch", 1);
    check(
        &told.frame(8),
        &expect![[r#"
        ⠴ review  running  2.5 s  13155c83-f2c9-81f8-9a99-aad745d64cc3
          ✔ fetch     2.5 s
    "#]],
    );
}

#[test]
fn a_fact_that_comes_twice_counts_once() {
    let mut told = Told::new(LineFilter::Brief);
    told.scheduled("fetch", 1, 0);
    let before = told.frame(8);
    told.number -= 1;
    told.scheduled("fetch", 2, 0);
    assert_eq!(told.frame(8), before);
}

#[test]
fn a_coordinator_tells_what_is_to_come_and_who_works_on_what() {
    let mut told = Told::new(LineFilter::Brief);
    let mut fetch = view("fetch", StepStatus::Running);
    fetch.attempts = vec![AttemptView {
        attempt: 1,
        status: "taken".to_owned(),
        scheduled: Timestamp::EPOCH,
        agent: Some(AgentId::new("exec-1").unwrap()),
        fallback: false,
        ended: None,
        duration_ms: None,
        error: None,
    }];
    let steps = [("last", StepStatus::Pending), ("each[0]/in", StepStatus::Scheduled)];
    let steps = steps.map(|(step, status)| view(step, status)).into_iter().chain([fetch]);
    let detail = detail(steps.collect());
    assert!(told.progress.is_bare());
    told.progress.declare(&detail);
    told.scheduled("fetch", 1, 0).scheduled("each[0]/in", 1, 0);
    told.progress.look(&detail);
    check(
        &told.frame(8),
        &expect![[r#"
        ⠋ review  running  0 ms  13155c83-f2c9-81f8-9a99-aad745d64cc3
          · last
            ○ in      ────────────  0/1, 1 queued  0 ms
          ⠋ fetch     0 ms  by exec-1
    "#]],
    );
}

#[test]
fn a_stuck_run_is_left_once_nothing_goes_on_without_a_person() {
    let mut told = Told::new(LineFilter::Brief);
    let failure = || Failure::new(FailureKind::Agent, "broken", "no");
    let of = |step: &str| StepPath::new(step).compensation();
    told.event(Event::UnwindStarted { failure: Some(failure()) });
    told.scheduled(of("pay").as_str(), 1, 0).scheduled(of("book").as_str(), 1, 0);
    told.event(Event::RunStuck { step: of("pay"), failure: failure() });
    assert_eq!(told.progress.outcome(), None);
    told.completed(of("book").as_str(), 1);
    assert_eq!(told.progress.outcome(), Some(RunStatus::Stuck));
    assert_eq!(told.progress.stuck().collect::<Vec<_>>(), [StepPath::new("pay")]);
    told.event(Event::RunPaused { by: "ada".to_owned() });
    told.event(Event::RunResumed { by: "ada".to_owned() });
    assert_eq!((told.progress.outcome(), told.progress.status), (None, Some(RunStatus::Unwinding)));
}
