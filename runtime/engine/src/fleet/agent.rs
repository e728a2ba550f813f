//! What is known of one agent: what it offers and what is in its hands.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;
use skep_protocol::limits::{
    MAX_LABEL_LEN, MAX_LABELS, MAX_NAME_LEN, MAX_OFFERS_PER_AGENT, MAX_SHARED, MAX_SOFTWARE_LEN,
};
use skep_protocol::{AgentId, AgentView, AttemptId, Heartbeat, Lane, Offer, Ration, Timestamp};

use super::pool::{Labels, Pools, pool_of};
use super::quarantine::Health;
use super::register::Slot;
use super::{Fleet, Timer, touch};

/// An agent that was heard of lately.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) lane: Lane,
    /// How much it says that it pulls.
    pub(super) ration: Option<Ration>,
    /// Since when that is not what it should be, or when it was told so.
    pub(super) differs: Option<Timestamp>,
    pub(super) labels: Labels,
    pub(super) offers: BTreeMap<CompactString, Room>,
    pub(super) draining: bool,
    pub(super) seq: u64,
    pub(super) heard: Timestamp,
    /// What is in its hands, in no order that means anything.
    pub(super) attempts: Vec<Slot>,
    /// Something was taken from it, and the pools do not know yet that it has room.
    eased: bool,
    /// What it was told to stop.
    pub(super) stopping: BTreeSet<AttemptId>,
    /// What it holds for other coordinators.
    pub(super) foreign: u32,
    /// It listens to who asks for it by name. Who pulls from the queue need not.
    pub(super) listens: bool,
    /// When it answered such a question last.
    pub(super) answered: Timestamp,
    /// Since when nobody answers in its name, although it may be alive: nothing is sent before it
    /// is heard.
    pub(super) unanswered: Option<Timestamp>,
    /// When it is looked after next.
    pub(super) look_at: Option<Timestamp>,
    pub(super) paused_until: Option<Timestamp>,
    /// When the partitions were told of its strays.
    pub(super) strays_told: Option<Timestamp>,
    pub(super) health: Health,
    /// What of its health was posted last; what the board said before that is old.
    pub(super) posted: u64,
    software: String,
}

/// How much of one capability an agent has left.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) slots: u32,
    pub(super) used: u32,
    /// The load under which the agent stands in the pool's list of free agents.
    listed: Option<u32>,
}

impl Agent {
    pub(super) fn new(heartbeat: &Heartbeat, now: Timestamp) -> Self {
        Self {
            lane: heartbeat.lane,
            ration: None,
            differs: None,
            labels: Labels::new(),
            offers: BTreeMap::new(),
            draining: false,
            seq: heartbeat.seq,
            heard: now,
            attempts: Vec::new(),
            eased: false,
            stopping: BTreeSet::new(),
            foreign: 0,
            listens: heartbeat.lane == Lane::Direct,
            answered: Timestamp::EPOCH,
            unanswered: None,
            look_at: None,
            paused_until: None,
            strays_told: None,
            health: Health::new(),
            posted: 0,
            software: String::new(),
        }
    }

    /// Returns how many tasks it performs at a time.
    pub(super) fn slots(&self) -> u32 {
        self.offers.values().map(|room| room.slots).fold(0, u32::saturating_add)
    }

    /// Returns whether quarantine reaches it: whoever pulls from the queue has to heed what it is
    /// told.
    pub(super) fn heeds_quarantine(&self) -> bool {
        self.lane == Lane::Direct || self.ration.is_some()
    }

    /// Returns whether quarantine keeps work from it.
    pub(super) fn is_kept_out(&self) -> bool {
        self.heeds_quarantine() && self.health.is_out()
    }

    pub(super) fn has(&self, labels: &Labels) -> bool {
        labels.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }

    pub(super) fn matches(&self, prefer: &Labels) -> usize {
        prefer.iter().filter(|(key, value)| self.labels.get(*key) == Some(*value)).count()
    }

