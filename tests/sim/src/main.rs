//! Plays seeds: one with everything that happens, or many, on every core.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]
#![expect(clippy::disallowed_methods, reason = "it measures itself by the real clock")]

use std::collections::BTreeMap;
use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use skep_sim::{POINTS, simulation};
use skep_testkit::Failed;

/// Where seeds are kept that failed once.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds.txt");
/// With fewer seeds than this, it is no wonder if some points were not reached.
const ENOUGH: u64 = 1_000;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
enum Asked {
    One(u64),
    Many { from: u64, count: u64, within: Duration },
}

fn main() -> ExitCode {
    match asked() {
        Some(Asked::One(seed)) => one(seed),
        Some(Asked::Many { from, count, within }) => many(from, count, within),
        None => {
            eprintln!("usage: skep-sim (--seed N | [--seeds N] [--from N] [--seconds N])");
            ExitCode::FAILURE
        }
    }
}

fn asked() -> Option<Asked> {
    let mut given = BTreeMap::new();
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        given.insert(name, arguments.next()?.parse::<u64>().ok()?);
    }
    if let Some(seed) = given.get("--seed") {
        return Some(Asked::One(*seed));
    }
    let or = |name: &str, otherwise| given.get(name).copied().unwrap_or(otherwise);
    Some(Asked::Many {
        from: or("--from", 0),
        count: or("--seeds", u64::MAX),
        within: Duration::from_secs(or("--seconds", 1 << 30)),
    })
}

/// Plays one seed and tells everything.
fn one(seed: u64) -> ExitCode {
    let (trace, failed) = match simulation(seed).traced().run() {
        Ok(outcome) => (outcome.trace, None),
        Err(failed) => (failed.trace.clone(), Some(failed)),
    };
    println!("{}", trace.join("\n"));
    match failed {
        None => ExitCode::SUCCESS,
        Some(failed) => {
            eprintln!("{failed}");
            ExitCode::FAILURE
        }
    }
}

/// What a sweep has found.
#[derive(Debug, Default)]
struct Found {
    reached: BTreeMap<&'static str, u64>,
    records: u64,
    failed: Vec<Failed>,
}

/// Plays many seeds on every core, until one fails.
fn many(from: u64, count: u64, within: Duration) -> ExitCode {
    let (next, played) = (AtomicU64::new(from), AtomicU64::new(0));
    let (stop, found) = (AtomicBool::new(false), Mutex::new(Found::default()));
    let began = Instant::now();
    let play = || {
        while !stop.load(Ordering::Relaxed) && began.elapsed() < within {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed - from >= count {
                return;
            }
            let outcome = simulation(seed).run();
            played.fetch_add(1, Ordering::Relaxed);
            let mut found = found.lock().expect("no holder panics");
            match outcome {
                Ok(outcome) => {
                    found.records += outcome.records;
                    for (point, times) in outcome.reached {
                        *found.reached.entry(point).or_default() += times;
                    }
                }
                Err(failed) => {
                    stop.store(true, Ordering::Relaxed);
                    found.failed.push(failed);
                }
            }
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(play);
        }
    });
    let found = found.into_inner().expect("no holder panics");
    tell(&found, played.into_inner(), began.elapsed())
}

fn tell(found: &Found, played: u64, took: Duration) -> ExitCode {
    for (point, times) in &found.reached {
        println!("{times:>10} {point}");
    }
    let rate = played as f64 / took.as_secs_f64().max(0.001);
    println!("{played} seeds, {} records, {took:.1?}, {rate:.1} seeds/s", found.records);
    let missing: Vec<_> =
        POINTS.iter().filter(|point| !found.reached.contains_key(*point)).collect();
    for failed in &found.failed {
        println!("{failed}");
        keep(failed.seed);
    }
    if !missing.is_empty() {
        println!("never reached: {missing:?}");
    }
    match found.failed.is_empty() && (missing.is_empty() || played < ENOUGH) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Keeps a seed that failed; the tests play it from then on.
fn keep(seed: u64) {
    let file = OpenOptions::new().append(true).create(true).open(KEPT);
    if let Err(error) = file.and_then(|mut file| writeln!(file, "{seed}")) {
        eprintln!("seed {seed} is not kept: {error}");
    }
}
