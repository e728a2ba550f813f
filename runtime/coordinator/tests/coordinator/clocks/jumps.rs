//! I-16: timers under coordinators whose wall clocks differ by an hour. Each kind of timer is due
//! ten minutes after its run began, by no clock but that which none of them can see.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::json;
use skep_broker::host::{Host, simulate};
use skep_broker::{Embedded, Journal as _};
use skep_coordinator::{Config, Coordinator, Handle, ReadModelAt};
use skep_protocol::{
    Batch, CoordinatorId, Event, Failure, FailureKind, PartitionCount, PartitionId, Record, RunId,
    Seq, Task, Timestamp,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::world::*;

const TIMERS: &str = "
name: timers
defaults: { retry: { attempts: 1 } }
steps:
  wait: { wait: 10m }
  signal_timeout: { wait_for: { signal: never, timeout: 10m, on_timeout: continue } }
  timeout: { agent: hang, timeout: 10m, on_failure: continue }
  deadline: { agent: hang, deadline: 10m, on_failure: continue }
  inner_deadline: { deadline: 10m, on_failure: continue, steps: { one: { agent: hang } } }
  child_timeout: { workflow: long, timeout: 10m, on_failure: continue }
  queue_timeout: { agent: nobody, queue_timeout: 10m, on_failure: continue }
  back_off:
    agent: fail_once_more
    retry: { attempts: 2, backoff: constant, jitter: none, initial: 10m, max: 10m }
    on_failure: continue
  retry_within:
    agent: fail
    retry: { attempts: 9, backoff: constant, jitter: none, initial: 5m, max: 5m, within: 11m }
    on_failure: continue
";
const COOLS_DOWN: &str = "
name: timers
steps:
  cool_down:
    agent: trip
    retry: { attempts: 2, initial: 1s }
    breaker: { failure_rate: 50%, min_calls: 1, window: 5m, cooldown: 10m, probes: 1 }
";
const KINDS: usize = 9;
const LONG: &str = "{ name: long, steps: { one: { wait: 2h } } }";

const MINUTE: Duration = Duration::from_secs(60);
const DUE: Duration = Duration::from_secs(600);
/// A take-over may cost a moment, and so may each of the many attempts in a row.
const LATE: Duration = Duration::from_secs(10);
const AN_HOUR_MS: i64 = 3_600_000;

/// A machine whose wall clock jumps.
struct Machine {
    began: Instant,
    ahead_ms: AtomicI64,
    drawn: AtomicU64,
}

impl Machine {
    fn new() -> Arc<Self> {
        let (ahead_ms, drawn) = (AtomicI64::new(0), AtomicU64::new(0));
        Arc::new(Self { began: Instant::now(), ahead_ms, drawn })
    }

    fn jump(&self, by_ms: i64) {
        self.ahead_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Host for Machine {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead_ms.load(Ordering::Relaxed);
        let shown = Timestamp::from_millis(1_700_000_000_000).after(self.began.elapsed());
        Timestamp::from_millis(shown.as_millis().saturating_add_signed(ahead))
    }

    fn random(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed)
    }
}

async fn named(broker: &Embedded, name: &str) -> Handle {
    let coordinator = Some(CoordinatorId::new(name).unwrap());
    let read_model = ReadModelAt::Nowhere;
    let snapshot_every = 2 * MINUTE;
    let config = Config { coordinator, read_model, snapshot_every, ..Config::embedded() };
    Coordinator::start(broker.clone(), config).await.unwrap()
}

/// When each step of each run was over.
type Ends = Arc<Mutex<BTreeMap<(RunId, String), Duration>>>;

/// Notes when steps end, by reading a journal.
async fn note(broker: Embedded, partition: PartitionId, began: Instant, ends: Ends) {
    let mut messages = broker.follow(partition, Seq::new(1)).await.unwrap();
    while let Some(message) = messages.next().await {
        let batch: Batch = skep_protocol::decode(&message.unwrap().bytes).unwrap();
        for record in batch.records {
            let Record::Run(record) = record else { continue };
            let step = match record.event {
                Event::StepCompleted { step, .. } | Event::StepFailed { step, .. } => step,
                Event::AttemptCompleted(completed) => completed.step,
                _ => continue,
            };
            let step = (record.run, step.to_string());
            ends.lock().unwrap().entry(step).or_insert_with(|| began.elapsed());
        }
    }
}

/// Starts so many runs of a workflow, each in a partition of its own, lets `happen` whatever does,
/// and returns what ended when.
async fn ends_of(
    (source, runs): (&str, usize),
    happen: impl AsyncFnOnce(&Embedded, &Machine, Handle),
) -> Vec<(String, Duration)> {
    let machine = Machine::new();
    let _simulated = simulate(Arc::clone(&machine) as Arc<_>);
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let first = named(&broker, "first").await;
    register(&broker, LONG).await;
    register(&broker, source).await;
    let _hangs = FakeAgent::start(&broker, "a", &[("hang", 99)], &ledger, |_| Act::Keep).await;
    let fail = |task: &Task| match (task.capability.as_str(), task.attempt) {
        ("trip", 2) => Act::Complete(json!(1)),
        _ => Act::Fail(Failure::new(FailureKind::Agent, "no", "as always")),
    };
    let offers = [("fail", 99), ("fail_once_more", 99), ("trip", 99)];
    let _fails = FakeAgent::start(&broker, "b", &offers, &ledger, fail).await;
    let (began, ends, mut notes) = (Instant::now(), Ends::default(), JoinSet::new());
    let mut started = Vec::new();
    for partition in PartitionCount::DEFAULT.all().take(runs) {
        notes.spawn(note(broker.clone(), partition, began, Arc::clone(&ends)));
        let mut keys = (0..).map(|n| format!("{n}"));
        let key = keys.find(|key| PartitionCount::DEFAULT.of(run_id(key)) == partition).unwrap();
        started.push(start(&broker, &key, "timers").await);
    }
    happen(&broker, &machine, first).await;
    let ends = ends.lock().unwrap();
    let told = |run: &RunId, step: &str| started.contains(run) && !step.contains('/');
    let ends = ends.iter().filter(|((run, step), _)| told(run, step));
    ends.map(|((run, step), at)| (format!("{run}/{step}"), *at)).collect()
}

/// Checks that every timer of every run fired in time.
async fn all_in_time(happen: impl AsyncFnOnce(&Embedded, &Machine, Handle)) {
    let runs = usize::from(PartitionCount::DEFAULT.get());
    let ends = ends_of((TIMERS, runs), happen).await;
    assert_eq!(ends.len(), runs * KINDS);
    let wrong: Vec<_> = ends.iter().filter(|(_, at)| *at < DUE || *at > DUE + LATE).collect();
    assert!(wrong.is_empty(), "early or late: {wrong:#?}");
}

/// Another coordinator joins, whose clock differs, and takes over from the first one.
fn replaced(by_ms: i64) -> impl AsyncFnOnce(&Embedded, &Machine, Handle) {
    async move |broker: &Embedded, machine: &Machine, first: Handle| {
        machine.jump(by_ms);
        sleep(2 * MINUTE).await;
        let second = named(broker, "second").await;
        sleep(2 * MINUTE).await;
        let shared = second.owned().len();
        assert!((1..8).contains(&shared), "it serves {shared} partitions");
        first.kill().await;
        sleep(2 * DUE).await;
    }
}

/// Everybody is gone for a while; who comes then has another clock, and finds only the journals.
fn restarted(by_ms: i64) -> impl AsyncFnOnce(&Embedded, &Machine, Handle) {
    async move |broker: &Embedded, machine: &Machine, first: Handle| {
        sleep(3 * MINUTE).await;
        first.kill().await;
        machine.jump(by_ms);
        sleep(2 * MINUTE).await;
        let _second = named(broker, "second").await;
        sleep(2 * DUE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_an_hour_ahead_fires_no_timer_early() {
    all_in_time(replaced(AN_HOUR_MS)).await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_an_hour_behind_fires_no_timer_late() {
    all_in_time(replaced(-AN_HOUR_MS)).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_after_a_jump_forwards_fires_no_timer_early() {
    all_in_time(restarted(AN_HOUR_MS)).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_after_a_jump_backwards_fires_no_timer_late() {
    all_in_time(restarted(-AN_HOUR_MS)).await;
}

/// Checks that a breaker cooled down; whoever saw it late counts from then.
async fn cooled_down(happen: impl AsyncFnOnce(&Embedded, &Machine, Handle)) {
    let ends = ends_of((COOLS_DOWN, 1), happen).await;
    let [(_, at)] = ends[..] else { panic!("{ends:?}") };
    assert!(at >= DUE && at <= DUE + 5 * MINUTE + LATE, "it was open for {at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_breaker_cools_down_whatever_the_clocks_show() {
    cooled_down(replaced(AN_HOUR_MS)).await;
    cooled_down(replaced(-AN_HOUR_MS)).await;
    cooled_down(restarted(AN_HOUR_MS)).await;
    cooled_down(restarted(-AN_HOUR_MS)).await;
}
