//! Agents as all coordinators know them: each hears every heartbeat, but sees only the attempts of
//! its own runs end.

use std::collections::BTreeMap;

use skep_protocol::{
    AgentHealth, AgentId, AgentStanding, AgentView, ClusterAgents, CoordinatorId, HealthShare,
    Query, QueryReply,
};

use super::gather::{Gathered, Shared};
use crate::fleet_loop::FleetHandle;

impl Shared for AgentView {
    const QUESTION: Query = Query::Agents { everywhere: true };

    async fn own(fleet: &FleetHandle) -> Vec<Self> {
        fleet.agents().await
    }

    fn read(reply: QueryReply) -> Option<(Option<CoordinatorId>, Vec<Self>)> {
        if let QueryReply::Agents(agents) = reply {
            return Some((None, agents));
        }
        let QueryReply::ClusterAgents(own) = reply else { return None };
        Some((own.told_by.into_iter().next(), own.agents))
    }
}

/// Adds up what coordinators know, agent by agent.
pub(super) fn summed(gathered: Gathered<AgentView>) -> ClusterAgents {
    let Gathered { shares, missing } = gathered;
    let told_by = shares.keys().cloned().collect();
    let mut agents: BTreeMap<AgentId, AgentView> = BTreeMap::new();
    for (coordinator, views) in shares {
        for view in views {
            let health = view.health.map(|health| of_one(&coordinator, health));
            let view = AgentView { health, ..view };
            let sum = match agents.remove(&view.agent) {
                Some(sum) => both(sum, view),
                None => view,
            };
            agents.insert(sum.agent.clone(), sum);
        }
    }
    ClusterAgents { agents: agents.into_values().collect(), told_by, missing }
}

fn of_one(coordinator: &CoordinatorId, health: AgentHealth) -> AgentHealth {
    let share = HealthShare {
        coordinator: coordinator.clone(),
        standing: health.standing,
        calls: health.calls,
        failed: health.failed,
    };
    AgentHealth { shares: vec![share], ..health }
}

/// Adds what two coordinators know of an agent. What it says itself is as it was heard last.
fn both(one: AgentView, other: AgentView) -> AgentView {
    let (earlier, latest) = if other.seen > one.seen { (one, other) } else { (other, one) };
    let health = match (earlier.health, latest.health) {
        (Some(one), Some(other)) => Some(of_both(one, other)),
        (one, other) => one.or(other),
    };
    AgentView { health, ..latest }
}

/// Adds what two coordinators have seen. Where one gives the agent no work, that is told.
fn of_both(one: AgentHealth, other: AgentHealth) -> AgentHealth {
    let leads = weight(other.standing) > weight(one.standing);
    let (first, second) = if leads { (other, one) } else { (one, other) };
    let mut shares = [first.shares, second.shares].concat();
    shares.sort_by(|a, b| a.coordinator.cmp(&b.coordinator));
    AgentHealth {
        calls: first.calls.saturating_add(second.calls),
        failed: first.failed.saturating_add(second.failed),
        standing: first.standing,
        quarantine: first.quarantine.or(second.quarantine),
        shares,
    }
}

/// Returns how much a standing matters: the less work an agent gets, the more.
const fn weight(standing: AgentStanding) -> u8 {
    match standing {
        AgentStanding::Well => 0,
        AgentStanding::Paroled => 1,
        AgentStanding::Probed => 2,
        AgentStanding::Quarantined => 3,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::{Value, json};

    use super::*;

    /// An agent as one coordinator knows it: since when, and how many attempts, of which failed.
    fn view(name: &str, seen: u64, standing: &str, [calls, failed]: [u32; 2]) -> AgentView {
        let record =
            json!({ "since": 7, "until": 9, "cause": format!("{failed} failed"), "times": 1 });
        let quarantine = if standing == "well" { Value::Null } else { record };
        let view = json!({
            "agent": name, "lane": "direct", "offers": [], "held": seen, "draining": false,
            "seen": seen, "software": "x",
            "health": {
                "calls": calls, "failed": failed, "standing": standing, "quarantine": quarantine,
            },
        });
        serde_json::from_value(view).unwrap()
    }

    fn line(view: &AgentView) -> String {
        let AgentView { agent, held, health, .. } = view;
        let Some(AgentHealth { calls, failed, standing, quarantine, shares }) = health else {
            return format!("{agent} holds {held}, nobody knows how it does\n");
        };
        let standing = standing.as_str();
        let cause = quarantine.as_ref().map_or("", |record| &record.cause);
        let shares = shares.iter().map(|share| {
            let HealthShare { coordinator, standing, calls, failed } = share;
            format!("  {coordinator}: {failed} of {calls}, {}\n", standing.as_str())
        });
        let shares = shares.collect::<String>();
        format!("{agent} holds {held}, {failed} of {calls}, {standing} {cause:?}\n{shares}")
    }

    #[test]
    fn numbers_are_added_and_whoever_gives_no_work_is_heard() {
        let old = AgentView { health: None, ..view("old", 4, "well", [0, 0]) };
        let told = [
            ("one", vec![view("bad", 5, "probed", [8, 2]), view("good", 6, "well", [10, 1])]),
            ("three", vec![view("bad", 9, "quarantined", [9, 7]), old]),
            ("two", vec![view("bad", 8, "paroled", [1, 0]), view("good", 5, "well", [20, 0])]),
        ];
        let told = told.map(|(id, views)| (CoordinatorId::new(id).unwrap(), views));
        let all = summed(Gathered { shares: told.into(), missing: Vec::new() });
        expect![[r#"
            bad holds 9, 9 of 18, quarantined "7 failed"
              one: 2 of 8, probed
              three: 7 of 9, quarantined
              two: 0 of 1, on parole
            good holds 6, 1 of 30, well ""
              one: 1 of 10, well
              two: 0 of 20, well
            old holds 4, nobody knows how it does
        "#]]
        .assert_eq(&all.agents.iter().map(line).collect::<String>());
        let told_by: Vec<_> = all.told_by.iter().map(CoordinatorId::as_str).collect();
        assert_eq!(told_by, ["one", "three", "two"]);
    }
}
