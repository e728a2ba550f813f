//! Inputs that do not fit, outputs without a form, large values.

use std::collections::BTreeMap;

use expect_test::expect;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use skep_agent::{Agent, Context, Failure};
use skep_broker::memory::Settings;
use skep_broker::{Blobs as _, Embedded};
use skep_protocol::limits::MAX_INLINE_PAYLOAD;
use skep_protocol::{BlobRef, Outcome, Payload, ReportBody};

use crate::harness::{Count, Stage, check, line, task};

#[derive(Deserialize, Serialize)]
struct Order {
    id: u64,
    items: Vec<Item>,
}

#[derive(Deserialize, Serialize)]
struct Item {
    price: f64,
}

#[tokio::test(start_paused = true)]
async fn an_input_that_does_not_fit_names_the_place() {
    let inputs = [
        (json!({ "id": 1, "items": [{ "price": 2.5 }] }), expect!["s/1 completed 2.5"]),
        (
            json!({ "id": 1, "items": [{ "price": 1 }, { "price": "two" }] }),
            expect![
                "s/1 failed Agent invalid_input: the input does not fit: at `items[1].price`: \
                 invalid type: string \"two\", expected f64 (final)"
            ],
        ),
        (
            json!({ "items": [] }),
            expect![
                "s/1 failed Agent invalid_input: the input does not fit: missing field `id` (final)"
            ],
        ),
        (
            json!("Ada"),
            expect![
                "s/1 failed Agent invalid_input: the input does not fit: invalid type: \
                 string \"Ada\", expected struct Order (final)"
            ],
        ),
    ];
    for (input, expected) in inputs {
        let total = |order: Order| async move {
            Ok::<_, Failure>(order.items.iter().map(|item| item.price).sum::<f64>())
        };
        let agent = Agent::builder("shop").serve("total", total).build().unwrap();
        check(agent, task("s", "total", input), expected).await;
    }
}

#[derive(Serialize)]
struct Page {
    links: Vec<BTreeMap<(u8, u8), u8>>,
}

#[tokio::test(start_paused = true)]
async fn an_output_without_a_json_form_names_the_place() {
    let handler = |_input: Value| async {
        Ok::<_, Failure>(Page { links: vec![BTreeMap::new(), BTreeMap::from([((1, 2), 3)])] })
    };
    let agent = Agent::builder("a").serve("c", handler).build().unwrap();
    let expected = expect![
        "s/1 failed Agent invalid_output: the output has no JSON form at `links[1]`: \
         key must be a string (final)"
    ];
    check(agent, task("s", "c", json!({})), expected).await;
}

fn echo() -> Agent {
    let handler = |input: Value| async move { Ok::<_, Failure>(input) };
    Agent::builder("echo").serve("echo", handler).build().unwrap()
}

