//! Whether an agent is there: looks at those that hold work, silence, and what becomes of the
//! work of one that is gone.

use std::fmt;
use std::time::Duration;

use skep_protocol::limits::AGENT_SILENCE;
use skep_protocol::{AgentId, AttemptId, Timestamp};

use super::place::Place;
use super::register::Slot;
use super::{Fleet, FleetEffect, Link, Timer};

/// How often an agent that holds something is asked whether it is there, if it says nothing.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// Many agents are asked less often, each by this much.
const APART: Duration = Duration::from_micros(500);
/// Whom nobody answers for, twice so far apart, is gone: an agent whose server died finds another
/// one meanwhile.
const GONE_AFTER: Duration = Duration::from_millis(400);

/// How an agent was seen to be no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// It said goodbye.
    Left,
    /// Nobody listens in its name.
    Ended,
    /// Another process has its name.
    Restarted,
    /// It has been silent for too long.
    Silent,
}

impl fmt::Display for Parting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::Ended => "is gone",
            Self::Restarted => "was restarted",
            Self::Silent => "was not heard of any more",
        })
    }
}

impl Fleet {
    /// An agent has something: from now on it is looked after.
    pub(super) fn look_after(&mut self, agent: &AgentId) {
        let at = self.looked.after(self.look_every());
        self.look_at(agent, at);
    }

    /// Asks an agent whether it is there, if it has something and has not said anything lately:
    /// else nobody would notice before its silence that its process is gone.
    pub(super) fn look(&mut self, agent: AgentId, now: Timestamp, effects: &mut Vec<FleetEffect>) {
        let every = self.look_every();
        let Some(known) = self.agents.get_mut(&agent) else { return };
        known.look_at = None;
        let next = known.heard.max(known.answered).after(every);
        if known.unanswered.is_none() && known.attempts.is_empty() {
            return;
        }
        if known.unanswered.is_none() && next > now {
            self.look_at(&agent, next);
            return;
        }
        self.look_at(&agent, now.after(every));
        if self.link == Link::Up {
            effects.push(FleetEffect::Look { agent });
        }
    }

    fn look_at(&mut self, agent: &AgentId, at: Timestamp) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        if let Some(before) = known.look_at.replace(at) {
            self.timers.remove(&(before, Timer::Look(agent.clone())));
        }
        self.timers.insert((at, Timer::Look(agent.clone())));
    }

    fn look_every(&self) -> Duration {
        let agents = u32::try_from(self.agents.len()).unwrap_or(u32::MAX);
        LOOK_EVERY.max(APART.saturating_mul(agents))
    }

    /// An agent answered a delivery, or a look.
    pub(super) fn reached(&mut self, agent: &AgentId, now: Timestamp) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        (known.answered, known.listens) = (now, true);
        if known.unanswered.take().is_some() {
            self.relist(agent);
        }
    }

    /// Nobody listens in the name of an agent. If that is still so a little later, its process is
    /// gone. Right after an outage of the broker it may also just not be back yet; then its silence
    /// decides. Of an agent that pulls, and never answered to its name, it says nothing. What was
    /// sent while it still listened it may have begun.
    pub(super) fn no_agent(
        &mut self,
        agent: &AgentId,
        (attempts, sent): (Vec<AttemptId>, bool),
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        if sent {
            self.delivered(agent, attempts, &[], now);
        } else {
            for id in attempts {
                if let Some(slot) = self.on_its_way(&id, agent) {
                    self.make_ready(slot, now);
                }
                self.never_arrived(agent, &id, now);
            }
        }
        let Some(known) = self.agents.get_mut(agent).filter(|known| known.listens) else { return };
        let since = *known.unanswered.get_or_insert(now);
        let is_back = known.heard.max(known.answered) >= self.link_since;
        if now.since(since) < GONE_AFTER {
            self.look_at(agent, since.after(GONE_AFTER));
            self.takes_nothing(agent);
        } else if is_back && self.link == Link::Up {
            self.agent_gone(agent, Parting::Ended, now, effects);
        }
    }

    /// Looks whether an agent has been silent for too long. Silence counts only while this
    /// coordinator would have heard it.
    pub(super) fn check_silence(
        &mut self,
        agent: AgentId,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(known) = self.agents.get(&agent) else { return };
        let limit = match self.link {
            Link::Up => known.heard.max(self.link_since).after(AGENT_SILENCE),
            Link::Down => now.after(AGENT_SILENCE),
        };
        if limit <= now {
            self.agent_gone(&agent, Parting::Silent, now, effects);
        } else {
            self.timers.insert((limit, Timer::Silence(agent)));
        }
    }

    /// Drops an agent. What it held is lost, and so is what is on its way to it: it may have got
    /// there, and be under way.
    pub(super) fn agent_gone(
        &mut self,
        agent: &AgentId,
        parting: Parting,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        self.unlist(agent);
        self.answers_nothing(agent);
        let Some(gone) = self.agents.remove(agent) else { return };
        self.timers.remove(&(gone.heard.after(AGENT_SILENCE), Timer::Silence(agent.clone())));
        if let Some(at) = gone.look_at {
            self.timers.remove(&(at, Timer::Look(agent.clone())));
        }
        if parting != Parting::Silent {
            self.forget_health(agent, effects);
        }
        let mut left = gone.attempts;
        self.attempts.sort(&mut left);
        for slot in left {
            let cause = format!("agent {agent} {parting}");
            self.lose(slot, (Some(agent.clone()), cause), now, effects);
        }
        for id in gone.stopping {
            self.has_stopped(&id, now);
        }
        self.end_answered_roll_call(now, effects);
    }

    /// The partition took no note of a loss: it is told once more, unless somebody else took the
    /// attempt, or the broker cannot be reached.
    pub(super) fn lost_in_vain(
        &mut self,
        slot: Slot,
        agent: Option<AgentId>,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(attempt) = self.attempts.at(slot) else { return };
        let taker = attempt.offer.terms.taken_by.clone();
        if self.link == Link::Down {
            self.move_to(slot, Place::Lost { agent, again: now.after(AGENT_SILENCE) });
        } else if let Some(taker) = taker.filter(|taker| agent.as_ref() != Some(taker)) {
            self.entrust(slot, &taker, now);
        } else {
            let who = agent.as_ref().map_or_else(String::new, |agent| format!(" of agent {agent}"));
            self.lose(slot, (agent, format!("the loss{who} was not noted")), now, effects);
        }
    }
}
