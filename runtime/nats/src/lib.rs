//! The port over NATS JetStream.
