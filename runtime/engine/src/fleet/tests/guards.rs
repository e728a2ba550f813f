//! Breakers and budgets in front of dispatch.

use std::time::Duration;

use skep_protocol::{BreakerPhase, BreakerRecord};
use skep_workflow::WhenOpen;

use super::super::breaker::Breaker;
use super::*;

impl Scene {
    fn owe_as(&mut self, step: &str, more: TaskSpec) -> &mut Self {
        self.input(FleetInput::Owed(Box::new(offer_as(task(step, "c", 5), more))))
    }

    /// Lets so many attempts fail, one after the other.
    fn fail(&mut self, count: u32) -> &mut Self {
        for number in 0..count {
            let step = format!("bad{number}");
            self.owe(&step).delivered("a", &[&step]).ends(&step, "a", failed());
        }
        self.done.clear();
        self
    }

    /// Lets time pass in which the agent says that it holds all it should.
    fn alive(&mut self, seconds: u64) -> &mut Self {
        for _ in 0..seconds {
            let held = self.fleet.agents.get(&agent("a")).into_iter().flat_map(|a| &a.attempts);
            let held =
                held.filter_map(|slot| Some(self.fleet.attempts.at(*slot)?.id().step.to_string()));
            let held: Vec<String> = held.collect();
            let held: Vec<&str> = held.iter().map(String::as_str).collect();
            self.delivered("a", &held).beat("a", 500, &held).after(1_000);
        }
        self.input(FleetInput::Wake)
    }

    fn breaker(&mut self) -> &mut Self {
        for view in self.fleet.breakers(Timestamp::from_millis(self.now)) {
            let (name, phase, parked) = (view.name, view.phase.as_str(), view.parked);
            let counts = (view.calls, view.failed, view.slow);
            writeln!(self.done, "{name} is {phase}, {parked} parked, {counts:?}").unwrap();
        }
        self
    }
}

