//! What is bounded stays so, and says so.

use skep_engine::Input;
use skep_protocol::limits::{MAX_BATCH_BYTES, MAX_ITEMS_BYTES, MAX_STEPS_PER_RUN};
use skep_protocol::{
    AgentId, Event, FailureKind, Outcome, Payload, Record, Report, ReportBody, RunStatus, StepPath,
    encode,
};

use crate::world::{World, read, run_id};

fn start(world: &mut World, definition: &str) -> Vec<Record> {
    world.start(&read(definition), "{}")
}

fn ok(world: &mut World, step: &str, output: Payload) -> Vec<Record> {
    let body = ReportBody::Outcome(Outcome::Completed { output, duration_ms: 0 });
    let report = Report { run: run_id(), step: StepPath::new(step), attempt: 1, body };
    let agent = AgentId::new("a1").unwrap();
    world.handle(Input::Report { agent, report }).handled.records
}

fn events(records: &[Record]) -> impl Iterator<Item = &Event> {
    records.iter().filter_map(|record| match record {
        Record::Run(record) => Some(&record.event),
        _ => None,
    })
}

const EACH: &str = "
name: each
steps:
  list: { agent: x }
  each:
    agent: x
    for_each: ${{ steps.list.output }}
    with: ${{ item }}
    max_parallel: 1
";

fn list(len: usize, item: &str) -> Payload {
    Payload::from_text(&format!("[{}]", vec![item; len].join(","))).unwrap()
}

/// Completes `list` with a large output, and lets it be fetched.
fn expand(world: &mut World, items: Payload) -> Vec<Record> {
    let mut records = ok(world, "list", items);
    for answer in world.fetched(&world.partition) {
        records.extend(world.handle(answer).handled.records);
    }
    records
}

#[test]
fn a_run_has_no_more_steps_than_the_limit() {
    let mut world = World::quick();
    start(&mut world, EACH);
    let records = expand(&mut world, list(MAX_STEPS_PER_RUN, "1"));
    let failed = events(&records).find_map(|event| match event {
        Event::StepFailed { failure, .. } => Some(failure.clone()),
        _ => None,
    });
    let failed = failed.expect("one step more than there may be");
    assert_eq!((failed.kind, failed.code.as_str()), (FailureKind::Limit, "too_many_steps"));
    assert_eq!(world.partition.status(run_id()), Some(RunStatus::Failed));
}

#[test]
fn the_items_of_a_step_are_bounded_together() {
    let mut world = World::quick();
    start(&mut world, EACH);
    let item = format!("\"{}\"", "x".repeat(60_000));
    let records = expand(&mut world, list(MAX_ITEMS_BYTES / 60_000 + 1, &item));
    let failed = events(&records).find_map(|event| match event {
        Event::StepFailed { failure, .. } => Some(failure.clone()),
        _ => None,
    });
    let failed = failed.expect("more than there may be");
    assert_eq!((failed.kind, failed.code.as_str()), (FailureKind::Limit, "items_size"));
    assert_eq!(world.partition.status(run_id()), Some(RunStatus::Failed));
}

#[test]
fn as_many_steps_as_there_may_be_come_in_records_that_fit() {
    let mut world = World::quick();
    start(&mut world, EACH);
    let item = format!("\"{}\"", "x".repeat(200));
    let records = expand(&mut world, list(MAX_STEPS_PER_RUN - 2, &item));
    let parts = events(&records).filter(|event| matches!(event, Event::StepExpanded(_))).count();
    assert!(parts > 1, "{parts} part");
    let largest = records.iter().map(|record| encode(record).len()).max();
    assert!(largest < Some(MAX_BATCH_BYTES), "{largest:?}");
    assert_eq!(world.owed.len(), 1, "one item at a time");
}

#[test]
fn a_journal_cut_between_the_parts_goes_on() {
    let mut world = World::new();
    start(&mut world, EACH);
    let item = format!("\"{}\"", "x".repeat(2_000));
    // Every cut is tried by the world itself.
    let records = expand(&mut world, list(300, &item));
    let parts = events(&records).filter(|event| matches!(event, Event::StepExpanded(_))).count();
    assert!(parts > 2, "{parts} parts");
}

#[test]
fn an_output_leaves_memory_with_its_last_reader() {
    let definition = "
name: readers
steps:
  a: { agent: x }
  b: { agent: x, with: '${{ steps.a.output }}' }
  c: { agent: x, needs: [b], with: '${{ steps.a.output }}' }
  d: { agent: x, needs: [c] }
";
    let mut world = World::new();
    start(&mut world, definition);
    let secret = Payload::from_text("\"a value that is easy to find\"").unwrap();
    let holds = |world: &World| {
        String::from_utf8(world.partition.snapshot().to_vec()).unwrap().contains("easy to find")
    };
    ok(&mut world, "a", secret);
    ok(&mut world, "b", Payload::null());
    assert!(holds(&world), "c reads it yet");
    ok(&mut world, "c", Payload::null());
    assert!(!holds(&world), "nobody reads it any more");
}

