//! `skep agents`

use clap::Args;
use skep_broker::Broker;
use skep_protocol::{AgentView, Lane};

use crate::cli::Global;
use crate::client::Client;
use crate::commands::table;
use crate::error::{Error, Exit};
use crate::human;
use crate::json;
use crate::output::{self, Format};

/// List the live agents and what they offer.
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
        if let Some(capability) = &self.capability {
            agents.retain(|agent| agent.offers.iter().any(|one| one.capability == *capability));
        }
        if global.output == Format::Json {
            output::json(&agents.iter().map(json::agent).collect::<Vec<_>>());
        } else if agents.is_empty() {
            output::note("no live agents; start one with: skep agent exec --agent NAME=./PROGRAM");
        } else {
            let head = ["AGENT", "OFFERS", "LANE", "HELD", "LABELS", "SEEN", "SOFTWARE"];
            output::data(table::draw(&head, agents.iter().map(row)));
        }
        Ok(Exit::Ok)
    }
}

fn row(agent: &AgentView) -> Vec<String> {
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
        agent.agent.to_string(),
        offers.collect::<Vec<_>>().join(", "),
        lane.to_owned(),
        held,
        labels.join(", "),
        format!("{seen} ago"),
        agent.software.clone(),
    ]
}
