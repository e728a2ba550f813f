//! The in-process broker: the memory machine on the real clock.

/// The in-process broker. Cloning it gives another handle to the same one.
#[derive(Debug, Clone, Default)]
pub struct Embedded {}
