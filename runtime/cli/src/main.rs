//! skep: agent swarm orchestration in one binary.
fn main() {}
