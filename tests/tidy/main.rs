//! Tidy is a test: the rules of layout that a compiler does not know.
//!
//! Each rule is a pure function from what it looks at to a list of problems, so that each has a
//! test in which it was seen red beside the one that holds the tree to it.

mod language;
mod layers;
mod pages;
mod sizes;
mod tree;

/// Fails with all problems at once.
fn assert_none(problems: Vec<String>) {
    assert!(problems.is_empty(), "{} problem(s):\n{}", problems.len(), problems.join("\n"));
}
