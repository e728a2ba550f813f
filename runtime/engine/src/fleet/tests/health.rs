//! Agents that fail, and attempts that are stuck.

use std::time::Duration;

use skep_protocol::{AgentStanding, Progress, QuarantineRecord};

use super::*;

impl Scene {
    /// Ten agents, one of which fails all that it gets.
    fn ten(&mut self, rounds: u32, failed: impl Fn() -> CallOutcome) -> &mut Self {
        let names: Vec<String> = (0..10).map(|number| format!("a{number}")).collect();
        for round in 0..rounds {
            for name in &names {
                self.beat(name, 1, &[]);
            }
            for number in 0..10 {
                self.owe(&format!("r{round}s{number}"));
            }
            for (id, holder) in self.in_hands() {
                self.delivered(holder.as_str(), &[id.step.as_str()]);
                let outcome =
                    if holder.as_str() == "a3" { failed() } else { CallOutcome::Completed };
                self.ends(id.step.as_str(), holder.as_str(), outcome);
            }
        }
        self.done.retain(|_| false);
        self
    }

    /// Lets seconds pass in which all ten are heard.
    fn pass(&mut self, seconds: u64) -> &mut Self {
        for _ in 0..seconds / 2 {
            for number in 0..10 {
                self.beat(&format!("a{number}"), 1, &[]);
            }
            self.after(2_000);
        }
        self
    }

    fn in_hands(&self) -> Vec<(AttemptId, AgentId)> {
        let held = |slot| {
            let attempt = self.fleet.attempts.at(slot)?;
            Some((attempt.id().clone(), attempt.place.agent()?.clone()))
        };
        self.fleet.attempts.those(|_| true).into_iter().filter_map(held).collect()
    }

    fn standing(&mut self, name: &str) -> &mut Self {
        let views = self.fleet.agents(Timestamp::from_millis(self.now));
        let view = views.into_iter().find(|view| view.agent.as_str() == name);
        let health = view.and_then(|view| view.health).unwrap();
        let (calls, failed, standing) = (health.calls, health.failed, health.standing.as_str());
        let cause = health.quarantine.map(|record| record.cause).unwrap_or_default();
        writeln!(self.done, "{name} is {standing}, {failed} of {calls} {cause}").unwrap();
        self
    }
}

