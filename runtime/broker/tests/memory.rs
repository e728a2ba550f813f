//! The pure machine, driven by hand: no runtime, no clock, no threads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use skep_broker::conformance::fixtures::{partition, task};
use skep_broker::memory::{
    AskRefused, Broadcast, Deserted, Journals, Mailboxes, Overtaken, Pulled, Queues, Ready,
    Settings, Spread, Waiter,
};
use skep_broker::{AppendError, QueueDepth, Settle};
use skep_protocol::{Seq, Timestamp};

const ACK_WAIT: u64 = 30;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn queues() -> Queues {
    Queues::new(&Settings { ack_wait: Duration::from_millis(ACK_WAIT), ..Settings::default() })
}

fn named(ready: &mut Ready) -> BTreeSet<Waiter> {
    ready.drain().collect()
}

#[test]
fn time_changes_a_queue_only_when_it_said_so() {
    let (mut queues, mut ready) = (queues(), Ready::new());
    assert_eq!(queues.next_wake("w"), None);
    queues.offer(task("w", "s"), 1, at(5), &mut ready).unwrap();
    assert_eq!(queues.next_wake("w"), None, "what waits, waits for somebody");
    let pulled = queues.pull("w", 9, at(7), &mut ready);
    assert_eq!(queues.next_wake("w"), Some(at(7 + ACK_WAIT)));
    assert_eq!(queues.pull("w", 9, at(6 + ACK_WAIT), &mut ready), []);
    let again = queues.pull("w", 9, at(7 + ACK_WAIT), &mut ready);
    assert_eq!((again.len(), again[0].deliveries), (1, 2));
    // The first delivery is past: only its acknowledgement counts.
    queues.settle(&pulled[0].ticket, Settle::Return(Duration::ZERO), at(38), &mut ready);
    assert_eq!(queues.depth("w", at(38)), QueueDepth { waiting: 0, held: 1 });
    queues.settle(
        &again[0].ticket,
        Settle::Return(Duration::from_micros(2_500)),
        at(40),
        &mut ready,
    );
    assert_eq!(queues.next_wake("w"), Some(at(43)), "rounded up: never early");
    queues.settle(&pulled[0].ticket, Settle::Ack, at(41), &mut ready);
    assert_eq!((queues.next_wake("w"), queues.depth("w", at(99)).waiting), (None, 0));
}

#[test]
fn a_full_queue_refuses_and_forgets_no_sending_for_it() {
    let mut queues = Queues::new(&Settings { max_queued: 2, ..Settings::default() });
    let mut ready = Ready::new();
    let offers = ["a", "b", "c"].map(|s| queues.offer(task("w", s), 1, at(0), &mut ready).is_ok());
    assert_eq!(offers, [true, true, false]);
    let pulled = queues.pull("w", 1, at(0), &mut ready);
    queues.settle(&pulled[0].ticket, Settle::Ack, at(0), &mut ready);
    assert!(queues.offer(task("w", "c"), 1, at(0), &mut ready).is_ok());
    assert_eq!(queues.depth("w", at(0)).waiting, 2);
}

#[test]
fn one_task_names_one_puller_and_a_leaving_one_hands_its_turn_on() {
    let (mut queues, mut ready) = (queues(), Ready::new());
    let [one, two, three] = [(); 3].map(|()| queues.wait("w", None));
    queues.offer(task("w", "s"), 1, at(0), &mut ready).unwrap();
    assert_eq!(named(&mut ready), BTreeSet::from([one]));
    queues.leave("w", one, &mut ready);
    assert_eq!(named(&mut ready), BTreeSet::from([two]));
    queues.offer(task("w", "t"), 1, at(0), &mut ready).unwrap();
    assert_eq!(named(&mut ready), BTreeSet::from([three]));
    assert_eq!(queues.pull("w", 2, at(0), &mut ready).len(), 2);
    assert!(ready.is_empty());
}

