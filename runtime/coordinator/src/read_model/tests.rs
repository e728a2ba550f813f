mod feed;
mod follow;
mod gap;
mod keep;
mod rounds;

use std::collections::BTreeMap;

use skep_protocol::{
    AgentId, AttemptCompleted, AttemptScheduled, Batch, Event, Hash, Payload, Record, RunRecord,
    RunStarted, RunStatus, Seq, StepPath, Timestamp,
};

use super::entry::Message;
use super::*;
use crate::settings::Settings;

fn run() -> RunId {
    RunId::from_key("w", "k")
}

fn batch(events: Vec<Event>) -> Batch {
    let at = Timestamp::from_millis(5);
    let records =
        events.into_iter().map(|event| Record::Run(RunRecord { run: run(), at, event })).collect();
    Batch { v: 1, partition: PartitionId::new(0), epoch: 1, previous: Hash::ZERO, records }
}

fn started() -> Event {
    Event::RunStarted(Box::new(RunStarted {
        workflow: "w".to_owned(),
        version: None,
        digest: Hash::ZERO,
        inputs: Payload::null(),
        pinned: BTreeMap::new(),
        parent: None,
        depth: 0,
        labels: BTreeMap::new(),
        steps: None,
        retry: None,
    }))
}

fn signal() -> Event {
    let (name, id) = ("go".to_owned(), skep_protocol::SignalId::new("s").unwrap());
    Event::SignalReceived { name, id, payload: Payload::null() }
}

fn one_step() -> Vec<Event> {
    performed("one", Payload::null())
}

fn performed(step: &str, output: Payload) -> Vec<Event> {
    let step = StepPath::new(step);
    let scheduled = AttemptScheduled {
        step: step.clone(),
        attempt: 1,
        not_before: Timestamp::EPOCH,
        input: None,
        fallback: false,
    };
    let done = AttemptCompleted {
        step,
        attempt: 1,
        agent: AgentId::new("a").unwrap(),
        output,
        duration_ms: 3,
    };
    vec![Event::AttemptScheduled(scheduled), Event::AttemptCompleted(done)]
}

fn open(at: &ReadModelAt, settings: &Settings) -> ReadModel {
    let config = Config { read_model: at.clone(), ..Config::embedded() };
    ReadModel::open(&config, settings).unwrap()
}

fn message(seq: Seq, batch: Batch) -> Work {
    let texts = skep_protocol::Texts::find(batch.encode()).unwrap();
    let Batch { partition, records, .. } = batch;
    Work::Entry(Entry::Message(Message { partition, seq, records, texts }))
}

async fn store(model: &ReadModel, seq: u64, events: Vec<Event>) {
    model.work.send(message(Seq::new(seq), batch(events))).await.unwrap();
}

#[tokio::test]
async fn it_goes_on_where_it_was_and_is_thrown_away_when_it_is_of_no_use() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("read.db");
    let at = ReadModelAt::File(file.clone());
    let settings = Settings::of_tests("one");
    let model = open(&at, &settings);
    store(&model, 1, vec![started()]).await;
    store(&model, 2, one_step()).await;
    let QueryReply::Run(detail) = model.ask(Question::Run(run())).await else {
        panic!("no run");
    };
    assert_eq!((detail.summary.steps, detail.summary.steps_ended), (1, 1));
    assert_eq!(detail.steps[0].attempts[0].duration_ms, Some(3));
    // All is written before a list is told of.
    assert_eq!(runs(&model, RunFilter::default()).await.len(), 1);
    drop(model);

    let again = open(&at, &settings);
    assert_eq!(again.positions().of(PartitionId::new(0)), Seq::new(2));
    let history = Question::History { run: run(), after: 1, limit: 10 };
    let QueryReply::History(entries) = again.ask(history).await else { panic!("no history") };
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [2, 3]);
    drop(again);

    let other = open(&at, &Settings::of_tests("another"));
    assert_eq!(other.positions().of(PartitionId::new(0)), Seq::ZERO);
    assert_eq!(other.ask(Question::Run(run())).await, QueryReply::NotFound {});
    drop(other);

    std::fs::write(&file, "this is no database, and never was one".repeat(100)).unwrap();
    let fresh = open(&at, &settings);
    let filter = RunFilter::default();
    assert_eq!(fresh.ask(Question::Runs(filter)).await, QueryReply::Runs(Vec::new()));
}

#[tokio::test]
async fn what_began_before_the_journal_does_is_left_out() {
    let settings = Settings::of_tests("one");
    let model = open(&ReadModelAt::Temporary, &settings);
    store(&model, 8, one_step()).await;
    assert_eq!(model.ask(Question::Run(run())).await, QueryReply::NotFound {});
    store(&model, 9, vec![started(), Event::RunCancelled {}]).await;
    let QueryReply::Runs(runs) = model.ask(Question::Runs(RunFilter::default())).await else {
        panic!("no runs");
    };
    assert_eq!(runs[0].status, RunStatus::Cancelled);
}

