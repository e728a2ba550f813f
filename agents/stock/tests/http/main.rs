//! The `http` agent against a server on the loopback interface.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod doubt;
mod server;

use std::time::Duration;

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use skep_agent::Failure;
use skep_agents::http::{AddressPolicy, HttpClient, HttpConfig, HttpError, HttpInput, HttpOutput};

use crate::server::Server;

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

/// Sends a task whose `url` is a path of a server with this port.
async fn send_to(port: u16, mut task: Value) -> Result<HttpOutput, Failure> {
    task["url"] = format!("http://127.0.0.1:{port}{}", task["url"].as_str().unwrap()).into();
    send(config("127.0.0.1"), task).await
}

/// Sends a task whose `url` is a path of the server.
async fn check(task: Value, expected: Expect) {
    let server = Server::start("127.0.0.1").await;
    let shown = show(send_to(server.port, task).await);
    expected.assert_eq(&shown.replace(&server.port.to_string(), "PORT"));
}

/// Sends a task whose `url` is `/echo`, and shows what the server got.
async fn check_request(task: Value, expected: Expect) {
    let server = Server::start("127.0.0.1").await;
    let output = send_to(server.port, task).await.unwrap();
    expected.assert_eq(&output.text.unwrap().replace(&server.port.to_string(), "PORT"));
}

/// Lets the server answer with these lines.
async fn check_answer(lines: &[&str], expected: Expect) {
    let raw = lines.join("%0D%0A").replace(' ', "%20");
    check(json!({ "url": format!("/raw?{raw}") }), expected).await;
}

#[tokio::test]
async fn a_request_carries_what_the_task_says() {
    check_request(
        json!({ "url": "/echo", "headers": { "X-One": "1", "Accept": "a/b" } }),
        expect![[r#"
            get /echo http/1.1
            accept: a/b
            x-one: 1
            user-agent: skep-http/0.1.0
            host: 127.0.0.1:PORT
        "#]],
    )
    .await;
    check_request(
        json!({ "url": "/echo", "method": "post", "json": { "a": 1 } }),
        expect![[r#"
            post /echo http/1.1
            content-type: application/json
            idempotency-key: run/step
            accept: */*
            user-agent: skep-http/0.1.0
            host: 127.0.0.1:PORT
            content-length: 7

            {"a":1}
        "#]],
    )
    .await;
    let headers = json!({ "idempotency-key": "mine" });
    check_request(
        json!({ "url": "/echo", "method": "PUT", "body": "text", "headers": headers }),
        expect![[r#"
            put /echo http/1.1
            idempotency-key: mine
            accept: */*
            user-agent: skep-http/0.1.0
            host: 127.0.0.1:PORT
            content-length: 4

            text
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_response_is_json_text_or_bytes() {
    let ok = "HTTP/1.1 200 OK";
    check_answer(
        &[ok, "content-type: application/a+json; x=y", "", "{\"a\":1}"],
        expect![[
            r#"{"status":200,"headers":{"content-type":"application/a+json; x=y"},"json":{"a":1}}"#
        ]],
    )
    .await;
    check_answer(
        &[ok, "content-type: text/json", "", "{ \"n\": 1.10, \"n\": 1e2 }"],
        expect![[
            r#"{"status":200,"headers":{"content-type":"text/json"},"json":{"n":1.10,"n":1e2}}"#
        ]],
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
    check_answer(
        &[ok, "content-type: application/json", "", "{"],
        expect![
            "fatal body_format: the body of the response is not what was expected: \
             it is not JSON: EOF while parsing an object at line 1 column 1"
        ],
    )
    .await;
    let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
    check_answer(
        &[ok, "content-type: application/json", "", &deep],
        expect![
            "fatal body_format: the body of the response is not what was expected: \
             the JSON is nested too deeply"
        ],
    )
    .await;
    check(
        json!({ "url": "/raw?HTTP/1.1%20200%20OK%0D%0A%0D%0Aplain", "response": "json" }),
        expect![
            "fatal body_format: the body of the response is not what was expected: \
             it is not JSON: expected value at line 1 column 1"
        ],
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

/// What a server may have done has to be made good, whatever came of its answer.
#[tokio::test]
async fn what_became_of_a_request_that_changes_something_may_be_unclear() {
    let server = Server::start("127.0.0.1").await;
    let unclear = async |method: &str, path: &str| {
        let url = format!("http://127.0.0.1:{}{path}", server.port);
        let config = HttpConfig { max_time: Duration::from_millis(200), ..config("127.0.0.1") };
        let failure = send(config, json!({ "method": method, "url": url })).await.unwrap_err();
        failure.is_unclear()
    };
    let raw = |status: &str| format!("/raw?HTTP/1.1%20{status}%0D%0A%0D%0A{{");
    let answers = ["201%20Created%0D%0Acontent-type:%20application/json", "500%20Oops", "504%20No"];
    let answers = answers.map(raw);
    for path in answers.iter().map(String::as_str).chain(["/slow", "/hang-up", "/endless"]) {
        assert!(unclear("POST", path).await, "{path}");
        assert!(!unclear("GET", path).await, "{path}");
    }
    for status in ["403%20No", "429%20Slow", "501%20What", "503%20Busy"] {
        assert!(!unclear("POST", &raw(status)).await, "{status}");
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let task = json!({ "method": "POST", "url": format!("http://{nobody}/") });
    assert!(!send(config("127.0.0.1"), task).await.unwrap_err().is_unclear());
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
    check(
        json!({ "url": "/to?http://169.254.169.254/latest/meta-data/" }),
        expect![
            "fatal address_refused: the request may not be made: \
             `169.254.169.254` is at 169.254.169.254, \
             which is not public and not allowed by the operator"
        ],
    )
    .await;
    check(
        json!({ "url": "/to?http://[::ffff:10.0.0.1]/" }),
        expect![
            "fatal address_refused: the request may not be made: \
             `[::ffff:a00:1]` is at ::ffff:10.0.0.1, \
             which is not public and not allowed by the operator"
        ],
    )
    .await;
    check(
        json!({ "url": "/to?/to?http://2130706434/" }),
        expect![
            "fatal address_refused: the request may not be made: \
             `127.0.0.2` is at 127.0.0.2, \
             which is not public and not allowed by the operator"
        ],
    )
    .await;
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
    expect![
        "address_refused: the request may not be made: `localhost` is at 127.0.0.1, \
         which is not public and not allowed by the operator"
    ]
    .assert_eq(&failure.to_string());
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
