//! What is left of the first round of a group, and of a pause, when more happens.

use expect_test::{Expect, expect};
use serde_json::json;
use skep_protocol::{
    AttemptFailed, CancelReason, ChildStarted, Failure, FailureKind, LetterFilter, SkipReason,
    StepExpanded,
};

use super::*;
use crate::read_model::view::RunView;

/// Returns what the events alone tell.
fn folded(events: &[Event]) -> skep_protocol::RunDetail {
    let Event::RunStarted(started) = started() else { panic!("it is a start") };
    let at = Timestamp::from_millis(5);
    let mut view = RunView::new(run(), at, *started);
    events.iter().for_each(|event| view.apply(at, event.clone()));
    view.detail()
}

async fn check(events: Vec<Event>, expected: Expect) {
    let settings = Settings::of_tests("one");
    let folder = tempfile::tempdir().unwrap();
    let at = ReadModelAt::File(folder.path().join("read.db"));
    let model = open(&at, &settings);
    store(&model, 1, vec![started()]).await;
    store(&model, 2, events.clone()).await;
    let detail = async |model: &ReadModel| {
        let reply = model.ask(Question::Run(run())).await;
        if let QueryReply::Run(detail) = reply { *detail } else { panic!("no run: {reply:?}") }
    };
    let told = detail(&model).await;
    assert_eq!(told, folded(&events));
    let summary = QueryReply::Runs(vec![told.summary.clone()]);
    assert_eq!(model.ask(Question::Summary(run())).await, summary, "from memory");
    assert_eq!(runs(&model, RunFilter::default()).await.first(), Some(&told.summary));
    drop(model);
    let again = open(&at, &settings);
    assert_eq!(again.ask(Question::Summary(run())).await, summary, "as it was stored");
    assert_eq!(detail(&again).await, told, "as it was stored");
    let failure = Failure::new(FailureKind::Agent, "broken", "it broke");
    let dead = async |model: &ReadModel| {
        let last = 2 + events.len() as u64;
        store(model, last, vec![Event::RunFailed { failure: failure.clone() }]).await;
        model.ask(Question::Letters(LetterFilter { all: true, ..LetterFilter::default() })).await
    };
    // Steps that completed are let go of with each write.
    let written = open(&ReadModelAt::Temporary, &settings);
    store(&written, 1, vec![started()]).await;
    for (seq, event) in (2..).zip(&events) {
        store(&written, seq, vec![event.clone()]).await;
        assert_eq!(runs(&written, RunFilter::default()).await.len(), 1);
    }
    assert_eq!(runs(&written, RunFilter::default()).await.first(), Some(&told.summary));
    assert_eq!(detail(&written).await, told);
    assert_eq!(dead(&written).await, dead(&again).await);
    let detail = told;
    let summary = &detail.summary;
    let mut text = format!("{} {}/{}\n", summary.status, summary.steps_ended, summary.steps);
    for step in &detail.steps {
        let attempts = step.attempts.iter();
        let attempts =
            attempts.map(|one| format!("{}{}", one.attempt, ["", "F"][usize::from(one.fallback)]));
        let attempts = attempts.collect::<Vec<_>>().join(", ");
        let left = [
            step.skipped_by.as_deref(),
            step.error.as_ref().map(|error| error.code.as_str()),
            step.output.as_ref().and_then(Payload::text),
            step.child.map(|_| "child"),
            step.skipped.as_ref().map(|_| "skipped"),
            step.cancelled.map(|_| "cancelled"),
        ];
        let left: Vec<_> = left.into_iter().flatten().collect();
        text += &format!("{} {} {left:?} [{attempts}]\n", step.step, step.status);
    }
    expected.assert_eq(&text);
}

fn scheduled(step: &str, attempt: u32) -> Event {
    let (step, not_before, input) = (StepPath::new(step), Timestamp::EPOCH, None);
    Event::AttemptScheduled(AttemptScheduled { step, attempt, not_before, input, fallback: false })
}

