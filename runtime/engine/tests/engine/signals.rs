//! Signals that come before anybody asks for them, and more of them than a run keeps.

use skep_engine::{Input, Reply};
use skep_protocol::limits::MAX_EARLY_SIGNALS;
use skep_protocol::{
    AgentId, CommandReply, Outcome, Payload, Rejection, Report, ReportBody, RunStatus, Signal,
    SignalId, StepPath,
};

use crate::world::{World, read, run_id};

struct Post {
    world: World,
    sent: usize,
}

impl Post {
    fn new(definition: &str) -> Self {
        let mut world = World::quick();
        world.start(&read(definition), "{}");
        Self { world, sent: 0 }
    }

    /// Sends a signal; tells whether it was taken.
    fn send(&mut self, name: &str, payload: &str) -> bool {
        self.sent += 1;
        let id = SignalId::new(&format!("s{}", self.sent)).unwrap();
        let payload = Payload::from_text(payload).unwrap();
        let signal = Signal { run: run_id(), name: name.to_owned(), id, payload };
        let handled = self.world.handle(Input::Signal(signal)).handled;
        match handled.reply {
            Some(Reply::Command(CommandReply::Done {})) => true,
            Some(Reply::Command(CommandReply::Rejected(Rejection::LimitExceeded { .. }))) => {
                assert_eq!(handled.records, []);
                false
            }
            reply => panic!("{reply:?}"),
        }
    }

    fn ok(&mut self, step: &str) {
        let output = Payload::null();
        let body = ReportBody::Outcome(Outcome::Completed { output, duration_ms: 0 });
        let report = Report { run: run_id(), step: StepPath::new(step), attempt: 1, body };
        self.world.handle(Input::Report { agent: AgentId::new("a1").unwrap(), report });
    }

    fn status(&self) -> Option<RunStatus> {
        self.world.partition.status(run_id())
    }
}

#[test]
fn signals_that_nobody_asks_for_are_bounded() {
    let mut post = Post::new("name: s\nsteps:\n  a: { wait_for: { signal: never } }\n");
    for _ in 0..MAX_EARLY_SIGNALS {
        assert!(post.send("other", "null"));
    }
    assert!(!post.send("other", "null"));
    assert!(!post.send("another", "null"), "what no step waits for counts together");
    assert_eq!(post.status(), Some(RunStatus::Waiting));
}

#[test]
fn the_signal_that_is_wanted_gets_past_those_that_are_not() {
    let mut post =
        Post::new("name: s\nsteps:\n  a: { wait_for: { signal: approved, if: signal.ok } }\n");
    for _ in 0..MAX_EARLY_SIGNALS + 3 {
        assert!(post.send("approved", "{\"ok\":false}"));
    }
    assert!(post.send("approved", "{\"ok\":true}"));
    assert_eq!(post.status(), Some(RunStatus::Completed));
}

#[test]
fn a_flood_of_one_name_pushes_no_other_out() {
    let mut post = Post::new(
        "
name: s
steps:
  first: { agent: x }
  a: { needs: [first], wait_for: { signal: approved } }
  b: { needs: [first], wait_for: { signal: counted } }
",
    );
    assert!(post.send("counted", "1"));
    for number in 1..MAX_EARLY_SIGNALS {
        assert!(post.send(&format!("other{number}"), "null"));
    }
    assert!(!post.send("more", "null"));
    assert!(post.send("approved", "2"));
    post.ok("first");
    assert_eq!(post.status(), Some(RunStatus::Completed));
}

#[test]
fn a_flood_that_nobody_waits_for_yet_is_told_so() {
    let mut post = Post::new(
        "
name: s
steps:
  first: { agent: x }
  a: { needs: [first], wait_for: { signal: approved, if: signal.ok } }
",
    );
    for _ in 0..MAX_EARLY_SIGNALS {
        assert!(post.send("approved", "{\"ok\":false}"));
    }
    assert!(!post.send("approved", "{\"ok\":true}"));
    post.ok("first");
    assert!(post.send("approved", "{\"ok\":true}"));
    assert_eq!(post.status(), Some(RunStatus::Completed));
}
