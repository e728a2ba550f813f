//! `skep bench plan`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use skep_engine::{Input, Partition, Reply, Resolved};
use skep_protocol::{CommandReply, PartitionId, Payload, RunId, StartRun, Timestamp};
use skep_workflow::Workflow;

use super::clock;
use super::figures::rounded;
use super::settings::Settings;
use super::usage::peak_kib;
use crate::cli::Global;
use crate::error::{Error, Exit, chain};
use crate::human;
use crate::output::{self, Format};

/// Check and plan a large generated definition: time and memory.
///
/// Checked: the file is read, every reference is resolved. Planned: a run of it is started in the
/// engine, up to the tasks of its first steps.
#[derive(Debug, Args)]
pub(super) struct Plan {
    /// How many steps.
    #[arg(long, default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    steps: u32,
    /// Print the generated definition and measure nothing.
    #[arg(long)]
    print: bool,
}

/// What was measured.
struct Measured {
    workflow: Workflow,
    bytes: usize,
    records: usize,
    check: Duration,
    plan: Duration,
    before_kib: Option<u64>,
    peak_kib: Option<u64>,
}

impl Plan {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        let source = generate(self.steps);
        if self.print {
            output::data(source.trim_end());
            return Ok(Exit::Ok);
        }
        let seen = measure(&source)?;
        let (steps, bytes) = (seen.workflow.steps().len(), seen.bytes);
        let edges: usize = seen.workflow.steps().iter().map(|step| step.needs().len()).sum();
        if global.output == Format::Json {
            output::json_line(&json!({
                "benchmark": "plan",
                "steps": steps,
                "edges": edges,
                "bytes": bytes,
                "check_ms": rounded(seen.check.as_secs_f64() * 1_000.0),
                "plan_ms": rounded(seen.plan.as_secs_f64() * 1_000.0),
                "records": seen.records,
                "memory_before_kib": seen.before_kib,
                "peak_memory_kib": seen.peak_kib,
                "times": 1,
                "settings": Settings::of_program().to_json(),
            }));
            return Ok(Exit::Ok);
        }
        output::data(format!("{steps} steps, {edges} edges, {bytes} bytes"));
        output::data(format!("checked in {}", human::duration(seen.check)));
        let records = human::count(seen.records, "record");
        output::data(format!("planned in {} ({records})", human::duration(seen.plan)));
        if let (Some(before), Some(peak)) = (seen.before_kib, seen.peak_kib) {
            let (peak, before) = (peak.div_ceil(1024), before.div_ceil(1024));
            output::data(format!("peak memory {peak} MiB ({before} MiB before)"));
        }
        Ok(Exit::Ok)
    }
}

fn measure(source: &str) -> Result<Measured, Error> {
    let before_kib = peak_kib();
    let started = clock();
    let workflow = skep_workflow::read(source.as_bytes(), "bench.skep.yaml")
        .map_err(|rejected| Error::new(Exit::Failed, rejected.to_string()))?;
    let checked = clock();
    let records = plan(&workflow)?;
    let planned = clock();
    Ok(Measured {
        bytes: source.len(),
        records,
        check: checked.saturating_sub(started),
        plan: planned.saturating_sub(checked),
        before_kib,
        peak_kib: peak_kib(),
        workflow,
    })
}

/// Starts a run in an engine of its own and returns how many records that takes.
fn plan(workflow: &Workflow) -> Result<usize, Error> {
    let now = Timestamp::from_millis(1);
    let start = StartRun {
        run: RunId::from_key("bench", "plan"),
        workflow: workflow.name().to_string(),
        inputs: Payload::from(json!({})),
        parent: None,
        depth: 0,
        labels: BTreeMap::new(),
    };
    let resolved = Resolved {
        digest: skep_protocol::Hash::from_bytes(*workflow.digest().as_bytes()),
        workflow: Some(workflow.clone()),
        pinned: BTreeMap::new(),
    };
    let input = Input::Start { start: Box::new(start), workflow: resolved };
    let handled = Partition::new(PartitionId::new(0)).handle(input, now);
    let handled = handled.map_err(|error| Error::new(Exit::Failed, chain(&error)))?;
    match handled.reply {
        Some(Reply::Command(CommandReply::Started { .. })) => Ok(handled.records.len()),
        other => Err(Error::new(Exit::Failed, format!("the engine did not start it: {other:?}"))),
    }
}

/// Writes a definition in layers of 100 steps: each step reads the output of one step of the layer
/// before and needs two more.
fn generate(steps: u32) -> String {
    const LAYER: u32 = 100;
    let mut text =
        String::from("name: bench\ninputs:\n  topic: { type: string, default: bees }\nsteps:\n");
    for step in 0..steps {
        let _ = writeln!(text, "  s{step}:\n    agent: role{}", step % 7);
        let Some(above) = step.checked_sub(LAYER) else {
            text.push_str("    with: { text: \"${{ inputs.topic }}\" }\n");
            continue;
        };
        let start = above - above % LAYER;
        let (second, third) = (start + (above + 7) % LAYER, start + (above + 13) % LAYER);
        let _ = writeln!(text, "    needs: [s{second}, s{third}]");
        let _ = writeln!(text, "    with: {{ text: \"${{{{ steps.s{above}.output.text }}}}\" }}");
    }
    let _ = writeln!(text, "outputs:\n  last: ${{{{ steps.s{}.output }}}}", steps - 1);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_definition_is_valid_and_planned_at_every_size() {
        for steps in [1, 99, 100, 101, 350] {
            let workflow = skep_workflow::read(generate(steps).as_bytes(), "bench").unwrap();
            assert_eq!(workflow.steps().len(), steps as usize);
            assert!(plan(&workflow).unwrap() > steps.min(100) as usize);
        }
    }
}
