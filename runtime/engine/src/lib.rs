//! The pure core of skep: decides, applies, owes effects; never does them.
