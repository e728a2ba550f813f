//! How the state of a run is stored: all its fields side by side.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use skep_protocol::{Payload, RunId, Timestamp};

use super::scope::Scopes;
use super::signals::Signals;
use super::started::Started;
use super::step::is_default;
use super::unwinding::Unwind;
use super::{Arena, NodeId, Orders, RunState};
use crate::rare::Rare;

#[derive(Serialize, Deserialize)]
#[serde(remote = "RunState")]
struct Stored {
    id: RunId,
    at: Timestamp,
    started: Started,
    #[serde(getter = "paused", default, skip_serializing_if = "is_default")]
    paused: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cancelling: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    acted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unwind: Option<Box<Unwind>>,
    #[serde(default, skip_serializing_if = "is_default")]
    kept: u32,
    nodes: Arena,
    scopes: Scopes,
    #[serde(default, skip_serializing_if = "is_default")]
    items: Rare<BTreeMap<NodeId, Payload>>,
    #[serde(default)]
    signals: Rare<Signals>,
}

/// A getter, however trivial: with one, a state is made from what was read by a conversion.
fn paused(run: &RunState) -> bool {
    run.paused
}

impl From<Stored> for RunState {
    fn from(stored: Stored) -> Self {
        let Stored { id, at, started, paused, paused_at, paused_by, cancelling, .. } = stored;
        let Stored { acted, unwind, kept, nodes, scopes, items, signals, .. } = stored;
        let orders = Orders { paused, paused_at, paused_by, cancelling }.into();
        Self { id, at, started, orders, acted, unwind, kept, nodes, scopes, items, signals }
    }
}

impl Serialize for RunState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stored::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for RunState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Stored::deserialize(deserializer)
    }
}