#[test]
fn an_open_breaker_parks_the_work_and_lets_probes_through() {
    let mut scene = Scene::new();
    scene.beat("a", 50, &[]).fail(10);
    for number in 0..6 {
        scene.owe(&format!("s{number}"));
    }
    scene.explain("s0").breaker().alive(15).explain("s4").breaker();
    scene.ends("s0", "a", CallOutcome::Completed).ends("s1", "a", CallOutcome::Completed);
    scene.breaker().alive(15).breaker();
    scene.check(expect![[r#"
        0: s0 waits: circuit breaker of c is open until 00:01:55 UTC (10 of 10 calls failed in the last 30 s), then probes 3 at a time (Breaker { name: "c" })
        c is open, 6 parked, (0, 0, 0)
        15000: breaker c is to be probed
        15000: deliver to a: s0 s1 s2
        15000: s4 waits: circuit breaker of c is half-open: 3 probes are under way
        c is half-open, 3 parked, (0, 0, 0)
        15000: breaker c is healed
        15000: deliver to a: s3 s4 s5
        c is closing, 0 parked, (0, 0, 0)
        15000: s2 held by a
        15000: s3 held by a
        15000: s4 held by a
        15000: s5 held by a
        c is closing, 0 parked, (0, 0, 0)
    "#]]);
}

#[test]
fn a_breaker_of_a_step_holds_nobody_else() {
    let mut scene = Scene::new();
    let policy = skep_workflow::Breaker { min_calls: 2, ..Breaker::usual() };
    let own =
        || TaskSpec { breaker: Some(("w/pay".into(), policy.clone())), ..TaskSpec::default() };
    scene.beat("a", 50, &[]);
    for step in ["x1", "x2"] {
        scene.owe_as(step, own()).delivered("a", &[step]).ends(step, "a", failed());
    }
    scene.owe_as("held", own()).explain("held").owe("free").check(expect![[r#"
        0: deliver to a: x1
        0: deliver to a: x2
        0: breaker w/pay opens: 2 of 2 calls failed in the last 30 s
        0: held waits: circuit breaker of w/pay is open until 00:01:55 UTC (2 of 2 calls failed in the last 30 s), then probes 3 at a time (Breaker { name: "w/pay" })
        0: deliver to a: free
    "#]]);
}

#[test]
fn who_asks_to_fail_does_not_wait() {
    let mut scene = Scene::new();
    let fails = TaskSpec { when_open: WhenOpen::Fail, ..TaskSpec::default() };
    scene.beat("a", 50, &[]).fail(10).owe("patient").owe_as("hasty", fails);
    scene.explain("hasty").settled("hasty", None).explain("patient").check(expect![[r#"
        0: hasty fails: breaker_open: the circuit breaker of c is open: 10 of 10 calls failed in the last 30 s
        0: hasty waits: it fails, because its circuit breaker is open
        0: patient waits: circuit breaker of c is open until 00:01:55 UTC (10 of 10 calls failed in the last 30 s), then probes 3 at a time (Breaker { name: "c" })
    "#]]);
}

#[test]
fn who_asks_to_fail_may_be_the_one_that_probes() {
    let mut scene = Scene::new();
    let fails = || TaskSpec { when_open: WhenOpen::Fail, ..TaskSpec::default() };
    scene.beat("a", 50, &[]).fail(10).alive(15).owe_as("probe", fails());
    scene.ends("probe", "a", failed()).owe_as("late", fails()).check(expect![[r#"
        15000: breaker c is to be probed
        15000: deliver to a: probe
        15000: deliver to a: late
    "#]]);
}

#[test]
fn the_answer_to_a_step_opens_nothing() {
    let mut scene = Scene::new();
    scene.beat("a", 50, &[]);
    let declined = |retryable| CallOutcome::Failed {
        kind: FailureKind::Agent,
        code: "card_declined".to_owned(),
        retryable,
        only_here: false,
    };
    for number in 0..20 {
        let step = format!("s{number}");
        let answers = TaskSpec { unless: vec!["card_declined".to_owned()], ..TaskSpec::default() };
        scene.owe_as(&step, answers).ends(&step, "a", declined(number % 2 == 0));
    }
    scene.done.clear();
    scene.breaker().check(expect![[r#"
        c is closed, 0 parked, (20, 0, 0)
    "#]]);
}

#[test]
fn what_one_agent_does_not_do_opens_nothing() {
    let mut scene = Scene::new();
    scene.beat("a", 50, &[]).fail(9);
    for number in 0..12 {
        let step = format!("s{number}");
        scene.owe(&step).ends(&step, "a", refused());
    }
    scene.done.clear();
    scene.breaker().check(expect![[r#"
        c is closed, 0 parked, (9, 9, 0)
    "#]]);
}

#[test]
fn a_probe_that_its_agent_does_not_do_is_followed_by_another() {
    let mut scene = Scene::new();
    scene.beat("a", 50, &[]).fail(10);
    for number in 0..4 {
        scene.owe(&format!("s{number}"));
    }
    scene.alive(15);
    for number in 0..3 {
        scene.ends(&format!("s{number}"), "a", refused());
    }
    scene.breaker().check(expect![[r#"
        15000: breaker c is to be probed
        15000: deliver to a: s0 s1 s2
        15000: deliver to a: s3
        c is half-open, 0 parked, (0, 0, 0)
    "#]]);
}

#[test]
fn lost_probes_are_followed_by_others() {
    let mut scene = Scene::new();
    scene.beat("a", 50, &[]).fail(10);
    for number in 0..9 {
        scene.owe(&format!("s{number}"));
    }
    scene.alive(14).explain("s0").alive(1).explain("s3").alive(16);
    scene.explain("s6").check(expect![[r#"
        14000: s0 waits: circuit breaker of c is open until 00:01:55 UTC (10 of 10 calls failed in the last 30 s), then probes 3 at a time (Breaker { name: "c" })
        15000: breaker c is to be probed
        15000: deliver to a: s0 s1 s2
        15000: s3 waits: circuit breaker of c is half-open: 3 probes are under way
        15000: s0 held by a
        15000: s1 held by a
        15000: s2 held by a
        30000: deliver to a: s3 s4 s5
        30000: s3 held by a
        30000: s4 held by a
        30000: s5 held by a
        31000: s6 waits: circuit breaker of c is half-open: 3 probes are under way
    "#]]);
}

#[test]
fn what_others_find_out_holds_here_as_well() {
    let mut scene = Scene::new();
    let record = |until: Option<u64>| BreakerRecord {
        capability: "c".to_owned(),
        phase: BreakerPhase::Open,
        since: Timestamp::from_millis(100_000),
        until: until.map(Timestamp::from_millis),
        cause: "so they say".to_owned(),
        trips: 1,
        by: None,
    };
    let name = || "c".to_owned();
    let lease = Duration::from_secs(5);
    scene
        .beat("a", 50, &[])
        .elsewhere(Post::Opened { name: name(), record: record(Some(110_000)) });
    scene.owe("x").explain("x").alive(9);
    // Somebody else is faster by a moment.
    scene.now += 1_000;
    scene.elsewhere(Post::Probe { name: name(), lease }).explain("x").alive(4);
    scene.elsewhere(Post::Reset { name: name() }).settled("x", None);
    scene.elsewhere(Post::Opened { name: name(), record: record(None) }).owe("y").alive(600);
    scene.explain("y").elsewhere(Post::Reset { name: name() });
    scene.check(expect![[r#"
        0: x waits: circuit breaker of c is open until 00:01:50 UTC (so they say), then probes 3 at a time (Breaker { name: "c" })
        10000: x waits: circuit breaker of c is open until 00:01:55 UTC (so they say), then probes 3 at a time (Breaker { name: "c" })
        14000: deliver to a: x
        14000: cancel at a: x
        614000: y waits: circuit breaker of c is open until it is reset (so they say) (Breaker { name: "c" })
        614000: deliver to a: y
    "#]]);
}

#[test]
fn the_queue_is_emptied_while_the_breaker_is_open() {
    let mut scene = Scene::new();
    let queue = |heartbeat: &mut Heartbeat| heartbeat.lane = Lane::Queue;
    scene.beat_with("q", 5, &[], queue).owe("x").owe("y");
    let record = BreakerRecord {
        capability: "c".to_owned(),
        phase: BreakerPhase::Open,
        since: Timestamp::from_millis(100_000),
        until: None,
        cause: "ada says so".to_owned(),
        trips: 1,
        by: None,
    };
    scene.elsewhere(Post::Opened { name: "c".to_owned(), record }).owe("z").explain("z");
    scene.elsewhere(Post::Reset { name: "c".to_owned() }).check(expect![[r#"
        0: enqueue x (sending 0)
        0: enqueue y (sending 0)
        0: clear c
        0: z waits: circuit breaker of c is open until it is reset (ada says so) (Breaker { name: "c" })
        0: enqueue x (sending 1)
        0: enqueue y (sending 1)
        0: enqueue z (sending 0)
    "#]]);
}

#[test]
fn repeated_attempts_stay_within_the_budget() {
    let mut scene = Scene::new();
    scene.beat("a", 500, &[]);
    let again = |step: &str| OfferTask { is_retry: true, ..offer(task(step, "c", 5)) };
    for number in 0..100 {
        scene.owe(&format!("s{number}"));
    }
    scene.done.clear();
    for number in 0..50 {
        scene.input(FleetInput::Owed(Box::new(again(&format!("r{number}")))));
    }
    let sent = scene.done.lines().count();
    assert_eq!(sent, 30, "a fifth of 100, and the reserve of 10");
    scene.done.clear();
    scene.owe("first").explain("r49").ends("r0", "a", CallOutcome::Completed);
    scene.check(expect![[r#"
        0: deliver to a: first
        0: r49 waits: retry budget of c is used up: 30 repeated attempts in the last 10 s, 30 are allowed
        0: deliver to a: r30
    "#]]);
    scene.done.clear();
    scene.alive(11);
    assert!(scene.done.lines().count() >= 10, "{}", scene.done);
}

#[test]
fn who_holds_no_work_of_a_breaker_leaves_its_probing_to_others() {
    let mut scene = Scene::new();
    let record = BreakerRecord {
        capability: "c".to_owned(),
        phase: BreakerPhase::Open,
        since: Timestamp::from_millis(100_000),
        until: Some(Timestamp::from_millis(110_000)),
        cause: "so they say".to_owned(),
        trips: 1,
        by: None,
    };
    scene.beat("a", 50, &[]).elsewhere(Post::Opened { name: "c".to_owned(), record });
    scene.alive(20).owe("x").keep_board();
    scene.check(expect![[r#"
        20000: breaker c is to be probed
        20000: deliver to a: x
    "#]]);
}
