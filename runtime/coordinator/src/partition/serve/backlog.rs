//! What agents left while nobody owned the partition: decided before time matters.

use std::time::Duration;

use skep_broker::Broker;
use skep_engine::fleet::FleetInput;
use skep_engine::planted::{self, Bug};
use skep_protocol::limits::{REPORTED_AGAIN_WITHIN, ROLL_CALL_WITHIN};

use super::super::commit::{Release, Unit};
use super::Serving;
use crate::observe;
use crate::ownership::FRESH_FOR;

/// How far the reports are that were left before the take-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backlog {
    /// Not all of them were read.
    Unread,
    /// All were read; those up to this ticket may wait for a decision.
    Undecided { last: u64 },
    /// All were decided.
    Decided,
}

impl<B: Broker> Serving<B> {
    /// The reader read all that was left before it came.
    pub(super) fn caught_up(&mut self) {
        if self.backlog == Backlog::Unread {
            self.backlog = Backlog::Undecided { last: self.next_ticket };
        }
    }

    /// Tells the fleet once everything that was left is decided: as soon as that is durable.
    pub(super) fn watch_backlog(&mut self) {
        let Backlog::Undecided { last } = self.backlog else { return };
        if self.tickets.first_key_value().is_some_and(|(ticket, _)| *ticket <= last) {
            return;
        }
        self.backlog = Backlog::Decided;
        observe::backlog_decided(self.context.id);
        let caught_up = FleetInput::CaughtUp { partition: self.context.id };
        self.commit.push(Unit::new(Vec::new(), Vec::new(), vec![Release::Fleet(caught_up)]));
    }

    /// Puts the timers off until agents had time to say what they have: those that finished one of
    /// the attempts while nobody listened report it once more.
    pub(super) fn wait_for_agents(&mut self) {
        self.timers_from = self.context.clock.now().after(ROLL_CALL_WITHIN);
    }

    /// Notes that the partition is known to be owned, and puts its timers off if that was in doubt
    /// for long: agents may have finished meanwhile what a timer would end, and have not come back
    /// to report it. They try again after pauses that grow with the outage.
    pub(super) fn mind_the_gap(&mut self) {
        let now = self.context.clock.moment();
        let gap = now.saturating_sub(self.sure_at);
        if gap > FRESH_FOR {
            let again = self.context.clock.now().after(gap.min(REPORTED_AGAIN_WITHIN));
            self.timers_from = self.timers_from.max(again);
        }
        self.sure_at = now;
    }

    /// Returns how long it is until a timer may fire: none of them before everything that was left
    /// is decided, and before agents had time to report once more what they held in the meantime.
    pub(super) fn until_wake(&self) -> Option<Duration> {
        let wake = self.engine.next_wake()?;
        if planted::is(Bug::ForgetTimers) && self.engine.epoch() > 1 {
            return None;
        }
        let at = wake.at.max(self.timers_from);
        (self.backlog == Backlog::Decided).then(|| self.context.clock.until(at))
    }
}
