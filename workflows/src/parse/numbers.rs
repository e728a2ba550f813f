//! Keys that are the same number, written in different ways.

use std::collections::{HashMap, HashSet};

use super::{Data, Key, Node};
use crate::diagnostic::{Problems, codes};

/// Reports keys such as `0x1` beside `1`. The parser drops one entry of two whose keys are the same
/// number: the last tree lacks the first of them, the first tree the last.
pub(super) fn duplicates(last: &Node, first: &Node, shift: u32, problems: &mut Problems) {
    let mut kept = HashSet::new();
    keys(first, shift, &mut kept);
    report(last, &kept, problems);
}

fn keys(node: &Node, shift: u32, kept: &mut HashSet<u32>) {
    match &node.data {
        Data::List(items) => items.iter().for_each(|item| keys(item, shift, kept)),
        Data::Map(entries) => {
            for (key, value) in entries {
                kept.insert(key.span.offset + shift);
                keys(value, shift, kept);
            }
        }
        Data::Null
        | Data::Bool(_)
        | Data::Int(_)
        | Data::UInt(_)
        | Data::Float(_)
        | Data::Text(_) => {}
    }
}

fn report(node: &Node, kept: &HashSet<u32>, problems: &mut Problems) {
    match &node.data {
        Data::List(items) => items.iter().for_each(|item| report(item, kept, problems)),
        Data::Map(entries) => map(entries, kept, problems),
        Data::Null
        | Data::Bool(_)
        | Data::Int(_)
        | Data::UInt(_)
        | Data::Float(_)
        | Data::Text(_) => {}
    }
}

fn map(entries: &[(Key, Node)], kept: &HashSet<u32>, problems: &mut Problems) {
    let mut written: HashMap<&str, usize> = HashMap::new();
    if entries.iter().any(|(key, _)| !kept.contains(&key.span.offset)) {
        for (key, _) in entries {
            *written.entry(key.text.as_str()).or_default() += 1;
        }
    }
    for (key, value) in entries {
        // What is in a dropped entry was dropped with it.
        if kept.contains(&key.span.offset) {
            report(value, kept, problems);
        } else if written.get(key.text.as_str()) == Some(&1) {
            // Keys that are written alike were reported.
            problems
                .error(codes::DUPLICATE_KEY, key.span, format!("duplicate key `{}`", key.text))
                .help("remove one of them; numbers are the same however they are written");
        }
    }
}
