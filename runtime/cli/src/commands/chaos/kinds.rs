//! The workflows of the load, and what has to become of their runs: the oracle.

use skep_protocol::RunStatus;

/// A definition, and what is known of its runs without looking at any journal.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) source: &'static str,
    /// How a run ends, if nobody cancels it.
    pub(super) ends: RunStatus,
    /// The steps that agents complete, the items of a `for_each` each.
    pub(super) completes: &'static [&'static str],
    /// Which of them begins after which is done; of a `for_each`, all items.
    pub(super) order: &'static [(&'static str, &'static str)],
    /// What is made good, the last things first: each row after the rows before it.
    pub(super) undone: &'static [&'static [&'static str]],
}

/// All of them.
pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "chaos_diamond",
        source: include_str!("definitions/diamond.skep.yaml"),
        ends: RunStatus::Completed,
        completes: &["first", "left", "right", "last"],
        order: &[("first", "left"), ("first", "right"), ("left", "last"), ("right", "last")],
        undone: &[],
    },
    Kind {
        name: "chaos_items",
        source: include_str!("definitions/items.skep.yaml"),
        ends: RunStatus::Completed,
        completes: &[
            "list", "each[0]", "each[1]", "each[2]", "each[3]", "each[4]", "each[5]", "sum",
        ],
        order: &[("list", "each"), ("each", "sum")],
        undone: &[],
    },
    Kind {
        name: "chaos_retries",
        source: include_str!("definitions/retries.skep.yaml"),
        ends: RunStatus::Completed,
        completes: &["flaky", "after"],
        order: &[("flaky", "after")],
        undone: &[],
    },
    Kind {
        name: "chaos_saga",
        source: include_str!("definitions/saga.skep.yaml"),
        ends: RunStatus::Compensated,
        completes: &["reserve", "charge", "pack[0]", "pack[1]"],
        order: &[("reserve", "charge"), ("charge", "pack"), ("pack", "ship")],
        undone: &[&["pack[0]", "pack[1]"], &["charge"], &["reserve"]],
    },
    Kind {
        name: "chaos_stuck",
        source: include_str!("definitions/stuck.skep.yaml"),
        ends: RunStatus::Compensated,
        completes: &["make"],
        order: &[("make", "ship")],
        undone: &[],
    },
    Kind {
        name: "chaos_group",
        source: include_str!("definitions/group.skep.yaml"),
        ends: RunStatus::Completed,
        completes: &["session/login", "session/order", "after"],
        order: &[("session/login", "session/order"), ("session/order", "after")],
        undone: &[],
    },
    Kind {
        name: "chaos_parent",
        source: include_str!("definitions/parent.skep.yaml"),
        ends: RunStatus::Completed,
        completes: &["before", "after"],
        order: &[("before", "after")],
        undone: &[],
    },
    Kind {
        name: "chaos_timer",
        source: include_str!("definitions/timer.skep.yaml"),
        ends: RunStatus::Completed,
        completes: &["before", "after"],
        order: &[("before", "after")],
        undone: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_valid_and_the_oracle_speaks_of_their_steps() {
        for kind in KINDS {
            let workflow = skep_workflow::read(kind.source.as_bytes(), kind.name).unwrap();
            assert_eq!(workflow.name().as_str(), kind.name);
            let bare = |step: &str| step.split('[').next().unwrap_or_default().to_owned();
            let last = |step: &str| bare(step.rsplit('/').next().unwrap_or_default());
            let steps = kind.completes.iter().chain(kind.undone.iter().copied().flatten());
            let ordered = kind.order.iter().flat_map(|(one, other)| [one, other]);
            for step in steps.chain(ordered) {
                assert!(workflow.find(&last(step)).is_some(), "{}: {step}", kind.name);
            }
        }
    }
}
