//! Circuit breakers as all coordinators know them: each counts the calls of its own runs, and holds
//! their work.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use skep_broker::Broker;
use skep_protocol::{
    BreakerPhase, BreakerShare, BreakerView, ClusterBreakers, Command, CommandReply, CoordinatorId,
    PartitionId, Query, QueryReply,
};
use tokio::time::{Instant, timeout_at};

use super::State;
use super::turns::Turn;

/// How long the others may take to say what they know.
const WITHIN: Duration = Duration::from_secs(1);
/// Partitions by which one of them is asked: it may have handed over those before.
const TRIES: usize = 4;

/// What coordinators know, by their names.
type Shares = BTreeMap<CoordinatorId, Vec<BreakerView>>;

impl<B: Broker> State<B> {
    /// Returns what this coordinator knows.
    pub(super) async fn own_breakers(&self) -> ClusterBreakers {
        summed(self.own_share().await, Vec::new())
    }

    /// Asks every coordinator that has work. Who does not answer in time is named.
    pub(super) async fn all_breakers(&self, turn: &mut Turn) -> ClusterBreakers {
        let until = Instant::now() + WITHIN;
        // Who has not looked yet knows nobody to ask.
        let _ = turn.while_waiting(timeout_at(until, self.members.known())).await;
        let others = self.members.neighbours();
        let asking = others.iter().map(|(id, serves)| self.share_of(id, serves, until));
        // With too many questions under way, nobody is asked.
        let told = turn.while_waiting(join_all(asking)).await.unwrap_or_default();
        let mut told = told.into_iter();
        let mut shares = self.own_share().await;
        let mut missing = Vec::new();
        for (id, _) in others {
            match told.next() {
                Some(Some(more)) => shares.extend(more),
                Some(None) | None => missing.push(id),
            }
        }
        missing.retain(|id| !shares.contains_key(id));
        summed(shares, missing)
    }

    async fn own_share(&self) -> Shares {
        Shares::from([(self.members.me().clone(), self.fleet.breakers().await)])
    }

    /// Asks a coordinator for its share, by the partitions that it is said to serve. Others answer
    /// for those that it handed over since, and have a share as well; if that is so of all of them,
    /// it has no work any more. `None` if somebody did not answer.
    async fn share_of(
        &self,
        id: &CoordinatorId,
        serves: &[PartitionId],
        until: Instant,
    ) -> Option<Shares> {
        let (mut shares, mut answered) = (Shares::new(), true);
        for partition in serves.iter().take(TRIES) {
            match self.share_by(*partition, until).await {
                Some((who, breakers)) => {
                    // An older one does not say who it is.
                    shares.insert(who.unwrap_or_else(|| id.clone()), breakers);
                }
                None => answered = false,
            }
            if shares.contains_key(id) {
                return Some(shares);
            }
        }
        answered.then_some(shares)
    }

    /// Asks whoever serves a partition who it is and what it knows.
    async fn share_by(
        &self,
        partition: PartitionId,
        until: Instant,
    ) -> Option<(Option<CoordinatorId>, Vec<BreakerView>)> {
        let ask = Command::Ask(Query::Breakers { everywhere: true });
        let asked = timeout_at(until, self.broker.command(partition, ask)).await;
        let Ok(Ok(CommandReply::Answer(reply))) = asked else { return None };
        if let QueryReply::Breakers(breakers) = *reply {
            return Some((None, breakers));
        }
        let QueryReply::ClusterBreakers(own) = *reply else { return None };
        Some((own.told_by.into_iter().next(), own.breakers))
    }
}

/// Adds up what coordinators know, breaker by breaker.
fn summed(told: Shares, missing: Vec<CoordinatorId>) -> ClusterBreakers {
    let told_by = told.keys().cloned().collect();
    let mut breakers: BTreeMap<String, BreakerView> = BTreeMap::new();
    for (coordinator, views) in told {
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
        let all = summed(told.into(), Vec::new());
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
