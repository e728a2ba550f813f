//! Why an attempt is not being worked on, as a sentence for people.

use skep_protocol::{
    AgentId, AgentStanding, AttemptId, BreakerPhase, BreakerView, Timestamp, WaitingCause,
    WaitingView,
};

use super::attempt::Attempt;
use super::breaker::{Breaker, seconds};
use super::place::Place;
use super::pool::Pool;
use super::{Fleet, Link, unread};

/// What an attempt waits for, and what somebody can do something about.
type Told = (String, Option<WaitingCause>);

impl Fleet {
    /// Says what an attempt waits for; `None` if it is not owed, or if an agent works on it.
    pub fn explain(&self, id: &AttemptId, now: Timestamp) -> Option<WaitingView> {
        let attempt = self.attempts.get(id)?;
        let capability = attempt.capability();
        let unused = Pool::default();
        let pool = self.pools.get(capability).unwrap_or(&unused);
        let plain = |reason: &str| (reason.to_owned(), None);
        let (reason, cause) = match &attempt.place {
            Place::Held { .. } | Place::Sent { .. } => return None,
            Place::BackOff => (back_off(attempt.offer.not_before, now), None),
            Place::Behind { until } => plain(&self.explain_behind(attempt, *until, now)),
            Place::Withheld => paused(),
            Place::New | Place::RollCall => {
                plain("the agents are being asked whether one of them holds it")
            }
            Place::Missing { .. } => match &attempt.offer.terms.taken_by {
                Some(agent) => {
                    (format!("agent {agent}, which took it, was not heard of yet"), None)
                }
                None => plain("the agent that took it was not heard of yet"),
            },
            Place::Delivering { agent } => (format!("being sent to agent {agent}"), None),
            Place::Lost { .. } => plain("it was lost with its agent"),
            Place::Refused { .. } if !attempt.line.unread.is_empty() => {
                plain(&format!("it fails, because {} cannot read it", unread::who(&attempt.line)))
            }
            Place::Refused { .. } => plain("it fails, because its circuit breaker is open"),
            Place::Late if attempt.is_late(now) => {
                plain("it ends, because no agent took it in time")
            }
            Place::Late => plain("it ends"),
            Place::Ready if self.link == Link::Down => plain("the broker cannot be reached"),
            Place::Ready => self.explain_ready(attempt, pool, now),
            // It may lie in the queue yet; whoever pulls it is told that it is not wanted.
            Place::Queued { .. } if attempt.withheld => paused(),
            Place::Queued { .. } if pool.agents().next().is_none() => no_agent(attempt, ""),
            Place::Queued { .. } => self.explain_quarantine(attempt, pool).unwrap_or_else(|| {
                (format!("in the queue of {capability} ({})", self.strength(pool)), None)
            }),
        };
        Some(WaitingView { cause, ..WaitingView::new(id.step.clone(), reason) })
    }

    /// Returns the agent that works on an attempt, if one does.
    pub fn holder(&self, id: &AttemptId) -> Option<&AgentId> {
        match &self.attempts.get(id)?.place {
            Place::Held { agent, .. } | Place::Sent { agent, .. } => Some(agent),
            Place::New
            | Place::Withheld
            | Place::BackOff
            | Place::Behind { .. }
            | Place::RollCall
            | Place::Missing { .. }
            | Place::Ready
            | Place::Late
            | Place::Delivering { .. }
            | Place::Queued { .. }
            | Place::Lost { .. }
            | Place::Refused { .. } => None,
        }
    }

    fn explain_behind(&self, attempt: &Attempt, until: Timestamp, now: Timestamp) -> String {
        let id = attempt.id();
        match self.stops_before(attempt, now) {
            Some((other, stopping)) => {
                let until = clock(self.bears_with(attempt, other).unwrap_or(until));
                let (step, number, agent) = (&other.step, other.attempt, &stopping.agent);
                let own = id.step == *step || id.step.compensated().as_ref() == Some(step);
                let another = if own { "" } else { ", another step," };
                format!(
                    "agent {agent} was told to stop attempt {number} of {step}{another} and is \
                     waited for, until {until} at the latest"
                )
            }
            None => {
                format!("an attempt before it is to stop, by {} at the latest", clock(until))
            }
        }
    }

