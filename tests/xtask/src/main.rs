//! The chores of the project: `cargo xtask check`, `cargo xtask test`, `cargo xtask bless`,
//! `cargo xtask sim`, `cargo xtask chaos`, `cargo xtask bench`.
//!
//! It runs cargo and nothing else: each chore is a list of commands, printed before they run; the
//! first one that fails ends it. Only `bench` looks at what comes out.

mod bench;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};

use bench::Bench;

/// The tests that need neither a server nor processes.
const FAST: &[&[&str]] =
    &[&["--workspace", "--exclude", "skep-tests"], &["--package", "skep-tests", "--test", "tidy"]];

/// A simulator counts once it was seen to catch; nothing else is built with the planted bugs.
const PLANTED: &[&str] =
    &["--package", "skep-sim", "--features", "planted-bugs", "--test", "planted"];

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The chores of the project")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// The fast half of CI: format, lints, tests without a server, documentation.
    Check,
    /// Everything, with a real nats-server that it finds or fetches.
    Test,
    /// Accepts what the tests see as what they expect.
    Bless,
    /// Random workflows under random faults; one seed with everything that happens, or many.
    Sim(Seeds),
    /// Half an hour of chaos over real processes: three coordinators, four agents, three
    /// nats-servers. What follows is handed on to `skep chaos`.
    Chaos {
        /// Such as --seed 7, --duration 5m.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Micro-benchmarks of the pure parts, compared with a saved baseline: the time, and where
    /// valgrind is installed the number of instructions, which other processes do not change.
    Bench(Bench),
}

#[derive(Args)]
struct Seeds {
    /// Plays this seed and tells everything.
    #[arg(long, conflicts_with_all = ["seeds", "from", "seconds"])]
    seed: Option<u64>,
    /// Plays so many seeds; without it, until one fails or the time is over.
    #[arg(long)]
    seeds: Option<u64>,
    /// Begins with this seed.
    #[arg(long)]
    from: Option<u64>,
    /// Ends after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Check => check(),
        Chore::Test => test(),
        Chore::Bless => bless(),
        Chore::Sim(seeds) => sim(&seeds),
        Chore::Chaos { arguments } => chaos(&arguments),
        Chore::Bench(bench) => bench.perform(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<()> {
    lint()?;
    doctests()?;
    FAST.iter().try_for_each(|which| tests(which))?;
    tests(PLANTED)?;
    sim(&Seeds { seed: None, seeds: None, from: None, seconds: Some(60) })
}

fn sim(seeds: &Seeds) -> Result<()> {
    let Seeds { seed, seeds, from, seconds } = *seeds;
    let given = [("--seed", seed), ("--seeds", seeds), ("--from", from), ("--seconds", seconds)];
    let given =
        given.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?.to_string()]));
    let given: Vec<String> = given.flatten().collect();
    let run = ["run", "--quiet", "--profile", "sim", "--package", "skep-sim", "--"];
    cargo(&run.into_iter().chain(given.iter().map(String::as_str)).collect::<Vec<_>>(), &[])
}

/// With the assertions of a build for development.
fn chaos(arguments: &[String]) -> Result<()> {
    let given = |option| arguments.iter().any(|one| one.starts_with(option));
    let mut run = vec!["run", "--quiet", "--package", "skep", "--", "chaos"];
    for (option, value) in [("--duration", "30m"), ("--nats-servers", "3")] {
        if !given(option) {
            run.extend([option, value]);
        }
    }
    run.extend(arguments.iter().map(String::as_str));
    cargo(&run, &[])
}

fn test() -> Result<()> {
    lint()?;
    doctests()?;
    cargo(&["build", "--package", "skep", "--bins"], &[])?;
    tests(&["--workspace"])
}

fn bless() -> Result<()> {
    // Not by nextest: tests of one file that rewrite it have to share a process.
    FAST.iter().try_for_each(|which| {
        let arguments = [&["test", "--no-fail-fast"], *which].concat();
        cargo(&arguments, &[("UPDATE_EXPECT", "1")])
    })
}

fn lint() -> Result<()> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    let deny = ["--", "--deny", "warnings"];
    cargo(&[&["clippy", "--workspace", "--all-targets"], &deny[..]].concat(), &[])?;
    let documentation =
        ["doc", "--workspace", "--no-deps", "--document-private-items", "--exclude", "xtask"];
    cargo(&documentation, &[("RUSTDOCFLAGS", "--deny warnings")])
}

fn doctests() -> Result<()> {
    cargo(&["test", "--workspace", "--doc", "--quiet"], &[])
}

/// Runs tests by nextest, or by `cargo test` where it is not installed.
fn tests(which: &[&str]) -> Result<()> {
    let runner: &[&str] = if has_nextest() { &["nextest", "run"] } else { &["test"] };
    cargo(&[runner, which].concat(), &[])
}

fn has_nextest() -> bool {
    let probe = Command::new(cargo_path()).args(["nextest", "--version"]).output();
    probe.is_ok_and(|output| output.status.success())
}

fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    say(&format!("$ cargo {}", arguments.join(" ")));
    let mut command = Command::new(cargo_path());
    command.args(arguments).envs(variables.iter().copied()).current_dir(root());
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed", arguments.join(" "));
    }
    Ok(())
}

fn cargo_path() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("it lies two folders below the root").to_path_buf()
}

#[expect(clippy::print_stderr, reason = "a chore talks to the person at the terminal")]
fn say(line: &str) {
    eprintln!("{line}");
}
