//! The coordinator from outside: over the in-process broker, with agents written by hand.

mod crash;
mod fence;
mod runs;
mod world;
