//! The agent SDK of skep.
