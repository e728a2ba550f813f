//! `skep schema`

use clap::Args;

use crate::error::{Error, Exit};
use crate::output;

/// Print the JSON Schema of definition files, for editors.
#[derive(Debug, Args)]
#[command(after_help = "In an editor with the YAML language server, write above a definition:\n  \
                        # yaml-language-server: $schema=skep.schema.json\n\
                        and once: skep schema > skep.schema.json")]
pub(crate) struct Schema {}

impl Schema {
    pub(crate) fn perform(self) -> Result<Exit, Error> {
        output::json(&skep_workflow::schema::language());
        Ok(Exit::Ok)
    }
}
