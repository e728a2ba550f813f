//! skep: agent swarm orchestration in one binary.
//!
//! The command line and the daemon. It is the only place where the parts of skep are chosen: which
//! broker, which agents, where state lies. It decides nothing about runs.

mod agents;
mod awaited;
mod beside;
mod cli;
mod client;
mod cluster;
mod commands;
mod definition;
mod details;
mod drive;
mod error;
mod follow;
mod human;
mod inputs;
mod json;
mod local;
mod missing;
mod output;
mod process;
mod programs;
mod progress;
mod report;
mod runtime;
mod screen;
mod signals;
mod telemetry;
mod usage;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::error::{Error, Exit};
use crate::output::Format;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::end_with_parent();
    let args: Vec<_> = std::env::args_os().collect();
    let (exit, format) = match Cli::try_parse_from(&args) {
        Ok(cli) => {
            let format = cli.global.output;
            (perform(cli), format)
        }
        Err(error) => (usage::report(error, &args), Format::Text),
    };
    written(exit, format).into()
}

fn perform(cli: Cli) -> Exit {
    cli.global.color.apply();
    telemetry::init(cli.global.verbose, cli.command.quiet(), cli.global.output);
    commands::perform(cli.command, &cli.global).unwrap_or_else(|error| {
        output::error(&error, cli.global.output);
        error.exit()
    })
}

/// A command whose data was lost did not do what was asked, whatever else it did.
fn written(exit: Exit, format: Format) -> Exit {
    let Some(lost) = output::lost() else { return exit };
    let error = Error::new(Exit::Failed, format!("cannot write to stdout: {lost}"));
    output::error(&error, format);
    if exit == Exit::Ok { error.exit() } else { exit }
}
