//! Messages to many that may be lost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::waiter::{Mint, Ready, Waiter};

/// Messages of one kind, by whom they are for. A listener that does not keep up loses the oldest.
#[derive(Debug)]
pub struct Broadcast<K, T> {
    max_unheard: usize,
    keys: BTreeMap<K, Vec<Waiter>>,
    listeners: BTreeMap<Waiter, Listener<K, T>>,
    mint: Mint,
}

#[derive(Debug)]
struct Listener<K, T> {
    key: K,
    unheard: VecDeque<Arc<T>>,
}

impl<K: Ord + Clone, T> Broadcast<K, T> {
    /// Creates a broadcast without listeners.
    pub fn new(max_unheard: usize) -> Self {
        let (keys, listeners) = (BTreeMap::new(), BTreeMap::new());
        Self { max_unheard, keys, listeners, mint: Mint::default() }
    }

    /// Begins to listen to what `key` and everybody is told.
    pub fn listen(&mut self, key: K) -> Waiter {
        let listener = self.mint.waiter();
        self.keys.entry(key.clone()).or_default().push(listener);
        self.listeners.insert(listener, Listener { key, unheard: VecDeque::new() });
        listener
    }

    /// Ends listening.
    pub fn close(&mut self, listener: Waiter) {
        let Some(Listener { key, .. }) = self.listeners.remove(&listener) else { return };
        if let Some(others) = self.keys.get_mut(&key) {
            others.retain(|other| *other != listener);
            if others.is_empty() {
                self.keys.remove(&key);
            }
        }
    }

    /// Tells those who listen as `key`.
    pub fn tell(&mut self, key: &K, message: T, ready: &mut Ready) {
        let message = Arc::new(message);
        for id in self.keys.get(key).into_iter().flatten() {
            if let Some(listener) = self.listeners.get_mut(id) {
                listener.hear(Arc::clone(&message), self.max_unheard);
                ready.push(*id);
            }
        }
    }

    /// Tells everybody.
    pub fn tell_all(&mut self, message: T, ready: &mut Ready) {
        let message = Arc::new(message);
        for (id, listener) in &mut self.listeners {
            listener.hear(Arc::clone(&message), self.max_unheard);
            ready.push(*id);
        }
    }

    /// Takes the next message; with none, `listener` waits.
    pub fn take(&mut self, listener: Waiter) -> Option<Arc<T>> {
        self.listeners.get_mut(&listener)?.unheard.pop_front()
    }
}

impl<K, T> Listener<K, T> {
    fn hear(&mut self, message: Arc<T>, max_unheard: usize) {
        if self.unheard.len() >= max_unheard {
            self.unheard.pop_front();
        }
        self.unheard.push_back(message);
    }
}
