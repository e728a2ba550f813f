//! The circuit breaker of one capability, or of one step: closed, open, half-open, closing.
//!
//! After Nygard's "Release It!" and the breakers of Hystrix and resilience4j: failure rate and
//! slow-call rate over a sliding window, a least number of calls, a cool-down, a bounded number of
//! probes. Three things are different, because work is parked and not turned away: each probe has
//! a lease, so that one that is never heard of again holds nobody up; the cool-down grows while
//! probes fail; and a breaker closes in waves, or the backlog would hit at once what has just
//! recovered.

mod round;
#[cfg(test)]
mod tests;

use std::time::Duration;

use skep_protocol::{AttemptId, BreakerPhase, Timestamp};
use skep_workflow::{Breaker as Policy, Share};

use super::window::Window;
use crate::planted::{self, Bug};
use round::Round;

/// How much longer each cool-down is than the one before, in halves of it.
const BACKOFF: (u32, u32) = (3, 2);
/// No cool-down is longer than so many of the first.
const MOST_COOLDOWNS: u32 = 4;
/// One that is closed is looked at so often, to be forgotten when nothing is left to count.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Waves before everything passes; each is four times as large as the one before, the first four
/// times as large as the number of probes.
const WAVES: u32 = 3;
const WAVE_GROWTH: u32 = 4;

/// How a call ended, as a breaker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    /// What was called could not do its work.
    pub(super) failed: bool,
    pub(super) took: Duration,
}

/// What counts of the calls of a capability, and when to act on it.
#[derive(Debug)]
pub(super) struct Breaker {
    policy: Policy,
    state: State,
    /// Calls, failed ones, slow ones.
    window: Window<3>,
    /// How often in a row it opened.
    trips: u32,
    /// When it closed last.
    closed: Option<Timestamp>,
}

#[derive(Debug)]
enum State {
    Closed,
    Open(Open),
    HalfOpen(Open, Round),
    Closing { wave: u32, since: Timestamp, round: Round },
}

/// Why and how long it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) since: Timestamp,
    /// The end of the cool-down; none if a person opened it, who then has to close it, too.
    pub(super) until: Option<Timestamp>,
    pub(super) cause: String,
    pub(super) trips: u32,
}

/// How a breaker changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Opened,
    /// The probes went well: work passes again, in waves.
    Healed,
}

impl Breaker {
    pub(super) const fn new(policy: Policy) -> Self {
        let window = Window::new(policy.window);
        Self { policy, state: State::Closed, window, trips: 0, closed: None }
    }

    /// Returns the policy of a capability whose steps say nothing about it.
    ///
    /// No call is slow: how long a call may take is known to nobody but the step.
    pub(super) const fn usual() -> Policy {
        Policy {
            failure_rate: Share::HALF,
            slow_rate: Share::ALL,
            slow: Duration::MAX,
            window: Duration::from_secs(30),
            min_calls: 10,
            cooldown: Duration::from_secs(15),
            probes: 3,
        }
    }

    /// Takes over what a newer definition says; what was counted stays.
    pub(super) fn set_policy(&mut self, policy: &Policy) {
        if self.policy != *policy {
            self.window.set_span(policy.window);
            self.policy = policy.clone();
        }
    }

    /// Returns whether one more call may be made.
    pub(super) fn passes(&self, now: Timestamp) -> bool {
        match &self.state {
            State::Closed => true,
            State::Open(_) => false,
            State::HalfOpen(_, round) => round.used(now) < self.policy.probes,
            State::Closing { wave, round, .. } => round.under_way(now) < self.wave_size(*wave),
        }
    }

    /// Returns whether calls are turned away for what is known, rather than asked to wait a moment:
    /// once the cool-down is over, the next call may be the one that probes.
    pub(super) fn refuses(&self, now: Timestamp) -> bool {
        matches!(self.state, State::Open(_) | State::HalfOpen(..))
            && !self.passes(now)
            && !self.is_due(now)
    }

    /// A call is made. Returns whether its end is waited for.
    pub(super) fn admit(&mut self, id: &AttemptId, now: Timestamp) -> bool {
        let lease = match planted::is(Bug::LeakProbe) {
            true => Timestamp::from_millis(u64::MAX),
            false => now.after(self.lease()),
        };
        match &mut self.state {
            State::Closed | State::Open(_) => false,
            State::HalfOpen(_, round) | State::Closing { round, .. } => {
                round.admit(id, lease);
                true
            }
        }
    }

