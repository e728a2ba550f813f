//! `skep apply`

use clap::Args;
use serde_json::json;
use skep_broker::Broker;
use skep_protocol::RegisterWorkflow;

use crate::cli::Global;
use crate::client::Client;
use crate::definition;
use crate::error::{Error, Exit};
use crate::output::{self, BOLD, Format, paint};

/// Register definitions, so that runs can be started by name.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The definition files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

impl Apply {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        // All are checked before the first one is registered.
        let checked: Result<Vec<_>, Error> =
            self.files.iter().map(|file| Ok((file, definition::load_to_run(file)?))).collect();
        let checked = checked.map_err(|error| told(error, &self.files, 0))?;
        let mut applied = Vec::new();
        for (file, workflow) in checked {
            let (source, file) = (workflow.source().to_owned(), file.clone());
            let register = RegisterWorkflow { source, file, publish: true };
            let kept = match client.register(register).await {
                Ok(kept) => kept,
                Err(error) => return Err(told(error, &self.files, applied.len())),
            };
            if global.output == Format::Text {
                let version = kept.version.as_ref().map(|v| format!("@{v}")).unwrap_or_default();
                let name = paint(BOLD, &kept.name);
                output::data(format!("applied {name}{version} ({})", kept.digest.short()));
            }
            let (workflow, version, digest) = (kept.name, kept.version, kept.digest);
            applied.push(json!({ "workflow": workflow, "version": version, "digest": digest }));
        }
        if global.output == Format::Json {
            output::json(&applied);
        }
        Ok(Exit::Ok)
    }
}

/// Adds to the error of one file what became of the others.
fn told(error: Error, files: &[String], applied: usize) -> Error {
    match (files.len(), applied) {
        (1, _) => error,
        (_, 0) => error.help("nothing was applied"),
        (_, applied) => {
            let (applied, others) = files.split_at(applied);
            let (applied, others) = (applied.join(", "), others.join(", "));
            error.help(format!("applied: {applied}; not applied: {others}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_applied() {
        let files: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let advice = |files, applied| told(Error::usage("no"), files, applied).advice().to_vec();
        assert_eq!(advice(&files, 0), ["nothing was applied"]);
        assert_eq!(advice(&files, 1), ["applied: a; not applied: b, c"]);
        assert_eq!(advice(&files[..1], 0), [""; 0]);
    }
}
