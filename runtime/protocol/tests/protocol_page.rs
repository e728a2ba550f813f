//! The examples of PROTOCOL.md are messages of the protocol: each is decoded into the type that its
//! block names, and encodes to the same JSON again.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use skep_protocol::{
    Control, Delivery, Heartbeat, Payload, ReportBatch, ReportReply, Task, TaskBatch, decode,
};

const PAGE: &str = include_str!("../PROTOCOL.md");
const FENCE: &str = "```";

/// A block of the page: its line, the type that it names, its text.
fn blocks() -> Vec<(usize, &'static str, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, &'static str, String)> = None;
    for (number, line) in PAGE.lines().enumerate() {
        match (&mut open, line.strip_prefix(FENCE)) {
            (None, Some(info)) => {
                let kind = info.strip_prefix("json ").expect("a block is tagged `json TYPE`");
                open = Some((number + 1, kind, String::new()));
            }
            (Some(_), Some(end)) => {
                assert_eq!(end, "", "line {}: a block is not closed", number + 1);
                blocks.extend(open.take());
            }
            (Some((_, _, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "the last block is not closed");
    blocks
}

/// Returns what is wrong with an example.
fn check<T: DeserializeOwned + Serialize>(text: &str) -> Result<(), String> {
    let message: T = decode(text.as_bytes()).map_err(|error| format!("{error:?}"))?;
    let again = serde_json::to_value(&message).map_err(|error| error.to_string())?;
    let written: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if again == written { Ok(()) } else { Err(format!("it encodes to {again}")) }
}

fn check_as(kind: &str, text: &str) -> Result<(), String> {
    match kind {
        "Payload" => check::<Payload>(text),
        "Heartbeat" => check::<Heartbeat>(text),
        "Task" => check::<Task>(text),
        "TaskBatch" => check::<TaskBatch>(text),
        "Delivery" => check::<Delivery>(text),
        "ReportBatch" => check::<ReportBatch>(text),
        "ReportReply" => check::<ReportReply>(text),
        "Control" => check::<Control>(text),
        other => Err(format!("`{other}` is no type that this test knows")),
    }
}

#[test]
fn every_example_is_a_message() {
    let blocks = blocks();
    let kinds: BTreeSet<_> = blocks.iter().map(|(_, kind, _)| *kind).collect();
    assert_eq!(kinds.len(), 8, "each type has an example: {kinds:?}");
    let problems: Vec<_> = blocks
        .iter()
        .filter_map(|(line, kind, text)| {
            let problem = check_as(kind, text).err()?;
            Some(format!("PROTOCOL.md:{line}: this is no {kind}: {problem}"))
        })
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_wrong_example_is_found() {
    assert!(check_as("Control", r#"{"drain":{}}"#).is_ok());
    assert!(check_as("Control", r#"{"drian":{}}"#).is_err());
    assert!(check_as("Control", r#"{"drain":{"unknown":1}}"#).is_err());
    assert!(check_as("Delivery", r#"{"refused":[]}"#).is_err());
}

#[test]
fn the_numbers_of_the_page_are_those_of_the_code() {
    use skep_protocol::limits;
    let said = [
        format!("every {} seconds", limits::HEARTBEAT_INTERVAL.as_secs()),
        format!("silent for {} seconds", limits::AGENT_SILENCE.as_secs()),
        format!("over {} KiB", limits::MAX_INLINE_PAYLOAD / 1024),
        format!("{} tasks or reports", limits::MAX_SHARED),
        format!("deeper than {}", limits::MAX_JSON_DEPTH),
        format!("over {} MiB", limits::MAX_PAYLOAD / 1024 / 1024),
        format!("at most {} KiB", limits::MAX_FAILURE_MESSAGE / 1024),
    ];
    for text in said {
        assert!(PAGE.contains(&text), "PROTOCOL.md does not say `{text}`");
    }
}
