//! Parts of a state that few have.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A part that nearly always is as it is at the beginning, and then takes a pointer and no memory
/// behind it. To borrow it mutably makes room for it; where it is only to be cleared, look with
/// [`there`](Self::there) whether there is anything. It is stored as what it holds.
#[derive(Debug, Clone)]
pub struct Rare<T>(Option<Box<T>>);

/// What has a beginning.
pub trait Blank: Clone + PartialEq + 'static {
    /// The beginning.
    const BLANK: &'static Self;
}

impl<T> Rare<T> {
    /// Returns the part if there is room for it.
    pub fn there(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Blank> From<T> for Rare<T> {
    fn from(part: T) -> Self {
        Self((part != *T::BLANK).then(|| Box::new(part)))
    }
}

impl<T: Blank> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::BLANK)
    }
}

impl<T: Blank> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(T::BLANK.clone()))
    }
}

impl<T: Blank> PartialEq for Rare<T> {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (_, _) => **self == **other,
        }
    }
}

impl<T: Blank + Eq> Eq for Rare<T> {}

impl<T: Blank + Serialize> Serialize for Rare<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        T::serialize(self, serializer)
    }
}

impl<'de, T: Blank + Deserialize<'de>> Deserialize<'de> for Rare<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

impl<T: Clone + PartialEq + 'static> Blank for Vec<T> {
    const BLANK: &'static Self = &Self::new();
}

impl<T: Clone + PartialEq + 'static> Blank for std::collections::VecDeque<T> {
    const BLANK: &'static Self = &Self::new();
}

impl<K, V> Blank for std::collections::BTreeMap<K, V>
where
    K: Clone + PartialEq + 'static,
    V: Clone + PartialEq + 'static,
{
    const BLANK: &'static Self = &Self::new();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_by_whoever_changes_it() {
        let mut rare: Rare<Vec<u8>> = Rare::default();
        assert_eq!((rare.len(), rare.there().is_none()), (0, true));
        rare.push(7);
        assert_eq!((rare.len(), rare.there().is_some()), (1, true));
        rare.clear();
        assert_eq!(rare, Rare::default());
    }

    #[test]
    fn it_is_stored_as_what_it_holds() {
        let stored = |rare: &Rare<Vec<u8>>| serde_json::to_string(rare).unwrap();
        assert_eq!(stored(&Rare::default()), "[]");
        assert_eq!(stored(&vec![7].into()), "[7]");
        let mut read: Rare<Vec<u8>> = serde_json::from_str("[]").unwrap();
        assert!(read.there().is_none());
        read = serde_json::from_str("[7]").unwrap();
        assert_eq!(*read, [7]);
    }
}
