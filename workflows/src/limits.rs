//! Every bound of the language, in one file.

/// The size of a file.
pub(crate) const FILE_BYTES: usize = 1024 * 1024;
/// Levels of lists and maps.
pub(crate) const DEPTH: usize = 32;
/// Steps of a workflow, those in groups included.
pub(crate) const STEPS: usize = 10_000;
/// Bytes of one expression.
pub(crate) const EXPRESSION_BYTES: usize = 2048;
/// Brackets within brackets in one expression.
pub(crate) const EXPRESSION_BRACKETS: usize = 16;
/// Operators within operators in one expression.
pub(crate) const EXPRESSION_DEPTH: usize = 128;
/// Characters of a name.
pub(crate) const NAME_CHARS: usize = 64;
/// Inputs of a workflow, outputs of a workflow.
pub(crate) const INPUTS: usize = 256;
/// Edges that steps may write in `needs` or imply by what they read.
pub(crate) const EDGES: usize = 200_000;
/// Tokens of YAML.
pub(crate) const YAML_EVENTS: usize = 1_000_000;
/// Aliases, and anchors.
pub(crate) const ALIASES: usize = 1_000;
/// Tokens that aliases may repeat.
pub(crate) const REPLAYED_EVENTS: usize = 20_000;
/// Problems that are reported; the rest is counted.
pub(crate) const PROBLEMS: usize = 200;
/// Bytes of one JSON Schema.
pub(crate) const SCHEMA_BYTES: usize = 64 * 1024;
/// The longest duration: 10 years.
pub(crate) const DURATION_SECS: u64 = 10 * 366 * 24 * 3600;
/// The shortest time without progress that can be told in time: two heartbeats of an agent.
pub(crate) const PROGRESS_SECS: u64 = 4;
/// The most attempts of a step.
pub(crate) const ATTEMPTS: u32 = 1_000;
/// What one evaluation may make and look at, in units of about a byte of memory.
pub(crate) const EVALUATION_COST: usize = 64 * 1024 * 1024;
/// Lists and maps within lists and maps of the value of an expression or a template.
pub(crate) const VALUE_DEPTH: usize = 64;
/// The text that one string of a template may become.
pub(crate) const TEXT_BYTES: usize = 256 * 1024;
/// Keywords of one JSON Schema with its references written out.
pub(crate) const SCHEMA_NODES: usize = 10_000;
/// Schemas within schemas of one JSON Schema with its references written out.
pub(crate) const SCHEMA_DEPTH: usize = 256;
/// Keywords times values up to which a value is held against a schema.
pub(crate) const SCHEMA_STEPS: usize = 100_000_000;
/// The same, for all defaults of one file together.
pub(crate) const DEFAULT_STEPS: usize = 10_000_000;
/// What a regular expression of a JSON Schema may take when it is compiled.
pub(crate) const PATTERN_BYTES: usize = 64 * 1024;
/// The same for a large one, which counts as many.
pub(crate) const LARGE_PATTERN_BYTES: usize = 1024 * 1024;
/// Regular expressions in the JSON Schemas of one file.
pub(crate) const SCHEMA_PATTERNS: usize = 100;
/// Steps that looking for near names may take, for all problems of a file together.
pub(crate) const SUGGESTION_STEPS: usize = 2_000_000;
/// Warnings that are reported; the rest is counted.
pub(crate) const WARNINGS: usize = 1_000;
