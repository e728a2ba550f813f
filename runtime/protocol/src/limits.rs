//! Every bound of the system, in one place.

use std::time::Duration;

/// Longest name, id or token, in bytes.
pub const MAX_NAME_LEN: usize = 64;
/// A payload of more bytes travels through the blob store; the journal keeps a reference.
pub const MAX_INLINE_PAYLOAD: usize = 64 * 1024;
/// Largest payload at all, in bytes.
pub const MAX_PAYLOAD: usize = 256 * 1024 * 1024;
/// Deepest nesting of JSON in a payload.
pub const MAX_JSON_DEPTH: usize = 64;
/// Deepest nesting of JSON that is put together from payloads: outputs of groups, of runs. It is
/// below the 127 levels that parsers of JSON read.
pub const MAX_MADE_DEPTH: usize = 120;
/// Steps of one run, dynamic ones included.
pub const MAX_STEPS_PER_RUN: usize = 10_000;
/// Depth of sub-workflows: a run, its child, its grandchild, …
pub const MAX_RUN_DEPTH: u32 = 16;
/// Target size of one journal message, in bytes; a single record may be larger.
pub const TARGET_BATCH_BYTES: usize = 512 * 1024;
/// Largest journal message, in bytes: below the broker's default `max_payload` of 1 MiB.
pub const MAX_BATCH_BYTES: usize = 960 * 1024;
/// Largest record of a journal, in bytes: what a message holds beside its envelope.
pub const MAX_RECORD_BYTES: usize = MAX_BATCH_BYTES - 8 * 1024;
/// Once what follows from one input has this size, in bytes, large values included, the rest is put
/// off: it follows at once, when others had their turn.
pub const MAX_DECIDED_AT_ONCE: usize = 4 * 1024 * 1024;
/// All items of a `for_each` together, in bytes: they stay in memory until their steps are over.
pub const MAX_ITEMS_BYTES: usize = 16 * 1024 * 1024;
/// What a run keeps of the one that it does over, in bytes, large values apart.
pub const MAX_KEPT_BYTES: usize = 16 * 1024 * 1024;
/// Longest path of a step, in bytes: groups in groups and items in items included.
pub const MAX_STEP_PATH: usize = 4 * 1024;
/// Longest text that people give a command, in bytes; the rest is cut.
pub const MAX_COMMAND_TEXT: usize = 1024;
/// Largest command and largest answer to a question, in bytes. What one message of the broker does
/// not take goes in parts.
pub const MAX_MESSAGE: usize = 32 * 1024 * 1024;
/// Largest definition file, in bytes.
pub const MAX_DEFINITION_BYTES: usize = 1024 * 1024;
/// Largest message of a failure, in bytes; the rest is cut.
pub const MAX_FAILURE_MESSAGE: usize = 8 * 1024;
/// Longest delay before the next attempt that the failing side may ask for.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Tasks or reports that share one message.
pub const MAX_SHARED: usize = 256;
/// Signals that a run keeps before a step asks for them.
pub const MAX_EARLY_SIGNALS: usize = 1_000;
/// Ids of signals that a run remembers, so that a repeated one is dropped.
pub const MAX_SIGNAL_IDS: usize = 4_000;
/// Definitions that a partition keeps although no live run uses them.
pub const MAX_IDLE_WORKFLOWS: usize = 64;
/// Active runs of one partition; beyond it, starts are refused with "busy, retry after".
pub const MAX_RUNS_PER_PARTITION: usize = 50_000;
/// Memory that the active runs of one coordinator take, about, in bytes; beyond it, starts are
/// refused with "busy, retry after".
pub const MAX_RUN_BYTES: usize = 1024 * 1024 * 1024;
/// Active runs of one partition that are kept free for sub-workflows, for each level of nesting:
/// the deepest ones always find room, so that those that wait for them end and make room.
pub const RESERVED_RUNS_PER_LEVEL: usize = 2_000;
/// Labels of one run.
pub const MAX_LABELS: usize = 32;
/// Longest value of a label, in bytes; its name is a name.
pub const MAX_LABEL_LEN: usize = 256;
/// Ids of finished runs that a partition remembers, so that a late start is not taken twice.
/// Just so many that a table of 65 536 places has room for them.
pub const MAX_FINISHED_IDS: usize = 56_000;
/// Steps of runs that are over of which a partition remembers that agents may report yet.
pub const MAX_LATE_STEPS: usize = 4_096;
/// How often an agent says that it is alive and what it holds.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);
/// Silence after which an agent counts as lost: three missed heartbeats and a margin.
pub const AGENT_SILENCE: Duration = Duration::from_millis(7_000);
/// A task sent but not held after this long is lost: two heartbeats and a margin.
pub const HOLD_CONFIRMED_WITHIN: Duration = Duration::from_millis(5_000);
/// How long the next attempt of a step, or what begins in a later round, waits for one that its
/// agent was told to stop; then the fencing token decides. A silent agent is taken to be alive for
/// as long.
pub const STOPPED_WITHIN: Duration = AGENT_SILENCE;
/// How long agents take at most to report again, after an outage, what ended meanwhile: the longest
/// pause between two tries, and a margin.
pub const REPORTED_AGAIN_WITHIN: Duration = Duration::from_millis(6_000);
/// How often an attempt may be lost to infrastructure before its step fails.
pub const MAX_LOSSES_PER_STEP: u32 = 10;
/// How often a task may be given back before that counts as a loss.
pub const MAX_RELEASES_PER_STEP: u32 = 8;
/// Tasks of one capability that wait in the queue lane while no queue agent is known: enough for
/// an autoscaler to see.
pub const QUEUE_DEPTH_WITHOUT_AGENTS: usize = 16;
/// Default number of partitions of a cluster.
pub const DEFAULT_PARTITIONS: u16 = 8;
/// Agents that one coordinator keeps track of; the heartbeats of more are not heard.
pub const MAX_AGENTS: usize = 20_000;
/// Longest name and version of an agent's software, in bytes; the rest is cut.
pub const MAX_SOFTWARE_LEN: usize = 128;
/// Capabilities that one agent offers; the rest is not seen.
pub const MAX_OFFERS_PER_AGENT: usize = 64;
/// How long agents have at most to say what they hold, after a coordinator took a partition over.
pub const ROLL_CALL_WITHIN: Duration = Duration::from_millis(1_000);
/// A coordinator that has listened for so long knows every agent that is there: a heartbeat and a
/// margin.
pub const KNOWS_ALL_AFTER: Duration = Duration::from_millis(3_000);
/// Roll calls that one heartbeat answers; who asked for more is answered by silence.
pub const MAX_ANSWERED_CALLS: usize = 1_024;
/// An attempt sent to an agent and unanswered for this long is recorded as taken.
pub const TAKEN_AFTER: Duration = Duration::from_millis(1_000);
/// How far back a retry budget looks.
pub const RETRY_WINDOW: Duration = Duration::from_secs(10);
/// Repeated attempts of a capability within that time, in thousandths of the first ones.
pub const RETRY_SHARE_PER_MILLE: u16 = 200;
/// Repeated attempts of a capability within that time that are free, however few the first ones.
pub const RETRY_RESERVE: u32 = 10;
/// Agents of one capability that outlier detection may put into quarantine, in thousandths.
pub const MAX_QUARANTINED_PER_MILLE: u16 = 334;
/// Breakers, and agents in quarantine, that the coordinators of a cluster share.
pub const MAX_ON_BOARD: usize = 1_000;
/// How often a coordinator looks at what the others share.
pub const BOARD_EVERY: Duration = Duration::from_millis(500);
/// How long an agent that answered "busy" is left alone, unless a slot of it is seen to be free.
pub const BUSY_PAUSE: Duration = Duration::from_millis(100);
