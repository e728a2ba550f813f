//! Checks definition files given as arguments and draws what is wrong with them.
//!
//! `cargo run -p skep-workflow --example check -- FILE…`; `--steps N` makes a definition of N steps
//! instead, for measuring.

use std::fmt::Write as _;
use std::io::Write as _;

use skep_workflow::{Style, read};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut out = std::io::stdout().lock();
    while let Some(argument) = arguments.next() {
        let source = match argument.as_str() {
            "--steps" => {
                let count = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(10_000);
                steps(count).into_bytes()
            }
            file => std::fs::read(file)?,
        };
        match read(&source, &argument) {
            Ok(workflow) => {
                let edges: usize = workflow.steps().iter().map(|step| step.needs().len()).sum();
                let (name, count) = (workflow.name(), workflow.steps().len());
                writeln!(out, "{name}: {count} steps, {edges} edges")?;
                for warning in workflow.warnings() {
                    writeln!(out, "{}", warning.render(workflow.source(), Style::Plain))?;
                }
            }
            Err(rejected) => writeln!(out, "{}", rejected.render(Style::Plain))?,
        }
    }
    Ok(())
}

/// Writes a definition with layers of steps that read each other.
fn steps(count: usize) -> String {
    let mut text = String::from("name: large\nsteps:\n  s0: { agent: start }\n");
    for step in 1..count {
        let (near, far) = (step - 1, step / 2);
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "  s{step}: {{ agent: work, needs: [s{far}], \
             with: {{ a: \"${{{{ steps.s{near}.output.n + {step} }}}}\" }} }}"
        );
    }
    text
}
