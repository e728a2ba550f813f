//! `skep agents`

use clap::{Args, Subcommand};
use serde_json::json as object;
use skep_broker::Broker;
use skep_protocol::{AgentHealth, AgentId, AgentStanding, AgentView, ClusterAgents, Lane, Order};

use crate::cli::Global;
use crate::client::Client;
use crate::commands::gathered::Sources;
use crate::commands::table::{self, Cell, Column, Fit};
use crate::error::{Error, Exit};
use crate::human;
use crate::json;
use crate::output::{self, Format, RED, YELLOW};

const AGENTS: &[Column] = &[
    Column("AGENT", Fit::Middle, 0),
    Column("OFFERS", Fit::Words, 0),
    Column("LANE", Fit::Whole, 3),
    Column("HELD", Fit::Whole, 1),
    Column("HEALTH", Fit::Words, 0),
    Column("LABELS", Fit::Words, 2),
    Column("SEEN", Fit::Whole, 4),
    Column("SOFTWARE", Fit::Whole, 5),
];

/// List the live agents and what they offer; put one into quarantine, or let one out.
///
/// OFFERS names each capability and how many attempts of it are performed at a time, HELD is how
/// many are in their hands. LANE is how tasks come to an agent: `direct`, sent to it by a
/// coordinator that knows its free slots, or `queue`, pulled by the agent from the queue of a
/// capability; a run is the same by either.
///
/// HEALTH is how its attempts ended lately, in the runs of all coordinators together. One that does
/// not answer within a second is named, and its share is missing. An agent whose attempts fail far
/// more often than those of the others gets no more work for a while, then one attempt, then is on
/// parole; it is shown as out as long as one coordinator keeps work from it. One that pulls from a
/// queue is told to pull nothing, then one task at a time until it is off parole; until it says
/// that it does so, this is shown as `not heeded yet`.
///
/// With -o json, `shares` tells what each coordinator has seen, `told_by` who answered and
/// `missing` who did not.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Agents {
    /// Only agents that offer this capability.
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Give an agent no more work until it is released; what it holds it may finish. Refused for
    /// one that pulls from a queue and does not say that it stops when told to.
    Quarantine {
        /// Its id.
        agent: AgentId,
        /// Why, for those who look at it later.
        #[arg(long, value_name = "TEXT", default_value = "put there by a person")]
        reason: String,
    },
    /// Let an agent out of quarantine, whoever put it there.
    Release {
        /// Its id.
        agent: AgentId,
    },
}

impl Agents {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        match &self.what {
            Some(What::Quarantine { agent, reason }) => {
                let (agent, reason) = (agent.clone(), reason.clone());
                client.order(Order::QuarantineAgent { agent: agent.clone(), reason }).await?;
                done(&agent, "quarantined", global);
                if !client.agents().await?.iter().any(|one| one.agent == agent) {
                    output::note(format!("no live agent is called {agent}: see skep agents"));
                }
            }
            Some(What::Release { agent }) => {
                client.order(Order::ReleaseAgent { agent: agent.clone() }).await?;
                done(agent, "released", global);
            }
            None => self.list(client.cluster_agents().await?, global),
        }
        Ok(Exit::Ok)
    }

    fn list(&self, mut all: ClusterAgents, global: &Global) {
        let known = all.agents.len();
        if let Some(capability) = &self.capability {
            all.agents.retain(|agent| agent.offers.iter().any(|one| one.capability == *capability));
        }
        let (agents, sources) = (&all.agents, Sources::from(&all));
        if global.output == Format::Json {
            output::json(&sources.object("agents", agents.iter().map(json::agent).collect()));
        } else if agents.is_empty() {
            let told = match &self.capability {
                Some(name) if known > 0 => {
                    format!("none of {} offers `{name}`", human::count(known, "live agent"))
                }
                Some(_) | None => "no live agents".to_owned(),
            };
            let name = self.capability.as_deref().unwrap_or("NAME");
            output::note(format!(
                "{told}; start one with: skep agent exec --agent {name}=./PROGRAM"
            ));
        } else {
            output::data(table::draw(AGENTS, agents.iter().map(row)));
        }
        sources.warn();
    }
}

fn done(agent: &AgentId, what: &str, global: &Global) {
    match global.output {
        Format::Json => output::json(&object!({ "agent": agent, "done": what })),
        Format::Text => output::data(format!("agent {agent}: {what}")),
    }
}

/// Says how an agent does.
fn health(agent: &AgentView) -> Cell {
    let Some(AgentHealth { calls, failed, standing, quarantine, .. }) = &agent.health else {
        return Cell::from("-");
    };
    let rate = format!("{failed} of {calls} failed");
    let Some(record) = quarantine.as_ref().filter(|_| *standing != AgentStanding::Well) else {
        return match (calls, failed) {
            (0, _) => Cell::from("-"),
            (_, 0) => Cell::from("well"),
            (_, _) => Cell::painted(YELLOW, rate),
        };
    };
    let since = human::time_of_day(record.since);
    let until = record.until.map_or_else(|| "released".to_owned(), human::time_of_day);
    let term = match standing {
        AgentStanding::Quarantined => {
            let pulls = agent.ration.is_some_and(|ration| ration.most() > 0);
            let heeds = if pulls { ", not heeded yet" } else { "" };
            format!(" since {since} until {until}{heeds}")
        }
        AgentStanding::Well | AgentStanding::Probed | AgentStanding::Paroled => String::new(),
    };
    let style = if *standing == AgentStanding::Quarantined { RED } else { YELLOW };
    Cell::painted(style, format!("{}{term}: {}", standing.as_str(), record.cause))
}

fn row(agent: &AgentView) -> Vec<Cell> {
    let offers = agent.offers.iter().map(|one| format!("{}×{}", one.capability, one.slots));
    let lane = match agent.lane {
        Lane::Direct => "direct",
        Lane::Queue => "queue",
    };
    let held = match agent.draining {
        true => format!("{} (draining)", agent.held),
        false => agent.held.to_string(),
    };
    let labels: Vec<String> =
        agent.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let seen = human::duration(human::now().since(agent.seen));
    vec![
        agent.agent.to_string().into(),
        offers.collect::<Vec<_>>().join(", ").into(),
        lane.into(),
        held.into(),
        health(agent),
        labels.join(", ").into(),
        format!("{seen} ago").into(),
        agent.software.clone().into(),
    ]
}
