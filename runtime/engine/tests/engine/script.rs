//! The language of golden runs: one input per line, and what followed below it.

use std::time::Duration;

use skep_engine::{Again, Change, Input, Reply};
use skep_protocol::{
    AgentId, AttemptId, BlobRef, ChildOutcome, Failure, FailureKind, Outcome, Parent, Payload,
    Record, Report, ReportBody, RunId, Signal, SignalId, StartRun, StepPath, Timestamp,
};
use skep_workflow::Workflow;

use crate::print;
use crate::world::{World, run_id};

/// Plays a script and returns it with what followed.
pub(crate) fn play(text: &str) -> String {
    let (definition, _) = parts(text);
    let mut played = format!("{definition}\n----\n");
    run(text, |line| {
        played.push_str(line);
        played.push('\n');
    });
    played
}

/// Plays a script and returns the journal.
pub(crate) fn records(text: &str) -> Vec<Record> {
    run(text, |_| {}).world.records
}

fn parts(text: &str) -> (&str, &str) {
    text.split_once("\n----\n").expect("a line of dashes")
}

fn run(text: &str, mut said: impl FnMut(&str)) -> Player {
    let (definition, script) = parts(text);
    let mut player = Player { world: World::new(), workflow: crate::world::read(definition) };
    for line in script.lines().filter(|line| line.starts_with(['>', '#'])) {
        said(line);
        if let Some(command) = line.strip_prefix("> ") {
            for line in player.command(command) {
                said(&format!("    {line}"));
            }
        }
    }
    player
}

struct Player {
    world: World,
    workflow: Workflow,
}

fn duration(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(ms) => Duration::from_millis(ms.parse().unwrap()),
        None => Duration::from_secs(text.strip_suffix('s').expect("5s or 5ms").parse().unwrap()),
    }
}

fn payload(text: &str) -> Payload {
    Payload::from_text(text).unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

fn agent(text: &str) -> AgentId {
    AgentId::new(text).unwrap()
}

/// Cuts the first word off.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.trim().split_once(' ').unwrap_or_else(|| (text.trim(), ""));
    (word, rest.trim())
}

impl Player {
    fn command(&mut self, command: &str) -> Vec<String> {
        let (verb, rest) = word(command);
        match verb {
            "at" => {
                self.world.now = crate::world::START.after(duration(rest));
                Vec::new()
            }
            "wake" => self.wake(),
            "fetch" | "lose-blobs" => self.fetch(verb),
            "why" => self.why(),
            "retry" => self.retry(rest),
            "untouched" => {
                self.world.untouched.0.insert(StepPath::new(rest));
                Vec::new()
            }
            verb => {
                let input = self.input(verb, rest);
                self.handle(input)
            }
        }
    }

    /// Goes on with a run that does this one over: `retry [STEP [only]]`.
    fn retry(&mut self, rest: &str) -> Vec<String> {
        let (step, only) = word(rest);
        let from = (!step.is_empty()).then(|| StepPath::new(step));
        let again = Again { from, only: only == "only", inputs_change: false };
        match self.world.retried(&self.workflow, &again, false) {
            Ok(world) => self.world = world,
            Err(cannot) => return vec![format!("= {cannot} ({})", cannot.help)],
        }
        let records = self.world.records.iter().map(print::record);
        let owed = self.world.owed.values().cloned().map(Change::Owed);
        records.chain(owed.map(|owed| print::change(&owed))).collect()
    }

    /// Says what waits, and for what.
    fn why(&self) -> Vec<String> {
        self.world.partition.waiting(run_id(), &[]).iter().map(print::waiting).collect()
    }

    fn attempt(&self, text: &str) -> AttemptId {
        let (step, attempt) = text.split_once('#').unwrap_or((text, ""));
        let step = StepPath::new(step);
        let latest = self.world.attempts.get(&step).copied().unwrap_or_default();
        let attempt = if attempt.is_empty() { latest } else { attempt.parse().unwrap() };
        AttemptId { run: run_id(), step, attempt }
    }

    fn report(&self, step: &str, who: &str, body: ReportBody) -> Input {
        let AttemptId { run, step, attempt } = self.attempt(step);
        Input::Report { agent: agent(who), report: Report { run, step, attempt, body } }
    }

