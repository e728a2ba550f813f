//! What the work is done on.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use skep_engine::{Effect, Input, OfferTask, Partition, Resolved};
use skep_protocol::{
    AgentId, Hash, Outcome, PartitionId, Payload, Record, Report, ReportBody, RunId, StartRun,
    StepPath, Timestamp,
};
use skep_workflow::Workflow;

/// When everything happens.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// Where it happens.
pub(crate) const PARTITION: PartitionId = PartitionId::new(0);
/// Steps of a chain.
pub(crate) const CHAIN: usize = 10;
/// Steps of a layer.
pub(crate) const LAYER: usize = 100;

/// What agents answer.
const OUTPUT: &str = r#"{"text":"Bees keep the brood nest warm by shivering, and cool by fanning.",
"score":0.87,"tags":["heat","brood","bees"],"source":{"file":"bees/brood.md","line":118}}"#;

/// Reads a definition.
pub(crate) fn read(definition: &str) -> Workflow {
    skep_workflow::read(definition.as_bytes(), "bench.skep.yaml").expect("it is valid")
}

/// Writes a definition in layers: each step reads one of the layer before and needs two more.
pub(crate) fn layers(steps: usize) -> String {
    let mut text = String::from("name: layers\ninputs:\n  topic: { type: string }\nsteps:\n");
    for step in 0..steps {
        let _ = writeln!(text, "  s{step}:\n    agent: role{}", step % 7);
        let Some(above) = step.checked_sub(LAYER) else {
            text.push_str("    with: { text: \"${{ inputs.topic }}\" }\n");
            continue;
        };
        let first = above - above % LAYER;
        let (second, third) = (first + (above + 7) % LAYER, first + (above + 13) % LAYER);
        let _ = writeln!(text, "    needs: [s{second}, s{third}]");
        let _ = writeln!(text, "    with: {{ text: \"${{{{ steps.s{above}.output.text }}}}\" }}");
    }
    text
}

/// Writes a definition in which each step reads the one before.
fn chain() -> String {
    let mut text = String::from("name: chain\ninputs:\n  topic: { type: string }\nsteps:\n");
    text.push_str("  s0: { agent: role, with: { text: \"${{ inputs.topic }}\" } }\n");
    for step in 1..CHAIN {
        let before = format!("steps.s{}.output", step - 1);
        let _ = writeln!(text, "  s{step}:\n    agent: role\n    with:");
        let _ = writeln!(text, "      text: ${{{{ {before}.text }}}}");
        let _ = writeln!(text, "      source: ${{{{ {before}.source }}}}");
    }
    let _ = writeln!(text, "outputs:\n  last: ${{{{ steps.s{}.output }}}}", CHAIN - 1);
    text
}

/// Returns the start of a run.
pub(crate) fn start(workflow: &Workflow, number: usize) -> Input {
    let start = StartRun {
        run: run(number),
        workflow: workflow.name().to_string(),
        inputs: Payload::from_text(r#"{"topic":"bees"}"#).expect("it is JSON"),
        parent: None,
        depth: 0,
        labels: BTreeMap::new(),
    };
    let digest = Hash::from_bytes(*workflow.digest().as_bytes());
    let (workflow, pinned) = (Some(workflow.clone()), BTreeMap::new());
    Input::Accepted { start: Box::new(start), workflow: Resolved { digest, workflow, pinned } }
}

/// Returns the id of a run.
pub(crate) fn run(number: usize) -> RunId {
    RunId::from_key("bench", &number.to_string())
}

/// Returns the id of an agent.
pub(crate) fn agent(number: usize) -> AgentId {
    AgentId::new(&format!("agent-{number}")).expect("it is short")
}

/// Returns the report that a step is completed.
pub(crate) fn report(run: RunId, step: usize) -> Report {
    let output = Payload::from_text(OUTPUT).expect("it is JSON");
    let body = ReportBody::Outcome(Outcome::Completed { output, duration_ms: 1_250 });
    Report { run, step: StepPath::new(&format!("s{step}")), attempt: 1, body }
}

/// Returns what a partition sees of such a report.
pub(crate) fn completed(run: RunId, step: usize) -> Input {
    Input::Report { agent: agent(1), report: report(run, step) }
}

/// Does what the owner of a partition does with an input, but for the journal.
pub(crate) fn handle(partition: &mut Partition, input: Input) -> Vec<Record> {
    let handled = partition.handle(input, NOW).expect("the decision fits the state");
    drop(partition.take_changes());
    handled.records
}

/// A partition with runs of a chain, and what its journal holds.
pub(crate) struct Chains {
    pub(crate) workflow: Workflow,
    pub(crate) partition: Partition,
    pub(crate) records: Vec<Record>,
}

/// Starts so many runs of a chain and completes the first `done` steps of each.
pub(crate) fn chains(runs: usize, done: usize) -> Chains {
    let workflow = read(&chain());
    let (mut partition, mut records) = (Partition::new(PARTITION), Vec::new());
    for number in 0..runs {
        records.extend(handle(&mut partition, start(&workflow, number)));
    }
    for (step, number) in (0..done).flat_map(|step| (0..runs).map(move |number| (step, number))) {
        records.extend(handle(&mut partition, completed(run(number), step)));
    }
    Chains { workflow, partition, records }
}

/// Returns the tasks that so many runs of a chain owe.
pub(crate) fn offers(runs: usize) -> Vec<OfferTask> {
    let owed = chains(runs, 3).partition.outstanding().into_iter();
    let offers = owed.filter_map(|effect| match effect {
        Effect::OfferTask(offer) => Some(*offer),
        Effect::StartChild { .. }
        | Effect::CancelChild { .. }
        | Effect::NotifyParent { .. }
        | Effect::FetchBlob { .. } => None,
    });
    offers.collect()
}
