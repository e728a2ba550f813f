//! The broker as one process sees it, through a network that follows from a seed.

mod carry;
mod hear;
mod port;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skep_broker::Embedded;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::faults::{Fault, Faults};
use crate::link::Link;
use crate::witness::Witness;

/// What all processes share.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) broker: Embedded,
    pub(crate) witness: Arc<Witness>,
    chance: Mutex<Chance>,
    weather: Mutex<Weather>,
    /// The disk of the broker is full.
    full: AtomicBool,
    /// Messages on their way: they arrive although their sender may be dead by then.
    travelling: Mutex<JoinSet<()>>,
    /// How many messages there were at this moment.
    at_once: Mutex<(Instant, u32)>,
}

/// With more messages than this at the same moment, time stands still.
const TOO_MANY: u32 = 50_000;

/// How bad the network is at the moment.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    pub(crate) faults: Faults,
    /// Of a thousand messages, so many have trouble.
    pub(crate) trouble: u64,
}

impl Network {
    pub(crate) fn new(broker: Embedded, witness: Arc<Witness>, chance: Chance) -> Arc<Self> {
        Arc::new(Self {
            broker,
            witness,
            chance: Mutex::new(chance),
            weather: Mutex::new(Weather { faults: Faults::none(), trouble: 0 }),
            full: AtomicBool::new(false),
            travelling: Mutex::default(),
            at_once: Mutex::new((Instant::now(), 0)),
        })
    }

    /// Draws something by chance.
    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut Chance) -> T) -> T {
        draw(&mut lock(&self.chance))
    }

    /// Returns whether a kind of fault may happen at the moment.
    pub(crate) fn has(&self, fault: Fault) -> bool {
        lock(&self.weather).faults.has(fault)
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        *lock(&self.weather) = weather;
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// Lets a message travel on its own.
    fn travel(&self, message: impl Future<Output = ()> + Send + 'static) {
        let mut travelling = lock(&self.travelling);
        while travelling.try_join_next().is_some() {}
        travelling.spawn(message);
    }

    /// Ends every journey.
    pub(crate) fn close(&self) {
        lock(&self.travelling).abort_all();
    }

    /// Decides what becomes of a message.
    fn fate(&self, call: Call) -> Fate {
        self.watch_time();
        let weather = lock(&self.weather);
        let mut chance = lock(&self.chance);
        let calm = weather.faults == Faults::none();
        let mut fate = Fate { yields: chance.below(3), ..Fate::default() };
        if weather.faults.has(Fault::Delay) || !calm {
            fate.before = latency(&mut chance);
            fate.after = latency(&mut chance);
        }
        if calm || chance.below(1_000) >= weather.trouble {
            return fate;
        }
        let patience = Duration::from_millis(500 + chance.below(10_000));
        match chance.below(5) {
            0 if weather.faults.has(Fault::Loss) => fate.trouble = Trouble::Lost(patience),
            1 if weather.faults.has(Fault::Loss) => fate.trouble = Trouble::AnswerLost(patience),
            2 if weather.faults.has(Fault::Ghost) && call.changes => {
                let later = Duration::from_millis(chance.below(15_000));
                fate.trouble = Trouble::Ghost(patience, later);
            }
            kind if weather.faults.has(Fault::Repeat)
                && call.repeats
                && (kind == 3 || weather.trouble == 1_000) =>
            {
                // What is repeated at once comes before a short run is over.
                let later = match weather.trouble {
                    1_000 => *chance.pick(&[0, 1, 20, 4_000]),
                    _ => chance.below(5_000),
                };
                fate.repeat = Some(Duration::from_millis(later));
            }
            _ if weather.faults.has(Fault::Delay) => {
                let slow = Duration::from_secs(6);
                fate.before = chance.between(Duration::ZERO, slow);
                fate.after = chance.between(Duration::ZERO, slow);
            }
            _ => {}
        }
        fate
    }

    /// Nobody may send messages without end while no time passes.
    fn watch_time(&self) {
        let mut at_once = lock(&self.at_once);
        let now = Instant::now();
        *at_once = if at_once.0 == now { (now, at_once.1 + 1) } else { (now, 0) };
        if at_once.1 > TOO_MANY {
            self.witness.violated("I-16", "time stands still".to_owned());
        }
    }

    /// Returns whether something that is only heard gets lost.
    fn is_unheard(&self) -> bool {
        let weather = lock(&self.weather);
        weather.faults.has(Fault::Loss) && lock(&self.chance).below(1_000) < weather.trouble
    }
}

/// Most messages take no time worth mentioning; that is where their order comes from.
fn latency(chance: &mut Chance) -> Duration {
    match chance.below(8) {
        0..=4 => Duration::ZERO,
        5 | 6 => Duration::from_millis(1 + chance.below(3)),
        _ => Duration::from_millis(chance.below(60)),
    }
}

/// What is known of an operation.
#[derive(Debug, Clone, Copy)]
struct Call {
    /// Whether it changes anything, and so makes a difference if it is done later.
    changes: bool,
    /// Whether it may arrive twice.
    repeats: bool,
}

/// What becomes of one message.
#[derive(Debug, Default)]
struct Fate {
    yields: u64,
    before: Duration,
    after: Duration,
    trouble: Trouble,
    repeat: Option<Duration>,
}

#[derive(Debug, Default)]
enum Trouble {
    #[default]
    None,
    Lost(Duration),
    AnswerLost(Duration),
    /// Its sender learns nothing after the first duration, it is done after the second.
    Ghost(Duration, Duration),
}

/// The broker as one process sees it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) network: Arc<Network>,
    pub(crate) link: Arc<Link>,
}

impl Client {
    pub(crate) fn new(network: &Arc<Network>, link: &Arc<Link>) -> Self {
        Self { network: Arc::clone(network), link: Arc::clone(link) }
    }

    fn witness(&self) -> &Witness {
        &self.network.witness
    }
}

pub(crate) fn lock<T>(guarded: &Mutex<T>) -> MutexGuard<'_, T> {
    guarded.lock().unwrap_or_else(PoisonError::into_inner)
}
