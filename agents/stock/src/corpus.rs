//! The `corpus` agent: finds, reads, indexes, searches and quotes text files.
//!
//! Nine small capabilities that a definition puts together, as `examples/corpus` does:
//!
//! | capability | does |
//! | --- | --- |
//! | `corpus-discover` | lists the files of a directory |
//! | `corpus-open` | makes an index |
//! | `corpus-ingest` | reads one file, cuts it into passages, puts them into the index |
//! | `corpus-summary` | counts what became of the files |
//! | `corpus-search` | finds passages by BM25 |
//! | `corpus-rerank` | scores them anew: coverage, proximity, heading |
//! | `corpus-answer` | quotes the sentences that answer, with file and lines |
//! | `corpus-report` | writes one Markdown report |
//! | `corpus-forget` | removes an index |
//!
//! All are idempotent: another attempt of a step changes nothing. There is no language model in
//! any of them, and the same files and questions give the same report, byte for byte.

mod answer;
mod files;
mod index;
mod indexes;
mod passages;
mod report;
mod rerank;
mod summary;
mod walk;
mod words;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skep_agent::Failure;
use tokio_util::sync::CancellationToken;

pub use answer::{Answer, AnswerInput, Quote, Source, answer};
pub use files::BadFile;
pub use index::{Found, IndexError, Ingested, Search};
pub use report::{Report, ReportError, ReportInput};
pub use rerank::{RerankInput, Reranked, rerank};
pub use summary::{Summary, SummaryError, SummaryInput};
pub use walk::{DiscoverInput, Discovered, PassedBy};
pub use words::Terms;

use crate::fault::{self, WorthRetrying};
use index::MAX_PASSAGES;
use indexes::Indexes;
use passages::Passage;

/// How many passages a search finds unless a task says otherwise, and at most.
const DEFAULT_FOUND: usize = 24;
const MAX_FOUND: usize = 200;

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

/// Why a task of the `corpus` agent failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// The task makes no sense.
    #[error("{0}")]
    InvalidInput(String),
    /// There is no such directory.
    #[error("cannot read the directory `{directory}`")]
    NoDirectory {
        /// Which.
        directory: String,
        /// Why.
        source: io::Error,
    },
    /// The operator did not allow the directory.
    #[error(
        "`{directory}` is not below a directory that the operator of this agent allows: {roots} \
         (`--root DIR` allows another)"
    )]
    OutsideRoots {
        /// Which.
        directory: String,
        /// What is allowed.
        roots: String,
    },
    /// A file's path leads out of the directory.
    #[error("`{file}` is not a path below the directory")]
    OutsideDirectory {
        /// Which.
        file: String,
    },
    /// A file has no text.
    #[error("`{file}`")]
    BadFile {
        /// Which.
        file: String,
        /// Why.
        #[source]
        reason: BadFile,
    },
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The counts do not add up.
    #[error(transparent)]
    Summary(#[from] SummaryError),
    /// The report was not written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// It was told to stop.
    #[error("the attempt was cancelled or its time was up")]
    Stopped,
}

impl CorpusError {
    /// Returns the failure that the attempt ends with.
    pub fn failure(self) -> Failure {
        let (code, worth) = match &self {
            Self::InvalidInput(_) => ("invalid_input", WorthRetrying::No),
            Self::NoDirectory { .. } => ("no_directory", WorthRetrying::No),
            Self::OutsideRoots { .. } | Self::OutsideDirectory { .. } => {
                ("outside_root", WorthRetrying::No)
            }
            Self::BadFile { reason, .. } => (reason.code(), WorthRetrying::No),
            Self::Index(IndexError::Unknown(_)) => ("unknown_index", WorthRetrying::No),
            Self::Index(IndexError::InvalidName(_)) => ("invalid_input", WorthRetrying::No),
            Self::Index(IndexError::Busy(_)) => ("index_busy", WorthRetrying::Yes),
            Self::Index(IndexError::Damaged(_)) => ("index_damaged", WorthRetrying::No),
            Self::Index(IndexError::State(_) | IndexError::Broken(_)) => {
                ("index_broken", WorthRetrying::Yes)
            }
            Self::Summary(SummaryError::Mismatch { .. }) => ("invalid_input", WorthRetrying::No),
            Self::Summary(SummaryError::Incomplete { .. }) => {
                ("index_incomplete", WorthRetrying::No)
            }
            Self::Report(ReportError::InvalidName(_)) => ("invalid_input", WorthRetrying::No),
            Self::Report(ReportError::Write(_)) => ("report_not_written", WorthRetrying::Yes),
            Self::Index(IndexError::Stopped) | Self::Stopped => ("stopped", WorthRetrying::Yes),
        };
        fault::failure(code, fault::chain(&self), worth)
    }
}

/// What steps of the capabilities `corpus-open` and `corpus-forget` give in `with`, and get back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexName {
    /// The name of the index; the id of the run is a good one.
    pub index: String,
}

/// What a step of the capability `corpus-ingest` gives in `with`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestInput {
    /// The index.
    pub index: String,
    /// The directory, as `corpus-discover` got it.
    pub directory: String,
    /// The file, as `corpus-discover` found it.
    pub file: String,
}

