//! A nats-server of its own for each test.

use std::time::Duration;

use skep_broker::conformance::{Bounds, Harness, Restart};
use skep_nats::server::{Options, ThrowawayServer};
use skep_nats::{ConnectOptions, Nats};
use skep_protocol::PartitionCount;
use tokio::sync::Mutex;

/// The clauses speak of partitions 0 to 12.
pub(crate) const PARTITIONS: u16 = 13;

pub(crate) struct NatsHarness {
    pub(crate) server: Mutex<ThrowawayServer>,
    pub(crate) url: String,
}

impl NatsHarness {
    pub(crate) async fn start() -> Self {
        let server = ThrowawayServer::start(Options::default()).await.expect("a nats-server");
        let harness = Self { url: server.url(), server: Mutex::new(server) };
        let partitions = PartitionCount::new(PARTITIONS).expect("not zero");
        harness.client().await.ensure_layout(partitions).await.expect("the layout");
        harness
    }
}

/// Connects with options of one's own.
pub(crate) async fn connect(harness: &NatsHarness, set: impl FnOnce(&mut ConnectOptions)) -> Nats {
    let mut options = ConnectOptions::url(&harness.url);
    set(&mut options);
    Nats::connect(options).await.expect("a connection")
}

/// Connects as somebody who knows nothing of skep.
pub(crate) async fn stranger(harness: &NatsHarness) -> async_nats::Client {
    async_nats::connect(&harness.url).await.expect("a connection")
}

impl Harness for NatsHarness {
    type Broker = Nats;

    async fn client(&self) -> Nats {
        let bounds = self.bounds();
        connect(self, |options| {
            options.request_timeout = bounds.request_timeout;
            options.ack_wait = bounds.ack_wait;
        })
        .await
    }

    /// Kills the server, which is the least orderly way there is.
    async fn restart(&self) -> Restart {
        self.server.lock().await.restart().await.expect("the same server again");
        Restart::Done
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            ack_wait: Duration::from_millis(700),
            request_timeout: Duration::from_secs(3),
            max_message: 1024 * 1024,
        }
    }
}
