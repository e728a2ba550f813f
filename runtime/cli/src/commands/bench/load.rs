//! Runs that are started, and waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use futures::StreamExt as _;
use skep_broker::Broker;
use skep_protocol::{PartitionId, Payload, RegisterWorkflow, RunId, Seq, StartRun};
use tokio::sync::mpsc;

use super::clock;
use super::ends::{Ends, News};
use super::ground::{LOOK_EVERY, within};
use super::settings::Settings;
use super::tag;
use super::worker::capability;
use crate::client::Client;
use crate::error::{Error, Exit};

/// Which workflows a benchmark starts runs of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Chain,
    Fanout,
    Start,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Chain, Self::Fanout, Self::Start];

    /// Returns the name of this benchmark's workflow.
    pub(super) fn workflow(self) -> String {
        let kind = match self {
            Self::Chain => "chain",
            Self::Fanout => "fanout",
            Self::Start => "start",
        };
        format!("bench-{kind}-{}", tag())
    }
}

/// Starts that are under way at a time, beside the runs that they started.
const STARTS_AT_ONCE: usize = 256;

/// What each run is: a chain of steps.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Chained {
    /// Steps of each run, one after the other.
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) steps: u32,
    /// What each step gets and gives, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=60_000))]
    pub(super) payload: u32,
}

impl Chained {
    /// Registers such a workflow.
    pub(super) async fn prepare<B: Broker>(self, client: &Client<B>) -> Result<Load<'_, B>, Error> {
        Load::prepare(client, chain_of(self.steps), self.payload).await
    }

    /// Says what it is among the settings.
    pub(super) fn tell(self, settings: &mut Settings) {
        settings.set("steps_per_run", self.steps);
        settings.set("payload_bytes", self.payload);
    }
}

/// One workflow, started again and again.
pub(super) struct Load<'a, B> {
    client: &'a Client<B>,
    workflow: String,
    inputs: Payload,
    /// There from the first run on that is waited for.
    ends: Option<Ends>,
}

/// Runs that were started and whose ends are looked for afterwards.
#[derive(Debug)]
pub(super) struct Unwatched {
    /// From the first start until the last one was acknowledged.
    pub(super) took: Duration,
    from: Vec<(PartitionId, Seq)>,
    open: BTreeSet<RunId>,
}

/// How some runs went.
#[derive(Debug)]
pub(super) struct Played {
    /// From the first start to the last end.
    pub(super) took: Duration,
}

impl<'a, B: Broker> Load<'a, B> {
    /// Registers the workflow, whose one input has so many bytes.
    pub(super) async fn prepare(
        client: &'a Client<B>,
        source: String,
        payload: u32,
    ) -> Result<Self, Error> {
        let file = "bench.skep.yaml".to_owned();
        let register = RegisterWorkflow { source, file, publish: false };
        let workflow = client.register(register).await?.digest.to_string();
        let inputs = Payload::from(serde_json::json!({ "data": data(payload) }));
        Ok(Self { client, workflow, inputs, ends: None })
    }

    fn start_of(&self, run: RunId) -> StartRun {
        StartRun {
            run,
            workflow: self.workflow.clone(),
            inputs: self.inputs.clone(),
            parent: None,
            depth: 0,
            labels: BTreeMap::new(),
        }
    }

    /// Starts so many runs; returns how long it took until the last one was acknowledged.
    pub(super) async fn start(&self, runs: u32) -> Result<Duration, Error> {
        let first = clock();
        let last = start_all(self.client, self.starts(runs), STARTS_AT_ONCE).await?;
        Ok(last.saturating_sub(first))
    }

    /// Starts so many runs, so many at a time, and nothing beside it.
    pub(super) async fn start_unwatched(
        &self,
        runs: u32,
        at_once: u32,
    ) -> Result<Unwatched, Error> {
        let from = Ends::here(self.client.broker(), self.client.partitions()).await?;
        let starts = self.starts(runs);
        let open = starts.iter().map(|start| start.run).collect();
        let first = clock();
        let last = start_all(self.client, starts, at_once as usize).await?;
        Ok(Unwatched { took: last.saturating_sub(first), from, open })
    }

    /// Waits until all of them have completed.
    pub(super) async fn see_the_end(&self, unwatched: Unwatched) -> Result<(), Error> {
        let Unwatched { from, mut open, .. } = unwatched;
        let mut ends = Ends::follow(self.client.broker(), from).await?;
        while !open.is_empty() {
            close(&mut open, ends.next().await?)?;
        }
        Ok(())
    }