    fn explain_ready(&self, attempt: &Attempt, pool: &Pool, now: Timestamp) -> Told {
        let capability = attempt.capability();
        if let Some(held) = self.explain_guard(attempt, now) {
            return held;
        }
        if pool.agents().next().is_none() {
            return no_agent(attempt, "");
        }
        let labels = &attempt.offer.spec.labels;
        let mut agents = pool.agents().filter_map(|id| self.agents.get(id));
        if !labels.is_empty() && !agents.any(|agent| agent.has(labels)) {
            let wanted: Vec<String> =
                labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            return no_agent(attempt, &format!(" with the labels {}", wanted.join(", ")));
        }
        if let Some(out) = self.explain_quarantine(attempt, pool) {
            return out;
        }
        let (strength, turn) = (self.strength(pool), pool.before(&attempt.rank()) + 1);
        let all = pool.waiting(|_| true);
        let mut reason = format!(
            "waiting for a free slot of {capability} ({strength}), number {turn} of {all} at its \
             coordinator"
        );
        if let Some((_, cause)) = &attempt.seldom.unread {
            let who = unread::who(&attempt.line);
            reason.push_str(&format!("; {who} cannot read it: {cause}"));
        }
        (reason, None)
    }

    /// Says which breaker or budget holds an attempt, if one does.
    fn explain_guard(&self, attempt: &Attempt, now: Timestamp) -> Option<Told> {
        let capability = attempt.capability();
        let name = Self::breaker_of(capability, &attempt.line);
        if let Some(guard) = self.guards.get(name).filter(|guard| !guard.breaker.passes(now)) {
            return Some(explain_breaker(name, &guard.breaker));
        }
        let purse = self.purses.get(capability).filter(|_| attempt.line.again)?;
        let balance = purse.budget.balance(now);
        (balance.used >= balance.allowed).then(|| {
            let (used, allowed) = (balance.used, balance.allowed);
            let window = seconds(skep_protocol::limits::RETRY_WINDOW);
            let reason = format!(
                "retry budget of {capability} is used up: {used} repeated attempts in the last \
                 {window}, {allowed} are allowed"
            );
            (reason, None)
        })
    }

    /// Says that all agents that could take an attempt are in quarantine, if that is so.
    fn explain_quarantine(&self, attempt: &Attempt, pool: &Pool) -> Option<Told> {
        let labels = &attempt.offer.spec.labels;
        let mut out = Vec::new();
        for id in pool.agents() {
            let agent = self.agents.get(id).filter(|agent| agent.has(labels));
            match agent.map(|agent| (agent.is_kept_out(), agent.health.record())) {
                Some((true, Some(record))) => out.push((id, record)),
                Some(_) => return None,
                None => {}
            }
        }
        let (agent, record) = out.first()?;
        let until = record.until.map(|until| format!(" until {}", clock(until)));
        let cause = &record.cause;
        let until = until.unwrap_or_default();
        let reason = match out.len() {
            1 if self.is_tried(agent) => {
                format!("agent {agent} is tried with one attempt at a time: {cause}")
            }
            1 => format!("agent {agent} is quarantined{until}: {cause}"),
            many => format!("all {many} agents are quarantined, {agent}{until}: {cause}"),
        };
        Some((reason, Some(WaitingCause::Quarantine { agent: (*agent).clone() })))
    }

    /// Returns whether the term of an agent is over, and its probe is not.
    fn is_tried(&self, agent: &AgentId) -> bool {
        let known = self.agents.get(agent);
        known.is_some_and(|known| known.health.standing() == AgentStanding::Probed)
    }

