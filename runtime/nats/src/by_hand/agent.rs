//! The agent of the loops written by hand: it answers each task with its payload.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{AckKind, Context};
use async_nats::{Client, Subject};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use super::{ByHandError, IN_FLIGHT, Names, PATIENCE, Way, failed};
use crate::nats::Nats;

/// Pulled tasks that one request admits.
const AT_ONCE: usize = 512;
/// Pause before the queue is looked for again.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Performs the tasks of the loop of this prefix until it is dropped.
///
/// # Errors
/// [`ByHandError`] if the broker does not let it.
///
/// # Cancel safety
/// What it holds is lost.
pub async fn perform(nats: &Nats, prefix: &str, way: Way) -> Result<(), ByHandError> {
    let names = Names(prefix.to_owned());
    let client = &nats.shared.client;
    match way {
        Way::Direct => answer(client, &names).await,
        Way::Queue => send(client, &names, pull(nats, &names).await?).await,
        Way::Plain => store(nats.js(), &names, pull(nats, &names).await?).await,
    }
}

async fn answer(client: &Client, names: &Names) -> Result<(), ByHandError> {
    let mut tasks = client
        .subscribe(names.tasks())
        .await
        .map_err(|error| failed("listen for tasks")(&error))?;
    while let Some(task) = tasks.next().await {
        let Some(reply) = task.reply else { continue };
        let answered = client.publish(reply, task.payload).await;
        answered.map_err(|error| failed("answer a task")(&error))?;
    }
    Ok(())
}

/// Sends each result, and settles its task at once.
async fn send(client: &Client, names: &Names, mut tasks: pull::Stream) -> Result<(), ByHandError> {
    let results = names.results();
    while let Some(task) = tasks.next().await {
        let task = task.map_err(|error| failed("pull a task")(&error))?;
        let sent = client.publish(results.clone(), task.payload.clone()).await;
        sent.map_err(|error| failed("send a result")(&error))?;
        let Some(reply) = task.message.reply else { continue };
        let settled = client.publish(reply, AckKind::Ack.into()).await;
        settled.map_err(|error| failed("settle a task")(&error))?;
    }
    Ok(())
}

/// Stores each result, many at a time, and settles its task only after that.
async fn store(js: &Context, names: &Names, tasks: pull::Stream) -> Result<(), ByHandError> {
    let journal = &Subject::from(names.journal());
    let tasks = tasks.map_err(|error| failed("pull a task")(&error));
    let storing = tasks.try_for_each_concurrent(IN_FLIGHT, async |task| {
        let sent = js.publish(journal.clone(), task.payload.clone()).await;
        let stored = sent.map_err(|error| failed("send a result")(&error))?.await;
        stored.map_err(|error| failed("store a result")(&error))?;
        task.ack().await.map_err(|error| failed("settle a task")(error.as_ref()))
    });
    storing.await
}

async fn pull(nats: &Nats, names: &Names) -> Result<pull::Stream, ByHandError> {
    let config = pull::Config {
        durable_name: Some("agents".to_owned()),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: 100_000,
        ..pull::Config::default()
    };
    let until = Instant::now() + PATIENCE;
    let consumer = loop {
        let made = nats.js().create_consumer_on_stream(config.clone(), names.stream("tasks")).await;
        match made {
            Ok(consumer) => break consumer,
            // The stream is the driver's to make.
            Err(_) if Instant::now() < until => tokio::time::sleep(LOOK_EVERY).await,
            Err(error) => return Err(failed("make a consumer")(&error)),
        }
    };
    let tasks = consumer.stream().max_messages_per_batch(AT_ONCE).messages().await;
    tasks.map_err(|error| failed("pull tasks")(&error))
}
