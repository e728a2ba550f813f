//! `skep history`, `skep logs` and `skep watch`

use clap::Args;
use skep_broker::Broker;
use skep_protocol::RunStatus;

use crate::cli::Global;
use crate::client::Client;
use crate::commands::run_ref::RunRef;
use crate::drive::Home;
use crate::error::{Error, Exit};
use crate::follow::{End, Follow, Until, View, unknown};
use crate::output::{self, CYAN, DIM, Format, paint};
use crate::progress::{self, Counted, Progress};
use crate::signals::Interrupts;
use crate::{details, report};

/// Print all that happened to a run, as its journal has it; with -o json, one object per line.
#[derive(Debug, Args)]
pub(crate) struct History {
    #[command(flatten)]
    run: RunRef,
}

/// Print what happened to a run as lines; with -o json, one object per line.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    run: RunRef,
    /// Go on as more happens, until the run ends.
    #[arg(short, long)]
    follow: bool,
}

/// Follow a run to its end, as `skep run` does.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    run: RunRef,
    /// Show no progress, only how it ended.
    #[arg(short, long)]
    quiet: bool,
}

impl History {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let text = View::Journal;
        show(client, &self.run, Until::Present, text, global).await
    }
}

impl Logs {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let until = if self.follow { Until::End } else { Until::Present };
        show(client, &self.run, until, View::Logs, global).await
    }
}

async fn show<B: Broker>(
    client: &Client<B>,
    run: &RunRef,
    until: Until,
    text: View,
    global: &Global,
) -> Result<Exit, Error> {
    let run = run.resolve(client).await?;
    let mut interrupts = Interrupts::listen()?;
    let view = if global.output == Format::Json { View::Json } else { text };
    let follow = Follow { client, run, view: &view, until, deadline: None, fresh: false };
    match follow.follow(&mut Progress::new(run), &mut interrupts).await? {
        End::Ended(_) | End::CaughtUp | End::TimedOut => Ok(Exit::Ok),
        End::Interrupted(interrupt) => Ok(interrupt.exit()),
    }
}

impl Watch {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let run = self.run.resolve(client).await?;
        let mut interrupts = Interrupts::listen()?;
        let mut progress = Progress::new(run);
        let view = if self.quiet { View::Silent } else { View::of_stderr() };
        let (until, deadline) = (Until::End, None);
        let follow = Follow { client, run, view: &view, until, deadline, fresh: false };
        let end = follow.follow(&mut progress, &mut interrupts).await;
        if end.is_ok() {
            view.leave(&progress);
        }
        view.close();
        match end? {
            End::Ended(status) => {
                ended(client, &progress, status, &view, (Home::Cluster, global)).await
            }
            End::Interrupted(interrupt) => {
                output::note(format!("the run goes on; follow it again with: skep watch {run}"));
                Ok(interrupt.exit())
            }
            End::TimedOut | End::CaughtUp => Ok(Exit::Interrupted),
        }
    }
}

/// Says what can be done about steps that could not be made good.
fn help_with_stuck(progress: &Progress, home: Home) {
    let (run, help) = (progress.run(), paint(CYAN, "help"));
    match home {
        Home::Cluster => {
            output::note(format!("  {help}: once the cause is gone, try again: skep resume {run}"));
            for step in progress.stuck() {
                output::note(format!("  {help}: or take it as done: skep skip {run} {step}"));
            }
        }
        Home::Here => {
            let steps: Vec<String> = progress.stuck().map(|step| step.to_string()).collect();
            let steps = steps.join(", ");
            output::note(format!("  {help}: make good by hand what is left of: {steps}"));
            output::note(format!(
                "  {help}: the run ends with this process; on a cluster it would wait for \
                 `skep resume`"
            ));
        }
    }
}

/// Says how a run ended, prints what came out of it, and returns its exit code.
pub(crate) async fn ended<B: Broker>(
    client: &Client<B>,
    progress: &Progress,
    status: RunStatus,
    view: &View,
    (home, global): (Home, &Global),
) -> Result<Exit, Error> {
    let run = progress.run();
    let detail = client.run(run).await.and_then(|detail| detail.ok_or_else(|| unknown(run)));
    let counted = detail.as_ref().ok().map(Counted::of);
    output::note(progress::summary(progress, counted, view.failures()));
    if let (Ok(detail), Format::Text) = (&detail, global.output)
        && let Some((step, lines)) = details::of_run(client, detail).await
    {
        output::note(format!("  {}", paint(DIM, format!("{step}, the end of stderr:"))));
        lines.iter().for_each(|line| output::note(format!("    {line}")));
    }
    for advice in progress.advice() {
        output::note(format!("  {}: {advice}", paint(CYAN, "help")));
    }
    if status == RunStatus::Stuck {
        help_with_stuck(progress, home);
    }
    report::print(client, &detail?, global.output).await?;
    Ok(report::exit(status))
}
