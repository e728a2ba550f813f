//! The simulated world of skep, also for users.
