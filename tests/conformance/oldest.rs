//! The oldest supported nats-server: the same tests, once more, in a process of their own.

use std::process::Stdio;

use skep_nats::server::fetch_oldest;
use tokio::process::Command;

#[tokio::test]
async fn the_oldest_supported_server_will_do() {
    let server = fetch_oldest().await.expect("the oldest nats-server");
    let tests = std::env::current_exe().expect("these tests");
    let mut others = Command::new(tests);
    others.args(["--skip", "the_oldest_supported_server_will_do"]);
    others.env("SKEP_NATS_SERVER", server.path).stdin(Stdio::null()).kill_on_drop(true);
    let done = others.output().await.expect("a process");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "with nats-server {}:\n{said}", server.version);
    let passed = said.lines().find(|line| line.starts_with("test result: ok."));
    assert!(passed.is_some_and(|line| !line.contains(" 0 passed")), "{said}");
}
