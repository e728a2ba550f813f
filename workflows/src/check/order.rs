//! The order of the steps, or the cycles that leave none.

use std::collections::{BTreeMap, VecDeque};

use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};

use super::edges::Edges;
use super::survey::Survey;
use crate::diagnostic::{Problems, codes};
use crate::workflow::StepIndex;

/// Steps of a cycle that are named; a longer one is cut.
const SHOWN: usize = 12;

/// Returns the position of each step within its scope, or reports every cycle.
pub(super) fn order(survey: &Survey, edges: &Edges, problems: &mut Problems) -> Option<Vec<u32>> {
    let count: usize = edges.iter().map(BTreeMap::len).sum();
    let mut graph: DiGraph<(), (), u32> = DiGraph::with_capacity(edges.len(), count);
    for _ in edges {
        graph.add_node(());
    }
    for (index, needs) in edges.iter().enumerate() {
        for need in needs.keys() {
            graph.add_edge(NodeIndex::new(need.as_usize()), NodeIndex::new(index), ());
        }
    }
    let Ok(sorted) = toposort(&graph, None) else {
        let mut components = kosaraju_scc(&graph);
        components.iter_mut().for_each(|component| component.sort());
        components.sort();
        for component in components.iter().filter(|component| component.len() > 1) {
            report(survey, edges, component, problems);
        }
        return None;
    };
    let mut ranks = vec![0; edges.len()];
    let mut next: BTreeMap<Option<StepIndex>, u32> = BTreeMap::new();
    for node in sorted {
        let rank = next.entry(survey.steps[node.index()].parent).or_default();
        ranks[node.index()] = *rank;
        *rank += 1;
    }
    Some(ranks)
}

/// Reports one shortest cycle through the first step of a knot.
fn report(survey: &Survey, edges: &Edges, component: &[NodeIndex<u32>], problems: &mut Problems) {
    let Some(start) = component.first().map(|node| node.index()) else { return };
    let members: std::collections::BTreeSet<usize> =
        component.iter().map(|node| node.index()).collect();
    let path = cycle(edges, start, &members);
    let name = |index: usize| survey.steps[index].key.text.as_str();
    let mut shown: Vec<String> =
        path.iter().take(SHOWN).map(|at| format!("`{}`", name(*at))).collect();
    if path.len() > SHOWN {
        shown.push(format!("… {} more", path.len() - SHOWN));
    }
    shown.push(format!("`{}`", name(start)));
    let problem = problems.error(
        codes::CYCLE,
        survey.steps[start].key.span,
        format!("steps wait for each other: {}", shown.join(" → ")),
    );
    problem.help("each step here waits for the next; take one of these dependencies away");
    let pairs = path.iter().zip(path.iter().cycle().skip(1)).take(SHOWN);
    for (waiting, needed) in pairs {
        let reason = edges[*waiting].get(&StepIndex(*needed as u32)).copied().flatten();
        let (how, span) = match reason {
            Some(span) => ("needs", span),
            None => ("reads", survey.steps[*waiting].key.span),
        };
        problem.related(format!("`{}` {how} `{}`", name(*waiting), name(*needed)), span);
    }
}

/// Returns the steps of a shortest way along the needs from a step back to itself.
fn cycle(edges: &Edges, start: usize, members: &std::collections::BTreeSet<usize>) -> Vec<usize> {
    let mut from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for need in edges[at].keys().map(|need| need.as_usize()) {
            if need == start {
                let mut path = vec![at];
                let mut back = at;
                while let Some(before) = from.get(&back) {
                    path.push(*before);
                    back = *before;
                }
                path.reverse();
                return path;
            }
            if members.contains(&need) && !from.contains_key(&need) {
                from.insert(need, at);
                queue.push_back(need);
            }
        }
    }
    vec![start]
}
