//! What handlers perform at the moment, and with which tokens they ever did.

use std::collections::{BTreeMap, BTreeSet};

use skep_agent::Context;
use skep_engine::Violation;
use skep_protocol::{AgentId, AttemptId, StepPath};

use super::demand;

/// What handlers do.
#[derive(Debug, Default)]
pub(super) struct Performed {
    /// Who began what with an idempotency key and a fencing token.
    tokens: BTreeMap<(String, u64), (AttemptId, AgentId)>,
    /// How much of a capability an agent performs.
    working: BTreeMap<(AgentId, String), u32>,
    under_way: BTreeMap<(AttemptId, AgentId), u32>,
    ever: BTreeSet<AttemptId>,
}

/// A handler that runs.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    agent: AgentId,
    attempt: AttemptId,
    capability: String,
}

impl Begun {
    pub(crate) fn of(context: &Context) -> Self {
        let (agent, attempt) = (context.agent().clone(), context.attempt_id());
        Self { agent, attempt, capability: context.capability().to_owned() }
    }

    pub(super) const fn agent(&self) -> &AgentId {
        &self.agent
    }

    pub(super) const fn attempt(&self) -> &AttemptId {
        &self.attempt
    }
}

impl Performed {
    /// I-4: nobody else has the token. I-19: an agent performs no more than it has slots for.
    pub(super) fn began(
        &mut self,
        begun: &Begun,
        (key, token): (String, u64),
        slots: u32,
    ) -> Result<(), Violation> {
        let Begun { agent, attempt, capability } = begun;
        let working = self.working.entry((agent.clone(), capability.clone())).or_default();
        *working += 1;
        let crowded = *working > slots;
        let me = (attempt.clone(), agent.clone());
        *self.under_way.entry(me.clone()).or_default() += 1;
        self.ever.insert(attempt.clone());
        let first = self.tokens.entry((key, token)).or_insert_with(|| me.clone());
        demand(*first == me, "I-4", || {
            let (other, holder) = first;
            format!(
                "{agent} begins {attempt} with the fencing token {token}, which {holder} has for \
                 {other}"
            )
        })?;
        demand(!crowded, "I-19", || format!("{agent} performs too much at once"))
    }

    /// Returns another attempt that somebody performs: at the same step, at what this one makes
    /// good, or one that has to have stopped before this one for another reason.
    pub(super) fn beside(
        &self,
        begun: &Begun,
        is_before: impl Fn(&AttemptId) -> bool,
    ) -> Option<&(AttemptId, AgentId)> {
        let of = |step: &StepPath| step.compensated().unwrap_or_else(|| step.clone());
        let Begun { attempt, .. } = begun;
        let step = of(&attempt.step);
        let at_step = |id: &AttemptId| id.run == attempt.run && of(&id.step) == step;
        let mut others = self.under_way.keys().filter(|(id, _)| id != attempt);
        others.find(|(id, _)| at_step(id) || is_before(id))
    }

    /// Returns whether some handler ever began an attempt.
    pub(super) fn was_begun(&self, attempt: &AttemptId) -> bool {
        self.ever.contains(attempt)
    }

    pub(super) fn ended(&mut self, begun: &Begun) {
        let Begun { agent, attempt, capability } = begun;
        if let Some(working) = self.working.get_mut(&(agent.clone(), capability.clone())) {
            *working -= 1;
        }
        let me = (attempt.clone(), agent.clone());
        if let Some(times) = self.under_way.get_mut(&me) {
            *times -= 1;
            if *times == 0 {
                self.under_way.remove(&me);
            }
        }
    }
}
