//! Agents in whose names nobody listens.

use super::*;

#[test]
fn a_dead_process_loses_what_it_held_and_not_what_was_on_its_way() {
    let mut scene = Scene::new();
    scene.beat("a", 2, &[]).owe("held").delivered("a", &["held"]).owe("sent");
    scene.dies("a", &["sent"], false).explain("sent").beat("b", 2, &[]).after(500);
    scene.check(expect![[r#"
        0: deliver to a: held
        0: deliver to a: sent
        0: sent waits: waiting for a free slot of c (1 agent, 2 slots), number 1 of 1 at its coordinator
        0: deliver to b: sent
        400: held lost: agent a is gone
    "#]]);
}

#[test]
fn what_reached_a_process_that_died_then_is_lost_with_it() {
    let mut scene = Scene::new();
    scene.beat("a", 2, &[]).owe("sent").dies("a", &["sent"], true);
    scene.beat("b", 2, &[]).after(500).check(expect![[r#"
        0: deliver to a: sent
        400: sent lost: agent a is gone
    "#]]);
}

#[test]
fn a_dead_process_is_found_by_looking_although_nothing_is_sent_to_it() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("x").delivered("a", &["x"]).after(2_000).beat("a", 1, &["x"]);
    scene.dead.push(agent("a"));
    scene.after(1_000).check(expect![[r#"
        0: deliver to a: x
        1000: x held by a
        2800: x lost: agent a is gone
    "#]]);
}

#[test]
fn who_pulls_is_looked_for_once_it_has_answered_to_its_name() {
    let mut scene = Scene::new();
    let queue = |heartbeat: &mut Heartbeat| heartbeat.lane = Lane::Queue;
    let take = |name: &str, step: &str| FleetInput::Taken { agent: agent(name), attempt: id(step) };
    scene.beat_with("q", 1, &[], queue).owe("x").input(take("q", "x"));
    scene.beat_with("deaf", 1, &[], queue).owe("y").input(take("deaf", "y"));
    scene.dead.push(agent("deaf"));
    scene.after(1_000).delivered("q", &[]).dead.push(agent("q"));
    scene.after(9_000).check(expect![[r#"
        0: enqueue x (sending 0)
        0: enqueue y (sending 0)
        1800: x lost: agent q is gone
        7000: y lost: agent deaf was not heard of any more
        8800: x lost: the loss of agent q was not noted
    "#]]);
}

#[test]
fn nobody_looks_for_who_has_nothing_or_says_something_all_the_time() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).dead.push(agent("a"));
    scene.after(3_000).owe("x");
    for _ in 0..10 {
        scene.delivered("a", &["x"]).after(400);
    }
    scene.check(expect![[r#"
        3000: deliver to a: x
        4000: x held by a
        7000: x lost: agent a was not heard of any more
    "#]]);
}

#[test]
fn who_is_back_in_time_has_lost_nothing() {
    let mut scene = Scene::new();
    scene.beat("a", 2, &[]).owe("x").delivered("a", &["x"]);
    scene.dies("a", &[], false).owe("y").after(200).delivered("a", &[]);
    scene.dead.clear();
    scene.after(2_000).beat("a", 2, &["x", "y"]).check(expect![[r#"
        0: deliver to a: x
        200: deliver to a: y
        1000: x held by a
        2200: y held by a
    "#]]);
}

#[test]
fn whoever_pulls_from_the_queue_and_never_listened_is_not_looked_for() {
    let mut scene = Scene::new();
    let pulls = |heartbeat: &mut Heartbeat| heartbeat.lane = Lane::Queue;
    scene.beat_with("a", 1, &[], pulls).owe("x").beat_with("a", 1, &["x"], pulls);
    scene.dead.push(agent("a"));
    scene.after(5_000).check(expect![[r#"
        0: enqueue x (sending 0)
        0: x held by a
    "#]]);
}

#[test]
fn right_after_an_outage_nobody_answering_means_nothing() {
    let mut scene = Scene::new();
    scene.beat("a", 3, &[]).owe("held").delivered("a", &["held"]);
    scene.after(2_000).beat("a", 3, &["held"]);
    scene.input(FleetInput::Link(Link::Down)).after(60_000);
    scene.input(FleetInput::Link(Link::Up)).after(500).owe("next");
    scene.dies("a", &["next"], false).after(1_000);
    scene.dead.clear();
    scene.beat("a", 3, &["held"]).check(expect![[r#"
        0: deliver to a: held
        1000: held held by a
        62500: deliver to a: next
        63500: deliver to a: next
    "#]]);
}
