//! The seeds that failed once.

use skep_sim::simulation;
use skep_testkit::{Fault, Faults};

#[test]
fn seeds_that_failed_once_hold() {
    let seeds = include_str!("../seeds.txt").lines().filter_map(|line| line.parse().ok());
    let failed: Vec<_> = seeds.filter_map(|seed| simulation(seed).run().err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

/// As long as no machine and no message fails, no step is performed twice at the same time, not
/// even by a handler that takes its time to stop.
#[test]
fn what_is_told_to_stop_has_stopped_before_the_next_one_begins() {
    let orderly: Faults = [Fault::HandlerFails, Fault::ClientsMeddle].into_iter().collect();
    let mut told_to_stop = 0;
    for seed in 0..400 {
        let outcome = simulation(seed).faults(orderly.clone()).run_once().unwrap();
        told_to_stop += outcome.reached.get("agent told to cancel").copied().unwrap_or_default();
    }
    assert!(told_to_stop > 0, "nothing had to stop");
}
