//! C48 to C50: what a broker is after an orderly restart. They pass for one that cannot be
//! restarted.

use std::time::Duration;

use bytes::Bytes;
use skep_protocol::{Query, QueryReply, Seq};

use super::fixtures::{heartbeat, next, only_reports, partition, soon, task, while_serving};
use super::journal::{expect_messages, fill};
use super::reports::{leave, read};
use super::stores::snapshot;
use super::tasks::pull;
use super::{Harness, Restart};
use crate::blobs::{Blobs as _, Snapshots as _};
use crate::directory::{Bucket, Presence as _, Registry as _, Revision};
use crate::error::RequestError;
use crate::journal::Journal as _;
use crate::reports::Reports as _;
use crate::requests::Queries as _;
use crate::tasks::Tasks as _;

/// C48: journals, durable reports, blobs, facts and snapshots survive; a follower and a reader of
/// durable reports go on where they were.
pub async fn c48_what_is_durable_survives_a_restart<H: Harness>(harness: &H) {
    let (broker, p) = (harness.client().await, partition(0));
    fill(&broker, p, 20).await;
    broker.trim(p, Seq::new(3)).await.expect("trim");
    leave(&broker, 0..2).await;
    let blob = broker.put_blob(Bytes::from_static(b"\"large\"")).await.expect("put");
    let revision =
        broker.put(Bucket::Cluster, "k", Bytes::from_static(b"v"), Revision::ABSENT).await;
    broker.put_snapshot(p, snapshot(7, 100)).await.expect("put");
    let mut follower = broker.follow(p, Seq::ZERO).await.expect("follow");
    expect_messages(&mut follower, 3..=20).await;
    let mut reader = only_reports(broker.durable_reports(p).await.expect("read"));
    for report in read(&mut reader, 1).await {
        report.confirm().await.expect("confirm");
    }

    if harness.restart().await == Restart::Impossible {
        return;
    }
    again("appending", async || broker.last(p).await.ok()).await;
    fill(&broker, p, 25).await;
    expect_messages(&mut follower, 21..=25).await;
    leave(&broker, 2..3).await;
    let steps = async {
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 2 {
            seen.insert(next("a report", &mut reader).await.batch.reports[0].step.clone());
        }
        seen.into_iter().map(|step| step.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(soon("the other reports", steps).await, ["s1", "s2"]);
    assert!(broker.blob(blob).await.expect("get").is_some());
    let fact = broker.get(Bucket::Cluster, "k").await.expect("get").expect("the fact");
    assert_eq!(fact.revision, revision.expect("put"));
    assert_eq!(broker.snapshots(p).await.expect("snapshots"), [snapshot(7, 100)]);
    let mut from_start = harness.client().await.follow(p, Seq::ZERO).await.expect("follow");
    expect_messages(&mut from_start, 3..=25).await;
}

/// C49: who listened before is heard again, without doing anything for it.
pub async fn c49_listeners_are_heard_after_a_restart<H: Harness>(harness: &H) {
    let (client, owner) = (harness.client().await, harness.client().await);
    let queries = owner.serve_queries().await.expect("serve");
    let mut beats = owner.beats().await.expect("listen");
    if harness.restart().await == Restart::Impossible {
        return;
    }
    let asking =
        again("asking", async || match client.query(Query::Agents { everywhere: false }).await {
            Ok(answer) => Some(answer),
            Err(
                RequestError::NoResponders { .. }
                | RequestError::TimedOut { .. }
                | RequestError::Unavailable(_),
            ) => None,
            Err(other) => panic!("{other}"),
        });
    let answer = while_serving(queries, |_| Some(QueryReply::NotFound {}), asking).await;
    assert_eq!(answer, QueryReply::NotFound {});
    let beating = again("beating", async || {
        client.beat(heartbeat("a", 1)).await.ok()?;
        tokio::time::timeout(Duration::from_millis(100), futures::StreamExt::next(&mut beats))
            .await
            .ok()
    });
    assert_eq!(beating.await, Some(heartbeat("a", 1)));
    assert!(client.is_connected());
}

/// C50: a queue may have lost what it held, and works again for those who used it before.
pub async fn c50_queues_work_after_a_restart<H: Harness>(harness: &H) {
    let (sender, agent) = (harness.client().await, harness.client().await);
    sender.offer(task("writer", "before"), 1).await.expect("offer");
    assert_eq!(pull(&agent, "writer", 1).await.len(), 1);
    if harness.restart().await == Restart::Impossible {
        return;
    }
    let mut sending = 1;
    let pulled = again("pulling", async || {
        sending += 1;
        sender.offer(task("writer", "after"), sending).await.ok()?;
        let pulled = agent.pull("writer", 9, Duration::from_secs(1)).await.ok()?;
        pulled.into_iter().find(|delivered| delivered.task.step.as_str() == "after")
    });
    assert_eq!(pulled.await.task, task("writer", "after"));
}

/// Tries until there is an answer: a client may need a moment to find its broker again.
async fn again<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let trying = async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(what, trying).await
}
