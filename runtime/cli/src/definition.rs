//! Definition files on their way into the process.

use std::fs::File;
use std::io::Read as _;

use skep_protocol::limits::MAX_DEFINITION_BYTES;
use skep_workflow::{Rejected, Style, Workflow};

use crate::error::{Error, Exit};
use crate::human;
use crate::inputs::unreadable;
use crate::output;

/// Reads the bytes of a definition file; never more than a definition may have, and one.
pub(crate) fn bytes(file: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let limit = MAX_DEFINITION_BYTES as u64 + 1;
    let read = if file == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(unreadable(file, &error)),
    }
}

/// Reads and checks a definition file.
pub(crate) fn load(file: &str) -> Result<Workflow, Error> {
    let bytes = bytes(file)?;
    skep_workflow::read(&bytes, file).map_err(|rejected| invalid(&rejected))
}

/// Reads a definition file that is to be run, and tells what the check had to warn of.
pub(crate) fn load_to_run(file: &str) -> Result<Workflow, Error> {
    let workflow = load(file)?;
    for warning in workflow.warnings() {
        output::note(warning.render(workflow.source(), style()).trim_end());
    }
    Ok(workflow)
}

fn invalid(rejected: &Rejected) -> Error {
    let problems = rejected.diagnostics();
    let message = format!(
        "{} is not valid: {}",
        rejected.file_name(),
        human::count(problems.len(), "problem")
    );
    let data = problems.iter().map(|one| serde_json::json!(one)).collect();
    Error::new(Exit::InvalidDefinition, message).diagnostics(rejected.render(style()), data)
}

/// Returns how diagnostics are drawn on stderr.
pub(crate) fn style() -> Style {
    if output::has_colour() { Style::Colour } else { Style::Plain }
}
