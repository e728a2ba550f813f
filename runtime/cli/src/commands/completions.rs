//! `skep completions`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::error::{Error, Exit};
use crate::output;

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(
    after_help = "bash:  skep completions bash > ~/.local/share/bash-completion/completions/skep\n\
                        zsh:   skep completions zsh > \"${fpath[1]}/_skep\"\n\
                        fish:  skep completions fish > ~/.config/fish/completions/skep.fish"
)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(crate) fn perform(self) -> Result<Exit, Error> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "skep", &mut script);
        output::data(String::from_utf8_lossy(&script).trim_end());
        Ok(Exit::Ok)
    }
}
