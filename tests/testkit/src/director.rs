//! Lets faults happen, one after the other, and takes them back.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::chance::Chance;
use crate::faults::{Fault, Faults};
use crate::host::Clockwork;
use crate::link::Role;
use crate::network::Weather;
use crate::world::World;

/// What ends a fault.
#[derive(Debug, Clone, Copy)]
enum Relief {
    Start(usize),
    GoOn(usize),
    Mend(usize),
    Room,
}

/// A fault that happens at a moment of its own.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Process(Role, Deed),
    Broker,
    Disk,
    Clock,
}

/// What happens to a process.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Dies,
    Stops,
    CutOff,
    Drains,
}

fn blow(fault: Fault) -> Option<Blow> {
    let blow = match fault {
        Fault::CoordinatorDies => Blow::Process(Role::Coordinator, Deed::Dies),
        Fault::CoordinatorStops => Blow::Process(Role::Coordinator, Deed::Stops),
        Fault::CoordinatorCutOff => Blow::Process(Role::Coordinator, Deed::CutOff),
        Fault::CoordinatorDrains => Blow::Process(Role::Coordinator, Deed::Drains),
        Fault::AgentDies => Blow::Process(Role::Agent, Deed::Dies),
        Fault::AgentStops => Blow::Process(Role::Agent, Deed::Stops),
        Fault::AgentCutOff => Blow::Process(Role::Agent, Deed::CutOff),
        Fault::AgentDrains => Blow::Process(Role::Agent, Deed::Drains),
        Fault::BrokerRestarts => Blow::Broker,
        Fault::DiskFull => Blow::Disk,
        Fault::ClockJumps => Blow::Clock,
        Fault::Delay
        | Fault::Loss
        | Fault::Ghost
        | Fault::Repeat
        | Fault::HandlerFails
        | Fault::ClientsMeddle => return None,
    };
    Some(blow)
}

/// Lets faults happen.
pub(crate) struct Director<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) clockwork: &'a Clockwork,
    pub(crate) chance: Chance,
    pub(crate) faults: Faults,
    /// How bad the network is, if that does not change.
    pub(crate) trouble: Option<u64>,
}

impl Director<'_> {
    /// Lets faults happen for a while, then heals everything.
    pub(crate) async fn run(mut self, lasts: Duration) {
        let blows: Vec<_> = self.faults.iter().filter_map(blow).collect();
        let end = Instant::now() + lasts;
        let mut reliefs: Vec<(Instant, Relief)> = Vec::new();
        let longest = Duration::from_secs(*self.chance.pick(&[2, 6, 15]));
        let mut next = Instant::now() + self.chance.between(Duration::ZERO, longest);
        while Instant::now() < end {
            reliefs.sort_by_key(|(at, _)| *at);
            let due = reliefs.first().map_or(end, |(at, _)| *at);
            sleep_until(due.min(next).min(end)).await;
            let now = Instant::now();
            while reliefs.first().is_some_and(|(at, _)| *at <= now) {
                let (_, relief) = reliefs.remove(0);
                self.relieve(relief);
            }
            if next <= now {
                next = now + self.chance.between(Duration::from_millis(1), longest);
                self.change_weather();
                if !blows.is_empty() {
                    let blow = *self.chance.pick(&blows);
                    reliefs.extend(self.strike(blow));
                }
            }
        }
        self.world.heal();
        while self.world.revive() {
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// At times the network is good, at times it is bad.
    pub(crate) fn change_weather(&mut self) {
        let drawn = *self.chance.pick(&[0, 0, 5, 20, 100]);
        let trouble = self.trouble.unwrap_or(drawn);
        self.world.network().set_weather(Weather { faults: self.faults.clone(), trouble });
    }

    fn strike(&mut self, blow: Blow) -> Option<(Instant, Relief)> {
        match blow {
            Blow::Process(role, deed) => {
                let at = *self.chance.pick(&self.world.of(role));
                let (longest, relief) = self.hit(at, deed);
                let lasts = self.chance.between(Duration::ZERO, Duration::from_secs(longest));
                Some((Instant::now() + lasts, relief))
            }
            Blow::Broker => {
                self.tell("broker restarts", "the broker");
                self.world.network().broker.forget_volatile();
                None
            }
            Blow::Disk => {
                self.tell("disk full", "the broker");
                self.world.network().set_full(true);
                let lasts = self.chance.between(Duration::ZERO, Duration::from_secs(20));
                Some((Instant::now() + lasts, Relief::Room))
            }
            Blow::Clock => {
                self.tell("clock jumps", "the machine");
                self.clockwork.jump(self.chance.one_in(2));
                None
            }
        }
    }

    /// Lets something happen to a process; returns how many seconds it lasts at most, and its end.
    fn hit(&mut self, at: usize, deed: Deed) -> (u64, Relief) {
        let link = self.world.link(at);
        let (of_agent, name) = (link.role == Role::Agent, link.name.clone());
        let tell = |agent, coordinator| {
            self.tell(if of_agent { agent } else { coordinator }, &name);
        };
        match deed {
            Deed::Dies => {
                tell("agent dies", "coordinator dies");
                self.world.kill(at);
                (10, Relief::Start(at))
            }
            Deed::Stops => {
                tell("agent stops", "coordinator stops");
                link.stop();
                (40, Relief::GoOn(at))
            }
            Deed::CutOff => {
                tell("agent cut off", "coordinator cut off");
                link.cut(self.chance.between(Duration::ZERO, Duration::from_secs(8)));
                (40, Relief::Mend(at))
            }
            Deed::Drains => {
                tell("agent drains", "coordinator drains");
                self.world.drain(at);
                (15, Relief::Start(at))
            }
        }
    }

    fn tell(&self, what: &'static str, who: &str) {
        let witness = &self.world.network().witness;
        witness.reached(what);
        witness.note(|| format!("{who}: {what}"));
    }

    fn relieve(&mut self, relief: Relief) {
        match relief {
            Relief::Start(at) => self.world.start(at),
            Relief::GoOn(at) => self.world.link(at).go_on(),
            Relief::Mend(at) => self.world.link(at).mend(),
            Relief::Room => self.world.network().set_full(false),
        }
    }
}