#[test]
fn a_slow_listener_loses_the_oldest() {
    let (mut beats, mut ready) = (Broadcast::<(), u32>::new(3), Ready::new());
    let listener = beats.listen(());
    for beat in 1..=5 {
        beats.tell_all(beat, &mut ready);
    }
    let heard: Vec<_> = std::iter::from_fn(|| beats.take(listener)).map(|beat| *beat).collect();
    assert_eq!(heard, [3, 4, 5]);
    beats.close(listener);
    beats.tell_all(6, &mut ready);
    assert_eq!(beats.take(listener), None);
}

#[test]
fn too_many_requests_for_one_listener_are_refused() {
    let (mut mailboxes, mut ready) =
        (Mailboxes::<u8, u8, u8>::new(Spread::Newest, 2), Ready::new());
    assert_eq!(mailboxes.ask(&0, 1, &mut ready), Err(AskRefused::Nobody));
    let listener = mailboxes.listen(0);
    let asked = [1, 2, 3].map(|n| mailboxes.ask(&0, n, &mut ready));
    assert_eq!(asked[2], Err(AskRefused::Full));
    assert_eq!(mailboxes.take(listener).map(|(asker, message)| (Ok(asker), message)), {
        Some((asked[0], 1))
    });
    assert!(mailboxes.ask(&0, 3, &mut ready).is_ok());
}

#[derive(Debug, Clone)]
enum OnQueue {
    Offer(u8),
    /// A puller, from 0 to 3, pulls; with nothing there, it waits.
    Pull(u8),
    Leave(u8),
    Settle(u8, Settle),
    Pass(u8),
}

fn on_queue() -> impl Strategy<Value = OnQueue> {
    let settle = prop_oneof![
        3 => Just(Settle::Ack),
        1 => Just(Settle::Extend),
        1 => (0..40_u64).prop_map(|ms| Settle::Return(Duration::from_millis(ms))),
    ];
    prop_oneof![
        3 => (0..30_u8).prop_map(OnQueue::Offer),
        4 => (0..4_u8).prop_map(OnQueue::Pull),
        1 => (0..4_u8).prop_map(OnQueue::Leave),
        2 => (any::<u8>(), settle).prop_map(|(held, settle)| OnQueue::Settle(held, settle)),
        1 => (0..40_u8).prop_map(OnQueue::Pass),
    ]
}

