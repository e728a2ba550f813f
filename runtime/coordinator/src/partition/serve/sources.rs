//! What the owner of a partition listens to.

use std::time::Duration;

use futures::future::join;
use futures::stream::BoxStream;
use skep_broker::{Broker, Late, Requests};
use skep_protocol::{Command, CommandReply, ReportBatch, ReportReply};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};

use super::super::{Context, LiveQuestion};

/// How often the loop looks whether it was replaced or is to hand over, and whether a snapshot is
/// due.
pub(super) const HOUSEKEEPING: Duration = Duration::from_millis(250);

/// What the loop listens to.
pub(super) struct Sources {
    pub(super) reports: Requests<ReportBatch, ReportReply>,
    pub(super) durable: BoxStream<'static, Late>,
    pub(super) commands: Requests<Command, CommandReply>,
    pub(super) questions: mpsc::Receiver<LiveQuestion>,
    pub(super) housekeeping: Interval,
}

/// Starts to listen as the owner of the partition.
pub(super) async fn listen<B: Broker>(
    context: &Context<B>,
    questions: mpsc::Receiver<LiveQuestion>,
) -> Sources {
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Whoever finds nobody to report to leaves the report before the reader comes.
    let reports = context.reports().await;
    let (durable, commands) = join(context.durable_reports(), context.commands()).await;
    Sources { reports, durable, commands, questions, housekeeping }
}
