//! Measures the port over a throwaway nats-server, next to the same work done by the client alone:
//! `cargo run --release -p skep-nats --example latency`. Read the figures as ratios.
#![expect(clippy::print_stdout, reason = "a measurement prints what it found")]

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use skep_broker::{Direct as _, Journal as _, Settle, Tasks as _};
use skep_nats::server::{Options, SyncInterval, ThrowawayServer};
use skep_nats::{ConnectOptions, Nats};
use skep_protocol::{
    AgentId, Delivery, PartitionCount, PartitionId, Payload, RunId, Seq, StepPath, Task, TaskBatch,
};
use tokio::time::Instant;

const ROUNDS: usize = 3_000;
const CAPABILITY: &str = "writer";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    for sync_interval in [SyncInterval::Default, SyncInterval::Always] {
        println!("sync_interval: {sync_interval:?}");
        let options = Options { sync_interval, ..Options::default() };
        let server = ThrowawayServer::start(options).await?;
        measure_all(&server.url()).await?;
    }
    Ok(())
}

async fn measure_all(url: &str) -> Result<(), Box<dyn Error>> {
    let nats = Nats::connect(ConnectOptions::url(url)).await?;
    nats.ensure_layout(PartitionCount::DEFAULT).await?;
    let client = async_nats::connect(url).await?;
    let js = async_nats::jetstream::new(client.clone());
    let body = Bytes::from(vec![b'x'; 256]);

    let p = PartitionId::new(0);
    measure("append, awaited", async |round| {
        nats.append(p, Seq::new(round as u64), body.clone()).await.map(drop)
    })
    .await?;
    measure("  the client alone", async |_| {
        js.publish("skep.journal.1", body.clone()).await?.await.map(drop)
    })
    .await?;

    let agent = AgentId::new("a")?;
    let mut tasks = nats.serve_tasks(&agent).await?;
    let serving = tokio::spawn(async move {
        while let Some(request) = tasks.next().await {
            request.responder.send(Delivery::default());
        }
    });
    let asker = Nats::connect(ConnectOptions::url(url)).await?;
    measure("deliver one task, answered", async |_| {
        asker.deliver(&agent, &TaskBatch { tasks: vec![task(0)] }).await.map(drop)
    })
    .await?;
    serving.abort();
    let mut echo = client.subscribe("echo").await?;
    let server = client.clone();
    let serving = tokio::spawn(async move {
        while let Some(message) = echo.next().await {
            if let Some(reply) = message.reply {
                server.publish(reply, message.payload).await.ok();
            }
        }
    });
    let other = async_nats::connect(url).await?;
    measure("  the client alone", async |_| other.request("echo", body.clone()).await.map(drop))
        .await?;
    serving.abort();
    let nobody = AgentId::new("nobody")?;
    measure("deliver to nobody", async |_| {
        asker.deliver(&nobody, &TaskBatch::default()).await.err().map(drop).ok_or("answered")
    })
    .await?;
    queue(&nats).await
}

async fn queue(nats: &Nats) -> Result<(), Box<dyn Error>> {
    measure("offer", async |round| nats.offer(task(round), 1).await).await?;
    let wait = Duration::from_secs(5);
    measure("pull one and acknowledge it", async |_| {
        let mut pulled = nats.pull(CAPABILITY, 1, wait).await?;
        pulled[0].settle(Settle::Ack).await
    })
    .await?;
    for round in 0..ROUNDS {
        nats.offer(task(round), 2).await?;
    }
    let start = Instant::now();
    let mut done = 0;
    while done < ROUNDS {
        let pulled = nats.pull(CAPABILITY, 100, wait).await?;
        done += pulled.len();
        let settled = pulled.into_iter().map(|mut d| async move { d.settle(Settle::Ack).await });
        futures::future::try_join_all(settled).await?;
    }
    let rate = done as f64 / start.elapsed().as_secs_f64();
    println!("  {:<30} {rate:>8.0} per second", "pull 100, acknowledge together");
    Ok(())
}

fn task(number: usize) -> Task {
    Task {
        v: Task::VERSION,
        run: RunId::from_key("latency", "run"),
        step: StepPath::new("step").item(u32::try_from(number).unwrap_or_default()),
        attempt: 1,
        fencing_token: 1,
        ask: false,
        origin: None,
        capability: CAPABILITY.to_owned(),
        workflow: "latency".to_owned(),
        partition: PartitionId::new(0),
        input: Payload::null(),
        checkpoint: None,
        timeout_ms: 1_000,
        deadline: None,
        deadline_in_ms: None,
        priority: 5,
        labels: std::collections::BTreeMap::new(),
    }
}

/// Does something many times, one after the other, and prints the median and the 99th percentile.
async fn measure<E>(
    what: &str,
    mut work: impl AsyncFnMut(usize) -> Result<(), E>,
) -> Result<(), E> {
    let mut took = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let start = Instant::now();
        work(round).await?;
        took.push(start.elapsed());
    }
    took.sort();
    let (p50, p99) = (took[ROUNDS / 2], took[ROUNDS * 99 / 100]);
    println!("  {what:<30} {:>8} µs p50 {:>8} µs p99", p50.as_micros(), p99.as_micros());
    Ok(())
}
