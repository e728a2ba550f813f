//! Rounds: what begins in a later round of a group, of a `for_each` or of a run waits until nothing
//! of an earlier one is left that is to stop.
//!
//! A stop that ends costs what is around its step. Who waits for it is looked at when it was the
//! last one of its round, and otherwise once in a second.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::{once, successors};

use skep_protocol::{AttemptId, RunId, StepPath, Timestamp};

use crate::Round;

/// What has rounds: a run, or something inside it.
type Scope = (RunId, Option<StepPath>);

/// Who has to do with the rounds of which scope.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rounds(BTreeMap<Scope, Members>);

/// Who has to do with the rounds of a scope.
#[derive(Debug, Default, PartialEq, Eq)]
struct Members {
    /// Attempts that are owed and belong to a later round.
    owed: BTreeSet<(u32, AttemptId)>,
    /// Those of them that wait for others to stop.
    behind: BTreeSet<AttemptId>,
    /// What is to stop, by round, and when that was told.
    stopping: BTreeMap<u32, BTreeSet<(Timestamp, AttemptId)>>,
}

impl Members {
    fn is_empty(&self) -> bool {
        self.owed.is_empty() && self.behind.is_empty() && self.stopping.is_empty()
    }
}

/// Returns the round of an attempt in everything it is inside of; these are its later ones, as far
/// as they are known.
pub(super) fn all_rounds(id: &AttemptId, later: &[Round]) -> Vec<Round> {
    let around = successors(id.step.around(), StepPath::around).map(|around| {
        let inside = Some(around);
        let known = later.iter().find(|round| round.inside == inside);
        Round { number: known.map_or(0, |round| round.number), inside }
    });
    once(round_of_run(id)).chain(around).collect()
}

/// Returns the round of an attempt in its run.
fn round_of_run(id: &AttemptId) -> Round {
    match id.step.compensated() {
        Some(_) => Round::UNWINDING,
        None => Round { inside: None, number: 0 },
    }
}

/// Returns what a path is inside of, as [`StepPath::around`] does, without a copy.
fn around(path: &str) -> Option<&str> {
    path.rsplit_once(['/', '[']).map(|(around, _)| around)
}

impl Rounds {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Returns the first rounds of an attempt, in its run and in what is known around it. Its path
    /// may be made up, and very deep.
    pub(super) fn known_around(&self, id: &AttemptId) -> Vec<Round> {
        let known = self.nearest(id).filter(|(path, known)| *path == known.as_str());
        let known = known.map(|(_, known)| Round { inside: Some(known.clone()), number: 0 });
        once(round_of_run(id)).chain(known).collect()
    }

    /// Returns each path around an attempt that may be known, and the last known one that does not
    /// come after it. That one begins with every wider path that is known; so after the first there
    /// are no more of them than it is deep.
    pub(super) fn nearest<'a>(
        &'a self,
        id: &'a AttemptId,
    ) -> impl Iterator<Item = (&'a str, &'a StepPath)> {
        let look = |path| {
            let until = (id.run, Some(StepPath::new(path)));
            let ((_, last), _) = self.0.range((id.run, None)..=until).next_back()?;
            Some((path, last.as_ref()?))
        };
        let innermost = id.step.compensated().is_none().then(|| around(id.step.as_str()));
        successors(innermost.flatten().and_then(look), move |(path, last)| {
            let mut wider = successors(around(path), |path| around(path));
            wider.find(|path| last.as_str().starts_with(path)).and_then(look)
        })
    }

    /// An attempt is owed.
    pub(super) fn track(&mut self, id: &AttemptId, rounds: &[Round]) {
        for round in rounds {
            self.of(id, round).owed.insert((round.number, id.clone()));
        }
    }

    /// An attempt is not owed any more.
    pub(super) fn forget(&mut self, id: &AttemptId, rounds: &[Round]) {
        for round in rounds {
            self.of(id, round).owed.remove(&(round.number, id.clone()));
            self.tidy(id, round);
        }
    }

    /// An attempt has to wait.
    pub(super) fn wait(&mut self, id: &AttemptId, rounds: &[Round]) {
        for round in rounds {
            self.of(id, round).behind.insert(id.clone());
        }
    }

    /// An attempt waits no more.
    pub(super) fn go_on(&mut self, id: &AttemptId, rounds: &[Round]) {
        for round in rounds {
            self.of(id, round).behind.remove(id);
            self.tidy(id, round);
        }
    }

    /// An attempt is to stop.
    pub(super) fn stop(&mut self, id: &AttemptId, told: Timestamp, rounds: &[Round]) {
        for round in rounds {
            let stopping = self.of(id, round).stopping.entry(round.number).or_default();
            stopping.insert((told, id.clone()));
        }
    }

    /// An attempt has stopped. Returns who waits where it was the last one of its round.
    pub(super) fn has_stopped(
        &mut self,
        id: &AttemptId,
        told: Timestamp,
        rounds: &[Round],
    ) -> BTreeSet<AttemptId> {
        let mut free = BTreeSet::new();
        for round in rounds {
            let members = self.of(id, round);
            let Some(stopping) = members.stopping.get_mut(&round.number) else { continue };
            stopping.remove(&(told, id.clone()));
            if stopping.is_empty() {
                members.stopping.remove(&round.number);
                free.extend(members.behind.iter().cloned());
                self.tidy(id, round);
            }
        }
        free
    }

    /// Returns what an attempt may have to wait for: what was told to stop last, of each round
    /// before one of its own.
    pub(super) fn before(
        &self,
        id: &AttemptId,
        rounds: &[Round],
    ) -> impl Iterator<Item = &AttemptId> {
        let members = rounds.iter().filter_map(|round| Some((self.known(id, round)?, round)));
        let earlier = members.flat_map(|(members, round)| members.stopping.range(..round.number));
        earlier.filter_map(|(_, stopping)| stopping.last()).map(|(_, last)| last)
    }

    /// Returns when an attempt of the same round was told to stop last.
    pub(super) fn told(&self, id: &AttemptId, round: &Round) -> Option<Timestamp> {
        let stopping = self.known(id, round)?.stopping.get(&round.number)?;
        stopping.last().map(|(told, _)| *told)
    }

    /// Returns the last round of which something is owed.
    pub(super) fn latest(&self, id: &AttemptId, round: &Round) -> u32 {
        let last = self.known(id, round).and_then(|members| members.owed.last());
        last.map_or(0, |(number, _)| *number)
    }

    /// Returns what is owed of rounds after this one.
    pub(super) fn later(&self, id: &AttemptId, round: &Round) -> impl Iterator<Item = &AttemptId> {
        let owed = self.known(id, round).into_iter().flat_map(|members| members.owed.iter().rev());
        owed.take_while(|(number, _)| *number > round.number).map(|(_, id)| id)
    }

    fn known(&self, id: &AttemptId, round: &Round) -> Option<&Members> {
        self.0.get(&(id.run, round.inside.clone()))
    }

    fn of(&mut self, id: &AttemptId, round: &Round) -> &mut Members {
        self.0.entry((id.run, round.inside.clone())).or_default()
    }

    fn tidy(&mut self, id: &AttemptId, round: &Round) {
        let scope = (id.run, round.inside.clone());
        if self.0.get(&scope).is_some_and(Members::is_empty) {
            self.0.remove(&scope);
        }
    }
}
