//! What fails, is overloaded or lies: breakers, budgets and quarantine over the whole coordinator.
//!
//! All of it in virtual time: what passes here are the clocks of the machines.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use skep_broker::{Broker, Embedded};
use skep_protocol::limits::{RETRY_RESERVE, RETRY_SHARE_PER_MILLE, RETRY_WINDOW};
use skep_protocol::{
    AgentStanding, AgentView, BreakerPhase, BreakerView, Command, CommandReply, Event, Failure,
    FailureKind, Order, PartitionId, Query, QueryReply, RunId, RunStatus,
};
use tokio::time::Instant;

use crate::world::*;

/// One step that is tried for as long as it takes.
const PATIENT: &str = "
name: patient
steps:
  pay: { agent: pay, retry: { attempts: 1000, initial: 100ms, max: 1s, jitter: none } }
";

/// The same with no patience for an open breaker.
const HASTY: &str = "
name: hasty
steps:
  pay: { agent: pay, when_open: fail, retry: { attempts: 1000, initial: 1s, jitter: none } }
";

fn overload() -> Failure {
    let mut failure = Failure::new(FailureKind::Agent, "http_429", "slow down");
    failure.retry_after_ms = Some(1_000);
    failure
}

/// When calls were made, and whether each repeated one.
#[derive(Debug, Default)]
struct Calls(Mutex<Vec<(Instant, u32)>>);

impl Calls {
    fn note(&self, attempt: u32) {
        self.0.lock().unwrap().push((Instant::now(), attempt));
    }

    fn all(&self) -> Vec<(Instant, u32)> {
        self.0.lock().unwrap().clone()
    }
}

async fn breakers<B: Broker>(broker: &B) -> Vec<BreakerView> {
    match broker.query(Query::Breakers { everywhere: false }).await {
        Ok(QueryReply::Breakers(breakers)) => breakers,
        other => panic!("{other:?}"),
    }
}

async fn agents<B: Broker>(broker: &B) -> BTreeMap<String, AgentView> {
    match broker.query(Query::Agents { everywhere: false }).await {
        Ok(QueryReply::Agents(agents)) => {
            agents.into_iter().map(|view| (view.agent.to_string(), view)).collect()
        }
        other => panic!("{other:?}"),
    }
}

async fn order<B: Broker>(broker: &B, order: Order) {
    let reply = broker.command(PartitionId::new(0), Command::Order(order)).await.unwrap();
    assert_eq!(reply, CommandReply::Done {});
}

/// Returns what the first step of a run waits for, once that is known.
async fn waits(broker: &Embedded, run: RunId) -> String {
    loop {
        let waiting = detail(broker, run).await.map(|detail| detail.waiting).unwrap_or_default();
        if let Some(view) = waiting.into_iter().next() {
            return view.reason;
        }
        tokio::task::yield_now().await;
    }
}

async fn all_complete(broker: &Embedded, runs: &[RunId]) {
    for run in runs {
        let history = history_to_end(broker, *run).await;
        let last = &history.last().unwrap().record.event;
        assert!(matches!(last, Event::RunCompleted { .. }), "{last:?}");
    }
}

/// A capability that fails for a minute: while the breaker is open no more calls are made than
/// there are probes, no run is lost, and one cool-down after it is well everything goes out.
#[tokio::test(start_paused = true)]
async fn a_capability_that_always_fails_is_left_alone_and_nothing_is_lost() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, PATIENT).await;
    let (calls, well) = (Arc::new(Calls::default()), Arc::new(AtomicBool::new(false)));
    let (noted, is_well) = (Arc::clone(&calls), Arc::clone(&well));
    let _agent = FakeAgent::start(&broker, "a", &[("pay", 64)], &ledger, move |task| {
        noted.note(task.attempt);
        match is_well.load(Ordering::Relaxed) {
            true => Act::Complete(json!(1)),
            false => Act::Fail(Failure::new(FailureKind::Agent, "http_500", "no")),
        }
    })
    .await;
    let mut runs = Vec::new();
    for number in 0..60 {
        runs.push(start(&broker, &format!("k{number}"), "patient").await);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let views = breakers(&broker).await;
    assert!(views.iter().all(|view| view.phase != BreakerPhase::Closed), "{views:?}");
    assert!(views[0].parked > 40, "{views:?}");
    let why = waits(&broker, runs[59]).await;
    assert!(why.starts_with("circuit breaker of pay is"), "{why}");

    // Ten calls open it; from then on there are three probes in each cool-down at most.
    let during = calls.all();
    let opened = during[9].0;
    let after = during.iter().filter(|(at, _)| *at > opened).count();
    let cooldowns = opened.elapsed().as_secs() / 15;
    assert!(after as u64 <= 3 * cooldowns, "{after} calls in {cooldowns} cool-downs");
    assert!(after > 0, "it is probed");

    let open = &breakers(&broker).await[0];
    let cooldown = match (open.since, open.until) {
        (Some(since), Some(until)) if open.phase == BreakerPhase::Open => until.since(since),
        (_, _) => Duration::from_secs(60),
    };
    well.store(true, Ordering::Relaxed);
    let healed = Instant::now();
    all_complete(&broker, &runs).await;
    let last = calls.all().iter().map(|(at, _)| *at - healed).max().unwrap();
    assert!(last <= cooldown, "the last call was made {last:?} after it was well");
}