    fn input(&mut self, verb: &str, rest: &str) -> Input {
        let run = run_id();
        let (first, more) = word(rest);
        match verb {
            "start" | "start-child" => self.start(verb, rest),
            "ok" => {
                let (more, who) = more.rsplit_once(" by ").unwrap_or((more, "a1"));
                let output = self.output(more);
                self.report(first, who, completed(output))
            }
            "fail" => {
                let (failure, duration_ms) = (failure(more), number(more, "took=").unwrap_or(0));
                let body = ReportBody::Outcome(Outcome::Failed { failure, duration_ms });
                self.report(first, "a1", body)
            }
            "taken" => {
                self.report(first, if more.is_empty() { "a1" } else { more }, ReportBody::Taken {})
            }
            "released" => self.report(first, "a1", ReportBody::Released { begun: false }),
            "left" => self.report(first, "a1", ReportBody::Released { begun: true }),
            "checkpoint" => self.report(first, "a1", ReportBody::Checkpoint(payload(more))),
            "held" => Input::Held { agent: agent("a1"), attempt: self.attempt(first) },
            "lost" => Input::Lost {
                attempt: self.attempt(first),
                agent: (!more.is_empty()).then(|| agent(more)),
                cause: "no responders".to_owned(),
            },
            "stalled" => Input::Failed {
                attempt: self.attempt(first),
                agent: Some(agent(if more.is_empty() { "a1" } else { more })),
                failure: Failure::new(FailureKind::Stalled, "stalled", "no progress for 30 s"),
            },
            "refused" => Input::Failed {
                attempt: self.attempt(first),
                agent: None,
                failure: Failure::new(FailureKind::BreakerOpen, "breaker_open", "it is open")
                    .fatal(),
            },
            "cancel" => Input::Cancel { run, reason: rest.to_owned() },
            "pause" => Input::Pause { run, by: "ada".to_owned() },
            "resume" => Input::Resume { run, by: "ada".to_owned() },
            "skip" => Input::Skip { run, step: StepPath::new(first), by: "ada".to_owned() },
            "signal" => {
                let (id, text) = word(more);
                let (name, id) = (first.to_owned(), SignalId::new(id).unwrap());
                let payload = self.output(if text.is_empty() { "null" } else { text });
                Input::Signal(Signal { run, name, id, payload })
            }
            "child" => self.child(first, more),
            "take-over" => Input::TookOver { coordinator: rest.parse().unwrap() },
            "notified" => Input::ParentNotified { run },
            verb => panic!("`{verb}` is no command"),
        }
    }

    fn start(&self, verb: &str, inputs: &str) -> Input {
        let parent = (verb == "start-child").then(|| Parent {
            run: RunId::from_key("parent", "1"),
            step: StepPath::new("call"),
            attempt: 1,
        });
        let start = StartRun {
            run: run_id(),
            workflow: self.workflow.name().to_string(),
            inputs: match word(inputs) {
                ("", _) => payload("{}"),
                ("big-text", len) => {
                    payload(&format!("{{\"text\":\"{}\"}}", "x".repeat(len.parse().unwrap())))
                }
                _ => payload(inputs),
            },
            depth: u32::from(parent.is_some()),
            parent,
            labels: Default::default(),
        };
        Input::Start { start: Box::new(start), workflow: self.world.resolved(&self.workflow) }
    }

    fn child(&mut self, step: &str, outcome: &str) -> Input {
        let id = {
            let (step, attempt) = step.split_once('#').expect("STEP#ATTEMPT");
            Parent { run: run_id(), step: StepPath::new(step), attempt: attempt.parse().unwrap() }
        };
        let child = RunId::child(id.run, &id.step, id.attempt);
        let (how, rest) = word(outcome);
        let outcome = match how {
            "completed" => ChildOutcome::Completed(self.output(rest)),
            "failed" => ChildOutcome::Failed(failure(rest)),
            "compensated" => ChildOutcome::Compensated(failure(rest)),
            _ => ChildOutcome::Cancelled { left: rest == "left" },
        };
        Input::ChildEnded { parent: id, child, outcome }
    }

