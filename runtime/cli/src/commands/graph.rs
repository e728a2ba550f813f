//! `skep graph`

use clap::{Args, ValueEnum};
use serde_json::json;
use skep_workflow::graph::{dot, mermaid, tree};

use crate::cli::Global;
use crate::definition;
use crate::error::{Error, Exit};
use crate::output::{self, Format};

/// Draw the steps of a definition and what they depend on.
#[derive(Debug, Args)]
pub(crate) struct Graph {
    /// The definition file; `-` is stdin.
    file: String,
    /// The kind of drawing.
    #[arg(short, long, value_enum, default_value_t)]
    format: Drawing,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Drawing {
    /// A tree of text.
    #[default]
    Tree,
    /// Mermaid, which GitHub and many editors show.
    Mermaid,
    /// Graphviz: `skep graph FILE -f dot | dot -Tsvg`.
    Dot,
}

impl Graph {
    pub(crate) fn perform(self, global: &Global) -> Result<Exit, Error> {
        let workflow = definition::load(&self.file)?;
        let (name, drawing) = match self.format {
            Drawing::Tree => ("tree", tree(&workflow)),
            Drawing::Mermaid => ("mermaid", mermaid(&workflow)),
            Drawing::Dot => ("dot", dot(&workflow)),
        };
        match global.output {
            Format::Text => output::data(drawing.trim_end()),
            Format::Json => {
                let workflow = workflow.name();
                output::json(&json!({ "workflow": workflow, "format": name, "drawing": drawing }));
            }
        }
        Ok(Exit::Ok)
    }
}