/// What a step of the capability `corpus-search` gives in `with`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchInput {
    /// The index.
    pub index: String,
    /// The question.
    pub question: String,
    /// How many passages to find.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// Performs the tasks of the `corpus` capabilities. Cheap to clone.
///
/// All methods block: they read and write files. Those that take long end early once the token that
/// they get is cancelled.
#[derive(Debug, Clone)]
pub struct Corpus {
    config: Arc<CorpusConfig>,
    indexes: Arc<Indexes>,
}

impl Corpus {
    /// Prepares to work within what the operator allows; touches nothing yet.
    pub fn new(config: CorpusConfig) -> Self {
        let indexes = Arc::new(Indexes::new(config.state.clone()));
        Self { config: Arc::new(config), indexes }
    }

    /// Lists the files of a directory.
    ///
    /// # Errors
    /// `InvalidInput`, `NoDirectory`, `OutsideRoots`, `Stopped`.
    pub fn discover(
        &self,
        input: &DiscoverInput,
        stop: &CancellationToken,
    ) -> Result<Discovered, CorpusError> {
        walk::discover(&files::resolve(&self.config.roots, &input.directory)?, input, stop)
    }

    /// Makes an index unless it is there.
    ///
    /// # Errors
    /// `Index`
    pub fn open(&self, input: IndexName) -> Result<IndexName, CorpusError> {
        self.indexes.create(&input.index)?;
        Ok(input)
    }

    /// Puts one file into an index. A bad file is remembered there with its reason.
    ///
    /// # Errors
    /// All but `Summary` and `Report`.
    pub fn ingest(
        &self,
        input: &IngestInput,
        stop: &CancellationToken,
    ) -> Result<Ingested, CorpusError> {
        let IngestInput { index, directory, file } = input;
        let base = files::resolve(&self.config.roots, directory)?;
        match self.cut(&base, file) {
            Ok((text, passages)) => {
                Ok(self.indexes.with(index, stop, |index| index.put(file, &text, &passages))?)
            }
            Err(error) => {
                if let CorpusError::BadFile { reason, .. } = &error {
                    self.indexes.with(index, stop, |index| index.put_bad(file, reason.code()))?;
                }
                Err(error)
            }
        }
    }

    fn cut(&self, base: &Path, file: &str) -> Result<(String, Vec<Passage>), CorpusError> {
        let text = files::read(base, file, self.config.max_file_bytes)?;
        let passages = passages::cut(file, &text);
        if passages.len() > MAX_PASSAGES {
            let reason = BadFile::TooManyPassages(MAX_PASSAGES);
            return Err(CorpusError::BadFile { file: file.to_owned(), reason });
        }
        Ok((text, passages))
    }

    /// Counts what became of the files. One that has no output although it is in the index (its
    /// report was lost) is dropped from there: what is left out is not quoted.
    ///
    /// # Errors
    /// `Index`, `Summary`
    pub fn summary(
        &self,
        input: &SummaryInput,
        stop: &CancellationToken,
    ) -> Result<Summary, CorpusError> {
        let read = |index: &mut index::Index| {
            let mut indexed = index.files()?;
            for (file, _) in input.files.iter().zip(&input.ingested).filter(|one| one.1.is_none()) {
                if indexed.remove(file) {
                    index.put_bad(file, summary::UNKNOWN)?;
                }
            }
            Ok((indexed, index.bad()?))
        };
        let (indexed, reasons) = self.indexes.with(&input.index, stop, read)?;
        Ok(summary::summarize(&input.files, &input.ingested, &indexed, &reasons)?)
    }

    /// Finds passages.
    ///
    /// # Errors
    /// `Index`
    pub fn search(
        &self,
        input: &SearchInput,
        stop: &CancellationToken,
    ) -> Result<Search, CorpusError> {
        let limit = input.limit.unwrap_or(DEFAULT_FOUND).min(MAX_FOUND);
        let search = |index: &mut index::Index| index.search(&input.question, limit);
        Ok(self.indexes.with(&input.index, stop, search)?)
    }

    /// Writes the report.
    ///
    /// # Errors
    /// `Report`
    pub fn report(&self, input: &ReportInput) -> Result<Report, CorpusError> {
        Ok(report::write(&self.config.reports, input)?)
    }

    /// Removes an index if it is there.
    ///
    /// # Errors
    /// `Index`
    pub fn forget(&self, input: IndexName) -> Result<IndexName, CorpusError> {
        self.indexes.forget(&input.index)?;
        Ok(input)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_of_too_many_passages_is_bad() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path();
        let corpus = Corpus::new(CorpusConfig::new(path, path.join("state"), path.join("reports")));
        let stop = CancellationToken::new();
        let index = corpus.open(IndexName { index: "one".into() }).unwrap().index;
        fs::write(path.join("many.md"), "# a\n".repeat(MAX_PASSAGES + 1)).unwrap();
        let (directory, file) = (".".to_owned(), "many.md".to_owned());
        let bad = corpus.ingest(&IngestInput { index, directory, file }, &stop).unwrap_err();
        assert_eq!(bad.failure().code(), "too_many_passages");
    }
}
