//! Messages from outside that are not what they should be.

use bytes::Bytes;
use futures::StreamExt as _;
use skep_agent::{Agent, Failure};
use skep_broker::conformance::fixtures::{
    agent, command, heartbeat, next, only_reports, partition, reports, task,
};
use skep_broker::{
    Blobs as _, Commands as _, Direct as _, Journal as _, Presence as _, Queries as _, QueueDepth,
    ReadError, Reports as _, Snapshot, Snapshots as _, Tasks as _,
};
use skep_protocol::limits::MAX_MESSAGE;
use skep_protocol::{
    Answer as _, BlobRef, CommandReply, Delivery, Lane, Outcome, QueryReply, Rejection, ReportBody,
    ReportReply, Seq, Verdict, encode,
};

use crate::harness::{NatsHarness, connect, stranger};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_reaches_nobody_and_the_rest_is_heard() {
    let harness = NatsHarness::start().await;
    let (nats, stranger) = (connect(&harness, |_| {}).await, stranger(&harness).await);
    let mut beats = nats.beats().await.expect("listen");
    let mut commands = nats.serve_commands(partition(0)).await.expect("serve");
    let forged = encode(&heartbeat("victim", 9));
    let bombs = [Bytes::from("[".repeat(100_000)), Bytes::from_static(b"\xff\0{"), Bytes::new()];
    for bomb in bombs.iter().chain([&forged]) {
        stranger.publish("skep.beat.mallory", bomb.clone()).await.expect("sent");
        stranger.publish_with_reply("skep.command.0", "inbox", bomb.clone()).await.expect("sent");
    }
    stranger.publish("skep.command.0", encode(&command("no reply wanted"))).await.expect("sent");
    stranger.flush().await.expect("flushed");
    nats.beat(heartbeat("honest", 1)).await.expect("beat");
    assert_eq!(beats.next().await.expect("a beat"), heartbeat("honest", 1));
    let asking = nats.command(partition(0), command("real"));
    let hearing = async {
        let request = commands.next().await.expect("a command");
        assert_eq!(request.message, command("real"));
        drop(commands);
    };
    let (answer, ()) = tokio::join!(asking, hearing);
    assert!(answer.is_err(), "the listener left without an answer");
}

