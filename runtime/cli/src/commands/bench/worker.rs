//! The agent of benchmarks: it takes its time, or none, and gives back what it got.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::value::RawValue;
use skep_agent::{Agent, Failure};
use skep_protocol::Lane;
use tokio::sync::mpsc;

use super::{clock, tag};
use crate::agents::Running;
use crate::cli::Global;
use crate::error::{Error, Exit, chain};
use crate::runtime;

/// What the capabilities of benchmarks begin with.
pub(super) const CAPABILITIES: &str = "bench-";
/// What their agents are called.
const AGENT: &str = "bench";
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// By which way tasks reach agents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Way {
    /// The coordinator picks the agent and sends it the task.
    #[default]
    Direct,
    /// Agents pull from a queue.
    Queue,
}

impl Way {
    /// Returns its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Queue => "queue",
        }
    }

    const fn lane(self) -> Lane {
        match self {
            Self::Direct => Lane::Direct,
            Self::Queue => Lane::Queue,
        }
    }
}

/// Perform the steps of a benchmark.
#[derive(Debug, Args)]
pub(super) struct Worker {
    /// How long each step takes, in milliseconds.
    #[arg(long, default_value_t = 0)]
    step_ms: u64,
    /// How many tasks it performs at a time.
    #[arg(long, default_value_t = 64)]
    slots: u32,
    /// By which way its tasks come.
    #[arg(long, value_enum, default_value_t)]
    lane: Way,
    /// What it serves.
    #[arg(long)]
    capability: String,
}

impl Worker {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        let takes = Duration::from_millis(self.step_ms);
        let agent = agent(self.capability, takes, (self.slots, self.lane), None)?;
        let working = Running::until_told(vec![agent], &global.cluster, LEAVE_WITHIN);
        // It does nothing: threads that wake each other would be most of its work.
        runtime::small()?.block_on(working)
    }
}

/// Where an agent tells when it begins a step.
pub(super) type Begun = mpsc::UnboundedSender<Duration>;

/// Returns the capability of this benchmark.
pub(super) fn capability() -> String {
    format!("{CAPABILITIES}{}", tag())
}

/// Builds the agent.
pub(super) fn agent(
    capability: String,
    takes: Duration,
    (slots, lane): (u32, Way),
    begun: Option<Begun>,
) -> Result<Agent, Error> {
    let work = move |input: Box<RawValue>| {
        if let Some(begun) = &begun {
            // Whoever measures may be done.
            begun.send(clock()).ok();
        }
        async move {
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
            Ok::<_, Failure>(input)
        }
    };
    let agent = Agent::builder(AGENT).lane(lane.lane()).serve(&capability, work).slots(slots);
    agent.build().map_err(|error| Error::new(Exit::Failed, chain(&error)))
}
