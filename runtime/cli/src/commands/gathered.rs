//! What coordinators know together: who told it, and who did not answer.

use serde_json::{Value, json as object};
use skep_protocol::{ClusterAgents, ClusterBreakers, CoordinatorId};

use crate::output;

/// Where a list comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sources<'a> {
    told_by: &'a [CoordinatorId],
    missing: &'a [CoordinatorId],
}

impl<'a> From<&'a ClusterAgents> for Sources<'a> {
    fn from(all: &'a ClusterAgents) -> Self {
        Self { told_by: &all.told_by, missing: &all.missing }
    }
}

impl<'a> From<&'a ClusterBreakers> for Sources<'a> {
    fn from(all: &'a ClusterBreakers) -> Self {
        Self { told_by: &all.told_by, missing: &all.missing }
    }
}

impl Sources<'_> {
    /// Returns whether everybody who was asked answered.
    pub(super) const fn are_all(self) -> bool {
        self.missing.is_empty()
    }

    /// Returns the list with what it comes from, whether anything is in it or not.
    pub(super) fn object(self, name: &str, list: Vec<Value>) -> Value {
        object!({ name: list, "told_by": self.told_by, "missing": self.missing })
    }

    /// Warns of what is not in the list.
    pub(super) fn warn(self) {
        self.untold().iter().for_each(output::warn);
    }

    /// Says whose share is not in the list.
    fn untold(self) -> Vec<String> {
        if self.told_by.is_empty() {
            let told =
                "a coordinator of an earlier version answered: it tells of its own share alone";
            return vec![told.to_owned()];
        }
        let missing = self.missing.iter();
        missing.map(|id| format!("coordinator {id} did not answer, its share is missing")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> CoordinatorId {
        CoordinatorId::new(name).unwrap()
    }

    #[test]
    fn whose_share_is_missing_is_told() {
        let mut all = ClusterBreakers::default();
        let untold = Sources::from(&all).untold();
        assert!(untold[0].contains("of an earlier version"), "{untold:?}");
        all.told_by = vec![name("one")];
        assert!(Sources::from(&all).untold().is_empty());
        all.missing = vec![name("two")];
        let untold = Sources::from(&all).untold();
        assert_eq!(untold, ["coordinator two did not answer, its share is missing"]);
    }

    #[test]
    fn whose_share_is_missing_is_told_of_an_empty_list_too() {
        let all = ClusterAgents {
            agents: Vec::new(),
            told_by: vec![name("one")],
            missing: vec![name("two")],
        };
        let told = Sources::from(&all).object("agents", Vec::new());
        assert_eq!(told, object!({ "agents": [], "told_by": ["one"], "missing": ["two"] }));
    }
}
