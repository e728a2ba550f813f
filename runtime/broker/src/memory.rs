//! The semantics of the port as a pure machine.
