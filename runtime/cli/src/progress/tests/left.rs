//! What a narrow terminal shows, what stays on one, and what is told once.

use expect_test::expect;
use skep_protocol::{
    AttemptFailed, AttemptScheduled, Event, Failure, FailureKind, SkipReason, StepPath, Timestamp,
    WaitStarted, WaitingFor, WaitingView,
};

use super::told::{Told, plain};
use super::{check, fan_out};
use crate::progress::{Failures, LineFilter, summary};

/// A long name, a fan-out, a step that waits: what a narrow terminal has to show.
fn crowded() -> Told {
    let mut told = Told::new(LineFilter::Brief);
    let long = "collect-everything-that-was-ever-said-x";
    for step in [long, "read", "approve", "publish"] {
        told.progress.rows.declare(step);
    }
    told.scheduled(long, 1, 0).after(1_000).completed(long, 1).event(fan_out(120));
    for item in 0..90 {
        told.scheduled(&format!("read[{item}]"), 1, 0);
    }
    for item in 0..83 {
        told.completed(&format!("read[{item}]"), 1);
    }
    told.failed("read[84]", 1, "not text");
    let failure = Failure::new(FailureKind::Agent, "exit_1", "not text");
    told.event(Event::StepFailed { step: StepPath::new("read[84]"), failure, untouched: false });
    told.event(Event::WaitStarted(WaitStarted {
        step: StepPath::new("approve"),
        waiting_for: WaitingFor::Signal("approved".to_owned()),
        until: None,
    }));
    let reason = "no live agent offers reader".into();
    let waiting = WaitingView::new(StepPath::new("read[85]"), reason);
    told.progress.set_waiting(&[waiting]);
    told.after(125_000);
    told
}

