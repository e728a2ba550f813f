//! What `skep doctor` shows of a server.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::stream::{Config, Info, StorageType};
use bytes::Bytes;
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use skep_broker::Unavailable;
use skep_protocol::PartitionCount;

use crate::nats::Nats;
use crate::settings::{Difference, differences};

/// How long a server may take to answer what it need not answer.
const OPTIONAL_WITHIN: Duration = Duration::from_secs(2);

/// What is known of the server, and of what the cluster keeps there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The name of the server that this client is connected to.
    pub server: String,
    /// Its version.
    pub version: String,
    /// The name of the NATS cluster, if there is one.
    pub cluster: Option<String>,
    /// The largest message, in bytes.
    pub max_payload: usize,
    /// How often acknowledged data is forced to the disk; `None` if the server does not tell, as it
    /// does only in its system account.
    pub sync: Option<SyncPolicy>,
    /// How far the clock of the server is ahead of ours, in milliseconds, within the time that the
    /// question took.
    pub clock_ahead_ms: Option<i64>,
    /// How long a question to the server took, in microseconds.
    pub round_trip_us: u64,
    /// The streams of this namespace, sorted by name.
    pub streams: Vec<StreamView>,
}

/// How often the server forces data to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncPolicy {
    /// Before each acknowledgement.
    Always,
    /// At this interval: a power failure loses what was acknowledged since.
    IntervalMs(u64),
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamView {
    /// Its name.
    pub name: String,
    /// How many messages it has.
    pub messages: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// How many servers keep it.
    pub replicas: usize,
    /// `file` or `memory`.
    pub storage: String,
    /// The server that leads it, in a cluster.
    pub leader: Option<String>,
    /// Replicas that lag behind or cannot be reached, in a cluster.
    pub behind: Vec<String>,
    /// Settings by which it could lose or refuse what skep sends, in words.
    pub differs: Vec<String>,
}

#[derive(Deserialize)]
struct Stamped {
    ts: Option<String>,
}

/// The part of the server's `jsz` that matters here.
#[derive(Deserialize)]
struct Jsz {
    data: JszData,
}

#[derive(Deserialize)]
struct JszData {
    config: JszConfig,
}

#[derive(Deserialize)]
struct JszConfig {
    #[serde(default)]
    sync_always: bool,
    #[serde(default)]
    sync_interval: u64,
}

impl Nats {
    /// Looks at the server and at the streams of the cluster.
    ///
    /// # Errors
    /// [`Unavailable`] if the server does not answer.
    ///
    /// # Cancel safety
    /// Safe: nothing is changed.
    pub async fn inspect(&self) -> Result<Inspection, Unavailable> {
        let server = self.shared.client.server_info();
        let streams = self.streams_seen().await?;
        let (clock_ahead_ms, round_trip) = match streams.first() {
            Some(stream) => self.clock(&stream.name).await?,
            None => (None, Duration::ZERO),
        };
        Ok(Inspection {
            server: server.server_name,
            version: server.version,
            cluster: server.cluster,
            max_payload: server.max_payload,
            sync: self.sync_policy().await,
            clock_ahead_ms,
            round_trip_us: u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX),
            streams,
        })
    }

    /// Returns the names of the streams that a cluster with so many partitions needs, and that were
    /// not seen.
    pub fn missing(&self, partitions: PartitionCount, seen: &Inspection) -> Vec<String> {
        let wanted = self.layout().streams(partitions, 1).into_iter().map(|config| config.name);
        wanted.filter(|name| seen.streams.iter().all(|stream| stream.name != *name)).collect()
    }

    async fn streams_seen(&self) -> Result<Vec<StreamView>, Unavailable> {
        let infos = self.js().streams().try_collect::<Vec<_>>();
        let infos = self.api("list the streams", infos).await?;
        let ours = || infos.iter().filter(|info| self.layout().is_ours(&info.config.name));
        let partitions = self.layout().partitions_of(ours().map(|info| info.config.name.as_str()));
        let wanted = partitions.map(|partitions| self.layout().streams(partitions, 1));
        let view = |info: &Info| {
            let mut wanted = wanted.iter().flatten();
            StreamView::of(info, wanted.find(|wanted| wanted.name == info.config.name))
        };
        let mut streams: Vec<StreamView> = ours().map(view).collect();
        streams.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(streams)
    }

    /// Compares the clocks by the time that the server puts into its answers.
    async fn clock(&self, stream: &str) -> Result<(Option<i64>, Duration), Unavailable> {
        let subject = format!("STREAM.INFO.{stream}");
        let before = wall_clock();
        let asked = self.js().request::<_, _, Stamped>(subject, &());
        let answer = self.api("ask the server for its time", asked).await?;
        let after = wall_clock();
        let took = after.saturating_sub(before);
        let ahead =
            answer.ts.and_then(|ts| async_nats::datetime::parse_rfc3339(&ts).ok()).map(|ts| {
                let server =
                    i64::try_from(ts.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
                let middle = i64::try_from((before + took / 2).as_millis()).unwrap_or(i64::MAX);
                server - middle
            });
        Ok((ahead, took))
    }

    async fn sync_policy(&self) -> Option<SyncPolicy> {
        let asked = self.shared.mux.ask(
            "$SYS.REQ.SERVER.PING.JSZ".to_owned(),
            None,
            Bytes::from_static(br#"{"config":true}"#),
        );
        let asked = tokio::time::timeout(OPTIONAL_WITHIN, asked).await.ok()?;
        let config = serde_json::from_slice::<Jsz>(&asked.ok()?.payload).ok()?.data.config;
        Some(if config.sync_always {
            SyncPolicy::Always
        } else {
            SyncPolicy::IntervalMs(config.sync_interval / 1_000_000)
        })
    }
}

impl StreamView {
    fn of(info: &Info, wanted: Option<&Config>) -> Self {
        let differs = wanted.map(|wanted| differences(wanted, &info.config, None));
        let differs = differs.into_iter().flatten().map(|d| {
            let Difference { setting, found, wanted } = d;
            format!("{setting} = {found}, but skep needs {wanted}")
        });
        let cluster = info.cluster.as_ref();
        let behind = cluster.map(|cluster| {
            let behind = cluster.replicas.iter().filter(|peer| !peer.current || peer.offline);
            behind.map(|peer| peer.name.clone()).collect()
        });
        Self {
            name: info.config.name.clone(),
            messages: info.state.messages,
            bytes: info.state.bytes,
            replicas: info.config.num_replicas,
            storage: match info.config.storage {
                StorageType::File => "file".to_owned(),
                StorageType::Memory => "memory".to_owned(),
            },
            leader: cluster.and_then(|cluster| cluster.leader.clone()),
            behind: behind.unwrap_or_default(),
            differs: differs.collect(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell compares its clock with the server's")]
fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
