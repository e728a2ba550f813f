//! One of the two brokers, and what is observed of it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use skep_protocol::{BlobRef, Seq};

use super::operation::{
    CAPABILITIES, Model, OnFact, OnJournal, OnQueue, OnReports, OnStore, Operation,
};
use crate::Broker;
use crate::blobs::Snapshot;
use crate::conformance::fixtures::{noise, only_reports, partition, reports, task};
use crate::directory::{Bucket, PutError, Revision};
use crate::journal::AppendError;
use crate::tasks::{Delivered, Settle};

/// How long something that should be there may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Side<B> {
    broker: B,
    held: Vec<Delivered>,
    revisions: BTreeMap<(Bucket, &'static str), Vec<Revision>>,
}

impl<B: Broker> Side<B> {
    pub(super) const fn new(broker: B) -> Self {
        Self { broker, held: Vec::new(), revisions: BTreeMap::new() }
    }

    /// Performs an operation and tells what was observed; notes in `model` what came of it.
    pub(super) async fn perform(&mut self, operation: &Operation, model: &mut Model) -> String {
        match operation {
            Operation::Journal(partition, on) => self.journal(*partition, on, model).await,
            Operation::Queue(capability, on) => self.queue(capability, on, model).await,
            Operation::Reports(p, OnReports::Leave { step }) => {
                let batch = reports("a", &format!("s{step}"));
                let left = self.broker.report_durably(partition(*p), batch).await;
                *model.unconfirmed.entry(*p).or_default() += usize::from(left.is_ok());
                shown(&left)
            }
            Operation::Reports(p, OnReports::Collect { confirm }) => {
                self.collect(*p, *confirm, model).await
            }
            Operation::Fact(bucket, key, on) => self.fact(*bucket, key, on, model).await,
            Operation::Store(on) => self.store(on).await,
        }
    }

    async fn journal(&self, p: u16, on: &OnJournal, model: &mut Model) -> String {
        let broker = &self.broker;
        match *on {
            OnJournal::Append { expected, len, fill } => {
                let message = Bytes::from(vec![fill; len]);
                match broker.append(partition(p), Seq::new(expected), message).await {
                    Ok(seq) => {
                        model.ends.insert(p, seq.get());
                        format!("appended at {seq}")
                    }
                    Err(AppendError::Conflict { last, .. }) => format!("the end is {last}"),
                    Err(other) => other.to_string(),
                }
            }
            OnJournal::Last => match broker.last(partition(p)).await {
                Ok(last) => last.map_or_else(
                    || "empty".to_owned(),
                    |last| format!("{}: {}", last.seq, described(&last.bytes)),
                ),
                Err(error) => error.to_string(),
            },
            OnJournal::Trim { first_kept } => {
                shown(&broker.trim(partition(p), Seq::new(first_kept)).await)
            }
            OnJournal::Read { from } => {
                let end = model.ends.get(&p).copied().unwrap_or_default();
                self.read(p, from, end).await
            }
        }
    }

    async fn read(&self, p: u16, from: u64, end: u64) -> String {
        let mut follower = match self.broker.follow(partition(p), Seq::new(from)).await {
            Ok(follower) => follower,
            Err(error) => return error.to_string(),
        };
        let mut read = Vec::new();
        let mut last = if end == 0 { end } else { from.saturating_sub(1) };
        while last < end {
            match tokio::time::timeout(PATIENCE, follower.next()).await {
                Ok(Some(Ok(message))) => {
                    last = message.seq.get();
                    read.push(format!("{last}: {}", described(&message.bytes)));
                }
                Ok(Some(Err(error))) => return format!("{error} after {read:?}"),
                Ok(None) => return format!("the end after {read:?}"),
                Err(_) => return format!("nothing more after {read:?}"),
            }
        }
        read.join(", ")
    }

    async fn queue(&mut self, capability: &'static str, on: &OnQueue, model: &mut Model) -> String {
        match *on {
            OnQueue::Offer { step, attempt, sending } => {
                let mut task = task(capability, &format!("{capability}[{step}]"));
                task.attempt = attempt;
                let offered = self.broker.offer(task, sending).await;
                let held = self.held.iter().filter(|d| d.task.capability == capability).count();
                let waiting = self.total(capability).await.saturating_sub(held);
                model.waiting.insert(capability, waiting);
                format!("{} {waiting}", shown(&offered))
            }
            OnQueue::Pull { count } => {
                let pulled = self.pull(capability, count).await;
                *model.waiting.entry(capability).or_default() -= count;
                model.shuffled.remove(capability);
                model.held = self.held.len();
                pulled
            }
            OnQueue::Ack { held } => {
                let mut task = self.held.swap_remove(held);
                model.held = self.held.len();
                shown(&task.settle(Settle::Ack).await)
            }
            OnQueue::Return { held } => {
                let mut task = self.held.swap_remove(held);
                let capability = capability_of(&task);
                *model.waiting.entry(capability).or_default() += 1;
                model.shuffled.insert(capability);
                model.held = self.held.len();
                shown(&task.settle(Settle::Return(Duration::ZERO)).await)
            }
            OnQueue::Depth => self.total(capability).await.to_string(),
            OnQueue::Clear => self.clear(capability, model).await,
        }
    }

