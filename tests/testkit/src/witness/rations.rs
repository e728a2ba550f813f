//! Agents that are out: of whoever says that it pulls nothing, nothing is pulled and nothing
//! begins.

use skep_protocol::{Heartbeat, Ration};

use super::{Seen, Witness, demand};
use crate::network::lock;

impl Witness {
    /// An agent says how much it pulls.
    pub(crate) fn said(&self, heartbeat: &Heartbeat) {
        let mut seen = lock(&self.seen);
        let (agent, ration) = (&heartbeat.agent, heartbeat.ration);
        let out = ration == Some(Ration::AtMost(0));
        if out != seen.out.contains(agent) {
            seen.note(|| format!("{agent} says that it may hold {ration:?}"));
        }
        if out {
            seen.out.insert(agent.clone());
            seen.reach("agent that pulls is out");
        } else if seen.out.remove(agent) {
            seen.reach("agent pulls again");
        }
    }

    /// I-19: an agent pulls.
    pub(crate) fn pulls(&self, agent: &str) {
        lock(&self.seen).check_not_out(agent);
    }
}

impl Seen {
    /// Demands that an agent which pulls or begins something has not said that it is out.
    pub(super) fn check_not_out(&mut self, agent: &str) {
        let out = self.out.iter().any(|out| out.as_str() == agent);
        self.check(demand(!out, "I-19", || format!("{agent} is out, and takes something")));
    }
}
