use std::collections::BTreeSet;

use proptest::prelude::*;
use skep_protocol::{RunId, StepPath};

use super::*;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + ms)
}

fn id(number: u64) -> AttemptId {
    let run = RunId::from_key("w", "k");
    AttemptId { run, step: StepPath::new(&format!("s{number}")), attempt: 1 }
}

fn policy() -> Policy {
    Policy { slow: Duration::from_secs(5), min_calls: 4, ..Breaker::usual() }
}

const WELL: Call = Call { failed: false, took: Duration::from_millis(10) };
const BADLY: Call = Call { failed: true, took: Duration::from_millis(10) };
const SLOWLY: Call = Call { failed: false, took: Duration::from_secs(6) };

fn opened(ms: u64) -> Breaker {
    let mut breaker = Breaker::new(policy());
    for number in 0..4 {
        breaker.ended(&id(number), BADLY, at(ms));
    }
    assert_eq!(breaker.phase(), BreakerPhase::Open);
    breaker
}

fn probe(breaker: &mut Breaker, number: u64, call: Call, ms: u64) -> Option<Turn> {
    assert!(breaker.passes(at(ms)), "probe {number} is let through");
    breaker.admit(&id(number), at(ms));
    breaker.ended(&id(number), call, at(ms))
}

#[test]
fn it_opens_at_the_threshold_and_not_before() {
    let mut breaker = Breaker::new(policy());
    let calls = [BADLY, WELL, WELL, BADLY];
    let turns: Vec<_> =
        calls.iter().zip(0..).map(|(call, n)| breaker.ended(&id(n), *call, at(n))).collect();
    assert_eq!(turns, [None, None, None, Some(Turn::Opened)]);
    let open = breaker.opened().unwrap();
    assert_eq!(open.cause, "2 of 4 calls failed in the last 30 s");
    assert_eq!(open.until, Some(at(15_003)));
    assert!(!breaker.passes(at(4)));
}

#[test]
fn slow_calls_open_it_as_well() {
    let mut breaker = Breaker::new(policy());
    for number in 0..4 {
        breaker.ended(&id(number), SLOWLY, at(0));
    }
    assert_eq!(
        breaker.opened().unwrap().cause,
        "4 of 4 calls took longer than 5 s in the last 30 s"
    );
    let mut usual = Breaker::new(Breaker::usual());
    for number in 0..100 {
        assert_eq!(usual.ended(&id(number), SLOWLY, at(0)), None, "nothing is slow by itself");
    }
}

#[test]
fn failures_of_long_ago_count_no_more() {
    let mut breaker = Breaker::new(policy());
    for number in 0..100 {
        assert_eq!(breaker.ended(&id(number), BADLY, at(number * 12_000)), None);
    }
}

#[test]
fn probes_are_bounded_and_close_it_in_waves() {
    let mut breaker = opened(0);
    assert!(breaker.is_due(at(15_000)) && !breaker.is_due(at(14_999)));
    breaker.half_open();
    for number in 10..13 {
        assert!(breaker.passes(at(15_000)));
        breaker.admit(&id(number), at(15_000));
    }
    assert!(!breaker.passes(at(15_000)), "three probes are under way");
    assert_eq!(breaker.ended(&id(10), WELL, at(15_010)), None);
    assert!(!breaker.passes(at(15_010)), "one that ended is not followed by another");
    assert_eq!(breaker.ended(&id(11), WELL, at(15_020)), Some(Turn::Healed));
    assert_eq!(breaker.phase(), BreakerPhase::Closing);
    for wave in [12, 48, 192] {
        let under_way: Vec<u64> = (wave * 10..)
            .take_while(|n| {
                let passes = breaker.passes(at(15_030));
                breaker.admit(&id(*n), at(15_030));
                passes
            })
            .collect();
        assert_eq!(under_way.len() as u64, wave);
        breaker.withdraw(&id(wave * 11));
        for number in under_way {
            breaker.ended(&id(number), WELL, at(15_030));
        }
        breaker.tick(at(15_030));
    }
    assert_eq!(breaker.phase(), BreakerPhase::Closed);
}

#[test]
fn probes_that_fail_make_it_wait_longer() {
    let mut breaker = opened(0);
    let mut cooldowns = Vec::new();
    for round in 0..6 {
        let open = breaker.opened().unwrap().clone();
        let until = open.until.unwrap();
        cooldowns.push(until.since(open.since).as_millis());
        breaker.half_open();
        let ms = until.since(at(0)).as_millis().try_into().unwrap();
        assert_eq!(probe(&mut breaker, 100 + round, BADLY, ms), None);
        assert_eq!(probe(&mut breaker, 200 + round, BADLY, ms), Some(Turn::Opened));
    }
    assert_eq!(cooldowns, [15_000, 22_500, 33_750, 50_625, 60_000, 60_000]);
    assert_eq!(breaker.opened().unwrap().cause, "2 of 2 calls failed since it was half-open");
}

