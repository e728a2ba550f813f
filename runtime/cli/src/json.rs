//! What users and scripts see of the protocol's types: payloads as plain values, times as RFC 3339.

use serde::Serialize;
use serde_json::{Map, Value, json};
use skep_protocol::{
    AgentHealth, AgentView, AttemptView, BlobRef, BreakerShare, BreakerView, DeadLetter, Failure,
    FailureKind, HealthShare, HistoryEntry, Payload, RunDetail, RunSummary, StepView, Timestamp,
};

use crate::human::{self, rfc3339};

/// Returns the value of a payload; one that lies in the blob store is named, not fetched.
pub(crate) fn payload(payload: &Payload) -> Value {
    match payload {
        Payload::Json(raw) => serde_json::from_str(raw.get()).unwrap_or(Value::Null),
        Payload::Blob(blob) => blob_ref(blob),
    }
}

fn blob_ref(blob: &BlobRef) -> Value {
    json!({ "blob": blob.hash.to_string(), "size": blob.size })
}

/// Sets a value; one that lies in the blob store and was not fetched is null, with its size beside
/// it.
fn set(object: &mut Value, key: &str, value: Option<&Payload>) {
    object[key] = value
        .and_then(Payload::text)
        .map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or(Value::Null));
    if let Some(blob) = value.and_then(Payload::blob) {
        object[format!("{key}_size")] = json!(blob.size);
    }
}

/// Returns why a run did not complete: a failure, or why somebody cancelled it.
pub(crate) fn error(detail: &RunDetail) -> Value {
    match (&detail.error, &detail.cancelled) {
        (Some(error), _) => failure(error),
        (None, Some(reason)) => {
            failure(&Failure::new(FailureKind::Cancelled, "cancelled", reason).fatal())
        }
        (None, None) => Value::Null,
    }
}

/// Returns a failure.
pub(crate) fn failure(failure: &Failure) -> Value {
    let mut object = json!({
        "kind": failure.kind,
        "code": failure.code,
        "message": failure.message,
        "retryable": failure.retryable,
    });
    if failure.details.is_some() {
        set(&mut object, "details", failure.details.as_ref());
    }
    object
}

/// Returns a run of a list.
pub(crate) fn summary(run: &RunSummary) -> Value {
    let mut object = json!({
        "run": run.run,
        "workflow": run.workflow,
        "digest": run.digest,
        "status": run.status,
        "started": rfc3339(run.started),
        "ended": run.ended.map(rfc3339),
        "duration_ms": between(Some(run.started), run.ended),
        "steps": run.steps,
        "steps_ended": run.steps_ended,
    });
    if let Some(parent) = &run.parent {
        object["parent"] = json!(parent);
    }
    if let Some(before) = run.retry_of {
        object["retry_of"] = json!(before);
    }
    if !run.labels.is_empty() {
        object["labels"] = json!(run.labels);
    }
    object
}

/// Returns everything about a run.
pub(crate) fn detail(detail: &RunDetail) -> Value {
    let mut object = summary(&detail.summary);
    set(&mut object, "inputs", Some(&detail.inputs));
    set(&mut object, "outputs", detail.outputs.as_ref());
    object["error"] = error(detail);
    if let Some(reason) = &detail.cancelled {
        object["cancelled"] = json!(reason);
    }
    if let Some(paused) = &detail.paused {
        object["paused"] = json!({ "by": paused.by, "since": rfc3339(paused.since) });
    }
    if !detail.retried_by.is_empty() {
        object["retried_by"] = json!(detail.retried_by);
    }
    let steps = detail.steps.iter().map(|view| (view.step.to_string(), step(view)));
    object["steps"] = Value::Object(steps.collect());
    let waiting = detail.waiting.iter();
    object["waiting"] =
        waiting.map(|view| json!({ "step": view.step, "reason": view.reason })).collect();
    object
}

