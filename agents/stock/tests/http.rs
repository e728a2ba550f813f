//! The `http` agent against a server on the loopback interface.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use skep_agent::Failure;
use skep_agents::http::{AddressPolicy, HttpClient, HttpConfig, HttpError, HttpInput, HttpOutput};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A server that knows a few paths; `/raw?TEXT` answers with `TEXT`, decoded.
struct Server {
    port: u16,
    serving: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    async fn start(host: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(answer(stream, port));
            }
        });
        Self { port, serving }
    }
}

async fn answer(mut stream: TcpStream, port: u16) {
    let request = read(&mut stream).await;
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let path = head.split(' ').nth(1).unwrap();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let to = |place: &str| {
        format!("HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n")
    };
    let response = match path {
        "/echo" => {
            let seen = json!({ "head": head.to_lowercase(), "body": body }).to_string();
            let size = seen.len();
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n{seen}"
            )
        }
        "/raw" => query.replace("%0D%0A", "\r\n").replace("%20", " ").replace("%22", "\""),
        "/to" => to(query),
        "/loop" => to("/loop"),
        "/bounce" => to(&format!("http://{query}:{port}/echo")),
        "/endless" => {
            let head = "HTTP/1.1 200 OK\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(&[b'x'; 1024]).await.is_ok() {}
            return;
        }
        "/slow" => {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx";
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.ok();
            return;
        }
        "/hang-up" => return,
        _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\nnothing".to_owned(),
    };
    stream.write_all(response.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}

async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let length = |head: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            line.map_or(0, |length| length.parse::<usize>().unwrap())
        };
        match text.split_once("\r\n\r\n") {
            Some((head, body)) if body.len() >= length(head) => return text,
            _ if read == 0 => return text,
            _ => {}
        }
    }
}

fn config(allowed: &str) -> HttpConfig {
    HttpConfig {
        addresses: AddressPolicy { allowed: vec![allowed.parse().unwrap()] },
        max_body: 2000,
        max_redirects: 3,
        ..HttpConfig::default()
    }
}

async fn send(config: HttpConfig, task: Value) -> Result<HttpOutput, Failure> {
    let input: HttpInput = serde_json::from_value(task).unwrap();
    let client = HttpClient::new(config).unwrap();
    client.send(&input, "run/step").await.map_err(HttpError::failure)
}

fn show(outcome: Result<HttpOutput, Failure>) -> String {
    match outcome {
        Ok(output) => serde_json::to_string(&output).unwrap(),
        Err(failure) => {
            let retry = if failure.is_retryable() { "retryable" } else { "fatal" };
            let after = failure.clone().into_protocol().retry_after();
            let after = after.map(|after| format!(" after {after:?}")).unwrap_or_default();
            format!("{retry}{after} {failure}")
        }
    }
}

/// Sends a task whose `url` is a path of the server.
async fn check(mut task: Value, expected: Expect) {
    let server = Server::start("127.0.0.1").await;
    let base = format!("http://127.0.0.1:{}", server.port);
    task["url"] = format!("{base}{}", task["url"].as_str().unwrap()).into();
    let shown = show(send(config("127.0.0.1"), task).await);
    expected.assert_eq(&shown.replace(&server.port.to_string(), "PORT"));
}

/// Lets the server answer with these lines.
async fn check_answer(lines: &[&str], expected: Expect) {
    let raw = lines.join("%0D%0A").replace(' ', "%20");
    check(json!({ "url": format!("/raw?{raw}") }), expected).await;
}

