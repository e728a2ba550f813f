//! Heartbeats between the connection and whoever listens. An agent is heard so often and no more;
//! of what it says beyond that, the newest is kept until its time has come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use async_nats::Message;
use skep_protocol::limits::MAX_AGENTS;
use tokio::time::Instant;

use crate::nats::last_token;

/// How often an agent is heard that never stops. Agents beat every two seconds, and a little more
/// often when they are called.
const EVERY: Duration = Duration::from_millis(200);
/// How many heartbeats of an agent may come at once.
const BURST: u32 = 32;
/// How long it takes until an agent that used its burst up may use it again.
const BURST_LASTS: Duration = EVERY.saturating_mul(BURST - 1);
/// Bytes that wait for a listener which does not listen.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// What a message takes beside its text.
const MESSAGE: usize = 256;

/// Why a heartbeat was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// Too many agents are known.
    Agents,
    /// Too many bytes wait.
    Bytes,
}

/// What was received and not handed on yet.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    agents: BTreeMap<String, Agent>,
    ready: VecDeque<Message>,
    /// When the one heartbeat that an agent left waiting may be handed on.
    due: BTreeSet<(Instant, String)>,
    bytes: usize,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Agent {
    /// Rises by `EVERY` with each heartbeat; how far it is ahead of the clock tells the burst used.
    used_until: Instant,
    ready: u32,
    waiting: Option<Message>,
}

impl Agent {
    fn may_pass_at(&self, now: Instant) -> Instant {
        self.used_until.checked_sub(BURST_LASTS).map_or(now, |at| at.max(now))
    }

    fn pass(&mut self, now: Instant) {
        self.used_until = self.used_until.max(now) + EVERY;
    }
}

impl Mailbox {
    /// Takes what was received, without looking into it.
    pub(super) fn put(&mut self, message: Message, now: Instant) -> Result<(), Dropped> {
        let token = last_token(&message.subject);
        if let Some(agent) = self.agents.get_mut(token)
            && let Some(waiting) = &mut agent.waiting
        {
            // The common case of a flood: the newer one takes the place of the older one.
            let bytes = self.bytes - size(waiting) + size(&message);
            if bytes > MAX_BYTES {
                return Err(Dropped::Bytes);
            }
            self.bytes = bytes;
            *waiting = message;
            return Ok(());
        }
        if self.bytes + size(&message) > MAX_BYTES {
            return Err(Dropped::Bytes);
        }
        if !self.agents.contains_key(token) && !self.has_room(now) {
            return Err(Dropped::Agents);
        }
        let token = token.to_owned();
        let new = || Agent { used_until: now, ready: 0, waiting: None };
        let agent = self.agents.entry(token.clone()).or_insert_with(new);
        self.bytes += size(&message);
        let at = agent.may_pass_at(now);
        if at <= now && agent.ready < BURST {
            agent.pass(now);
            agent.ready += 1;
            self.ready.push_back(message);
        } else {
            agent.waiting = Some(message);
            self.due.insert((at, token));
        }
        Ok(())
    }

    /// Returns the next heartbeat that may be handed on.
    pub(super) fn take(&mut self, now: Instant) -> Option<Message> {
        let message = match self.ready.pop_front() {
            Some(message) => {
                if let Some(agent) = self.agents.get_mut(last_token(&message.subject)) {
                    agent.ready -= 1;
                }
                message
            }
            None => {
                self.due.first().filter(|(at, _)| *at <= now)?;
                let (_, token) = self.due.pop_first()?;
                let agent = self.agents.get_mut(&token)?;
                agent.pass(now);
                agent.waiting.take()?
            }
        };
        self.bytes -= size(&message);
        Some(message)
    }