#[test]
fn a_journal_that_does_not_fit_stops_the_partition() {
    let mut world = World::new();
    let records = start(&mut world, "name: s\nsteps:\n  a: { agent: x }\n");
    let mut partition = skep_engine::Partition::new(world.partition.id());
    for record in &records {
        partition.apply(record).unwrap();
    }
    let twice = records.last().unwrap();
    let error = partition.apply(twice).unwrap_err().to_string();
    assert!(error.contains("attempt 1 of step a"), "{error}");
    let mut empty = skep_engine::Partition::new(world.partition.id());
    let error = empty.apply(twice).unwrap_err().to_string();
    assert!(error.contains("which is not there"), "{error}");
    let error = empty.apply(&records[1]).unwrap_err().to_string();
    assert!(error.contains("is not in the journal"), "{error}");
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let mut world = World::new();
    start(&mut world, "name: s\nsteps:\n  a: { agent: x }\n");
    let snapshot = String::from_utf8(world.partition.snapshot().to_vec()).unwrap();
    let id = world.partition.id();
    let restore = |text: &str| skep_engine::Partition::restore(id, text.as_bytes()).map(|_| ());
    restore(&snapshot).unwrap();
    for (from, to) in [
        ("\"v\":2", "\"v\":9"),
        ("\"partition\":3", "\"partition\":4"),
        ("\"step\":0", "\"step\":7"),
        ("\"len\":1", "\"len\":5"),
        ("\"workflows\":[[", "\"workflows\":[], \"x\":[["),
        ("agent: x", "agent: y"),
        ("\"runs\"", "\"runners\""),
        // What would be around itself.
        ("\"len\":1", "\"len\":1,\"owner\":0"),
        ("\"step\":0", "\"step\":0,\"compensates\":0"),
        ("\"step\":0", "\"step\":0,\"item_of\":[0,0]"),
    ] {
        assert!(snapshot.contains(from), "{from} is not in {snapshot}");
        assert!(restore(&snapshot.replacen(from, to, 1)).is_err(), "{to} was taken");
    }
}

#[test]
fn of_every_step_that_waits_one_is_told_however_many_there_are_of_another() {
    let definition = "
name: crowd
steps:
  each:
    for_each: ${{ range(1500) }}
    agent: x
  grp:
    steps:
      before: { agent: x }
      after: { agent: x, needs: [before] }
";
    let mut world = World::quick();
    start(&mut world, definition);
    let waiting = world.partition.waiting(run_id(), &[]);
    let told = |path: &str| waiting.iter().any(|view| view.step.as_str() == path);
    assert!(told("grp/before") && told("grp/after"));
    assert_eq!(waiting.len(), 1_003);
}

#[test]
fn what_a_step_waits_for_is_told_if_asked_however_many_wait_before_it() {
    let definition = "
name: crowd
steps:
  each:
    for_each: ${{ range(1500) }}
    steps:
      before: { agent: x }
      after: { agent: x, needs: [before] }
";
    let mut world = World::quick();
    start(&mut world, definition);
    let told = |asked: &[&str]| -> Vec<String> {
        let asked: Vec<StepPath> = asked.iter().map(|step| StepPath::new(step)).collect();
        let waiting = world.partition.waiting(run_id(), &asked);
        waiting.into_iter().map(|view| view.step.to_string()).collect()
    };
    let last = ["each[1400]/after", "each[1400]/before"];
    assert!(!told(&[]).iter().any(|step| last.contains(&step.as_str())));
    assert_eq!(told(&["each[1400]/after"])[..2], last);
    let within = told(&["each[1400]"]);
    assert!(
        last.iter().all(|step| within[..2].contains(&(*step).to_owned())),
        "{:?}",
        &within[..2]
    );
    let twice = told(&["each[0]/after"]);
    assert_eq!(twice.iter().filter(|step| *step == "each[0]/after").count(), 1);
    assert!(told(&["each"]).len() < 2_010);
}

#[test]
fn what_was_replaced_or_dropped_does_not_count_for_ever() {
    let mut world = World::quick();
    start(&mut world, "name: s\nsteps:\n  a: { agent: x }\n");
    let empty = world.partition.weight();
    for number in 0..100 {
        let text = format!("\"{number}{}\"", "x".repeat(60_000));
        let body = ReportBody::Checkpoint(Payload::from_text(&text).unwrap());
        let report = Report { run: run_id(), step: StepPath::new("a"), attempt: 1, body };
        world.handle(Input::Report { agent: AgentId::new("a1").unwrap(), report });
        let more = world.partition.weight() - empty;
        assert!((60_000..220_000).contains(&more), "{more} bytes more after checkpoint {number}");
    }
    let restored =
        skep_engine::Partition::restore(world.partition.id(), &world.partition.snapshot());
    let weight = restored.unwrap().weight();
    assert!((60_000..70_000).contains(&(weight - empty)), "{weight} bytes after a restart");
    ok(&mut world, "a", Payload::null());
    assert_eq!(world.partition.weight(), 0);
}
