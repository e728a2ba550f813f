//! The standing of one agent: well, in quarantine, probed, on parole.
//!
//! Outlier detection as in Envoy: an agent is judged by how its attempts end, against the other
//! agents of the same pool, so that a capability that fails everywhere empties no pool. It is out
//! for longer each time, comes back by a single attempt, then on parole, and never more than a set
//! share of a pool, over both lanes, is out at the same time.

use std::time::Duration;

use skep_protocol::limits::MAX_QUARANTINED_PER_MILLE;
use skep_protocol::{AgentStanding, QuarantineRecord, Ration, Timestamp};

use super::window::Window;

/// How far back attempts count.
pub(super) const WINDOW: Duration = Duration::from_secs(300);
/// Fewer attempts than this, its own or those of the others, say nothing.
const MIN_CALLS: u32 = 5;
/// An agent is an outlier from this share of failures on, in thousandths…
const LEAST_RATE: u64 = 500;
/// …if that is so much more than the share of the others.
const LEAST_GAP: u64 = 300;
/// How long an agent is out for the first time, and so much longer each time after that.
const FIRST_TERM: Duration = Duration::from_secs(30);
const LONGEST_TERM: Duration = Duration::from_secs(300);
/// Attempts that have to go well on parole.
const PAROLE: u32 = 5;
/// An agent that was well for so long has nothing on its record any more.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// How an agent does.
#[derive(Debug)]
pub(super) struct Health {
    /// Attempts, and failed ones.
    window: Window<2>,
    standing: Standing,
    /// How often it was out, and when that ended last.
    times: u32,
    well_since: Option<Timestamp>,
}

#[derive(Debug)]
enum Standing {
    Well,
    Out(QuarantineRecord),
    Probed(QuarantineRecord),
    Parole { record: QuarantineRecord, left: u32 },
}

/// How an attempt shows the agent that ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Showing {
    Well,
    /// With a failure that may be the answer.
    Answered,
    Failed,
}

/// What an attempt says of the agent that ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// It may be an outlier: the others have to be looked at.
    Suspect,
    /// It failed again although it was being watched.
    Relapse,
    /// It did well on parole.
    Paroled,
}

impl Health {
    pub(super) const fn new() -> Self {
        let window = Window::new(WINDOW);
        Self { window, standing: Standing::Well, times: 0, well_since: None }
    }

    /// Returns how many attempts it may have in its hands, if that is bounded.
    pub(super) const fn at_a_time(&self) -> Option<usize> {
        match self.standing {
            Standing::Well | Standing::Parole { .. } => None,
            Standing::Out(_) => Some(0),
            Standing::Probed(_) => Some(1),
        }
    }

    /// Returns how much it may pull. What several coordinators say of one agent has to agree, and
    /// they share no more than the board: whoever is on it pulls one task at a time at most.
    pub(super) const fn ration(&self) -> Ration {
        match self.standing {
            Standing::Well => Ration::Full,
            Standing::Out(_) => Ration::AtMost(0),
            Standing::Probed(_) | Standing::Parole { .. } => Ration::AtMost(1),
        }
    }

    /// Returns whether it takes no or hardly any work.
    pub(super) const fn is_out(&self) -> bool {
        self.at_a_time().is_some()
    }

    /// An attempt in its hands ended.
    pub(super) fn ended(&mut self, failed: bool, now: Timestamp) -> Option<Finding> {
        match &mut self.standing {
            Standing::Out(_) => None,
            Standing::Well => {
                self.window.add([1, u32::from(failed)], now);
                failed.then_some(Finding::Suspect)
            }
            Standing::Probed(_) | Standing::Parole { .. } if failed => Some(Finding::Relapse),
            Standing::Probed(record) => {
                self.standing = Standing::Parole { record: record.clone(), left: PAROLE };
                None
            }
            Standing::Parole { left, .. } => {
                *left -= 1;
                (*left == 0).then(|| {
                    self.release(now);
                    Finding::Paroled
                })
            }
        }
    }

    /// Returns attempts and failed ones that count at the moment.
    pub(super) fn counts(&self, now: Timestamp) -> [u32; 2] {
        self.window.counts(now)
    }

    /// Returns what is written down when it goes out once more.
    pub(super) fn sentence(&self, cause: String, now: Timestamp) -> QuarantineRecord {
        let forgiven = self.well_since.is_some_and(|since| now.since(since) > FORGIVEN_AFTER);
        let times = if forgiven { 1 } else { self.times.saturating_add(1) };
        let until = Some(now.after(FIRST_TERM.saturating_mul(times).min(LONGEST_TERM)));
        QuarantineRecord { since: now, until, cause, times, by: None }
    }

    pub(super) fn put_out(&mut self, record: QuarantineRecord) {
        self.window.clear();
        self.times = record.times;
        self.standing = Standing::Out(record);
    }

    /// The term is over: it is tried with one attempt at a time.
    pub(super) fn probe(&mut self, now: Timestamp) {
        if let Standing::Out(record) = &self.standing
            && record.until.is_some_and(|until| until <= now)
        {
            self.standing = Standing::Probed(record.clone());
        }
    }