/// A run that asks for what its agents were not allowed fails, and keeps nobody else from them.
#[tokio::test(start_paused = true)]
async fn what_an_agent_does_not_do_opens_no_breaker() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, PATIENT).await;
    let _agent = FakeAgent::start(&broker, "a", &[("pay", 64)], &ledger, |task| {
        let mut refused = Failure::new(FailureKind::Agent, "command_not_allowed", "not `rm`");
        refused.only_here = true;
        if task.attempt < 3 { Act::Fail(refused) } else { Act::Complete(json!(1)) }
    })
    .await;
    let mut runs = Vec::new();
    for number in 0..12 {
        runs.push(start(&broker, &format!("k{number}"), "patient").await);
    }
    all_complete(&broker, &runs).await;
    let opened = breakers(&broker).await.into_iter().find(|view| view.trips > 0);
    assert_eq!(opened, None);
}

/// Fifty agents that are told to slow down, all at once: what is repeated stays within the budget,
/// and every run completes.
#[tokio::test(start_paused = true)]
async fn a_storm_of_429_stays_within_the_budget_and_loses_nothing() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, PATIENT).await;
    let (calls, storm) = (Arc::new(Calls::default()), Arc::new(AtomicBool::new(true)));
    let mut swarm = Vec::new();
    for number in 0..50 {
        let (noted, storm) = (Arc::clone(&calls), Arc::clone(&storm));
        let name = format!("a{number}");
        let agent = FakeAgent::start(&broker, &name, &[("pay", 4)], &ledger, move |task| {
            noted.note(task.attempt);
            match storm.load(Ordering::Relaxed) {
                true => Act::Fail(overload()),
                false => Act::Complete(json!(1)),
            }
        });
        swarm.push(agent.await);
    }
    let mut runs = Vec::new();
    for number in 0..200 {
        runs.push(start(&broker, &format!("k{number}"), "patient").await);
    }
    tokio::time::sleep(Duration::from_secs(40)).await;
    let during = calls.all();
    for (at, _) in &during {
        let within = |span: Duration, wanted: fn(u32) -> bool| {
            let in_span = |one: &Instant| *one <= *at && *at - *one < span;
            during.iter().filter(|(one, attempt)| wanted(*attempt) && in_span(one)).count()
        };
        let repeated = within(RETRY_WINDOW / 10 * 9, |attempt| attempt > 1);
        let first = within(RETRY_WINDOW * 2, |attempt| attempt == 1);
        let allowed = first * usize::from(RETRY_SHARE_PER_MILLE) / 1_000 + RETRY_RESERVE as usize;
        assert!(repeated <= allowed, "{repeated} repeated, {allowed} allowed");
    }
    storm.store(false, Ordering::Relaxed);
    all_complete(&broker, &runs).await;
}

