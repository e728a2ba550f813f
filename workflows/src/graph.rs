//! Drawings of a workflow's DAG.

use crate::workflow::Workflow;

/// Returns the DAG as a Mermaid flowchart.
pub fn mermaid(workflow: &Workflow) -> String {
    let _ = workflow;
    unimplemented!("skeleton")
}

/// Returns the DAG in Graphviz's language.
pub fn dot(workflow: &Workflow) -> String {
    let _ = workflow;
    unimplemented!("skeleton")
}

/// Returns the DAG as an indented tree of text.
pub fn tree(workflow: &Workflow) -> String {
    let _ = workflow;
    unimplemented!("skeleton")
}
