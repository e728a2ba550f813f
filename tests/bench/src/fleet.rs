//! Dispatch: the way of an attempt to its agent, and what agents say of themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_engine::OfferTask;
use skep_engine::fleet::{CallEnd, CallOutcome, Fleet, FleetEffect, FleetInput};
use skep_protocol::{AgentId, AttemptId, Heartbeat, Held, Lane, Offer, PartitionCount};

use crate::case::Case;
use crate::samples::{self, NOW};

const AGENTS: usize = 100;
const SLOTS: usize = 10;
/// Attempts that come and go.
const ATTEMPTS: usize = 100;

pub(crate) fn cases() -> Vec<Case> {
    let offers = samples::offers(AGENTS * SLOTS);
    let few = offers[..ATTEMPTS].to_vec();
    let there = move || (fleet(), few.clone());
    vec![
        Case::new("fleet/perform an attempt", (ATTEMPTS as f64, "attempt"), there, perform),
        Case::new(
            "fleet/hear agents that are busy",
            (AGENTS as f64, "heartbeat"),
            move || busy(&offers),
            hear,
        ),
    ]
}

/// Returns a fleet in which nobody has anything to do.
fn fleet() -> Fleet {
    let mut fleet = Fleet::new(PartitionCount::DEFAULT);
    for number in 0..AGENTS {
        let beat = beat(&samples::agent(number), 1, Vec::new());
        fleet.handle(FleetInput::Beat(Box::new(beat)), NOW, &mut Vec::new());
    }
    fleet
}

fn beat(agent: &AgentId, seq: u64, held: Vec<Held>) -> Heartbeat {
    Heartbeat {
        v: Heartbeat::VERSION,
        agent: agent.clone(),
        seq,
        lane: Lane::Direct,
        offers: vec![Offer { capability: "role".to_owned(), slots: SLOTS as u32 }],
        labels: BTreeMap::new(),
        held,
        draining: false,
        leaving: false,
        software: String::new(),
        answers: Vec::new(),
        ration: None,
    }
}

fn perform((mut fleet, offers): (Fleet, Vec<OfferTask>)) -> Fleet {
    for offer in offers {
        let (attempt, agent) = deliver(&mut fleet, offer);
        let took = Some(Duration::from_millis(1_250));
        let end = CallEnd { outcome: CallOutcome::Completed, took };
        let ended = FleetInput::Ended { attempt: attempt.clone(), agent: Some(agent.clone()), end };
        fleet.handle(ended, NOW, &mut Vec::new());
        let settled = FleetInput::Settled { attempt, reported_by: Some(agent) };
        fleet.handle(settled, NOW, &mut Vec::new());
    }
    assert!(fleet.is_empty(), "everything was settled");
    fleet
}

/// Lets an attempt find its agent.
fn deliver(fleet: &mut Fleet, offer: OfferTask) -> (AttemptId, AgentId) {
    let (attempt, mut effects) = (offer.id.clone(), Vec::new());
    fleet.handle(FleetInput::Owed(Box::new(offer)), NOW, &mut effects);
    let Some(FleetEffect::Deliver { agent, .. }) = effects.pop() else {
        unreachable!("an agent has a slot that is free");
    };
    let (attempts, refused, unread) = (vec![attempt.clone()], Vec::new(), Vec::new());
    let delivered = FleetInput::Delivered { agent: agent.clone(), attempts, refused, unread };
    fleet.handle(delivered, NOW, &mut effects);
    (attempt, agent)
}

/// Returns a fleet in which every slot is taken, and what its agents say next.
fn busy(offers: &[OfferTask]) -> (Fleet, Vec<Heartbeat>) {
    let (mut fleet, mut held) = (fleet(), BTreeMap::<AgentId, Vec<Held>>::new());
    for offer in offers {
        let (attempt, agent) = deliver(&mut fleet, offer.clone());
        let one = Held { attempt, since: NOW, progress: None, finished: false };
        held.entry(agent).or_default().push(one);
    }
    let beats = held.into_iter().map(|(agent, held)| beat(&agent, 2, held));
    (fleet, beats.collect())
}

fn hear((mut fleet, beats): (Fleet, Vec<Heartbeat>)) -> Fleet {
    let mut effects = Vec::new();
    for beat in beats {
        fleet.handle(FleetInput::Beat(Box::new(beat)), NOW, &mut effects);
    }
    assert_eq!(effects.len(), AGENTS * SLOTS, "the partition is told of each that is held");
    fleet
}
