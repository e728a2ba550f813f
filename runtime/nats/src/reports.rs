//! Reports: by request to the owner, or left in a stream when nobody listens.

use async_nats::Subject;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use serde::Serialize;
use skep_broker::{DurableReport, Late, Reports, RequestError, Requests, Unavailable};
use skep_protocol::{PartitionId, ReportBatch, ReportReply, Seq, encode};

use crate::ask::Extent;
use crate::nats::{self, Nats};
use crate::tail::{Stored, Tail};

/// Pause before a reader that was interrupted tries again.
const READ_AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

impl Reports for Nats {
    async fn report(
        &self,
        partition: PartitionId,
        batch: ReportBatch,
    ) -> Result<ReportReply, RequestError> {
        let what = || format!("reports of partition {partition}");
        let one = (self.layout().report(partition, &batch.agent), Extent::OneMessage);
        self.ask(what, one, &batch, self.patience()).await
    }

    async fn report_durably(
        &self,
        partition: PartitionId,
        batch: ReportBatch,
    ) -> Result<(), RequestError> {
        let attempted = "leave a report";
        let payload = encode(&batch);
        let (size, limit) = (payload.len(), self.shared.client.max_payload());
        if size > limit {
            let what = format!("a report to partition {partition}");
            return Err(RequestError::TooLarge { what, size, limit });
        }
        let subject = self.layout().late(partition, &batch.agent);
        let published = async { self.js().publish(subject, payload).await?.await };
        Ok(self.api(attempted, published).await.map(drop)?)
    }

    async fn serve_reports(
        &self,
        partition: PartitionId,
    ) -> Result<Requests<ReportBatch, ReportReply>, Unavailable> {
        let subject = self.layout().reports(partition);
        self.serve("listen for reports", subject, None, its_own).await
    }

    async fn durable_reports(
        &self,
        partition: PartitionId,
    ) -> Result<BoxStream<'static, Late>, Unavailable> {
        let end = Some(self.end_of_late(partition).await?);
        let mut reader =
            LateReader { nats: self.clone(), partition, next: Seq::ZERO, end, tail: None };
        reader.open().await?;
        let late = futures::stream::unfold(reader, |mut reader| async {
            let late = reader.read().await;
            Some((late, reader))
        });
        Ok(late.boxed())
    }
}

/// Reads reports of the agent that their subject names.
fn its_own(subject: &Subject, payload: &[u8]) -> Result<ReportBatch, String> {
    nats::its_own(subject, payload, |batch: &ReportBatch| &batch.agent)
}

/// Reads what was left for a partition, through interruptions.
struct LateReader {
    nats: Nats,
    partition: PartitionId,
    next: Seq,
    /// The last message there was when the reader came, until that was read.
    end: Option<Seq>,
    tail: Option<Tail>,
}

impl LateReader {
    async fn read(&mut self) -> Late {
        loop {
            if self.end.is_some_and(|end| end < self.next || end == Seq::ZERO) {
                self.end = None;
                return Late::CaughtUp;
            }
            let Some(tail) = &mut self.tail else {
                if self.open().await.is_err() {
                    tokio::time::sleep(READ_AGAIN).await;
                }
                continue;
            };
            let stored = tokio::select! {
                biased;
                stored = tail.next() => stored,
                () = tokio::time::sleep(READ_AGAIN), if self.end.is_some() => {
                    self.look_for_the_end().await;
                    continue;
                }
            };
            let Some(stored) = stored else {
                self.tail = None;
                continue;
            };
            self.next = stored.seq.next();
            if let Some(report) = self.report(stored).await {
                return Late::Reports(report);
            }
        }
    }

    /// What was last may have been confirmed by another reader, and will not come.
    async fn look_for_the_end(&mut self) {
        if let (Some(end), Ok(last)) = (self.end, self.nats.end_of_late(self.partition).await) {
            self.end = Some(end.min(last));
        }
    }

    async fn open(&mut self) -> Result<(), Unavailable> {
        let layout = self.nats.layout();
        let (stream, filter) = (layout.late_stream(), layout.lates(self.partition));
        self.tail = Some(Tail::open(&self.nats, &stream, &filter, self.next).await?);
        Ok(())
    }

    /// Reads one report; what is none, or speaks in the name of another, is removed.
    async fn report(&self, stored: Stored) -> Option<DurableReport> {
        let nats = self.nats.clone();
        let seq = stored.seq;
        let reason = match its_own(&stored.subject, &stored.payload) {
            Ok(batch) => {
                let confirm = move || async move { nats.remove_late(seq).await }.boxed();
                return Some(DurableReport::new(batch, confirm));
            }
            Err(reason) => reason,
        };
        nats.warn_once::<ReportBatch>(&stored.subject, &reason);
        nats.remove_late(seq).await.ok();
        None
    }
}

/// Removes a message without overwriting it, which would take a hundred times as long.
#[derive(Serialize)]
struct Remove {
    seq: u64,
    no_erase: bool,
}

impl Nats {
    /// Returns where what was left for a partition ends, as the leader of the stream knows it.
    async fn end_of_late(&self, partition: PartitionId) -> Result<Seq, Unavailable> {
        let attempted = "find the end of what was left";
        let stream = self.layout().late_stream();
        let stream = self.api(attempted, self.js().get_stream_no_info(stream)).await?;
        let last = async {
            let subject = self.layout().lates(partition);
            match stream.raw_message_builder().last_by_subject(subject).send().await {
                Ok(message) => Ok(Seq::new(message.sequence)),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                    Ok(Seq::ZERO)
                }
                Err(error) => Err(error),
            }
        };
        self.api(attempted, last).await
    }

    async fn remove_late(&self, seq: Seq) -> Result<(), Unavailable> {
        let subject = format!("STREAM.MSG.DELETE.{}", self.layout().late_stream());
        let request = Remove { seq: seq.get(), no_erase: true };
        let removed = self.js().request::<_, _, serde_json::Value>(subject, &request);
        // An error in the answer says that the message is not there, which is what was wanted.
        self.api("confirm a report", removed).await.map(drop)
    }
}
