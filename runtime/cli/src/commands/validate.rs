//! `skep validate`

use clap::Args;
use serde_json::{Value, json};
use skep_workflow::{Diagnostic, Severity};

use crate::cli::Global;
use crate::definition;
use crate::error::{Error, Exit};
use crate::human::count;
use crate::output::{self, Format, GREEN, RED, YELLOW, paint};

/// Check definition files and report every problem at once.
#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// The files; `-` is stdin.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Treat warnings as errors.
    #[arg(long)]
    strict: bool,
}

/// What was found in one file.
struct Found {
    drawn: Vec<String>,
    data: Vec<Value>,
    errors: usize,
    warnings: usize,
    verdict: String,
}

impl Validate {
    pub(crate) fn perform(self, global: &Global) -> Result<Exit, Error> {
        let mut data = Vec::new();
        let mut exit = Exit::Ok;
        for file in &self.files {
            match check(file) {
                Ok(found) => {
                    if found.errors > 0 || (self.strict && found.warnings > 0) {
                        exit = Exit::InvalidDefinition;
                    }
                    report(&found, global.output);
                    data.extend(found.data);
                }
                // One file is an error of the command; among many it must not hide the others.
                Err(error) if self.files.len() == 1 => return Err(error),
                Err(error) => {
                    if exit == Exit::Ok {
                        exit = error.exit();
                    }
                    output::error(&error, global.output);
                }
            }
        }
        if global.output == Format::Json {
            output::json(&data);
        }
        Ok(exit)
    }
}

fn check(file: &str) -> Result<Found, Error> {
    let bytes = definition::bytes(file)?;
    let (diagnostics, source, valid) = match skep_workflow::read(&bytes, file) {
        Ok(workflow) => {
            let steps = count(workflow.steps().len(), "step");
            let valid = format!("{} ({steps})", workflow.name());
            let all = [workflow.warnings(), workflow.unsupported()].concat();
            (all, workflow.source().to_owned(), Some(valid))
        }
        Err(rejected) => (rejected.diagnostics().to_vec(), rejected.source_text().to_owned(), None),
    };
    let is = |severity| move |one: &&Diagnostic| one.severity == severity;
    let errors = diagnostics.iter().filter(is(Severity::Error)).count();
    let warnings = diagnostics.iter().filter(is(Severity::Warning)).count();
    let drawn = diagnostics.iter().map(|one| one.render(&source, definition::style())).collect();
    let data = diagnostics.iter().map(|one| json!(one)).collect();
    let warned = match warnings {
        0 => String::new(),
        warnings => format!(", {}", paint(YELLOW, count(warnings, "warning"))),
    };
    let verdict = match valid.filter(|_| errors == 0) {
        Some(valid) => format!("{} {file}: {valid}{warned}", paint(GREEN, "ok")),
        None => format!("{} {file}: {}{warned}", paint(RED, "invalid"), count(errors, "error")),
    };
    Ok(Found { drawn, data, errors, warnings, verdict })
}

fn report(found: &Found, format: Format) {
    if format == Format::Json {
        return;
    }
    for drawing in &found.drawn {
        output::note(drawing.trim_end());
        output::note("");
    }
    output::data(&found.verdict);
}
