//! Takes the time of every case, or lets somebody else count its instructions.
//!
//! `cargo xtask bench` reads what it prints:
//!
//! ```text
//! time<TAB>NAME<TAB>EACH<TAB>nanoseconds of the processor for each
//! yardstick<TAB>nanoseconds
//! counted<TAB>NAME<TAB>EACH<TAB>how many of these
//! ```

#![expect(clippy::print_stdout, reason = "what is printed is what was measured")]

mod clock;

use std::any::Any;
use std::env;
use std::time::Duration;

use criterion::{BatchSize, Criterion};
use skep_benches::{Case, Work, cases};

use clock::Clock;

/// How often everything is measured: whoever disturbs one round is gone in the next, perhaps.
const ROUNDS: usize = 2;

/// That of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    match arguments.next().as_deref() {
        Some("--count") => count(&arguments.next().unwrap_or_default()),
        Some(_) | None => time(),
    }
}

/// Takes the time; arguments are criterion's.
fn time() {
    let clock = Clock::default();
    let mut criterion = Criterion::default()
        .with_measurement(clock.clone())
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .without_plots()
        .configure_from_args();
    let cases = cases();
    let mut least = vec![None; cases.len()];
    for _ in 0..ROUNDS {
        for (case, least) in cases.iter().zip(&mut least) {
            criterion.bench_function(case.name(), |bencher| {
                bencher.iter_batched(|| case.prepare(), |work| work(), BatchSize::PerIteration);
            });
            let seen = [*least, clock.figure()].into_iter().flatten();
            *least = seen.min_by(f64::total_cmp);
        }
    }
    for (case, least) in cases.iter().zip(least) {
        if let Some(least) = least {
            println!("time\t{}\t{}\t{}", case.name(), case.each(), least / case.times());
        }
    }
    if let Some(yardstick) = clock.yardstick() {
        println!("yardstick\t{yardstick}");
    }
}

/// Does the work of every case once under the eyes of a profiler, which collects within
/// [`counted_work`] and begins anew at [`next_case`].
fn count(filter: &str) {
    for case in cases().iter().filter(|case| case.name().contains(filter)) {
        drop(case.prepare()());
        let work = case.prepare();
        drop(counted_work(work));
        next_case(case);
    }
}

#[inline(never)]
fn counted_work(work: Work) -> Box<dyn Any> {
    work()
}

#[inline(never)]
fn next_case(case: &Case) {
    println!("counted\t{}\t{}\t{}", case.name(), case.each(), case.times());
}