    /// Returns when there is something to hand on; it may have been long ago.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        let due = || self.due.first().map(|(at, _)| *at);
        if self.ready.is_empty() { due() } else { Some(now) }
    }

    /// Returns whether one more agent can be told apart. Those that were silent are forgotten,
    /// which costs as much as there are agents and so is not done for each of many invented ones.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.agents.len() < MAX_AGENTS {
            return true;
        }
        if self.swept.is_some_and(|swept| now < swept + EVERY) {
            return false;
        }
        self.swept = Some(now);
        let is_active = |agent: &Agent| agent.ready > 0 || agent.waiting.is_some();
        self.agents.retain(|_, agent| is_active(agent) || agent.used_until > now);
        self.agents.len() < MAX_AGENTS
    }
}

fn size(message: &Message) -> usize {
    MESSAGE + message.payload.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn beat(agent: &str, text: &str) -> Message {
        Message {
            subject: format!("skep.beat.{agent}").into(),
            reply: None,
            payload: Bytes::copy_from_slice(text.as_bytes()),
            headers: None,
            status: None,
            description: None,
            length: text.len(),
        }
    }

    fn taken(mailbox: &mut Mailbox, now: Instant) -> Vec<String> {
        let messages = std::iter::from_fn(|| mailbox.take(now));
        messages.map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect()
    }

    #[test]
    fn of_a_flood_a_burst_and_then_the_newest_are_heard() {
        let (mut mailbox, start) = (Mailbox::default(), Instant::now());
        for number in 0..10_000 {
            mailbox.put(beat("mallory", &number.to_string()), start).unwrap();
        }
        mailbox.put(beat("honest", "here"), start).unwrap();
        let heard = taken(&mut mailbox, start);
        assert_eq!(heard.len(), 1 + usize::try_from(BURST).unwrap());
        assert_eq!(heard.last().map(String::as_str), Some("here"));
        assert_eq!(mailbox.next_at(start), Some(start + EVERY));
        assert_eq!(taken(&mut mailbox, start + EVERY), ["9999"]);
        mailbox.put(beat("mallory", "again"), start + EVERY).unwrap();
        assert!(taken(&mut mailbox, start + EVERY).is_empty());
        assert_eq!(taken(&mut mailbox, start + 2 * EVERY), ["again"]);
        assert_eq!((mailbox.bytes, mailbox.next_at(start)), (0, None));
    }

    #[test]
    fn the_usual_pace_is_heard_at_once() {
        let (mut mailbox, mut now) = (Mailbox::default(), Instant::now());
        for number in 0..1_000 {
            mailbox.put(beat("a", &number.to_string()), now).unwrap();
            assert_eq!(taken(&mut mailbox, now), [number.to_string()]);
            now += EVERY;
        }
    }

    #[test]
    fn the_newest_of_a_listener_that_sleeps_are_kept() {
        let (mut mailbox, mut now) = (Mailbox::default(), Instant::now());
        for number in 0..1_000 {
            mailbox.put(beat("a", &number.to_string()), now).unwrap();
            now += EVERY;
        }
        let heard = taken(&mut mailbox, now);
        assert_eq!(heard.last().map(String::as_str), Some("999"));
        assert_eq!(heard.len(), 1 + usize::try_from(BURST).unwrap());
    }

    #[test]
    fn agents_and_bytes_are_bounded() {
        let (mut mailbox, now) = (Mailbox::default(), Instant::now());
        for number in 0..MAX_AGENTS {
            mailbox.put(beat(&format!("a{number}"), ""), now).unwrap();
        }
        assert_eq!(mailbox.put(beat("more", ""), now), Err(Dropped::Agents));
        taken(&mut mailbox, now);
        assert_eq!(mailbox.put(beat("more", ""), now), Err(Dropped::Agents));
        mailbox.put(beat("more", ""), now + EVERY).unwrap();
        assert_eq!(mailbox.agents.len(), 1, "the silent ones are forgotten");

        let large = "x".repeat(MAX_BYTES - MESSAGE);
        assert_eq!(mailbox.put(beat("large", &large), now), Err(Dropped::Bytes));
        assert_eq!(taken(&mut mailbox, now).len(), 1);
        mailbox.put(beat("large", &large), now).unwrap();
        assert_eq!(mailbox.put(beat("small", ""), now), Err(Dropped::Bytes));
    }
}
