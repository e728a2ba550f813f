//! What is broken when, and when it is mended: it follows from a seed alone.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::chance::Chance;

/// A process that faults happen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Coordinator(usize),
    Agent(usize),
    Server(usize),
    /// One that was started by somebody else, and named by its process id.
    Other(usize),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, at) = match self {
            Self::Coordinator(at) => ("coordinator", at),
            Self::Agent(at) => ("agent", at),
            Self::Server(at) => ("nats-server", at),
            Self::Other(at) => ("process", at),
        };
        write!(f, "{what} {}", at + 1)
    }
}

/// How the connections of a process are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weather {
    /// Everything passes.
    #[default]
    Fair,
    /// Connections are closed, and none can be made.
    Cut,
    /// Nothing passes in either direction, and nobody is told.
    Stalled,
    /// What the process sends is held back; what it is sent passes.
    Mute,
    /// What the process is sent is held back; what it sends passes.
    Deaf,
    /// Everything passes late.
    Slow,
}

/// What happens to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// SIGKILL; it is started again afterwards.
    Kill,
    /// SIGTERM; it ends when it has handed over or finished, and is started again.
    Drain,
    /// SIGSTOP, and SIGCONT afterwards.
    Stop,
    /// Something is wrong with its connections.
    Link(Weather),
}

impl Fault {
    /// Returns the word of the report.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Drain => "drain",
            Self::Stop => "stop",
            Self::Link(Weather::Cut) => "cut",
            Self::Link(Weather::Stalled) => "stall",
            Self::Link(Weather::Mute) => "mute",
            Self::Link(Weather::Deaf) => "deaf",
            Self::Link(Weather::Slow) => "slow",
            Self::Link(Weather::Fair) => "fair",
        }
    }
}

/// One fault, and how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blow {
    pub(super) at: Duration,
    pub(super) lasts: Duration,
    pub(super) target: Target,
    pub(super) fault: Fault,
}

/// Who there is to be hit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cast {
    pub(super) coordinators: usize,
    pub(super) agents: usize,
    pub(super) servers: usize,
    pub(super) others: usize,
}

impl Cast {
    /// Returns the targets in groups: each group is hit as often as any other.
    fn groups(self) -> Vec<Vec<Target>> {
        let of = |count: usize, target: fn(usize) -> Target| (0..count).map(target).collect();
        let groups: [Vec<Target>; 4] = [
            of(self.coordinators, Target::Coordinator),
            of(self.agents, Target::Agent),
            of(self.servers, Target::Server),
            of(self.others, Target::Other),
        ];
        groups.into_iter().filter(|group| !group.is_empty()).collect()
    }
}

const fn seconds(least: u64, most: u64) -> RangeInclusive<Duration> {
    Duration::from_millis(least)..=Duration::from_millis(most)
}

/// How long a killed process stays away.
const AWAY: RangeInclusive<Duration> = seconds(200, 4_000);
/// A short pause, and one that is longer than anybody waits for a heartbeat.
const STOPPED: [RangeInclusive<Duration>; 2] = [seconds(500, 3_000), seconds(8_000, 15_000)];
/// How long nothing else happens to a process that drains.
const DRAINED: RangeInclusive<Duration> = seconds(3_000, 3_000);
/// How long connections are bad.
const BAD: RangeInclusive<Duration> = seconds(1_000, 12_000);
/// Once in so many kills of a server of several, all of them are killed.
const ALL_SERVERS: u64 = 4;

/// Makes the faults of a run: a kill each time `every` has passed, and between two kills often
/// a stop, a drain or bad connections. Nobody is hit while something is wrong with it, and of
/// several servers one is away at a time, or all.
pub(super) fn schedule(
    seed: u64,
    lasts: Duration,
    every: &RangeInclusive<Duration>,
    cast: Cast,
) -> Vec<Blow> {
    let mut maker = Maker { chance: Chance::new(seed), cast, busy: BTreeMap::new(), made: vec![] };
    let mut at = maker.chance.between(every);
    while at < lasts {
        maker.kill(at);
        let next = at + maker.chance.between(every);
        if maker.chance.one_in(2) {
            let between = maker.chance.between(&(at..=next));
            maker.trouble(between);
        }
        at = next;
    }
    maker.made.retain(|blow| blow.at < lasts);
    maker.made.sort_by_key(|blow| blow.at);
    maker.made
}

struct Maker {
    chance: Chance,
    cast: Cast,
    /// Until when something is wrong.
    busy: BTreeMap<Target, Duration>,
    made: Vec<Blow>,
}

