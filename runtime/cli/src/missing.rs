//! What a run needs and nobody offers: told before anybody waits for it.

use std::collections::BTreeSet;

use skep_workflow::{Step, StepKind, Workflow};

use crate::agents::ReadyMade;
use crate::drive::Home;
use crate::output::{self, CYAN, paint};

/// What is needed and what is offered.
#[derive(Debug)]
pub(crate) struct Missing<'a> {
    /// The capabilities that steps need.
    pub(crate) needed: &'a BTreeSet<String>,
    /// Those that agents offer.
    pub(crate) offered: &'a BTreeSet<String>,
    /// The definitions of those steps.
    pub(crate) workflows: &'a [&'a Workflow],
    /// Where the run lives.
    pub(crate) home: Home,
    /// The ready-made agents that were asked for by name.
    pub(crate) agents: &'a [ReadyMade],
    /// How long the run is waited for.
    pub(crate) wait: Wait,
}

/// How long the end of a run is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until it comes.
    Forever,
    /// Until `--timeout` has passed.
    Bounded,
    /// Not at all.
    Detached,
}

impl Missing<'_> {
    /// Says what nobody will do, and how to change that; nothing if there is nothing to say.
    pub(crate) fn tell(&self) {
        let mut lines = self.lines().into_iter();
        if let Some(first) = lines.next() {
            output::warn(first);
            lines.for_each(output::note);
        }
    }

    fn lines(&self) -> Vec<String> {
        let missing: Vec<&String> = self.needed.difference(self.offered).collect();
        if missing.is_empty() {
            return Vec::new();
        }
        let names = missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let who = match self.home {
            Home::Here => "no agent in this process",
            Home::Cluster => "no live agent of the cluster",
        };
        let mut lines = vec![format!("{who} offers {names}: {}", self.end(&missing))];
        for name in &missing {
            let users: Vec<String> =
                self.users(name).map(|step| format!("`{}`", step.id())).collect();
            lines.push(format!("  `{name}` is needed by {}", users.join(", ")));
        }
        let offered = match self.offered.is_empty() {
            true => "nothing".to_owned(),
            false => self.offered.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        };
        let place = if self.home == Home::Here { "here" } else { "there" };
        lines.push(format!("  offered {place}: {offered}"));
        let advice = self.advice(&missing).into_iter();
        lines.extend(advice.map(|line| format!("  {}: {line}", paint(CYAN, "help"))));
        lines
    }

    /// Says how the wait will end.
    fn end(&self, missing: &[&String]) -> &'static str {
        let mut users = missing.iter().flat_map(|name| self.users(name));
        if users.all(|step| step.queue_timeout().is_some()) {
            "the steps that need it fail when their `queue_timeout` has passed"
        } else if self.home == Home::Cluster {
            "the run waits until one does"
        } else if self.wait == Wait::Bounded {
            "the run will wait until --timeout has passed"
        } else {
            "the run will wait for ever"
        }
    }

    fn advice(&self, missing: &[&String]) -> Vec<String> {
        let (ready_made, own): (Vec<&str>, Vec<&str>) = missing
            .iter()
            .map(|name| name.as_str())
            .partition(|name| ReadyMade::of(name).is_some());
        let mut lines = match ready_made.first() {
            Some(name) => self.of_ready_made(name),
            None => Vec::new(),
        };
        if let Some(name) = own.first() {
            if self.wait != Wait::Detached {
                lines.push(format!("serve it with a program of yours: --agent {name}=./PROGRAM"));
            }
            let stays = format!("by an agent that stays: skep agent exec --agent {name}=…");
            match (self.home, self.wait) {
                (Home::Here, _) => {}
                (Home::Cluster, Wait::Detached) => lines.push(format!("serve it {stays}")),
                (Home::Cluster, Wait::Forever | Wait::Bounded) => lines.push(format!("or {stays}")),
            }
        }
        if self.home == Home::Here {
            lines.push("or let agents of other processes join: skep dev".to_owned());
        }
        if self.wait == Wait::Forever {
            lines.push("--timeout 30s bounds the wait, Ctrl-C ends it".to_owned());
        }
        lines
    }

    /// Says how a ready-made agent that offers a capability is started.
    fn of_ready_made(&self, name: &str) -> Vec<String> {
        let (given, agent) = match ReadyMade::of(name) {
            Some(ReadyMade::Exec) => ("--allow-command NAME", "exec --allow-command NAME"),
            Some(ReadyMade::Http) => ("--agents http", "http"),
            Some(ReadyMade::Corpus) => ("--agents corpus", "corpus --root DIR"),
            Some(ReadyMade::None) | None => return Vec::new(),
        };
        let stays = format!("start a ready-made agent that stays: skep agent {agent}");
        match (self.home, self.wait, self.agents) {
            (Home::Here, _, [ReadyMade::None]) => {
                vec![format!("leave `--agents none` away: a ready-made agent offers `{name}`")]
            }
            (Home::Here, ..) => {
                vec![format!("a ready-made agent offers `{name}`: add it to --agents")]
            }
            (Home::Cluster, Wait::Detached, _) => vec![stays],
            (Home::Cluster, Wait::Forever | Wait::Bounded, _) => {
                vec![
                    format!("start a ready-made agent for the run: {given}"),
                    format!("or {stays}"),
                ]
            }
        }
    }

    fn users(&self, name: &str) -> impl Iterator<Item = &Step> {
        let steps = self.workflows.iter().flat_map(|workflow| workflow.steps());
        steps.filter(move |step| {
            matches!(step.kind(), StepKind::Agent { capability, .. } if *capability == *name)
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(step: &str, change: impl FnOnce(&mut Missing<'_>), expected: &Expect) {
        let source = format!("name: w\nsteps:\n  s: {{ {step} }}\n");
        let workflow = skep_workflow::read(source.as_bytes(), "w").unwrap();
        let needed = workflow.capabilities().iter().map(ToString::to_string).collect();
        let mut missing = Missing {
            needed: &needed,
            offered: &BTreeSet::new(),
            workflows: &[&workflow],
            home: Home::Here,
            agents: &[],
            wait: Wait::Forever,
        };
        change(&mut missing);
        let text = missing.lines().join("\n") + "\n";
        expected.assert_eq(&anstream::adapter::strip_str(&text).to_string());
    }

    #[test]
    fn what_nobody_offers_is_told_with_how_the_wait_ends() {
        check(
            "agent: oracle",
            |_| {},
            &expect![[r#"
            no agent in this process offers `oracle`: the run will wait for ever
              `oracle` is needed by `s`
              offered here: nothing
              help: serve it with a program of yours: --agent oracle=./PROGRAM
              help: or let agents of other processes join: skep dev
              help: --timeout 30s bounds the wait, Ctrl-C ends it
        "#]],
        );
        let bounded = "agent: oracle, queue_timeout: 2s";
        check(
            bounded,
            |missing| missing.wait = Wait::Bounded,
            &expect![[r#"
            no agent in this process offers `oracle`: the steps that need it fail when their `queue_timeout` has passed
              `oracle` is needed by `s`
              offered here: nothing
              help: serve it with a program of yours: --agent oracle=./PROGRAM
              help: or let agents of other processes join: skep dev
        "#]],
        );
    }

    #[test]
    fn ready_made_agents_and_those_of_a_cluster_are_named() {
        check(
            "agent: oracle",
            |missing| missing.home = Home::Cluster,
            &expect![[r#"
            no live agent of the cluster offers `oracle`: the run waits until one does
              `oracle` is needed by `s`
              offered there: nothing
              help: serve it with a program of yours: --agent oracle=./PROGRAM
              help: or by an agent that stays: skep agent exec --agent oracle=…
              help: --timeout 30s bounds the wait, Ctrl-C ends it
        "#]],
        );
        check(
            "agent: exec",
            |missing| missing.agents = &[ReadyMade::None],
            &expect![[r#"
                no agent in this process offers `exec`: the run will wait for ever
                  `exec` is needed by `s`
                  offered here: nothing
                  help: leave `--agents none` away: a ready-made agent offers `exec`
                  help: or let agents of other processes join: skep dev
                  help: --timeout 30s bounds the wait, Ctrl-C ends it
            "#]],
        );
        check(
            "agent: exec",
            |missing| missing.home = Home::Cluster,
            &expect![[r#"
                no live agent of the cluster offers `exec`: the run waits until one does
                  `exec` is needed by `s`
                  offered there: nothing
                  help: start a ready-made agent for the run: --allow-command NAME
                  help: or start a ready-made agent that stays: skep agent exec --allow-command NAME
                  help: --timeout 30s bounds the wait, Ctrl-C ends it
            "#]],
        );
        check(
            "agent: corpus-search",
            |missing| (missing.home, missing.wait) = (Home::Cluster, Wait::Detached),
            &expect![[r#"
                no live agent of the cluster offers `corpus-search`: the run waits until one does
                  `corpus-search` is needed by `s`
                  offered there: nothing
                  help: start a ready-made agent that stays: skep agent corpus --root DIR
            "#]],
        );
        check(
            "agent: oracle",
            |missing| (missing.home, missing.wait) = (Home::Cluster, Wait::Detached),
            &expect![[r#"
                no live agent of the cluster offers `oracle`: the run waits until one does
                  `oracle` is needed by `s`
                  offered there: nothing
                  help: serve it by an agent that stays: skep agent exec --agent oracle=…
            "#]],
        );
    }
}
