//! How a run was started.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use skep_protocol::{Hash, Parent, Payload, RetryOf, RunStarted};

use crate::rare::{Blank, Rare};

/// How a run was started: stored as the event says it. What all runs of a workflow have in common
/// is shared among them, and read as if it were here.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    common: Arc<Common>,
    pub(crate) inputs: Payload,
    own: Rare<Own>,
}

/// What runs of a workflow have in common, if what they start is pinned to the same.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Common {
    pub(crate) workflow: String,
    version: Option<String>,
    pub(crate) digest: Hash,
    pub(crate) pinned: BTreeMap<String, Hash>,
    steps: Option<u32>,
}

/// What a run has that somebody started without saying more than the inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Own {
    parent: Option<Parent>,
    depth: u32,
    labels: BTreeMap<String, String>,
    retry: Option<Box<RetryOf>>,
}

impl Blank for Own {
    const BLANK: &'static Self =
        &Self { parent: None, depth: 0, labels: BTreeMap::new(), retry: None };
}

impl Deref for Started {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl Started {
    /// Takes the start of a run; `last` has what the one before had in common with others.
    pub(crate) fn new(event: &RunStarted, last: &mut Option<Arc<Common>>) -> Self {
        let RunStarted { workflow, version, digest, pinned, steps, .. } = event;
        let RunStarted { inputs, parent, depth, labels, retry, .. } = event;
        let same = last.as_ref().filter(|last| {
            (&last.workflow, &last.version, &last.digest) == (workflow, version, digest)
                && (&last.pinned, &last.steps) == (pinned, steps)
        });
        let Some(common) = same.map(Arc::clone) else {
            let started = Self::from(event.clone());
            *last = Some(Arc::clone(&started.common));
            return started;
        };
        let (inputs, parent, depth) = (inputs.clone(), parent.clone(), *depth);
        let own = Own { parent, depth, labels: labels.clone(), retry: retry.clone() };
        Self { common, inputs, own: own.into() }
    }

    /// Shares with the start before what they have in common.
    pub(crate) fn share(&mut self, last: &mut Option<Arc<Common>>) {
        match last {
            Some(last) if *last == self.common => self.common = Arc::clone(last),
            Some(_) | None => *last = Some(Arc::clone(&self.common)),
        }
    }

    pub(crate) fn parent(&self) -> &Option<Parent> {
        &self.own.parent
    }

    pub(crate) fn depth(&self) -> u32 {
        self.own.depth
    }

    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        &self.own.labels
    }

    pub(crate) fn retry(&self) -> &Option<Box<RetryOf>> {
        &self.own.retry
    }

    /// Returns the event.
    pub(crate) fn event(&self) -> RunStarted {
        let Common { workflow, version, digest, pinned, steps } = &*self.common;
        let Own { parent, depth, labels, retry } = &*self.own;
        RunStarted {
            workflow: workflow.clone(),
            version: version.clone(),
            digest: *digest,
            inputs: self.inputs.clone(),
            pinned: pinned.clone(),
            parent: parent.clone(),
            depth: *depth,
            labels: labels.clone(),
            steps: *steps,
            retry: retry.clone(),
        }
    }
}

impl From<RunStarted> for Started {
    fn from(event: RunStarted) -> Self {
        let RunStarted { workflow, version, digest, pinned, steps, .. } = event;
        let RunStarted { inputs, parent, depth, labels, retry, .. } = event;
        let common = Common { workflow, version, digest, pinned, steps };
        let own = Own { parent, depth, labels, retry };
        Self { common: Arc::new(common), inputs, own: own.into() }
    }
}

/// The event, written without making one.
#[derive(Serialize)]
#[serde(remote = "Started")]
struct Stored {
    workflow: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    digest: Hash,
    inputs: Payload,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pinned: BTreeMap<String, Hash>,
    #[serde(getter = "Started::parent", skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
    #[serde(getter = "Started::depth")]
    depth: u32,
    #[serde(getter = "Started::labels", skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u32>,
    #[serde(getter = "Started::retry", skip_serializing_if = "Option::is_none")]
    retry: Option<Box<RetryOf>>,
}

impl Serialize for Started {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stored::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Started {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RunStarted::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use skep_protocol::{RunId, StepPath};

    use super::*;

    fn plain() -> RunStarted {
        RunStarted {
            workflow: "w".to_owned(),
            version: None,
            digest: Hash::ZERO,
            inputs: Payload::null(),
            pinned: BTreeMap::new(),
            parent: None,
            depth: 0,
            labels: BTreeMap::new(),
            steps: None,
            retry: None,
        }
    }

    #[test]
    fn it_is_stored_as_the_event() {
        let run = RunId::from_key("w", "k");
        let with_all = RunStarted {
            version: Some("1".to_owned()),
            pinned: BTreeMap::from([("child".to_owned(), Hash::ZERO)]),
            parent: Some(Parent { run, step: StepPath::new("a"), attempt: 1 }),
            depth: 3,
            labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            steps: Some(7),
            retry: Some(Box::new(RetryOf {
                run,
                from: None,
                only: true,
                by: "me".to_owned(),
                kept: None,
                facts: 0,
            })),
            ..plain()
        };
        for event in [plain(), with_all] {
            let stored = serde_json::to_string(&event).unwrap();
            let read: Started = serde_json::from_str(&stored).unwrap();
            assert_eq!((read.event(), serde_json::to_string(&read).unwrap()), (event, stored));
        }
    }

    #[test]
    fn what_is_the_same_is_shared() {
        let mut last = None;
        let first = Started::new(&plain(), &mut last);
        let second = Started::new(&plain(), &mut last);
        assert!(Arc::ptr_eq(&first.common, &second.common));
        let mut third = Started::new(&plain(), &mut None);
        third.share(&mut last);
        assert!(Arc::ptr_eq(&first.common, &third.common));
        let other = RunStarted { steps: Some(1), ..plain() };
        assert_eq!(Started::new(&other, &mut last).event(), other);
    }
}
