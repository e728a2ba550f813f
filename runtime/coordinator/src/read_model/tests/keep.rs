//! What stays in memory, and what stays at all.

use rusqlite::Connection;
use skep_protocol::PartitionCount;

use super::*;
use crate::config::Retention;

fn id(number: u64) -> RunId {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    RunId::from_uuid(uuid::Uuid::from_bytes(bytes))
}

fn of_run(number: u64, events: Vec<Event>) -> Batch {
    let mut batch = batch(events);
    for record in &mut batch.records {
        if let Record::Run(record) = record {
            (record.run, record.at) = (id(number), Timestamp::from_millis(1_000 + number));
        }
    }
    batch
}

fn over() -> Event {
    Event::RunCompleted { outputs: Payload::null() }
}

async fn all(model: &ReadModel) -> Vec<RunId> {
    let filter = RunFilter { limit: 10_000, ..RunFilter::default() };
    runs(model, filter).await.into_iter().map(|run| run.run).collect()
}

/// Starts runs in several messages, of which all but the first one end.
async fn ended(retention: Retention, ended: u64) -> ReadModel {
    let config = Config { retention, ..Config::embedded() };
    let model = ReadModel::open(&config, &Settings::of_tests("one")).unwrap();
    for number in 0..=ended {
        let mut events = vec![started()];
        events.extend(one_step());
        events.extend((number > 0).then(over));
        let sent = model.work.send(message(Seq::new(number + 1), of_run(number, events)));
        sent.await.unwrap();
        if number % 20 == 0 {
            assert!(all(&model).await.contains(&id(0)), "it goes on");
        }
    }
    model
}

#[tokio::test]
async fn of_many_runs_that_are_over_the_last_ones_are_kept() {
    let few = Retention { runs: 50, bytes: u64::MAX };
    let model = ended(few, 400).await;
    let kept = all(&model).await;
    assert!((40..=70).contains(&kept.len()), "{}", kept.len());
    let newest: Vec<RunId> = (0..=400).rev().map(id).take(kept.len() - 1).collect();
    assert_eq!(kept[..kept.len() - 1], newest);
    assert_eq!(kept.last(), Some(&id(0)));
    let history = Question::History { run: id(3), after: 0, limit: 10 };
    assert_eq!(model.ask(history).await, QueryReply::NotFound {});
    assert_eq!(model.ask(Question::Run(id(3))).await, QueryReply::NotFound {});

    let small = Retention { runs: u64::MAX, bytes: 1 };
    let kept = all(&ended(small, 400).await).await;
    assert!((100..=200).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.first(), Some(&id(400)));
}

#[tokio::test]
async fn a_run_that_left_the_memory_goes_on() {
    let model = open(&ReadModelAt::Temporary, &Settings::of_tests("one"));
    let large = Payload::from_text(&format!("\"{}\"", "x".repeat(1024 * 1024))).unwrap();
    // All of them together take more than may be held.
    for number in 0..80 {
        let inputs = large.clone();
        let start = started_with(|run| run.inputs = inputs);
        let batch = of_run(number, vec![start, signal()]);
        model.work.send(message(Seq::new(number + 1), batch)).await.unwrap();
    }
    let batch = of_run(0, one_step());
    model.work.send(message(Seq::new(81), batch)).await.unwrap();
    let QueryReply::Run(detail) = model.ask(Question::Run(id(0))).await else { panic!("no run") };
    assert_eq!((detail.inputs, detail.summary.steps_ended), (large, 1));
    let history = Question::History { run: id(0), after: 1, limit: 10 };
    let QueryReply::History(entries) = model.ask(history).await else { panic!("no history") };
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [2, 3, 4]);
}