fn output(body: &ReportBody) -> &Payload {
    match body {
        ReportBody::Outcome(Outcome::Completed { output, .. }) => output,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn large_values_go_through_the_blob_store_both_ways() {
    let stage = Stage::start(echo()).await;
    let mut owner = stage.own().await;
    for len in [MAX_INLINE_PAYLOAD - 2, MAX_INLINE_PAYLOAD - 1, 3_000_000] {
        let text = serde_json::to_string(&"x".repeat(len)).unwrap();
        let blob = stage.broker.put_blob(text.clone().into()).await.unwrap();
        stage.give(&task(&format!("s{len}"), "echo", Payload::from(blob))).await;
        let report = owner.apply().await;
        let output = output(&report.body);
        if text.len() <= MAX_INLINE_PAYLOAD {
            assert_eq!(output.text(), Some(text.as_str()));
        } else {
            assert_eq!(output.blob(), Some(blob));
            assert_eq!(stage.blob(output).await, text);
        }
    }
}

#[derive(Deserialize, Serialize)]
struct Quoted {
    json: Box<RawValue>,
}

#[tokio::test(start_paused = true)]
async fn raw_json_is_handed_on_as_it_is() {
    let handler = |input: Quoted| async move { Ok::<_, Failure>(input) };
    let agent = Agent::builder("a").serve("c", handler).build().unwrap();
    let stage = Stage::start(agent).await;
    let mut owner = stage.own().await;
    let text = r#"{"json":[12345678901234567890123,1.10,{"a":1,"a":2}]}"#;
    stage.give(&task("s", "c", Payload::from_text(text).unwrap())).await;
    assert_eq!(output(&owner.apply().await.body).text(), Some(text));
}

#[tokio::test(start_paused = true)]
async fn a_full_store_fails_the_attempt() {
    let settings = Settings { max_blob_bytes: 150_000, ..Settings::default() };
    let broker = Embedded::with_settings(settings);
    let handler = |n: usize| async move { Ok::<_, Failure>(n.to_string().repeat(100_000)) };
    let agent = Agent::builder("a").serve("c", handler).build().unwrap();
    let stage = Stage::start_over(agent, broker.clone(), broker).await;
    let mut owner = stage.own().await;
    stage.give(&task("first", "c", json!(1))).await;
    assert!(output(&owner.apply().await.body).blob().is_some());
    stage.give(&task("second", "c", json!(2))).await;
    expect![
        "second/1 failed Agent blob_store_full: no room for a value of 100002 bytes: \
         all large values may have 150000 bytes together (final)"
    ]
    .assert_eq(&line(&owner.apply().await));
}

#[tokio::test(start_paused = true)]
async fn a_large_checkpoint_comes_back() {
    let handler = |context: Context, _input: Value| async move {
        match context.checkpoint::<String>().await? {
            None => {
                context.save_checkpoint(&"x".repeat(100_000)).await?;
                Ok::<_, Failure>(0)
            }
            Some(text) => Ok(text.len()),
        }
    };
    let stage = Stage::start(Agent::builder("a").serve("c", handler).build().unwrap()).await;
    let mut owner = stage.own().await;
    let mut task = task("s", "c", json!({}));
    stage.give(&task).await;
    let reports = owner.apply_all(2).await;
    let ReportBody::Checkpoint(saved) = &reports[0].body else { panic!("{reports:?}") };
    assert!(saved.blob().is_some());
    (task.attempt, task.checkpoint) = (2, Some(saved.clone()));
    stage.give(&task).await;
    expect!["s/2 completed 100000"].assert_eq(&line(&owner.apply().await));
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_is_not_there_fails_the_attempt() {
    let blob = BlobRef::of(b"\"never stored\"");
    let expected = expect![
        "s/1 failed Agent payload_missing: \
         blob 5d5c69015498753b73e948a077540934300e964f9979d94ba8119a29d946ef63 (14 bytes) \
         is not there (retryable)"
    ];
    check(echo(), task("s", "echo", Payload::from(blob)), expected).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_of_a_newer_format_fails_without_being_tried() {
    let mut task = task("s", "echo", json!(1));
    task.v = 2;
    let expected = expect![
        "s/1 failed Agent unsupported_task: the task has format 2, this agent reads up to 1 \
         (retryable)"
    ];
    check(echo(), task, expected).await;
}

#[tokio::test]
async fn perform_is_a_run_of_one_task() {
    let agent = echo();
    assert_eq!(agent.perform("echo", [1, 2]).await.unwrap(), json!([1, 2]));
    let large = "x".repeat(1_000_000);
    assert_eq!(agent.perform("echo", &large).await.unwrap(), json!(large));
    let queue = Agent::builder("q").serve("up", |n: u8| async move { Ok::<_, Failure>(n + 1) });
    let queue = queue.lane(skep_agent::Lane::Queue).build().unwrap();
    assert_eq!(queue.perform("up", 1).await.unwrap(), json!(2));
    let failures = [
        queue.perform("up", "one").await.unwrap_err(),
        queue.perform("down", 1).await.unwrap_err(),
        queue.perform("up", 255).await.unwrap_err(),
    ];
    expect![[r#"
        [
            Failure {
                kind: Agent,
                code: "invalid_input",
                message: "the input does not fit: invalid type: string \"one\", expected u8",
                retryable: false,
            },
            Failure {
                kind: Agent,
                code: "unknown_capability",
                message: "agent `q` does not serve `down`, only `up`",
                retryable: false,
            },
            Failure {
                kind: Panic,
                code: "panic",
                message: "the handler panicked: attempt to add with overflow",
                retryable: true,
            },
        ]
    "#]]
    .assert_debug_eq(&failures);
}

#[test]
fn an_agent_that_could_never_work_is_not_built() {
    let f = |n: u8| async move { Ok::<_, Failure>(n) };
    let agents = [
        Agent::builder("a").build(),
        Agent::builder("a.b").serve("c", f).build(),
        Agent::builder(&"x".repeat(60)).serve("c", f).build(),
        Agent::builder("a").serve("c d", f).build(),
        Agent::builder("a").serve("c", f).serve("c", f).build(),
        Agent::builder("a").serve("c", f).slots(0).build(),
        Agent::builder("a").serve("c", f).total_slots(0).build(),
    ];
    let errors: Vec<_> = agents.map(|agent| agent.unwrap_err().to_string()).into();
    expect![[r#"
        [
            "agent `a` serves no capability: call `serve(\"name\", handler)` before `build`",
            "the agent cannot have that name",
            "the name of the agent has 60 bytes, at most 55 are allowed",
            "`c d` is no name of a capability: 1 to 64 of A-Z a-z 0-9 _ - are, starting with a letter or _; a dot may stand between two parts",
            "capability `c` is served twice",
            "capability `c` has 0 slots, so that it would never get a task",
            "agent `a` has 0 slots, so that it would never get a task",
        ]
    "#]]
    .assert_debug_eq(&errors);
}

#[tokio::test(start_paused = true)]
async fn a_report_that_no_message_can_carry_becomes_a_failure() {
    let settings = Settings { max_message: 4_096, ..Default::default() };
    let broker = Embedded::with_settings(settings);
    let count = Count::default();
    let counted = count.clone();
    let handler = move |len: usize| {
        counted.up();
        async move { Ok::<_, Failure>("x".repeat(len)) }
    };
    let agent = Agent::builder("a").serve("c", handler).build().unwrap();
    let stage = Stage::start_over(agent, broker.clone(), broker).await;
    let mut owner = stage.own().await;
    let tasks = [1_500, 1_500, 1_500, 9_000];
    let tasks = tasks.iter().enumerate().map(|(n, len)| task(&format!("s{n}"), "c", json!(len)));
    assert_eq!(stage.deliver(tasks.collect()).await.refused, []);
    let reports = owner.apply_all(4).await;
    let last = reports.iter().find(|report| report.step.as_str() == "s3").unwrap();
    assert!(line(last).starts_with("s3/1 failed Limit output_too_large"), "{}", line(last));
    assert_eq!(count.get(), 4);
}

/// What is inline is looked at by whoever takes the report.
#[tokio::test(start_paused = true)]
async fn a_large_output_with_a_key_twice_is_not_stored() {
    let handler = |text: String| async move {
        let output = format!("{{\"a\": \"{text}\", \"a\": 1}}");
        Ok::<_, Failure>(RawValue::from_string(output).unwrap())
    };
    let agent = Agent::builder("a").serve("c", handler).build().unwrap();
    let expected = expect![
        "s/1 failed Agent invalid_output: the JSON of the value has the key `a` twice at line 1 \
         column 65549 (final)"
    ];
    check(agent, task("s", "c", json!("t".repeat(MAX_INLINE_PAYLOAD))), expected).await;
}
