//! The port, over the network.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use skep_broker::{
    AppendError, Blobs, Bucket, Commands, Delivered, Direct, DurableReport, Entry, Hold, Journal,
    JournalMessage, JournalReader, Late, Presence, PutBlobError, PutError, Queries, QueueDepth,
    Registry, Reports, RequestError, Requests, Revision, Snapshot, Snapshots, Tasks, Unavailable,
};
use skep_protocol::{
    AgentId, BlobRef, Command, CommandReply, Control, Delivery, Heartbeat, PartitionId, Query,
    QueryReply, Ration, ReportBatch, ReportReply, Seq, Task, TaskBatch,
};

use super::Client;
use super::carry::Repeats;
use super::hear::Unheard;

impl Journal for Client {
    async fn append(
        &self,
        partition: PartitionId,
        expected: Seq,
        message: Bytes,
    ) -> Result<Seq, AppendError> {
        let (witness, by) = (Arc::clone(&self.network.witness), Arc::clone(&self.link));
        // A message that arrives twice finds the journal longer than it expects.
        self.store(Repeats::Perhaps, move |broker| {
            let (witness, by, message) = (Arc::clone(&witness), Arc::clone(&by), message.clone());
            async move {
                let appended = broker.append(partition, expected, message.clone()).await;
                match &appended {
                    Ok(seq) => witness.appended(&by.name, partition, *seq, &message),
                    Err(_) => witness.reached("append refused by the fence"),
                }
                appended
            }
        })
        .await
    }

    async fn last(&self, partition: PartitionId) -> Result<Option<JournalMessage>, Unavailable> {
        self.ask(|broker| async move { broker.last(partition).await }).await
    }

    async fn age(&self, partition: PartitionId) -> Result<Duration, Unavailable> {
        self.ask(|broker| async move { broker.age(partition).await }).await
    }

    async fn follow(
        &self,
        partition: PartitionId,
        from: Seq,
    ) -> Result<JournalReader, Unavailable> {
        let reader = self.ask(|broker| async move { broker.follow(partition, from).await }).await?;
        Ok(self.hear(reader, Unheard::Waits))
    }

    async fn trim(&self, partition: PartitionId, first_kept: Seq) -> Result<(), Unavailable> {
        self.witness().reached("journal trimmed");
        self.send(Repeats::Perhaps, move |broker| async move {
            broker.trim(partition, first_kept).await
        })
        .await
    }
}

impl Tasks for Client {
    async fn offer(&self, task: Task, sending: u32) -> Result<(), RequestError> {
        // A process that is stopped between its decision and the socket sends late what is stale by
        // then; agents and stores know by the fencing token.
        self.witness().sent(&self.link.name, &task);
        self.link.running().await;
        self.witness().reached(if sending > 0 { "task queued again" } else { "task queued" });
        self.store(Repeats::Perhaps, move |broker| {
            let task = task.clone();
            async move { broker.offer(task, sending).await }
        })
        .await
    }

    async fn pull(
        &self,
        capability: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivered>, Unavailable> {
        self.witness().pulls(&self.link.name);
        let pulled =
            self.ask(|broker| async move { broker.pull(capability, max, wait).await }).await?;
        self.witness().note(|| format!("{} pulls {pulled:?}", self.link.name));
        if pulled.iter().any(|task| task.deliveries > 1) {
            self.witness().reached("task pulled again");
        }
        Ok(pulled.into_iter().map(|task| self.settled(task)).collect())
    }

    async fn depth(&self, capability: &str) -> Result<QueueDepth, Unavailable> {
        self.ask(|broker| async move { broker.depth(capability).await }).await
    }

    async fn clear(&self, capability: &str) -> Result<(), Unavailable> {
        let capability = capability.to_owned();
        self.send(Repeats::Never, move |broker| {
            let capability = capability.clone();
            async move { broker.clear(&capability).await }
        })
        .await
    }
}

impl Client {
    fn settled(&self, delivered: Delivered) -> Delivered {
        let (client, hold) = (self.clone(), Arc::new(tokio::sync::Mutex::new(delivered.hold)));
        let hold = Hold::new(move |settle| {
            let (client, hold) = (client.clone(), Arc::clone(&hold));
            Box::pin(async move {
                client
                    .send(Repeats::Never, move |_| {
                        let hold = Arc::clone(&hold);
                        async move { hold.lock().await.settle(settle).await }
                    })
                    .await
            })
        });
        Delivered { hold, ..delivered }
    }
}

impl Commands for Client {
    async fn command(
        &self,
        partition: PartitionId,
        command: Command,
    ) -> Result<CommandReply, RequestError> {
        let sent = command.clone();
        let reply = self
            .send(Repeats::Perhaps, move |broker| {
                let command = command.clone();
                async move { broker.command(partition, command).await }
            })
            .await;
        self.witness().note(|| format!("{} asks p{partition} {sent:?}: {reply:?}", self.link.name));
        reply
    }

