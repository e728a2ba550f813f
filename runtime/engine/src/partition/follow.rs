//! What follows from a change, until nothing follows any more: in slices, if it is much.
//!
//! A partition has one thread and the journal one append at a time; so one input does only so much
//! before others have their turn. What is left is put off, and soft state: whoever recovers looks
//! at everything anyway, and so goes on where the last slice ended.

use std::sync::Arc;

use skep_protocol::limits::MAX_DECIDED_AT_ONCE;
use skep_protocol::{Event, Record, RunId, RunRecord, Timestamp};

use super::Partition;
use crate::decide;
use crate::desk::Desk;
use crate::error::FoldError;
use crate::frontier;
use crate::input::Handled;
use crate::larder::Waiter;
use crate::recall::Around;
use crate::run::NodeId;
use crate::size;

/// Timers that one [`Input::Wake`](crate::Input::Wake) deals with; with more due, the next wake is
/// due at once.
const TIMERS_AT_ONCE: usize = 512;

impl Partition {
    /// Goes on with what was put off, then deals with the timers that are due.
    pub(super) fn wake(
        &mut self,
        around: Around<'_>,
        handled: &mut Handled,
    ) -> Result<(), FoldError> {
        let put_off = std::mem::take(&mut self.index.put_off);
        self.index.frontier.extend(put_off);
        self.follow(around, handled)?;
        for _ in 0..TIMERS_AT_ONCE {
            let Some(timer) = self.index.timers.first().copied() else { break };
            if timer.at > around.now || !self.index.put_off.is_empty() {
                break;
            }
            let unknown = FoldError::UnknownRun { run: timer.run };
            let run = self.runs.get(&timer.run).ok_or(unknown)?;
            let desk = Desk::new(around, &self.larder, &self.parsed);
            let event = decide::timer(run, timer.node, timer.reason, &desk);
            self.append(timer.run, event, around.now, handled)?;
            if self.index.timers.first() == Some(&timer) {
                let what = "a timer that stays due";
                return Err(FoldError::OutOfPlace { run: timer.run, what });
            }
            self.follow(around, handled)?;
        }
        Ok(())
    }

    fn append(
        &mut self,
        run: RunId,
        event: Event,
        at: Timestamp,
        handled: &mut Handled,
    ) -> Result<(), FoldError> {
        self.made += size::of(&event);
        let record = Record::Run(RunRecord { run, at, event });
        self.fold(&record)?;
        handled.records.push(record);
        Ok(())
    }

    /// Looks at whatever a change may have consequences for, until nothing follows any more or it
    /// is enough for now.
    pub(super) fn follow(
        &mut self,
        around: Around<'_>,
        handled: &mut Handled,
    ) -> Result<(), FoldError> {
        while self.made < MAX_DECIDED_AT_ONCE {
            let Some(step) = self.index.frontier.pop_first() else { return Ok(()) };
            self.advance(step, around, handled)?;
        }
        let rest = std::mem::take(&mut self.index.frontier);
        self.index.put_off.extend(rest);
        Ok(())
    }

    /// Goes on with the `for_each` steps whose items came in several records of which some are
    /// missing. Nothing else comes first, since it might change what the items are.
    pub(super) fn follow_expansions(
        &mut self,
        around: Around<'_>,
        handled: &mut Handled,
    ) -> Result<(), FoldError> {
        let cut = |(id, node): &&(RunId, NodeId)| {
            *node != NodeId::RUN
                && self.runs.get(id).is_some_and(|run| {
                    let progress = run.node(*node).phase.progress();
                    progress.is_some_and(|progress| progress.known < progress.total)
                })
        };
        let cut: Vec<_> = self.index.frontier.iter().filter(cut).copied().collect();
        cut.into_iter().try_for_each(|step| self.advance(step, around, handled))
    }

    /// Looks at one step, or at a run as a whole.
    fn advance(
        &mut self,
        (id, node): (RunId, NodeId),
        around: Around<'_>,
        handled: &mut Handled,
    ) -> Result<(), FoldError> {
        let Some(run) = self.runs.get_mut(&id).map(Arc::make_mut) else { return Ok(()) };
        run.hold_back(node);
        let desk = Desk::new(around, &self.larder, &self.parsed);
        let followed = frontier::advance(run, node, &desk);
        let (made, missing) = (desk.made.take(), desk.missing.take());
        let parsed = run.count_inputs();
        let events = followed.map(|events| {
            size::bounded(events, |failure| match node {
                NodeId::RUN => Event::RunFailed { failure },
                step => Event::StepFailed { step: run.path(step), failure, untouched: false },
            })
        });
        if let Some(size) = parsed {
            self.count_inputs(id, size);
        }
        let Ok(events) = events else {
            self.larder.waits_for(Waiter::step(id, node), &missing, &mut self.index.changes);
            return Ok(());
        };
        self.larder.waits_for(Waiter::step(id, node), &[], &mut self.index.changes);
        self.made += made.iter().map(bytes::Bytes::len).sum::<usize>();
        handled.blobs.extend(made);
        for event in events {
            self.append(id, event, around.now, handled)?;
        }
        Ok(())
    }
}
