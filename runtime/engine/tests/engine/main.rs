//! The engine through its public API: golden runs, a naive oracle, bounds.

#![expect(clippy::unwrap_used, reason = "these are tests; the lint knows test functions only")]
#![expect(clippy::wildcard_enum_match_arm, reason = "tests pick out the variants they speak of")]

mod bounds;
mod catalog;
mod chaos;
mod crowd;
mod definitions;
mod golden;
mod hostile;
mod journals;
mod oracle;
mod print;
mod random;
mod repeats;
mod retried;
mod rounds;
mod script;
mod signals;
mod slices;
mod starts;
mod supervision;
mod unwinding;
mod world;
