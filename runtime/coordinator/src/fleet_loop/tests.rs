use skep_broker::{Embedded, Responder};
use skep_engine::Recall as _;
use skep_protocol::{
    AttemptScheduled, Event, Record, Refusal, ReportReply, RunId, RunRecord, StepPath, Timestamp,
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

#[tokio::test]
async fn answers_wait_for_the_tasks_that_follow_if_nothing_else_is_on_its_way() {
    let (mut fleet_loop, handle) = fleet_loop();
    let (sender, mut answered) = mpsc::unbounded_channel();
    let answer = |number: u8| {
        let sender = sender.clone();
        let send = move |_: ReportReply| sender.send(number).unwrap();
        vec![(Responder::new(send), ReportReply { verdicts: Vec::new(), unreadable: None })]
    };
    let wake = || vec![FleetInput::Wake];
    handle.tell_all(wake(), answer(1)).await;
    assert_eq!(answered.try_recv(), Ok(1), "something may be on its way");
    fleet_loop.calm.set(true);
    handle.tell_all(Vec::new(), answer(2)).await;
    assert_eq!(answered.try_recv(), Ok(2), "nothing follows");
    handle.tell_all(wake(), answer(3)).await;
    assert!(answered.try_recv().is_err(), "tasks may follow");
    let partition = PartitionCount::DEFAULT.of(id().run);
    let leaving = tokio::spawn(async move {
        handle.dropped(partition).await;
        handle
    });
    while fleet_loop.messages.len() < 3 {
        tokio::task::yield_now().await;
    }
    let first = fleet_loop.messages.try_recv().unwrap();
    fleet_loop.messages(first);
    assert_eq!(answered.try_recv(), Ok(3), "the next owner may be there");
    let handle = leaving.await.unwrap();
    drop(fleet_loop);
    handle.tell_all(wake(), answer(4)).await;
    assert_eq!(answered.try_recv(), Ok(4), "nobody is there who could send tasks");
}
