//! What `example.json` says; `examples/README.md` describes it for people.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Example {
    pub(crate) cases: Vec<Case>,
}

/// Calls that belong together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// For people.
    pub(crate) name: String,
    /// Whether there is a cluster.
    #[serde(default)]
    pub(crate) cluster: bool,
    /// The arguments of a `skep dev` that is started again whenever it ends.
    #[serde(default)]
    pub(crate) dev: Option<Vec<String>>,
    /// The processes that join the cluster.
    #[serde(default)]
    pub(crate) agents: Vec<Vec<String>>,
    /// The calls, one after the other.
    pub(crate) steps: Vec<Step>,
}

/// One call of `skep`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) args: Vec<String>,
    /// The code it ends with.
    #[serde(default)]
    pub(crate) exit: i32,
    /// What the JSON on stdout holds.
    #[serde(default)]
    pub(crate) expect: Option<Value>,
    /// What was written, and the file of the example that it is equal to.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
}

/// Reads the file of an example's folder.
pub(crate) fn read(folder: &Path) -> Result<Example> {
    let file = folder.join("example.json");
    let text = fs::read_to_string(&file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    let example: Example = serde_json::from_str(&text)
        .with_context(|| format!("cannot understand {}", file.display()))?;
    for case in &example.cases {
        let lonely = case.cluster || case.agents.is_empty();
        ensure!(lonely, "{}: agents without `cluster` have nothing to join", case.name);
        let alone = case.dev.is_none() || !case.cluster;
        ensure!(alone, "{}: `dev` is a cluster of its own", case.name);
        ensure!(!case.steps.is_empty(), "{}: nothing is called", case.name);
    }
    Ok(example)
}
