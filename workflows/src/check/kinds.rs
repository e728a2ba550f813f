//! What a step is, and which keys it may have.

use crate::definition::StepDefinition;
use crate::diagnostic::{Problems, Span, codes};

/// What a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Agent,
    Workflow,
    Wait,
    Signal,
    Group,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Agent => "an `agent` step",
            Self::Workflow => "a `workflow` step",
            Self::Wait => "a `wait` step",
            Self::Signal => "a `wait_for` step",
            Self::Group => "a group",
        }
    }
}

const KINDS: &[(&str, Kind)] = &[
    ("agent", Kind::Agent),
    ("workflow", Kind::Workflow),
    ("wait", Kind::Wait),
    ("wait_for", Kind::Signal),
    ("steps", Kind::Group),
];

const WORK: &[Kind] = &[Kind::Agent, Kind::Workflow];
const WORK_AND_GROUPS: &[Kind] = &[Kind::Agent, Kind::Workflow, Kind::Group];
const DISPATCHED: &[Kind] = &[Kind::Agent];

/// Keys that not every kind of step has: who has them, and what to do elsewhere.
const KEYS: &[(&str, &[Kind], &str)] = &[
    ("with", WORK, "only agents and sub-workflows have an input"),
    ("for_each", WORK_AND_GROUPS, "put the step into a group and give the group `for_each`"),
    ("max_parallel", WORK_AND_GROUPS, "it belongs to `for_each`"),
    ("tolerate", WORK_AND_GROUPS, "it belongs to `for_each`"),
    (
        "timeout",
        WORK,
        "it bounds one attempt; use `deadline` for a group, `wait_for.timeout` for a signal",
    ),
    ("deadline", WORK_AND_GROUPS, "use `wait_for.timeout` for a signal; a timer ends by itself"),
    ("queue_timeout", DISPATCHED, "only agents take steps from a queue; use `deadline`"),
    ("progress_within", DISPATCHED, "only agents report progress"),
    ("retry", WORK_AND_GROUPS, "there is nothing to try again"),
    ("expect", WORK, "only agents and sub-workflows have an output with a schema of its own"),
    ("compensate", WORK_AND_GROUPS, "there is nothing to make good"),
    ("pivot", WORK_AND_GROUPS, "give it to the step that cannot be made good"),
    ("fallback", DISPATCHED, "give it to the agent steps"),
    ("when_open", DISPATCHED, "give it to the agent steps"),
    ("breaker", DISPATCHED, "give it to the agent steps"),
    ("priority", DISPATCHED, "give it to the agent steps"),
    ("labels", DISPATCHED, "give it to the agent steps"),
    ("supervise", &[Kind::Group], "put the steps into a group and give the group `supervise`"),
];

/// Keys that mean nothing without another one.
const LONELY: &[(&str, &str)] = &[("max_parallel", "for_each"), ("tolerate", "for_each")];

/// Tells what a step is; reports if it is nothing, or several things at once.
pub(super) fn kind(
    definition: &StepDefinition,
    id: &str,
    span: Span,
    problems: &mut Problems,
) -> Option<Kind> {
    let mut written: Vec<(&str, Span, Kind)> = definition
        .keys
        .iter()
        .filter_map(|(key, span)| {
            KINDS.iter().find(|(known, _)| *known == key).map(|(_, kind)| (key, span, *kind))
        })
        .collect();
    // A key that is written twice was reported.
    written.dedup_by_key(|(key, _, _)| *key);
    match written[..] {
        [(_, _, kind)] => Some(kind),
        [] if definition.keys.has_unknown() => None,
        [] => {
            problems
                .error(codes::STEP_KIND, span, format!("step `{id}` does nothing"))
                .help("give it one of `agent`, `workflow`, `wait`, `wait_for` and `steps`");
            None
        }
        [(first, first_span, kind), (second, second_span, _), ..] => {
            problems
                .error(
                    codes::STEP_KIND,
                    second_span,
                    format!("step `{id}` has both `{first}` and `{second}`"),
                )
                .related("the first", first_span)
                .help("a step is exactly one thing: make two steps of it");
            Some(kind)
        }
    }
}

/// Reports keys that a kind of step does not have, or that need another one.
pub(super) fn keys(definition: &StepDefinition, kind: Kind, problems: &mut Problems) {
    for (key, span) in definition.keys.iter() {
        let misplaced =
            KEYS.iter().find(|(known, kinds, _)| *known == key && !kinds.contains(&kind));
        if let Some((_, _, help)) = misplaced {
            problems
                .error(codes::MISPLACED_KEY, span, format!("{} cannot have `{key}`", kind.name()))
                .help(*help);
            continue;
        }
        let lonely = LONELY
            .iter()
            .find(|(known, needed)| *known == key && definition.keys.span(needed).is_none());
        if let Some((_, needed)) = lonely {
            problems
                .error(codes::LONELY_KEY, span, format!("`{key}` means nothing without `{needed}`"))
                .help(format!("add `{needed}` or remove `{key}`"));
        }
    }
}
