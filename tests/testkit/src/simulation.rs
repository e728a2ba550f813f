//! A simulation: what runs in it, and what goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use skep_agent::Handler;
use skep_engine::Violation;
use skep_protocol::{Hash, PartitionId, RunId, RunStatus, StepPath};

use crate::clients::{Plan, Start};
use crate::faults::Faults;
use crate::scene;
use crate::watched::{Serve, serve};
use crate::witness::{Part, Stores};

/// How many tasks of a capability a simulated agent performs at a time.
const SLOTS: u32 = 3;

/// A world that follows from a seed: coordinators, agents, a broker, clients, and what goes wrong.
///
/// The coordinators and agents are the real ones; the network, the clocks and the machines are
/// not. Nothing takes real time: an hour of back-off is over at once.
#[derive(Clone)]
#[must_use]
pub struct Simulation {
    pub(crate) seed: u64,
    pub(crate) faults: Faults,
    pub(crate) plan: Plan,
    pub(crate) serves: Vec<Serve>,
    pub(crate) coordinators: u32,
    pub(crate) agents: u32,
    pub(crate) partitions: u16,
    pub(crate) lasts: Duration,
    pub(crate) traces: bool,
    /// What fails for good.
    pub(crate) failing: BTreeSet<Part>,
    /// Of a thousand messages, so many have trouble, until every run is over; otherwise that
    /// changes all the time, and ends.
    pub(crate) trouble: Option<u64>,
    /// A journal that is there before anything starts.
    pub(crate) before: Vec<(PartitionId, Bytes)>,
    /// What lies beside it.
    pub(crate) stores: Stores,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Simulation");
        out.field("seed", &self.seed).field("faults", &self.faults).finish_non_exhaustive()
    }
}

/// What became of a simulation in which everything held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How each run ended, sub-workflows included.
    pub runs: BTreeMap<RunId, RunStatus>,
    /// The steps of which something was attempted.
    pub steps: BTreeSet<StepPath>,
    /// The hash of everything that was recorded, and when.
    pub digest: Hash,
    /// How many records the journals have.
    pub records: u64,
    /// What happened, by name, and how often: faults, events, answers.
    pub reached: BTreeMap<&'static str, u64>,
    /// What happened, line by line, if [`Simulation::traced`] was asked for.
    pub trace: Vec<String>,
    pub(crate) parts: BTreeSet<Part>,
    pub(crate) messages: Vec<(PartitionId, Bytes)>,
    pub(crate) stores: Stores,
}

/// A simulation in which something did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed={seed}: {violation}")]
pub struct Failed {
    /// The seed: the same simulation with it fails again.
    pub seed: u64,
    /// What did not hold.
    #[source]
    pub violation: Violation,
    /// What happened, line by line, if [`Simulation::traced`] was asked for.
    pub trace: Vec<String>,
}

impl Simulation {
    /// Describes an empty world: no workflows, no handlers, every kind of fault.
    pub fn new(seed: u64) -> Self {
        let plan = Plan::default();
        Self {
            seed,
            faults: Faults::all(),
            plan,
            serves: Vec::new(),
            coordinators: 2,
            agents: 3,
            partitions: 2,
            lasts: Duration::from_secs(60),
            traces: false,
            failing: BTreeSet::new(),
            trouble: None,
            before: Vec::new(),
            stores: Stores::default(),
        }
    }

    /// Registers a definition; one that refers to another comes after it.
    pub fn workflow(mut self, definition: &str) -> Self {
        self.plan.definitions.push(definition.to_owned());
        self
    }

    /// Lets every agent perform the tasks of `capability` by `handler`.
    pub fn agent<Args: 'static>(mut self, capability: &str, handler: impl Handler<Args>) -> Self {
        self.serves.push(serve(capability, handler, SLOTS));
        self.plan.capabilities.push(capability.to_owned());
        self
    }

    /// Starts a run of a workflow; runs of the same workflow with the same key are the same run.
    pub fn start(mut self, workflow: &str, key: &str, inputs: Value) -> Self {
        let (workflow, key) = (workflow.to_owned(), key.to_owned());
        self.plan.starts.push(Start { workflow, key, inputs });
        self
    }

    /// Lets clients send a signal to every run, at any time and often.
    pub fn signal(mut self, name: &str, payload: Value) -> Self {
        self.plan.signals.push((name.to_owned(), payload));
        self
    }

    /// Sets what may go wrong (default: everything).
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Sets how many coordinators there are (default 2, at least 1).
    pub fn coordinators(mut self, count: u32) -> Self {
        self.coordinators = count.max(1);
        self
    }

    /// Sets how many agents there are (default 3, at least 1); one of several uses the queue.
    pub fn agents(mut self, count: u32) -> Self {
        self.agents = count.max(1);
        self
    }

    /// Sets how many partitions there are (default 2, at least 1).
    pub fn partitions(mut self, count: u16) -> Self {
        self.partitions = count.max(1);
        self
    }

    /// Sets for how long things go wrong, by the simulated clock (default one minute).
    pub fn lasts(mut self, duration: Duration) -> Self {
        self.lasts = duration;
        self
    }

    /// Keeps a line of everything that happens.
    pub fn traced(mut self) -> Self {
        self.traces = true;
        self
    }

    /// Runs the simulation twice: what must always hold is checked after each record, everything
    /// is healed at the end and every run has to end, and both times have to be the same.
    ///
    /// # Errors
    /// [`Failed`] with the first invariant that did not hold.
    pub fn run(&self) -> Result<Outcome, Failed> {
        let first = self.run_once()?;
        let second = self.run_once()?;
        if first.digest != second.digest {
            let what = "the same seed gives two different journals".to_owned();
            return Err(self.failed(Violation { number: "I-8", what }, first.trace));
        }
        Ok(first)
    }

    /// Runs the simulation once; see [`run`](Self::run).
    ///
    /// # Errors
    /// [`Failed`] with the first invariant that did not hold.
    pub fn run_once(&self) -> Result<Outcome, Failed> {
        let account = scene::play(self);
        match account.violation {
            Some(violation) => Err(self.failed(violation, account.trace)),
            None => Ok(Outcome {
                runs: account.ended,
                steps: account.steps,
                parts: account.parts,
                digest: account.digest,
                records: account.records,
                reached: account.reached,
                trace: account.trace,
                messages: account.messages,
                stores: account.stores,
            }),
        }
    }

    pub(crate) fn failed(&self, violation: Violation, trace: Vec<String>) -> Failed {
        Failed { seed: self.seed, violation, trace }
    }
}
