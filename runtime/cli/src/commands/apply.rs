//! `skep apply`

use clap::Args;
use serde_json::json;
use skep_broker::Broker;
use skep_protocol::{Hash, RegisterWorkflow};
use skep_workflow::Workflow;

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
        let checked = checked.and_then(|checked| {
            apart(&checked)?;
            Ok(checked)
        });
        let checked = checked.map_err(|error| told(error, &self.files, 0))?;
        let known = client.workflows().await?;
        for (file, workflow) in &checked {
            not_taken(file, workflow, &known).map_err(|error| told(error, &self.files, 0))?;
        }
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

/// Refuses definitions of which one would hide another at once.
fn apart(checked: &[(&String, Workflow)]) -> Result<(), Error> {
    for (number, (file, workflow)) in checked.iter().enumerate() {
        let hides = |(_, later): &&(&String, Workflow)| {
            let named = later.name() == workflow.name() && later.digest() != workflow.digest();
            named && (workflow.version().is_none() || later.version() == workflow.version())
        };
        if let Some((other, _)) = checked[number + 1..].iter().find(hides) {
            let name = written(workflow);
            let message = format!("{file} and {other} both define `{name}`: the last would win");
            return Err(Error::usage(message)
                .help("give one of them another `name`, or each a `version` of its own"));
        }
    }
    Ok(())
}

/// Refuses a definition whose version is that of another one.
fn not_taken(
    file: &str,
    workflow: &Workflow,
    known: &[(String, Option<String>, Hash)],
) -> Result<(), Error> {
    let digest = Hash::from_bytes(*workflow.digest().as_bytes());
    let taken = workflow.version().is_some()
        && known.iter().any(|(name, version, other)| {
            workflow.name() == &**name
                && workflow.version() == version.as_deref()
                && *other != digest
        });
    if !taken {
        return Ok(());
    }
    let name = written(workflow);
    let message = format!("{file} is not the definition that `{name}` is registered with");
    Err(Error::new(Exit::Conflict, message).help(format!("write a new `version` in {file}")))
}

/// Returns the name as runs are started by it.
fn written(workflow: &Workflow) -> String {
    let version = workflow.version().map(|version| format!("@{version}")).unwrap_or_default();
    format!("{}{version}", workflow.name())
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

    fn workflow(head: &str, wait: &str) -> Workflow {
        let text = format!("name: one\n{head}\nsteps: {{ a: {{ wait: {wait} }} }}\n");
        skep_workflow::read(text.as_bytes(), "one").unwrap()
    }

    #[test]
    fn of_two_files_none_hides_the_other() {
        let (a, b) = ("a".to_owned(), "b".to_owned());
        let told = |first: &Workflow, second: &Workflow| {
            let both = [(&a, first.clone()), (&b, second.clone())];
            apart(&both).map_err(|error| error.to_string())
        };
        let (plain, other) = (workflow("", "1s"), workflow("", "2s"));
        let (v1, v2) = (workflow("version: '1'", "1s"), workflow("version: '2'", "1s"));
        let hides = "a and b both define `one`: the last would win";
        assert_eq!(told(&plain, &other), Err(hides.to_owned()));
        assert_eq!(told(&plain, &v1), Err(hides.to_owned()));
        assert_eq!(told(&plain, &plain), Ok(()));
        assert_eq!(told(&v1, &v2), Ok(()));
        assert_eq!(told(&v1, &plain), Ok(()));
    }

    #[test]
    fn a_version_stays_with_its_definition() {
        let (v1, changed) = (workflow("version: '1'", "1s"), workflow("version: '1'", "2s"));
        let digest = Hash::from_bytes(*v1.digest().as_bytes());
        let known = [("one".to_owned(), Some("1".to_owned()), digest)];
        assert!(not_taken("f", &v1, &known).is_ok());
        let error = not_taken("f", &changed, &known).unwrap_err();
        assert_eq!(error.exit(), Exit::Conflict);
        let told = "f is not the definition that `one@1` is registered with";
        assert_eq!(error.to_string(), told);
    }

    #[test]
    fn an_error_says_what_was_applied() {
        let files: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let advice = |files, applied| told(Error::usage("no"), files, applied).advice().to_vec();
        assert_eq!(advice(&files, 0), ["nothing was applied"]);
        assert_eq!(advice(&files, 1), ["applied: a; not applied: b, c"]);
        assert_eq!(advice(&files[..1], 0), [""; 0]);
    }
}
