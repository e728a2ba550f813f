//! Ready-made agents for users who write no Rust.
