//! Runs that keep more of the one before than is taken down at once.

use skep_engine::{Again, Input, Past};
use skep_protocol::{BlobRef, Event, Payload, RunRecord, RunStatus, StepExpanded};
use skep_workflow::Workflow;

use super::{ended, perform_but};
use crate::world::{World, read, run_id};

/// Returns what is kept of a run of which one step failed, with values so large that it is taken
/// down in slices; the values of a `for_each` that goes on come one by one.
fn kept_at_length(workflow: &Workflow, failing: &str) -> Vec<Event> {
    let mut world = World::quick();
    world.start(workflow, "{}");
    perform_but(&mut world, Some(failing));
    let past = Past::new(workflow, &world.history()).unwrap();
    let long = || Payload::encode(&"x".repeat(200_000)).unwrap();
    let mut facts = Vec::new();
    for fact in past.keep(&Again::default()).unwrap() {
        match fact {
            Event::StepExpanded(whole) => facts.extend((0..whole.total).map(|offset| {
                Event::StepExpanded(StepExpanded { items: vec![long()], offset, ..whole.clone() })
            })),
            Event::StepKept(mut kept) => {
                kept.output = kept.output.map(|_| long());
                facts.push(Event::StepKept(kept));
            }
            other => panic!("{other:?} is kept"),
        }
    }
    facts
}

#[test]
fn who_was_cancelled_before_it_kept_everything_did_nothing() {
    let workflow = read(
        "name: w\nsteps:\n  s0: { agent: x, for_each: '${{ range(30) }}', \
         compensate: { agent: y }, retry: { attempts: 1 } }\n  s1: { agent: x, needs: [s0] }\n",
    );
    for failing in ["s1", "s0[29]"] {
        let facts = kept_at_length(&workflow, failing);
        let text = skep_protocol::encode(&facts);
        let blob = BlobRef::of(&text);
        let mut world = World::quick();
        world.blobs.insert(blob.hash, text);
        let count = u32::try_from(facts.len()).unwrap();
        world.retry_as(&workflow, Some(Payload::from(blob)), count);
        let kept = world.history().len() - 1;
        assert!(kept > 0 && kept < facts.len(), "{kept} of {} facts", facts.len());
        world.handle(Input::Cancel { run: run_id(), reason: "enough".to_owned() });
        while world.partition.next_wake().is_some_and(|wake| wake.at <= world.now) {
            world.handle(Input::Wake);
        }
        assert_eq!(ended(&world), RunStatus::Cancelled, "{failing}");
        let unwinds = |record: &RunRecord| {
            matches!(record.event, Event::UnwindStarted { .. } | Event::AttemptScheduled(_))
        };
        assert!(!world.history().iter().any(unwinds), "{failing}: what was kept stays as it is");
        let past = Past::new(&workflow, &world.history()).unwrap();
        assert_eq!(past.stands_for(), Some(run_id()), "{failing}");
    }
}
