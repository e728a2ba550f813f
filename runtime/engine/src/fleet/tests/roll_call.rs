//! How long it takes until it is known what agents hold.

use skep_protocol::{CoordinatorId, RollCall};

use super::*;

impl Scene {
    /// Listens for long enough to know `names`, and takes a partition over.
    fn knowing(&mut self, names: &[&str], owed: Vec<OfferTask>) -> &mut Self {
        self.input(FleetInput::Wake).after(3_000);
        for name in names {
            self.beat(name, 4, &[]);
        }
        self.recover(owed).caught_up()
    }

    /// The process is stopped, and nobody calls the fleet.
    fn sleep(&mut self, ms: u64) -> &mut Self {
        self.now += ms;
        self
    }

    fn answer(&mut self, name: &str, number: u64, held: &[&str]) -> &mut Self {
        let coordinator = CoordinatorId::new("me").unwrap();
        let partition = task("any", "c", 5).partition;
        let call = RollCall { coordinator, number, partition };
        self.beat_with(name, 4, held, |beat| beat.answers = vec![call])
    }
}

fn owed(steps: &[&str]) -> Vec<OfferTask> {
    steps.iter().map(|step| offer(task(step, "c", 5))).collect()
}

#[test]
fn once_everybody_has_answered_nobody_waits() {
    let mut scene = Scene::new();
    scene.knowing(&["a", "b"], owed(&["x", "y"])).after(5).answer("a", 1, &["x"]).after(5);
    scene.answer("b", 1, &[]).check(expect![[r#"
        3000: roll call
        3005: x held by a
        3010: deliver to b: y
    "#]]);
}

#[test]
fn a_heartbeat_that_answers_nothing_is_no_answer() {
    let mut scene = Scene::new();
    scene.knowing(&["a"], owed(&["x"])).after(5).beat("a", 4, &[]).after(1_000);
    scene.check(expect![[r#"
        3000: roll call
        4000: deliver to a: x
    "#]]);
}

#[test]
fn each_take_over_is_answered_for_itself() {
    let mut scene = Scene::new();
    scene.knowing(&["a"], owed(&["x"])).recover(owed(&["y"])).after(5).answer("a", 1, &["x"]);
    scene.after(5).answer("a", 2, &["x"]).check(expect![[r#"
        3000: roll call
        3000: roll call
        3005: x held by a
    "#]]);
    scene.caught_up().after(1).check(expect![[r#"
        3000: roll call
        3000: roll call
        3005: x held by a
        3010: deliver to a: y
    "#]]);
}

#[test]
fn who_has_just_begun_to_listen_does_not_know_who_is_missing() {
    let mut scene = Scene::new();
    scene.beat("a", 4, &[]).after(2_000).beat("a", 4, &[]).recover(owed(&["x"])).caught_up();
    scene.after(5).answer("a", 1, &[]).after(1_000).check(expect![[r#"
        2000: roll call
        3000: deliver to a: x
    "#]]);
}

#[test]
fn who_slept_asks_everybody_and_knows_them_a_second_later() {
    let mut scene = Scene::new();
    scene.knowing(&["a"], vec![]).answer("a", 1, &[]).sleep(3_000).beat("a", 4, &[]);
    scene.after(900).recover(owed(&["x"])).caught_up().answer("a", 2, &[]).check(expect![[r#"
        3000: roll call
        6000: ask all
        6900: roll call
    "#]]);
    scene.after(1_000).check(expect![[r#"
        3000: roll call
        6000: ask all
        6900: roll call
        7900: deliver to a: x
    "#]]);
    let mut scene = Scene::new();
    scene.knowing(&["a"], vec![]).answer("a", 1, &[]).sleep(3_000).beat("a", 4, &[]);
    scene.after(1_000).recover(owed(&["x"])).caught_up().answer("a", 2, &[]).check(expect![[r#"
        3000: roll call
        6000: ask all
        7000: roll call
        7000: deliver to a: x
    "#]]);
}

#[test]
fn with_nobody_there_nobody_is_waited_for() {
    let mut scene = Scene::new();
    scene.knowing(&[], owed(&["x"])).after(5).beat("a", 4, &[]).check(expect![[r#"
        3000: roll call
        3000: enqueue x (sending 0)
        3005: clear c
        3005: deliver to a: x
    "#]]);
}

#[test]
fn who_leaves_is_not_waited_for() {
    let mut scene = Scene::new();
    scene.knowing(&["a", "b"], owed(&["x"])).after(5).answer("a", 1, &[]);
    scene.after(5).beat_with("b", 4, &[], |beat| beat.leaving = true).check(expect![[r#"
        3000: roll call
        3010: deliver to a: x
    "#]]);
}

#[test]
fn agents_of_the_queue_lane_answer_for_what_they_took() {
    let queue = |beat: &mut Heartbeat| beat.lane = Lane::Queue;
    let mut scene = Scene::new();
    scene.input(FleetInput::Wake).after(3_000).beat("a", 4, &[]).beat_with("q", 4, &[], queue);
    scene.recover(owed(&["x"])).caught_up().answer("a", 1, &[]).check(expect![[r#"
        3000: roll call
        3000: deliver to a: x
    "#]]);
    let taken = taken(offer(task("y", "c", 5)), "q");
    scene.after(1).recover(vec![taken]).caught_up().answer("a", 2, &["x"]).explain("y");
    scene.check(expect![[r#"
        3000: roll call
        3000: deliver to a: x
        3001: roll call
        3001: x held by a
        3001: y waits: the agents are being asked whether one of them holds it
    "#]]);
}