async fn runs(model: &ReadModel, filter: RunFilter) -> Vec<skep_protocol::RunSummary> {
    let QueryReply::Runs(runs) = model.ask(Question::Runs(filter)).await else {
        panic!("no runs");
    };
    runs
}

fn started_with(change: impl FnOnce(&mut RunStarted)) -> Event {
    let Event::RunStarted(mut started) = started() else { panic!("it is a start") };
    change(&mut started);
    Event::RunStarted(started)
}

#[tokio::test]
async fn steps_of_the_definition_are_counted_before_they_come_into_being() {
    let settings = Settings::of_tests("one");
    let model = open(&ReadModelAt::Temporary, &settings);
    store(&model, 1, vec![started_with(|run| run.steps = Some(3))]).await;
    let counts = async || {
        let runs = runs(&model, RunFilter::default()).await;
        (runs[0].steps_ended, runs[0].steps)
    };
    assert_eq!(counts().await, (0, 3));
    store(&model, 2, one_step()).await;
    assert_eq!(counts().await, (1, 3));
    let step = StepPath::new("each");
    let items = vec![Payload::null(), Payload::null()];
    let total = 5;
    let expanded = skep_protocol::StepExpanded { step: step.clone(), items, offset: 0, total };
    let item = AttemptScheduled {
        step: step.item(0),
        attempt: 1,
        not_before: Timestamp::EPOCH,
        input: None,
        fallback: false,
    };
    let events = vec![Event::StepExpanded(expanded), Event::AttemptScheduled(item)];
    store(&model, 3, events).await;
    assert_eq!(counts().await, (1, 8));
    let QueryReply::Run(detail) = model.ask(Question::Run(run())).await else {
        panic!("no run");
    };
    let items: Vec<_> = detail.steps.iter().map(|view| (view.step.as_str(), view.items)).collect();
    assert_eq!(items, [("one", None), ("each", Some(5)), ("each[0]", None)]);
}