/// One of ten agents fails all it gets: it is put out, tried again, and comes back when it is well.
#[tokio::test(start_paused = true)]
async fn a_bad_agent_among_ten_is_quarantined_and_paroled() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, PATIENT).await;
    let (bad, mended) = (Arc::new(Calls::default()), Arc::new(AtomicBool::new(false)));
    let mut swarm = Vec::new();
    for number in 0..10 {
        let (noted, mended) = (Arc::clone(&bad), Arc::clone(&mended));
        let name = format!("a{number}");
        let agent = FakeAgent::start(&broker, &name, &[("pay", 1)], &ledger, move |task| {
            let well = Act::Late(Duration::from_millis(400), json!(1));
            if number != 3 {
                return well;
            }
            noted.note(task.attempt);
            match mended.load(Ordering::Relaxed) {
                true => well,
                false => Act::Fail(Failure::new(FailureKind::Agent, "broken", "bad disk")),
            }
        });
        swarm.push(agent.await);
    }
    let mut runs = Vec::new();
    let mut number = 0;
    let mut round = async |runs: &mut Vec<RunId>| {
        for _ in 0..10 {
            number += 1;
            runs.push(start(&broker, &format!("k{number}"), "patient").await);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    for _ in 0..12 {
        round(&mut runs).await;
    }
    let view = &agents(&broker).await["a3"];
    let health = view.health.clone().unwrap();
    assert_eq!(health.standing, AgentStanding::Quarantined, "{health:?}");
    let calls_before = bad.all().len();
    assert!(calls_before <= 12, "{calls_before} attempts went to it");

    mended.store(true, Ordering::Relaxed);
    for _ in 0..40 {
        round(&mut runs).await;
    }
    let all = agents(&broker).await;
    for (name, view) in &all {
        let standing = view.health.as_ref().unwrap().standing;
        assert_eq!(standing, AgentStanding::Well, "{name}: {view:?}");
    }
    assert!(bad.all().len() > calls_before + 6, "it works again");
    all_complete(&broker, &runs).await;
}

/// What one coordinator is told to hold, another one holds as well.
#[tokio::test(start_paused = true)]
async fn an_order_holds_for_every_coordinator() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let first = coordinator(&broker).await;
    register(&broker, PATIENT).await;
    let complete = |_: &_| Act::Complete(json!(1));
    let _agent = FakeAgent::start(&broker, "a", &[("pay", 8)], &ledger, complete).await;
    let reason = "the bank is closed".to_owned();
    order(&broker, Order::TripBreaker { name: "pay".to_owned(), reason }).await;
    first.kill().await;
    let _second = coordinator(&broker).await;
    let run = start(&broker, "k", "patient").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(ledger.performed(), [], "it is held");
    let views = breakers(&broker).await;
    let known = (views[0].phase, views[0].cause.as_deref(), views[0].parked);
    assert_eq!(known, (BreakerPhase::Open, Some("the bank is closed"), 1));
    order(&broker, Order::ResetBreaker { name: "pay".to_owned() }).await;
    all_complete(&broker, &[run]).await;

    let agent = skep_protocol::AgentId::new("a").unwrap();
    let reason = "a look at its disk".to_owned();
    order(&broker, Order::QuarantineAgent { agent: agent.clone(), reason }).await;
    let run = start(&broker, "k2", "patient").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(waits(&broker, run).await, "agent a is quarantined: a look at its disk");
    order(&broker, Order::ReleaseAgent { agent }).await;
    all_complete(&broker, &[run]).await;
}

/// A step that asks for it fails at once while the breaker is open.
#[tokio::test(start_paused = true)]
async fn who_does_not_want_to_wait_fails() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    register(&broker, HASTY).await;
    let reason = "closed".to_owned();
    order(&broker, Order::TripBreaker { name: "pay".to_owned(), reason }).await;
    let run = start(&broker, "k", "hasty").await;
    history_to_end(&broker, run).await;
    let detail = loop {
        match detail(&broker, run).await {
            Some(detail) => break detail,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(detail.summary.status, RunStatus::Failed);
    let error = detail.error.unwrap();
    assert_eq!((error.kind, error.code.as_str()), (FailureKind::BreakerOpen, "breaker_open"));
    assert_eq!(error.message, "pay: the circuit breaker of pay is open: closed");
}

const WATCHED: &str = "
name: watched
steps:
  dig: { agent: dig, progress_within: 30s, retry: { attempts: 2, initial: 1s, jitter: none } }
";

/// An attempt that is alive and stuck is told of, then failed, and its step goes on elsewhere.
#[tokio::test(start_paused = true)]
async fn alive_but_stuck_is_failed_and_tried_again() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, WATCHED).await;
    let _agent = FakeAgent::start(&broker, "a", &[("dig", 2)], &ledger, |task| {
        if task.attempt == 1 { Act::Keep } else { Act::Complete(json!(1)) }
    })
    .await;
    let run = start(&broker, "k", "watched").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let why = waits(&broker, run).await;
    assert!(why.starts_with("no progress at agent a for"), "{why}");
    let stalled = |event: &Event| match event {
        Event::AttemptFailed(failed) => failed.failure.kind == FailureKind::Stalled,
        _ => false,
    };
    let history = history_until(&broker, run, stalled).await;
    let found = history.iter().find(|entry| stalled(&entry.record.event)).unwrap().record.at;
    let took = found.since(history[0].record.at);
    assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(32), "{took:?}");
    all_complete(&broker, &[run]).await;
    ledger.until(|ledger| ledger.cancelled().len() == 1).await;
}
