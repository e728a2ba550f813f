//! Tasks that agents cannot read.

use super::*;

impl Scene {
    fn cannot_read(&mut self, name: &str, step: &str) -> &mut Self {
        let (attempts, unread) = (vec![id(step)], vec![(id(step), "too new".to_owned())]);
        let refused = Vec::new();
        self.input(FleetInput::Delivered { agent: agent(name), attempts, refused, unread })
    }

    /// Lets so much time pass that an agent that is being replaced would be back.
    fn waits_on(&mut self) -> &mut Self {
        for _ in 0..4 {
            self.after(2_000).beat("a", 1, &[]);
        }
        self
    }
}

#[test]
fn what_one_cannot_read_waits_for_another_and_holds_up_nobody() {
    let mut scene = Scene::new();
    scene.beat("a", 2, &[]).owe("x").beat("b", 1, &[]).owe("y").owe("z");
    scene.cannot_read("a", "x").explain("x").delivered("a", &["z"]);
    scene.settled("y", Some("b")).check(expect![[r#"
        0: deliver to a: x
        0: deliver to b: y
        0: deliver to a: z
        0: x waits: waiting for a free slot of c (2 agents, 3 slots), number 1 of 1 at its coordinator; agent a cannot read it: too new
        0: deliver to b: x
    "#]]);
}

#[test]
fn what_nobody_can_read_who_is_there_fails_with_the_cause() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).beat("b", 1, &[]).owe("x").cannot_read("a", "x");
    scene.cannot_read("b", "x").explain("x").waits_on().explain("x").settled("x", None);
    scene.check(expect![[r#"
        0: deliver to a: x
        0: deliver to b: x
        0: x waits: waiting for a free slot of c (2 agents, 2 slots), number 1 of 1 at its coordinator; agents a and 1 more cannot read it: too new
        7000: x fails: task_unreadable: agents a and 1 more cannot read the task: too new
        8000: x waits: it fails, because agents a and 1 more cannot read it
    "#]]);
}

#[test]
fn it_fails_too_when_the_last_one_who_might_have_read_it_leaves() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).beat("b", 1, &[]).owe("x").owe("y").cannot_read("a", "x");
    scene.beat_with("b", 1, &["y"], |beat| beat.leaving = true).waits_on().check(expect![[r#"
        0: deliver to a: x
        0: deliver to b: y
        0: y lost: agent b left
        7000: y lost: the loss of agent b was not noted
        8000: x fails: task_unreadable: agent a cannot read the task: too new
    "#]]);
}
