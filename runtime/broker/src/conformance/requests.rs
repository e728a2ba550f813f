//! C23 to C32, C51 and C55: requests, answers and control.

use std::cell::Cell;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use skep_protocol::limits::MAX_MESSAGE;
use skep_protocol::{
    AttemptId, Command, CommandReply, Control, Delivery, Query, QueryReply, Refusal, Rejection,
    ReportBatch, ReportReply, StepPath, TaskBatch, Verdict,
};

use super::Harness;
use super::fixtures::{
    agent, command, next, partition, reports, run, soon, task, text, while_serving,
};
use crate::error::RequestError;
use crate::reports::Reports as _;
use crate::requests::{Commands as _, Direct as _, Queries as _, Requests};
use crate::tasks::Tasks as _;

/// What a successor takes to come, at least.
const COMING: Duration = Duration::from_millis(30);

/// C23: a request to which nobody listens, of any kind, ends with
/// [`RequestError::NoResponders`], without waiting for its time limit.
pub async fn c23_with_nobody_listening_there_are_no_responders<H: Harness>(harness: &H) {
    let broker = harness.client().await;
    let p = partition(0);
    let outcomes = soon("refusals", async {
        [
            broker.command(p, command("c")).await.err(),
            broker.query(Query::Agents { everywhere: false }).await.err(),
            broker.deliver(&agent("nobody"), &TaskBatch::default()).await.err(),
            broker.report(p, reports("a", "s")).await.err(),
        ]
    });
    for (kind, outcome) in outcomes.await.into_iter().enumerate() {
        assert!(
            matches!(outcome, Some(RequestError::NoResponders { sent: false, .. })),
            "{kind}: {outcome:?}"
        );
    }
}

/// C24: of many who ask at once, each gets the answer to its own request, in whatever order they
/// are answered; messages and answers of each kind arrive as they were.
pub async fn c24_each_asker_gets_its_own_answer<H: Harness>(harness: &H) {
    let (client, owner) = (harness.client().await, harness.client().await);
    let p = partition(1);
    let mut requests = owner.serve_commands(p).await.expect("serve");
    let asking = (0..50).map(|n| {
        let client = &client;
        async move { (n, client.command(p, command(&format!("{n}"))).await) }
    });
    let answering = async {
        let mut taken = Vec::new();
        for _ in 0..50 {
            taken.push(next("a command", &mut requests).await);
        }
        for request in taken.into_iter().rev() {
            request.responder.send(echo(request.message));
        }
    };
    let both = async { tokio::join!(join_all(asking), answering) };
    for (n, answer) in soon("all answers", both).await.0 {
        assert_eq!(answer.expect("an answer"), echo(command(&format!("{n}"))));
    }
    all_kinds_arrive(&client, &owner).await;
}

async fn all_kinds_arrive(client: &impl crate::Broker, owner: &impl crate::Broker) {
    let batch = TaskBatch { tasks: vec![task("writer", "one"), task("reader", "two")] };
    let delivery = Delivery::from(vec![(batch.tasks[1].id(), Refusal::UnknownCapability)]);
    let a = agent("a");
    let listener = owner.serve_tasks(&a).await.expect("serve");
    let answer = |got: TaskBatch| (got == batch).then(|| delivery.clone());
    let answered = while_serving(listener, answer, client.deliver(&a, &batch)).await;
    assert_eq!(answered.expect("a delivery"), delivery);

    let (p, batch) = (partition(2), reports("a", "s[1]"));
    let reply = ReportReply::from(vec![Verdict::Rejected("too deep".to_owned())]);
    let listener = owner.serve_reports(p).await.expect("serve");
    let answer = |got: ReportBatch| (got == batch).then(|| reply.clone());
    let answered = while_serving(listener, answer, client.report(p, batch.clone())).await;
    assert_eq!(answered.expect("verdicts"), reply);

    let query = Query::run(run("q"));
    let reply = QueryReply::Failed { message: "ü".repeat(10_000) };
    let listener = owner.serve_queries().await.expect("serve");
    let answer = |got: Query| (got == query).then(|| reply.clone());
    let answered = while_serving(listener, answer, client.query(query.clone())).await;
    assert_eq!(answered.expect("an answer"), reply);
}

