use skep_broker::Embedded;
use skep_engine::Recall as _;
use skep_protocol::{
    AttemptScheduled, Event, Record, Refusal, RunId, RunRecord, StepPath, Timestamp,
};

use super::*;
use crate::clock::new_coordinator_id;

fn fleet_loop() -> (FleetLoop<Embedded>, FleetHandle) {
    let (clock, count) = (Arc::new(Clock::new()), PartitionCount::DEFAULT);
    let desks: Arc<[Desk]> = count.all().map(|_| Desk::new(&clock)).collect();
    FleetLoop::new(Embedded::new(), new_coordinator_id(), clock, count, desks)
}

fn id() -> AttemptId {
    AttemptId { run: RunId::from_key("test", "1"), step: StepPath::new("a"), attempt: 1 }
}

/// A desk where an attempt is known that nobody began.
fn scheduled(fleet_loop: &FleetLoop<Embedded>) -> &Desk {
    let AttemptId { run, step, attempt } = id();
    let (not_before, input, fallback) = (Timestamp::EPOCH, None, false);
    let event = AttemptScheduled { step, attempt, not_before, input, fallback };
    let event = Event::AttemptScheduled(event);
    let desk = fleet_loop.desk(PartitionCount::DEFAULT.of(run)).unwrap();
    desk.untouched.recorded(&[Record::Run(RunRecord { run, at: Timestamp::EPOCH, event })]);
    desk
}

#[tokio::test]
async fn whatever_is_received_is_handled() {
    let (mut fleet_loop, handle) = fleet_loop();
    let mut questions = JoinSet::new();
    for _ in 0..3 * AT_ONCE {
        let handle = handle.clone();
        questions.spawn(async move { handle.places(vec![id()]).await });
    }
    while fleet_loop.messages.len() < 3 * AT_ONCE {
        tokio::task::yield_now().await;
    }
    while let Ok(message) = fleet_loop.messages.try_recv() {
        fleet_loop.messages(message);
    }
    let answers = questions.join_all().await;
    let unanswered = answers.iter().filter(|places| places.is_empty()).count();
    assert_eq!(unanswered, 0, "of {} questions", answers.len());
}

#[tokio::test]
async fn nobody_waits_until_what_was_taken_back_has_stopped() {
    let settled = || FleetInput::Settled { attempt: id(), reported_by: None };
    let told = |fleet_loop: &FleetLoop<Embedded>| -> Vec<bool> {
        let inputs = fleet_loop.settled(vec![FleetInput::Wake, settled()]);
        inputs.iter().map(|input| matches!(input, FleetInput::TakenBack { .. })).collect()
    };
    let (fleet_loop, _handle) = fleet_loop();
    assert!(scheduled(&fleet_loop).untouched.recall(&id()));
    assert_eq!(told(&fleet_loop), [false, true, false], "before it is settled");
    assert!(scheduled(&fleet_loop).untouched.leaves(&id()));
    assert_eq!(told(&fleet_loop), [false, false], "it has left");
}

#[tokio::test]
async fn what_reached_nobody_or_could_not_be_read_was_not_begun() {
    let agent = || AgentId::new("a").unwrap();
    let delivered = |refused, unread| FleetInput::Delivered {
        agent: agent(),
        attempts: vec![id()],
        refused,
        unread,
    };
    let gone = |sent| FleetInput::NoAgent { agent: agent(), attempts: vec![id()], sent };
    let cases = [
        (gone(false), true),
        (delivered(Vec::new(), vec![(id(), "too new".to_owned())]), true),
        (gone(true), false),
        (delivered(Vec::new(), Vec::new()), false),
        (delivered(vec![(id(), Refusal::Busy)], Vec::new()), false),
        (FleetInput::DeliveryUnknown { agent: agent(), attempts: vec![id()] }, false),
    ];
    for (input, back) in cases {
        let (fleet_loop, _handle) = fleet_loop();
        let untouched = &scheduled(&fleet_loop).untouched;
        assert!(untouched.leaves(&id()));
        fleet_loop.came_back(&input);
        assert_eq!(untouched.recall(&id()), back, "{input:?}");
    }
}
