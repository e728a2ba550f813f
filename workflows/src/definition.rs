//! A definition as it is written, one to one with the file: every shape is right, nothing is
//! checked beyond that.
//!
//! The types declare their keys once. Decoding, the list of known keys and the JSON Schema of the
//! language all come from that declaration.

mod durations;
mod keyed;
mod names;
mod numbers;
mod scalars;
mod shape;

pub(crate) use durations::{DurationText, text as duration_text};
pub(crate) use keyed::{Keyed, Keys, Named};
pub(crate) use names::{Identifier, Names, SignalName, WorkflowReference, check_name, is_version};
pub(crate) use numbers::{Count, JoinText, ShareText, TolerateText};
pub(crate) use scalars::{Any, ExpressionText, ForEachText, SchemaText, Text, WaitText};
pub(crate) use shape::{At, Shape};

use std::collections::BTreeMap;

use keyed::keyed;

use crate::policy::{Backoff, Jitter, OnFailure, OnTimeout, StepOnFailure, Strategy, WhenOpen};

keyed! {
    /// A workflow: a graph of steps that agents perform.
    pub(crate) struct WorkflowDefinition requires ["name", "steps"] {
        /// The name by which the workflow is known.
        name: At<Identifier> = "name",
        /// The version the author gives it; a string.
        version: At<Text> = "version",
        /// What it is for.
        description: At<Text> = "description",
        /// The inputs, each with a JSON Schema; required unless it has a default.
        inputs: At<Named<SchemaText>> = "inputs",
        /// What holds for every step that does not say otherwise.
        defaults: Box<At<DefaultsDefinition>> = "defaults",
        /// The steps by id.
        steps: At<Named<StepDefinition>> = "steps",
        /// What the run does when a step fails.
        on_failure: At<OnFailure> = "on_failure",
        /// What the run gives back; strings may hold `${{ expressions }}`.
        outputs: At<Named<Any>> = "outputs",
    }
}

keyed! {
    /// What holds for every step that does not say otherwise.
    pub(crate) struct DefaultsDefinition requires [] {
        /// How long one attempt may take.
        timeout: At<DurationText> = "timeout",
        /// How long a step may take, with retries and waiting.
        deadline: At<DurationText> = "deadline",
        /// How long a step may wait for an agent.
        queue_timeout: At<DurationText> = "queue_timeout",
        /// How long an attempt may go without progress.
        progress_within: At<DurationText> = "progress_within",
        /// When a step is tried again.
        retry: Box<At<RetryDefinition>> = "retry",
        /// 0 to 9; greater goes first.
        priority: At<Count> = "priority",
        /// Which agents may take a step.
        labels: Box<At<LabelsDefinition>> = "labels",
        /// What happens while the circuit breaker is open.
        when_open: At<WhenOpen> = "when_open",
        /// When work is held back.
        breaker: Box<At<BreakerDefinition>> = "breaker",
    }
}

keyed! {
    /// A step: exactly one of `agent`, `workflow`, `wait`, `wait_for` and `steps`.
    pub(crate) struct StepDefinition requires [] {
        /// The capability that an agent must offer.
        agent: At<Identifier> = "agent",
        /// A sub-workflow: NAME or NAME@VERSION.
        workflow: Box<At<WorkflowReference>> = "workflow",
        /// A timer: a duration, or `until` with a timestamp.
        wait: Box<At<WaitText>> = "wait",
        /// A signal or a human approval.
        wait_for: Box<At<WaitForDefinition>> = "wait_for",
        /// A group: an inner graph of steps.
        steps: Box<At<Named<StepDefinition>>> = "steps",

        /// What the step is for.
        description: At<Text> = "description",
        /// Siblings that must be done first, where no data says so.
        needs: At<Names> = "needs",
        /// An expression; the step is skipped when it is false.
        condition: At<ExpressionText> = "if",
        /// The input; strings may hold `${{ expressions }}`.
        with: At<Any> = "with",
        /// A list, or an expression that gives one: the step runs once per item.
        for_each: At<ForEachText> = "for_each",
        /// How many items may be under way at once.
        max_parallel: At<Count> = "max_parallel",
        /// How many items may fail: a number, or a share such as 10%.
        tolerate: At<TolerateText> = "tolerate",
        /// How many of `needs` must succeed: all, any or a number.
        join: At<JoinText> = "join",
        /// How long one attempt may take.
        timeout: At<DurationText> = "timeout",
        /// How long the step may take, with retries and waiting.
        deadline: At<DurationText> = "deadline",
        /// How long it may wait for an agent.
        queue_timeout: At<DurationText> = "queue_timeout",
        /// How long an attempt may go without progress.
        progress_within: At<DurationText> = "progress_within",
        /// When it is tried again.
        retry: Box<At<RetryDefinition>> = "retry",
        /// The JSON Schema of its output.
        expect: At<SchemaText> = "expect",
        /// What makes the step good when the run unwinds.
        compensate: Box<At<AgentDefinition>> = "compensate",
        /// After this step a run only goes forward.
        pivot: At<bool> = "pivot",
        /// The agent that takes over when attempts are used up.
        fallback: Box<At<AgentDefinition>> = "fallback",
        /// What happens while the circuit breaker is open.
        when_open: At<WhenOpen> = "when_open",
        /// A circuit breaker of its own.
        breaker: Box<At<BreakerDefinition>> = "breaker",
        /// 0 to 9, 5 if not given; greater goes first.
        priority: At<Count> = "priority",
        /// Which agents may take it.
        labels: Box<At<LabelsDefinition>> = "labels",
        /// What its failure means for its scope.
        on_failure: At<StepOnFailure> = "on_failure",
        /// How a group restarts its steps.
        supervise: Box<At<SuperviseDefinition>> = "supervise",
    }
}