    /// Returns how many tasks of a capability it performs at a time; none if it takes no more at
    /// all, however few it has. Of who pulls, its own word is what holds.
    pub(super) fn takes(&self, capability: &str) -> Option<usize> {
        let most = self.ration.map_or(u32::MAX, Ration::most);
        let slots = self.offers.get(capability)?.slots.min(most);
        (slots > 0 && !self.draining).then_some(slots as usize)
    }

    /// Returns how many attempts of a capability it has.
    pub(super) fn has_of(&self, capability: &str) -> usize {
        self.offers.get(capability).map_or(0, |room| room.used as usize)
    }

    /// Returns whether it can take one more task of something.
    pub(super) fn can_take(&self) -> bool {
        let takes = self.lane == Lane::Direct && !self.draining && self.unanswered.is_none();
        if !takes || self.paused_until.is_some() {
            return false;
        }
        if self.health.at_a_time().is_some_and(|most| self.attempts.len() >= most) {
            return false;
        }
        // What it was told to stop has a slot until it has stopped.
        let taken = self.attempts.len() + self.stopping.len();
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        taken.saturating_add(self.foreign) < self.slots()
    }

    /// Brings the pools' lists of free agents up to date.
    fn list(&mut self, id: &AgentId, pools: &mut Pools, touched: &mut BTreeSet<CompactString>) {
        let can_take = self.can_take();
        for (capability, room) in &mut self.offers {
            let load = if can_take { room.load() } else { None };
            if room.listed == load {
                continue;
            }
            let pool = pool_of(pools, capability);
            if let Some(before) = room.listed.take() {
                pool.free.remove(&(before, id.clone()));
            }
            if let Some(load) = load {
                pool.free.insert((load, id.clone()));
            }
            touch(touched, capability);
            room.listed = load;
        }
    }
}

impl Room {
    /// Returns the load in thousandths if there is room for one more task.
    pub(super) fn load(&self) -> Option<u32> {
        if self.used >= self.slots {
            return None;
        }
        u32::try_from(u64::from(self.used) * 1_000 / u64::from(self.slots)).ok()
    }
}