    /// Returns every circuit breaker that has something to tell, by name.
    pub fn breakers(&self, now: Timestamp) -> Vec<BreakerView> {
        let view = |(name, guard): (&compact_str::CompactString, &super::guard::Guard)| {
            let breaker = &guard.breaker;
            let [calls, failed, slow] = breaker.counts(now);
            let open = breaker.opened();
            let pool = self.pools.get(&guard.capability);
            let parked = pool.map_or(0, |pool| {
                pool.waiting(|line| Self::breaker_of(&guard.capability, line) == name)
            });
            let parked = if breaker.phase() == BreakerPhase::Closed { 0 } else { parked };
            BreakerView {
                name: name.to_string(),
                capability: guard.capability.to_string(),
                phase: breaker.phase(),
                calls,
                failed,
                slow,
                parked: u32::try_from(parked).unwrap_or(u32::MAX),
                since: open.map(|open| open.since),
                until: open.and_then(|open| open.until),
                cause: open.map(|open| open.cause.clone()),
                trips: breaker.trips(),
                at_a_time: breaker.at_a_time(),
                shares: Vec::new(),
            }
        };
        self.guards.iter().map(view).collect()
    }

    fn strength(&self, pool: &Pool) -> String {
        let agents = pool.agents().filter_map(|id| self.agents.get(id));
        let (mut count, mut slots, mut draining, mut quarantined) = (0, 0_u64, 0, 0);
        for agent in agents {
            count += 1;
            slots += u64::from(agent.slots());
            draining += u32::from(agent.draining);
            quarantined += u32::from(agent.is_kept_out() && agent.health.at_a_time() == Some(0));
        }
        let agents = if count == 1 { "1 agent".to_owned() } else { format!("{count} agents") };
        let slots = if slots == 1 { "1 slot".to_owned() } else { format!("{slots} slots") };
        let mut strength = format!("{agents}, {slots}");
        for (count, what) in [(draining, "draining"), (quarantined, "quarantined")] {
            if count > 0 {
                strength.push_str(&format!(", {count} {what}"));
            }
        }
        strength
    }
}

fn explain_breaker(name: &str, breaker: &Breaker) -> Told {
    let probes = breaker.at_a_time().unwrap_or_default();
    let is_open = breaker.phase() == BreakerPhase::Open;
    let cause = is_open.then(|| WaitingCause::Breaker { name: name.to_owned() });
    let reason = match (breaker.phase(), breaker.opened()) {
        (BreakerPhase::Open, Some(open)) => {
            let cause = &open.cause;
            match open.until {
                Some(until) => format!(
                    "circuit breaker of {name} is open until {} ({cause}), then probes {probes} at \
                     a time",
                    clock(until)
                ),
                None => format!("circuit breaker of {name} is open until it is reset ({cause})"),
            }
        }
        (BreakerPhase::HalfOpen, _) => {
            format!("circuit breaker of {name} is half-open: {probes} probes are under way")
        }
        (BreakerPhase::Open | BreakerPhase::Closing | BreakerPhase::Closed, _) => {
            format!(
                "circuit breaker of {name} is closing: {probes} calls at a time are let through"
            )
        }
    };
    (reason, cause)
}

/// Writes the time of day.
fn clock(at: Timestamp) -> String {
    let seconds = at.as_millis() / 1_000;
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02} UTC", seconds % 60)
}

fn back_off(due: Timestamp, now: Timestamp) -> String {
    let ms = due.since(now).as_millis();
    format!("back-off, due in {}.{} s", ms / 1_000, ms % 1_000 / 100)
}

fn paused() -> Told {
    ("the run is paused".to_owned(), Some(WaitingCause::Paused))
}

fn no_agent(attempt: &Attempt, with: &str) -> Told {
    let capability = attempt.capability().to_string();
    let reason = format!("no live agent offers {capability}{with}");
    (reason, Some(WaitingCause::NoAgent { capability }))
}
