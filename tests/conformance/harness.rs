//! A nats-server of its own for each test.

use std::time::Duration;

use skep_broker::conformance::{Bounds, Harness, Restart};
use skep_nats::server::{Options, ThrowawayServer};
use skep_nats::{ConnectOptions, Nats};
use skep_protocol::PartitionCount;
use tokio::sync::Mutex;

/// The clauses speak of partitions 0 to 12.
const PARTITIONS: u16 = 13;

pub struct NatsHarness {
    server: Mutex<ThrowawayServer>,
    url: String,
}

impl NatsHarness {
    pub async fn start() -> Self {
        let server = ThrowawayServer::start(Options::default()).await.expect("a nats-server");
        let harness = Self { url: server.url(), server: Mutex::new(server) };
        let partitions = PartitionCount::new(PARTITIONS).expect("not zero");
        harness.client().await.ensure_layout(partitions).await.expect("the layout");
        harness
    }
}

impl Harness for NatsHarness {
    type Broker = Nats;

    async fn client(&self) -> Nats {
        let bounds = self.bounds();
        let options = ConnectOptions {
            request_timeout: bounds.request_timeout,
            ack_wait: bounds.ack_wait,
            ..ConnectOptions::url(&self.url)
        };
        Nats::connect(options).await.expect("a connection")
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