fn completed(step: &str, attempt: u32) -> Event {
    let (step, agent, output) =
        (StepPath::new(step), AgentId::new("a").unwrap(), Payload::from(json!("out")));
    let done = AttemptCompleted { step, attempt, agent, output, duration_ms: 3 };
    Event::AttemptCompleted(done)
}

fn failed(step: &str) -> Event {
    let failure = Failure::new(FailureKind::Agent, "broken", "it broke");
    Event::StepFailed { step: StepPath::new(step), failure, untouched: false }
}

fn attempt_failed(step: &str, attempt: u32) -> Event {
    let failure = Failure::new(FailureKind::Agent, "broken", "it broke");
    let (step, agent, in_doubt, duration_ms) = (StepPath::new(step), None, false, None);
    Event::AttemptFailed(AttemptFailed { step, attempt, agent, failure, in_doubt, duration_ms })
}

fn expanded(step: &str, total: u32) -> Event {
    let items = vec![Payload::null(); total as usize];
    Event::StepExpanded(StepExpanded { step: StepPath::new(step), items, offset: 0, total })
}

fn child(step: &str) -> Event {
    Event::ChildStarted(Box::new(ChildStarted {
        step: StepPath::new(step),
        attempt: 1,
        not_before: Timestamp::EPOCH,
        child: RunId::from_key("w", "child"),
        digest: Hash::ZERO,
        inputs: Payload::null(),
    }))
}

fn first_round() -> Vec<Event> {
    vec![
        Event::GroupStarted { step: StepPath::new("g") },
        scheduled("g/a", 1),
        completed("g/a", 1),
        child("g/b"),
        failed("g/b"),
        expanded("g/fan", 2),
        scheduled("g/fan[0]", 1),
        completed("g/fan[0]", 1),
        scheduled("g/fan[1]", 1),
        failed("g/fan[1]"),
    ]
}

