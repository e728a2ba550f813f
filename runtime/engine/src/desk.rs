//! What a decision has before it beside the state: the time, and values that were fetched.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use skep_protocol::limits::{MAX_INLINE_PAYLOAD, MAX_MADE_DEPTH, MAX_PAYLOAD};
use skep_protocol::{BlobRef, Failure, FailureKind, Payload, RunId, Timestamp, is_within_depth};
use skep_workflow::StepPart;

use crate::larder::Larder;
use crate::recall::{Around, Recall};
use crate::run::step::Phase;
use crate::run::{NodeId, Run, may_be_sent};

/// Why a decision cannot be made.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// A large value has to be fetched first; which one is noted on the desk.
    Missing,
    /// It cannot be made at all.
    Failure(Box<Failure>),
}

impl From<Failure> for Obstacle {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

/// Everything that a decision may use beside the state, for the time of one input.
#[derive(Debug)]
pub(crate) struct Desk<'a> {
    pub(crate) now: Timestamp,
    recall: &'a dyn Recall,
    larder: &'a Larder,
    parsed: &'a RefCell<Parsed>,
    /// Large texts that were made, to be stored.
    pub(crate) made: RefCell<Vec<Bytes>>,
    /// Large values that are wanted.
    pub(crate) missing: RefCell<Vec<BlobRef>>,
}

/// Outputs that were parsed while one input was handled.
pub(crate) type Parsed = BTreeMap<(RunId, NodeId, StepPart), Arc<Value>>;

impl<'a> Desk<'a> {
    pub(crate) fn new(
        Around { now, recall }: Around<'a>,
        larder: &'a Larder,
        parsed: &'a RefCell<Parsed>,
    ) -> Self {
        let (made, missing) = (RefCell::default(), RefCell::default());
        Self { now, recall, larder, parsed, made, missing }
    }

    /// Returns whether the attempt of a step, which is about to be cut off, was certainly never
    /// begun; then it never will be.
    pub(crate) fn is_untouched(&self, run: &Run, id: NodeId) -> bool {
        let waits = matches!(run.node(id).phase, Phase::Scheduled { .. });
        waits && self.recall.recall(&run.current_attempt(id))
    }

    /// Returns whether the attempt of a step, which is about to be given up, may have been begun
    /// though nobody was seen to take it.
    pub(crate) fn is_in_doubt(&self, run: &Run, id: NodeId) -> bool {
        let Phase::Scheduled { not_before, .. } = run.node(id).phase else { return false };
        !self.is_untouched(run, id) && may_be_sent(not_before, self.now)
    }

    /// Returns the text of a payload.
    pub(crate) fn text<'p>(&'p self, payload: &'p Payload) -> Result<&'p str, Obstacle> {
        let blob = match payload {
            Payload::Json(raw) => return Ok(raw.get()),
            Payload::Blob(blob) => **blob,
        };
        match self.larder.text(blob.hash) {
            Some(Ok(text)) => Ok(text),
            Some(Err(failure)) => Err(failure.clone().into()),
            None => {
                self.missing.borrow_mut().push(blob);
                Err(Obstacle::Missing)
            }
        }
    }

    /// Returns the value of a payload.
    pub(crate) fn value(&self, payload: &Payload) -> Result<Value, Obstacle> {
        self.parse(self.text(payload)?)
    }

    /// Returns the value of a text.
    pub(crate) fn parse(&self, text: &str) -> Result<Value, Obstacle> {
        serde_json::from_str(text).map_err(|error| {
            let message = format!("a value is not the JSON it was said to be: {error}");
            Failure::new(FailureKind::Expression, "not_json", message).fatal().into()
        })
    }

    /// Returns a value that was parsed before.
    pub(crate) fn known(&self, key: (RunId, NodeId, StepPart)) -> Option<Arc<Value>> {
        self.parsed.borrow().get(&key).map(Arc::clone)
    }

    /// Keeps a value that was parsed.
    pub(crate) fn keep(&self, key: (RunId, NodeId, StepPart), value: Value) -> Arc<Value> {
        let value = Arc::new(value);
        self.parsed.borrow_mut().insert(key, Arc::clone(&value));
        value
    }

    /// Returns the payload of a text that was made here: a large one goes to the blob store.
    pub(crate) fn payload(&self, text: String) -> Result<Payload, Obstacle> {
        if text.len() > MAX_INLINE_PAYLOAD {
            return self.large(text);
        }
        let raw = RawValue::from_string(text).map_err(|error| {
            let message = format!("a value is not JSON: {error}");
            Failure::new(FailureKind::Expression, "not_json", message).fatal()
        })?;
        self.rendered(raw)
    }

    /// Returns the payload of JSON that was made here: a large one goes to the blob store.
    pub(crate) fn rendered(&self, raw: Box<RawValue>) -> Result<Payload, Obstacle> {
        if raw.get().len() > MAX_INLINE_PAYLOAD {
            return self.large(Box::<str>::from(raw).into_string());
        }
        bearable_depth(raw.get())?;
        Ok(Payload::Json(raw.into()))
    }

    fn large(&self, text: String) -> Result<Payload, Obstacle> {
        if text.len() > MAX_PAYLOAD {
            let message = format!("a value of {} bytes is over the limit", text.len());
            return Err(Failure::new(FailureKind::Limit, "payload_size", message).fatal().into());
        }
        bearable_depth(&text)?;
        let blob = BlobRef::of(text.as_bytes());
        self.made.borrow_mut().push(text.into());
        Ok(Payload::from(blob))
    }

    /// Returns the payload of a value that was made here.
    pub(crate) fn encode(&self, value: &Value) -> Result<Payload, Obstacle> {
        self.payload(value.to_string())
    }

    /// Moves a payload from outside to the blob store if it is large.
    pub(crate) fn bounded(&self, payload: Payload) -> Payload {
        match payload.text() {
            Some(text) if text.len() > MAX_INLINE_PAYLOAD => {
                let blob = BlobRef::of(text.as_bytes());
                self.made.borrow_mut().push(Bytes::copy_from_slice(text.as_bytes()));
                Payload::from(blob)
            }
            Some(_) | None => payload,
        }
    }
}

fn bearable_depth(text: &str) -> Result<(), Obstacle> {
    if is_within_depth(text, MAX_MADE_DEPTH) {
        return Ok(());
    }
    let message = format!("a value is nested more than {MAX_MADE_DEPTH} deep");
    Err(Failure::new(FailureKind::Limit, "payload_depth", message).fatal().into())
}