#[tokio::test]
async fn a_request_carries_what_the_task_says() {
    check(
        json!({ "url": "/echo", "headers": { "X-One": "1", "Accept": "a/b" } }),
        expect![[r#"{"status":200,"headers":{"content-length":"122","content-type":"application/json"},"json":{"head":"get /echo http/1.1\r\naccept: a/b\r\nx-one: 1\r\nuser-agent: skep-http/0.1.0\r\nhost: 127.0.0.1:PORT","body":""}}"#]],
    )
    .await;
    check(json!({ "url": "/echo", "method": "post", "json": { "a": 1 } }), expect![[r#"{"status":200,"headers":{"content-length":"204","content-type":"application/json"},"json":{"head":"post /echo http/1.1\r\ncontent-type: application/json\r\nidempotency-key: run/step\r\naccept: */*\r\nuser-agent: skep-http/0.1.0\r\nhost: 127.0.0.1:PORT\r\ncontent-length: 7","body":"{\"a\":1}"}}"#]]).await;
    check(
        json!({ "url": "/echo", "method": "PUT", "body": "text", "headers": { "idempotency-key": "mine" } }),
        expect![[r#"{"status":200,"headers":{"content-length":"160","content-type":"application/json"},"json":{"head":"put /echo http/1.1\r\nidempotency-key: mine\r\naccept: */*\r\nuser-agent: skep-http/0.1.0\r\nhost: 127.0.0.1:PORT\r\ncontent-length: 4","body":"text"}}"#]],
    )
    .await;
}

#[tokio::test]
async fn a_response_is_json_text_or_bytes() {
    let ok = "HTTP/1.1 200 OK";
    check_answer(
        &[ok, "content-type: application/problem+json; x=y", "", "{\"a\":1}"],
        expect![[r#"{"status":200,"headers":{"content-type":"application/problem+json; x=y"},"json":{"a":1}}"#]],
    )
    .await;
    check_answer(
        &[ok, "set-cookie: a", "set-cookie: b", "", "plain"],
        expect![[r#"{"status":200,"headers":{"set-cookie":"a, b"},"text":"plain"}"#]],
    )
    .await;
    check_answer(
        &["HTTP/1.1 204 No Content", "content-type: application/json", "", ""],
        expect![[r#"{"status":204,"headers":{"content-type":"application/json"},"text":""}"#]],
    )
    .await;
    check_answer(&[ok, "content-type: application/json", "", "{"], expect!["fatal body_format: the body of the response is not what was expected: it is not JSON: EOF while parsing an object at line 1 column 1"]).await;
    let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
    check_answer(&[ok, "content-type: application/json", "", &deep], expect!["fatal body_format: the body of the response is not what was expected: the JSON is nested too deeply"]).await;
    check(
        json!({ "url": "/raw?HTTP/1.1%20200%20OK%0D%0A%0D%0Aplain", "response": "json" }),
        expect!["fatal body_format: the body of the response is not what was expected: it is not JSON: expected value at line 1 column 1"],
    )
    .await;
}

#[tokio::test]
async fn a_status_is_expected_or_a_failure() {
    let status = |line: &'static str| ["HTTP/1.1 ", line].concat();
    check_answer(
        &[&status("500 Oops"), "", "trouble"],
        expect!["retryable status_500: 127.0.0.1 answered with status 500"],
    )
    .await;
    check_answer(
        &[&status("501 Not Implemented"), "", ""],
        expect!["fatal status_501: 127.0.0.1 answered with status 501"],
    )
    .await;
    check_answer(
        &[&status("503 Busy"), "retry-after: 7", "", ""],
        expect!["retryable after 7s status_503: 127.0.0.1 answered with status 503"],
    )
    .await;
    check_answer(
        &[&status("429 Slow"), "retry-after: 120", "", ""],
        expect!["retryable after 120s status_429: 127.0.0.1 answered with status 429"],
    )
    .await;
    check_answer(
        &[
            &status("429 Slow"),
            "date: Sun, 06 Nov 1994 08:49:37 GMT",
            "retry-after: Sun, 06 Nov 1994 08:49:47 GMT",
            "",
            "",
        ],
        expect!["retryable after 10s status_429: 127.0.0.1 answered with status 429"],
    )
    .await;
    check_answer(
        &[&status("403 No"), "", ""],
        expect!["fatal status_403: 127.0.0.1 answered with status 403"],
    )
    .await;
    check(
        json!({ "url": "/missing" }),
        expect!["fatal status_404: 127.0.0.1 answered with status 404"],
    )
    .await;
    check(
        json!({ "url": "/missing", "expect_status": [200, 404] }),
        expect![[r#"{"status":404,"headers":{"content-length":"7"},"text":"nothing"}"#]],
    )
    .await;
    check(
        json!({ "url": "/missing", "expect_status": 404 }),
        expect![[r#"{"status":404,"headers":{"content-length":"7"},"text":"nothing"}"#]],
    )
    .await;
    check(
        json!({ "url": "/echo", "expect_status": 201 }),
        expect!["fatal status_200: 127.0.0.1 answered with status 200"],
    )
    .await;
}

#[tokio::test]
async fn size_and_time_are_bounded() {
    check(
        json!({ "url": "/endless" }),
        expect!["fatal body_too_large: the body of the response is longer than 2000 bytes"],
    )
    .await;
    check_answer(
        &["HTTP/1.1 200 OK", "content-length: 99999999", "", "x"],
        expect!["fatal body_too_large: the body of the response is longer than 2000 bytes"],
    )
    .await;
    let server = Server::start("127.0.0.1").await;
    let config = HttpConfig { max_time: Duration::from_millis(100), ..config("127.0.0.1") };
    let task = json!({ "url": format!("http://127.0.0.1:{}/slow", server.port) });
    expect!["retryable http_timeout: no complete response from 127.0.0.1 within 0.1 s"]
        .assert_eq(&show(send(config, task).await));
}

#[tokio::test]
async fn a_broken_connection_is_retryable() {
    let server = Server::start("127.0.0.1").await;
    for path in ["hang-up", "raw?nonsense"] {
        let task = json!({ "url": format!("http://127.0.0.1:{}/{path}", server.port) });
        let failure = send(config("127.0.0.1"), task).await.unwrap_err();
        assert_eq!((failure.code(), failure.is_retryable()), ("connection_failed", true));
    }
}

#[tokio::test]
async fn redirects_are_followed_within_bounds() {
    check(
        json!({ "url": "/to?/to?/missing" }),
        expect!["fatal status_404: 127.0.0.1 answered with status 404"],
    )
    .await;
    check(
        json!({ "url": "/loop" }),
        expect!["fatal too_many_redirects: the request may not be made: more than 3 redirects"],
    )
    .await;
    check(
        json!({ "url": "/to?ftp://127.0.0.1/" }),
        expect!["fatal invalid_url: the request may not be made: `ftp:` is not http: or https:"],
    )
    .await;
}

#[tokio::test]
async fn addresses_inside_are_refused_at_the_start_and_on_every_hop() {
    check(json!({ "url": "/to?http://169.254.169.254/latest/meta-data/" }), expect!["fatal address_refused: the request may not be made: `169.254.169.254` is at 169.254.169.254, which is not public and not allowed by the operator"]).await;
    check(json!({ "url": "/to?http://[::ffff:10.0.0.1]/" }), expect!["fatal address_refused: the request may not be made: `[::ffff:a00:1]` is at ::ffff:10.0.0.1, which is not public and not allowed by the operator"]).await;
    check(json!({ "url": "/to?/to?http://2130706434/" }), expect!["fatal address_refused: the request may not be made: `127.0.0.2` is at 127.0.0.2, which is not public and not allowed by the operator"]).await;
    let server = Server::start("127.0.0.1").await;
    for host in ["127.0.0.1", "localhost"] {
        let task = json!({ "url": format!("http://{host}:{}/echo", server.port) });
        let failure = send(HttpConfig::default(), task).await.unwrap_err();
        assert_eq!((failure.code(), failure.is_retryable()), ("address_refused", false), "{host}");
    }
}

/// Needs a second loopback address, which Linux has without being asked.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_name_that_leads_inside_is_refused_after_a_redirect() {
    let server = Server::start("127.0.0.2").await;
    let task = json!({ "url": format!("http://127.0.0.2:{}/bounce?localhost", server.port) });
    let failure = send(config("127.0.0.2"), task).await.unwrap_err();
    expect!["address_refused: the request may not be made: `localhost` is at 127.0.0.1, which is not public and not allowed by the operator"].assert_eq(&failure.to_string());
}

#[tokio::test]
async fn a_task_that_makes_no_sense_is_refused() {
    for (task, expected) in [
        (json!({ "url": "no url" }), "`url` is not a URL: relative URL without a base"),
        (json!({ "url": "http://a.b", "method": "A B" }), "`A B` is not a method"),
        (
            json!({ "url": "http://a.b", "headers": { "a b": "" } }),
            "`a b` is not the name of a header",
        ),
        (
            json!({ "url": "http://a.b", "headers": { "Host": "x" } }),
            "the header `Host` follows from the request and cannot be given",
        ),
        (
            json!({ "url": "http://a.b", "headers": { "a": "x\r\nb: y" } }),
            "the value of the header `a` has characters it may not have",
        ),
        (json!({ "url": "http://a.b", "json": 1, "body": "" }), "give `json` or `body`, not both"),
    ] {
        let failure = send(HttpConfig::default(), task).await.unwrap_err();
        assert_eq!((failure.code(), failure.message()), ("invalid_input", expected));
    }
    let task = json!({ "url": "http://user:secret@10.0.0.1/" });
    let failure = send(HttpConfig::default(), task).await.unwrap_err();
    assert!(!failure.message().contains("secret"), "{failure}");
}
