//! The async shell that drives runs, generic over the port.
