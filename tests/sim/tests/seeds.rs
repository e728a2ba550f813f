//! The seeds that failed once.

use skep_sim::simulation;

#[test]
fn seeds_that_failed_once_hold() {
    let seeds = include_str!("../seeds.txt").lines().filter_map(|line| line.parse().ok());
    let failed: Vec<_> = seeds.filter_map(|seed| simulation(seed).run().err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
}