    async fn ends(&mut self) -> Result<Ends, Error> {
        match self.ends.take() {
            Some(ends) => Ok(ends),
            None => {
                let broker = self.client.broker();
                let from = Ends::here(broker, self.client.partitions()).await?;
                Ends::follow(broker, from).await
            }
        }
    }

    fn starts(&self, runs: u32) -> Vec<StartRun> {
        (0..runs).map(|_| self.start_of(RunId::from_uuid(new_id()))).collect()
    }

    /// Starts so many runs, and waits until all of them have completed.
    pub(super) async fn play(&mut self, runs: u32) -> Result<Played, Error> {
        let mut ends = self.ends().await?;
        let starts = self.starts(runs);
        let mut open: BTreeSet<RunId> = starts.iter().map(|start| start.run).collect();
        let first = clock();
        let starting = start_all(self.client, starts, STARTS_AT_ONCE);
        let ending = async {
            let mut last = first;
            while !open.is_empty() {
                let news = ends.next().await?;
                last = news.at.max(last);
                close(&mut open, news)?;
            }
            Ok::<_, Error>(last)
        };
        let (_, ended) = tokio::try_join!(starting, ending)?;
        self.ends = Some(ends);
        Ok(Played { took: ended.saturating_sub(first) })
    }

    /// Starts one run; returns when, and when each of so many steps of it was begun. The run is
    /// over then.
    pub(super) async fn play_slowly(
        &self,
        steps: u32,
        begun: &mut mpsc::UnboundedReceiver<Duration>,
    ) -> Result<Vec<Duration>, Error> {
        let run = RunId::from_uuid(new_id());
        let mut times = vec![clock()];
        let start = self.client.start(self.start_of(run));
        let beginning = async {
            for _ in 0..steps {
                let time = begun.recv().await;
                times.extend(time);
            }
            Ok(())
        };
        let all = async { tokio::try_join!(start, beginning) };
        within("the run is not over", all).await??;
        let ending = async {
            while self.client.run(run).await?.is_none_or(|run| !run.summary.status.is_final()) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok::<_, Error>(())
        };
        within("the run is not over", ending).await??;
        Ok(times)
    }
}

/// Starts runs; returns when the last start was acknowledged.
async fn start_all<B: Broker>(
    client: &Client<B>,
    starts: Vec<StartRun>,
    at_once: usize,
) -> Result<Duration, Error> {
    let starts = starts.into_iter().map(|start| client.start(start));
    let mut starts = futures::stream::iter(starts).buffer_unordered(at_once);
    while let Some(started) = starts.next().await {
        started?;
    }
    Ok(clock())
}

fn close(open: &mut BTreeSet<RunId>, news: News) -> Result<(), Error> {
    for (run, completed) in news.ended {
        if open.remove(&run) && !completed {
            return Err(Error::new(Exit::Failed, format!("run {run} did not complete"))
                .help(format!("why: skep get {run}, where the cluster is still there")));
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a client mints the ids of its runs")]
fn new_id() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}

fn data(bytes: u32) -> String {
    "x".repeat(bytes as usize)
}

/// Writes a workflow of steps one after the other, each of which hands on what it got.
fn chain_of(steps: u32) -> String {
    let (name, capability) = (Kind::Chain.workflow(), capability());
    let mut source = format!("name: {name}\ninputs:\n  data: {{ type: string }}\nsteps:\n");
    for step in 0..steps {
        let from = match step.checked_sub(1) {
            None => "inputs.data".to_owned(),
            Some(before) => format!("steps.s{before}.output.data"),
        };
        source += &format!(
            "  s{step}: {{ agent: {capability}, with: {{ data: \"${{{{ {from} }}}}\" }} }}\n"
        );
    }
    source
}

/// Writes a workflow of one step for each item of a list, and one that waits for all of them.
pub(super) fn fan_of(steps: u32) -> String {
    let (name, capability) = (Kind::Fanout.workflow(), capability());
    format!(
        "name: {name}\ninputs:\n  data: {{ type: string }}\nsteps:\n  \
         part: {{ agent: {capability}, for_each: \"${{{{ range({steps}) | list }}}}\", \
         max_parallel: {steps}, \
         with: {{ data: \"${{{{ inputs.data }}}}\", item: \"${{{{ item }}}}\" }} }}\n  \
         join: {{ agent: {capability}, needs: [part] }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workflows_are_valid() {
        for source in [chain_of(1), chain_of(10), fan_of(1_000)] {
            skep_workflow::read(source.as_bytes(), "bench").map_err(|e| e.to_string()).unwrap();
        }
    }
}
