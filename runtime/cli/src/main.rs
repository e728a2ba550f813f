//! skep: agent swarm orchestration in one binary.
//!
//! The command line and the daemon. It is the only place where the parts of skep are chosen: which
//! broker, which agents, where state lies. It decides nothing about runs.

mod agents;
mod cli;
mod client;
mod cluster;
mod commands;
mod definition;
mod drive;
mod error;
mod follow;
mod human;
mod inputs;
mod json;
mod local;
mod output;
mod programs;
mod progress;
mod report;
mod runtime;
mod screen;
mod signals;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.global.color.apply();
    telemetry::init(cli.global.verbose, cli.command.quiet(), cli.global.output);
    match commands::perform(cli.command, &cli.global) {
        Ok(exit) => exit.into(),
        Err(error) => {
            output::error(&error, cli.global.output);
            error.exit().into()
        }
    }
}
