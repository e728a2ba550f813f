//! Requests and their answers.

use std::collections::{BTreeMap, VecDeque};

use super::waiter::{Mint, Ready, Waiter};

/// Which one of several listeners a request reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// The one that came last: a successor is there before its predecessor knows.
    Newest,
    /// Each in its turn.
    Turns,
}

/// Why a request was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskRefused {
    /// Nobody listens.
    Nobody,
    /// As many requests as are kept wait already.
    Full,
}

/// The listener went away and the request will not be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deserted;

/// Requests of one kind, by whom they are for.
#[derive(Debug)]
pub struct Mailboxes<K, M, R> {
    spread: Spread,
    max_asked: usize,
    /// The listeners of each key; the next one to get a request is the last.
    boxes: BTreeMap<K, VecDeque<Waiter>>,
    listeners: BTreeMap<Waiter, Listener<K, M>>,
    asks: BTreeMap<Waiter, Ask<R>>,
    mint: Mint,
}

#[derive(Debug)]
struct Listener<K, M> {
    key: K,
    /// The request, and the one who asks.
    asked: VecDeque<(Waiter, M)>,
}

#[derive(Debug)]
struct Ask<R> {
    listener: Waiter,
    state: AskState<R>,
}

#[derive(Debug)]
enum AskState<R> {
    /// In the queue of its listener.
    Queued,
    /// In the hands of its listener.
    Taken,
    /// The listener dropped it without an answer.
    Dropped,
    Answered(R),
    Deserted,
}

impl<K: Ord + Clone, M, R> Mailboxes<K, M, R> {
    /// Creates empty mailboxes; at most `max_asked` requests wait for one listener.
    pub fn new(spread: Spread, max_asked: usize) -> Self {
        Self {
            spread,
            max_asked,
            boxes: BTreeMap::new(),
            listeners: BTreeMap::new(),
            asks: BTreeMap::new(),
            mint: Mint::default(),
        }
    }

    /// Begins to listen.
    pub fn listen(&mut self, key: K) -> Waiter {
        let listener = self.mint.waiter();
        self.boxes.entry(key.clone()).or_default().push_back(listener);
        self.listeners.insert(listener, Listener { key, asked: VecDeque::new() });
        listener
    }

    /// Ends listening. What was not answered and cannot be any more is [`Deserted`].
    pub fn close(&mut self, listener: Waiter, ready: &mut Ready) {
        let Some(Listener { key, .. }) = self.listeners.remove(&listener) else { return };
        if let Some(others) = self.boxes.get_mut(&key) {
            others.retain(|other| *other != listener);
            if others.is_empty() {
                self.boxes.remove(&key);
            }
        }
        for (asker, ask) in &mut self.asks {
            if ask.listener == listener && matches!(ask.state, AskState::Queued | AskState::Dropped)
            {
                ask.state = AskState::Deserted;
                ready.push(*asker);
            }
        }
    }

    /// Returns whether anybody listens.
    pub fn is_heard(&self, key: &K) -> bool {
        self.boxes.contains_key(key)
    }

    /// Asks, and returns whom the answer is for.
    ///
    /// # Errors
    /// [`AskRefused`]: the request reached nobody.
    pub fn ask(&mut self, key: &K, message: M, ready: &mut Ready) -> Result<Waiter, AskRefused> {
        let listeners = self.boxes.get_mut(key).ok_or(AskRefused::Nobody)?;
        let id = match self.spread {
            Spread::Newest => listeners.back().copied(),
            Spread::Turns => {
                listeners.rotate_right(1);
                listeners.front().copied()
            }
        };
        let id = id.ok_or(AskRefused::Nobody)?;
        let listener = self.listeners.get_mut(&id).ok_or(AskRefused::Nobody)?;
        if listener.asked.len() >= self.max_asked {
            return Err(AskRefused::Full);
        }
        let asker = self.mint.waiter();
        listener.asked.push_back((asker, message));
        self.asks.insert(asker, Ask { listener: id, state: AskState::Queued });
        ready.push(id);
        Ok(asker)
    }

    /// Takes the next request and the one who asks; with none, `listener` waits.
    pub fn take(&mut self, listener: Waiter) -> Option<(Waiter, M)> {
        let (asker, message) = self.listeners.get_mut(&listener)?.asked.pop_front()?;
        if let Some(ask) = self.asks.get_mut(&asker) {
            ask.state = AskState::Taken;
        }
        Some((asker, message))
    }

    /// Answers; returns the answer if the asker is gone.
    pub fn answer(&mut self, asker: Waiter, answer: R, ready: &mut Ready) -> Option<R> {
        let Some(ask) = self.asks.get_mut(&asker) else { return Some(answer) };
        ask.state = AskState::Answered(answer);
        ready.push(asker);
        None
    }

    /// Lets a request go without an answer: its asker waits until it gives up, or until the
    /// listener is gone too.
    pub fn drop_request(&mut self, asker: Waiter, ready: &mut Ready) {
        let Some(ask) = self.asks.get_mut(&asker) else { return };
        if self.listeners.contains_key(&ask.listener) {
            ask.state = AskState::Dropped;
        } else {
            ask.state = AskState::Deserted;
            ready.push(asker);
        }
    }

    /// Takes the answer; with none yet, `asker` waits.
    pub fn outcome(&mut self, asker: Waiter) -> Option<Result<R, Deserted>> {
        match self.asks.get(&asker)?.state {
            AskState::Queued | AskState::Taken | AskState::Dropped => return None,
            AskState::Answered(_) | AskState::Deserted => {}
        }
        match self.asks.remove(&asker)?.state {
            AskState::Answered(answer) => Some(Ok(answer)),
            AskState::Deserted => Some(Err(Deserted)),
            AskState::Queued | AskState::Taken | AskState::Dropped => None,
        }
    }

    /// Forgets an asker that does not wait any longer; the request itself may still be handled.
    pub fn give_up(&mut self, asker: Waiter) {
        self.asks.remove(&asker);
    }
}