    /// Tasks of a queue, waiting and held.
    async fn total(&self, capability: &str) -> usize {
        let depth = self.broker.depth(capability).await.unwrap_or_default();
        usize::try_from(depth.waiting + depth.held).unwrap_or(usize::MAX)
    }

    async fn pull(&mut self, capability: &str, count: usize) -> String {
        let mut pulled: Vec<Delivered> = Vec::new();
        while pulled.len() < count {
            match self.broker.pull(capability, count - pulled.len(), PATIENCE).await {
                Ok(more) if more.is_empty() => break,
                Ok(more) => pulled.extend(more),
                Err(error) => return error.to_string(),
            }
        }
        pulled.sort_by_key(|delivered| (delivered.task.id(), delivered.deliveries));
        let seen: Vec<_> = pulled
            .iter()
            .map(|d| format!("{} /{} ×{}", d.task.step, d.task.attempt, d.deliveries))
            .collect();
        self.held.extend(pulled);
        seen.join(", ")
    }

    async fn clear(&mut self, capability: &'static str, model: &mut Model) -> String {
        for task in self.held.iter_mut().filter(|task| task.task.capability == capability) {
            if let Err(error) = task.settle(Settle::Ack).await {
                return error.to_string();
            }
        }
        self.held.retain(|task| task.task.capability != capability);
        model.held = self.held.len();
        model.waiting.remove(capability);
        model.shuffled.remove(capability);
        shown(&self.broker.clear(capability).await)
    }

    async fn collect(&self, p: u16, confirm: u64, model: &mut Model) -> String {
        let mut reader = match self.broker.durable_reports(partition(p)).await {
            Ok(reader) => only_reports(reader),
            Err(error) => return error.to_string(),
        };
        let unconfirmed = model.unconfirmed.entry(p).or_default();
        let mut read = Vec::new();
        for n in 0..*unconfirmed {
            let Ok(Some(report)) = tokio::time::timeout(PATIENCE, reader.next()).await else {
                return format!("nothing more after {read:?}");
            };
            let confirmed = confirm >> (n % 64) & 1 == 1;
            read.push(format!("{} {confirmed}", report.batch.reports[0].step));
            if confirmed {
                if let Err(error) = report.confirm().await {
                    return error.to_string();
                }
                *unconfirmed -= 1;
            }
        }
        read.join(", ")
    }

    async fn fact(
        &mut self,
        bucket: Bucket,
        key: &'static str,
        on: &OnFact,
        model: &mut Model,
    ) -> String {
        let written = self.revisions.entry((bucket, key)).or_default();
        match on {
            OnFact::Put { after, value } => {
                let expected = after.checked_sub(1).map_or(Revision::ABSENT, |n| written[n]);
                let value = Bytes::from(value.to_string());
                match self.broker.put(bucket, key, value, expected).await {
                    Ok(revision) => {
                        written.push(revision);
                        model.written.insert((bucket, key), written.len());
                        format!("written {} times", written.len())
                    }
                    Err(PutError::Conflict { .. }) => "conflict".to_owned(),
                    Err(other) => other.to_string(),
                }
            }
            OnFact::Get => {
                let found = self.broker.get(bucket, key).await.map(|found| {
                    found.map(|entry| (entry.value, Some(&entry.revision) == written.last()))
                });
                shown(&found)
            }
            OnFact::Keys { prefix } => shown(&self.broker.keys(bucket, prefix).await),
        }
    }

    async fn store(&self, on: &OnStore) -> String {
        let broker = &self.broker;
        match *on {
            OnStore::PutBlob { number } => shown(&broker.put_blob(content(number)).await),
            OnStore::Blob { number, wrong_size } => {
                let blob = BlobRef::of(&content(number));
                let found = broker.blob(BlobRef { size: blob.size + wrong_size, ..blob }).await;
                shown(&found.map(|found| found.as_deref().map(described)))
            }
            OnStore::PutSnapshot { partition: p, seq } => {
                let snapshot = Snapshot { seq: Seq::new(seq), bytes: content(seq) };
                shown(&broker.put_snapshot(partition(p), snapshot).await)
            }
            OnStore::Snapshots { partition: p } => {
                let found = broker.snapshots(partition(p)).await.map(|found| {
                    let found = found.into_iter().take(2);
                    found.map(|s| (s.seq.get(), described(&s.bytes))).collect::<Vec<_>>()
                });
                shown(&found)
            }
        }
    }
}

fn capability_of(delivered: &Delivered) -> &'static str {
    CAPABILITIES
        .into_iter()
        .find(|capability| *capability == delivered.task.capability)
        .expect("only these are offered")
}

/// Returns the content of a blob: the larger ones need several messages.
fn content(number: u64) -> Bytes {
    let len = if number % 5 == 4 { 300_000 } else { 100 * number };
    Bytes::from(noise(number, usize::try_from(len).unwrap_or_default()))
}

fn described(bytes: &[u8]) -> String {
    format!("{} bytes {}", bytes.len(), skep_protocol::Hash::of(bytes).short())
}

fn shown<T: Debug, E: std::fmt::Display>(outcome: &Result<T, E>) -> String {
    match outcome {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    }
}