#[tokio::test]
async fn a_group_that_starts_over_leaves_nothing_of_the_first_round_but_attempts() {
    let again =
        Event::GroupRestarted { step: StepPath::new("g"), round: 2, not_before: Timestamp::EPOCH };
    check(
        first_round(),
        expect![[r#"
            running 4/6
            g running [] []
            g/a completed ["\"out\""] [1]
            g/b failed ["broken", "child"] [1]
            g/fan running [] []
            g/fan[0] completed ["\"out\""] [1]
            g/fan[1] failed ["broken"] [1]
        "#]],
    )
    .await;
    let mut events = first_round();
    events.push(again);
    check(
        events.clone(),
        expect![[r#"
            running 0/1
            g running [] []
        "#]],
    )
    .await;
    events.extend([
        scheduled("g/a", 2),
        scheduled("g/b", 1),
        completed("g/b", 1),
        expanded("g/fan", 1),
        scheduled("g/fan[0]", 2),
        completed("g/fan[0]", 2),
    ]);
    check(
        events,
        expect![[r#"
            running 2/5
            g running [] []
            g/a scheduled [] [1, 2]
            g/b completed ["\"out\""] [1]
            g/fan running [] []
            g/fan[0] completed ["\"out\""] [1, 2]
        "#]],
    )
    .await;
}

#[tokio::test]
async fn who_had_a_step_before_its_group_started_over_is_told_of_its_dead_letter() {
    let again =
        Event::GroupRestarted { step: StepPath::new("g"), round: 2, not_before: Timestamp::EPOCH };
    let second = [scheduled("g/a", 2), attempt_failed("g/a", 2), failed("g/a")];
    let events = first_round().into_iter().chain([again]).chain(second).collect();
    check(
        events,
        expect![[r#"
        running 1/2
        g running [] []
        g/a failed ["broken"] [1, 2]
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_run_that_unwinds_is_neither_paused_nor_resumed() {
    let cancel = || Event::CancelRequested { reason: "enough".to_owned() };
    let pause = || Event::RunPaused { by: "me".to_owned() };
    let resume = || Event::RunResumed { by: "me".to_owned() };
    for events in [vec![cancel(), pause()], vec![pause(), cancel(), resume()]] {
        check(
            events,
            expect![[r#"
                unwinding 0/0
            "#]],
        )
        .await;
    }
    check(
        vec![pause(), resume()],
        expect![[r#"
            running 0/0
        "#]],
    )
    .await;
}

#[tokio::test]
async fn why_a_compensation_failed_is_told_until_it_is_tried_again_or_taken_as_done() {
    let (pay, book) = (StepPath::new("pay").compensation(), StepPath::new("book").compensation());
    let stuck = |step: &StepPath| {
        let failure = Failure::new(FailureKind::Agent, "broken", "it broke");
        Event::RunStuck { step: step.clone(), failure }
    };
    let mut events = vec![
        Event::UnwindStarted { failure: None },
        scheduled(pay.as_str(), 1),
        failed(pay.as_str()),
        stuck(&pay),
        scheduled(book.as_str(), 1),
        failed(book.as_str()),
        stuck(&book),
    ];
    check(
        events.clone(),
        expect![[r#"
            stuck 2/2
            pay~compensate failed ["broken"] [1]
            book~compensate failed ["broken"] [1]
        "#]],
    )
    .await;
    events.push(Event::CompensationSkipped { step: book, by: "ada".to_owned() });
    events.push(Event::RunResumed { by: "ada".to_owned() });
    events.push(scheduled(pay.as_str(), 2));
    events.push(completed(pay.as_str(), 2));
    check(
        events,
        expect![[r#"
            unwinding 2/2
            pay~compensate completed ["\"out\""] [1, 2]
            book~compensate skipped ["ada"] [1]
        "#]],
    )
    .await;
}

#[tokio::test]
async fn attempts_of_a_fallback_are_known_from_those_of_the_step() {
    let takes_over = |attempt| {
        let Event::AttemptScheduled(first) = scheduled("a", attempt) else { panic!() };
        Event::AttemptScheduled(AttemptScheduled { fallback: true, ..first })
    };
    let lost = Event::AttemptLost {
        step: StepPath::new("a"),
        attempt: 3,
        agent: None,
        cause: "it is gone".to_owned(),
    };
    let mut events = vec![scheduled("a", 1), takes_over(2), attempt_failed("a", 2)];
    events.extend([scheduled("a", 3), lost, scheduled("a", 4), failed("a")]);
    check(
        events.clone(),
        expect![[r#"
            running 1/1
            a failed ["broken"] [1, 2F, 3F, 4F]
        "#]],
    )
    .await;
    events.push(Event::StepRestarted { step: StepPath::new("a"), not_before: None });
    events.push(scheduled("a", 5));
    check(
        events,
        expect![[r#"
            running 0/1
            a scheduled [] [1, 2F, 3F, 4F, 5]
        "#]],
    )
    .await;
}

#[tokio::test]
async fn why_a_step_did_not_run_is_known_until_it_starts_again() {
    let step = |step: &str| StepPath::new(step);
    let group = || Event::GroupStarted { step: step("g") };
    let mut events = vec![
        group(),
        Event::StepSkipped { step: step("g/a"), reason: SkipReason::Condition },
        scheduled("g/b", 1),
        Event::StepCancelled { step: step("g/b"), reason: CancelReason::Restart, untouched: false },
    ];
    check(
        events.clone(),
        expect![[r#"
        running 2/3
        g running [] []
        g/a skipped ["skipped"] []
        g/b cancelled ["cancelled"] [1]
    "#]],
    )
    .await;
    let again = |path| Event::StepRestarted { step: step(path), not_before: None };
    events.extend(["g/a", "g/b"].map(again));
    events.extend([scheduled("g/a", 1), scheduled("g/b", 2)]);
    check(
        events,
        expect![[r#"
        running 0/3
        g running [] []
        g/a scheduled [] [1]
        g/b scheduled [] [1, 2]
    "#]],
    )
    .await;
}
