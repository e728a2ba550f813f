//! Things in rows that are used again. A key finds only what it was given for.

/// Where a thing lies. Keys sort as they were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    serial: u64,
    row: usize,
}

/// Things that come and go, found without a search.
#[derive(Debug)]
pub(crate) struct Table<T> {
    rows: Vec<Option<(u64, T)>>,
    free: Vec<usize>,
    serial: u64,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), free: Vec::new(), serial: 0 }
    }
}

impl<T> Table<T> {
    /// Adds what `make` returns for its key.
    pub(crate) fn insert(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        self.serial += 1;
        let row = self.free.pop().unwrap_or_else(|| {
            self.rows.push(None);
            self.rows.len() - 1
        });
        let key = Key { serial: self.serial, row };
        self.rows[row] = Some((key.serial, make(key)));
        key
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let (serial, value) = self.rows.get(key.row)?.as_ref()?;
        (*serial == key.serial).then_some(value)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (serial, value) = self.rows.get_mut(key.row)?.as_mut()?;
        (*serial == key.serial).then_some(value)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.free.push(key.row);
        self.rows[key.row].take().map(|(_, value)| value)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_finds_nothing() {
        let mut table = Table::default();
        let one = table.insert(|_| "one");
        let two = table.insert(|_| "two");
        assert_eq!((table.remove(one), table.remove(one), table.len()), (Some("one"), None, 1));
        let three = table.insert(|_| "three");
        assert!(table.get(one).is_none() && table.get_mut(one).is_none() && table.len() == 2);
        assert_eq!((table.get(two), table.get(three)), (Some(&"two"), Some(&"three")));
        assert!(one < two && two < three);
    }
}