/// C25: once a listener was dropped, there are no responders, also for other clients; one that
/// comes after it is heard.
pub async fn c25_a_listener_that_leaves_leaves_no_responders<H: Harness>(harness: &H) {
    let (client, owner) = (harness.client().await, harness.client().await);
    let p = partition(0);
    for round in 0..3 {
        let requests = owner.serve_commands(p).await.expect("serve");
        let asked = client.command(p, command("c"));
        let answered = while_serving(requests, |message| Some(echo(message)), asked).await;
        assert_eq!(answered.expect("an answer"), echo(command("c")), "round {round}");
        eventually_nobody(|| client.command(p, command("c"))).await;
    }
}

/// C26: when a listener goes with requests that it has not answered, taken or not, their askers
/// learn with [`RequestError::NoResponders`] that nobody listens any more. The request may have
/// had its effect.
pub async fn c26_leaving_in_the_middle_of_a_request_is_noticed<H: Harness>(harness: &H) {
    let (client, owner) = (harness.client().await, harness.client().await);
    let a = agent("a");
    let mut requests = owner.serve_tasks(&a).await.expect("serve");
    let nothing = TaskBatch::default();
    let asking = (0..3).map(|_| client.deliver(&a, &nothing));
    let leaving = async {
        let taken = next("a request", &mut requests).await;
        drop(taken);
        let taken = next("a request", &mut requests).await;
        drop(requests);
        drop(taken);
    };
    let both = async { tokio::join!(join_all(asking), leaving) };
    let outcomes = soon("all to learn", both).await.0;
    let sent = |outcome: &Result<_, RequestError>| match outcome {
        Err(RequestError::NoResponders { sent, .. }) => Some(*sent),
        Ok(_) | Err(_) => None,
    };
    let sent: Option<Vec<bool>> = outcomes.iter().map(sent).collect();
    // The third may have been asked when nobody listened any more.
    let known = sent.is_some_and(|sent| sent.into_iter().filter(|sent| *sent).count() >= 2);
    assert!(known, "{outcomes:?}");
}

/// C55: that a listener went is noticed also if its successor, which takes a moment to come,
/// listens before anybody could see that nobody does.
pub async fn c55_a_successor_does_not_hide_that_one_has_left<H: Harness>(harness: &H) {
    let (client, old) = (harness.client().await, harness.client().await);
    let (new, p, a) = (harness.client().await, partition(0), agent("a"));
    let commands = old.serve_commands(p).await.expect("serve");
    let asked = client.command(p, command("c"));
    succeeded(asked, commands, new.serve_commands(p)).await;
    let reports_of_a = old.serve_reports(p).await.expect("serve");
    let asked = client.report(p, reports("a", "s"));
    succeeded(asked, reports_of_a, new.serve_reports(p)).await;
    let tasks = old.serve_tasks(&a).await.expect("serve");
    let (nothing, by_new) = (TaskBatch::default(), new.serve_tasks(&a));
    succeeded(client.deliver(&a, &nothing), tasks, by_new).await;
}

/// Takes a request and goes once a successor is there; the asker has to learn of it.
async fn succeeded<M, R: std::fmt::Debug, E: std::fmt::Debug>(
    asked: impl Future<Output = Result<R, RequestError>>,
    mut listener: Requests<M, R>,
    successor: impl Future<Output = Result<Requests<M, R>, E>>,
) {
    let leaving = async {
        let taken = next("a request", &mut listener).await;
        tokio::time::sleep(COMING).await;
        let mut successor = successor.await.expect("serve");
        drop((listener, taken));
        successor.next().await
    };
    let learning = async {
        tokio::select! {
            outcome = asked => outcome,
            _ = leaving => panic!("a request came to the successor"),
        }
    };
    let outcome = soon("the asker to learn", learning).await;
    assert!(matches!(outcome, Err(RequestError::NoResponders { sent: true, .. })), "{outcome:?}");
}

/// C27: a request that its listener, still there, does not answer ends with
/// [`RequestError::TimedOut`]; an answer that comes later is lost and disturbs nobody.
pub async fn c27_an_unanswered_request_times_out<H: Harness>(harness: &H) {
    let (client, owner) = (harness.client().await, harness.client().await);
    let p = partition(0);
    let mut requests = owner.serve_commands(p).await.expect("serve");
    let asked = soon("the time limit", client.command(p, command("one"))).await;
    assert!(matches!(asked, Err(RequestError::TimedOut { .. })), "{asked:?}");
    let late = next("the first request", &mut requests).await;
    late.responder.send(echo(late.message));
    let asked = client.command(p, command("two"));
    let answered = while_serving(requests, |message| Some(echo(message)), asked).await;
    assert_eq!(answered.expect("an answer"), echo(command("two")));
}

