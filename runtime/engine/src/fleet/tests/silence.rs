//! Agents that say nothing, and what they were sent.

use super::*;

#[test]
fn silence_loses_what_an_agent_held() {
    let mut scene = Scene::new();
    scene.beat("a", 2, &[]).owe("x").delivered("a", &["x"]).after(2_000).beat("a", 2, &["x"]);
    scene.after(6_999).explain("x").after(1).check(expect![[r#"
        0: deliver to a: x
        1000: x held by a
        8999: x waits: nothing, a holds it
        9000: x lost: agent a was not heard of any more
    "#]]);
}

#[test]
fn what_was_said_during_a_stall_is_read_before_anybody_is_taken_for_dead() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("x").delivered("a", &["x"]).after(1_000);
    scene.stall(60_000).input(FleetInput::Wake).after(6_000).beat("a", 1, &["x"]);
    scene.after(7_000).check(expect![[r#"
        0: deliver to a: x
        1000: x held by a
        61000: ask all
        74000: x lost: agent a was not heard of any more
    "#]]);
}

#[test]
fn what_is_on_its_way_to_a_silent_agent_is_not_given_to_another_under_the_same_number() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("x").after(3_000).beat("b", 1, &[]).after(3_000).beat("b", 1, &[]);
    scene.after(1_000).check(expect![[r#"
        0: deliver to a: x
        7000: x lost: agent a was not heard of any more
    "#]]);
}

#[test]
fn what_is_sent_but_not_held_is_lost() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("x");
    scene.input(FleetInput::DeliveryUnknown { agent: agent("a"), attempts: vec![id("x")] });
    scene.after(2_000).beat("a", 1, &[]).after(2_000).beat("a", 1, &[]);
    scene.after(2_000).beat("a", 1, &[]).check(expect![[r#"
        0: deliver to a: x
        1000: x held by a
        6000: x lost: agent a does not hold what it was sent
    "#]]);
}

#[test]
fn what_was_lost_on_its_way_is_not_to_go_there_any_more() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("x");
    let to_go =
        |scene: &Scene, to: Option<&str>| scene.fleet.is_to_go(&id("x"), to.map(agent).as_ref());
    assert!(to_go(&scene, Some("a")) && !to_go(&scene, Some("b")) && !to_go(&scene, None));
    scene.after(7_000);
    assert!(!to_go(&scene, Some("a")));
}
