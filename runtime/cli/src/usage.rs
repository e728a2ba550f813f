//! What clap says about a command line: help on stdout, errors in the form that was asked for.

use std::ffi::OsString;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue};

use crate::cli::Cli;
use crate::error::{Error, Exit};
use crate::output::{self, Format};

/// Options of one letter that take no value and may stand before `o`, as in `-vo json`.
const LETTERS: &[char] = &['a', 'd', 'f', 'q', 'v'];

/// Prints what ended the parsing, and returns how the process ends.
pub(crate) fn report(mut error: clap::Error, args: &[OsString]) -> Exit {
    if !error.use_stderr() {
        output::data(error.render().ansi().to_string().trim_end());
        return Exit::Ok;
    }
    with_own_usage(&mut error, args);
    match format(args) {
        Format::Text => output::note(error.render().ansi().to_string().trim_end()),
        Format::Json => output::error(&as_data(&error.render().to_string()), Format::Json),
    }
    Exit::Usage
}

/// Clap's usage line holds what was given as if it were required, also what came by a variable of
/// the environment; the line of the command itself does not.
fn with_own_usage(error: &mut clap::Error, args: &[OsString]) {
    if error.get(ContextKind::Usage).is_none() {
        return;
    }
    let mut root = Cli::command();
    root.build();
    let mut command = &mut root;
    let mut rest = args.iter().skip(1).filter_map(|arg| arg.to_str());
    while let Some(name) = rest.find(|name| command.find_subcommand(name).is_some()) {
        command = command.find_subcommand_mut(name).expect("it was just found");
    }
    let usage = ContextValue::StyledStr(command.render_usage());
    error.insert(ContextKind::Usage, usage);
}

/// Returns an error of clap, which is text in paragraphs, as one of ours.
fn as_data(text: &str) -> Error {
    let mut paragraphs = text.trim().split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first);
    let lines: Vec<&str> = message.lines().map(str::trim).collect();
    let error = Error::usage(lines.join(" "));
    let more = paragraphs.flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty());
    more.fold(error, |error, line| error.help(line))
}

/// Finds out which form of output was asked for on a command line that cannot be read as a whole.
fn format(args: &[OsString]) -> Format {
    let mut format = Format::Text;
    let mut args = args.iter().filter_map(|arg| arg.to_str()).take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        let short = arg.strip_prefix('-').filter(|arg| !arg.starts_with('-'));
        let short = short.and_then(|arg| arg.trim_start_matches(LETTERS).strip_prefix('o'));
        let value = match (arg.strip_prefix("--output"), short) {
            (Some(""), _) | (_, Some("")) => args.next(),
            (Some(value), _) => value.strip_prefix('='),
            (None, Some(value)) => Some(value.strip_prefix('=').unwrap_or(value)),
            (None, None) => None,
        };
        match value {
            Some("json") => format = Format::Json,
            Some("text") => format = Format::Text,
            Some(_) | None => {}
        }
    }
    format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_errors_is_found_however_it_is_asked_for() {
        let of = |line: &str| format(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for json in ["-o json", "-ojson", "-o=json", "-vo json", "--output json", "--output=json"] {
            assert_eq!(of(&format!("skep run x {json} --fly")), Format::Json, "{json}");
        }
        for text in ["", "-o text", "-- -o json", "-o json -o text", "--outputs=json", "json"] {
            assert_eq!(of(&format!("skep run {text}")), Format::Text, "{text}");
        }
    }
}
