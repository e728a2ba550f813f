//! What a shell asks about single attempts.

use skep_protocol::{AgentId, AttemptId};

use crate::effect::OfferTask;
use crate::partition::Partition;
use crate::run::step::Phase;

impl Partition {
    /// Returns the attempts of paused runs that no agent took as far as the journal knows. They are
    /// offered to nobody, but agents may hold them from before; after a recovery whoever tracks
    /// agents has to know both these and what is [`outstanding`](Self::outstanding).
    pub fn withheld(&self) -> Vec<OfferTask> {
        let withheld = |run: &crate::run::Run| {
            run.all_nodes().filter_map(|id| run.withheld(id)).collect::<Vec<_>>()
        };
        self.runs().filter(|run| run.state.paused).flat_map(withheld).collect()
    }

    /// Returns whether `agent` may go on with an attempt: it is its step's current one, and nobody
    /// else took it.
    pub fn wants(&self, agent: &AgentId, attempt: &AttemptId) -> bool {
        let Some(run) = self.run(attempt.run) else { return false };
        let Some(node) = run.find(&attempt.step).map(|id| run.node(id)) else { return false };
        let free = matches!(node.phase, Phase::Scheduled { .. });
        node.attempt == attempt.attempt && (free || node.phase.taker() == Some(agent))
    }
}
