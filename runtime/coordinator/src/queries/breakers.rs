//! Circuit breakers as all coordinators know them: each counts the calls of its own runs, and holds
//! their work.

use std::collections::BTreeMap;

use skep_protocol::{
    BreakerPhase, BreakerShare, BreakerView, ClusterBreakers, CoordinatorId, Query, QueryReply,
};

use super::gather::{Gathered, Shared};
use crate::fleet_loop::FleetHandle;

impl Shared for BreakerView {
    const QUESTION: Query = Query::Breakers { everywhere: true };

    async fn own(fleet: &FleetHandle) -> Vec<Self> {
        fleet.breakers().await
    }

    fn read(reply: QueryReply) -> Option<(Option<CoordinatorId>, Vec<Self>)> {
        if let QueryReply::Breakers(breakers) = reply {
            return Some((None, breakers));
        }
        let QueryReply::ClusterBreakers(own) = reply else { return None };
        Some((own.told_by.into_iter().next(), own.breakers))
    }
}

/// Adds up what coordinators know, breaker by breaker.
pub(super) fn summed(gathered: Gathered<BreakerView>) -> ClusterBreakers {
    let Gathered { shares, missing } = gathered;
    let told_by = shares.keys().cloned().collect();
    let mut breakers: BTreeMap<String, BreakerView> = BTreeMap::new();
    for (coordinator, views) in shares {
        for view in views {
            let view = BreakerView { shares: vec![share(&coordinator, &view)], ..view };
            let sum = match breakers.remove(&view.name) {
                Some(sum) => both(sum, view),
                None => view,
            };
            breakers.insert(sum.name.clone(), sum);
        }
    }
    ClusterBreakers { breakers: breakers.into_values().collect(), told_by, missing }
}

fn share(coordinator: &CoordinatorId, view: &BreakerView) -> BreakerShare {
    BreakerShare {
        coordinator: coordinator.clone(),
        phase: view.phase,
        calls: view.calls,
        failed: view.failed,
        slow: view.slow,
        parked: view.parked,
    }
}

/// Adds what two coordinators know of a breaker. Its state is the one that matters most.
fn both(one: BreakerView, other: BreakerView) -> BreakerView {
    let waves = [&one, &other].map(|view| view.phase == BreakerPhase::Closing) == [true; 2];
    let waves = one.at_a_time.zip(other.at_a_time).filter(|_| waves);
    let (mut shares, leads) = (one.shares.clone(), weight(other.phase) > weight(one.phase));
    shares.extend(other.shares.iter().cloned());
    let (first, second) = if leads { (other, one) } else { (one, other) };
    BreakerView {
        calls: first.calls.saturating_add(second.calls),
        failed: first.failed.saturating_add(second.failed),
        slow: first.slow.saturating_add(second.slow),
        parked: first.parked.saturating_add(second.parked),
        // Each coordinator closes in waves of its own.
        at_a_time: waves.map_or(first.at_a_time, |(one, other)| Some(one.saturating_add(other))),
        shares,
        ..first
    }
}

/// Returns how much a state matters. One coordinator probes for all of them: to the others the
/// breaker is open meanwhile.
const fn weight(phase: BreakerPhase) -> u8 {
    match phase {
        BreakerPhase::Closed => 0,
        BreakerPhase::Closing => 1,
        BreakerPhase::Open => 2,
        BreakerPhase::HalfOpen => 3,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn view(name: &str, phase: BreakerPhase, calls: u32, parked: u32) -> BreakerView {
        BreakerView {
            name: name.to_owned(),
            capability: name.to_owned(),
            phase,
            calls,
            failed: calls / 2,
            slow: calls / 4,
            parked,
            since: None,
            until: None,
            cause: (phase != BreakerPhase::Closed).then(|| format!("{calls} calls")),
            trips: 0,
            at_a_time: (phase != BreakerPhase::Closed).then_some(calls),
            shares: Vec::new(),
        }
    }

    #[test]
    fn numbers_are_added_and_the_state_that_matters_most_is_told() {
        use BreakerPhase::{Closed, Closing, HalfOpen, Open};
        let told = [
            ("one", vec![view("closing", Closing, 4, 7), view("pay", Open, 0, 10)]),
            ("three", vec![view("alone", Closed, 8, 0), view("closing", Closing, 8, 2)]),
            ("two", vec![view("closing", Closed, 16, 0), view("pay", HalfOpen, 2, 5)]),
        ];
        let told = told.map(|(id, views)| (CoordinatorId::new(id).unwrap(), views));
        let all = summed(Gathered { shares: told.into(), missing: Vec::new() });
        let line = |view: &BreakerView| {
            let shares = view.shares.iter().map(|share| {
                let BreakerShare { coordinator, phase, calls, parked, .. } = share;
                format!("  {coordinator} {} {calls} calls, {parked} parked\n", phase.as_str())
            });
            let BreakerView { name, phase, calls, failed, slow, parked, at_a_time, .. } = view;
            let state = (phase.as_str(), view.cause.as_deref(), at_a_time);
            let shares = shares.collect::<String>();
            format!("{name} {state:?} {calls} {failed} {slow} {parked}\n{shares}")
        };
        expect![[r#"
            alone ("closed", None, None) 8 4 2 0
              three closed 8 calls, 0 parked
            closing ("closing", Some("4 calls"), Some(12)) 28 14 7 9
              one closing 4 calls, 7 parked
              three closing 8 calls, 2 parked
              two closed 16 calls, 0 parked
            pay ("half-open", Some("2 calls"), Some(2)) 2 1 0 15
              one open 0 calls, 10 parked
              two half-open 2 calls, 5 parked
        "#]]
        .assert_eq(&all.breakers.iter().map(line).collect::<String>());
        let told_by: Vec<_> = all.told_by.iter().map(CoordinatorId::as_str).collect();
        assert_eq!(told_by, ["one", "three", "two"]);
    }
}
