//! When something began, in the room of a moment.

use skep_protocol::Timestamp;

/// When something began, if it did. An `Option` would take twice the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Began(Timestamp);

impl Began {
    /// It did not begin. Nothing ever begins at the last moment that can be told.
    pub(crate) const NOT: Self = Self(Timestamp::from_millis(u64::MAX));

    pub(crate) fn get(self) -> Option<Timestamp> {
        (self != Self::NOT).then_some(self.0)
    }

    /// It begins, unless it did before.
    pub(crate) fn begin(&mut self, at: Timestamp) {
        if *self == Self::NOT {
            self.0 = at;
        }
    }
}

impl From<Option<Timestamp>> for Began {
    fn from(at: Option<Timestamp>) -> Self {
        at.map_or(Self::NOT, Self)
    }
}