    async fn serve_commands(
        &self,
        partition: PartitionId,
    ) -> Result<Requests<Command, CommandReply>, Unavailable> {
        let heard =
            self.ask(|broker| async move { broker.serve_commands(partition).await }).await?;
        Ok(self.hear(heard, Unheard::IsLost))
    }
}

impl Queries for Client {
    async fn query(&self, query: Query) -> Result<QueryReply, RequestError> {
        self.ask(|broker| async move { broker.query(query).await }).await
    }

    async fn serve_queries(&self) -> Result<Requests<Query, QueryReply>, Unavailable> {
        let heard = self.ask(|broker| async move { broker.serve_queries().await }).await?;
        Ok(self.hear(heard, Unheard::IsLost))
    }
}

impl Direct for Client {
    async fn deliver(&self, agent: &AgentId, tasks: &TaskBatch) -> Result<Delivery, RequestError> {
        for task in &tasks.tasks {
            self.witness().sent(&self.link.name, task);
        }
        self.link.running().await;
        let (agent, tasks) = (agent.clone(), tasks.clone());
        self.send(Repeats::Perhaps, move |broker| {
            let (agent, tasks) = (agent.clone(), tasks.clone());
            async move { broker.deliver(&agent, &tasks).await }
        })
        .await
    }

    async fn serve_tasks(
        &self,
        agent: &AgentId,
    ) -> Result<Requests<TaskBatch, Delivery>, Unavailable> {
        let heard = self.ask(|broker| async move { broker.serve_tasks(agent).await }).await?;
        Ok(self.hear(heard, Unheard::IsLost))
    }

    async fn control(&self, agent: Option<&AgentId>, control: Control) -> Result<(), Unavailable> {
        self.witness().reached(match &control {
            Control::Cancel { .. } => "agent told to cancel",
            Control::RollCall { .. } => "roll call",
            Control::Drain {} => "agent told to drain",
            Control::Ration(Ration::AtMost(0)) => "agent told to pull nothing",
            Control::Ration(Ration::AtMost(_)) => "agent told to pull little",
            Control::Ration(Ration::Full) => "agent told to pull again",
        });
        let agent = agent.cloned();
        self.send(Repeats::Perhaps, move |broker| {
            let (agent, control) = (agent.clone(), control.clone());
            async move { broker.control(agent.as_ref(), control).await }
        })
        .await
    }

    async fn controls(&self, agent: &AgentId) -> Result<BoxStream<'static, Control>, Unavailable> {
        let heard = self.ask(|broker| async move { broker.controls(agent).await }).await?;
        Ok(self.hear(heard, Unheard::IsLost))
    }
}

impl Reports for Client {
    async fn report(
        &self,
        partition: PartitionId,
        batch: ReportBatch,
    ) -> Result<ReportReply, RequestError> {
        self.link.running().await;
        let batch = self.witness().reported(batch);
        self.send(Repeats::Perhaps, move |broker| {
            let batch = batch.clone();
            async move { broker.report(partition, batch).await }
        })
        .await
    }

    async fn report_durably(
        &self,
        partition: PartitionId,
        batch: ReportBatch,
    ) -> Result<(), RequestError> {
        self.link.running().await;
        let batch = self.witness().reported(batch);
        self.witness().reached("report left for the next owner");
        self.store(Repeats::Perhaps, move |broker| {
            let batch = batch.clone();
            async move { broker.report_durably(partition, batch).await }
        })
        .await
    }

