//! What agents are told that pull, and what they say.

use skep_protocol::{QuarantineRecord, Ration};

use super::*;

impl Scene {
    /// An agent that pulls says how much it may hold.
    fn says(&mut self, name: &str, ration: Ration) -> &mut Self {
        self.beat_with(name, 2, &[], |beat| {
            beat.lane = Lane::Queue;
            beat.ration = Some(ration);
        })
    }

    /// The same for so many seconds, while two others are heard.
    fn says_for(&mut self, seconds: u64, name: &str, ration: Ration) -> &mut Self {
        for _ in 0..seconds / 2 {
            self.says(name, ration).beat("a0", 1, &[]).beat("a1", 1, &[]).after(2_000);
        }
        self
    }

    /// So many attempts end at an agent.
    fn end_at(&mut self, name: &str, times: u32, outcome: impl Fn() -> CallOutcome) -> &mut Self {
        for _ in 0..times {
            self.owe("s").ends("s", name, outcome());
        }
        self
    }

    /// Two direct agents that are well, beside one that pulls and fails.
    fn bad_puller(&mut self) -> &mut Self {
        self.beat("a0", 1, &[]).beat("a1", 1, &[]).says("q", Ration::Full);
        self.end_at("a0", 3, completed).end_at("a1", 3, completed).end_at("q", 5, failed);
        self.about_q()
    }

    /// Keeps what was done about one agent.
    fn about_q(&mut self) -> &mut Self {
        let lines = self.done.lines().filter(|line| line.contains(": q "));
        self.done = lines.map(|line| format!("{line}\n")).collect();
        self
    }

    fn by_hand(&mut self, name: &str) -> &mut Self {
        let (since, cause) = (Timestamp::from_millis(self.now), "ada looks into it".to_owned());
        let record = QuarantineRecord { since, until: None, cause, times: 1, by: None };
        self.elsewhere(Post::Quarantined { agent: agent(name), record, pools: Vec::new() })
    }
}

fn completed() -> CallOutcome {
    CallOutcome::Completed
}

const NONE: Ration = Ration::AtMost(0);
const ONE: Ration = Ration::AtMost(1);

#[test]
fn who_pulls_and_fails_is_told_that_it_is_out_until_it_says_so() {
    let mut scene = Scene::new();
    scene.bad_puller().after(400).says("q", Ration::Full);
    scene.says_for(4, "q", Ration::Full).says_for(10, "q", NONE).check(expect![[r#"
        0: q is out: 5 of its 5 attempts failed, 0 % of those of the others
        0: q may hold AtMost(0)
        2400: q may hold AtMost(0)
    "#]]);
}

#[test]
fn who_pulls_comes_back_by_one_task_at_a_time() {
    let mut scene = Scene::new();
    scene.bad_puller().done.clear();
    scene.says_for(32, "q", NONE).says("q", ONE).end_at("q", 1, failed);
    scene.says_for(62, "q", NONE).says("q", ONE).end_at("q", 6, completed);
    scene.says_for(4, "q", ONE).says_for(4, "q", Ration::Full);
    scene.about_q().check(expect![[r#"
        30000: q may hold AtMost(1)
        32000: q is out: it failed again when it was tried
        32000: q may hold AtMost(0)
        92000: q may hold AtMost(1)
        94000: q did well on parole
        94000: q may hold Full
        96000: q may hold Full
    "#]]);
}

#[test]
fn the_queue_is_filled_by_what_those_say_who_pull_from_it() {
    let mut scene = Scene::new();
    scene.beat("a0", 1, &[]).says("q", Ration::Full).owe("x").owe("y").by_hand("q");
    scene.explain("y").says("q", NONE).explain("y").delivered("a0", &["x"]);
    scene.settled("x", Some("a0")).elsewhere(Post::Released { agent: agent("q") });
    scene.owe("z").says("q", Ration::Full).check(expect![[r#"
        0: deliver to a0: x
        0: enqueue y (sending 0)
        0: q may hold AtMost(0)
        0: y waits: in the queue of c (2 agents, 3 slots, 1 quarantined)
        0: clear c
        0: y waits: waiting for a free slot of c (2 agents, 3 slots, 1 quarantined), number 1 of 1 at its coordinator
        0: deliver to a0: y
        0: q may hold Full
        0: enqueue z (sending 0)
    "#]]);
}

#[test]
fn what_lies_in_a_queue_whose_agents_are_out_says_so() {
    let mut scene = Scene::new();
    scene.says("q", Ration::Full).by_hand("q").says("q", NONE).owe("x").explain("x");
    scene.check(expect![[r#"
        0: q may hold AtMost(0)
        0: enqueue x (sending 0)
        0: x waits: agent q is quarantined: ada looks into it (Quarantine { agent: q })
    "#]]);
}

#[test]
fn no_more_are_out_than_a_share_of_both_lanes() {
    let mut scene = Scene::new();
    scene.bad_puller().done.clear();
    scene.end_at("a0", 40, failed).end_at("a1", 40, completed).end_at("a0", 9, failed);
    assert!(!scene.done.contains("is out"), "{}", scene.done);
    // With three more that pull there is room for another one.
    for name in ["r", "s", "t"] {
        scene.says(name, Ration::Full);
    }
    scene.end_at("a0", 1, failed);
    assert!(scene.done.contains("a0 is out"), "{}", scene.done);
}

#[test]
fn nobody_is_told_anything_before_the_board_was_seen() {
    let mut scene = Scene::new();
    scene.says_for(6, "q", NONE).check(expect![""]);
    scene.by_hand("somebody").says_for(2, "q", NONE).check(expect![[r#"
        6000: q may hold Full
    "#]]);
    assert!(scene.fleet.heeds_quarantine(&agent("q")));
    scene.beat_with("q", 2, &[], |beat| beat.lane = Lane::Queue);
    assert!(!scene.fleet.heeds_quarantine(&agent("q")));
}