/// Returns a step of a run.
pub(crate) fn step(view: &StepView) -> Value {
    let mut object = json!({
        "status": view.status,
        "started": view.started.map(rfc3339),
        "ended": view.ended.map(rfc3339),
        "duration_ms": between(view.started, view.ended),
        "attempts": view.attempts.len(),
        "tries": view.attempts.iter().map(attempt).collect::<Vec<_>>(),
    });
    set(&mut object, "output", view.output.as_ref());
    if let Some(error) = &view.error {
        object["error"] = failure(error);
    }
    if let Some(why) = human::not_run(view) {
        object["reason"] = json!(why);
    }
    if let Some(culprit) = &view.stopped_by {
        object["stopped_by"] = json!(culprit);
    }
    if let Some(child) = view.child {
        object["child"] = json!(child);
    }
    if let Some(items) = view.items {
        object["items"] = json!(items);
    }
    if view.kept {
        object["kept"] = json!(true);
    }
    if let Some(by) = &view.skipped_by {
        object["skipped_by"] = json!(by);
    }
    object
}

/// Returns an attempt of a step.
pub(crate) fn attempt(view: &AttemptView) -> Value {
    let mut object = json!({
        "attempt": view.attempt,
        "status": view.status,
        "agent": view.agent,
        "scheduled": rfc3339(view.scheduled),
        "ended": view.ended.map(rfc3339),
        "duration_ms": view.duration_ms,
    });
    if view.fallback {
        object["fallback"] = json!(true);
    }
    if let Some(error) = &view.error {
        object["error"] = failure(error);
    }
    object
}

/// Returns a dead letter.
pub(crate) fn letter(letter: &DeadLetter) -> Value {
    let dropped = letter.dropped.as_ref();
    let dropped = dropped.map(|dropped| json!({ "by": dropped.by, "at": rfc3339(dropped.at) }));
    json!({
        "run": letter.run,
        "workflow": letter.workflow,
        "digest": letter.digest,
        "labels": letter.labels,
        "step": letter.step,
        "capability": letter.capability,
        "agent": letter.agent,
        "attempts": letter.attempts,
        "error": failure(&letter.failure),
        "at": rfc3339(letter.at),
        "child": letter.child,
        "redriven_by": letter.redriven,
        "dropped": dropped,
    })
}

/// Returns the word of the protocol for something.
pub(crate) fn word(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default().trim_matches('"').to_owned()
}

/// Returns the milliseconds between two times that are both known.
pub(crate) fn between(started: Option<Timestamp>, ended: Option<Timestamp>) -> Option<u64> {
    let (started, ended) = (started?, ended?);
    Some(ended.as_millis().saturating_sub(started.as_millis()))
}

/// Returns a live agent.
pub(crate) fn agent(view: &AgentView) -> Value {
    json!({
        "agent": view.agent,
        "lane": view.lane,
        "offers": view.offers,
        "labels": view.labels,
        "held": view.held,
        "draining": view.draining,
        "seen": rfc3339(view.seen),
        "software": view.software,
        "ration": view.ration,
        "health": view.health.as_ref().map(health),
    })
}

fn health(health: &AgentHealth) -> Value {
    let share = |share: &HealthShare| {
        json!({
            "coordinator": share.coordinator,
            "standing": share.standing,
            "calls": share.calls,
            "failed": share.failed,
        })
    };
    let quarantine = health.quarantine.as_ref().map(|record| {
        json!({
            "since": rfc3339(record.since),
            "until": record.until.map(rfc3339),
            "cause": record.cause,
            "times": record.times,
        })
    });
    json!({
        "standing": health.standing,
        "calls": health.calls,
        "failed": health.failed,
        "quarantine": quarantine,
        "shares": health.shares.iter().map(share).collect::<Vec<_>>(),
    })
}

/// Returns a circuit breaker.
pub(crate) fn breaker(view: &BreakerView) -> Value {
    let share = |share: &BreakerShare| {
        json!({
            "coordinator": share.coordinator,
            "state": share.phase,
            "parked": share.parked,
            "calls": share.calls,
            "failed": share.failed,
            "slow": share.slow,
        })
    };
    json!({
        "breaker": view.name,
        "capability": view.capability,
        "state": view.phase,
        "parked": view.parked,
        "calls": view.calls,
        "failed": view.failed,
        "slow": view.slow,
        "since": view.since.map(rfc3339),
        "until": view.until.map(rfc3339),
        "cause": view.cause,
        "trips": view.trips,
        "at_a_time": view.at_a_time,
        "shares": view.shares.iter().map(share).collect::<Vec<_>>(),
    })
}