    /// A call came to nothing: it was never made, or nobody knows how it ended.
    pub(super) fn withdraw(&mut self, id: &AttemptId) {
        match &mut self.state {
            State::Closed | State::Open(_) => {}
            State::HalfOpen(..) | State::Closing { .. } if planted::is(Bug::LeakProbe) => {}
            State::HalfOpen(_, round) | State::Closing { round, .. } => round.withdraw(id),
        }
    }

    /// A call ended. What began before the breaker opened says nothing about the time after it.
    pub(super) fn ended(&mut self, id: &AttemptId, call: Call, now: Timestamp) -> Option<Turn> {
        let slow = call.took > self.policy.slow;
        let counts = [1, u32::from(call.failed), u32::from(slow && !call.failed)];
        match &mut self.state {
            State::Open(_) => return None,
            State::Closed => self.window.add(counts, now),
            State::HalfOpen(_, round) | State::Closing { round, .. } => {
                if !round.ended(id, counts) {
                    return None;
                }
            }
        }
        self.judge(now)
    }

    /// Looks at what was counted.
    fn judge(&mut self, now: Timestamp) -> Option<Turn> {
        let policy = &self.policy;
        match &self.state {
            State::Open(_) => None,
            State::Closed => {
                let counts = self.window.counts(now);
                if counts[0] < policy.min_calls {
                    return None;
                }
                let cause = self.too_many(counts, counts[0])?;
                let span = policy.window;
                Some(self.open(format!("{cause} in the last {}", seconds(span)), now))
            }
            State::HalfOpen(_, round) => {
                let [calls, failed, slow] = round.counts;
                if let Some(cause) = self.too_many(round.counts, policy.probes) {
                    return Some(self.open(format!("{cause} since it was half-open"), now));
                }
                let left = policy.probes.saturating_sub(calls);
                let worst = [policy.probes, failed + left, slow + left];
                if self.too_many(worst, policy.probes).is_some() {
                    return None;
                }
                self.close(now);
                Some(Turn::Healed)
            }
            State::Closing { round, .. } => {
                let [calls, ..] = round.counts;
                if calls < policy.probes.min(policy.min_calls) {
                    return None;
                }
                let cause = self.too_many(round.counts, calls)?;
                Some(self.open(format!("{cause} since it was closing"), now))
            }
        }
    }

    /// Says which share is too large, if one is, of so many calls.
    fn too_many(&self, [calls, failed, slow]: [u32; 3], of: u32) -> Option<String> {
        let reaches = |count: u32, share: Share| {
            count > 0 && u64::from(count) * 1_000 >= u64::from(share.per_mille()) * u64::from(of)
        };
        if reaches(failed, self.policy.failure_rate) {
            return Some(format!("{failed} of {calls} calls failed"));
        }
        reaches(slow, self.policy.slow_rate).then(|| {
            let bound = seconds(self.policy.slow);
            format!("{slow} of {calls} calls took longer than {bound}")
        })
    }

    fn open(&mut self, cause: String, now: Timestamp) -> Turn {
        let calm = |closed: Timestamp| now.since(closed) > self.policy.window;
        let again = !matches!(self.state, State::Closed) || !self.closed.is_none_or(calm);
        self.trips = if again { self.trips.saturating_add(1) } else { 1 };
        let until = Some(now.after(self.cooldown()));
        self.open_as(Open { since: now, until, cause, trips: self.trips });
        Turn::Opened
    }

    /// Forgets what was counted while it is closed.
    pub(super) fn forget_counts(&mut self) {
        if matches!(self.state, State::Closed) {
            self.window.clear();
        }
    }

    /// Opens for a reason that came from outside.
    pub(super) fn open_as(&mut self, open: Open) {
        self.trips = open.trips;
        self.window.clear();
        self.state = State::Open(open);
    }

    /// The cool-down is over, and the probes are this coordinator's to make.
    pub(super) fn half_open(&mut self) {
        if let State::Open(open) = &self.state {
            let open = Open { until: None, ..open.clone() };
            self.state = State::HalfOpen(open, Round::new());
        }
    }

