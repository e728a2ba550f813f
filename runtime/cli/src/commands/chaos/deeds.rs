//! What agents did, as they wrote it down themselves: a line of JSON for each deed, in a file that
//! is only appended to. No coordinator has a hand in it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use skep_protocol::{AgentId, AttemptId, RunId, StepPath, Timestamp};

/// What an agent did with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// It began.
    Begun,
    /// It did what it had to do.
    Done,
    /// It failed, as it was told to.
    Failed,
    /// It was stopped before its end.
    Left,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deed {
    pub(super) what: What,
    pub(super) run: RunId,
    pub(super) step: StepPath,
    pub(super) attempt: u32,
    pub(super) token: u64,
    pub(super) agent: AgentId,
    pub(super) at: Timestamp,
}

impl Deed {
    pub(super) fn id(&self) -> AttemptId {
        AttemptId { run: self.run, step: self.step.clone(), attempt: self.attempt }
    }
}

/// The file of one process.
#[derive(Debug)]
pub(super) struct Ledger(File);

impl Ledger {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        File::options().create(true).append(true).open(path).map(Self)
    }

    /// Writes a deed down: one write, which a SIGKILL does not cut in two.
    pub(super) fn write(&self, deed: &Deed) -> io::Result<()> {
        let mut line = serde_json::to_vec(deed)?;
        line.push(b'\n');
        (&self.0).write_all(&line)
    }
}

/// Returns where the process `name` writes.
pub(super) fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.deeds"))
}

/// Reads all ledgers of a folder, in the order of time.
pub(super) fn read(folder: &Path) -> io::Result<Vec<Deed>> {
    let mut deeds: Vec<Deed> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deeds") {
            for line in fs::read_to_string(&path)?.lines() {
                deeds.push(serde_json::from_str(line)?);
            }
        }
    }
    // Of what happened in the same millisecond, the order of each file stays.
    deeds.sort_by_key(|deed| deed.at);
    Ok(deeds)
}
