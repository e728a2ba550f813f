//! The time of the processor, so that it does not count how long others had it.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};
use rustix::time::{ClockId, clock_gettime};

/// How often the yardstick is measured.
const YARDSTICK_EVERY: Duration = Duration::from_millis(20);
/// Numbers that are written down and read for the yardstick.
const NUMBERS: u32 = 1_000;
/// Whatever disturbs makes it longer: this part of what was measured was disturbed the least.
const LEAST_DISTURBED: usize = 10;

/// Measures the time of the processor, each iteration for itself, and beside it a yardstick: how
/// long this machine takes for a piece of work that never changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(Rc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    iterations: RefCell<Vec<f64>>,
    yardsticks: RefCell<Vec<f64>>,
    last: Cell<Option<Duration>>,
}

impl Clock {
    /// Returns how many nanoseconds an iteration takes that nobody disturbs, and forgets them all.
    pub(crate) fn figure(&self) -> Option<f64> {
        undisturbed(self.0.iterations.take())
    }

    /// Returns how many nanoseconds the yardstick takes, if nobody disturbs.
    pub(crate) fn yardstick(&self) -> Option<f64> {
        undisturbed(self.0.yardsticks.take())
    }

    fn measure_yardstick(&self) {
        let due = self.0.last.get().is_none_or(|last| now() > last + YARDSTICK_EVERY);
        if due {
            // The first time, it may have to fetch what others had in their place.
            write_and_read_numbers();
            let start = now();
            write_and_read_numbers();
            let end = now();
            self.0.yardsticks.borrow_mut().push(nanoseconds(end.saturating_sub(start)));
            self.0.last.set(Some(end));
        }
    }
}

fn undisturbed(mut measured: Vec<f64>) -> Option<f64> {
    measured.sort_by(f64::total_cmp);
    measured.get(measured.len().checked_sub(1)? / LEAST_DISTURBED).copied()
}

fn write_and_read_numbers() {
    let mut text = String::with_capacity(16);
    for number in 0..NUMBERS {
        text.clear();
        let _ = write!(text, "{}.{}", black_box(number) * 7_919, number % 97);
        let _ = black_box(text.parse::<f64>());
    }
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs().try_into().unwrap_or(0))
}

fn nanoseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

impl Measurement for Clock {
    type Intermediate = Duration;
    type Value = f64;

    fn start(&self) -> Duration {
        self.measure_yardstick();
        now()
    }

    fn end(&self, start: Duration) -> f64 {
        let took = nanoseconds(now().saturating_sub(start));
        self.0.iterations.borrow_mut().push(took);
        took
    }

    fn add(&self, one: &f64, other: &f64) -> f64 {
        one + other
    }

    fn zero(&self) -> f64 {
        0.0
    }

    fn to_f64(&self, value: &f64) -> f64 {
        *value
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Microseconds
    }
}

struct Microseconds;

impl ValueFormatter for Microseconds {
    fn scale_values(&self, _: f64, values: &mut [f64]) -> &'static str {
        values.iter_mut().for_each(|value| *value /= 1e3);
        "µs"
    }

    fn scale_throughputs(&self, typical: f64, _: &Throughput, values: &mut [f64]) -> &'static str {
        self.scale_values(typical, values)
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "ns"
    }
}
