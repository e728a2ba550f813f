//! Steps of which the same is to be said, told together.

use std::collections::BTreeMap;

use skep_protocol::StepPath;

/// So many steps are named.
const NAMED: usize = 5;

/// Steps that are told of in one line; there is at least one.
#[derive(Debug)]
pub(super) struct Alike {
    /// In order.
    pub(super) steps: Vec<StepPath>,
    /// So many that are not listed are as these.
    more: u32,
}

impl Alike {
    /// Returns the step that speaks for the others.
    pub(super) fn first(&self) -> &StepPath {
        &self.steps[0]
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> usize {
        self.steps.len() + self.more as usize
    }

    /// Names some of them and counts the others.
    pub(super) fn names(&self) -> String {
        names(&self.steps, self.more)
    }
}

/// Names some of the steps and counts the others, and `more`.
pub(super) fn names(steps: &[StepPath], more: u32) -> String {
    let named = steps.iter().take(NAMED).map(ToString::to_string);
    let named = named.collect::<Vec<_>>().join(", ");
    match steps.len().saturating_sub(NAMED) + more as usize {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Puts steps together of which the same is to be said: those with equal keys. `more` says how many
/// that are not listed are as a step.
pub(super) fn fold(
    steps: impl IntoIterator<Item = StepPath>,
    key: impl Fn(&StepPath) -> String,
    more: impl Fn(&StepPath) -> u32,
) -> Vec<Alike> {
    let mut by_key: BTreeMap<String, Alike> = BTreeMap::new();
    for step in steps {
        let empty = || Alike { steps: Vec::new(), more: 0 };
        let alike = by_key.entry(key(&step)).or_insert_with(empty);
        alike.more += more(&step);
        alike.steps.push(step);
    }
    let mut folded: Vec<Alike> = by_key.into_values().collect();
    for alike in &mut folded {
        alike.steps.sort_by_cached_key(order);
    }
    folded.sort_by_cached_key(|alike| order(alike.first()));
    folded
}

/// Returns what steps are sorted by: their names, and items by number.
pub(super) fn order(step: &StepPath) -> Vec<(String, Option<u32>)> {
    let mut parts = step.as_str().split(['[', ']']);
    let mut order = Vec::new();
    while let Some(name) = parts.next() {
        order.push((name.to_owned(), parts.next().and_then(|number| number.parse().ok())));
    }
    order
}

/// Returns what all items of a step have in common: their path without the numbers of items.
pub(super) fn without_items(step: &StepPath) -> String {
    order(step).into_iter().map(|(name, item)| name + item.map_or("", |_| "[]")).collect()
}

/// Returns what the lines of items have in common, whose names, times and turns differ.
pub(super) fn without_numbers(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}
