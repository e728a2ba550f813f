//! `skep breakers`

use clap::{Args, Subcommand};
use serde_json::json as object;
use skep_broker::Broker;
use skep_protocol::limits::MAX_NAME_LEN;
use skep_protocol::{AgentView, BreakerPhase, BreakerView, ClusterBreakers, Order};

use crate::cli::Global;
use crate::client::Client;
use crate::commands::gathered::Sources;
use crate::commands::table::{self, Cell, Column, Fit};
use crate::error::{Error, Exit};
use crate::human;
use crate::json;
use crate::output::{self, Format, GREEN, RED, YELLOW};

const BREAKERS: &[Column] = &[
    Column("BREAKER", Fit::Middle, 0),
    Column("STATE", Fit::Whole, 0),
    Column("PARKED", Fit::Whole, 1),
    Column("CALLS", Fit::Whole, 2),
    Column("FAILED", Fit::Whole, 3),
    Column("SLOW", Fit::Whole, 5),
    Column("UNTIL", Fit::Whole, 4),
    Column("CAUSE", Fit::Words, 0),
];

/// List circuit breakers, open one by hand, close one.
///
/// A breaker opens when the calls of a capability fail, or are slow: work waits, nothing is lost,
/// a few calls probe whether it is well again. A capability has one of its name; a step that has a
/// `breaker` of its own has one called WORKFLOW/STEP. Those that were not needed lately are not
/// listed.
///
/// PARKED is how many attempts wait because of it, CALLS, FAILED and SLOW are what was counted
/// lately: by all coordinators together. One that does not answer within a second is named, and its
/// share is missing. With -o json, `shares` tells what each of them has, `told_by` who answered and
/// `missing` who did not.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Breakers {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the circuit breakers; what `skep breakers` does as well.
    List,
    /// Open a breaker: its work waits until it is reset.
    Trip {
        /// A capability, or WORKFLOW/STEP.
        #[arg(value_parser = breaker_name)]
        name: String,
        /// Why, for those who look at it later.
        #[arg(long, value_name = "TEXT", default_value = "opened by a person")]
        reason: String,
    },
    /// Close a breaker, whoever opened it: its work goes out again, in waves.
    Reset {
        /// A capability, or WORKFLOW/STEP.
        #[arg(value_parser = breaker_name)]
        name: String,
    },
}

impl Breakers {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        match self.what.unwrap_or(What::List) {
            What::List => list(&client.breakers().await?, global),
            What::Trip { name, reason } => {
                client.order(Order::TripBreaker { name: name.clone(), reason }).await?;
                done(&name, "open", "open until it is reset", global);
                let agents = client.agents().await?;
                let offers =
                    |agent: &AgentView| agent.offers.iter().any(|offer| offer.capability == name);
                if !name.contains('/') && !agents.iter().any(offers) {
                    output::note(format!(
                        "no live agent offers `{name}`; it holds for those to come"
                    ));
                }
            }
            What::Reset { name } => {
                client.order(Order::ResetBreaker { name: name.clone() }).await?;
                done(&name, "reset", "reset", global);
            }
        }
        Ok(Exit::Ok)
    }
}

/// Reads the name of a breaker.
fn breaker_name(name: &str) -> Result<String, String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let parts: Vec<&str> = name.split('/').collect();
    let is_part =
        |part: &&str| !part.is_empty() && part.len() <= MAX_NAME_LEN && part.chars().all(is_word);
    if parts.len() <= 2 && parts.iter().all(is_part) {
        return Ok(name.to_owned());
    }
    Err("a breaker is named by a capability, or by WORKFLOW/STEP".to_owned())
}

fn done(name: &str, what: &str, told: &str, global: &Global) {
    match global.output {
        Format::Json => output::json(&object!({ "breaker": name, "done": what })),
        Format::Text => output::data(format!("circuit breaker {name}: {told}")),
    }
}

fn list(all: &ClusterBreakers, global: &Global) {
    let (breakers, sources) = (&all.breakers, Sources::from(all));
    if global.output == Format::Json {
        output::json(&sources.object("breakers", breakers.iter().map(json::breaker).collect()));
    } else if !breakers.is_empty() {
        output::data(table::draw(BREAKERS, breakers.iter().map(row)));
    } else if sources.are_all() {
        output::note("no circuit breaker was needed lately: everything passes");
    } else {
        output::note("no circuit breaker was needed lately, as far as those know that answered");
    }
    sources.warn();
}

fn row(view: &BreakerView) -> Vec<Cell> {
    let style = match view.phase {
        BreakerPhase::Closed => GREEN,
        BreakerPhase::Open => RED,
        BreakerPhase::HalfOpen | BreakerPhase::Closing => YELLOW,
    };
    let until = match (view.phase, view.until) {
        (BreakerPhase::Open, None) => "reset".to_owned(),
        (_, Some(until)) => human::time_of_day(until),
        (_, None) => String::new(),
    };
    vec![
        view.name.clone().into(),
        Cell::painted(style, view.phase.as_str()),
        view.parked.to_string().into(),
        view.calls.to_string().into(),
        view.failed.to_string().into(),
        view.slow.to_string().into(),
        until.into(),
        view.cause.clone().unwrap_or_default().into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breaker_is_a_capability_or_a_step() {
        for name in ["charge", "some.agent", "shop/pay"] {
            assert!(breaker_name(name).is_ok(), "{name}");
        }
        for name in ["", "/", "a/", "a/b/c", "a b", "x*", &"x".repeat(65)] {
            assert!(breaker_name(name).is_err(), "{name}");
        }
    }
}