/// Sends raw bytes and returns the answer.
async fn answer(
    stranger: &async_nats::Client,
    subject: &str,
    payload: impl Into<Bytes>,
) -> serde_json::Value {
    let answer = stranger.request(subject.to_owned(), payload.into()).await.expect("an answer");
    assert!(answer.payload.len() < 8 * 1024, "{} bytes", answer.payload.len());
    serde_json::from_slice(&answer.payload).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_answered_at_once() {
    let harness = NatsHarness::start().await;
    let (nats, stranger) = (connect(&harness, |_| {}).await, stranger(&harness).await);
    let mut commands = nats.serve_commands(partition(0)).await.expect("serve");
    let mut queries = nats.serve_queries().await.expect("serve");
    let mut reports = nats.serve_reports(partition(0)).await.expect("serve");
    let mut tasks = nats.serve_tasks(&agent("a")).await.expect("serve");
    let asking = async {
        let unknown = format!("{{\"{}\":1}}", "k".repeat(900_000));
        let command: CommandReply =
            from(answer(&stranger, "skep.command.0", unknown.clone()).await);
        let CommandReply::Rejected(Rejection::Unreadable { cause }) = command else {
            panic!("{command:?}")
        };
        assert!(cause.starts_with("not the JSON of a Command: unknown variant `kkk"), "{cause}");
        let query = from(answer(&stranger, "skep.query", unknown).await);
        let QueryReply::Failed { message } = query else { panic!("{query:?}") };
        assert!(message.starts_with("the question cannot be read: not the JSON"), "{message}");
        for (report, expected) in [
            ("", "not the JSON of a ReportBatch: EOF while parsing a value at line 1 column 0"),
            (r#"{"v":2,"from":"a"}"#, "a ReportBatch of format 2: those up to 1 can be read"),
            (r#"{"v":1,"agent":"b","reports":[]}"#, "it speaks in the name of another"),
        ] {
            let reply: ReportReply = from(answer(&stranger, "skep.report.0.a", report).await);
            assert_eq!(reply, ReportReply::unreadable(expected.to_owned()));
        }
        let delivery: Delivery = from(answer(&stranger, "skep.direct.a", "[]").await);
        let cause = delivery.unreadable.expect("a cause");
        assert!(cause.starts_with("not the JSON of a TaskBatch"), "{cause}");
    };
    tokio::select! {
        biased;
        () = asking => {}
        _ = commands.next() => panic!("a command"),
        _ = queries.next() => panic!("a query"),
        _ = reports.next() => panic!("a report"),
        _ = tasks.next() => panic!("a task"),
    }
}

fn from<T: serde::de::DeserializeOwned>(answer: serde_json::Value) -> T {
    serde_json::from_value(answer).expect("an answer of its kind")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_too_large_is_answered_at_once() {
    let harness = NatsHarness::start().await;
    let (nats, stranger) = (connect(&harness, |_| {}).await, stranger(&harness).await);
    let mut commands = nats.serve_commands(partition(0)).await.expect("serve");
    let asking = async {
        let inbox = stranger.new_inbox();
        let mut answers = stranger.subscribe(inbox.clone()).await.expect("subscribed");
        let mut more = async_nats::HeaderMap::new();
        more.insert("Skep-More", "1");
        let part = Bytes::from(vec![b'['; 1_000_000]);
        for _ in 0..=MAX_MESSAGE / part.len() {
            let subject = "skep.command.0";
            let (inbox, more) = (inbox.clone(), more.clone());
            let sent =
                stranger.publish_with_reply_and_headers(subject, inbox, more, part.clone()).await;
            sent.expect("sent");
        }
        next("an answer", &mut answers).await
    };
    let answer = tokio::select! {
        biased;
        answer = asking => answer,
        _ = commands.next() => panic!("a command"),
    };
    let reply: CommandReply = serde_json::from_slice(&answer.payload).expect("an answer");
    let CommandReply::Rejected(Rejection::Unreadable { cause }) = reply else {
        panic!("{reply:?}")
    };
    assert!(cause.ends_with("bytes, at most 33554432 are taken"), "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reports_in_the_name_of_another() {
    let harness = NatsHarness::start().await;
    let (nats, stranger) = (connect(&harness, |_| {}).await, stranger(&harness).await);
    let p = partition(0);
    let js = async_nats::jetstream::new(stranger.clone());
    for payload in [encode(&reports("victim", "s")), Bytes::from_static(b"{")] {
        let ack = js.publish("skep.late.0.mallory", payload).await.expect("sent");
        ack.await.expect("stored");
    }
    nats.report_durably(p, reports("honest", "s")).await.expect("left");
    let mut late = only_reports(nats.durable_reports(p).await.expect("read"));
    let report = late.next().await.expect("a report");
    assert_eq!(report.batch, reports("honest", "s"));
    report.confirm().await.expect("confirmed");
    let stream = js.get_stream("skep_late").await.expect("the stream");
    assert_eq!(stream.cached_info().state.messages, 0, "what was refused is removed, too");

    let mut owner = nats.serve_reports(p).await.expect("serve");
    let forged = encode(&reports("victim", "s"));
    stranger.publish_with_reply("skep.report.0.mallory", "inbox", forged).await.expect("sent");
    stranger.flush().await.expect("flushed");
    let asking = nats.report(p, reports("honest", "s"));
    let serving = async {
        let request = owner.next().await.expect("a report");
        assert_eq!(request.message, reports("honest", "s"));
        request.responder.send(ReportReply::from(Vec::new()));
    };
    let (answer, ()) = tokio::join!(asking, serving);
    answer.expect("an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_commands_come_in_parts() {
    let harness = NatsHarness::start().await;
    let (nats, stranger) = (connect(&harness, |_| {}).await, stranger(&harness).await);
    let p = partition(0);
    let mut owner = nats.serve_reports(p).await.expect("serve");
    let mut commands = nats.serve_commands(p).await.expect("serve");
    let mut more = async_nats::HeaderMap::new();
    more.insert("Skep-More", "1");
    let part = encode(&reports("mallory", "s"));
    let subject = "skep.report.0.mallory";
    let sent = stranger.publish_with_reply_and_headers(subject, "inbox", more.clone(), part);
    sent.await.expect("sent");
    stranger.publish_with_reply(subject, "inbox", Bytes::new()).await.expect("sent");
    let whole = encode(&reports("mallory", "whole"));
    stranger.publish_with_reply(subject, "inbox", whole).await.expect("sent");
    let heard = next("a report", &mut owner).await.message;
    assert_eq!(heard, reports("mallory", "whole"), "a part was taken for a report");

    let part = encode(&command("in parts"));
    let (first, second) = (part.slice(..10), part.slice(10..));
    let sent = stranger.publish_with_reply_and_headers("skep.command.0", "inbox", more, first);
    sent.await.expect("sent");
    stranger.publish_with_reply("skep.command.0", "inbox", second).await.expect("sent");
    assert_eq!(next("a command", &mut commands).await.message, command("in parts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_task_leaves_the_queue() {
    let harness = NatsHarness::start().await;
    let (nats, stranger) = (connect(&harness, |_| {}).await, stranger(&harness).await);
    nats.offer(task("writer", "first"), 1).await.expect("offer");
    let js = async_nats::jetstream::new(stranger);
    for payload in ["{\"v\":1}", ""] {
        let ack = js.publish("skep.task.writer", payload.into()).await.expect("sent");
        ack.await.expect("stored");
    }
    nats.offer(task("writer", "last"), 1).await.expect("offer");
    let mut steps = Vec::new();
    while steps.len() < 2 {
        let wait = std::time::Duration::from_secs(10);
        let pulled = nats.pull("writer", 9, wait).await.expect("pull");
        assert!(!pulled.is_empty(), "{steps:?}");
        steps.extend(pulled.iter().map(|delivered| delivered.task.step.to_string()));
    }
    assert_eq!(steps, ["first", "last"]);
    let depth = nats.depth("writer").await.expect("depth");
    assert_eq!((depth.waiting, depth.held), (0, 2));
}

/// Left in the queue, or taken out without a word, it would be offered again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_cannot_be_read_fails_with_the_cause() {
    let harness = NatsHarness::start().await;
    let (nats, stranger) = (connect(&harness, |_| {}).await, stranger(&harness).await);
    let mut owner = nats.serve_reports(partition(0)).await.expect("serve");
    nats.offer(task("another", "first"), 1).await.expect("the queue is there");
    let mut newer = serde_json::to_value(task("writer", "s")).expect("JSON");
    newer["priority"] = serde_json::json!({ "class": "gold" });
    let js = async_nats::jetstream::new(stranger);
    let ack = js.publish("skep.task.writer", newer.to_string().into()).await.expect("sent");
    ack.await.expect("stored");
    let write = |_: serde_json::Value| async { Ok::<_, Failure>(()) };
    let agent = Agent::builder("w").lane(Lane::Queue).serve("writer", write).build().expect("one");
    let reported = async {
        let request = owner.next().await.expect("a report");
        let [report] = request.message.reports.as_slice() else { panic!("{:?}", request.message) };
        assert_eq!(report.id(), task("writer", "s").id());
        let ReportBody::Outcome(Outcome::Failed { failure, .. }) = &report.body else {
            panic!("{report:?}")
        };
        assert_eq!(failure.code, "task_unreadable");
        let cause = "cannot read the task: not the JSON of a Task: invalid type: map, expected u8";
        assert!(failure.message.contains(cause), "{}", failure.message);
        request.responder.send(ReportReply::from(vec![Verdict::Applied]));
        while nats.depth("writer").await.expect("depth") != QueueDepth::default() {}
    };
    tokio::select! {
        biased;
        ended = agent.run(&nats) => panic!("{ended:?}"),
        () = reported => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_missing_in_the_middle_is_a_hole() {
    let harness = NatsHarness::start().await;
    let nats = connect(&harness, |options| {
        options.namespace = "holes".parse().expect("a namespace");
    })
    .await;
    let js = async_nats::jetstream::new(stranger(&harness).await);
    let p = partition(0);
    // Made by hand, because the streams that skep makes deny it.
    let stream = js
        .create_stream(async_nats::jetstream::stream::Config {
            name: "holes_journal_0".to_owned(),
            subjects: vec!["holes.journal.0".to_owned()],
            ..Default::default()
        })
        .await
        .expect("a stream");
    for end in 0..5 {
        nats.append(p, Seq::new(end), Bytes::from(end.to_string())).await.expect("append");
    }
    stream.delete_message(3).await.expect("deleted");
    let mut follower = nats.follow(p, Seq::ZERO).await.expect("follow");
    for seq in [1, 2] {
        let read = follower.next().await.expect("a message").expect("no hole");
        assert_eq!(read.seq, Seq::new(seq));
    }
    match follower.next().await {
        Some(Err(ReadError::Hole { expected, found })) => {
            assert_eq!((expected, found), (Seq::new(3), Seq::new(4)));
        }
        other => panic!("{other:?}"),
    }
    assert!(follower.next().await.is_none(), "a hole is the last item");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_was_emptied_tells_its_end_and_has_a_hole() {
    let harness = NatsHarness::start().await;
    let nats = connect(&harness, |_| {}).await;
    let p = partition(0);
    for end in 0..3 {
        nats.append(p, Seq::new(end), Bytes::from_static(b"{}")).await.expect("append");
    }
    let js = async_nats::jetstream::new(stranger(&harness).await);
    let stream = js.get_stream("skep_journal_0").await.expect("the stream");
    stream.purge().await.expect("emptied");
    let last = nats.last(p).await.expect("last").expect("an end");
    assert_eq!((last.seq, last.bytes), (Seq::new(3), Bytes::new()));
    for from in [0, 2, 3] {
        let mut follower = nats.follow(p, Seq::new(from)).await.expect("follow");
        match next("a hole", &mut follower).await {
            Err(ReadError::Hole { expected, found }) => {
                assert_eq!((expected, found), (Seq::new(from.max(1)), Seq::new(4)));
            }
            other => panic!("{other:?}"),
        }
        assert!(follower.next().await.is_none(), "a hole is the last item");
    }
    let mut follower = nats.follow(p, Seq::new(4)).await.expect("follow");
    nats.append(p, Seq::new(3), Bytes::from_static(b"[]")).await.expect("append");
    assert_eq!(next("a message", &mut follower).await.expect("no hole").seq, Seq::new(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn journals_deny_the_deletion_of_a_message() {
    let harness = NatsHarness::start().await;
    let nats = connect(&harness, |_| {}).await;
    nats.append(partition(0), Seq::ZERO, Bytes::from_static(b"{}")).await.expect("append");
    let js = async_nats::jetstream::new(stranger(&harness).await);
    let stream = js.get_stream("skep_journal_0").await.expect("the stream");
    stream.delete_message(1).await.expect_err("denied");
    assert_eq!(agent("a").as_str(), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_chunk_under_the_hash_of_a_blob_is_replaced() {
    let harness = NatsHarness::start().await;
    let (nats, stranger) = (connect(&harness, |_| {}).await, stranger(&harness).await);
    let js = async_nats::jetstream::new(stranger);
    let value = Bytes::from(vec![b'x'; 600_000]);
    let blob = BlobRef::of(&value);
    let subject = format!("skep.blob.{}.1", blob.hash);
    let published = js.publish(subject, "poison".into()).await.expect("sent");
    published.await.expect("stored");
    for _ in 0..2 {
        assert_eq!(nats.put_blob(value.clone()).await.expect("kept"), blob);
        assert_eq!(nats.blob(blob).await.expect("read"), Some(value.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_an_interrupted_snapshot_is_removed() {
    let harness = NatsHarness::start().await;
    let (nats, stranger) = (connect(&harness, |_| {}).await, stranger(&harness).await);
    let js = async_nats::jetstream::new(stranger);
    for subject in ["skep.snapshot.0.5.0", "skep.snapshot.0.5.1", "skep.snapshot.1.5.0"] {
        let published = js.publish(subject, "half".into()).await.expect("sent");
        published.await.expect("stored");
    }
    for seq in [4, 7, 9] {
        let snapshot = Snapshot { seq: Seq::new(seq), bytes: Bytes::from_static(b"state") };
        nats.put_snapshot(partition(0), snapshot).await.expect("kept");
    }
    let stream = js.get_stream("skep_snapshots").await.expect("the stream");
    let subjects = stream.info_with_subjects(">").await.expect("its subjects");
    let mut subjects: Vec<String> =
        subjects.map(|subject| subject.expect("a subject").0).collect().await;
    subjects.sort();
    let of_7_and_9 = ["7.0", "7.end", "9.0", "9.end"].map(|s| format!("skep.snapshot.0.{s}"));
    let other = "skep.snapshot.1.5.0".to_owned();
    assert_eq!(subjects, of_7_and_9.into_iter().chain([other]).collect::<Vec<_>>());
}
