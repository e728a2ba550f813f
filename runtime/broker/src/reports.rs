//! Agent → owner of a partition: reports, and the durable way for when nobody listens.

use std::fmt;
use std::future::Future;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use skep_protocol::{PartitionId, ReportBatch, ReportReply};

use crate::error::{RequestError, Unavailable};
use crate::requests::Requests;

/// Reports that came by the durable way.
pub struct DurableReport {
    /// The reports.
    pub batch: ReportBatch,
    confirm: Box<dyn FnOnce() -> BoxFuture<'static, Result<(), Unavailable>> + Send>,
}

impl DurableReport {
    /// Wraps reports and whatever removes them from where they are kept.
    pub fn new(
        batch: ReportBatch,
        confirm: impl FnOnce() -> BoxFuture<'static, Result<(), Unavailable>> + Send + 'static,
    ) -> Self {
        Self { batch, confirm: Box::new(confirm) }
    }

    /// Lets the broker forget the reports: what follows from them is in the journal.
    ///
    /// # Errors
    /// [`Unavailable`]: they may come again.
    pub async fn confirm(self) -> Result<(), Unavailable> {
        (self.confirm)().await
    }
}

impl fmt::Debug for DurableReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableReport").field("batch", &self.batch).finish_non_exhaustive()
    }
}

/// What a reader of durable reports comes across.
#[derive(Debug)]
pub enum Late {
    /// Reports that nobody confirmed.
    Reports(DurableReport),
    /// All that had been left when the reader came was read.
    CaughtUp,
}

impl Late {
    /// Returns the reports, if these are any.
    pub fn reports(self) -> Option<DurableReport> {
        match self {
            Self::Reports(reports) => Some(reports),
            Self::CaughtUp => None,
        }
    }
}

/// How reports reach the owner of a partition. What is sent by `report` keeps the clauses of
/// [`Requests`]; what is left by `report_durably` keeps these:
///
/// - **C36** It is read in the order in which it was left, before and after the reader came.
/// - **C37** What was not confirmed comes again, in order, to the next reader; the rest does not.
/// - **C38** It is read only by the partition that it was left for.
/// - **C52** A reader is told once that it read all that had been left when it came, be it nothing.
pub trait Reports: Clone + Send + Sync + 'static {
    /// Reports to the owner and returns its verdicts, once they are durable.
    ///
    /// # Errors
    /// [`RequestError::NoResponders`] if the partition has no owner at the moment.
    fn report(
        &self,
        partition: PartitionId,
        batch: ReportBatch,
    ) -> impl Future<Output = Result<ReportReply, RequestError>> + Send;

    /// Leaves reports where the next owner of the partition finds them. Durable once it returns.
    fn report_durably(
        &self,
        partition: PartitionId,
        batch: ReportBatch,
    ) -> impl Future<Output = Result<(), RequestError>> + Send;

    /// Listens as the owner of `partition`.
    fn serve_reports(
        &self,
        partition: PartitionId,
    ) -> impl Future<Output = Result<Requests<ReportBatch, ReportReply>, Unavailable>> + Send;

    /// Reads what was left by [`report_durably`](Self::report_durably), from the oldest that was
    /// not confirmed, and goes on as more is left. What is not confirmed comes again to the next
    /// reader.
    fn durable_reports(
        &self,
        partition: PartitionId,
    ) -> impl Future<Output = Result<BoxStream<'static, Late>, Unavailable>> + Send;
}
