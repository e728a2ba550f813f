//! What an agent says of itself.

use skep_broker::AgentBroker;
use skep_protocol::{Heartbeat, Offer, encode};

use super::Worker;

/// Largest heartbeat, in bytes: half of what a message may have. One that is not sent makes a
/// healthy agent look lost.
const MAX_HEARTBEAT: usize = 512 * 1024;

impl<B: AgentBroker> Worker<B> {
    pub(super) fn heartbeat(&mut self) -> Heartbeat {
        self.beats += 1;
        let total = self.agent.total_slots.unwrap_or(u32::MAX);
        let offers = self.agent.offers.iter().map(|(capability, offered)| Offer {
            capability: capability.clone(),
            slots: offered.slots.min(total),
        });
        let mut beat = Heartbeat {
            v: Heartbeat::VERSION,
            agent: self.id.clone(),
            seq: self.beats,
            lane: self.agent.lane,
            offers: offers.collect(),
            labels: self.agent.labels.clone(),
            held: self.leases.held(),
            draining: self.leases.is_draining(),
            leaving: false,
            software: self.agent.software.clone(),
            answers: std::mem::take(&mut self.called),
            ration: self.say_ration(),
        };
        shrink(&mut beat);
        beat
    }
}

/// Leaves out what is only for people if a heartbeat is too large. What is held is the lease, and
/// stays; the agent takes no more than fits.
fn shrink(beat: &mut Heartbeat) {
    let is_too_large = |beat: &Heartbeat| encode(beat).len() > MAX_HEARTBEAT;
    if !is_too_large(beat) {
        return;
    }
    for progress in beat.held.iter_mut().filter_map(|held| held.progress.as_mut()) {
        progress.note = None;
    }
    if is_too_large(beat) {
        beat.held.iter_mut().for_each(|held| held.progress = None);
    }
}

#[cfg(test)]
mod tests {
    use skep_protocol::{AgentId, AttemptId, Held, Lane, Progress, RunId, StepPath, Timestamp};

    use super::*;

    fn beat(held: u32, note: &str) -> Heartbeat {
        let progress = Progress { calls: 7, per_mille: Some(400), note: Some(note.to_owned()) };
        let held = (1..=held).map(|attempt| Held {
            attempt: AttemptId {
                run: RunId::from_key("test", "run"),
                step: StepPath::new("step"),
                attempt,
            },
            since: Timestamp::from_millis(1_763_694_000_000),
            progress: Some(progress.clone()),
            finished: false,
        });
        Heartbeat {
            v: Heartbeat::VERSION,
            agent: AgentId::new("a").unwrap(),
            seq: 1,
            lane: Lane::Direct,
            offers: Vec::new(),
            labels: Default::default(),
            held: held.collect(),
            draining: false,
            leaving: false,
            software: String::new(),
            answers: Vec::new(),
            ration: None,
        }
    }

    #[test]
    fn notes_go_first_and_what_is_held_stays() {
        let mut small = beat(10, "a note");
        shrink(&mut small);
        assert_eq!(small, beat(10, "a note"));
        let mut large = beat(2_000, &"\u{1}".repeat(200));
        shrink(&mut large);
        assert!(encode(&large).len() <= MAX_HEARTBEAT);
        assert_eq!(large.held.len(), 2_000);
        let progress = large.held[0].progress.as_ref().unwrap();
        assert_eq!((progress.calls, progress.per_mille, &progress.note), (7, Some(400), &None));
    }
}
