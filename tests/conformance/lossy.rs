//! Messages that are lost on their way to a reader, as they are between the servers of a cluster:
//! readers do not acknowledge, so the server sends none of them again.

use bytes::Bytes;
use futures::StreamExt as _;
use skep_broker::conformance::fixtures::{next, only_reports, partition, reports, soon};
use skep_broker::{Journal as _, Reports as _};
use skep_nats::{ConnectOptions, Nats};
use skep_protocol::Seq;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{NatsHarness, connect};

/// Stands between a client and the server, and loses the `nth` message of a stream that it brings.
async fn lossy(server: String, stream: &'static str, nth: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("nats://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.expect("a client");
        let server = TcpStream::connect(server).await.expect("the server");
        let (mut from_client, to_client) = client.into_split();
        let (from_server, mut to_server) = server.into_split();
        let up = tokio::io::copy(&mut from_client, &mut to_server);
        let down = forward(BufReader::new(from_server), to_client, (stream, nth));
        tokio::select! {
            _ = up => {}
            () = down => {}
        }
    });
    url
}

async fn forward(
    mut from: BufReader<OwnedReadHalf>,
    mut to: OwnedWriteHalf,
    (stream, nth): (&str, usize),
) {
    let of_stream = format!("$JS.ACK.{stream}.");
    let mut seen = 0;
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line).into_owned();
        if text.starts_with("MSG ") || text.starts_with("HMSG ") {
            let size = text.split_whitespace().next_back().and_then(|size| size.parse().ok());
            let mut payload = vec![0; size.unwrap_or(0) + 2];
            from.read_exact(&mut payload).await.expect("a payload");
            line.extend_from_slice(&payload);
            seen += usize::from(text.contains(&of_stream));
            if text.contains(&of_stream) && seen == nth {
                line.clear();
                continue;
            }
        }
        if to.write_all(&line).await.is_err() {
            return;
        }
        line.clear();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_message_of_a_journal_is_no_hole() {
    let harness = NatsHarness::start().await;
    let (writer, p) = (connect(&harness, |_| {}).await, partition(0));
    for end in 0..5 {
        writer.append(p, Seq::new(end), Bytes::from(end.to_string())).await.expect("append");
    }
    let url = lossy(harness.url.replace("nats://", ""), "skep_journal_0", 3).await;
    let reader = Nats::connect(ConnectOptions::url(&url)).await.expect("a connection");
    let mut follower = reader.follow(p, Seq::ZERO).await.expect("follow");
    for end in 0..5_u64 {
        let read = next("a message", &mut follower).await.expect("no hole");
        assert_eq!((read.seq, read.bytes), (Seq::new(end + 1), Bytes::from(end.to_string())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_report_that_is_lost_is_read_again() {
    let harness = NatsHarness::start().await;
    let (agent, p) = (connect(&harness, |_| {}).await, partition(0));
    for step in ["a", "b", "c"] {
        agent.report_durably(p, reports("a", step)).await.expect("left");
    }
    let url = lossy(harness.url.replace("nats://", ""), "skep_late", 2).await;
    let owner = Nats::connect(ConnectOptions::url(&url)).await.expect("a connection");
    let late = only_reports(owner.durable_reports(p).await.expect("read"));
    let read = soon("all reports", late.take(3).collect::<Vec<_>>()).await;
    let read: Vec<_> = read.into_iter().map(|report| report.batch).collect();
    assert_eq!(read, ["a", "b", "c"].map(|step| reports("a", step)));
}
