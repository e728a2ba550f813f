//! Who has an attempt by the journal, by what agents say, and when the two differ.

use super::*;

fn taken(step: &str, by: &str) -> OfferTask {
    super::taken(offer(task(step, "c", 5)), by)
}

impl Scene {
    fn owe_taken(&mut self, step: &str, by: &str) -> &mut Self {
        self.input(FleetInput::Owed(Box::new(taken(step, by))))
    }
}

#[test]
fn what_an_agent_took_by_the_journal_is_not_sent_to_anybody() {
    let mut scene = Scene::new();
    scene.beat("a", 4, &["x", "y"]).owe_taken("x", "a").owe_taken("y", "a").owe_taken("z", "b");
    scene.explain("x").explain("z").after(2_000).beat("a", 4, &["x"]);
    scene.after(4_000).beat("a", 4, &["x"]).after(1_500).check(expect![[r#"
        0: x waits: nothing, a holds it
        0: z waits: agent b, which took it, was not heard of yet
        6000: y lost: agent a does not hold it any more
        7000: z lost: the agent that took it was not heard of again
    "#]]);
}

#[test]
fn a_withheld_attempt_is_not_sent_again_to_somebody_else_after_a_crash() {
    let mut scene = Scene::new();
    let partition = task("any", "c", 5).partition;
    let withheld = ["held", "nowhere", "resumed"].map(|step| offer(task(step, "c", 5)));
    let withheld = withheld.to_vec();
    scene.input(FleetInput::Recovered { partition, owed: Vec::new(), withheld }).caught_up();
    scene.beat("b", 4, &[]).owe("resumed").beat("a", 4, &["held", "resumed"]);
    scene.after(1_000).explain("nowhere").owe("held").owe("nowhere").check(expect![[r#"
        0: roll call
        0: held held by a
        0: resumed held by a
        1000: nowhere waits: the run is paused (Paused)
        1000: deliver to b: nowhere
    "#]]);
}

#[test]
fn a_copy_is_a_stray_and_whoever_took_the_attempt_is_watched() {
    let mut scene = Scene::new();
    scene.recover(vec![taken("x", "b")]).caught_up().beat("a", 4, &["x"]).after(1_000);
    scene.beat("a", 4, &["x"]).beat("a", 4, &[]).after(6_999).after(1).check(expect![[r#"
        0: roll call
        0: strays at a: x
        1000: strays at a: x
        8000: x lost: the agent that took it was not heard of again
    "#]]);
}

#[test]
fn an_attempt_is_where_the_journal_says_that_it_is() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("x").delivered("a", &["x"]).beat("b", 1, &["x"]);
    scene.owe_taken("x", "b").input(FleetInput::Taken { agent: agent("b"), attempt: id("x") });
    scene.beat_with("a", 1, &["x"], |beat| beat.leaving = true).explain("x");
    scene.beat_with("b", 1, &["x"], |beat| beat.leaving = true).check(expect![[r#"
        0: deliver to a: x
        0: x waits: nothing, b holds it
        0: x lost: agent b left
    "#]]);
}

#[test]
fn a_loss_that_nobody_takes_note_of_is_told_again() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("x").delivered("a", &["x"]).beat("a", 1, &["x"]);
    scene.beat_with("a", 1, &["x"], |beat| beat.leaving = true).after(6_999).after(1);
    scene.input(FleetInput::Link(Link::Down)).after(20_000);
    scene.input(FleetInput::Link(Link::Up)).after(7_000).settled("x", None).after(60_000);
    scene.check(expect![[r#"
        0: deliver to a: x
        0: x held by a
        0: x lost: agent a left
        7000: x lost: the loss of agent a was not noted
        28000: x lost: the loss of agent a was not noted
    "#]]);
}

#[test]
fn a_task_counts_as_taken_before_its_queue_timeout() {
    let mut scene = Scene::new();
    let take_by = Some(Timestamp::from_millis(100_800));
    scene.beat("a", 1, &[]).after(200);
    let mut hasty = Box::new(offer(task("x", "c", 5)));
    hasty.terms.take_by = take_by;
    scene.input(FleetInput::Owed(hasty));
    scene.delivered("a", &["x"]).after(299).explain("x").after(1).check(expect![[r#"
        200: deliver to a: x
        499: x waits: nothing, a holds it
        500: x held by a
    "#]]);
}

#[test]
fn a_task_that_nobody_could_be_seen_to_take_in_time_is_sent_to_nobody() {
    let mut scene = Scene::new();
    let owe = |scene: &mut Scene, step, take_by| {
        let not_before = Timestamp::from_millis(100_000);
        let take_by = Some(Timestamp::from_millis(take_by));
        let mut offer = offer(task(step, "c", 5));
        (offer.not_before, offer.terms.take_by) = (not_before, take_by);
        scene.input(FleetInput::Owed(Box::new(offer)));
    };
    scene.beat("a", 1, &[]).after(20);
    owe(&mut scene, "short", 100_040);
    scene.delivered("a", &["short"]);
    owe(&mut scene, "late", 101_000);
    owe(&mut scene, "next", 101_001);
    scene.after(880).settled("short", Some("a")).explain("late");
    scene.delivered("a", &["next"]).after(100).settled("next", Some("a"));
    owe(&mut scene, "late", 102_000);
    scene.check(expect![[r#"
        20: deliver to a: short
        30: short held by a
        900: deliver to a: next
        900: late waits: it ends, because no agent took it in time
        950: next held by a
        1000: deliver to a: late
    "#]]);
}

#[test]
fn what_is_settled_leaves_its_slot_to_the_next() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("x").delivered("a", &["x"]).settled("x", Some("a"));
    scene.beat("a", 1, &["x"]).owe("y").check(expect![[r#"
        0: deliver to a: x
        0: strays at a: x
        0: deliver to a: y
    "#]]);
}

/// It never left: nobody has to be told to stop it, and nothing waits for that.
#[test]
fn what_is_taken_back_leaves_its_slot_to_the_next() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("x").owe("y");
    let back = |step| FleetInput::TakenBack { attempt: id(step) };
    scene.input(back("x")).explain("x").settled("x", None);
    scene.delivered("a", &["y"]).input(back("y")).settled("y", None).check(expect![[r#"
        0: deliver to a: x
        0: deliver to a: y
        0: x waits: it ends
        0: cancel at a: y
    "#]]);
}