/// What a queue should be, told naively: every task with the time from which it can be pulled.
#[derive(Default)]
struct NaiveQueue {
    offered: BTreeSet<u8>,
    free_from: BTreeMap<String, u64>,
    deliveries: BTreeMap<String, u64>,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_gives_what_is_free_and_leaves_nobody_asleep(
        operations in prop::collection::vec(on_queue(), 1..120),
    ) {
        let (mut queues, mut ready, mut now) = (queues(), Ready::new(), 0);
        let mut naive = NaiveQueue::default();
        let mut held: Vec<Pulled> = Vec::new();
        let mut pullers: [Option<Waiter>; 4] = [None; 4];
        let mut roused: BTreeSet<Waiter> = BTreeSet::new();
        for operation in operations {
            let mut names = false;
            match operation {
                OnQueue::Offer(step) => {
                    let name = format!("s{step}");
                    queues.offer(task("w", &name), 1, at(now), &mut ready).unwrap();
                    if naive.offered.insert(step) {
                        naive.free_from.insert(name, now);
                        names = true;
                    }
                }
                OnQueue::Pull(n) => {
                    let pulled = queues.pull("w", 1, at(now), &mut ready);
                    let puller = &mut pullers[usize::from(n)];
                    roused.retain(|waiter| Some(*waiter) != *puller);
                    names = true;
                    let free = naive.free_from.values().any(|from| *from <= now);
                    prop_assert_eq!(!pulled.is_empty(), free);
                    if pulled.is_empty() {
                        *puller = Some(queues.wait("w", *puller));
                    } else if let Some(puller) = puller.take() {
                        queues.leave("w", puller, &mut ready);
                    }
                    for pulled in pulled {
                        let name = pulled.task.step.to_string();
                        let until = now + ACK_WAIT;
                        let from = naive.free_from.insert(name.clone(), until);
                        prop_assert!(from.is_some_and(|from| from <= now), "{} came early", name);
                        let deliveries = naive.deliveries.entry(name).or_default();
                        *deliveries += 1;
                        prop_assert_eq!(pulled.deliveries, *deliveries);
                        held.push(pulled);
                    }
                }
                OnQueue::Leave(n) => {
                    if let Some(puller) = pullers[usize::from(n)].take() {
                        roused.remove(&puller);
                        names = true;
                        queues.leave("w", puller, &mut ready);
                    }
                }
                OnQueue::Settle(n, settle) if !held.is_empty() => {
                    let pulled = &held[usize::from(n) % held.len()];
                    queues.settle(&pulled.ticket, settle, at(now), &mut ready);
                    let name = pulled.task.step.to_string();
                    let latest = naive.deliveries.get(&name) == Some(&pulled.deliveries)
                        && naive.free_from.get(&name).is_some_and(|from| *from > now);
                    match settle {
                        Settle::Ack => drop(naive.free_from.remove(&name)),
                        Settle::Extend if latest => {
                            naive.free_from.insert(name, now + ACK_WAIT);
                        }
                        Settle::Return(delay) if latest => {
                            let delay = u64::try_from(delay.as_millis()).unwrap();
                            naive.free_from.insert(name, now + delay);
                            names = true;
                            // A task that was given back is not held by anybody.
                            held.remove(usize::from(n) % held.len());
                        }
                        Settle::Extend | Settle::Return(_) => {}
                    }
                }
                OnQueue::Settle(..) => {}
                OnQueue::Pass(ms) => now += u64::from(ms),
            }
            roused.extend(named(&mut ready));
            let depth = queues.depth("w", at(now));
            prop_assert_eq!(depth.waiting + depth.held, naive.free_from.len() as u64);
            let next = naive.free_from.values().filter(|from| **from > now).min();
            prop_assert_eq!(queues.next_wake("w"), next.map(|ms| at(*ms)));
            // Time names nobody: those who wait ask for `next_wake`. Everything else does.
            let asleep = pullers.iter().flatten().any(|puller| queues.is_waiting("w", *puller));
            let free = naive.free_from.values().any(|from| *from <= now);
            prop_assert!(!(names && asleep && free && roused.is_empty()), "nobody was named");
        }
    }

    #[test]
    fn a_journal_is_a_list_and_readers_never_skip(
        operations in prop::collection::vec((0..4_u8, 0..12_u64), 1..80),
    ) {
        let (mut journals, mut ready, p) = (Journals::new(8), Ready::new(), partition(0));
        let (mut end, mut first) = (0_u64, 1_u64);
        let mut readers: Vec<(Waiter, u64)> = Vec::new();
        let mut asleep: BTreeSet<Waiter> = BTreeSet::new();
        for (kind, n) in operations {
            match kind {
                0 => {
                    let expected = end.saturating_sub(n / 8);
                    let body = Bytes::from(vec![b'x'; usize::try_from(n).unwrap()]);
                    match journals.append(p, Seq::new(expected), body, &mut ready) {
                        Ok(seq) => {
                            prop_assert!(n <= 8 && expected == end);
                            end += 1;
                            prop_assert_eq!(seq, Seq::new(end));
                            prop_assert_eq!(named(&mut ready), std::mem::take(&mut asleep));
                        }
                        Err(AppendError::TooLarge { size, limit }) => {
                            prop_assert!(size as u64 == n && n > 8 && limit == 8);
                        }
                        Err(AppendError::Conflict { last, .. }) => {
                            prop_assert!(expected != end && last == Seq::new(end));
                        }
                        Err(other) => return Err(TestCaseError::fail(other.to_string())),
                    }
                }
                1 => {
                    journals.trim(p, Seq::new(n));
                    first = first.max(n.min(end));
                    prop_assert_eq!(journals.first(p), Seq::new(first));
                }
                2 => {
                    readers.push((journals.follow(p, Seq::new(n)), n.max(first)));
                }
                _ if readers.is_empty() => {}
                _ => {
                    let len = readers.len() as u64;
                    let (reader, due) = &mut readers[usize::try_from(n % len).unwrap()];
                    match journals.read(*reader, 3) {
                        Err(Overtaken { expected, first: found }) => {
                            prop_assert_eq!((expected, found), (Seq::new(*due), Seq::new(first)));
                            prop_assert!(*due < first);
                        }
                        Ok(read) => {
                            prop_assert!(*due >= first);
                            if read.is_empty() {
                                prop_assert!(*due > end);
                                asleep.insert(*reader);
                            }
                            for message in read {
                                prop_assert_eq!(message.seq, Seq::new(*due));
                                *due += 1;
                            }
                        }
                    }
                }
            }
            prop_assert_eq!(journals.last(p).map_or(0, |last| last.seq.get()), end);
        }
    }

