//! One run of a graph, held against what the graph says after each input.

use std::collections::BTreeMap;

use skep_engine::{Effect, Input, Partition, Recall, Resolved};
use skep_protocol::{
    AgentId, AttemptId, CoordinatorId, Event, Failure, FailureKind, Outcome, Payload, Record,
    Report, ReportBody, RunStatus, StartRun,
};
use skep_workflow::Workflow;

use super::graph::{Graph, Steps, members, set};
use crate::world::{START, digest, run_id};

/// How one attempt comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Completes,
    /// By its own word: nothing was done.
    Fails,
    /// With an outcome that nobody knows.
    IsUnknown,
}

/// A run, and what is known about it without asking the engine.
#[derive(Debug, Clone)]
pub(super) struct Saga {
    graph: Graph,
    pub(super) partition: Partition,
    known: Known,
    /// What nobody began of that which is with agents, as long as this coordinator lives.
    untouched: Untouched,
}

/// Steps that wait for an agent for as long as others fail.
#[derive(Debug, Clone, Copy)]
pub(super) struct Untouched(pub(super) Steps);

impl Recall for Untouched {
    fn recall(&self, attempt: &AttemptId) -> bool {
        self.0 & (1 << number(attempt)) != 0
    }
}

#[derive(Debug, Clone, Copy)]
struct Known {
    completed: Steps,
    /// What was sent to agents that were never heard of again.
    in_doubt: Steps,
    /// What is to be made good, once a step has failed.
    left: Option<Steps>,
}

/// Which step fails, if any, and how.
pub(super) type Fate = Option<(usize, Ending)>;

impl Saga {
    /// Starts a run in a partition that knows its definition; returns the records, too.
    pub(super) fn start(
        (graph, untouched): (Graph, Untouched),
        workflow: &Workflow,
        mut partition: Partition,
    ) -> (Self, Vec<Record>) {
        let start = Box::new(StartRun {
            run: run_id(),
            workflow: workflow.name().to_string(),
            inputs: Payload::from_text("{}").unwrap(),
            parent: None,
            depth: 0,
            labels: BTreeMap::new(),
        });
        let pinned = BTreeMap::new();
        let workflow = Resolved { digest: digest(workflow), workflow: None, pinned };
        let handled = partition.handle(Input::Start { start, workflow }, START).unwrap();
        let known = Known { completed: 0, in_doubt: 0, left: None };
        (Self { graph, partition, known, untouched }, handled.records)
    }

    /// Returns the saga as it is if a coordinator dies before it makes these records: nobody can
    /// say any more of what they end that it was never begun.
    pub(super) fn before(&self, records: &[Record]) -> Self {
        let mut saga = self.clone();
        for record in records {
            if let Record::Run(record) = record
                && let Event::StepCancelled { step, untouched: true, .. } = &record.event
                && let Some(left) = &mut saga.known.left
            {
                *left |= 1 << digit(step.as_str());
            }
        }
        saga
    }

    /// Goes on with a partition that recovered, and knows nothing of what was handed out.
    pub(super) fn taken_over(&self, mut partition: Partition) -> Self {
        let coordinator = CoordinatorId::new("c2").unwrap();
        partition.handle(Input::TookOver { coordinator }, START).unwrap();
        Self { partition, untouched: Untouched(0), ..*self }
    }

    /// Returns what can happen next.
    pub(super) fn choices(&self) -> Vec<(AttemptId, Ending)> {
        self.partition.check_invariants().unwrap();
        let endings: &[_] = match self.known.left {
            None => &[Ending::Completes, Ending::Fails, Ending::IsUnknown],
            Some(_) => &[Ending::Completes],
        };
        let of = |id: AttemptId| endings.iter().map(move |ending| (id.clone(), *ending));
        self.check().into_iter().flat_map(of).collect()
    }

    /// Returns what may become of it.
    pub(super) fn fates(&self) -> Vec<Fate> {
        if self.known.left.is_some() {
            return vec![None];
        }
        let open = members(self.graph.everything() & !self.known.completed);
        let of = |step| [(step, Ending::Fails), (step, Ending::IsUnknown)].map(Some);
        [None].into_iter().chain(open.flat_map(of)).collect()
    }

