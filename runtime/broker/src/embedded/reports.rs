//! Reports in memory.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use skep_protocol::{PartitionId, ReportBatch, ReportReply};

use super::Embedded;
use super::part::Taking;
use super::requests::{What, ask, serve};
use crate::error::{RequestError, Unavailable};
use crate::memory::{DurableReports, Full, Kept, Read};
use crate::reports::{DurableReport, Late, Reports};
use crate::requests::Requests;

impl Reports for Embedded {
    async fn report(
        &self,
        partition: PartitionId,
        batch: ReportBatch,
    ) -> Result<ReportReply, RequestError> {
        let what = What::Reports(partition);
        self.check_size(&batch, what)?;
        let within = self.parts.settings.request_timeout;
        ask(&self.parts.reports, &partition, batch, within, what).await
    }

    async fn report_durably(
        &self,
        partition: PartitionId,
        batch: ReportBatch,
    ) -> Result<(), RequestError> {
        self.check_size(&batch, What::Reports(partition))?;
        let left = self.parts.durable.with(|durable, ready| durable.leave(partition, batch, ready));
        left.map_err(|Full| {
            let reason = "too many wait for an owner of their partition".to_owned();
            Unavailable { attempted: "keep reports", reason }.into()
        })
    }

    async fn serve_reports(
        &self,
        partition: PartitionId,
    ) -> Result<Requests<ReportBatch, ReportReply>, Unavailable> {
        Ok(serve(&self.parts.reports, partition))
    }

    async fn durable_reports(
        &self,
        partition: PartitionId,
    ) -> Result<BoxStream<'static, Late>, Unavailable> {
        let part = Arc::clone(&self.parts.durable);
        let reader = part.with(|durable, _| durable.open(partition));
        let take = |durable: &mut DurableReports, reader| durable.read(reader);
        let read = Taking::new(&part, reader, take, |durable, reader, _| durable.close(reader));
        let reports = read.map(move |read| match read {
            Read::CaughtUp => Late::CaughtUp,
            Read::Kept(Kept { partition, number, batch }) => {
                let part = Arc::clone(&part);
                Late::Reports(DurableReport::new(batch, move || {
                    Box::pin(async move {
                        part.with(|durable, _| durable.confirm(partition, number));
                        Ok(())
                    })
                }))
            }
        });
        Ok(reports.boxed())
    }
}