    #[test]
    fn every_request_ends_as_its_listener_did(
        operations in prop::collection::vec((0..6_u8, any::<prop::sample::Index>()), 1..100),
    ) {
        let mut mailboxes = Mailboxes::<u8, u64, u64>::new(Spread::Turns, 1_000);
        let mut ready = Ready::new();
        let mut listeners: Vec<Waiter> = Vec::new();
        // Each asker, with its listener; taken requests; what is known of the end of each.
        let mut asked: BTreeMap<Waiter, Waiter> = BTreeMap::new();
        let mut taken: Vec<(Waiter, u64)> = Vec::new();
        let mut queued: BTreeMap<Waiter, Vec<Waiter>> = BTreeMap::new();
        let mut dropped: BTreeSet<Waiter> = BTreeSet::new();
        let mut ended: BTreeMap<Waiter, Result<u64, Deserted>> = BTreeMap::new();
        let mut message = 0;
        for (kind, which) in operations {
            let mut expected = BTreeSet::new();
            match kind {
                0 => listeners.push(mailboxes.listen(0)),
                1 | 2 => {
                    message += 1;
                    match mailboxes.ask(&0, message, &mut ready) {
                        Err(refused) => {
                            prop_assert!(listeners.is_empty() && refused == AskRefused::Nobody);
                        }
                        Ok(asker) => {
                            let reached: Vec<_> = ready.drain().collect();
                            prop_assert!(reached.len() == 1 && listeners.contains(&reached[0]));
                            asked.insert(asker, reached[0]);
                            queued.entry(reached[0]).or_default().push(asker);
                        }
                    }
                }
                3 if !listeners.is_empty() => {
                    let listener = *which.get(&listeners);
                    let due = queued.get_mut(&listener).filter(|all| !all.is_empty());
                    let due = due.map(|all| all.remove(0));
                    let got = mailboxes.take(listener);
                    prop_assert_eq!(got.map(|(asker, _)| asker), due);
                    taken.extend(got);
                }
                4 if !taken.is_empty() => {
                    let (asker, message) = taken.swap_remove(which.index(taken.len()));
                    if message % 2 == 0 {
                        prop_assert_eq!(mailboxes.answer(asker, message, &mut ready), None);
                        ended.insert(asker, Ok(message));
                        expected.insert(asker);
                    } else {
                        mailboxes.drop_request(asker, &mut ready);
                        if listeners.contains(&asked[&asker]) {
                            dropped.insert(asker);
                        } else {
                            ended.insert(asker, Err(Deserted));
                            expected.insert(asker);
                        }
                    }
                }
                5 if !listeners.is_empty() => {
                    let listener = listeners.swap_remove(which.index(listeners.len()));
                    mailboxes.close(listener, &mut ready);
                    let lost = queued.remove(&listener).unwrap_or_default().into_iter();
                    let lost = lost.chain(dropped.iter().copied()).filter(|a| asked[a] == listener);
                    expected.extend(lost);
                    dropped.retain(|asker| asked[asker] != listener);
                    ended.extend(expected.iter().map(|asker| (*asker, Err(Deserted))));
                }
                _ => {}
            }
            prop_assert_eq!(named(&mut ready), expected.clone());
            for asker in expected {
                prop_assert_eq!(mailboxes.outcome(asker), ended.remove(&asker));
                prop_assert_eq!(mailboxes.outcome(asker), None);
                asked.remove(&asker);
            }
            for asker in asked.keys() {
                prop_assert_eq!(mailboxes.outcome(*asker), None);
            }
        }
    }
}
