//! Every check is green on what the engine really does, and red on what is planted.

mod play;

use std::collections::BTreeSet;

use skep_protocol::{
    AgentId, Batch, Event, Hash, IgnoreReason, Record, ReportIgnored, RunId, Seq, StepPath,
};

use super::super::deeds::What;
use super::super::history::{Entry, History};
use super::super::journals;
use super::super::kinds::KINDS;
use super::CHECKS;
use play::play;

/// Returns the demands that are not met.
fn unmet(history: &History) -> BTreeSet<&'static str> {
    let unmet = CHECKS.iter().filter(|check| !(check.look)(history).is_empty());
    unmet.map(|check| check.demands).collect()
}

/// Something that must be seen: which demand it breaks, and how it is planted.
type Plant = (&'static str, fn(&mut History));

const PLANTED: &[Plant] = &[
    ("every acknowledged run is in the journal and ends once", |history| {
        history.asked[0].run = RunId::from_key("chaos", "never heard of");
    }),
    ("every acknowledged run is in the journal and ends once", |history| {
        history.entries.retain(|entry| !event(entry).is_some_and(Event::ends_run));
    }),
    ("every acknowledged run is in the journal and ends once", |history| {
        twice(history, Event::ends_run);
    }),
    ("no start makes two runs, and none was made that nobody asked for", |history| {
        twice(history, |event| matches!(event, Event::RunStarted(_)));
    }),
    ("no start makes two runs, and none was made that nobody asked for", |history| {
        history.asked.pop();
    }),
    ("no attempt is applied twice", |history| {
        twice(history, |event| matches!(event, Event::AttemptCompleted(_)));
    }),
    ("what is recorded as stale stays without effect", |history| {
        let at = position(history, |event| matches!(event, Event::AttemptCompleted(_)));
        let mut stale = history.entries[at].clone();
        if let Record::Run(record) = &mut stale.record
            && let Event::AttemptCompleted(completed) = &record.event
        {
            record.event = Event::ReportIgnored(ReportIgnored {
                step: completed.step.clone(),
                attempt: completed.attempt,
                agent: completed.agent.clone(),
                reason: IgnoreReason::Stale,
            });
        }
        history.entries.insert(at, stale);
    }),
    ("epochs rise, and nothing of an older one follows", |history| {
        let middle = history.entries.len() / 2;
        history.entries[middle].epoch += 1;
    }),
    ("no two agents have the same fencing token of a step", |history| {
        let mut again = history.deeds[0].clone();
        again.agent = AgentId::new("somebody-else").unwrap();
        history.deeds.push(again);
    }),
    ("nothing is begun that was not scheduled before", |history| {
        let deed = history.deeds.iter_mut().find(|deed| deed.what == What::Begun);
        deed.unwrap().attempt += 7;
    }),
    ("nothing is begun that was not scheduled before", |history| {
        let deed = history.deeds.iter_mut().rfind(|deed| deed.what == What::Begun).unwrap();
        deed.at = skep_protocol::Timestamp::EPOCH;
    }),
    ("what completed was done, by whom the journal says", |history| {
        let at = history.deeds.iter().position(|deed| deed.what == What::Done).unwrap();
        history.deeds.remove(at);
    }),
    ("what completed was done, by whom the journal says", |history| {
        let deed = history.deeds.iter_mut().find(|deed| deed.what == What::Done).unwrap();
        deed.agent = AgentId::new("somebody-else").unwrap();
    }),
    ("nothing is begun before what it needs was done", |history| {
        let of = |deed: &&mut super::super::deeds::Deed, step| deed.step.as_str() == step;
        let first = history.deeds.iter_mut().find(|deed| of(deed, "first")).unwrap().at;
        let last = history.deeds.iter_mut().find(|deed| of(deed, "last")).unwrap();
        last.at = first;
    }),
    ("what was done is made good once, the last things first", |history| {
        // The goods go back before the money does.
        let undone = "reserve~compensate";
        let first = history.deeds.first().unwrap().at;
        let undone = history.deeds.iter_mut().filter(|deed| deed.step.as_str() == undone);
        undone.for_each(|deed| deed.at = first);
    }),
    ("what was done is made good once, the last things first", |history| {
        history.entries.retain(|entry| {
            let step = event(entry).and_then(Event::step);
            step.is_none_or(|step| step.as_str() != "pack[1]~compensate")
        });
    }),
    ("a run that is stuck is seen to be stuck", |history| history.seen_stuck.clear()),
    ("no agent performs more than it has slots", |history| {
        let begun = history.deeds.iter().find(|deed| deed.what == What::Begun).unwrap().clone();
        for attempt in 10..20 {
            history.deeds.insert(0, super::super::deeds::Deed { attempt, ..begun.clone() });
        }
    }),
    ("every command is answered with what was asked for", |history| {
        history.surprises.push("run 1: start is answered by something else".to_owned());
    }),
    ("each run ends as its definition says, with the steps it has", |history| {
        for asked in &mut history.asked {
            asked.kind = KINDS.iter().find(|kind| kind.name != asked.kind.name).unwrap();
        }
    }),
    ("each run ends as its definition says, with the steps it has", |history| {
        let at = position(history, |event| matches!(event, Event::AttemptCompleted(_)));
        history.entries.remove(at);
    }),
    (AUDIT, |history| {
        history.journals[0].messages.remove(3);
    }),
    (AUDIT, |history| {
        let (_, bytes) = &mut history.journals[0].messages[2];
        *bytes = bytes.slice(..bytes.len() - 1);
    }),
    (AUDIT, |history| forge(history, |batch| batch.epoch += 1)),
    (AUDIT, |history| {
        forge(history, |batch| {
            let twice = batch.records.clone();
            batch.records.extend(twice);
        });
    }),
    (AUDIT, |history| {
        // After the end of its run, of an attempt that never was.
        forge(history, |batch| {
            let Some(Record::Run(last)) = batch.records.last() else { panic!("a run ends") };
            let mut late = last.clone();
            let (step, attempt) = (StepPath::new("first"), 99);
            let (agent, reason) = (AgentId::new("late").unwrap(), IgnoreReason::Stale);
            late.event = Event::ReportIgnored(ReportIgnored { step, attempt, agent, reason });
            batch.records.push(Record::Run(late));
        });
    }),
];

const AUDIT: &str = "the journals are whole, fold, and pass the audit of the engine";

fn event(entry: &Entry) -> Option<&Event> {
    match &entry.record {
        Record::Run(record) => Some(&record.event),
        Record::OwnerChanged(_) | Record::WorkflowAdded(_) => None,
    }
}

fn position(history: &History, of: impl Fn(&Event) -> bool) -> usize {
    history.entries.iter().position(|entry| event(entry).is_some_and(&of)).unwrap()
}

fn twice(history: &mut History, of: impl Fn(&Event) -> bool) {
    let at = position(history, of);
    let again = history.entries[at].clone();
    history.entries.insert(at + 1, again);
}

/// Changes the last message, well linked to the one before.
fn forge(history: &mut History, change: impl FnOnce(&mut Batch)) {
    let journal = &mut history.journals[0];
    let (partition, messages) = (journal.partition, &mut journal.messages);
    let (seq, bytes) = messages.pop().unwrap();
    let previous = Hash::of(&messages.last().unwrap().1);
    let mut batch = Batch::decode(&bytes, seq, partition, previous).unwrap();
    change(&mut batch);
    messages.push((seq, batch.encode()));
}

#[test]
fn what_the_engine_does_passes() {
    let history = play();
    for check in CHECKS {
        assert_eq!((check.look)(&history), [], "{}", check.demands);
    }
    assert_eq!(journals::entries(&history.journals).len(), history.entries.len());
    assert!(history.journals[0].messages.len() > 20);
    assert_eq!(history.journals[0].messages[0].0, Seq::new(1));
}

#[test]
fn what_is_planted_is_seen() {
    let mut seen = BTreeSet::new();
    for (number, (demand, plant)) in PLANTED.iter().enumerate() {
        let mut history = play();
        plant(&mut history);
        assert!(unmet(&history).contains(demand), "plant {number}: {demand}");
        seen.insert(*demand);
    }
    let all: BTreeSet<_> = CHECKS.iter().map(|check| check.demands).collect();
    assert_eq!(seen, all, "a check that was never seen red");
}