    /// Reads a payload: JSON; `blob JSON` for one that lies in the blob store; `big N` for a text
    /// of N bytes; `deep N` for nested arrays.
    fn output(&mut self, text: &str) -> Payload {
        match word(text) {
            ("blob", json) => {
                let blob = BlobRef::of(json.as_bytes());
                self.world.blobs.insert(blob.hash, json.to_owned().into());
                Payload::from(blob)
            }
            ("big", len) => payload(&format!("\"{}\"", "x".repeat(len.parse().unwrap()))),
            ("deep", len) => {
                let len = len.parse().unwrap();
                payload(&format!("{}{}", "[".repeat(len), "]".repeat(len)))
            }
            _ => payload(if text.is_empty() { "{}" } else { text }),
        }
    }

    fn handle(&mut self, input: Input) -> Vec<String> {
        let wake = self.world.partition.next_wake();
        let step = self.world.handle(input.clone());
        let mut lines: Vec<_> =
            print::reply(&step.handled).map(|reply| format!("= {reply}")).into_iter().collect();
        lines.extend(step.handled.records.iter().map(print::record));
        lines.extend(step.handled.blobs.iter().map(|blob| format!("store {} bytes", blob.len())));
        lines.extend(step.changes.iter().map(print::change));
        let next = self.world.partition.next_wake();
        if next != wake {
            lines.push(match next {
                Some(wake) => format!("@ {} {:?}", print::time(wake.at), wake.reason),
                None => "@ never".to_owned(),
            });
        }
        if let Some(Reply::NeedsBlob(blob)) = step.handled.reply {
            let bytes = self.world.blobs.get(&blob.hash).cloned();
            lines.extend(self.world.asked_again(Input::BlobFetched { blob, bytes }, |world| {
                let step = world.handle(input);
                let records = step.handled.records.iter().map(print::record);
                let reply = print::reply(&step.handled).map(|reply| format!("= {reply}"));
                let changes = step.changes.iter().map(print::change);
                reply.into_iter().chain(records).chain(changes).collect::<Vec<_>>()
            }));
        }
        lines
    }

    /// Lets time pass to the next wake, and wakes the partition; a wake a moment before it does
    /// nothing.
    fn wake(&mut self) -> Vec<String> {
        let Some(wake) = self.world.partition.next_wake() else { return vec!["asleep".to_owned()] };
        if wake.at > self.world.now {
            self.world.now = Timestamp::from_millis(wake.at.as_millis() - 1).max(self.world.now);
            assert_eq!(self.world.handle(Input::Wake).handled.records, [], "a wake is never early");
            self.world.now = wake.at;
        }
        let mut lines = vec![format!("now {}", print::time(self.world.now))];
        lines.extend(self.handle(Input::Wake));
        assert!(self.world.partition.next_wake().is_none_or(|wake| wake.at > self.world.now));
        lines
    }

    fn fetch(&mut self, verb: &str) -> Vec<String> {
        if verb == "lose-blobs" {
            self.world.blobs.clear();
        }
        let mut lines = Vec::new();
        for input in self.world.fetched(&self.world.partition) {
            lines.extend(self.handle(input));
        }
        lines
    }
}

fn completed(output: Payload) -> ReportBody {
    ReportBody::Outcome(Outcome::Completed { output, duration_ms: 7 })
}

/// Returns the number behind `key`, if it is there.
fn number(text: &str, key: &str) -> Option<u64> {
    text.split(' ').find_map(|word| word.strip_prefix(key)).map(|ms| ms.parse().unwrap())
}

/// Reads `CODE MESSAGE [final] [after=MS] [took=MS]`.
fn failure(text: &str) -> Failure {
    let mut words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let is_final = words.contains(&"final");
    let after = number(text, "after=");
    words.retain(|word| *word != "final" && !word.starts_with("after="));
    words.retain(|word| !word.starts_with("took="));
    let code = words.first().copied().unwrap_or("oops");
    let message = words.get(1..).unwrap_or_default().join(" ");
    let mut failure = Failure::new(FailureKind::Agent, code, message);
    failure.retryable = !is_final;
    failure.retry_after_ms = after;
    failure
}
