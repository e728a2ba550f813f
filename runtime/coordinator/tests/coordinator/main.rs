//! The coordinator from outside: over the in-process broker, with agents written by hand.

#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may panic")]

mod agents;
mod backlog;
mod breakers;
mod clocks;
mod crash;
mod doubt;
mod fence;
mod flaky;
mod full;
mod healing;
mod leases;
mod letters;
mod orders;
mod queries;
mod recovery;
mod retry;
mod runs;
mod shared;
mod stopped;
mod stuck;
mod unread;
mod untouched;
mod values;
mod why;
mod world;
