//! Every folder of `examples` does what its `example.json` says, with real processes; and the
//! corpus example does so on a tree of many files.

mod dev;
mod example;
mod format;
mod tree;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result};

/// Makes one test for each example, so that failures are told apart.
macro_rules! examples {
    ($($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() -> Result<()> {
                example::check(stringify!($name)).await
            }
        )*

        /// The examples that have a test.
        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

examples! {
    corpus
    crash_recovery
    fan_out
    flaky_agent
    human_approval
    order_saga
    polyglot
    quickstart
    supervised_group
}

#[test]
fn every_example_says_how_it_is_tested_and_has_a_test() -> Result<()> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(example::folder(""))? {
        let entry = entry?;
        if entry.path().is_dir() {
            let name = entry.file_name().into_string().ok().context("a name is text")?;
            assert!(!format::read(&entry.path())?.cases.is_empty(), "{name} has no cases");
            found.insert(name);
        }
    }
    assert_eq!(found, TESTED.iter().map(|&name| name.to_owned()).collect());
    Ok(())
}
