//! Definition files on their way into the process.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

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
        // What is no text cannot be shown, least of all on a terminal.
        Ok(_) if bytes.contains(&0) => {
            Err(Error::new(Exit::InvalidDefinition, format!("`{file}` is not a text file"))
                .help("a definition is YAML or JSON: skep validate FILE"))
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(unreadable(file, &error)),
    }
}

/// Reads and checks a definition file.
pub(crate) fn load(file: &str) -> Result<Workflow, Error> {
    let bytes = bytes(file)?;
    skep_workflow::read(&bytes, file).map_err(|rejected| invalid(&rejected))
}

/// Reads a definition file that is to be run: what cannot be executed yet is refused as well.
pub(crate) fn load_to_run(file: &str) -> Result<Workflow, Error> {
    let workflow = load(file)?;
    for warning in workflow.warnings() {
        output::note(warning.render(workflow.source(), style()).trim_end());
    }
    let unsupported = workflow.unsupported();
    if unsupported.is_empty() {
        return Ok(workflow);
    }
    let drawn: Vec<String> =
        unsupported.iter().map(|one| one.render(workflow.source(), style())).collect();
    let data = unsupported.iter().map(|one| serde_json::json!(one)).collect();
    Err(Error::new(Exit::InvalidDefinition, format!("{file} uses what is not supported yet"))
        .diagnostics(drawn.join("\n"), data))
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

/// Reads the definitions of all sub-workflows that lie beside `file` as `NAME.skep.yaml`, those of
/// sub-workflows included; the callers come after what they call.
pub(crate) fn beside(file: &str, workflow: &Workflow) -> Result<Vec<Workflow>, Error> {
    let folder = Path::new(file).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut found = Vec::new();
    let mut open = vec![workflow.clone()];
    while let Some(next) = open.pop() {
        for (name, _) in next.referenced_workflows() {
            let known = found.iter().any(|known: &Workflow| known.name() == name);
            if known || workflow.name() == name {
                continue;
            }
            if let Some(path) = place(&folder, name) {
                let called = load_to_run(&path.to_string_lossy())?;
                open.push(called.clone());
                found.push(called);
            }
        }
    }
    found.reverse();
    Ok(found)
}

fn place(folder: &Path, name: &str) -> Option<PathBuf> {
    let endings = ["skep.yaml", "skep.yml", "skep.json"];
    endings.iter().map(|ending| folder.join(format!("{name}.{ending}"))).find(|path| path.exists())
}
