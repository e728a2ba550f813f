//! Alive but stuck: attempts whose agent is heard and that make no progress.

use std::time::Duration;

use skep_protocol::limits::AGENT_SILENCE;
use skep_protocol::{AgentId, AttemptId, Failure, FailureKind, Heartbeat, Timestamp};

use super::breaker::seconds;
use super::{Fleet, FleetEffect};

/// How far an attempt was when its agent was heard of last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watch {
    agent: AgentId,
    /// Calls of `progress` so far.
    calls: u64,
    /// When that number was first heard.
    since: Timestamp,
    /// People were told that it may be stuck.
    warned: bool,
    /// When the partition was told that it is.
    told: Option<Timestamp>,
}

impl Watch {
    const fn new(agent: AgentId, calls: u64, now: Timestamp) -> Self {
        Self { agent, calls, since: now, warned: false, told: None }
    }

    /// Returns for how long there was no progress, as far as this coordinator could have heard it.
    fn silent_for(&self, link_since: Timestamp, now: Timestamp) -> Duration {
        now.since(self.since.max(link_since))
    }
}

impl Fleet {
    /// Looks at the progress of what an agent holds. Only a heartbeat shows that there was none, so
    /// an agent that is not heard of is never taken for one that is stuck. What is finished makes
    /// none, and waits for nobody but the owner of its partition.
    pub(super) fn see_progress(
        &mut self,
        heartbeat: &Heartbeat,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let agent = &heartbeat.agent;
        for held in &heartbeat.held {
            let Some(slot) = self.attempts.slot(&held.attempt) else { continue };
            let Some(attempt) = self.attempts.at_mut(slot) else { continue };
            let Some(within) = attempt.offer.spec.progress_within else { continue };
            if attempt.place.agent() != Some(agent) {
                continue;
            }
            if held.finished {
                if let Some(seldom) = attempt.seldom.there() {
                    seldom.watch = None;
                }
                continue;
            }
            let calls = held.progress.as_ref().map_or(0, |progress| progress.calls);
            let partition = attempt.offer.partition;
            let seen = &mut attempt.seldom.watch;
            let watch = match seen {
                Some(watch) if watch.agent == *agent && watch.calls == calls => watch,
                Some(_) | None => {
                    *seen = Some(Watch::new(agent.clone(), calls, now));
                    continue;
                }
            };
            let silent_for = watch.silent_for(self.link_since, now);
            if silent_for >= within {
                let told_lately = |at| now.since(at) < AGENT_SILENCE;
                if watch.told.is_some_and(told_lately) {
                    continue;
                }
                watch.told = Some(now);
                let bound = seconds(within);
                let message = format!("{} ({bound} are allowed)", no_progress(agent, silent_for));
                let failure = Failure::new(FailureKind::Stalled, "stalled", message);
                let (attempt, agent) = (held.attempt.clone(), Some(agent.clone()));
                effects.push(FleetEffect::Failed { partition, attempt, agent, failure });
            } else if silent_for >= within / 2 && !watch.warned {
                watch.warned = true;
                let (attempt, agent) = (held.attempt.clone(), agent.clone());
                effects.push(FleetEffect::Stalling { attempt, agent, silent_for });
            }
        }
    }

    /// Says that an attempt makes no progress, once half of its time for that is over.
    pub fn stalling(&self, id: &AttemptId, now: Timestamp) -> Option<String> {
        let attempt = self.attempts.get(id)?;
        let watch = attempt.seldom.watch.as_ref().filter(|watch| watch.warned)?;
        let within = attempt.offer.spec.progress_within?;
        if attempt.place.agent() != Some(&watch.agent) {
            return None;
        }
        let silent_for = watch.silent_for(self.link_since, now);
        let bound = seconds(within);
        Some(format!("{}, it fails after {bound}", no_progress(&watch.agent, silent_for)))
    }
}

fn no_progress(agent: &AgentId, silent_for: Duration) -> String {
    format!("no progress at agent {agent} for {}", seconds(silent_for))
}
