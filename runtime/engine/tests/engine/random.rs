//! Random workflows, and the text of their definitions.

use std::fmt::Write as _;

/// Numbers that follow from a seed.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    pub(crate) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    Unwritten,
    All,
    Enough(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum If {
    None,
    False,
    Always,
    Failure,
    Success,
    /// The first need completed.
    FirstCompleted,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Agent { attempts: u32 },
    Each { items: usize, parallel: usize, tolerate: usize, attempts: u32 },
    Group(Vec<Step>),
}

#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) id: String,
    /// Positions among the siblings.
    pub(crate) needs: Vec<usize>,
    pub(crate) join: Join,
    pub(crate) condition: If,
    pub(crate) may_fail: bool,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) stop: bool,
    pub(crate) steps: Vec<Step>,
}

pub(crate) fn definition(chance: &mut Chance) -> Definition {
    let mut next = 0;
    let len = 1 + chance.below(7);
    Definition { stop: chance.one_in(2), steps: steps(chance, len, 0, &mut next) }
}

fn steps(chance: &mut Chance, len: usize, depth: usize, next: &mut usize) -> Vec<Step> {
    (0..len).map(|position| step(chance, position, depth, next)).collect()
}

fn step(chance: &mut Chance, position: usize, depth: usize, next: &mut usize) -> Step {
    *next += 1;
    let id = format!("s{next}");
    let needs: Vec<_> = (0..position).filter(|_| chance.one_in(3)).collect();
    let join = match chance.below(6) {
        0 if !needs.is_empty() => Join::All,
        1 if !needs.is_empty() => Join::Enough(1 + chance.below(needs.len())),
        _ => Join::Unwritten,
    };
    let condition = match chance.below(9) {
        0 => If::False,
        1 => If::Always,
        2 => If::Failure,
        3 => If::Success,
        4 if !needs.is_empty() => If::FirstCompleted,
        _ => If::None,
    };
    // A join that does not wait for all of its needs sees whatever is true at that moment.
    let condition = match join {
        Join::Enough(_) if condition != If::Always => If::None,
        _ => condition,
    };
    let attempts = 1 + u32::try_from(chance.below(3)).unwrap();
    let kind = match chance.below(6) {
        0 if depth < 2 => {
            let len = 1 + chance.below(4);
            Kind::Group(steps(chance, len, depth + 1, next))
        }
        1 => {
            let (items, parallel) = (chance.below(5), 1 + chance.below(4));
            Kind::Each { items, parallel, tolerate: chance.below(3), attempts }
        }
        _ => Kind::Agent { attempts },
    };
    Step { id, needs, join, condition, may_fail: chance.one_in(5), kind }
}

impl Definition {
    pub(crate) fn text(&self) -> String {
        let policy = if self.stop { "stop" } else { "continue" };
        let mut text = format!("name: random\non_failure: {policy}\nsteps:\n");
        write_steps(&self.steps, 1, &mut text);
        text
    }
}

fn write_steps(steps: &[Step], depth: usize, text: &mut String) {
    let pad = "  ".repeat(depth);
    for step in steps {
        writeln!(text, "{pad}{}:", step.id).unwrap();
        let mut key = |key: &str, value: String| writeln!(text, "{pad}  {key}: {value}").unwrap();
        let needs: Vec<_> = step.needs.iter().map(|need| steps[*need].id.as_str()).collect();
        if !needs.is_empty() {
            key("needs", format!("[{}]", needs.join(", ")));
        }
        match step.join {
            Join::Unwritten => {}
            Join::All => key("join", "all".to_owned()),
            Join::Enough(n) => key("join", n.to_string()),
        }
        match step.condition {
            If::None => {}
            If::False => key("if", "1 > 2".to_owned()),
            If::Always => key("if", "always()".to_owned()),
            If::Failure => key("if", "failure()".to_owned()),
            If::Success => key("if", "success()".to_owned()),
            If::FirstCompleted => key("if", format!("steps.{}.status == 'completed'", needs[0])),
        }
        if step.may_fail {
            key("on_failure", "continue".to_owned());
        }
        let retry =
            |attempts: u32| format!("{{ attempts: {attempts}, initial: 1s, jitter: none }}");
        match &step.kind {
            Kind::Agent { attempts } => {
                key("agent", "x".to_owned());
                key("retry", retry(*attempts));
            }
            Kind::Each { items, parallel, tolerate, attempts } => {
                key("agent", "x".to_owned());
                let items: Vec<_> = (0..*items).map(|item| item.to_string()).collect();
                key("for_each", format!("\"${{{{ [{}] }}}}\"", items.join(", ")));
                key("with", "\"${{ item }}\"".to_owned());
                key("max_parallel", parallel.to_string());
                key("tolerate", tolerate.to_string());
                key("retry", retry(*attempts));
            }
            Kind::Group(inner) => {
                writeln!(text, "{pad}  steps:").unwrap();
                write_steps(inner, depth + 2, text);
            }
        }
    }
}
