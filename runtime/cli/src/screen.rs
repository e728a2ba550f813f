//! A few lines at the bottom of the terminal that are drawn again and again.

use std::io::Write as _;

use console::Term;

/// The lines that were drawn last. The cursor rests below them, so that what the terminal echoes
/// (`^C`) does not shift them.
#[derive(Debug)]
pub(crate) struct Screen {
    term: Term,
    drawn: usize,
}

impl Screen {
    /// Starts with nothing drawn, on stderr.
    pub(crate) fn new() -> Self {
        Self { term: Term::buffered_stderr(), drawn: 0 }
    }

    /// Returns how many lines of how many columns fit.
    pub(crate) fn space(&self) -> (usize, usize) {
        let (height, width) = self.term.size_checked().unwrap_or((24, 80));
        (usize::from(height).saturating_sub(2).max(1), usize::from(width).max(20) - 1)
    }

    /// Draws lines in place of those before, at once, so that nothing flickers.
    pub(crate) fn draw(&mut self, lines: &[String]) {
        let width = self.space().1;
        let mut frame = self.up();
        for line in lines {
            frame.push_str(&console::truncate_str(line, width, "…"));
            frame.push_str("\u{1b}[K\r\n");
        }
        frame.push_str("\u{1b}[J");
        self.write(&frame);
        self.drawn = lines.len();
    }

    /// Leaves the terminal as it was before the drawing.
    pub(crate) fn clear(&mut self) {
        if self.drawn > 0 {
            let frame = self.up() + "\u{1b}[J";
            self.write(&frame);
            self.drawn = 0;
        }
    }

    fn up(&self) -> String {
        match self.drawn {
            0 => "\r".to_owned(),
            lines => format!("\u{1b}[{lines}A\r"),
        }
    }

    /// A terminal that is gone is nobody's concern: failed writes are dropped.
    fn write(&mut self, frame: &str) {
        let _ = self.term.write_all(frame.as_bytes());
        let _ = self.term.flush();
    }
}
