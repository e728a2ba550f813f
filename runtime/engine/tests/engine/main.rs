//! The engine through its public API: golden runs, a naive oracle, bounds.

mod golden;
mod oracle;
mod print;
mod random;
mod script;
mod world;
