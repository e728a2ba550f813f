//! Journals as they were once written: every later skep folds them to the same state.
//!
//! They are added, never edited. `KEEP_JOURNALS=NAME` writes those of the golden runs as the next
//! ones; it is for the commit that adds to the format, while the old reader can still be tried.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use expect_test::{expect, expect_file};
use skep_engine::{EffectKey, Partition};
use skep_protocol::{Batch, Hash, PartitionId, Record, Seq, encode};

const ID: PartitionId = PartitionId::new(3);

/// A journal that is longer stays out: it has large values and nothing else of its own.
const MOST_BYTES: usize = 20_000;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/journals")
}

/// Writes the journals of all golden runs: a heading each, and a line for each message.
fn keep(path: &Path) {
    let mut kept = String::new();
    for file in crate::golden::files() {
        let script = std::fs::read_to_string(&file).unwrap();
        let records = crate::script::records(&script);
        let mut previous = Hash::ZERO;
        let mut journal = String::new();
        for records in records.chunks(3) {
            let (partition, records) = (ID, records.to_vec());
            let batch = Batch { v: Batch::VERSION, partition, epoch: 1, previous, records };
            let bytes = batch.encode();
            previous = Hash::of(&bytes);
            writeln!(journal, "{}", std::str::from_utf8(&bytes).unwrap()).unwrap();
        }
        if journal.len() <= MOST_BYTES {
            let name = file.file_stem().unwrap().to_str().unwrap();
            write!(kept, "# {name}\n{journal}").unwrap();
        }
    }
    assert!(!path.exists(), "{}: kept journals are never edited", path.display());
    std::fs::write(path, kept).unwrap();
}

/// Folds one journal and says what is to be done halfway, and at its end.
fn fold(messages: &[&str], kinds: &mut BTreeSet<String>) -> String {
    let mut partition = Partition::new(ID);
    let mut previous = Hash::ZERO;
    let mut said = String::new();
    for (index, line) in messages.iter().enumerate() {
        let seq = Seq::new(index as u64 + 1);
        let batch = Batch::decode(line.as_bytes(), seq, ID, previous).unwrap();
        previous = Hash::of(line.as_bytes());
        for record in &batch.records {
            kinds.insert(kind(record));
            partition.apply(record).unwrap();
        }
        let read = index + 1;
        if read == messages.len() || read == messages.len() / 2 {
            writeln!(said, "  {read} of {}: {}", messages.len(), owed(&partition)).unwrap();
        }
    }
    partition.check_invariants().unwrap();
    said
}

fn owed(partition: &Partition) -> String {
    let mut said = format!("{} live", partition.live_runs());
    if let Some(wake) = partition.next_wake() {
        write!(said, ", wakes at {}", wake.at.as_millis()).unwrap();
    }
    for effect in partition.outstanding() {
        let key = match effect.key() {
            EffectKey::Attempt(attempt) => format!("{} {}", attempt.step, attempt.attempt),
            key => format!("{key:?}"),
        };
        write!(said, "\n    owes {key}").unwrap();
    }
    said
}

/// Returns the name of what a record says, as it is stored.
fn kind(record: &Record) -> String {
    let json: serde_json::Value = serde_json::from_slice(&encode(record)).unwrap();
    let tag = |json: &serde_json::Value| match json {
        serde_json::Value::String(tag) => tag.clone(),
        json => json.as_object().unwrap().keys().next().unwrap().clone(),
    };
    match json.get("run") {
        Some(run) => tag(&run["event"]),
        None => tag(&json),
    }
}

#[test]
fn journals_of_old_still_fold() {
    if let Ok(name) = std::env::var("KEEP_JOURNALS") {
        keep(&folder().join(name).with_extension("jsonl"));
    }
    let mut kinds = BTreeSet::new();
    let paths = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let kept = paths.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    for path in kept.collect::<BTreeSet<_>>() {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let mut said = String::new();
        for journal in lines.chunk_by(|_, next| !next.starts_with("# ")) {
            writeln!(said, "{}\n{}", journal[0], fold(&journal[1..], &mut kinds)).unwrap();
        }
        expect_file![path.with_extension("txt")].assert_eq(&said);
    }
    let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
    expect![[r#"
        attempt_completed
        attempt_failed
        attempt_lost
        attempt_released
        attempt_scheduled
        attempt_taken
        cancel_requested
        checkpoint_saved
        child_started
        group_restarted
        group_started
        owner_changed
        parent_notified
        report_ignored
        run_cancelled
        run_completed
        run_failed
        run_paused
        run_resumed
        run_started
        signal_received
        step_cancelled
        step_completed
        step_expanded
        step_failed
        step_skipped
        step_stopping
        wait_started
        workflow_added"#]]
    .assert_eq(&kinds.join("\n"));
}
