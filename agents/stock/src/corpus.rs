//! The `corpus` agent: finds, reads, indexes, searches and quotes text files.

use std::path::PathBuf;

/// Where the `corpus` agent may read and write.
#[derive(Debug, Clone)]
pub struct CorpusConfig {
    /// Directories to read below: a relative `directory` of a task is taken from the first, an
    /// absolute one has to lie in any of them.
    pub roots: Vec<PathBuf>,
    /// Where indexes are kept, one SQLite file per index. Agents that share the work of one run
    /// have to share it.
    pub state: PathBuf,
    /// Where reports are written.
    pub reports: PathBuf,
    /// A larger file is not indexed.
    pub max_file_bytes: u64,
    /// How many tasks of each capability are performed at a time.
    pub slots: u32,
}

impl CorpusConfig {
    /// Reads below `root`; keeps indexes in `state` and reports in `reports`, which are created
    /// when they are needed.
    pub fn new(
        root: impl Into<PathBuf>,
        state: impl Into<PathBuf>,
        reports: impl Into<PathBuf>,
    ) -> Self {
        Self {
            roots: vec![root.into()],
            state: state.into(),
            reports: reports.into(),
            max_file_bytes: 8 * 1024 * 1024,
            slots: 4,
        }
    }
}
