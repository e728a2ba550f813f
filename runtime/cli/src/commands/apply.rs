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
        let mut applied = Vec::new();
        for (file, workflow) in checked? {
            let (source, file) = (workflow.source().to_owned(), file.clone());
            let register = RegisterWorkflow { source, file, publish: true };
            let kept = client.register(register).await?;
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
