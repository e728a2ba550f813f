//! How attempts end: completed, failed, panicked, out of time, cancelled, given back.

use std::io;
use std::time::Duration;

use expect_test::expect;
use futures::StreamExt as _;
use serde_json::{Value, json};
use skep_agent::{Agent, Context, Failure};
use skep_protocol::{Control, IgnoreReason, Refusal, Verdict};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::harness::{Count, Stage, check, line, lines, long_time, task};

fn failing() -> Agent {
    let handler = |how: String| async move {
        match how.as_str() {
            "fine" => Ok(1),
            "coded" => {
                let failure = Failure::new("rate_limited", "429");
                let failure = failure.retry_after(Duration::from_secs(3));
                Err(failure.with_details(&json!({ "limit": 10 })))
            }
            "fatal" => Err(Failure::fatal("card_declined", "the bank said no")),
            "text" => panic!("it is {how}"),
            "value" => std::panic::panic_any(7),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such page").into()),
        }
    };
    Agent::builder("failing").serve("fail", handler).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_returns_is_what_is_reported() {
    let outcomes = [
        ("fine", expect!["s/1 completed 1"]),
        (
            "coded",
            expect![[r#"s/1 failed Agent rate_limited: 429 (retryable, after 3s) {"limit":10}"#]],
        ),
        ("fatal", expect!["s/1 failed Agent card_declined: the bank said no (final)"]),
        ("io", expect!["s/1 failed Agent error: no such page (retryable)"]),
        ("text", expect!["s/1 failed Panic panic: the handler panicked: it is text (retryable)"]),
        (
            "value",
            expect!["s/1 failed Panic panic: the handler panicked: (no message) (retryable)"],
        ),
    ];
    for (how, expected) in outcomes {
        check(failing(), task("s", "fail", json!(how)), expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_panic_the_process_goes_on() {
    let stage = Stage::start(failing()).await;
    let mut owner = stage.own().await;
    for (step, how) in [("a", "text"), ("b", "fine"), ("c", "value"), ("d", "fine")] {
        stage.give(&task(step, "fail", json!(how))).await;
    }
    let mut reports = owner.apply_all(4).await;
    reports.sort_by(|a, b| a.step.cmp(&b.step));
    expect![[r#"
        a/1 failed Panic panic: the handler panicked: it is text (retryable)
        b/1 completed 1
        c/1 failed Panic panic: the handler panicked: (no message) (retryable)
        d/1 completed 1
    "#]]
    .assert_eq(&lines(&reports));
}

/// A handler that never ends by itself, and counts what happens to it.
fn endless(started: &Count, warned: &Count, dropped: &Count) -> Agent {
    let (started, warned, dropped) = (started.clone(), warned.clone(), dropped.clone());
    let handler = move |context: Context, _input: Value| {
        let (started, warned, guard) = (started.clone(), warned.clone(), dropped.on_drop());
        async move {
            let _guard = guard;
            started.up();
            context.cancelled().await;
            warned.up();
            assert!(context.is_cancelled());
            std::future::pending::<()>().await;
            Ok::<_, Failure>(())
        }
    };
    Agent::builder("endless").serve("wait", handler).slots(2).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_handler_out_of_time_is_warned_and_then_dropped() {
    let (started, warned, dropped) = (Count::default(), Count::default(), Count::default());
    let agent = endless(&started, &warned, &dropped);
    let mut task = task("s", "wait", json!({}));
    task.timeout_ms = 1_500;
    let expected = expect![
        "s/1 failed Timeout timeout: the attempt took longer than its timeout of 1.5s (retryable)"
    ];
    check(agent, task, expected).await;
    assert_eq!((started.get(), warned.get(), dropped.get()), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_attempt_is_warned_dropped_and_not_reported() {
    let (started, warned, dropped) = (Count::default(), Count::default(), Count::default());
    let mut stage = Stage::start(endless(&started, &warned, &dropped)).await;
    let mut owner = stage.own().await;
    let (one, other) = (task("one", "wait", json!({})), task("other", "wait", json!({})));
    stage.give(&one).await;
    stage.give(&other).await;
    stage.beat_where(|beat| beat.held.len() == 2).await;
    stage.control(Control::Cancel { attempts: vec![one.id()] }).await;
    let beat = stage.beat_where(|beat| beat.held.len() == 1).await;
    assert_eq!(beat.held[0].attempt, other.id());
    assert_eq!((started.get(), warned.get(), dropped.get()), (2, 1, 1));
    // The slot is free again, and the only report ever is that of the attempt which goes on.
    stage.give(&task("third", "wait", json!({}))).await;
    expect![
        "other/1 failed Timeout timeout: \
         the attempt took longer than its timeout of 60s (retryable)"
    ]
    .assert_eq(&line(&owner.apply().await));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_cancelled_attempt_shows_at_once() {
    let clean_up = Duration::from_millis(300);
    let handler = move |context: Context, _input: Value| async move {
        context.cancelled().await;
        tokio::time::sleep(clean_up).await;
        Ok::<_, Failure>("cleaned up")
    };
    let mut stage = Stage::start(Agent::builder("a").serve("c", handler).build().unwrap()).await;
    let task = task("s", "c", json!({}));
    stage.give(&task).await;
    stage.beat_where(|beat| !beat.held.is_empty()).await;
    let told = Instant::now();
    stage.control(Control::Cancel { attempts: vec![task.id()] }).await;
    assert_eq!(stage.beats.next().await.unwrap().held, []);
    assert_eq!(told.elapsed(), clean_up);
    // Whoever asks for the end of what is not there is told so.
    stage.control(Control::Cancel { attempts: vec![task.id()] }).await;
    assert_eq!(stage.beats.next().await.unwrap().held, []);
    assert_eq!(told.elapsed(), clean_up);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_nobody_wants_cancels_the_attempt() {
    let (told, mut failures) = mpsc::unbounded_channel();
    let handler = move |context: Context, _input: Value| {
        let told = told.clone();
        async move {
            told.send(context.save_checkpoint(&1).await.unwrap_err()).unwrap();
            context.cancelled().await;
            Ok::<_, Failure>("too late")
        }
    };
    let mut stage = Stage::start(Agent::builder("a").serve("c", handler).build().unwrap()).await;
    let mut owner = stage.own().await;
    stage.give(&task("s", "c", json!({}))).await;
    let report = owner.answer(Verdict::Ignored(IgnoreReason::Stale)).await;
    expect!["s/1 checkpoint 1"].assert_eq(&line(&report));
    assert_eq!(failures.recv().await.unwrap().code(), "cancelled");
    stage.beat_where(|beat| beat.held.is_empty()).await;
    stage.stop();
    stage.left().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_leaves_finishes_what_it_holds() {
    let handler = |_input: Value| async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        Ok::<_, Failure>("done")
    };
    let agent = Agent::builder("a").serve("c", handler).build().unwrap();
    let mut stage = Stage::start(agent).await;
    let mut owner = stage.own().await;
    stage.give(&task("s", "c", json!({}))).await;
    stage.stop();
    stage.beat_where(|beat| beat.draining && beat.held.len() == 1).await;
    assert_eq!(stage.refusal(&task("t", "c", json!({}))).await, Some(Refusal::Draining));
    expect![[r#"s/1 completed "done""#]].assert_eq(&line(&owner.apply().await));
    let last = stage.beat_where(|beat| beat.leaving).await;
    assert!(last.held.is_empty());
    stage.left().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_finished_is_given_back() {
    let (started, warned, dropped) = (Count::default(), Count::default(), Count::default());
    let mut stage = Stage::start(endless(&started, &warned, &dropped)).await;
    let mut owner = stage.own().await;
    let mut task = task("s", "wait", json!({}));
    task.timeout_ms = 3_600_000;
    stage.give(&task).await;
    stage.control(Control::Drain {}).await;
    expect!["s/1 released unfinished"].assert_eq(&line(&owner.apply().await));
    assert_eq!((started.get(), warned.get(), dropped.get()), (1, 1, 1));
    stage.beat_where(|beat| beat.leaving).await;
    stage.left().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_output_in_the_grace_counts_and_a_failure_is_given_back() {
    let handler = |context: Context, fine: bool| async move {
        context.cancelled().await;
        if fine { Ok("saved") } else { Err(Failure::new("interrupted", "told to stop")) }
    };
    let agent = Agent::builder("a").serve("c", handler).build().unwrap();
    let mut stage = Stage::start(agent).await;
    let mut owner = stage.own().await;
    for (step, fine) in [("fine", true), ("torn", false)] {
        let mut task = task(step, "c", json!(fine));
        task.timeout_ms = 3_600_000;
        stage.give(&task).await;
    }
    stage.stop();
    let mut reports = owner.apply_all(2).await;
    reports.sort_by(|a, b| a.step.cmp(&b.step));
    expect![[r#"
        fine/1 completed "saved"
        torn/1 released unfinished
    "#]]
    .assert_eq(&lines(&reports));
    stage.left().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_cancels_its_own_token_gives_the_attempt_back() {
    let handler = |context: Context, _input: Value| async move {
        context.cancellation().cancel();
        assert!(context.is_cancelled());
        std::future::pending::<()>().await;
        Ok::<_, Failure>(())
    };
    let agent = Agent::builder("a").serve("c", handler).build().unwrap();
    let expected = expect!["s/1 released unfinished"];
    check(agent, task("s", "c", json!({})), expected).await;
}

#[tokio::test(start_paused = true)]
async fn each_handler_has_its_own_time() {
    let agent = Agent::builder("a").serve("c", |_input: Value| async {
        long_time().await;
        Ok::<_, Failure>(())
    });
    let agent = agent.slots(200).cancel_within(Duration::ZERO).build().unwrap();
    let stage = Stage::start(agent).await;
    let mut owner = stage.own().await;
    let start = Instant::now();
    for number in 1..=150_u32 {
        let mut task = task(&format!("s{number}"), "c", json!({}));
        // Neither in order nor in the order against it.
        task.timeout_ms = u64::from(number * 67 % 151) * 1_000;
        stage.give(&task).await;
    }
    for second in 1..=150_u64 {
        let report = line(&owner.apply().await);
        assert!(report.ends_with(&format!("timeout of {second}s (retryable)")), "{report}");
        assert!(start.elapsed() >= Duration::from_secs(second));
        assert!(start.elapsed() < Duration::from_secs(second + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_agent_takes_its_handlers_with_it() {
    let (started, warned, dropped) = (Count::default(), Count::default(), Count::default());
    let mut stage = Stage::start(endless(&started, &warned, &dropped)).await;
    stage.give(&task("s", "wait", json!({}))).await;
    stage.beat_where(|beat| beat.held.len() == 1).await;
    stage.kill().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((started.get(), warned.get(), dropped.get()), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_idle_agent_goes_on_until_it_is_told_to_leave() {
    let mut stage = Stage::start(failing()).await;
    let mut owner = stage.own().await;
    long_time().await;
    stage.give(&task("s", "fail", json!("fine"))).await;
    stage.stop();
    expect!["s/1 completed 1"].assert_eq(&line(&owner.apply().await));
    stage.left().await.unwrap();
}

#[test]
fn a_handler_that_blocks_its_thread_keeps_its_slot_until_it_returns() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (go_on, waiting) = std::sync::mpsc::channel::<()>();
        let waiting = std::sync::Mutex::new(waiting);
        let waiting = std::sync::Arc::new(waiting);
        let handler = move |block: bool| {
            let waiting = std::sync::Arc::clone(&waiting);
            async move {
                if block {
                    tokio::task::block_in_place(|| waiting.lock().unwrap().recv().unwrap());
                }
                Ok::<_, Failure>(block)
            }
        };
        let agent = Agent::builder("a").serve("c", handler).slots(1);
        let agent = agent.cancel_within(Duration::from_millis(1)).build().unwrap();
        let stage = Stage::start(agent).await;
        let mut owner = stage.own().await;
        let mut blocking = task("blocks", "c", json!(true));
        blocking.timeout_ms = 1;
        stage.give(&blocking).await;
        let report = line(&owner.apply().await);
        assert!(report.starts_with("blocks/1 failed Timeout"), "{report}");
        let next = task("next", "c", json!(false));
        assert_eq!(stage.refusal(&next).await, Some(Refusal::Busy));
        go_on.send(()).unwrap();
        while stage.refusal(&next).await.is_some() {
            tokio::task::yield_now().await;
        }
        expect!["next/1 completed false"].assert_eq(&line(&owner.apply().await));
    });
}
