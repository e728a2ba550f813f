//! Rows and their counters.

use super::*;

#[test]
fn items_share_the_row_of_their_step() {
    assert_eq!(without_items("group[0]/inner[7]"), "group/inner");
    assert_eq!(without_items("fetch"), "fetch");
}

#[test]
fn counters_follow_every_change() {
    let mut rows = Rows::default();
    let (step, at) = (StepPath::new("s"), Timestamp::EPOCH);
    rows.expand(&step, 3, at);
    for index in 0..3 {
        rows.change(&step.item(index), at, |one| one.enter(StepStatus::Scheduled, at).forget());
    }
    rows.change(&step.item(0), at, |one| one.enter(StepStatus::Completed, at).forget());
    rows.change(&step.item(1), at, |one| one.enter(StepStatus::Failed, at).tell("x".into()));
    let row = rows.of(&step.item(2)).unwrap();
    assert_eq!(row.counts, Counts { queued: 1, completed: 1, failed: 1, ..Counts::default() });
    assert_eq!((row.total(), row.status()), (3, StepStatus::Running));
    assert_eq!(row.last_failure.as_deref(), Some("x"));
    rows.change(&step, at, |one| one.enter(StepStatus::Failed, at).forget());
    assert_eq!(rows.of(&step).unwrap().status(), StepStatus::Failed);
}

#[test]
fn a_group_that_starts_over_forgets_its_inner_steps_only() {
    let mut rows = Rows::default();
    let at = Timestamp::EPOCH;
    for path in ["g/a", "g/b[0]", "ga"] {
        let done = |one: &mut Instance| one.enter(StepStatus::Completed, at).forget();
        rows.change(&StepPath::new(path), at, done);
    }
    rows.restart(&StepPath::new("g"));
    assert_eq!(rows.status(&StepPath::new("g/a")), None);
    assert_eq!(rows.of(&StepPath::new("g/b[0]")).unwrap().counts, Counts::default());
    assert_eq!(rows.status(&StepPath::new("ga")), Some(StepStatus::Completed));
}