impl Maker {
    fn kill(&mut self, at: Duration) {
        let Some(target) = self.choose(at, |_| true) else { return };
        let lasts = self.chance.between(&AWAY);
        let all = self.cast.servers > 1 && self.chance.one_in(ALL_SERVERS);
        if matches!(target, Target::Server(_)) && all {
            for server in (0..self.cast.servers).map(Target::Server) {
                self.hit(Blow { at, lasts, target: server, fault: Fault::Kill });
            }
            return;
        }
        self.hit(Blow { at, lasts, target, fault: Fault::Kill });
    }

    fn trouble(&mut self, at: Duration) {
        let links = [Weather::Cut, Weather::Stalled, Weather::Mute, Weather::Deaf, Weather::Slow];
        let (fault, range) = match (self.chance.below(5), self.chance.pick(&links)) {
            (0, _) => (Fault::Drain, DRAINED),
            (1 | 2, Some(weather)) => (Fault::Link(weather), BAD),
            _ => (Fault::Stop, STOPPED[usize::from(self.chance.one_in(2))].clone()),
        };
        let own = |target| matches!(target, Target::Coordinator(_) | Target::Agent(_));
        let Some(target) = self.choose(at, |target| fault == Fault::Stop || own(target)) else {
            return;
        };
        let lasts = self.chance.between(&range);
        self.hit(Blow { at, lasts, target, fault });
    }

    /// Chooses whom to hit: first a group, then one of it with which nothing is wrong.
    fn choose(&mut self, at: Duration, may: impl Fn(Target) -> bool) -> Option<Target> {
        let is_busy = |target: &Target| self.busy.get(target).is_some_and(|until| *until >= at);
        let servers_busy = (0..self.cast.servers).map(Target::Server).any(|one| is_busy(&one));
        let free = |target: &Target| {
            let waits = matches!(target, Target::Server(_)) && servers_busy;
            may(*target) && !is_busy(target) && !waits
        };
        let groups = self.cast.groups().into_iter();
        let mut groups: Vec<Vec<Target>> =
            groups.map(|group| group.into_iter().filter(free).collect()).collect();
        groups.retain(|group| !group.is_empty());
        let at = usize::try_from(self.chance.below(groups.len().max(1) as u64)).ok()?;
        self.chance.pick(groups.get(at)?)
    }

    fn hit(&mut self, blow: Blow) {
        self.busy.insert(blow.target, blow.at + blow.lasts);
        self.made.push(blow);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const CAST: Cast = Cast { coordinators: 3, agents: 4, servers: 3, others: 0 };
    const HOUR: Duration = Duration::from_secs(3_600);

    fn of_seed(seed: u64) -> Vec<Blow> {
        schedule(seed, HOUR, &seconds(10_000, 20_000), CAST)
    }

    #[test]
    fn it_follows_from_the_seed() {
        assert_eq!(of_seed(7), of_seed(7));
        assert_ne!(of_seed(7), of_seed(8));
    }

    #[test]
    fn there_is_a_kill_each_time_and_every_fault_in_an_hour() {
        let blows = of_seed(1);
        let mut kills: Vec<_> =
            blows.iter().filter(|blow| blow.fault == Fault::Kill).map(|blow| blow.at).collect();
        kills.dedup();
        let gaps: Vec<_> = kills.windows(2).map(|two| two[1] - two[0]).collect();
        let (least, most) = (Duration::from_secs(10), Duration::from_secs(20));
        assert!(gaps.iter().all(|gap| (least..=most).contains(gap)), "{gaps:?}");
        let kinds: BTreeSet<_> = blows.iter().map(|blow| blow.fault.word()).collect();
        let all = ["cut", "deaf", "drain", "kill", "mute", "slow", "stall", "stop"];
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
        let killed = |fault| {
            let of = blows.iter().filter(|blow| blow.fault == fault);
            of.map(|blow| std::mem::discriminant(&blow.target)).collect::<Vec<_>>().len()
        };
        assert!(killed(Fault::Kill) > 200 && killed(Fault::Stop) > 20);
    }

    #[test]
    fn nobody_is_hit_twice_at_once_and_servers_go_one_at_a_time_or_all() {
        for seed in 0..50 {
            let blows = of_seed(seed);
            for (number, one) in blows.iter().enumerate() {
                for other in &blows[number + 1..] {
                    let overlap = other.at <= one.at + one.lasts;
                    let servers = |blow: &Blow| matches!(blow.target, Target::Server(_));
                    let together = one.at == other.at && one.lasts == other.lasts;
                    assert!(!overlap || one.target != other.target, "{one:?} {other:?}");
                    assert!(
                        !overlap || together || !servers(one) || !servers(other),
                        "{one:?} {other:?}"
                    );
                }
            }
        }
    }
}
