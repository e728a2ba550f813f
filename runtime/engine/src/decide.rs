//! Law 1: what follows from an input; the state is looked at and not changed.

mod attempt;
mod child;
mod command;
mod report;
mod start;
mod timer;

use skep_protocol::limits::MAX_RECORD_BYTES;
use skep_protocol::{
    CommandReply, Event, OwnerChanged, Record, Rejection, RunId, RunRecord, Verdict,
};

use crate::desk::{Desk, Obstacle};
use crate::input::{Input, Reply};
use crate::partition::Partition;
use crate::run::Run;
use crate::size;

pub(crate) use command::cut;
use start::Source;
pub(crate) use timer::timer;

/// What follows from an input.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    pub(crate) records: Vec<Record>,
    pub(crate) reply: Option<Reply>,
}

impl Decision {
    fn reply(reply: CommandReply) -> Self {
        Self { records: Vec::new(), reply: Some(Reply::Command(reply)) }
    }

    fn done() -> Self {
        Self::reply(CommandReply::Done {})
    }

    fn rejected(rejection: Rejection) -> Self {
        Self::reply(CommandReply::Rejected(rejection))
    }

    fn verdict(verdict: Verdict) -> Self {
        Self { records: Vec::new(), reply: Some(Reply::Verdict(verdict)) }
    }

    fn event(mut self, run: RunId, event: Event, desk: &Desk<'_>) -> Self {
        self.records.push(Record::Run(RunRecord { run, at: desk.now, event }));
        self
    }
}

/// Who is told what became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    Command,
    Agent,
    Nobody,
}

impl Asker {
    /// Returns who is told about `input`.
    pub(crate) fn of(input: &Input) -> Self {
        match input {
            Input::Start { .. }
            | Input::Accepted { .. }
            | Input::Retry { .. }
            | Input::Cancel { .. }
            | Input::Pause { .. }
            | Input::Resume { .. }
            | Input::Skip { .. }
            | Input::Drop { .. }
            | Input::Signal(_)
            | Input::ChildEnded { .. } => Self::Command,
            Input::Report { .. } => Self::Agent,
            Input::TookOver { .. }
            | Input::Held { .. }
            | Input::Lost { .. }
            | Input::Failed { .. }
            | Input::BlobFetched { .. }
            | Input::ParentNotified { .. }
            | Input::Wake => Self::Nobody,
        }
    }

    /// Refuses what would take a record that no journal takes: it would stop the partition.
    pub(crate) fn bounded(self, decision: Decision) -> Decision {
        let Some(size) = decision.records.iter().find_map(size::excess) else { return decision };
        let message =
            format!("a record of {size} bytes is needed, {MAX_RECORD_BYTES} is the limit");
        match self {
            Self::Command => Decision::rejected(Rejection::LimitExceeded { message }),
            Self::Agent => Decision::verdict(Verdict::Rejected(message)),
            Self::Nobody => Decision::default(),
        }
    }
}

/// Decides about everything but time and fetched values, which the partition deals with.
pub(crate) fn decide(
    partition: &Partition,
    input: Input,
    desk: &Desk<'_>,
) -> Result<Decision, Obstacle> {
    Ok(match input {
        Input::TookOver { coordinator } => {
            let epoch = partition.epoch() + 1;
            let changed = OwnerChanged { epoch, coordinator, at: desk.now };
            Decision { records: vec![Record::OwnerChanged(changed)], reply: None }
        }
        Input::Start { start, workflow } => {
            return start::start(partition, *start, (workflow, Source::Asked), desk);
        }
        Input::Accepted { start, workflow } => {
            return start::start(partition, *start, (workflow, Source::Accepted), desk);
        }
        Input::Retry { start, workflow, retry } => {
            return start::start(partition, *start, (workflow, Source::Retry(retry)), desk);
        }
        Input::Cancel { run, reason } => command::cancel(partition, run, reason, desk),
        Input::Pause { run, by } => command::pause(partition, run, by, desk),
        Input::Resume { run, by } => command::resume(partition, run, by, desk),
        Input::Skip { run, step, by } => command::skip(partition, (run, step), by, desk),
        Input::Drop { run, steps, by } => command::drop(partition, (run, steps), by, desk),
        Input::Signal(signal) => command::signal(partition, signal, desk),
        Input::ChildEnded { parent, child, outcome } => {
            return child::ended(partition, &parent, (child, outcome), desk);
        }
        Input::Report { agent, report } => return report::report(partition, agent, report, desk),
        Input::Held { agent, attempt } => attempt::held(partition, &agent, &attempt, desk),
        Input::Lost { attempt, agent, cause } => {
            attempt::lost(partition, &attempt, (agent, cause), desk)
        }
        Input::Failed { attempt, agent, failure } => {
            attempt::failed(partition, &attempt, (agent, failure), desk)
        }
        Input::ParentNotified { run } if partition.owes_notice(run) => {
            Decision::default().event(run, Event::ParentNotified {}, desk)
        }
        Input::ParentNotified { .. } | Input::BlobFetched { .. } | Input::Wake => {
            Decision::default()
        }
    })
}

/// Finds a live run, or says why there is none.
fn live(partition: &Partition, run: RunId) -> Result<&Run, Rejection> {
    match (partition.run(run), partition.ended(run)) {
        (Some(live), _) => Ok(live),
        (None, Some(status)) => Err(Rejection::RunAlreadyFinished { run, status }),
        (None, None) => Err(Rejection::RunNotFound { run }),
    }
}