    /// Out it cannot be: it is tried with one attempt at a time.
    pub(super) fn hold_back(&mut self) {
        if let Standing::Parole { record, .. } = &self.standing {
            self.standing = Standing::Probed(record.clone());
        }
    }

    pub(super) fn release(&mut self, now: Timestamp) {
        self.window.clear();
        self.well_since = Some(now);
        self.standing = Standing::Well;
    }

    pub(super) const fn standing(&self) -> AgentStanding {
        match self.standing {
            Standing::Well => AgentStanding::Well,
            Standing::Out(_) => AgentStanding::Quarantined,
            Standing::Probed(_) => AgentStanding::Probed,
            Standing::Parole { .. } => AgentStanding::Paroled,
        }
    }

    /// Returns why it is, or was, out.
    pub(super) const fn record(&self) -> Option<&QuarantineRecord> {
        match &self.standing {
            Standing::Well => None,
            Standing::Out(record) | Standing::Probed(record) => Some(record),
            Standing::Parole { record, .. } => Some(record),
        }
    }
}

/// Says why an agent fails far more than the others of its pool, if it does.
pub(super) fn outlier(own: [u32; 2], others: [u32; 2]) -> Option<String> {
    let [calls, failed] = own;
    let outlier = calls >= MIN_CALLS
        && others[0] >= MIN_CALLS
        && rate(own) >= LEAST_RATE
        && rate(own) >= rate(others) + LEAST_GAP;
    outlier.then(|| {
        let peers = rate(others) / 10;
        format!("{failed} of its {calls} attempts failed, {peers} % of those of the others")
    })
}

/// Returns whether an agent fails so often that the others have to be looked at.
pub(super) fn is_suspect([calls, failed]: [u32; 2]) -> bool {
    failed > 0 && u64::from(failed) * 1_000 >= LEAST_RATE * u64::from(calls)
}

/// Returns whether a failure is nothing special among these attempts.
pub(super) fn is_common(attempts: [u32; 2]) -> bool {
    attempts[0] >= MIN_CALLS && rate(attempts) > LEAST_RATE - LEAST_GAP
}

/// Returns the failed ones of some attempts, in thousandths.
fn rate([calls, failed]: [u32; 2]) -> u64 {
    u64::from(failed) * 1_000 / u64::from(calls.max(1))
}

/// Returns how many agents of a pool may be out.
pub(super) fn most_out(pool: usize) -> usize {
    pool.saturating_mul(usize::from(MAX_QUARANTINED_PER_MILLE)) / 1_000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    #[test]
    fn an_outlier_fails_more_than_its_peers() {
        assert_eq!(
            outlier([6, 6], [40, 2]).unwrap(),
            "6 of its 6 attempts failed, 5 % of those of the others"
        );
        assert_eq!(outlier([4, 4], [40, 2]), None, "too few of its own");
        assert_eq!(outlier([6, 6], [4, 0]), None, "too few of the others");
        assert_eq!(outlier([6, 6], [40, 30]), None, "all of them fail");
        assert_eq!(outlier([10, 4], [40, 0]), None, "less than half");
    }

    #[test]
    fn a_share_of_the_pool_stays() {
        assert_eq!((0..=10).map(most_out).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]);
    }

    #[test]
    fn the_way_back_is_a_probe_and_a_parole() {
        let mut health = Health::new();
        health.put_out(health.sentence("why".to_owned(), at(0)));
        assert_eq!(health.at_a_time(), Some(0));
        health.probe(at(29_999));
        assert_eq!(health.standing(), AgentStanding::Quarantined);
        health.probe(at(30_000));
        assert_eq!((health.standing(), health.at_a_time()), (AgentStanding::Probed, Some(1)));
        assert_eq!(health.ended(false, at(30_000)), None);
        assert_eq!((health.standing(), health.at_a_time()), (AgentStanding::Paroled, None));
        for _ in 1..PAROLE {
            assert_eq!(health.ended(false, at(30_001)), None);
        }
        assert_eq!(health.ended(false, at(30_002)), Some(Finding::Paroled));
        assert_eq!(health.standing(), AgentStanding::Well);
        assert_eq!(health.sentence(String::new(), at(40_000)).times, 2);
        assert_eq!(health.sentence(String::new(), at(700_000)).times, 1, "forgiven");
    }

    #[test]
    fn who_relapses_is_out_for_longer() {
        let mut health = Health::new();
        let mut terms = Vec::new();
        let mut now = 0;
        for _ in 0..12 {
            let record = health.sentence("why".to_owned(), at(now));
            let term = record.until.unwrap().since(at(now)).as_secs();
            terms.push(term);
            health.put_out(record);
            now += term * 1_000;
            health.probe(at(now));
            assert_eq!(health.ended(true, at(now)), Some(Finding::Relapse));
        }
        assert_eq!(terms[..4], [30, 60, 90, 120]);
        assert_eq!(terms[11], 300);
    }

    proptest! {
        #[test]
        fn nobody_is_an_outlier_who_does_as_the_others(calls in 1..500_u32, failed in 0..500_u32) {
            let failed = failed.min(calls);
            prop_assert_eq!(outlier([calls, failed], [calls, failed]), None);
        }
    }
}
