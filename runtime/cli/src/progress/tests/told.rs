//! A run that is told event by event.

use std::time::Duration;

use serde_json::json;
use skep_protocol::{
    AgentId, AttemptCompleted, AttemptFailed, AttemptScheduled, Event, Failure, FailureKind, Hash,
    HistoryEntry, Payload, RunId, RunRecord, RunStarted, StepPath, Timestamp,
};

use crate::progress::{Frame, LineFilter, Motion, Progress, draw, left, line};

/// When the run starts.
pub(crate) const START: u64 = 1_000_000;

/// A run, and what was said of it.
pub(crate) struct Told {
    pub(crate) progress: Progress,
    lines: Vec<String>,
    pub(crate) number: u64,
    pub(crate) at: u64,
    filter: LineFilter,
}

impl Told {
    pub(crate) fn new(filter: LineFilter) -> Self {
        let progress = Progress::new(RunId::from_key("w", "k"));
        let mut told = Self { progress, lines: Vec::new(), number: 0, at: START, filter };
        told.event(Event::RunStarted(Box::new(RunStarted {
            workflow: "review".to_owned(),
            version: None,
            digest: Hash::ZERO,
            inputs: Payload::null(),
            pinned: Default::default(),
            parent: None,
            depth: 0,
            labels: Default::default(),
            steps: None,
            retry: None,
        })));
        told
    }

    pub(crate) fn event(&mut self, event: Event) -> &mut Self {
        self.number += 1;
        let run = RunId::from_key("w", "k");
        let record = RunRecord { run, at: Timestamp::from_millis(self.at), event };
        let entry = HistoryEntry { number: self.number, record };
        self.progress.apply(&entry);
        self.lines.extend(line(&self.progress, &entry, self.filter));
        self
    }

    pub(crate) fn after(&mut self, ms: u64) -> &mut Self {
        self.at += ms;
        self
    }

    pub(crate) fn scheduled(&mut self, step: &str, attempt: u32, delay: u64) -> &mut Self {
        let not_before = Timestamp::from_millis(self.at).after(Duration::from_millis(delay));
        let (step, input) = (StepPath::new(step), None);
        self.event(Event::AttemptScheduled(AttemptScheduled {
            step,
            attempt,
            not_before,
            input,
            fallback: false,
        }))
    }

    pub(crate) fn completed(&mut self, step: &str, attempt: u32) -> &mut Self {
        let agent = AgentId::new("exec-1").unwrap();
        let (step, output, duration_ms) = (StepPath::new(step), json!(1).into(), 250);
        let done = AttemptCompleted { step, attempt, agent, output, duration_ms };
        self.event(Event::AttemptCompleted(done))
    }

    pub(crate) fn failed(&mut self, step: &str, attempt: u32, message: &str) -> &mut Self {
        let failure = Failure::new(FailureKind::Agent, "exit_1", message);
        let (step, agent, duration_ms) = (StepPath::new(step), None, None);
        let failed = AttemptFailed { step, attempt, agent, failure, in_doubt: false, duration_ms };
        self.event(Event::AttemptFailed(failed))
    }

    pub(crate) fn frame(&self, height: usize) -> String {
        self.frame_of(height, 80)
    }

    pub(crate) fn frame_of(&self, height: usize, width: usize) -> String {
        let (now, motion) = (Timestamp::from_millis(self.at), Motion::Moving);
        let lines = draw(&self.progress, Frame { now, height, width, motion });
        for line in &lines {
            let columns = plain(line).chars().count();
            assert!(columns <= width, "{columns} columns: {line}");
        }
        plain(&lines.join("\n")) + "\n"
    }

    /// What stays on the terminal.
    pub(crate) fn left(&self, width: usize) -> String {
        let (now, motion) = (Timestamp::from_millis(self.at), Motion::Still);
        let lines = left(&self.progress, Frame { now, height: 24, width, motion });
        plain(&lines.join("\n")) + "\n"
    }

    pub(crate) fn lines(&self) -> String {
        // The time of day depends on the time zone.
        let lines = self.lines.iter().map(|line| plain(line)[10..].to_owned() + "\n");
        lines.collect()
    }
}

pub(crate) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
