//! `skep bench`

mod ceiling;
mod chain;
mod ends;
mod failover;
mod fanout;
mod figures;
mod ground;
mod idle;
mod latency;
mod load;
mod memory;
mod plan;
mod recovery;
mod settings;
mod soak;
mod start;
mod usage;
mod worker;

use std::time::Duration;

use clap::{Args, Subcommand};
use skep_broker::host;

use crate::cli::Global;
use crate::error::{Error, Exit};

/// Measure skep on this machine.
///
/// Without --nats it starts what it needs (a nats-server, coordinators, agents), each a process of
/// its own, and ends it again; with --nats it measures the cluster there, with agents of its own.
/// Figures are medians of several times (--times), and belong to the machine and to the settings
/// that are printed with them: compare ratios.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Chain(chain::Chain),
    Latency(latency::Latency),
    Fanout(fanout::Fanout),
    Start(start::Start),
    Idle(idle::Idle),
    Memory(memory::Memory),
    Plan(plan::Plan),
    Recovery(recovery::Recovery),
    Ceiling(ceiling::Ceiling),
    Soak(soak::Soak),
    Failover(failover::Failover),
    #[command(hide = true)]
    Worker(worker::Worker),
    #[command(hide = true)]
    ByHand(ceiling::ByHand),
}

impl Bench {
    pub(crate) fn perform(self, global: &Global) -> Result<Exit, Error> {
        match self.what {
            What::Chain(chain) => chain.perform(global),
            What::Latency(latency) => latency.perform(global),
            What::Fanout(fanout) => fanout.perform(global),
            What::Start(start) => start.perform(global),
            What::Idle(idle) => idle.perform(global),
            What::Memory(memory) => memory.perform(global),
            What::Plan(plan) => plan.perform(global),
            What::Recovery(recovery) => recovery.perform(global),
            What::Ceiling(ceiling) => ceiling.perform(global),
            What::Soak(soak) => soak.perform(global),
            What::Failover(failover) => failover.perform(global),
            What::Worker(worker) => worker.perform(global),
            What::ByHand(by_hand) => by_hand.perform(global),
        }
    }
}

/// Returns the end of all names that this benchmark gives to what it has on a cluster: others may
/// be under way there, and what they have is theirs.
fn tag() -> &'static str {
    use std::sync::LazyLock;
    static TAG: LazyLock<String> = LazyLock::new(|| format!("{:08x}", host::random() >> 32));
    &TAG
}

/// Returns the time, from the first call on.
#[expect(clippy::disallowed_methods, reason = "measuring time is what a benchmark does")]
fn clock() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
