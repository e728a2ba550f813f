//! `cargo xtask bench`: the micro-benchmarks, compared with a baseline.

mod compare;
mod measure;
mod sheet;
mod table;

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{root, say};
use compare::Comparison;
use sheet::Sheet;

const BASELINE: &str = "tests/bench/baseline.txt";

#[derive(Args)]
pub(crate) struct Bench {
    /// Writes the figures down as the baseline, in tests/bench/baseline.txt.
    #[arg(long, conflicts_with_all = ["filter", "deny_slower"])]
    save: bool,
    /// Runs those whose name has this in it.
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Fails if one is slower than its baseline by more than this.
    #[arg(long, value_name = "PERCENT")]
    deny_slower: Option<f64>,
}

impl Bench {
    pub(crate) fn perform(&self) -> Result<()> {
        let baseline = read_baseline()?;
        if baseline.is_none() && self.deny_slower.is_some() {
            bail!("there is no baseline to compare with: {BASELINE} is missing");
        }
        let found = measure::measure(self.filter.as_deref())?;
        if found.figures.is_empty() {
            bail!("no benchmark has this name");
        }
        let comparison = Comparison::of(&found, baseline.as_ref());
        print(&table::of(&comparison));
        for remark in comparison.remarks(self.filter.is_some()) {
            say(&remark);
        }
        if self.save {
            fs::write(path(), found.to_string()).context("cannot write the baseline")?;
            say(&format!("saved as {BASELINE}"));
        }
        match self.deny_slower {
            Some(percent) => comparison.deny(percent),
            None => Ok(()),
        }
    }
}

fn read_baseline() -> Result<Option<Sheet>> {
    match fs::read_to_string(path()) {
        Ok(text) => Ok(Some(text.parse().context(BASELINE)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("cannot read the baseline"),
    }
}

fn path() -> PathBuf {
    root().join(BASELINE)
}

#[expect(clippy::print_stdout, reason = "it is what was asked for")]
fn print(table: &str) {
    print!("{table}");
}