#[test]
fn lost_probes_wedge_nothing() {
    let mut breaker = opened(0);
    breaker.half_open();
    for number in 10..13 {
        breaker.admit(&id(number), at(15_000));
    }
    assert!(!breaker.passes(at(29_999)));
    assert_eq!(breaker.next_wake(at(15_000)), Some(at(30_000)));
    assert!(breaker.passes(at(30_000)), "their leases are over");
    assert_eq!(probe(&mut breaker, 20, WELL, 30_000), None);
    assert_eq!(breaker.ended(&id(10), WELL, at(30_001)), Some(Turn::Healed), "late, and welcome");
}

#[test]
fn what_began_before_it_opened_says_nothing_of_the_time_after() {
    let mut breaker = opened(0);
    assert_eq!(breaker.ended(&id(1), WELL, at(1)), None);
    breaker.half_open();
    for number in 0..9 {
        assert_eq!(breaker.ended(&id(number), BADLY, at(15_001)), None);
    }
    assert_eq!(breaker.phase(), BreakerPhase::HalfOpen);
}

#[test]
fn a_wave_ends_by_time_when_nothing_is_to_do() {
    let mut breaker = opened(0);
    breaker.half_open();
    probe(&mut breaker, 10, WELL, 15_000);
    probe(&mut breaker, 11, WELL, 15_000);
    let mut now = at(15_000);
    while let Some(at) = breaker.next_wake(now) {
        now = at;
        breaker.tick(now);
    }
    assert_eq!(breaker.phase(), BreakerPhase::Closed);
    assert!(now <= at(30_000), "within one cool-down: {now}");
}

#[test]
fn what_opens_again_at_once_waits_longer() {
    let mut breaker = opened(0);
    breaker.half_open();
    probe(&mut breaker, 10, WELL, 15_000);
    probe(&mut breaker, 11, WELL, 15_000);
    for number in 20..22 {
        assert_eq!(probe(&mut breaker, number, BADLY, 15_100), None);
    }
    assert_eq!(probe(&mut breaker, 22, BADLY, 15_100), Some(Turn::Opened));
    assert_eq!(breaker.opened().unwrap().until, Some(at(15_100 + 22_500)));
}

#[derive(Debug, Clone)]
enum Step {
    Call,
    End { which: usize, well: bool },
    Lose { which: usize },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Call),
        4 => (0..40_usize, prop::bool::weighted(0.4))
            .prop_map(|(which, well)| Step::End { which, well }),
        1 => (0..40_usize).prop_map(|which| Step::Lose { which }),
        2 => (0..9_000_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// I-14, seen from outside: it opens only past the threshold, no more probes are under way than
    /// there may be, and whatever got lost, it goes on.
    #[test]
    fn it_is_neither_hasty_nor_wedged(steps in prop::collection::vec(step(), 1..300)) {
        let mut breaker = Breaker::new(policy());
        let (mut ms, mut next) = (0, 0);
        let mut under_way: Vec<(u64, u64)> = Vec::new();
        for step in steps {
            let before = breaker.phase();
            let counts = breaker.counts(at(ms));
            match step {
                Step::Call if breaker.passes(at(ms)) => {
                    next += 1;
                    breaker.admit(&id(next), at(ms));
                    under_way.push((next, ms));
                }
                Step::Call => prop_assert!(before != BreakerPhase::Closed),
                Step::End { which, well } if which < under_way.len() => {
                    let (number, _) = under_way.remove(which);
                    let turn = breaker.ended(&id(number), if well { WELL } else { BADLY }, at(ms));
                    if turn == Some(Turn::Opened) {
                        let least = if before == BreakerPhase::Closed { 4 } else { 2 };
                        prop_assert!(counts[0] + 1 >= least, "{counts:?}");
                        let probing = before == BreakerPhase::HalfOpen;
                        let calls = if probing { 3 } else { counts[0] + 1 };
                        prop_assert!((counts[1] + u32::from(!well)) * 2 >= calls, "{counts:?}");
                    }
                }
                Step::Lose { which } if which < under_way.len() => {
                    under_way.remove(which);
                }
                Step::End { .. } | Step::Lose { .. } => {}
                Step::Pass(more) => ms += more,
            }
            breaker.tick(at(ms));
            if breaker.is_due(at(ms)) {
                breaker.half_open();
                under_way.retain(|_| false);
            }
            if breaker.phase() == BreakerPhase::HalfOpen {
                let lease = u64::try_from(breaker.lease().as_millis()).unwrap();
                let alive = under_way.iter().filter(|(_, since)| since + lease > ms).count();
                prop_assert!(alive <= 3, "{alive} probes");
            }
        }
        heals(breaker, ms);
    }
}

/// Once calls go well, everything passes again within two of the longest cool-downs.
fn heals(mut breaker: Breaker, mut ms: u64) {
    let end = ms + 2 * 60_000 + 15_000;
    let mut seen = BTreeSet::new();
    for number in 1_000_000.. {
        breaker.tick(at(ms));
        if breaker.is_due(at(ms)) {
            breaker.half_open();
        }
        seen.insert(breaker.phase() as u8);
        if breaker.phase() == BreakerPhase::Closed {
            return;
        }
        assert!(ms < end, "still {:?} after {seen:?}", breaker.phase());
        if breaker.passes(at(ms)) {
            breaker.admit(&id(number), at(ms));
            breaker.ended(&id(number), WELL, at(ms + 5));
        }
        ms += 250;
    }
}
