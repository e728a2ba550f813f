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
    verdict: Result<String, String>,
}

impl Validate {
    pub(crate) fn perform(self, global: &Global) -> Result<Exit, Error> {
        let mut data = Vec::new();
        let mut exit = Exit::Ok;
        for file in &self.files {
            match self.check(file) {
                Ok(found) => {
                    if found.verdict.is_err() {
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

    fn check(&self, file: &str) -> Result<Found, Error> {
        let bytes = definition::bytes(file)?;
        let (diagnostics, source, valid) = match skep_workflow::read(&bytes, file) {
            Ok(workflow) => {
                let steps = count(workflow.steps().len(), "step");
                let valid = format!("{} ({steps})", workflow.name());
                let all = workflow.warnings().to_vec();
                (all, workflow.source().to_owned(), Some(valid))
            }
            Err(rejected) => {
                (rejected.diagnostics().to_vec(), rejected.source_text().to_owned(), None)
            }
        };
        let drawn = diagnostics.iter().map(|one| one.render(&source, definition::style()));
        Ok(Found {
            drawn: drawn.collect(),
            data: diagnostics.iter().map(|one| json!(one)).collect(),
            verdict: self.verdict(file, valid, &diagnostics),
        })
    }

    /// Says in one line what is to be thought of a file.
    fn verdict(
        &self,
        file: &str,
        valid: Option<String>,
        diagnostics: &[Diagnostic],
    ) -> Result<String, String> {
        let is = |severity| move |one: &&Diagnostic| one.severity == severity;
        let errors = diagnostics.iter().filter(is(Severity::Error)).count();
        let warnings = diagnostics.iter().filter(is(Severity::Warning)).count();
        let warned = paint(YELLOW, count(warnings, "warning"));
        let invalid = paint(RED, "invalid");
        match (valid, errors, warnings) {
            (Some(valid), 0, 0) => Ok(format!("{} {file}: {valid}", paint(GREEN, "ok"))),
            (Some(_), 0, _) if self.strict => {
                Err(format!("{invalid} {file}: {warned}, and --strict was given"))
            }
            (Some(valid), 0, _) => Ok(format!("{} {file}: {valid}, {warned}", paint(GREEN, "ok"))),
            (_, errors, 0) => Err(format!("{invalid} {file}: {}", count(errors, "error"))),
            (_, errors, _) => {
                Err(format!("{invalid} {file}: {}, {warned}", count(errors, "error")))
            }
        }
    }
}

fn report(found: &Found, format: Format) {
    if format == Format::Json {
        return;
    }
    for drawing in &found.drawn {
        output::note(drawing.trim_end());
        output::note("");
    }
    let (Ok(verdict) | Err(verdict)) = &found.verdict;
    output::data(verdict);
}
