//! `skep bench`

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::Global;
use crate::error::{Error, Exit};
use crate::human;
use crate::output::{self, Format};

/// Measure skep on this machine.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check and plan a large generated definition: time and memory.
    Plan(Plan),
}

/// Check and plan a large generated definition: time and memory.
#[derive(Debug, Args)]
struct Plan {
    /// How many steps.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    steps: u32,
    /// Print the generated definition and measure nothing.
    #[arg(long)]
    print: bool,
}

impl Bench {
    pub(crate) fn perform(self, global: &Global) -> Result<Exit, Error> {
        match self.what {
            What::Plan(plan) => plan.perform(global),
        }
    }
}

impl Plan {
    fn perform(self, global: &Global) -> Result<Exit, Error> {
        let source = generate(self.steps);
        if self.print {
            output::data(source.trim_end());
            return Ok(Exit::Ok);
        }
        let before = peak_memory();
        let started = clock();
        let workflow = skep_workflow::read(source.as_bytes(), "bench.skep.yaml")
            .map_err(|rejected| Error::new(Exit::Failed, rejected.to_string()))?;
        let took = clock().saturating_sub(started);
        let edges: usize = workflow.steps().iter().map(|step| step.needs().len()).sum();
        let peak = peak_memory();
        match global.output {
            Format::Json => output::json(&json!({
                "steps": workflow.steps().len(),
                "edges": edges,
                "bytes": source.len(),
                "check_and_plan_ms": took.as_secs_f64() * 1_000.0,
                "peak_memory_before_kib": before,
                "peak_memory_kib": peak,
            })),
            Format::Text => {
                let steps = workflow.steps().len();
                output::data(format!("{steps} steps, {edges} edges, {} bytes", source.len()));
                output::data(format!("checked and planned in {}", human::duration(took)));
                if let (Some(before), Some(peak)) = (before, peak) {
                    let (peak, before) = (mebibytes(peak), mebibytes(before));
                    output::data(format!("peak memory {peak} MiB ({before} MiB before)"));
                }
            }
        }
        Ok(Exit::Ok)
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
        match step.checked_sub(LAYER) {
            None => text.push_str("    with: { text: \"${{ inputs.topic }}\" }\n"),
            Some(above) => {
                let start = above - above % LAYER;
                let (second, third) = (start + (above + 7) % LAYER, start + (above + 13) % LAYER);
                let _ = writeln!(text, "    needs: [s{second}, s{third}]");
                let _ = writeln!(
                    text,
                    "    with: {{ text: \"${{{{ steps.s{above}.output.text }}}}\" }}"
                );
            }
        }
    }
    let _ = writeln!(text, "outputs:\n  last: ${{{{ steps.s{}.output }}}}", steps - 1);
    text
}

#[expect(clippy::disallowed_methods, reason = "measuring time is what a benchmark does")]
fn clock() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// Returns the most memory this process ever had, in KiB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn mebibytes(kib: u64) -> u64 {
    kib.div_ceil(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_definition_is_valid_at_every_size() {
        for steps in [1, 99, 100, 101, 350] {
            let workflow = skep_workflow::read(generate(steps).as_bytes(), "bench").unwrap();
            assert_eq!(workflow.steps().len(), steps as usize);
        }
    }
}