    async fn serve_reports(
        &self,
        partition: PartitionId,
    ) -> Result<Requests<ReportBatch, ReportReply>, Unavailable> {
        let heard = self.ask(|broker| async move { broker.serve_reports(partition).await }).await?;
        Ok(self.hear(heard, Unheard::IsLost))
    }

    async fn durable_reports(
        &self,
        partition: PartitionId,
    ) -> Result<BoxStream<'static, Late>, Unavailable> {
        let heard =
            self.ask(|broker| async move { broker.durable_reports(partition).await }).await?;
        let client = self.clone();
        let heard = heard.map(move |late| {
            let Late::Reports(report) = late else { return late };
            let client = client.clone();
            Late::Reports(DurableReport::new(report.batch.clone(), || {
                Box::pin(async move { client.confirmed(report).await })
            }))
        });
        Ok(self.hear(heard.boxed(), Unheard::Waits))
    }
}

impl Client {
    async fn confirmed(&self, report: DurableReport) -> Result<(), Unavailable> {
        let report = std::sync::Mutex::new(Some(report));
        self.send(Repeats::Never, move |_| {
            let report = super::lock(&report).take();
            async move {
                match report {
                    Some(report) => report.confirm().await,
                    None => Ok(()),
                }
            }
        })
        .await
    }
}

impl Presence for Client {
    async fn beat(&self, heartbeat: Heartbeat) -> Result<(), Unavailable> {
        self.witness().said(&heartbeat);
        self.send(Repeats::Perhaps, move |broker| {
            let heartbeat = heartbeat.clone();
            async move { broker.beat(heartbeat).await }
        })
        .await
    }

    async fn beats(&self) -> Result<BoxStream<'static, Heartbeat>, Unavailable> {
        let heard = self.ask(|broker| async move { broker.beats().await }).await?;
        Ok(self.hear(heard, Unheard::IsLost))
    }

    fn is_connected(&self) -> bool {
        self.link.seems_connected()
    }
}

impl Blobs for Client {
    async fn put_blob(&self, bytes: Bytes) -> Result<BlobRef, PutBlobError> {
        self.witness().kept_blob(&bytes);
        self.store(Repeats::Perhaps, move |broker| {
            let bytes = bytes.clone();
            async move { broker.put_blob(bytes).await }
        })
        .await
    }

    async fn blob(&self, blob: BlobRef) -> Result<Option<Bytes>, Unavailable> {
        self.ask(|broker| async move { broker.blob(blob).await }).await
    }
}

impl Snapshots for Client {
    async fn put_snapshot(
        &self,
        partition: PartitionId,
        snapshot: Snapshot,
    ) -> Result<(), Unavailable> {
        self.witness().reached("snapshot kept");
        self.store(Repeats::Perhaps, move |broker| {
            let snapshot = snapshot.clone();
            async move { broker.put_snapshot(partition, snapshot).await }
        })
        .await
    }

    async fn snapshots(&self, partition: PartitionId) -> Result<Vec<Snapshot>, Unavailable> {
        self.ask(|broker| async move { broker.snapshots(partition).await }).await
    }
}

impl Registry for Client {
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>, Unavailable> {
        self.ask(|broker| async move { broker.get(bucket, key).await }).await
    }

    async fn put(
        &self,
        bucket: Bucket,
        key: &str,
        value: Bytes,
        expected: Revision,
    ) -> Result<Revision, PutError> {
        let (key, witness) = (key.to_owned(), Arc::clone(&self.network.witness));
        self.store(Repeats::Never, move |broker| {
            let (key, value, witness) = (key.clone(), value.clone(), Arc::clone(&witness));
            async move {
                let put = broker.put(bucket, &key, value.clone(), expected).await;
                if put.is_ok() {
                    witness.kept_fact(bucket, &key, &value);
                }
                put
            }
        })
        .await
    }

    async fn keys(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, Unavailable> {
        self.ask(|broker| async move { broker.keys(bucket, prefix).await }).await
    }
}
