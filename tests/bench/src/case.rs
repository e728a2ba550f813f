//! One thing that is measured.

use std::any::Any;
use std::fmt;
use std::hint::black_box;
use std::rc::Rc;

use crate::{fleet, journal, messages, partition, workflow};

/// Something that can be done again and again, each time from the same state.
pub struct Case {
    name: String,
    each: &'static str,
    times: f64,
    prepare: Box<dyn Fn() -> Work>,
}

/// What is to be measured, once; what it returns is to be dropped when the time was taken.
pub type Work = Box<dyn FnOnce() -> Box<dyn Any>>;

/// Returns everything that is measured.
pub fn cases() -> Vec<Case> {
    let groups = [
        workflow::cases(),
        messages::cases(),
        partition::cases(),
        journal::cases(),
        fleet::cases(),
    ];
    groups.into_iter().flatten().collect()
}

impl Case {
    /// Creates a case whose work does so many times the same to what `prepare` returns.
    pub(crate) fn new<S: 'static, T: 'static>(
        name: impl Into<String>,
        (times, each): (f64, &'static str),
        prepare: impl Fn() -> S + 'static,
        work: impl Fn(S) -> T + 'static,
    ) -> Self {
        let work = Rc::new(work);
        let prepare = move || -> Work {
            let (state, work) = (prepare(), Rc::clone(&work));
            Box::new(move || Box::new(black_box(work(black_box(state)))))
        };
        Self { name: name.into(), each, times, prepare: Box::new(prepare) }
    }

    /// Creates a case whose work needs no preparation.
    pub(crate) fn again<T: 'static>(
        name: impl Into<String>,
        times: (f64, &'static str),
        work: impl Fn() -> T + 'static,
    ) -> Self {
        Self::new(name, times, || (), move |()| work())
    }

    /// Returns the name, which no other case has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what the figure is given for: a step, a million records, …
    pub fn each(&self) -> &'static str {
        self.each
    }

    /// Returns how many of these the work is for.
    pub fn times(&self) -> f64 {
        self.times
    }

    /// Prepares the work.
    pub fn prepare(&self) -> Work {
        (self.prepare)()
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_does_its_work_more_than_once() {
        for case in cases() {
            assert!(case.times() > 0.0, "{case:?}");
            drop(case.prepare()());
            drop(case.prepare()());
        }
    }

    #[test]
    fn the_baseline_has_every_case_and_no_other() {
        let baseline = include_str!("../baseline.txt").lines();
        let known: Vec<(&str, &str)> = baseline
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(" | "))
            .filter_map(|(name, rest)| Some((name, rest.split_once(" | ")?.0)))
            .collect();
        let cases = cases();
        let cases: Vec<_> = cases.iter().map(|case| (case.name(), case.each())).collect();
        assert_eq!(known, cases, "`cargo xtask bench --save` takes another baseline");
    }
}