    /// Holds what the engine wants done against what the graph says; returns it.
    pub(super) fn check(&self) -> Vec<AttemptId> {
        let (graph, known) = (self.graph, self.known);
        let offers = self.offers();
        assert_eq!(set(offers.iter().map(number)), self.owed(), "{graph:?}, {known:?}");
        let unwinds = known.left.is_some();
        assert!(offers.iter().all(|id| id.step.compensated().is_some() == unwinds), "{graph:?}");
        let status = match known.left {
            None if known.completed == graph.everything() => RunStatus::Completed,
            None => RunStatus::Running,
            Some(0) => RunStatus::Compensated,
            Some(_) => RunStatus::Unwinding,
        };
        assert_eq!(self.partition.status(run_id()), Some(status), "{graph:?}, {known:?}");
        offers
    }

    /// Returns the steps that have to be with agents, themselves or their compensations.
    fn owed(&self) -> Steps {
        match self.known.left {
            None => self.graph.ready(self.known.completed),
            Some(left) => self.graph.last(left),
        }
    }

    /// Returns what the engine wants to be with agents.
    fn offers(&self) -> Vec<AttemptId> {
        let owed = self.partition.outstanding().into_iter();
        let offers = owed.filter_map(|effect| match effect {
            Effect::OfferTask(offer) => Some(offer.id.clone()),
            _ => None,
        });
        offers.collect()
    }

    /// Has an agent report; returns what was recorded.
    pub(super) fn answer(&mut self, attempt: AttemptId, ending: Ending) -> Vec<Record> {
        self.note(1 << number(&attempt), ending);
        let report = report(attempt, ending);
        self.partition.handle_recalling(report, START, &self.untouched).unwrap().records
    }

    fn note(&mut self, step: Steps, ending: Ending) {
        let (owed, untouched) = (self.owed(), self.untouched.0);
        let known = &mut self.known;
        match (&mut known.left, ending) {
            (Some(left), _) => *left &= !step,
            (None, Ending::Completes) => known.completed |= step,
            (None, Ending::Fails | Ending::IsUnknown) => {
                let left_nothing = ending == Ending::Fails && known.in_doubt & step == 0;
                // What others have in their hands is cut off, and may have been done, now or
                // before.
                let done = known.completed | (owed & (!untouched | known.in_doubt));
                known.left = Some(if left_nothing { done & !step } else { done | step });
            }
        }
    }

    /// Loses every attempt with its agent; whether they were performed, nobody knows.
    pub(super) fn lose_all(&mut self) {
        for attempt in self.offers() {
            self.known.in_doubt |= 1 << number(&attempt);
            let cause = "it is gone".to_owned();
            self.partition.handle(Input::Lost { attempt, agent: None, cause }, START).unwrap();
        }
    }

    /// Goes on to the end.
    pub(super) fn play(mut self, fate: Fate) {
        let fails = |id: &AttemptId| fate.is_some_and(|(step, _)| step == number(id));
        loop {
            // Whoever fails does so last, so that there is something to make good.
            let mut offers = self.check();
            offers.sort_by_key(fails);
            let Some(next) = offers.into_iter().next() else { return };
            let fate = fate.filter(|_| self.known.left.is_none() && fails(&next));
            self.answer(next, fate.map_or(Ending::Completes, |(_, ending)| ending));
        }
    }
}

/// Returns the number of the step that an attempt is for, or makes good.
fn number(attempt: &AttemptId) -> usize {
    digit(attempt.step.as_str())
}

fn digit(step: &str) -> usize {
    usize::from(step.as_bytes()[1] - b'0')
}

fn report(id: AttemptId, ending: Ending) -> Input {
    let failed = |kind| {
        let failure = Failure::new(kind, "oops", "it broke");
        Outcome::Failed { failure, duration_ms: 1 }
    };
    let outcome = match ending {
        Ending::Completes => {
            let output = Payload::encode(&id.step.to_string()).unwrap();
            Outcome::Completed { output, duration_ms: 1 }
        }
        Ending::Fails => failed(FailureKind::Agent),
        Ending::IsUnknown => failed(FailureKind::Panic),
    };
    let AttemptId { run, step, attempt } = id;
    let report = Report { run, step, attempt, body: ReportBody::Outcome(outcome) };
    Input::Report { agent: AgentId::new("a1").unwrap(), report }
}
