//! The fan-in: what became of the files.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::index::Ingested;

/// How many bad files of each kind are named.
const NAMED: usize = 10;
/// The reason of a file that no attempt said anything about: its agent was lost or out of time.
pub(super) const UNKNOWN: &str = "not_processed";

/// What a step of the capability `corpus-summary` gives in `with`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SummaryInput {
    /// The index.
    pub index: String,
    /// The files that were found.
    pub files: Vec<String>,
    /// For each of them, in the same order, the output of `corpus-ingest`; `null` where it failed.
    pub ingested: Vec<Option<Ingested>>,
}

/// What became of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many were found.
    pub files: usize,
    /// How many are in the index.
    pub indexed: usize,
    /// How many passages they were cut into.
    pub passages: u64,
    /// How many bytes of text they hold.
    pub bytes: u64,
    /// How many are bad.
    pub bad: usize,
    /// The same by reason.
    pub bad_by_reason: BTreeMap<String, usize>,
    /// The first ones of each reason.
    pub examples: BTreeMap<String, Vec<String>>,
}

/// Why there is no summary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SummaryError {
    /// Files and outputs do not belong together.
    #[error("{files} files but {ingested} outputs of `corpus-ingest`")]
    Mismatch {
        /// How many files.
        files: usize,
        /// How many outputs.
        ingested: usize,
    },
    /// The index lacks what was put in: another state directory, or a power failure.
    #[error("`{file}` and {others} other files were ingested but are not in the index")]
    Incomplete {
        /// One of them.
        file: String,
        /// How many more.
        others: usize,
    },
}

/// Counts, and holds the outputs against what the index has.
pub(super) fn summarize(
    files: &[String],
    ingested: &[Option<Ingested>],
    indexed: &BTreeSet<String>,
    reasons: &BTreeMap<String, String>,
) -> Result<Summary, SummaryError> {
    if files.len() != ingested.len() {
        return Err(SummaryError::Mismatch { files: files.len(), ingested: ingested.len() });
    }
    let mut lacking = ingested.iter().flatten().filter(|one| !indexed.contains(&one.file));
    if let Some(first) = lacking.next() {
        let (file, others) = (first.file.clone(), lacking.count());
        return Err(SummaryError::Incomplete { file, others });
    }
    let mut summary = Summary { files: files.len(), ..Summary::default() };
    for (file, ingested) in files.iter().zip(ingested) {
        let Some(ingested) = ingested else {
            let reason = reasons.get(file).map_or(UNKNOWN, String::as_str);
            summary.bad += 1;
            *summary.bad_by_reason.entry(reason.to_owned()).or_default() += 1;
            let examples = summary.examples.entry(reason.to_owned()).or_default();
            if examples.len() < NAMED {
                examples.push(file.clone());
            }
            continue;
        };
        summary.indexed += 1;
        summary.passages += ingested.passages;
        summary.bytes += ingested.bytes;
    }
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(file: &str) -> Option<Ingested> {
        Some(Ingested { file: file.to_owned(), bytes: 10, passages: 2 })
    }

    fn check(ingested: &[Option<Ingested>], indexed: &[&str], expected: expect_test::Expect) {
        let files = ["a", "b", "c", "d"].map(str::to_owned);
        let indexed = indexed.iter().map(|file| (*file).to_owned()).collect();
        let reasons = [("b".to_owned(), "empty_file".to_owned())].into();
        match summarize(&files, ingested, &indexed, &reasons) {
            Ok(summary) => {
                let shown = serde_json::to_string_pretty(&summary).unwrap() + "\n";
                expected.assert_eq(&shown);
            }
            Err(error) => expected.assert_eq(&error.to_string()),
        }
    }

    #[test]
    fn every_file_is_counted_once() {
        check(
            &[some("a"), None, None, some("d")],
            &["a", "d", "z"],
            expect_test::expect![[r#"
                {
                  "files": 4,
                  "indexed": 2,
                  "passages": 4,
                  "bytes": 20,
                  "bad": 2,
                  "bad_by_reason": {
                    "empty_file": 1,
                    "not_processed": 1
                  },
                  "examples": {
                    "empty_file": [
                      "b"
                    ],
                    "not_processed": [
                      "c"
                    ]
                  }
                }
            "#]],
        );
        check(
            &[None, None, None, None],
            &[],
            expect_test::expect![[r#"
                {
                  "files": 4,
                  "indexed": 0,
                  "passages": 0,
                  "bytes": 0,
                  "bad": 4,
                  "bad_by_reason": {
                    "empty_file": 1,
                    "not_processed": 3
                  },
                  "examples": {
                    "empty_file": [
                      "b"
                    ],
                    "not_processed": [
                      "a",
                      "c",
                      "d"
                    ]
                  }
                }
            "#]],
        );
    }

    #[test]
    fn what_does_not_fit_together_is_an_error() {
        check(
            &[some("a")],
            &["a"],
            expect_test::expect!["4 files but 1 outputs of `corpus-ingest`"],
        );
        check(
            &[some("a"), some("b"), some("c"), None],
            &["b"],
            expect_test::expect!["`a` and 1 other files were ingested but are not in the index"],
        );
    }

    #[test]
    fn few_files_are_named() {
        let files: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let none = vec![None; 50];
        let summary = summarize(&files, &none, &BTreeSet::new(), &BTreeMap::new()).unwrap();
        assert_eq!(summary.bad_by_reason[UNKNOWN], 50);
        assert_eq!(summary.examples[UNKNOWN].len(), NAMED);
    }
}
