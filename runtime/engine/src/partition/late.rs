//! Attempts of runs that are over whose agents may report yet: each such report is recorded once.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use skep_protocol::limits::MAX_LATE_STEPS;
use skep_protocol::{AgentId, RunId, StepPath};

use crate::run::{NodeId, Run};

/// Late reports recorded for one step; more are ignored without a record, or whoever makes them up
/// would fill the journal.
const MAX_RECORDED: usize = 4;

/// The steps of such attempts, those of the runs that ended last.
#[derive(Debug, Clone, Default)]
pub(super) struct Late {
    order: VecDeque<(RunId, StepPath)>,
    steps: BTreeMap<(RunId, StepPath), Attempts>,
}

/// The attempts of a step whose run is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempts {
    /// How many there were.
    pub(crate) number: u32,
    /// Who reported the last one, if that came in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reporter: Option<AgentId>,
    /// Those whose late report is on record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) recorded: Vec<u32>,
}

impl Run {
    /// Returns the steps with an attempt that its agent has not reported, as far as is known: one
    /// before the last, or the last one.
    pub(super) fn unheard(&self) -> impl Iterator<Item = (StepPath, Attempts)> {
        self.all_nodes().filter_map(|id| Some((self.path(id), self.attempts(id)?)))
    }

    fn attempts(&self, id: NodeId) -> Option<Attempts> {
        let node = self.node(id);
        let is_kept = self.state.started.retry().is_some() && node.tries + node.losses == 0;
        if node.attempt == 0 || is_kept || self.work(id).capability.is_none() {
            return None;
        }
        let last = node.reporter.as_ref().filter(|(_, attempt)| *attempt == node.attempt);
        let reporter = last.map(|(agent, _)| agent.clone());
        let is_heard = node.attempt == 1 && reporter.is_some();
        let recorded = Vec::new();
        (!is_heard).then_some(Attempts { number: node.attempt, reporter, recorded })
    }
}

impl Attempts {
    /// Returns whether a report is worth a record: there was such an attempt, and neither was it
    /// reported by this agent before, nor is another late report of it on record.
    pub(crate) fn is_news(&self, attempt: u32, agent: &AgentId) -> bool {
        let existed = (1..=self.number).contains(&attempt);
        let repeated = attempt == self.number && self.reporter.as_ref() == Some(agent);
        let room = self.recorded.len() < MAX_RECORDED && !self.recorded.contains(&attempt);
        existed && !repeated && room
    }
}

impl Late {
    pub(super) fn push(&mut self, run: RunId, step: StepPath, attempts: Attempts) {
        let key = (run, step);
        if self.steps.insert(key.clone(), attempts).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MAX_LATE_STEPS
            && let Some(oldest) = self.order.pop_front()
        {
            self.steps.remove(&oldest);
        }
    }

    pub(super) fn of(&self, run: RunId, step: &StepPath) -> Option<&Attempts> {
        self.steps.get(&(run, step.clone()))
    }

    /// A late report is on record. Nothing is noted of what is forgotten.
    pub(super) fn recorded(&mut self, run: RunId, step: &StepPath, attempt: u32) {
        if let Some(attempts) = self.steps.get_mut(&(run, step.clone())) {
            attempts.recorded.push(attempt);
        }
    }

    /// Returns the steps, that of the run that ended first first.
    pub(super) fn all(&self) -> impl Iterator<Item = (RunId, &StepPath, &Attempts)> {
        self.order.iter().filter_map(|key| Some((key.0, &key.1, self.steps.get(key)?)))
    }
}
