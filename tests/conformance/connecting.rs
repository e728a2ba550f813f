//! What is said when there is no server, an old one, a closed one, or one with other streams.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};

use skep_nats::server::{Options, SyncInterval, ThrowawayServer, find_or_fetch};
use skep_nats::{ConnectOptions, Credentials, LayoutError, Nats, SyncPolicy};
use skep_protocol::PartitionCount;

use crate::harness::{NatsHarness, connect, stranger};

async fn refused(options: ConnectOptions) -> String {
    Nats::connect(options).await.expect_err("there is nothing to connect to").to_string()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test]
async fn an_unreachable_server_is_told_with_what_to_try() {
    let port = free_port();
    let error = refused(ConnectOptions::url(&format!("nats://me:secret@127.0.0.1:{port}"))).await;
    assert!(error.starts_with(&format!("cannot reach NATS at 127.0.0.1:{port}: ")), "{error}");
    assert!(error.contains("refused") && error.contains("nats-server -js"), "{error}");
    assert!(!error.contains("secret"), "{error}");
    let error = refused(ConnectOptions::url("nats://not a host")).await;
    assert!(error.starts_with("`nats://not a host` is no address"), "{error}");
}

/// Speaks just enough of the protocol to be taken for a server of that version.
fn pretend(version: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let info = format!("INFO {{\"version\":\"{version}\",\"max_payload\":1048576}}\r\n");
            stream.write_all(info.as_bytes()).expect("written");
            let lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
            for line in lines.map_while(Result::ok) {
                if line.starts_with("PING") {
                    stream.write_all(b"PONG\r\n").expect("written");
                }
            }
        }
    });
    port
}

#[tokio::test]
async fn an_old_server_is_told_with_the_version_that_is_needed() {
    let port = pretend("2.9.10");
    let error = refused(ConnectOptions::url(&format!("nats://127.0.0.1:{port}"))).await;
    let expected = format!(
        "the NATS server at 127.0.0.1:{port} has version 2.9.10, but 2.12.0 or newer is needed"
    );
    assert_eq!(error, expected);
}

#[tokio::test]
async fn a_server_without_jetstream_is_told() {
    let options = Options { without_jetstream: true, ..Options::default() };
    let server = ThrowawayServer::start(options).await.expect("a server");
    let error = refused(ConnectOptions::url(&server.url())).await;
    assert!(error.contains("has no JetStream") && error.contains("`-js`"), "{error}");
}

#[tokio::test]
async fn wrong_credentials_are_told_and_right_ones_work() {
    let more = "authorization { user: me, password: secret }\n".to_owned();
    let server = ThrowawayServer::start(Options { more, ..Options::default() }).await;
    let server = server.expect("a server");
    let with = |password: &str| ConnectOptions {
        credentials: Credentials::User { user: "me".to_owned(), password: password.to_owned() },
        ..ConnectOptions::url(&server.url())
    };
    let error = refused(with("guess")).await;
    assert!(error.contains("refuses these credentials"), "{error}");
    Nats::connect(with("secret")).await.expect("the right password");
    let missing = Credentials::File("/no/such.creds".into());
    let error = refused(ConnectOptions { credentials: missing, ..with("") }).await;
    assert!(error.starts_with("cannot use the credentials: /no/such.creds"), "{error}");
}

/// Starts a server with these lines in its configuration.
async fn with_users(more: &str) -> ThrowawayServer {
    let options = Options { more: more.to_owned(), ..Options::default() };
    ThrowawayServer::start(options).await.expect("a server")
}

#[tokio::test]
async fn credentials_in_the_address_are_used() {
    let server = with_users("authorization { user: \"m@e\", password: \"se:cret\" }\n").await;
    let host = server.url().replace("nats://", "");
    let url = format!("nats://m%40e:se%3Acret@{host}");
    Nats::connect(ConnectOptions::url(&url)).await.expect("the right password");
    let error = refused(ConnectOptions::url(&format!("nats://m%40e:guess@{host}"))).await;
    assert!(error.contains("refuses these credentials") && !error.contains("guess"), "{error}");
    // What was given beside the address counts more.
    let user = "m@e".to_owned();
    let credentials = Credentials::User { user, password: "se:cret".to_owned() };
    let url = format!("nats://other:guess@{host}");
    let given = ConnectOptions { credentials, ..ConnectOptions::url(&url) };
    Nats::connect(given).await.expect("the right password");

    let server = with_users("authorization { token: s3cret }\n").await;
    let url = server.url().replace("nats://", "nats://s3cret@");
    Nats::connect(ConnectOptions::url(&url)).await.expect("the right token");
}