    /// Closes in waves.
    pub(super) fn close(&mut self, now: Timestamp) {
        self.window.clear();
        self.state = State::Closing { wave: 1, since: now, round: Round::new() };
    }

    /// Time has passed: a lease may have ended, or a wave.
    pub(super) fn tick(&mut self, now: Timestamp) {
        while let State::Closing { wave, since, round } = &mut self.state {
            let over = now >= since.after(self.policy.cooldown / (WAVES + 1));
            let well = round.counts[0] >= WAVE_GROWTH.pow(*wave).saturating_mul(self.policy.probes);
            if !(well || (over && (round.counts[0] > 0 || round.under_way(now) == 0))) {
                return;
            }
            if *wave < WAVES {
                (*wave, *since) = (*wave + 1, now);
                round.forget_counts();
                continue;
            }
            self.state = State::Closed;
            self.closed = Some(now);
        }
    }

    /// Returns when it wants to be looked at next.
    pub(super) fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.state {
            State::Closed => None,
            State::Open(open) => open.until,
            State::HalfOpen(_, round) => round.next_lease(now),
            State::Closing { since, round, .. } => {
                let wave = since.after(self.policy.cooldown / (WAVES + 1));
                let lease = round.next_lease(now);
                [Some(wave), lease].into_iter().flatten().filter(|at| *at > now).min()
            }
        }
    }

    /// Returns whether the cool-down is over and somebody has to probe.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        matches!(&self.state, State::Open(Open { until: Some(until), .. }) if *until <= now)
    }

    /// Returns whether nothing would be lost with it.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        let calm = |closed: Timestamp| now.since(closed) > self.policy.window;
        matches!(self.state, State::Closed)
            && self.window.counts(now)[0] == 0
            && self.closed.is_none_or(calm)
    }

    /// Returns how often in a row it opened.
    pub(super) const fn trips(&self) -> u32 {
        self.trips
    }

    pub(super) const fn phase(&self) -> BreakerPhase {
        match self.state {
            State::Closed => BreakerPhase::Closed,
            State::Open(_) => BreakerPhase::Open,
            State::HalfOpen(..) => BreakerPhase::HalfOpen,
            State::Closing { .. } => BreakerPhase::Closing,
        }
    }

    /// Returns why it is open, if it is open or half-open.
    pub(super) const fn opened(&self) -> Option<&Open> {
        match &self.state {
            State::Open(open) | State::HalfOpen(open, _) => Some(open),
            State::Closed | State::Closing { .. } => None,
        }
    }

    /// Returns calls, failed ones and slow ones that count at the moment.
    pub(super) fn counts(&self, now: Timestamp) -> [u32; 3] {
        match &self.state {
            State::Closed | State::Open(_) => self.window.counts(now),
            State::HalfOpen(_, round) | State::Closing { round, .. } => round.counts,
        }
    }

    /// Returns how many calls may be under way at the moment, if that is bounded.
    pub(super) fn at_a_time(&self) -> Option<u32> {
        match &self.state {
            State::Closed => None,
            State::Open(_) | State::HalfOpen(..) => Some(self.policy.probes),
            State::Closing { wave, .. } => Some(self.wave_size(*wave)),
        }
    }

    /// Returns how long a probe is waited for: after it, another one goes.
    pub(super) fn lease(&self) -> Duration {
        let slow =
            if self.policy.slow == Duration::MAX { Duration::ZERO } else { self.policy.slow };
        self.policy.cooldown.max(slow.saturating_mul(2))
    }

    fn wave_size(&self, wave: u32) -> u32 {
        WAVE_GROWTH.saturating_pow(wave).saturating_mul(self.policy.probes)
    }

    fn cooldown(&self) -> Duration {
        let first = self.policy.cooldown;
        let mut cooldown = first;
        for _ in 1..self.trips.min(8) {
            cooldown = cooldown.saturating_mul(BACKOFF.0) / BACKOFF.1;
        }
        cooldown.min(first.saturating_mul(MOST_COOLDOWNS))
    }
}

/// Writes a duration for people.
pub(super) fn seconds(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms.is_multiple_of(1_000) { format!("{} s", ms / 1_000) } else { format!("{ms} ms") }
}
