//! Heartbeats: core NATS, never kept.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use skep_broker::{Presence, Unavailable};
use skep_protocol::Heartbeat;

use crate::nats::{Nats, last_token};

impl Presence for Nats {
    async fn beat(&self, heartbeat: Heartbeat) -> Result<(), Unavailable> {
        let subject = self.layout().beat(&heartbeat.agent);
        self.tell("publish a heartbeat", subject, None, &heartbeat).await
    }

    async fn beats(&self) -> Result<BoxStream<'static, Heartbeat>, Unavailable> {
        let beats = self
            .hear("listen for heartbeats", self.layout().beats(), |subject, beat: &Heartbeat| {
                last_token(subject) == beat.agent.as_str()
            })
            .await?;
        Ok(beats.boxed())
    }

    fn is_connected(&self) -> bool {
        self.has_connection()
    }
}