#[tokio::test]
async fn a_user_that_may_not_use_jetstream_is_told_so() {
    let server = with_users(
        "authorization { users: [\n\
         {user: deaf, password: p, permissions: {publish: [\"skep.>\", \"$JS.API.>\"], \
          subscribe: \"skep.>\"}}\n\
         {user: dumb, password: p, permissions: {publish: \"skep.>\"}}\n] }\n",
    )
    .await;
    for user in ["deaf", "dumb"] {
        let url = server.url().replace("nats://", &format!("nats://{user}:p@"));
        let error = refused(ConnectOptions::url(&url)).await;
        assert!(error.starts_with("connected to NATS at 127.0.0.1:"), "{user}: {error}");
        assert!(error.contains("JetStream does not answer"), "{user}: {error}");
        assert!(error.contains("`$JS.API.>`") && error.contains("`_INBOX.>`"), "{user}: {error}");
    }
}

#[tokio::test]
async fn a_stream_with_other_settings_is_named() {
    let harness = NatsHarness::start().await;
    let js = async_nats::jetstream::new(stranger(&harness).await);
    let nats = connect(&harness, |options| {
        options.namespace = "other".parse().expect("a namespace");
    })
    .await;
    js.create_stream(async_nats::jetstream::stream::Config {
        name: "other_journal_1".to_owned(),
        subjects: vec!["other.journal.1".to_owned()],
        storage: async_nats::jetstream::stream::StorageType::Memory,
        ..Default::default()
    })
    .await
    .expect("a stream");
    let error = nats.ensure_layout(PartitionCount::DEFAULT).await.expect_err("it differs");
    assert!(matches!(error, LayoutError::Differs { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the stream `other_journal_1` has storage = memory, but skep needs file"
    );
    js.delete_stream("other_journal_1").await.expect("deleted");
    for _ in 0..2 {
        nats.ensure_layout(PartitionCount::DEFAULT).await.expect("the layout");
    }
    let three = connect(&harness, |options| options.replicas = Some(3)).await;
    let error = three.ensure_layout(PartitionCount::DEFAULT).await.expect_err("it differs");
    assert!(error.to_string().contains("num_replicas = 1, but skep needs 3"), "{error}");
}

#[tokio::test]
async fn a_server_that_takes_too_small_messages_is_told() {
    let options = Options { max_payload: Some(64 * 1024), ..Options::default() };
    let server = ThrowawayServer::start(options).await.expect("a server");
    let nats = Nats::connect(ConnectOptions::url(&server.url())).await.expect("a connection");
    let error = nats.ensure_layout(PartitionCount::DEFAULT).await.expect_err("too small");
    assert!(error.to_string().contains("raise `max_payload`"), "{error}");
}

#[tokio::test]
async fn an_inspection_tells_versions_streams_and_clocks() {
    let secure = Options { sync_interval: SyncInterval::Always, ..Options::default() };
    let server = ThrowawayServer::start(secure).await.expect("a server");
    let nats = Nats::connect(ConnectOptions::url(&server.url())).await.expect("a connection");
    assert!(nats.inspect().await.expect("an inspection").streams.is_empty());
    nats.ensure_layout(PartitionCount::DEFAULT).await.expect("the layout");
    let seen = nats.inspect().await.expect("an inspection");
    let found = find_or_fetch().await.expect("a nats-server").version.to_string();
    assert_eq!((seen.version, seen.sync, seen.streams.len()), (found, None, 15));
    let journal = seen.streams.iter().find(|s| s.name == "skep_journal_0").expect("a journal");
    assert_eq!((journal.storage.as_str(), journal.replicas, journal.messages), ("file", 1, 0));
    let ahead = seen.clock_ahead_ms.expect("a time");
    assert!(ahead.unsigned_abs() < 60_000, "{ahead} ms on one machine");
    assert_eq!(serde_json::to_value(SyncPolicy::Always).expect("JSON"), "always");
}
