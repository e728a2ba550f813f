//! Drawings of a workflow's DAG.

use std::fmt::Write;

use crate::policy::Join;
use crate::workflow::{Step, StepIndex, StepKind, WaitFor, Workflow};

/// Returns the DAG as a Mermaid flowchart; groups are subgraphs.
pub fn mermaid(workflow: &Workflow) -> String {
    let mut out = String::from("flowchart TD\n");
    for root in workflow.roots() {
        mermaid_step(workflow, *root, 1, &mut out);
    }
    for step in workflow.steps() {
        for need in step.needs() {
            line(&mut out, 1, &format!("{} --> {}", mermaid_id(*need), mermaid_id(step.index())));
        }
    }
    out
}

fn mermaid_step(workflow: &Workflow, index: StepIndex, depth: usize, out: &mut String) {
    let step = workflow.step(index);
    let (id, label) = (mermaid_id(index), mermaid_label(&caption(step)));
    match step.kind() {
        StepKind::Group => {
            line(out, depth, &format!("subgraph {id}[\"{label}\"]"));
            for child in step.children() {
                mermaid_step(workflow, *child, depth + 1, out);
            }
            line(out, depth, "end");
        }
        StepKind::Agent { .. } => line(out, depth, &format!("{id}[\"{label}\"]")),
        StepKind::Workflow { .. } => line(out, depth, &format!("{id}[[\"{label}\"]]")),
        StepKind::Wait(_) => line(out, depth, &format!("{id}([\"{label}\"])")),
        StepKind::Signal { .. } => line(out, depth, &format!("{id}{{{{\"{label}\"}}}}")),
    }
}

/// Ids of our own, because a step may be called `end`, which Mermaid does not survive.
fn mermaid_id(index: StepIndex) -> String {
    format!("s{}", index.as_u32())
}

fn mermaid_label(text: &str) -> String {
    let mut label = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '#' | '&' | '<' | '>' | '`' | '\\' => {
                // Writing into a string cannot fail.
                let _ = write!(label, "#{};", u32::from(character));
            }
            other => label.push(other),
        }
    }
    label
}

/// Returns the DAG in Graphviz's language; groups are clusters.
pub fn dot(workflow: &Workflow) -> String {
    let mut out = String::new();
    line(&mut out, 0, &format!("digraph {} {{", quoted(workflow.name())));
    line(&mut out, 1, "compound=true; rankdir=TB; node [shape=box, style=rounded];");
    for root in workflow.roots() {
        dot_step(workflow, *root, 1, &mut out);
    }
    for step in workflow.steps() {
        for need in step.needs() {
            dot_edge(workflow, *need, step.index(), &mut out);
        }
    }
    line(&mut out, 0, "}");
    out
}

fn dot_step(workflow: &Workflow, index: StepIndex, depth: usize, out: &mut String) {
    let step = workflow.step(index);
    if step.children().is_empty() {
        let label = quoted(&caption(step));
        line(out, depth, &format!("{} [label={label}];", quoted(step.id())));
        return;
    }
    line(out, depth, &format!("subgraph {} {{", quoted(&format!("cluster_{}", step.id()))));
    line(out, depth + 1, &format!("label={};", quoted(&caption(step))));
    for child in step.children() {
        dot_step(workflow, *child, depth + 1, out);
    }
    line(out, depth, "}");
}

/// Graphviz draws edges between nodes only: that of a group starts at one of its steps.
fn dot_edge(workflow: &Workflow, from: StepIndex, to: StepIndex, out: &mut String) {
    let mut attributes = Vec::new();
    let mut end = |index: StepIndex, attribute: &str| {
        let step = workflow.step(index);
        if !step.children().is_empty() {
            attributes.push(format!("{attribute}={}", quoted(&format!("cluster_{}", step.id()))));
        }
        quoted(workflow.step(leaf(workflow, index)).id())
    };
    let (tail, head) = (end(from, "ltail"), end(to, "lhead"));
    let attributes = match attributes.is_empty() {
        true => String::new(),
        false => format!(" [{}]", attributes.join(", ")),
    };
    line(out, 1, &format!("{tail} -> {head}{attributes};"));
}

fn leaf(workflow: &Workflow, index: StepIndex) -> StepIndex {
    let mut at = index;
    while let Some(child) = workflow.step(at).children().first() {
        at = *child;
    }
    at
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Returns the DAG as an indented tree of text, each scope in topological order.
pub fn tree(workflow: &Workflow) -> String {
    let mut out = format!("{}\n", workflow.name());
    tree_scope(workflow, workflow.roots(), "", &mut out);
    out
}

fn tree_scope(workflow: &Workflow, scope: &[StepIndex], indent: &str, out: &mut String) {
    let mut order = scope.to_vec();
    order.sort_by_key(|index| workflow.step(*index).rank());
    let last = order.last().copied();
    for index in order {
        let step = workflow.step(index);
        let (branch, below) = match Some(index) == last {
            true => ("└─ ", "   "),
            false => ("├─ ", "│  "),
        };
        let needs: Vec<&str> =
            step.needs().iter().map(|need| workflow.step(*need).id().as_str()).collect();
        let after = match needs.is_empty() {
            true => String::new(),
            false => format!("  ← {}", needs.join(", ")),
        };
        out.push_str(&format!("{indent}{branch}{}{after}\n", caption(step)));
        tree_scope(workflow, step.children(), &format!("{indent}{below}"), out);
    }
}

/// Describes a step in one line.
fn caption(step: &Step) -> String {
    let what = match step.kind() {
        StepKind::Agent { capability, .. } => format!("agent {capability}"),
        StepKind::Workflow { name, version: None, .. } => format!("workflow {name}"),
        StepKind::Workflow { name, version: Some(version), .. } => {
            format!("workflow {name}@{version}")
        }
        StepKind::Wait(WaitFor::Duration(duration)) => {
            format!("wait {}", crate::definition::duration_text(*duration))
        }
        StepKind::Wait(WaitFor::Until(_)) => "wait until a time".to_owned(),
        StepKind::Signal { name, .. } => format!("signal {name}"),
        StepKind::Group => "group".to_owned(),
    };
    let mut caption = format!("{} ({what})", step.id());
    if step.for_each().is_some() {
        caption.push_str(" ×n");
    }
    if step.condition().is_some() {
        caption.push_str(" ?");
    }
    match step.join() {
        Join::Unwritten | Join::All => {}
        Join::Any => caption.push_str(" join any"),
        Join::AtLeast(count) => caption.push_str(&format!(" join {count}")),
    }
    caption
}

fn line(out: &mut String, depth: usize, text: &str) {
    for _ in 0..depth {
        out.push_str("  ");
    }
    out.push_str(text);
    out.push('\n');
}

#[cfg(test)]
mod tests;