keyed! {
    /// An agent and its input.
    pub(crate) struct AgentDefinition requires ["agent"] {
        /// The capability that an agent must offer.
        agent: At<Identifier> = "agent",
        /// The input; strings may hold `${{ expressions }}`.
        with: At<Any> = "with",
        /// How long one attempt may take.
        timeout: At<DurationText> = "timeout",
        /// When it is tried again.
        retry: Box<At<RetryDefinition>> = "retry",
    }
}

keyed! {
    /// A signal or a human approval.
    pub(crate) struct WaitForDefinition requires ["signal"] {
        /// The name of the signal.
        signal: At<SignalName> = "signal",
        /// An expression over `signal`; payloads for which it is false do not count.
        condition: At<ExpressionText> = "if",
        /// How long to wait.
        timeout: At<DurationText> = "timeout",
        /// What happens then.
        on_timeout: At<OnTimeout> = "on_timeout",
    }
}

keyed! {
    /// A timer that ends at a point in time.
    pub(crate) struct UntilDefinition requires ["until"] {
        /// An RFC 3339 timestamp, or `${{ expression }}` that gives one.
        until: At<Text> = "until",
    }
}

keyed! {
    /// When a step is tried again.
    pub(crate) struct RetryDefinition requires [] {
        /// All tries, the first included.
        attempts: At<Count> = "attempts",
        /// How the delay grows.
        backoff: At<Backoff> = "backoff",
        /// The delay before the second attempt.
        initial: At<DurationText> = "initial",
        /// No delay is longer.
        max: At<DurationText> = "max",
        /// How much of the delay is left to chance.
        jitter: At<Jitter> = "jitter",
        /// No attempt starts later than this after the first.
        within: At<DurationText> = "within",
        /// Failure codes that are final.
        unless: At<Names> = "unless",
    }
}

keyed! {
    /// A circuit breaker.
    pub(crate) struct BreakerDefinition requires [] {
        /// Opens at this share of failures.
        failure_rate: At<ShareText> = "failure_rate",
        /// Opens at this share of slow calls.
        slow_rate: At<ShareText> = "slow_rate",
        /// A call that takes longer is slow.
        slow: At<DurationText> = "slow",
        /// How far back calls count.
        window: At<DurationText> = "window",
        /// Fewer calls than this decide nothing.
        min_calls: At<Count> = "min_calls",
        /// How long it stays open before it probes.
        cooldown: At<DurationText> = "cooldown",
        /// How many probes may be under way.
        probes: At<Count> = "probes",
    }
}

keyed! {
    /// How a group restarts its steps.
    pub(crate) struct SuperviseDefinition requires ["strategy"] {
        /// Which siblings are restarted.
        strategy: At<Strategy> = "strategy",
        /// More restarts than this within the period escalate.
        max_restarts: At<Count> = "max_restarts",
        /// The period.
        within: At<DurationText> = "within",
    }
}

keyed! {
    /// Which agents may take a step.
    pub(crate) struct LabelsDefinition requires [] {
        /// An agent must have all of these.
        require: At<BTreeMap<String, String>> = "require",
        /// An agent with more of these is preferred.
        prefer: At<BTreeMap<String, String>> = "prefer",
    }
}
