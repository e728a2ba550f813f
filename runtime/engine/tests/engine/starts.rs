//! Starts that were checked where they came in are decided as any other.

use serde_json::{Map, Value, json};
use skep_engine::{Input, Reply};
use skep_protocol::limits::MAX_INLINE_PAYLOAD;
use skep_protocol::{CommandReply, Payload, Record, StartRun};
use skep_workflow::Workflow;

use crate::world::{World, read, run_id};

const DEFINITION: &str = "
name: s
inputs:
  text: { type: string }
  number: { type: integer, default: 3 }
steps:
  a: { agent: x }
";

fn of(workflow: &Workflow, inputs: Payload) -> Box<StartRun> {
    let (workflow, parent, labels) = (workflow.name().to_string(), None, Default::default());
    Box::new(StartRun { run: run_id(), workflow, inputs, parent, depth: 0, labels })
}

/// What follows from inputs as they were given, and from the same once they were accepted.
fn both_ways(given: Map<String, Value>) -> [(Vec<Record>, Option<Reply>, World); 2] {
    let workflow = read(DEFINITION);
    let accepted = workflow.inputs().accept(given.clone()).unwrap();
    let starts = [given, accepted].map(|map| of(&workflow, Payload::from(Value::Object(map))));
    let mut is_accepted = false;
    starts.map(|start| {
        let mut world = World::new();
        let resolved = world.resolved(&workflow);
        let input = match std::mem::replace(&mut is_accepted, true) {
            false => Input::Start { start, workflow: resolved },
            true => Input::Accepted { start, workflow: resolved },
        };
        let handled = world.handle(input).handled;
        (handled.records, handled.reply, world)
    })
}

#[test]
fn both_ways_a_start_is_recorded_alike() {
    let small = json!({ "text": "a" });
    // What stands apart does so whoever has looked at it before.
    let large = json!({ "text": "a".repeat(MAX_INLINE_PAYLOAD) });
    for (inputs, apart) in [(small, 0), (large, 1)] {
        let [one, other] = both_ways(inputs.as_object().unwrap().clone());
        assert_eq!(one.0, other.0);
        assert_eq!(one.1, other.1);
        assert!(matches!(one.1, Some(Reply::Command(CommandReply::Started { .. }))));
        assert_eq!((one.2.blobs.len(), other.2.blobs.len()), (apart, apart));
    }
}

#[test]
fn a_start_that_comes_again_by_the_other_way_is_the_same() {
    let given = json!({ "text": "a" }).as_object().unwrap().clone();
    let [(_, _, mut world), _] = both_ways(given.clone());
    let workflow = read(DEFINITION);
    let accepted = workflow.inputs().accept(given).unwrap();
    let start = of(&workflow, Payload::from(Value::Object(accepted)));
    let resolved = world.resolved(&workflow);
    let handled = world.handle(Input::Accepted { start, workflow: resolved }).handled;
    let same = CommandReply::Started { run: run_id(), existing: true };
    assert_eq!((handled.records, handled.reply), (Vec::new(), Some(Reply::Command(same))));
}
