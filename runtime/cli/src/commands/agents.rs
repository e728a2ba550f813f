//! `skep agents`

use clap::Args;
use skep_broker::Broker;
use skep_protocol::{AgentView, Lane};

use crate::cli::Global;
use crate::client::Client;
use crate::commands::table::{self, Cell, Column, Fit};
use crate::error::{Error, Exit};
use crate::human;
use crate::json;
use crate::output::{self, Format};

const AGENTS: &[Column] = &[
    Column("AGENT", Fit::Middle, 0),
    Column("OFFERS", Fit::Words, 0),
    Column("LANE", Fit::Whole, 3),
    Column("HELD", Fit::Whole, 1),
    Column("LABELS", Fit::Words, 2),
    Column("SEEN", Fit::Whole, 4),
    Column("SOFTWARE", Fit::Whole, 5),
];

/// List the live agents and what they offer.
///
/// OFFERS names each capability and how many attempts of it are performed at a time, HELD is how
/// many are in their hands. LANE is how tasks come to an agent: `direct`, sent to it by a
/// coordinator that knows its free slots, or `queue`, pulled by the agent from the queue of a
/// capability; a run is the same by either.
#[derive(Debug, Args)]
pub(crate) struct Agents {
    /// Only agents that offer this capability.
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
}

impl Agents {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let mut agents = client.agents().await?;
        let known = agents.len();
        if let Some(capability) = &self.capability {
            agents.retain(|agent| agent.offers.iter().any(|one| one.capability == *capability));
        }
        if global.output == Format::Json {
            output::json(&agents.iter().map(json::agent).collect::<Vec<_>>());
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
        Ok(Exit::Ok)
    }
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
        labels.join(", ").into(),
        format!("{seen} ago").into(),
        agent.software.clone().into(),
    ]
}