#[test]
fn of_the_steps_that_lie_behind_a_run_little_stays() {
    let connection = Connection::open_in_memory().unwrap();
    let opened = schema::prepare(connection, &Settings::of_tests("one")).unwrap();
    let mut store = Store::new(opened, PartitionCount::DEFAULT, Retention::TEMPORARY).unwrap();
    let mut tell = |seq: u64, events: Vec<Event>| {
        let Work::Entry(entry) = message(Seq::new(seq), batch(events)) else { panic!() };
        store.prepare(&entry).unwrap();
        store.take_in(entry);
        if seq.is_multiple_of(10) {
            store.write().unwrap();
        }
        let slot = store.held(run()).unwrap();
        (slot.size, slot.view.summary(), store.detail(run()).unwrap().unwrap())
    };
    tell(1, vec![started()]);
    let large = Payload::from_text(&format!("\"{}\"", "x".repeat(4_096))).unwrap();
    for number in 2..=500 {
        let events = performed(&format!("s{number}"), large.clone());
        let (size, summary, detail) = tell(number, events);
        assert!(size < 200_000, "{size} bytes after {number} steps");
        assert_eq!(detail.summary, summary);
        assert_eq!(
            (detail.steps.len() as u64, summary.steps_ended),
            (number - 1, number as u32 - 1)
        );
        assert!(detail.steps.iter().all(|step| step.output == Some(large.clone())));
    }
}

#[test]
fn inputs_of_a_run_count_however_many_steps_lie_behind_it() {
    let connection = Connection::open_in_memory().unwrap();
    let opened = schema::prepare(connection, &Settings::of_tests("one")).unwrap();
    let mut store = Store::new(opened, PartitionCount::DEFAULT, Retention::TEMPORARY).unwrap();
    let large = Payload::from_text(&format!("\"{}\"", "x".repeat(60_000))).unwrap();
    let mut events = vec![started_with(|run| run.inputs = large)];
    for number in 0..20 {
        events.extend(performed(&format!("s{number}"), Payload::null()));
    }
    let Work::Entry(entry) = message(Seq::new(1), batch(events)) else { panic!() };
    store.prepare(&entry).unwrap();
    store.take_in(entry);
    store.write().unwrap();
    let slot = store.held(run()).unwrap();
    assert!(slot.view.is_abridged() && slot.size > 60_000, "{} bytes", slot.size);
}

#[test]
fn a_run_to_which_nothing_happens_leaves_the_memory_once_it_is_stored() {
    let connection = Connection::open_in_memory().unwrap();
    let opened = schema::prepare(connection, &Settings::of_tests("one")).unwrap();
    let mut store = Store::new(opened, PartitionCount::DEFAULT, Retention::TEMPORARY).unwrap();
    let tell = |store: &mut Store, seq: u64, number: u64, events: Vec<Event>| {
        let Work::Entry(entry) = message(Seq::new(seq), of_run(number, events)) else { panic!() };
        store.prepare(&entry).unwrap();
        store.take_in(entry);
    };
    let held = |store: &Store| [1, 2].map(|number| store.held(id(number)).is_some());
    tell(&mut store, 1, 1, vec![started()]);
    tell(&mut store, 2, 2, vec![started()]);
    store.let_go_of_idle();
    store.let_go_of_idle();
    assert_eq!(held(&store), [true, true], "nothing is stored yet");
    store.write().unwrap();
    tell(&mut store, 3, 2, vec![signal()]);
    store.write().unwrap();
    store.let_go_of_idle();
    assert_eq!(held(&store), [false, true]);
    tell(&mut store, 4, 1, one_step());
    store.write().unwrap();
    store.let_go_of_idle();
    assert_eq!(held(&store), [true, false]);
    assert_eq!(store.detail(id(1)).unwrap().unwrap().summary.steps_ended, 1);
}

#[tokio::test]
async fn what_happens_after_the_end_is_added() {
    let model = open(&ReadModelAt::Temporary, &Settings::of_tests("one"));
    let mut seq = 0;
    let mut tell = async |events: Vec<Event>| {
        seq += 1;
        model.work.send(message(Seq::new(seq), of_run(1, events))).await.unwrap();
        // All is written before a list is told of; what is over leaves the memory with the next.
        assert_eq!(all(&model).await.len(), 1);
    };
    tell(vec![started(), over()]).await;
    tell(vec![Event::ParentNotified {}]).await;
    for _ in 0..3 {
        tell(vec![]).await;
    }
    tell(vec![Event::ParentNotified {}]).await;
    let history = Question::History { run: id(1), after: 0, limit: 10 };
    let QueryReply::History(entries) = model.ask(history).await else { panic!("no history") };
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn whoever_had_the_database_before_writes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let at = ReadModelAt::File(folder.path().join("read.db"));
    let settings = Settings::of_tests("one");
    let (before, after) = (open(&at, &settings), open(&at, &settings));
    store(&before, 1, vec![started()]).await;
    let reply = before.ask(Question::Runs(RunFilter::default())).await;
    assert!(matches!(reply, QueryReply::Failed { .. }), "{reply:?}");
    assert!(all(&after).await.is_empty());
    store(&after, 1, vec![started()]).await;
    assert_eq!(all(&after).await, [run()]);
}

