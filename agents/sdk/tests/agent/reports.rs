//! Heartbeats, duplicates, checkpoints, what a handler learns of its attempt.

use std::time::Duration;

use expect_test::expect;
use futures::StreamExt as _;
use serde_json::{Value, json};
use skep_agent::{Agent, Context, Failure};
use skep_protocol::limits::{HEARTBEAT_INTERVAL, MAX_SHARED};
use skep_protocol::{Answer as _, Heartbeat, Refusal, Report, ReportReply, Verdict, encode};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::harness::{Count, Stage, line, lines, task};

fn echo(count: &Count) -> Agent {
    let count = count.clone();
    let handler = move |input: Value| {
        count.up();
        async move { Ok::<_, Failure>(input) }
    };
    let agent = Agent::builder("echo").serve("echo", handler).slots(1_000);
    agent.label("gpu", "a100").software("echo 1.2").build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_in_time_and_say_who_is_there() {
    let mut stage = Stage::start(echo(&Count::default())).await;
    let start = Instant::now();
    let mut last = None;
    for count in 1..=3 {
        let beat = stage.beats.next().await.unwrap();
        assert_eq!(start.elapsed(), HEARTBEAT_INTERVAL * count);
        assert!(beat.answers.is_empty(), "{:?}", beat.answers);
        let Heartbeat { v, agent, seq, lane, offers, labels, held, draining, leaving, .. } = beat;
        let software = beat.software;
        assert_eq!((v, agent), (1, stage.agent.clone()));
        assert!(last.is_none_or(|last| seq == last + 1), "{seq} after {last:?}");
        last = Some(seq);
        let offered = format!("{lane:?} {offers:?}");
        expect![[r#"Direct [Offer { capability: "echo", slots: 1000 }]"#]].assert_eq(&offered);
        let said = format!("{labels:?} {held:?} {draining} {leaving} {software}");
        expect![[r#"{"gpu": "a100"} [] false false echo 1.2"#]].assert_eq(&said);
    }
    let beat = stage.beat_where(|_| true).await;
    assert_eq!(start.elapsed(), HEARTBEAT_INTERVAL * 3, "a roll call is at once");
    assert_eq!(Some(beat.seq), last.map(|last| last + 1));
}

/// Of two processes with the same id, one after the other, the later one is heard.
#[tokio::test(start_paused = true)]
async fn the_numbers_of_heartbeats_begin_at_the_wall_clock() {
    let mut stage = Stage::start(echo(&Count::default())).await;
    let beat = stage.beats.next().await.unwrap();
    assert!(beat.seq > 1_763_694_000_000, "{}", beat.seq);
}

/// What is missing in a heartbeat counts as lost: an agent takes no more than a heartbeat can name,
/// whatever the number of its slots, and notes give way.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_names_all_that_is_held_and_is_never_too_large() {
    let handler = async |context: Context, _: Value| {
        context.progress("x".repeat(5_000));
        context.cancelled().await;
        Ok::<_, Failure>(1)
    };
    let agent = Agent::builder("busy").serve("echo", handler).slots(1_000_000).build().unwrap();
    let mut stage = Stage::start(agent).await;
    let _owner = stage.own().await;
    let mut taken = 0;
    loop {
        let named =
            |number: usize| task(&format!("{}[{number}]", "s".repeat(60)), "echo", json!(1));
        let tasks: Vec<_> = (taken..taken + 256).map(named).collect();
        let refused = stage.deliver(tasks).await.refused;
        taken += 256 - refused.len();
        if !refused.is_empty() {
            assert!(refused.iter().all(|(_, refusal)| *refusal == Refusal::Busy));
            break;
        }
    }
    assert!(taken > 1_000, "{taken}");
    let beat = stage.beat_where(|beat| beat.held.iter().all(|h| h.progress.is_some())).await;
    assert_eq!(beat.held.len(), taken);
    assert!(encode(&beat).len() <= 512 * 1024);
}

#[tokio::test(start_paused = true)]
async fn what_is_finished_but_not_confirmed_is_held() {
    let mut stage = Stage::start(echo(&Count::default())).await;
    let mut owner = stage.own().await;
    let task = task("s", "echo", json!(1));
    stage.give(&task).await;
    let (reports, responder) = owner.next().await;
    let beat = stage.beat_where(|beat| !beat.held.is_empty()).await;
    assert_eq!(beat.held[0].attempt, task.id());
    responder.send(ReportReply::from(vec![Verdict::Applied]));
    stage.beat_where(|beat| beat.held.is_empty()).await;
    expect!["s/1 completed 1"].assert_eq(&line(&reports[0]));
}

#[tokio::test(start_paused = true)]
async fn progress_travels_with_heartbeats() {
    let handler = |context: Context, _input: Value| async move {
        context.progress("reading");
        context.progress_of(1, 3);
        context.cancelled().await;
        Ok::<_, Failure>(())
    };
    let mut stage = Stage::start(Agent::builder("a").serve("c", handler).build().unwrap()).await;
    stage.give(&task("s", "c", json!({}))).await;
    let beat = stage.beat_where(|beat| beat.held.iter().any(|held| held.progress.is_some())).await;
    expect![[r#"Some(Progress { calls: 2, per_mille: Some(333), note: Some("reading") })"#]]
        .assert_eq(&format!("{:?}", beat.held[0].progress));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_comes_twice_is_performed_once() {
    let count = Count::default();
    let mut stage = Stage::start(echo(&count)).await;
    let mut owner = stage.own().await;
    let task = task("s", "echo", json!(1));
    // Twice in one message, and again while the report is on its way.
    assert_eq!(stage.deliver(vec![task.clone(), task.clone()]).await.refused, []);
    let (reports, responder) = owner.next().await;
    stage.give(&task).await;
    responder.send(ReportReply::from(vec![Verdict::Applied]));
    // Once it was confirmed, the kept report answers.
    for _ in 0..2 {
        stage.beat_where(|beat| beat.held.is_empty()).await;
        stage.give(&task).await;
        assert_eq!((owner.apply().await, count.get()), (reports[0].clone(), 1));
    }
    // The next attempt is another one.
    let next = skep_protocol::Task { attempt: 2, ..task };
    stage.give(&next).await;
    expect!["s/2 completed 1"].assert_eq(&line(&owner.apply().await));
    assert_eq!(count.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn reports_that_are_ready_share_a_message() {
    let stage = Stage::start(echo(&Count::default())).await;
    let mut owner = stage.own().await;
    stage.give(&task("first", "echo", json!(0))).await;
    let (first, responder) = owner.next().await;
    let tasks: Vec<_> = (0..600).map(|n| task(&format!("s[{n}]"), "echo", json!(n))).collect();
    assert_eq!(stage.deliver(tasks).await.refused, []);
    // While one message is under way, the others gather.
    sleep(Duration::from_secs(1)).await;
    responder.send(ReportReply::from(vec![Verdict::Applied; first.len()]));
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 600 {
        let (reports, responder) = owner.next().await;
        sizes.push(reports.len());
        responder.send(ReportReply::from(vec![Verdict::Applied; reports.len()]));
    }
    assert_eq!(sizes, [MAX_SHARED, MAX_SHARED, 600 - 2 * MAX_SHARED]);
}

#[tokio::test(start_paused = true)]
async fn a_message_with_too_few_verdicts_is_finished_later() {
    let stage = Stage::start(echo(&Count::default())).await;
    let mut owner = stage.own().await;
    assert_eq!(
        stage
            .deliver((0..3).map(|n| task(&format!("s[{n}]"), "echo", json!(n))).collect())
            .await
            .refused,
        []
    );
    let (mut reports, responder) = owner.next().await;
    responder.send(ReportReply::from(vec![Verdict::Applied]));
    let rest = reports.split_off(1);
    let again = owner.apply_all(2).await;
    assert_eq!(again, rest);
}

/// What the owner of the partition cannot read keeps no other report away from it, and is sent
/// again only as a failure that says so; if it cannot read that, the attempt is given up.
#[tokio::test(start_paused = true)]
async fn what_the_coordinator_cannot_read_is_not_sent_for_ever() {
    let mut stage = Stage::start(echo(&Count::default())).await;
    let mut owner = stage.own().await;
    let tasks = ["a", "odd", "b", "never"].map(|step| task(step, "echo", json!(1)));
    assert_eq!(stage.deliver(tasks.to_vec()).await.refused, []);
    let is_odd = |report: &Report| match report.step.as_str() {
        "never" => true,
        "odd" => !line(report).contains("report_unreadable"),
        _ => false,
    };
    let mut told = Vec::new();
    while told.len() < 6 {
        let (reports, responder) = owner.next().await;
        let verdicts = vec![Verdict::Applied; reports.len()];
        match reports.as_slice() {
            [only] if is_odd(only) => {
                told.push(format!("unread: {}", line(only)));
                responder.send(ReportReply::unreadable("too new".to_owned()));
            }
            several if several.iter().any(is_odd) => {
                responder.send(ReportReply::unreadable("too new".to_owned()));
            }
            readable => {
                told.extend(readable.iter().map(line));
                responder.send(ReportReply::from(verdicts));
            }
        }
    }
    expect![[r#"
        a/1 completed 1
        unread: odd/1 completed 1
        odd/1 failed Limit report_unreadable: the coordinator cannot read the report: too new (final)
        b/1 completed 1
        unread: never/1 completed 1
        unread: never/1 failed Limit report_unreadable: the coordinator cannot read the report: too new (final)"#]].assert_eq(&told.join("\n"));
    stage.beat_where(|beat| beat.held.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_the_coordinator_cannot_read_fails_the_call() {
    let handler = |context: Context, _: Value| async move {
        context.save_checkpoint(&1).await?;
        Ok::<_, Failure>(1)
    };
    let stage = Stage::start(Agent::builder("a").serve("c", handler).build().unwrap()).await;
    let mut owner = stage.own().await;
    stage.give(&task("s", "c", json!({}))).await;
    let (_, responder) = owner.next().await;
    responder.send(ReportReply::unreadable("too new".to_owned()));
    let ended = line(&owner.apply().await);
    let expected = "s/1 failed Agent invalid_checkpoint: the coordinator cannot read the report";
    assert!(ended.starts_with(expected), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn slots_bound_what_is_taken() {
    let wait = |context: Context, _input: Value| async move {
        context.cancelled().await;
        Ok::<_, Failure>(())
    };
    let agent = Agent::builder("a").serve("one", wait).slots(1).serve("two", wait).slots(2);
    let stage = Stage::start(agent.total_slots(2).build().unwrap()).await;
    let refused = async |step: &str, capability: &str| {
        stage.refusal(&task(step, capability, json!({}))).await
    };
    assert_eq!(refused("a", "one").await, None);
    assert_eq!(refused("b", "one").await, Some(Refusal::Busy));
    assert_eq!(refused("c", "two").await, None);
    assert_eq!(refused("d", "two").await, Some(Refusal::Busy));
    assert_eq!(refused("e", "three").await, Some(Refusal::UnknownCapability));
}

#[tokio::test(start_paused = true)]
async fn a_handler_knows_its_attempt() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = move |context: Context, _input: Value| {
        let tell = tell.clone();
        async move {
            let c = &context;
            let ids = (c.run(), c.step(), c.attempt(), c.fencing_token(), c.idempotency_key());
            let limits = (c.deadline(), c.remaining(), c.workflow(), c.capability());
            let (id, agent) = (c.attempt_id(), c.agent());
            tell.send(format!("{ids:?}\n{limits:?}\n{id} {agent}\n")).unwrap();
            Ok::<_, Failure>(())
        }
    };
    let agent = Agent::builder("a").id("a-1".parse().unwrap()).serve("c", handler);
    let stage = Stage::start(agent.build().unwrap()).await;
    let mut task = task("review[2]", "c", json!({}));
    (task.attempt, task.fencing_token) = (4, 77);
    stage.give(&task).await;
    expect![[r#"
        (f3b34243-f509-84e9-8580-0cac5793db78, review[2], 4, 77, "f3b34243-f509-84e9-8580-0cac5793db78/review[2]")
        (None, 60s, "test", "c")
        f3b34243-f509-84e9-8580-0cac5793db78/review[2]/4 a-1
    "#]]
    .assert_eq(&told.recv().await.unwrap());
}

/// By this host's clock the deadline has long passed, or is far away.
#[tokio::test(start_paused = true)]
async fn what_remains_is_counted_from_the_receipt() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = move |context: Context, _input: Value| {
        let tell = tell.clone();
        async move {
            tell.send(context.remaining()).unwrap();
            sleep(Duration::from_secs(3)).await;
            tell.send(context.remaining()).unwrap();
            Ok::<_, Failure>(())
        }
    };
    let stage = Stage::start(Agent::builder("a").serve("c", handler).build().unwrap()).await;
    let hour = Duration::from_secs(3_600);
    let now = skep_broker::host::now();
    let ago = skep_protocol::Timestamp::from_millis(now.as_millis() - 3_600_000);
    for (step, deadline) in [("behind", ago), ("ahead", now.after(hour))] {
        let mut task = task(step, "c", json!({}));
        (task.deadline, task.deadline_in_ms) = (Some(deadline), Some(10_000));
        stage.give(&task).await;
        assert_eq!(told.recv().await, Some(Duration::from_secs(10)), "{step}");
        assert_eq!(told.recv().await, Some(Duration::from_secs(7)), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_attempt_finds_the_checkpoint() {
    let handler = |context: Context, _input: Value| async move {
        let pages: Option<Vec<u32>> = context.checkpoint().await?;
        match pages {
            None => {
                context.save_checkpoint(&[1, 2, 3]).await?;
                Err(Failure::new("interrupted", "after three pages"))
            }
            Some(pages) => Ok(pages.len()),
        }
    };
    let stage = Stage::start(Agent::builder("a").serve("c", handler).build().unwrap()).await;
    let mut owner = stage.own().await;
    let mut task = task("s", "c", json!({}));
    stage.give(&task).await;
    let mut reports = owner.apply_all(2).await;
    let skep_protocol::ReportBody::Checkpoint(saved) = &reports[0].body else { panic!() };
    (task.attempt, task.checkpoint) = (2, Some(saved.clone()));
    stage.give(&task).await;
    reports.push(owner.apply().await);
    (task.attempt, task.checkpoint) = (3, Some(json!("page 3").into()));
    stage.give(&task).await;
    reports.push(owner.apply().await);
    expect![[r#"
        s/1 checkpoint [1,2,3]
        s/1 failed Agent interrupted: after three pages (retryable)
        s/2 completed 3
        s/3 failed Agent invalid_checkpoint: the checkpoint of an earlier attempt does not fit: invalid type: string "page 3", expected a sequence (final)
    "#]]
    .assert_eq(&lines(&reports));
}
