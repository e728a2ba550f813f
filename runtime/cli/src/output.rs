//! The only file that prints. Data goes to stdout, everything else to stderr.
//!
//! Whoever closes the pipe early (`skep list | head`) has seen enough. Any other failure to write
//! data is remembered, and ends the process with an error.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;

use crate::error::Error;
use crate::screen::Screen;

/// In which form data is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// When colour is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal that has it.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Colour {
    /// Makes it the choice for the whole process.
    pub(crate) fn apply(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::AlwaysAnsi,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// The red of what went wrong.
pub(crate) const RED: Style = AnsiColor::Red.on_default();
/// The green of what went well.
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
/// The yellow of what needs a look.
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
/// The blue of what is under way.
pub(crate) const CYAN: Style = AnsiColor::Cyan.on_default();
/// What matters most.
pub(crate) const BOLD: Style = Style::new().bold();
/// What matters least.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Wraps a text in a style; printing strips it where there is no colour.
pub(crate) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The drawing at the bottom of the terminal, if there is one: whatever else is printed goes above.
static SCREEN: Mutex<Option<Screen>> = Mutex::new(None);

fn screen() -> MutexGuard<'static, Option<Screen>> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Draws at the bottom of the terminal, in place of what was drawn there before. The lines depend
/// on the space there is: so many lines, so many columns.
pub(crate) fn draw(lines: impl FnOnce(usize, usize) -> Vec<String>) {
    let mut screen = screen();
    let screen = screen.get_or_insert_with(Screen::new);
    let (height, width) = screen.space();
    let mut lines = lines(height, width);
    if !has_colour() {
        let plain = |line: &mut String| *line = anstream::adapter::strip_str(line).to_string();
        lines.iter_mut().for_each(plain);
    }
    screen.draw(&lines);
}

/// Prints lines in place of what was drawn, and draws no more.
pub(crate) fn leave_drawing(lines: impl FnOnce(usize, usize) -> Vec<String>) {
    let space = screen().get_or_insert_with(Screen::new).space();
    let lines = lines(space.0, space.1);
    end_drawing();
    lines.iter().for_each(note);
}

/// Leaves the terminal as it was before anything was drawn.
pub(crate) fn end_drawing() {
    if let Some(mut screen) = screen().take() {
        screen.clear();
    }
}

fn above_the_drawing(print: impl FnOnce()) {
    let mut screen = screen();
    if let Some(screen) = screen.as_mut() {
        screen.clear();
    }
    print();
}

/// Prints a line (or several) of data.
pub(crate) fn data(text: impl std::fmt::Display) {
    above_the_drawing(|| {
        let mut out = anstream::stdout().lock();
        let written = writeln!(out, "{text}").and_then(|()| out.flush());
        if let Err(error) = written
            && error.kind() != ErrorKind::BrokenPipe
        {
            // The first one says why; those after it follow from it.
            LOST.get_or_init(|| error);
        }
    });
}

/// Why data could not be written, if it could not.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Returns why data could not be written, if it could not.
pub(crate) fn lost() -> Option<&'static io::Error> {
    LOST.get()
}

/// Returns how many columns there are for data, on a terminal.
pub(crate) fn columns() -> Option<usize> {
    let term = console::Term::stdout();
    let size = if term.is_term() { term.size_checked() } else { None };
    size.map(|(_, columns)| usize::from(columns).max(20))
}

/// Prints data as one indented JSON document.
pub(crate) fn json(value: &impl Serialize) {
    data(serde_json::to_string_pretty(value).expect("what is printed has a JSON form"));
}

/// Prints data as one line of JSON, one of many.
pub(crate) fn json_line(value: &impl Serialize) {
    data(serde_json::to_string(value).expect("what is printed has a JSON form"));
}

/// Tells the person at the terminal something.
pub(crate) fn note(text: impl std::fmt::Display) {
    above_the_drawing(|| {
        let _ = writeln!(anstream::stderr().lock(), "{text}");
    });
}

/// Warns the person at the terminal; further lines are indented below the first.
pub(crate) fn warn(text: impl std::fmt::Display) {
    note(format!("{}: {text}", paint(YELLOW.bold(), "warning")));
}

/// Prints what ended the command.
pub(crate) fn error(error: &Error, format: Format) {
    if format == Format::Json {
        note(error.to_json());
        return;
    }
    if let Some(drawing) = error.drawing() {
        note(drawing.trim_end());
        note("");
    }
    note(format!("{}: {error}", paint(RED.bold(), "error")));
    for line in error.advice() {
        note(format!("  {}: {line}", paint(CYAN, "help")));
    }
}

/// Returns whether a person sees what goes to stderr, on a terminal that can be drawn on.
pub(crate) fn is_live() -> bool {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    io::stderr().is_terminal() && !dumb
}

/// Returns whether drawings on stderr are in colour.
pub(crate) fn has_colour() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paint_ends_what_it_starts() {
        assert_eq!(paint(RED, "x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