/// Returns a fact of a run's history: `{number, at, run, event, …}` with the event's own fields.
pub(crate) fn entry(entry: &HistoryEntry) -> Value {
    let mut object = Map::new();
    object.insert("number".to_owned(), json!(entry.number));
    object.insert("at".to_owned(), json!(rfc3339(entry.record.at)));
    object.insert("run".to_owned(), json!(entry.record.run));
    match serde_json::to_value(&entry.record.event) {
        Ok(Value::Object(tagged)) => {
            for (name, fields) in tagged {
                object.insert("event".to_owned(), json!(name));
                if let Value::Object(fields) = fields {
                    object.extend(fields.into_iter().map(|(key, value)| tidy(key, value)));
                }
            }
        }
        other => drop(object.insert("event".to_owned(), other.unwrap_or_default())),
    }
    Value::Object(object)
}

/// The fields of events that hold payloads; everything else is left as it is.
const PAYLOADS: &[&str] =
    &["inputs", "outputs", "input", "output", "payload", "checkpoint", "details", "item"];
/// The fields of events that hold times.
const TIMES: &[&str] = &["not_before", "until"];

fn tidy(key: String, mut value: Value) -> (String, Value) {
    if PAYLOADS.contains(&key.as_str()) {
        value = plain(value);
    } else if let (Value::Array(items), "items") = (&mut value, key.as_str()) {
        items.iter_mut().for_each(|item| *item = plain(item.take()));
    } else if let (Value::Object(fields), "failure") = (&mut value, key.as_str()) {
        let fields = std::mem::take(fields).into_iter();
        value = Value::Object(fields.map(|(key, value)| tidy(key, value)).collect());
    } else if let (Some(ms), true) = (value.as_u64(), TIMES.contains(&key.as_str())) {
        let at = Timestamp::from_millis(ms);
        value = if at == Timestamp::EPOCH { Value::Null } else { json!(rfc3339(at)) };
    }
    (key, value)
}

fn plain(encoded: Value) -> Value {
    match serde_json::from_value::<Payload>(encoded.clone()) {
        Ok(known) => payload(&known),
        Err(_) => encoded,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use skep_protocol::{AttemptScheduled, Event, Hash, RunId, RunRecord, StepPath};

    use super::*;

    fn check(event: Event, expected: expect_test::Expect) {
        let run = RunId::from_key("w", "k");
        let record = RunRecord { run, at: Timestamp::from_millis(1_000), event };
        let mut value = entry(&HistoryEntry { number: 7, record });
        value.as_object_mut().unwrap().shift_remove("run");
        expected.assert_eq(&serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn history_entries_are_flat_and_plain() {
        check(
            Event::AttemptScheduled(AttemptScheduled {
                step: StepPath::new("greet"),
                attempt: 1,
                not_before: Timestamp::from_millis(2_000),
                input: Some(json!({ "json": 1 }).into()),
                fallback: false,
            }),
            expect![[r#"
                {
                  "number": 7,
                  "at": "1970-01-01T00:00:01.000Z",
                  "event": "attempt_scheduled",
                  "step": "greet",
                  "attempt": 1,
                  "not_before": "1970-01-01T00:00:02.000Z",
                  "input": {
                    "json": 1
                  }
                }"#]],
        );
        check(
            Event::RunCancelled {},
            expect![[r#"
            {
              "number": 7,
              "at": "1970-01-01T00:00:01.000Z",
              "event": "run_cancelled"
            }"#]],
        );
    }

    #[test]
    fn blobs_are_named() {
        let blob = BlobRef { hash: Hash::ZERO, size: 70_000 };
        let value = payload(&Payload::from(blob));
        assert_eq!(value["size"], 70_000);
    }
}