/// C28: a message larger than the broker takes is refused as too large and reaches nobody.
pub async fn c28_a_request_over_the_limit_is_refused<H: Harness>(harness: &H) {
    let (client, owner) = (harness.client().await, harness.client().await);
    let (p, a) = (partition(0), agent("a"));
    let over = text(&"x".repeat(harness.bounds().max_message));
    let mut report = reports("a", "s");
    report.reports[0].body = skep_protocol::ReportBody::Checkpoint(over.clone());
    let mut large = task("writer", "s");
    large.input = over;
    let batch = TaskBatch { tasks: vec![large.clone()] };
    let mut listeners = (
        owner.serve_tasks(&a).await.expect("serve"),
        owner.serve_reports(p).await.expect("serve"),
        owner.serve_commands(p).await.expect("serve"),
    );
    let reason = "x".repeat(MAX_MESSAGE + 1);
    let outcomes = [
        client.deliver(&a, &batch).await.err(),
        client.report(p, report.clone()).await.err(),
        client.report_durably(p, report).await.err(),
        client.command(p, command(&reason)).await.err(),
        client.offer(large, 1).await.err(),
    ];
    for (kind, outcome) in outcomes.into_iter().enumerate() {
        assert!(matches!(outcome, Some(RequestError::TooLarge { .. })), "{kind}: {outcome:?}");
    }
    assert!(futures::poll!(listeners.0.next()).is_pending());
    assert!(futures::poll!(listeners.1.next()).is_pending());
    assert!(futures::poll!(listeners.2.next()).is_pending());
    assert_eq!(client.depth("writer").await.expect("depth").waiting, 0);
}

/// C51: a command and the answer to a question of many times what the broker takes at once arrive
/// whole, among small ones of others.
pub async fn c51_large_commands_and_answers_arrive_whole<H: Harness>(harness: &H) {
    let (client, other) = (harness.client().await, harness.client().await);
    let (owner, p) = (harness.client().await, partition(0));
    let mut commands = owner.serve_commands(p).await.expect("serve");
    let mut queries = owner.serve_queries().await.expect("serve");
    let size = 5 * harness.bounds().max_message;
    let text: String = (0..size).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
    let failed = QueryReply::Failed { message: text.clone() };
    let answering = async {
        for _ in 0..3 {
            let request = next("a command", &mut commands).await;
            request.responder.send(echo(request.message));
        }
        for answer in [failed.clone(), QueryReply::NotFound {}, failed.clone()] {
            next("a query", &mut queries).await.responder.send(answer);
        }
    };
    let asking = async {
        let (large, small) = (command(&text), command("small"));
        let (first, second, third) = tokio::join!(
            client.command(p, large.clone()),
            other.command(p, large.clone()),
            client.command(p, small.clone()),
        );
        assert_eq!(first.expect("an answer"), echo(large.clone()));
        assert_eq!(second.expect("an answer"), echo(large));
        assert_eq!(third.expect("an answer"), echo(small));
        for expected in [failed.clone(), QueryReply::NotFound {}, failed.clone()] {
            let answer =
                client.query(Query::Agents { everywhere: false }).await.expect("an answer");
            assert!(answer == expected, "another answer came");
        }
    };
    soon("all answers", async { tokio::join!(answering, asking) }).await;
}

/// C29: a request reaches only the partition, or the agent, that it is for.
pub async fn c29_a_request_reaches_only_whom_it_is_for<H: Harness>(harness: &H) {
    let (client, owner) = (harness.client().await, harness.client().await);
    let mut other = owner.serve_commands(partition(11)).await.expect("serve");
    let mut namesake = owner.serve_tasks(&agent("a1")).await.expect("serve");
    let refused = client.command(partition(1), command("c")).await;
    assert!(matches!(refused, Err(RequestError::NoResponders { .. })), "{refused:?}");
    let refused = client.deliver(&agent("a"), &TaskBatch::default()).await;
    assert!(matches!(refused, Err(RequestError::NoResponders { .. })), "{refused:?}");
    let requests = owner.serve_commands(partition(1)).await.expect("serve");
    let asked = client.command(partition(1), command("c"));
    let answered = while_serving(requests, |message| Some(echo(message)), asked).await;
    assert_eq!(answered.expect("an answer"), echo(command("c")));
    assert!(futures::poll!(other.next()).is_pending());
    assert!(futures::poll!(namesake.next()).is_pending());
}

