//! A partition of its own for each case, with an agent that answers whatever it is given.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use skep_engine::{Effect, Handled, Input, Partition, Reply, Resolved};
use skep_protocol::{
    AgentId, BlobRef, CommandReply, Event, Hash, Outcome, PartitionId, Payload, Record, Rejection,
    Report, ReportBody, RunId, RunRecord, StartRun, Timestamp, unsound,
};
use skep_workflow::Workflow;

pub(crate) const PARTITION: PartitionId = PartitionId::new(0);
/// More than any hostile run needs to be over.
const ROUNDS: usize = 10_000;
/// What is shown of what a run gave.
const SHOWN: usize = 200;

/// The run of every case.
pub(crate) fn run_id() -> RunId {
    RunId::from_key("hostile", "1")
}

/// Asks for the run, without inputs.
pub(crate) fn plain(workflow: &Workflow) -> Result<StartRun> {
    Ok(StartRun {
        run: run_id(),
        workflow: workflow.name().to_string(),
        inputs: Payload::from_text("{}")?,
        parent: None,
        depth: 0,
        labels: BTreeMap::new(),
    })
}

/// One partition and the values beside its journal.
pub(crate) struct Play {
    pub(crate) partition: Partition,
    now: Timestamp,
    blobs: BTreeMap<Hash, Bytes>,
    pub(crate) records: Vec<Record>,
}

impl Play {
    pub(crate) fn new() -> Self {
        Self {
            partition: Partition::new(PARTITION),
            now: Timestamp::from_millis(1_700_000_000_000),
            blobs: BTreeMap::new(),
            records: Vec::new(),
        }
    }

    /// Starts the run. As at a coordinator, inputs that not everybody reads alike do not get as far
    /// as the engine.
    pub(crate) fn start(&mut self, workflow: &Workflow, start: StartRun) -> Result<Option<Reply>> {
        if let Some(problem) = start.inputs.text().and_then(|text| unsound("inputs", text)) {
            let rejection = Rejection::InvalidInputs { problems: vec![problem] };
            return Ok(Some(Reply::Command(CommandReply::Rejected(rejection))));
        }
        let digest = Hash::from_bytes(*workflow.digest().as_bytes());
        let workflow = Some(workflow.clone());
        let workflow = Resolved { digest, workflow, pinned: BTreeMap::new() };
        Ok(self.handle(Input::Start { start: Box::new(start), workflow })?.reply)
    }

    /// Stores a large value, whatever it is.
    pub(crate) fn store(&mut self, bytes: Vec<u8>) -> BlobRef {
        let blob = BlobRef::of(&bytes);
        self.blobs.insert(blob.hash, bytes.into());
        blob
    }

    /// Handles one input; values that it asks for are handed in.
    pub(crate) fn handle(&mut self, input: Input) -> Result<Handled> {
        loop {
            let handled = self.partition.handle(input.clone(), self.now)?;
            self.blobs.extend(handled.blobs.iter().map(|bytes| (Hash::of(bytes), bytes.clone())));
            self.records.extend(handled.records.iter().cloned());
            let Some(Reply::NeedsBlob(blob)) = handled.reply else { return Ok(handled) };
            self.fetch(blob)?;
        }
    }

    fn fetch(&mut self, blob: BlobRef) -> Result<()> {
        let bytes = self.blobs.get(&blob.hash).cloned();
        let handled = self.partition.handle(Input::BlobFetched { blob, bytes }, self.now)?;
        self.blobs.extend(handled.blobs.iter().map(|bytes| (Hash::of(bytes), bytes.clone())));
        self.records.extend(handled.records);
        Ok(())
    }

    /// Lets the agent give back what it was given, until the run is over; says how it ended.
    pub(crate) fn play_on(&mut self) -> Result<String> {
        for _ in 0..ROUNDS {
            if self.partition.status(run_id()).is_some_and(|status| status.is_final()) {
                return self.ending();
            }
            let owed = self.partition.outstanding();
            for effect in &owed {
                match effect {
                    Effect::OfferTask(offer) => {
                        self.echo(&offer.id.step, offer.id.attempt, &offer.input)?
                    }
                    Effect::FetchBlob { blob } => self.fetch(*blob)?,
                    Effect::StartChild { .. }
                    | Effect::CancelChild { .. }
                    | Effect::NotifyParent { .. } => bail!("no case has sub-workflows"),
                }
            }
            if let Some(wake) = self.partition.next_wake() {
                self.now = self.now.max(wake.at);
                self.handle(Input::Wake)?;
            } else {
                ensure!(!owed.is_empty(), "the run stands still");
            }
        }
        bail!("the run does not end")
    }

    fn echo(
        &mut self,
        step: &skep_protocol::StepPath,
        attempt: u32,
        input: &Payload,
    ) -> Result<()> {
        let output = input.clone();
        let body = ReportBody::Outcome(Outcome::Completed { output, duration_ms: 1 });
        let report = Report { run: run_id(), step: step.clone(), attempt, body };
        let agent = AgentId::new("echo")?;
        self.handle(Input::Report { agent, report }).map(drop)
    }

    /// Says how the run ended.
    fn ending(&self) -> Result<String> {
        let ending = self.records.iter().rev().find_map(|record| match record {
            Record::Run(RunRecord { event: Event::RunFailed { failure }, .. }) => {
                Some(format!("the run failed: {failure}"))
            }
            Record::Run(RunRecord { event: Event::RunCompleted { outputs }, .. }) => {
                let outputs: String = match outputs.text() {
                    Some(text) => text.chars().take(SHOWN).collect(),
                    None => format!("{outputs:?}"),
                };
                Some(format!("taken as data, the run gave {outputs}"))
            }
            Record::Run(_) | Record::OwnerChanged(_) | Record::WorkflowAdded(_) => None,
        });
        ending.context("the run ended in another way")
    }
}