#[test]
fn a_narrow_terminal_shows_progress_time_and_reasons() {
    check(
        &crowded().frame_of(20, 39),
        &expect![[r#"
            ⠋ review  running  2 min 06 s
              ✔ collect…-said-x  1.0 s
              ○ read             84/120  2 min 05 s
                  no live agent offers reader
              ◌ approve          2 min 05 s
                  waits for the signal `approved`
              · publish
        "#]],
    );
    check(
        &crowded().frame_of(5, 39),
        &expect![[r#"
            ⠋ review  running  2 min 06 s
              ○ read      84/120  2 min 05 s
                  no live agent offers reader
              ◌ approve   2 min 05 s  waits for …
              … and 2 more: 1 over, 1 to come
        "#]],
    );
    check(
        &crowded().frame_of(20, 99),
        &expect![[r#"
            ⠋ review  running  2 min 06 s  13155c83-f2c9-81f8-9a99-aad745d64cc3
              ✔ collect-everything-that-was-ever-said-x  1.0 s
              ○ read                                     ━━━━━━━━────  84/120, 1 failed, 6 queued  2 min 05 s
                  no live agent offers reader
              ◌ approve                                  2 min 05 s  waits for the signal `approved`
              · publish
        "#]],
    );
}

/// A line in front that is not indented: an expectation loses the indentation that all lines have.
fn headed(left: String) -> String {
    format!("steps\n{left}")
}

#[test]
fn what_became_of_each_step_stays_on_the_terminal() {
    let mut told = crowded();
    told.completed("read[85]", 1);
    let reason = SkipReason::Condition;
    told.event(Event::StepSkipped { step: StepPath::new("publish"), reason });
    check(
        &headed(told.left(99)),
        &expect![[r#"
            steps
              ✔ collect-everything-that-was-ever-said-x  1.0 s
              ○ read                                     ━━━━━━━━────  85/120, 1 failed, 5 queued  2 min 05 s
                ✘ read[84]  exit_1: not text
              ◌ approve                                  2 min 05 s  waits for the signal `approved`
              – publish                                  its `if` is false
        "#]],
    );
    check(
        &headed(told.left(39)),
        &expect![[r#"
            steps
              ✔ collect…-said-x  1.0 s
              ○ read             85/120  2 min 05 s
                ✘ read[84]  exit_1: not text
              ◌ approve          2 min 05 s
                  waits for the signal `approved`
              – publish
                  its `if` is false
        "#]],
    );
}

#[test]
fn of_many_steps_those_that_did_not_end_well_stay() {
    let mut told = Told::new(LineFilter::Brief);
    for step in 0..40 {
        told.progress.rows.declare(&format!("s{step:02}"));
    }
    for step in 0..30 {
        told.scheduled(&format!("s{step:02}"), 1, 0).completed(&format!("s{step:02}"), 1);
    }
    told.scheduled("s31", 1, 0).failed("s31", 1, "out of honey");
    let failure = Failure::new(FailureKind::Agent, "exit_1", "out of honey");
    told.event(Event::StepFailed { step: StepPath::new("s31"), failure, untouched: false });
    check(
        &headed(told.left(60)),
        &expect![[r#"
            steps
              ✘ s31       0 ms  exit_1: out of honey
              … and 39 more: 9 pending, 30 completed
        "#]],
    );
}

#[test]
fn a_fan_out_ends_with_what_was_tolerated() {
    let mut told = Told::new(LineFilter::Brief);
    told.event(fan_out(4));
    for item in 0..4 {
        let step = format!("read[{item}]");
        told.scheduled(&step, 1, 0);
        if item < 2 {
            told.failed(&step, 1, "not text");
            let failure = Failure::new(FailureKind::Agent, "exit_1", "not text");
            told.event(Event::StepFailed { step: StepPath::new(&step), failure, untouched: false });
        } else {
            told.completed(&step, 1);
        }
    }
    let step = StepPath::new("read");
    told.event(Event::StepCompleted { step, output: None, signal: None });
    check(
        &told.lines(),
        &expect![[r#"
        run of review started (definition 000000000000)
        read: fans out to 4 items
        read[0]: attempt 1 failed: exit_1: not text
        read[0]: failed for good
        read[1]: attempt 1 failed: exit_1: not text
        read[1]: failed for good
        read: 3 of 4 done, 2 failed
        read: 4 of 4 done, 2 failed (tolerated)
    "#]],
    );
}

#[test]
fn a_failure_is_told_once() {
    let mut told = Told::new(LineFilter::Brief);
    let message = format!("exit code 3: {}", "x".repeat(900));
    for attempt in 1..=3 {
        told.scheduled("greet", attempt, 0).failed("greet", attempt, &message);
    }
    let failure = Failure::new(FailureKind::Agent, "exit_1", &message);
    told.event(Event::StepFailed { step: StepPath::new("greet"), failure, untouched: false });
    let failure = Failure::new(FailureKind::Agent, "exit_1", format!("greet: {message}"));
    told.event(Event::RunFailed { failure });
    let lines = told.lines();
    assert_eq!(lines.matches("xxx…").count(), 1, "{lines}");
    assert!(lines.lines().all(|line| line.chars().count() < 300), "{lines}");
    let end = plain(&summary(&told.progress, None, Failures::Told));
    assert!(!end.contains("xxx"), "{end}");
    let end = plain(&summary(&told.progress, None, Failures::Untold));
    assert!(end.contains("xxx…"), "{end}");
}

#[test]
fn items_that_are_made_good_are_counted_and_what_goes_wrong_is_told() {
    let mut told = Told::new(LineFilter::Brief);
    told.event(fan_out(3));
    let of = |item: usize| StepPath::new("read").item(item as u32).compensation();
    for item in 0..3 {
        told.scheduled(&format!("read[{item}]"), 1, 0).completed(&format!("read[{item}]"), 1);
    }
    told.event(Event::UnwindStarted { failure: None });
    for item in 0..3 {
        told.scheduled(of(item).as_str(), 1, 0);
    }
    told.completed(of(0).as_str(), 1).failed(of(1).as_str(), 1, "out of honey");
    let failure = || Failure::new(FailureKind::Agent, "exit_1", "out of honey");
    told.event(Event::StepFailed { step: of(1), failure: failure(), untouched: false });
    told.event(Event::RunStuck { step: of(1), failure: failure() });
    told.completed(of(2).as_str(), 1);
    told.event(Event::CompensationSkipped { step: of(1), by: "ada".to_owned() });
    check(
        &told.lines(),
        &expect![[r#"
            run of review started (definition 000000000000)
            read: fans out to 3 items
            read: 1 of 3 done
            read: 2 of 3 done
            read: 3 of 3 done
            making good what was done
            read~compensate: 1 of 3 made good
            read[1]~compensate: attempt 1 failed: exit_1: out of honey
            read[1]~compensate: failed for good
            read[1]~compensate: the run is stuck: exit_1: out of honey
            read~compensate: 2 of 3 made good, 1 failed
            read[1]~compensate: taken as done, says ada
        "#]],
    );
}

#[test]
fn what_was_made_good_is_told_as_it_was() {
    let ends = |before: &dyn Fn(&mut Told)| {
        let mut told = Told::new(LineFilter::Brief);
        before(&mut told);
        let failure = Failure::new(FailureKind::Agent, "declined", "no money");
        told.event(Event::RunCompensated { failure });
        told.lines().lines().last().unwrap_or_default().to_owned()
    };
    let unwinds = |told: &mut Told| {
        told.event(Event::UnwindStarted { failure: None }).scheduled("read~compensate", 1, 0);
    };
    assert_eq!(ends(&|_| ()), "run failed, there was nothing to make good: declined: no money");
    let done = |told: &mut Told| {
        unwinds(told);
        told.completed("read~compensate", 1);
    };
    assert_eq!(ends(&done), "run failed and was made good: declined: no money");
    let skipped = |told: &mut Told| {
        unwinds(told);
        let step = StepPath::new("read~compensate");
        told.event(Event::CompensationSkipped { step, by: "ada".to_owned() });
    };
    let told = "run failed and was made good, 1 step by other means: declined: no money";
    assert_eq!(ends(&skipped), told);
}

#[test]
fn a_fallback_that_takes_over_is_told() {
    let mut told = Told::new(LineFilter::Brief);
    told.event(fan_out(1));
    for step in ["fetch", "read[0]"] {
        told.scheduled(step, 1, 0).failed(step, 1, "overloaded");
        let fallback = AttemptScheduled {
            step: StepPath::new(step),
            attempt: 2,
            not_before: Timestamp::from_millis(told.at),
            input: None,
            fallback: true,
        };
        told.event(Event::AttemptScheduled(fallback));
    }
    check(
        &told.frame(8),
        &expect![[r#"
            ⠋ review  running  0 ms  13155c83-f2c9-81f8-9a99-aad745d64cc3
              ○ read      ────────────  0/1, 1 queued  0 ms
              ○ fetch     0 ms  attempt 2, the fallback's  exit_1: overloaded
        "#]],
    );
    told.completed("fetch", 2).completed("read[0]", 2);
    check(
        &told.lines(),
        &expect![[r#"
            run of review started (definition 000000000000)
            read: fans out to 1 item
            fetch: attempt 1 failed: exit_1: overloaded
            fetch: the fallback takes over: attempt 2 scheduled
            read[0]: attempt 1 failed: exit_1: overloaded
            read[0]: the fallback takes over: attempt 2 scheduled
            fetch: completed in 250 ms by exec-1, attempt 2
            read: 1 of 1 done
        "#]],
    );
}

#[test]
fn it_is_told_what_somebody_may_have_begun() {
    let mut told = Told::new(LineFilter::Brief);
    for (step, in_doubt) in [("pay", false), ("pack", true)] {
        told.scheduled(step, 1, 0);
        let failure = Failure::new(FailureKind::QueueTimeout, "queue_timeout", "nobody took it");
        let (step, attempt, agent, duration_ms) = (StepPath::new(step), 1, None, None);
        let failed = AttemptFailed { step, attempt, agent, failure, in_doubt, duration_ms };
        told.event(Event::AttemptFailed(failed));
    }
    check(
        &told.lines(),
        &expect![[r#"
            run of review started (definition 000000000000)
            pay: attempt 1 failed: queue_timeout: nobody took it
            pack: attempt 1 failed: queue_timeout: nobody took it; somebody may have begun it
        "#]],
    );
}
