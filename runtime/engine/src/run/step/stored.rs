//! How the state of a step is stored: all its fields side by side.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use skep_protocol::{AgentId, CancelReason, Failure, Payload, RunId, Timestamp};

use super::{Before, Deed, FailedBefore, Inner, Phase, Seldom, StepState, Tally, is_default};
use crate::run::{NodeId, ScopeId};

#[derive(Serialize, Deserialize)]
#[serde(remote = "StepState")]
struct Stored {
    step: u32,
    scope: ScopeId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    item_of: Option<(NodeId, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compensates: Option<NodeId>,
    phase: Phase,
    #[serde(default, skip_serializing_if = "is_default")]
    needs: Tally,
    #[serde(default, skip_serializing_if = "is_default")]
    attempt: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    round: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    tries: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    fallback: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    losses: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    releases: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    failed_before: FailedBefore,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_default")]
    not_before: Timestamp,
    #[serde(getter = "began", default, skip_serializing_if = "Option::is_none")]
    began: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stop: Option<CancelReason>,
    #[serde(default, skip_serializing_if = "is_default")]
    readers: u16,
    #[serde(default, skip_serializing_if = "is_default")]
    released: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    ignored: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<Payload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Payload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<Payload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<Box<Failure>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reporter: Option<(AgentId, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inner: Option<Box<Inner>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deed: Option<Box<Deed>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Box<Before>>,
}

fn began(step: &StepState) -> Option<Timestamp> {
    step.began.get()
}

impl From<Stored> for StepState {
    fn from(stored: Stored) -> Self {
        let Stored { step, scope, item_of, phase, needs, attempt, tries, began, .. } = stored;
        let Stored { readers, released, ignored, input, output, reporter, .. } = stored;
        let Stored { compensates, round, fallback, losses, releases, failed_before, .. } = stored;
        let Stored { first, not_before, stop, checkpoint, failure, .. } = stored;
        let Stored { origin, inner, deed, before, .. } = stored;
        let seldom = Seldom {
            compensates,
            round,
            fallback,
            losses,
            releases,
            failed_before,
            first,
            not_before,
            stop,
            checkpoint,
            failure,
            origin,
            inner,
            deed,
            before,
        };
        let (began, seldom) = (began.into(), seldom.into());
        Self {
            step,
            scope,
            item_of,
            phase,
            needs,
            attempt,
            tries,
            began,
            readers,
            released,
            ignored,
            input,
            output,
            reporter,
            seldom,
        }
    }
}

impl Serialize for StepState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stored::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for StepState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Stored::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_stored_as_it_was() {
        let stored = r#"{"step":0,"scope":0,"phase":"pending","attempt":2,"fallback":true}"#;
        let step: StepState = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::to_string(&step).unwrap(), stored);
    }
}