#[test]
fn one_bad_agent_in_ten_is_out_and_comes_back_by_a_probe() {
    let mut scene = Scene::new();
    scene.ten(6, failed).standing("a3").owe("x").owe("y").explain("x").standing("a1");
    scene.check(expect![[r#"
        a3 is quarantined, 0 of 0 5 of its 5 attempts failed, 0 % of those of the others
        0: deliver to a1: x
        0: deliver to a2: y
        0: x waits: being sent to agent a1
        a1 is well, 0 of 6 
    "#]]);
}

/// Says that trying again cannot help.
fn answered() -> CallOutcome {
    let code = "spawn_failed".to_owned();
    CallOutcome::Failed { kind: FailureKind::Agent, code, retryable: false, only_here: false }
}

/// Says that trying again cannot help, and that nobody knows what was done.
fn unclear() -> CallOutcome {
    let code = "signal_9".to_owned();
    CallOutcome::Failed { kind: FailureKind::Unclear, code, retryable: false, only_here: false }
}

#[test]
fn an_agent_whose_failures_are_final_is_out_as_well() {
    for outcome in [answered, unclear] {
        let mut scene = Scene::new();
        scene.ten(6, outcome).standing("a3");
        assert_eq!(
            scene.done,
            "a3 is quarantined, 0 of 0 5 of its 5 attempts failed, 0 % of those of the others\n"
        );
    }
}

#[test]
fn who_often_does_not_do_what_the_others_do_is_out_as_well() {
    let mut scene = Scene::new();
    scene.ten(6, refused).standing("a3").check(expect![[r#"
        a3 is quarantined, 0 of 0 5 of its 5 attempts failed, 0 % of those of the others
    "#]]);
}

#[test]
fn what_nobody_does_puts_nobody_out() {
    let mut scene = Scene::new();
    scene.beat("a0", 1, &[]).beat("a1", 1, &[]);
    for number in 0..40 {
        let (step, name) = (format!("s{number}"), format!("a{}", number % 2));
        scene.owe(&step).ends(&step, &name, refused());
    }
    scene.done.clear();
    scene.standing("a0").standing("a1").check(expect![[r#"
        a0 is well, 20 of 20 
        a1 is well, 20 of 20 
    "#]]);
}

#[test]
fn a_final_failure_of_one_that_is_probed_is_a_relapse_unless_the_others_fail_alike() {
    for (others_fail, expected) in
        [(false, AgentStanding::Quarantined), (true, AgentStanding::Probed)]
    {
        let mut scene = Scene::new();
        scene.ten(6, answered);
        for round in 0..8 {
            for name in ["a0", "a1", "a2", "a4", "a5", "a6", "a7", "a8", "a9"] {
                let fails = others_fail && round % 2 == 0;
                let outcome = if fails { answered() } else { CallOutcome::Completed };
                scene.owe("s").ends("s", name, outcome);
            }
        }
        scene.pass(32).owe("probe").ends("probe", "a3", answered());
        assert_eq!(scene.fleet.agents[&agent("a3")].health.standing(), expected);
    }
}

impl Scene {
    /// Three agents do so many attempts each, and some of them fail them.
    fn three(&mut self, rounds: u32, bad: &[&str]) -> &mut Self {
        for _ in 0..rounds {
            for name in ["a0", "a1", "a2"] {
                let outcome = if bad.contains(&name) { failed() } else { CallOutcome::Completed };
                self.beat(name, 1, &[]).owe("s").ends("s", name, outcome);
            }
        }
        self
    }
}

#[test]
fn who_is_on_parole_counts_as_out() {
    let mut scene = Scene::new();
    scene.three(6, &["a0"]);
    for _ in 0..16 {
        scene.three(1, &[]).after(2_000);
    }
    scene.beat("a0", 1, &[]).owe("s").ends("s", "a0", CallOutcome::Completed);
    for _ in 0..60 {
        scene.beat("a1", 1, &[]).owe("s").ends("s", "a1", failed());
        scene.beat("a2", 1, &[]).owe("s").ends("s", "a2", CallOutcome::Completed);
    }
    scene.done.clear();
    scene.standing("a0").standing("a1").owe("s").ends("s", "a0", failed()).standing("a0");
    scene.check(expect![[r#"
        a0 is on parole, 0 of 0 5 of its 5 attempts failed, 0 % of those of the others
        a1 is well, 60 of 82 
        32000: deliver to a0: s
        32000: a0 is out: it failed again when it was tried
        a0 is quarantined, 0 of 0 it failed again when it was tried
    "#]]);
}

#[test]
fn who_pulls_and_heeds_no_ration_is_not_put_out_and_uses_up_no_share() {
    let mut scene = Scene::new();
    let queue = |beat: &mut Heartbeat| beat.lane = Lane::Queue;
    scene.beat_with("q", 1, &[], queue).three(6, &[]);
    for _ in 0..20 {
        scene.owe("s").ends("s", "q", failed());
    }
    scene.done.clear();
    scene.standing("q").three(12, &["a0"]);
    scene.done.clear();
    scene.standing("q").standing("a0").check(expect![[r#"
        q is well, 20 of 20 
        a0 is quarantined, 0 of 0 12 of its 18 attempts failed, 36 % of those of the others
    "#]]);
    let heeds = |name| scene.fleet.heeds_quarantine(&agent(name));
    assert!(!heeds("q") && heeds("a0") && heeds("nobody"));
}

#[test]
fn a_person_decides_about_an_agent() {
    let mut scene = Scene::new();
    let record = QuarantineRecord {
        since: Timestamp::from_millis(100_000),
        until: None,
        cause: "ada is looking into it".to_owned(),
        times: 1,
        by: None,
    };
    scene.beat("a", 5, &[]).elsewhere(Post::Quarantined {
        agent: agent("a"),
        record,
        pools: Vec::new(),
    });
    scene.owe("x").explain("x").beat("a", 5, &[]).standing("a");
    scene.elsewhere(Post::Released { agent: agent("a") }).standing("a").check(expect![[r#"
        0: x waits: agent a is quarantined: ada is looking into it (Quarantine { agent: a })
        a is quarantined, 0 of 0 ada is looking into it
        0: deliver to a: x
        a is well, 0 of 0 
    "#]]);
}

#[test]
fn alive_but_stuck_is_found_within_one_window() {
    let mut scene = Scene::new();
    let watched =
        TaskSpec { progress_within: Some(Duration::from_secs(20)), ..TaskSpec::default() };
    scene.beat("a", 5, &[]);
    for step in ["stuck", "busy"] {
        let offer = offer_as(task(step, "c", 5), watched.clone());
        scene.input(FleetInput::Owed(Box::new(offer)));
    }
    scene.delivered("a", &["stuck", "busy"]);
    for calls in 1..15 {
        scene.beat_with("a", 5, &["stuck", "busy"], |heartbeat| {
            let (per_mille, note) = (None, None);
            heartbeat.held[1].progress = Some(Progress { calls, per_mille, note });
        });
        scene.after(2_000);
    }
    let now = Timestamp::from_millis(scene.now);
    let why = scene.fleet.stalling(&id("stuck"), now).unwrap();
    writeln!(scene.done, "{why}").unwrap();
    assert_eq!(scene.fleet.stalling(&id("busy"), now), None);
    scene.settled("stuck", None).check(expect![[r#"
        0: deliver to a: stuck
        0: deliver to a: busy
        0: busy held by a
        0: stuck held by a
        10000: stuck makes no progress at a for 10s
        20000: stuck fails: stalled: no progress at agent a for 20 s (20 s are allowed)
        no progress at agent a for 28 s, it fails after 20 s
        28000: cancel at a: stuck
    "#]]);
}

impl Scene {
    /// An attempt that may not stall for so long is at the agent.
    fn watched(&mut self, within: u64) -> &mut Self {
        let progress_within = Some(Duration::from_secs(within));
        let watched = TaskSpec { progress_within, ..TaskSpec::default() };
        self.beat("a", 5, &[]);
        self.input(FleetInput::Owed(Box::new(offer_as(task("x", "c", 5), watched))));
        self.delivered("a", &["x"]).after(1_000)
    }

    fn beat_at(&mut self, calls: u64) -> &mut Self {
        self.beat_with("a", 5, &["x"], |heartbeat| {
            let (per_mille, note) = (None, None);
            heartbeat.held[0].progress = Some(Progress { calls, per_mille, note });
        })
    }

    fn beats_for(&mut self, seconds: u64, calls: u64) -> &mut Self {
        for _ in 0..seconds / 2 {
            self.beat_at(calls).after(2_000);
        }
        self
    }
}

#[test]
fn silence_is_no_standstill() {
    for calls in [7, 1] {
        let mut scene = Scene::new();
        scene.watched(3).beat_at(1).input(FleetInput::Link(Link::Down)).after(60_000);
        scene.input(FleetInput::Link(Link::Up)).after(500).beat_at(calls);
        scene.check(expect![[r#"
            0: deliver to a: x
            1000: x held by a
        "#]]);
    }
}

#[test]
fn what_could_not_be_heard_during_a_stall_is_no_standstill() {
    let mut scene = Scene::new();
    scene.watched(15).beats_for(6, 1).done.clear();
    scene.stall(25_000).beat_at(1).beats_for(18, 1).check(expect![[r#"
        32000: ask all
        40000: x makes no progress at a for 8s
        48000: x fails: stalled: no progress at agent a for 16 s (15 s are allowed)
    "#]]);
}

#[test]
fn what_is_finished_and_not_confirmed_yet_makes_no_progress() {
    let mut scene = Scene::new();
    scene.watched(3).beat_at(1);
    for _ in 0..10 {
        scene.after(2_000).beat_with("a", 5, &["x"], |heartbeat| heartbeat.held[0].finished = true);
    }
    scene.check(expect![[r#"
        0: deliver to a: x
        1000: x held by a
    "#]]);
}

#[test]
fn a_window_shorter_than_two_heartbeats_lets_live_ones_be_and_finds_stuck_ones() {
    let mut scene = Scene::new();
    scene.watched(1);
    for calls in 1..10 {
        scene.beat_at(calls).after(2_000);
    }
    scene.done.clear();
    scene.beats_for(4, 10).check(expect![[r#"
        21000: x fails: stalled: no progress at agent a for 2 s (1 s are allowed)
    "#]]);
}
