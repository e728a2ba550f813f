//! Which step waits for which: written in `needs`, or inferred from what is read.

use std::collections::{BTreeMap, BTreeSet};

use super::step::Drafts;
use super::survey::Survey;
use crate::definition::{At, Text};
use crate::diagnostic::{Problems, Span, codes};
use crate::expression::Catalogue;
use crate::limits;
use crate::policy::Join;
use crate::workflow::{Step, StepIndex};

/// Why a step waits for another: where it says so, if it does.
pub(super) type Reason = Option<Span>;

/// What each step waits for, siblings only.
pub(super) type Edges = Vec<BTreeMap<StepIndex, Reason>>;

/// Connects the steps of each scope; reports needs that cannot be.
pub(super) fn connect(
    survey: &Survey,
    catalogue: &Catalogue<'_>,
    drafts: &Drafts,
    problems: &mut Problems,
) -> Edges {
    let mut edges: Edges = vec![BTreeMap::new(); survey.steps.len()];
    let mut count = 0;
    for (index, reads) in drafts.waits.iter().enumerate() {
        for read in reads {
            let waiting = hoist(survey, StepIndex(index as u32), *read);
            edges[waiting.as_usize()].entry(*read).or_insert(None);
            count += 1;
        }
    }
    for (index, step) in survey.steps.iter().enumerate() {
        let Some(needs) = &step.definition.needs else { continue };
        for need in &needs.value.0 {
            count += 1;
            if count > limits::EDGES {
                break;
            }
            let index = StepIndex(index as u32);
            if let Some(needed) = resolve(survey, catalogue, index, need, problems) {
                edges[index.as_usize()].insert(needed, Some(need.span));
            }
        }
    }
    if count > limits::EDGES {
        let message = format!("the steps depend on each other in more than {} ways", limits::EDGES);
        problems
            .error(codes::TOO_MANY, survey.steps[0].key.span, message)
            .help("let a group collect what many steps need");
    }
    for (step, edges) in survey.steps.iter().zip(&edges) {
        join(step, edges.len(), problems);
    }
    edges
}

/// Returns the step around the reader that is a sibling of what is read.
fn hoist(survey: &Survey, reader: StepIndex, read: StepIndex) -> StepIndex {
    let scope = survey.step(read).parent;
    let mut at = reader;
    while survey.step(at).parent != scope {
        match survey.step(at).parent {
            Some(parent) => at = parent,
            None => break,
        }
    }
    at
}

/// Finds the sibling that a step needs.
fn resolve(
    survey: &Survey,
    catalogue: &Catalogue<'_>,
    index: StepIndex,
    need: &At<Text>,
    problems: &mut Problems,
) -> Option<StepIndex> {
    let At { value: Text(id), span } = need;
    let (id, span) = (id.as_str(), *span);
    let step = survey.step(index);
    let short: String = id.chars().take(64).collect();
    let Some(needed) = catalogue.by_id.get(id).copied() else {
        if !catalogue.broken.contains(id) {
            let near = problems.suggest(id, catalogue.ids());
            let near = near.map(|near| format!("did you mean `{near}`?"));
            problems
                .error(codes::UNKNOWN_NEED, span, format!("there is no step `{short}`"))
                .maybe_help(near);
        }
        return None;
    };
    if needed == index {
        problems
            .error(codes::CYCLE, span, format!("step `{short}` needs itself"))
            .help("remove it from its own `needs`");
        return None;
    }
    let other = survey.step(needed);
    if other.parent != step.parent {
        let help = match other.parent.map(|group| survey.step(group).key.text.as_str()) {
            Some(group) => format!("it is in the group `{group}`: need the group"),
            None => format!("let the group around `{}` need it", step.key.text),
        };
        problems
            .error(codes::FOREIGN_NEED, span, format!("step `{short}` is not beside this one"))
            .related("it is here", other.key.span)
            .help(help);
        return None;
    }
    Some(needed)
}

fn join(step: &super::survey::Surveyed, needs: usize, problems: &mut Problems) {
    let Some(join) = &step.definition.join else { return };
    if needs == 0 {
        if step.definition.keys.span("needs").is_none() {
            problems
                .error(
                    codes::LONELY_KEY,
                    join.span,
                    "`join` means nothing: the step needs no other",
                )
                .help("add `needs` or remove `join`");
        }
        return;
    }
    if let Join::AtLeast(count) = join.value.0
        && count as usize > needs
    {
        problems
            .error(
                codes::IMPOSSIBLE_JOIN,
                join.span,
                format!("`join: {count}` can never be met: the step needs {needs} others"),
            )
            .help("`join: all` means all of them");
    }
}

/// Gives the steps their edges, in both directions.
pub(super) fn attach(
    steps: &mut [Step],
    edges: Edges,
    reads: &[BTreeSet<StepIndex>],
    output_reads: &BTreeSet<StepIndex>,
) {
    for (index, needs) in edges.into_iter().enumerate() {
        let index = StepIndex(index as u32);
        for need in needs.keys() {
            steps[need.as_usize()].dependents.push(index);
        }
        steps[index.as_usize()].needs = needs.into_keys().collect();
    }
    for (index, reads) in reads.iter().enumerate() {
        for read in reads {
            steps[read.as_usize()].readers.push(StepIndex(index as u32));
        }
        steps[index].reads = reads.iter().copied().collect();
    }
    for read in output_reads {
        steps[read.as_usize()].outputs_read = true;
    }
}