/// What does not fit into the cache goes to a file without a name.
#[cfg(target_os = "linux")]
#[test]
fn a_temporary_database_takes_little_memory() {
    use std::path::Path;

    const LARGE: u64 = 2 * database::CACHE as u64;
    let spilled = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let named = |path: &Path| {
            let name = std::fs::read_link(path).unwrap_or_default();
            name.to_string_lossy().ends_with("(deleted)")
        };
        let paths = files.map(|file| file.path()).filter(|path| named(path));
        paths.filter_map(|path| Some(std::fs::metadata(path).ok()?.len())).max().unwrap_or(0)
    };
    let (connection, _) = database::temporary(&Settings::of_tests("one")).unwrap();
    let sql = "INSERT INTO seeds (no, view) VALUES (?1, zeroblob(1000000))";
    for no in 0..LARGE / 1_000_000 {
        connection.execute(sql, [no.cast_signed()]).unwrap();
    }
    assert!(spilled() > LARGE - database::CACHE as u64 * 5 / 4, "{} bytes", spilled());
    let whole = "SELECT sum(length(view)) FROM seeds";
    let there: i64 = connection.query_row(whole, [], |row| row.get(0)).unwrap();
    assert_eq!(there.unsigned_abs(), LARGE / 1_000_000 * 1_000_000);
}

/// As on a disk that is full.
#[tokio::test]
async fn a_temporary_database_without_room_goes_on_in_memory() {
    let opened = database::temporary(&Settings::of_tests("one")).unwrap();
    let pages: i64 = opened.0.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    opened.0.pragma_update(None, "max_page_count", pages + 4).unwrap();
    let partitions = PartitionCount::DEFAULT;
    let store = Store::new(opened, partitions, Retention::TEMPORARY).unwrap();
    let (positions, followers) = (Positions::new(partitions), Followers::default());
    let thread = Thread { store, partitions, positions, followers, broken: None };
    let (work, waiting) = mpsc::channel(WAITING);
    let (lanes, followers) = (Lanes::new(partitions), Followers::default());
    let model = ReadModel { work, positions: Positions::new(partitions), followers, lanes };
    let told = async move {
        for number in 1..=400 {
            let events = vec![started(), over()];
            let sent = model.work.send(message(Seq::new(number), of_run(number, events)));
            sent.await.unwrap();
            if number % 100 == 0 {
                assert_eq!(all(&model).await.len() as u64, number);
            }
        }
    };
    join(thread.run(waiting), told).await;
}

#[test]
fn a_write_that_failed_halfway_is_done_once_more() {
    let settings = Settings::of_tests("one");
    let folder = tempfile::tempdir().unwrap();
    let file = Connection::open(folder.path().join("read.db")).unwrap();
    for connection in [Connection::open_in_memory().unwrap(), file] {
        let opened = schema::prepare(connection, &settings).unwrap();
        let mut store = Store::new(opened, PartitionCount::DEFAULT, Retention::TEMPORARY).unwrap();
        for (seq, events) in (1..).zip([vec![started(), signal()], one_step(), vec![over()]]) {
            let Work::Entry(entry) = message(Seq::new(seq), batch(events)) else { panic!() };
            store.prepare(&entry).unwrap();
            store.take_in(entry);
            let told = store.detail(run()).unwrap().unwrap();
            let rename = |store: &Store, from: &str, to: &str| {
                let sql = format!("ALTER TABLE {from} RENAME TO {to}");
                store.connection().execute_batch(&sql).unwrap();
            };
            // What is written last cannot be.
            rename(&store, "positions", "hidden");
            store.write().unwrap_err();
            rename(&store, "hidden", "positions");
            assert_eq!(store.write().unwrap(), [(PartitionId::new(0), Seq::new(seq))]);
            let stored = rows::load(store.connection(), run()).unwrap().unwrap();
            assert_eq!(stored.view.detail(), told);
        }
    }
}
