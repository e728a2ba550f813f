//! What comes next at a step waits for what was told to stop.

use super::*;

/// The next attempt of a step.
fn second(step: &str) -> Task {
    Task { attempt: 2, fencing_token: 2, ..task(step, "c", 5) }
}

/// A scene in which an agent performs `s`, and another one is free; then `s` is to begin anew.
fn restarted() -> Scene {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("s").delivered("a", &["s"]).beat("a", 1, &["s"]);
    scene.beat("b", 1, &[]).settled("s", None).owe_task(second("s"));
    scene
}

#[test]
fn the_next_attempt_waits_for_the_heartbeat_that_shows_the_end() {
    let mut scene = restarted();
    scene.after(1_500).beat("a", 1, &["s"]).after(500).beat("a", 1, &[]);
    scene.check(expect![[r#"
        0: deliver to a: s
        0: s held by a
        0: cancel at a: s
        1500: strays at a: s
        2000: deliver to a: s
    "#]]);
}

#[test]
fn what_is_finished_is_not_performed() {
    let mut scene = restarted();
    scene.beat_with("a", 1, &["s"], |beat| beat.held[0].finished = true);
    scene.check(expect![[r#"
        0: deliver to a: s
        0: s held by a
        0: cancel at a: s
        0: strays at a: s
        0: deliver to a: s
    "#]]);
}

#[test]
fn nobody_waits_for_long() {
    let mut scene = restarted();
    for _ in 0..8 {
        scene.after(1_000).beat("a", 1, &["s"]).beat("b", 1, &[]);
    }
    scene.check(expect![[r#"
        0: deliver to a: s
        0: s held by a
        0: cancel at a: s
        1000: strays at a: s
        2000: strays at a: s
        3000: strays at a: s
        4000: strays at a: s
        5000: strays at a: s
        6000: strays at a: s
        7000: deliver to b: s
        7000: strays at a: s
        8000: strays at a: s
    "#]]);
}

#[test]
fn who_is_gone_has_stopped() {
    let mut scene = restarted();
    scene.beat_with("a", 1, &["s"], |beat| beat.leaving = true);
    scene.check(expect![[r#"
        0: deliver to a: s
        0: s held by a
        0: cancel at a: s
        0: deliver to b: s
    "#]]);
}

#[test]
fn what_it_reports_itself_is_not_waited_for() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("s").delivered("a", &["s"]).beat("a", 1, &["s"]);
    scene.beat("b", 1, &[]).settled("s", Some("a")).owe_task(second("s"));
    scene.check(expect![[r#"
        0: deliver to a: s
        0: s held by a
        0: deliver to a: s
    "#]]);
}

#[test]
fn what_is_on_its_way_has_to_arrive_before_it_can_be_seen_to_stop() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("s").beat("b", 1, &[]);
    scene.settled("s", None).owe_task(second("s"));
    scene.beat("a", 1, &[]).after(10).delivered("a", &["s"]).beat("a", 1, &[]);
    scene.check(expect![[r#"
        0: deliver to a: s
        0: cancel at a: s
        10: cancel at a: s
        10: deliver to a: s
    "#]]);
}

#[test]
fn what_never_arrived_is_not_waited_for() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("s").beat("b", 1, &[]);
    scene.settled("s", None).owe_task(second("s"));
    let refused = vec![(id("s"), Refusal::Busy)];
    scene.input(FleetInput::Delivered {
        agent: agent("a"),
        attempts: vec![id("s")],
        refused,
        unread: Vec::new(),
    });
    scene.check(expect![[r#"
        0: deliver to a: s
        0: cancel at a: s
        0: deliver to b: s
    "#]]);
}

#[test]
fn a_stray_of_the_same_step_is_waited_for_after_a_take_over() {
    let mut scene = Scene::new();
    scene.recover(vec![offer(second("s"))]).caught_up();
    scene.beat("a", 1, &["s"]).beat("b", 1, &[]).after(2_000);
    scene.beat("a", 1, &[]);
    scene.check(expect![[r#"
        0: roll call
        0: strays at a: s
        2000: deliver to a: s
    "#]]);
}

#[test]
fn it_says_for_whom_it_waits() {
    let mut scene = restarted();
    let now = Timestamp::from_millis(scene.now);
    let told = scene.fleet.explain(&second("s").id(), now).unwrap();
    expect![[r#"
        agent a was told to stop attempt 1 of s and is waited for, until 00:01:47 UTC at the latest
    "#]]
    .assert_eq(&format!("{}\n", told.reason));
    scene.input(FleetInput::Dropped { partition: second("s").partition });
    assert!(scene.fleet.stopping.is_empty());
}