#[tokio::test]
async fn runs_are_found_by_label_and_listed_page_by_page() {
    let settings = Settings::of_tests("one");
    let model = open(&ReadModelAt::Temporary, &settings);
    let ids: Vec<RunId> = (0..5).map(|key| RunId::from_key("w", &format!("{key}"))).collect();
    for (number, &id) in ids.iter().enumerate() {
        let team = if number < 2 { "search" } else { "index" };
        let labels = [("team".to_owned(), team.to_owned())];
        let mut batch = batch(vec![started_with(|run| run.labels = labels.into())]);
        for record in &mut batch.records {
            if let Record::Run(record) = record {
                // Two of them start at the same moment.
                (record.run, record.at) = (id, Timestamp::from_millis(number as u64 / 2));
            }
        }
        let seq = Seq::new(number as u64 + 1);
        model.work.send(message(seq, batch)).await.unwrap();
    }
    let label = |value: &str| [("team".to_owned(), value.to_owned())].into();
    let found = async |value: &str| {
        runs(&model, RunFilter { labels: label(value), ..RunFilter::default() }).await.len()
    };
    assert_eq!((found("search").await, found("index").await, found("x").await), (2, 3, 0));
    let all = runs(&model, RunFilter::default()).await;
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = runs(&model, RunFilter { after, limit: 2, ..RunFilter::default() }).await;
        let Some(last) = page.last() else { break };
        after = Some(last.run);
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

#[tokio::test]
async fn runs_that_no_other_run_started_are_found() {
    let settings = Settings::of_tests("one");
    let model = open(&ReadModelAt::Temporary, &settings);
    let parent = skep_protocol::Parent { run: run(), step: StepPath::new("call"), attempt: 1 };
    let mut child = batch(vec![started_with(|run| run.parent = Some(parent))]);
    for record in &mut child.records {
        if let Record::Run(record) = record {
            (record.run, record.at) = (RunId::from_key("w", "child"), Timestamp::from_millis(9));
        }
    }
    store(&model, 1, vec![started()]).await;
    model.work.send(message(Seq::new(2), child)).await.unwrap();
    let top = RunFilter { top: true, limit: 1, ..RunFilter::default() };
    let ids = |found: Vec<skep_protocol::RunSummary>| -> Vec<RunId> {
        found.iter().map(|summary| summary.run).collect()
    };
    assert_eq!(ids(runs(&model, top).await), [run()]);
    let all = ids(runs(&model, RunFilter::default()).await);
    assert_eq!(all, [RunId::from_key("w", "child"), run()]);
}

#[tokio::test]
async fn attempts_are_counted_when_they_are_scheduled_and_when_a_sub_workflow_runs() {
    let settings = Settings::of_tests("one");
    let model = open(&ReadModelAt::Temporary, &settings);
    let step = StepPath::new("call");
    let child = Event::ChildStarted(Box::new(skep_protocol::ChildStarted {
        step: step.clone(),
        attempt: 1,
        not_before: Timestamp::EPOCH,
        child: RunId::from_key("w", "child"),
        digest: Hash::ZERO,
        inputs: Payload::null(),
    }));
    let over = Event::StepCompleted { step, output: None, signal: None };
    let scheduled = |step: &str, ms| {
        let (step, not_before) = (StepPath::new(step), Timestamp::from_millis(ms));
        Event::AttemptScheduled(AttemptScheduled {
            step,
            attempt: 1,
            not_before,
            input: None,
            fallback: false,
        })
    };
    let failure = skep_protocol::Failure::new(skep_protocol::FailureKind::Agent, "x", "y");
    let (step, attempt, agent, in_doubt) = (StepPath::new("b"), 1, None, false);
    let duration_ms = None;
    let failed =
        skep_protocol::AttemptFailed { step, attempt, agent, failure, in_doubt, duration_ms };
    let failed = Event::AttemptFailed(failed);
    let reason = skep_protocol::CancelReason::RunCancelled;
    let cancelled = Event::StepCancelled { step: StepPath::new("a"), reason, untouched: false };
    let events =
        vec![started(), child, over, scheduled("a", 0), cancelled, scheduled("b", 2), failed];
    store(&model, 1, events).await;
    let QueryReply::Run(detail) = model.ask(Question::Run(run())).await else {
        panic!("no run");
    };
    let told: Vec<_> = detail
        .steps
        .iter()
        .map(|view| {
            let attempt = &view.attempts[0];
            (view.step.as_str(), attempt.status.as_str(), attempt.duration_ms)
        })
        .collect();
    let expected =
        [("call", "completed", None), ("a", "cancelled", None), ("b", "failed", Some(0))];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_cancelled_run_says_why() {
    let settings = Settings::of_tests("one");
    let model = open(&ReadModelAt::Temporary, &settings);
    let reason = "too expensive".to_owned();
    let events = vec![started(), Event::CancelRequested { reason }, Event::RunCancelled {}];
    store(&model, 1, events).await;
    let QueryReply::Run(detail) = model.ask(Question::Run(run())).await else {
        panic!("no run");
    };
    assert_eq!(detail.cancelled.as_deref(), Some("too expensive"));
}

#[tokio::test]
async fn a_second_run_of_a_forgotten_id_takes_the_place_of_the_first() {
    let settings = Settings::of_tests("one");
    let model = open(&ReadModelAt::Temporary, &settings);
    store(&model, 1, vec![started()]).await;
    store(&model, 2, one_step()).await;
    store(&model, 3, vec![Event::RunCompleted { outputs: Payload::null() }]).await;
    store(&model, 4, vec![started()]).await;
    let QueryReply::Run(detail) = model.ask(Question::Run(run())).await else {
        panic!("no run");
    };
    assert_eq!(detail.summary.status, RunStatus::Running);
    assert_eq!((detail.outputs, detail.summary.ended), (None, None));
    assert!(detail.steps.is_empty(), "{:?}", detail.steps);
    let history = Question::History { run: run(), after: 0, limit: 10 };
    let QueryReply::History(entries) = model.ask(history).await else { panic!("no history") };
    assert_eq!(entries.len(), 1);
    assert_eq!(model.positions().of(PartitionId::new(0)), Seq::new(4));
}

#[tokio::test]
async fn a_record_that_cannot_be_stored_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("read.db");
    let settings = Settings::of_tests("one");
    let model = open(&ReadModelAt::File(file.clone()), &settings);
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON history WHEN new.first = 2
                  BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    rusqlite::Connection::open(&file).unwrap().execute_batch(refuse).unwrap();
    store(&model, 1, vec![started()]).await;
    assert_eq!(runs(&model, RunFilter::default()).await.len(), 1);
    store(&model, 2, one_step()).await;
    assert_eq!(runs(&model, RunFilter::default()).await[0].steps_ended, 1);
    store(&model, 3, vec![Event::RunCompleted { outputs: Payload::null() }]).await;
    assert_eq!(runs(&model, RunFilter::default()).await[0].status, RunStatus::Completed);
    drop(model);
    let model = open(&ReadModelAt::File(file), &settings);
    let QueryReply::Run(detail) = model.ask(Question::Run(run())).await else {
        panic!("no run");
    };
    assert_eq!(detail.summary.status, RunStatus::Completed);
    assert!(detail.steps.is_empty(), "half of a record is stored: {:?}", detail.steps);
    assert_eq!(model.positions().of(PartitionId::new(0)), Seq::new(3));
}

#[tokio::test]
async fn nothing_is_lost_however_much_waits() {
    let settings = Settings::of_tests("one");
    let model = open(&ReadModelAt::Temporary, &settings);
    let told = async {
        for seq in 1..=2_000 {
            store(&model, seq, vec![if seq == 1 { started() } else { signal() }]).await;
        }
    };
    let history = || async {
        let history = Question::History { run: run(), after: 1_990, limit: 10 };
        model.ask(history).await
    };
    let asked = futures::future::join_all((0..2_000).map(|_| history()));
    let (answers, ()) = join(asked, told).await;
    let failed = |reply: &&QueryReply| matches!(reply, QueryReply::Failed { .. });
    assert_eq!(answers.iter().find(failed), None);
    let QueryReply::History(entries) = history().await else { panic!("no history") };
    assert_eq!(entries.last().map(|entry| entry.number), Some(2_000));
}
