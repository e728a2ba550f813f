//! A simulator counts once it was seen to catch: each planted bug is found.

#![cfg(feature = "planted-bugs")]
#![expect(clippy::print_stdout, reason = "which seed it was is worth knowing")]

use skep_sim::simulation;
use skep_testkit::planted::{Bug, plant};

/// Within so many seeds each bug has to be found.
const WITHIN: u64 = 1_000;

fn is_found(bug: Bug) {
    // A seed that fails without the bug, too, has not found it.
    let found = (0..WITHIN).find_map(|seed| {
        plant(Some(bug));
        let failed = simulation(seed).run_once().err();
        plant(None);
        failed.filter(|_| simulation(seed).run_once().is_ok())
    });
    match found {
        Some(failed) => println!("{bug:?} is found: {failed}"),
        None => panic!("{bug:?} is not found by {WITHIN} seeds"),
    }
}

#[test]
fn a_skipped_fence() {
    is_found(Bug::SkipFence);
}

#[test]
fn an_applied_stale_report() {
    is_found(Bug::ApplyStaleReport);
}

#[test]
fn forgotten_timers() {
    is_found(Bug::ForgetTimers);
}

#[test]
fn an_effect_before_its_record() {
    is_found(Bug::PerformTooSoon);
}

#[test]
fn compensations_in_the_order_of_their_steps() {
    is_found(Bug::CompensateForwards);
}

#[test]
fn a_leaked_probe() {
    is_found(Bug::LeakProbe);
}

#[test]
fn what_left_and_counts_as_never_begun() {
    is_found(Bug::TakeBackWhatLeft);
}

#[test]
fn a_lost_attempt_under_its_old_number() {
    is_found(Bug::SendLostAgain);
}