impl Fleet {
    /// Puts an attempt into the hands of an agent.
    pub(super) fn hand_to(&mut self, agent: &AgentId, slot: Slot) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        let Some(attempt) = self.attempts.at_mut(slot) else { return };
        attempt.held_as = known.attempts.len();
        known.attempts.push(slot);
        if let Some(room) = known.offers.get_mut(attempt.capability()) {
            room.used += 1;
        }
        known.list(agent, &mut self.pools, &mut self.touched);
        if known.look_at.is_none() {
            self.look_after(agent);
        }
    }

    /// Takes an attempt out of the hands of an agent. That it has room is noted in the pools when
    /// something is handed out next: much may be taken from it until then.
    pub(super) fn take_from(&mut self, agent: &AgentId, slot: Slot) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        let Some(attempt) = self.attempts.at(slot) else { return };
        let held_as = attempt.held_as;
        if known.attempts.get(held_as) != Some(&slot) {
            return;
        }
        if let Some(room) = known.offers.get_mut(attempt.capability()) {
            room.used = room.used.saturating_sub(1);
            known.paused_until = None;
        }
        known.attempts.swap_remove(held_as);
        let moved = known.attempts.get(held_as).and_then(|slot| self.attempts.at_mut(*slot));
        if let Some(moved) = moved {
            moved.held_as = held_as;
        }
        if !std::mem::replace(&mut known.eased, true) {
            self.eased.push(agent.clone());
        }
    }

    /// Brings the pools' lists of free agents up to date for those that something was taken from.
    pub(super) fn relist_eased(&mut self) {
        while let Some(agent) = self.eased.pop() {
            self.relist(&agent);
        }
    }

    /// Brings the pools' lists of free agents up to date for one agent.
    pub(super) fn relist(&mut self, agent: &AgentId) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        known.eased = false;
        known.list(agent, &mut self.pools, &mut self.touched);
    }

    /// Leaves a busy agent alone for a while.
    pub(super) fn pause(&mut self, agent: &AgentId, until: Timestamp) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        known.paused_until = Some(until);
        self.timers.insert((until, Timer::Busy(agent.clone())));
        self.relist(agent);
    }

    pub(super) fn unpause(&mut self, agent: &AgentId) {
        if let Some(known) = self.agents.get_mut(agent) {
            known.paused_until = None;
        }
        self.relist(agent);
    }

    /// Takes over what an agent says of itself.
    pub(super) fn describe(&mut self, heartbeat: &Heartbeat) {
        let agent = &heartbeat.agent;
        self.unlist(agent);
        let Some(known) = self.agents.get_mut(agent) else { return };
        known.lane = heartbeat.lane;
        known.ration = heartbeat.ration.filter(|_| heartbeat.lane == Lane::Queue);
        known.labels = bearable_labels(heartbeat);
        known.draining = heartbeat.draining;
        let software = &heartbeat.software;
        let end = software.floor_char_boundary(MAX_SOFTWARE_LEN);
        software[..end].clone_into(&mut known.software);
        known.unanswered = None;
        known.paused_until = None;
        known.offers = heartbeat
            .offers
            .iter()
            .take(MAX_OFFERS_PER_AGENT)
            .filter(|offer| offer.capability.len() <= MAX_NAME_LEN)
            .map(|offer| {
                let slots = offer.slots.min(u32::try_from(MAX_SHARED).unwrap_or(u32::MAX) * 64);
                (CompactString::new(&offer.capability), Room { slots, ..Room::default() })
            })
            .collect();
        for slot in &known.attempts {
            let capability = self.attempts.at(*slot).map(|attempt| attempt.capability());
            if let Some(room) = capability.and_then(|name| known.offers.get_mut(name)) {
                room.used += 1;
            }
        }
        for capability in known.offers.keys() {
            let pool = pool_of(&mut self.pools, capability);
            match known.lane {
                Lane::Direct => pool.direct.insert(agent.clone()),
                Lane::Queue => pool.pullers.insert(agent.clone()),
            };
            self.touched.insert(capability.clone());
        }
        self.relist(agent);
    }

    /// Takes it that an agent does not offer a capability, whatever it said.
    pub(super) fn withdraw(&mut self, agent: &AgentId, capability: Option<&str>) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        if let Some(room) = capability.and_then(|name| known.offers.get_mut(name)) {
            room.slots = 0;
        }
        self.takes_nothing(agent);
    }

    /// An agent takes nothing of something any more: the work may go the other way.
    pub(super) fn takes_nothing(&mut self, agent: &AgentId) {
        if let Some(known) = self.agents.get(agent) {
            self.touched.extend(known.offers.keys().cloned());
        }
        self.relist(agent);
    }

    /// Takes an agent out of every pool.
    pub(super) fn unlist(&mut self, agent: &AgentId) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        for (capability, room) in &mut known.offers {
            let Some(pool) = self.pools.get_mut(capability) else { continue };
            if let Some(load) = room.listed.take() {
                pool.free.remove(&(load, agent.clone()));
            }
            pool.direct.remove(agent);
            pool.pullers.remove(agent);
            self.touched.insert(capability.clone());
        }
    }

    /// Returns what is known of every agent, by id.
    pub fn agents(&self, now: Timestamp) -> Vec<AgentView> {
        let view = |(id, agent): (&AgentId, &Agent)| AgentView {
            agent: id.clone(),
            lane: agent.lane,
            offers: agent
                .offers
                .iter()
                .map(|(capability, room)| Offer {
                    capability: capability.to_string(),
                    slots: room.slots,
                })
                .collect(),
            labels: agent.labels.clone(),
            held: u32::try_from(agent.attempts.len()).unwrap_or(u32::MAX) + agent.foreign,
            draining: agent.draining,
            seen: agent.heard,
            software: agent.software.clone(),
            ration: agent.ration,
            health: self.health_of(id, now),
        };
        self.agents.iter().map(view).collect()
    }
}

/// Returns the labels of an agent that a step can ask for; there is no room for others.
fn bearable_labels(heartbeat: &Heartbeat) -> Labels {
    let labels = heartbeat.labels.iter();
    let bearable =
        labels.filter(|(name, value)| name.len() <= MAX_NAME_LEN && value.len() <= MAX_LABEL_LEN);
    bearable.take(MAX_LABELS).map(|(name, value)| (name.clone(), value.clone())).collect()
}