/// C30: with several listeners to questions, each question reaches exactly one; when one leaves,
/// the others get what comes.
pub async fn c30_a_question_reaches_one_of_several_listeners<H: Harness>(harness: &H) {
    let client = harness.client().await;
    let (one, two) = (harness.client().await, harness.client().await);
    let reached = Cell::new(0);
    let answer = |_| {
        reached.set(reached.get() + 1);
        Some(QueryReply::NotFound {})
    };
    let first = one.serve_queries().await.expect("serve");
    let second = two.serve_queries().await.expect("serve");
    let asking = async {
        for _ in 0..40 {
            client.query(Query::Agents { everywhere: false }).await.expect("an answer");
        }
    };
    let inner = while_serving(first, answer, asking);
    while_serving(second, answer, inner).await;
    assert_eq!(reached.get(), 40);

    let staying = two.serve_queries().await.expect("serve");
    drop(one.serve_queries().await.expect("serve"));
    let asked = client.query(Query::Agents { everywhere: false });
    assert!(while_serving(staying, answer, asked).await.is_ok());
}

/// C31: a request to a partition reaches a listener that has just come, even if one that was there
/// before still listens and never answers: a successor does not depend on its predecessor.
pub async fn c31_a_successor_is_heard_beside_its_predecessor<H: Harness>(harness: &H) {
    let client = harness.client().await;
    let (old, new) = (harness.client().await, harness.client().await);
    let p = partition(0);
    let hung: Requests<Command, CommandReply> = old.serve_commands(p).await.expect("serve");
    let successor = new.serve_commands(p).await.expect("serve");
    let asking = async {
        for n in 0..10 {
            let sent = command(&format!("{n}"));
            let answer = client.command(p, sent.clone()).await;
            assert_eq!(answer.expect("an answer"), echo(sent));
        }
    };
    while_serving(successor, |message| Some(echo(message)), asking).await;
    drop(hung);
}

/// C32: control reaches the agent that it is for, or all that listen, in the order in which it was
/// sent by one client. With nobody listening it is lost, and that is no error.
pub async fn c32_control_reaches_one_agent_or_all<H: Harness>(harness: &H) {
    let (client, other) = (harness.client().await, harness.client().await);
    let (a, b) = (agent("a"), agent("b"));
    client.control(Some(&a), Control::Drain {}).await.expect("control");
    let mut of_a = other.controls(&a).await.expect("listen");
    let mut of_b = other.controls(&b).await.expect("listen");
    let attempt = AttemptId { run: run("r"), step: StepPath::new("g[0]/s"), attempt: 3 };
    let cancel = Control::Cancel { attempts: vec![attempt] };
    client.control(Some(&a), cancel.clone()).await.expect("control");
    client.control(None, Control::RollCall { call: None }).await.expect("control");
    client.control(Some(&b), Control::Drain {}).await.expect("control");
    assert_eq!(next("control", &mut of_a).await, cancel);
    assert_eq!(next("control", &mut of_a).await, Control::RollCall { call: None });
    assert_eq!(next("control", &mut of_b).await, Control::RollCall { call: None });
    assert_eq!(next("control", &mut of_b).await, Control::Drain {});
    assert!(futures::poll!(of_a.next()).is_pending());
}

/// Answers with what was asked.
pub(super) fn echo(command: Command) -> CommandReply {
    let message = match command {
        Command::Cancel { reason, .. } => reason,
        other @ (Command::Register(_)
        | Command::Start(_)
        | Command::Retry(_)
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Skip { .. }
        | Command::Drop { .. }
        | Command::Signal(_)
        | Command::Order(_)
        | Command::ChildEnded { .. }
        | Command::Ask(_)) => format!("{other:?}"),
    };
    CommandReply::Rejected(Rejection::LimitExceeded { message })
}

/// Asks until nobody listens: another client may learn of it a moment later.
async fn eventually_nobody<R: std::fmt::Debug, F>(ask: impl Fn() -> F)
where
    F: Future<Output = Result<R, RequestError>>,
{
    let asking = async {
        loop {
            match ask().await {
                Err(RequestError::NoResponders { .. }) => return,
                Err(RequestError::TimedOut { .. }) => {}
                other => panic!("with nobody listening: {other:?}"),
            }
        }
    };
    soon("nobody to listen", asking).await;
}
