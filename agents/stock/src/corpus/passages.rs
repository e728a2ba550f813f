//! From the text of a file to passages: pieces of a size that can be searched and quoted.

/// A passage ends at the next blank line once it has this many bytes …
const TARGET: usize = 700;
/// … and before any line that would make it longer than this.
const MAX: usize = 1_600;

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passage {
    /// Its first line, from 1.
    pub(super) first_line: u32,
    /// Its last line.
    pub(super) last_line: u32,
    /// The heading it stands under; empty if there is none.
    pub(super) heading: String,
    /// Its text.
    pub(super) text: String,
}

/// Cuts a text into passages, in order.
pub(super) fn cut(file: &str, text: &str) -> Vec<Passage> {
    let mut cutter = Cutter::default();
    let is_markdown = is_markdown(file);
    let mut fenced = false;
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let start = line.trim_start();
        if start.starts_with("```") || start.starts_with("~~~") {
            fenced = !fenced;
        }
        match heading(line) {
            Some(heading) if is_markdown && !fenced => {
                cutter.end();
                heading.clone_into(&mut cutter.heading);
                cutter.take(number, line);
            }
            _ => cutter.take(number, line),
        }
    }
    cutter.end();
    cutter.done
}

fn is_markdown(file: &str) -> bool {
    let name = file.to_ascii_lowercase();
    [".md", ".markdown", ".mdx"].iter().any(|end| name.ends_with(end))
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    let heading = text.strip_prefix(' ')?.trim().trim_end_matches('#').trim_end();
    ((1..=6).contains(&level) && !heading.is_empty()).then_some(heading)
}

#[derive(Default)]
struct Cutter {
    done: Vec<Passage>,
    heading: String,
    text: String,
    first_line: u32,
    last_line: u32,
}

impl Cutter {
    fn take(&mut self, number: u32, line: &str) {
        let line = line.trim_end();
        if line.is_empty() {
            if self.text.len() >= TARGET {
                self.end();
            } else if !self.text.is_empty() {
                self.text.push('\n');
            }
            return;
        }
        for piece in pieces(line) {
            if self.text.len() + piece.len() > MAX {
                self.end();
            }
            if self.text.trim_end().is_empty() {
                self.text.clear();
                self.first_line = number;
            }
            self.text.push_str(piece);
            self.text.push('\n');
            self.last_line = number;
        }
    }

    fn end(&mut self) {
        let text = self.text.trim_end();
        if !text.is_empty() {
            self.done.push(Passage {
                first_line: self.first_line,
                last_line: self.last_line,
                heading: self.heading.clone(),
                text: text.to_owned(),
            });
        }
        self.text.clear();
    }
}

/// Cuts a line that is longer than a passage, at white space if there is any near.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = if rest.len() <= MAX {
            rest.len()
        } else {
            let end = rest.floor_char_boundary(MAX);
            rest[..end].rfind(char::is_whitespace).filter(|space| *space > MAX / 2).unwrap_or(end)
        };
        let (piece, after) = rest.split_at(end);
        rest = after.trim_start();
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn check(file: &str, text: &str, expected: Expect) {
        let show = |passage: Passage| {
            let Passage { first_line, last_line, heading, text } = passage;
            let text = if text.len() > 60 { format!("<{} bytes>", text.len()) } else { text };
            format!("{first_line}-{last_line} [{heading}] {text:?}\n")
        };
        expected.assert_eq(&cut(file, text).into_iter().map(show).collect::<String>());
    }

    #[test]
    fn markdown_is_cut_at_headings() {
        check(
            "a.md",
            "intro\n\n# One #\ntext\n\n## Two\n\n```sh\n# no heading\n```\n#no heading\n",
            expect![[r###"
                1-1 [] "intro"
                3-4 [One] "# One #\ntext"
                6-11 [Two] "## Two\n\n```sh\n# no heading\n```\n#no heading"
            "###]],
        );
        check(
            "a.py",
            "# a comment\nprint(1)\n",
            expect![[r##"
            1-2 [] "# a comment\nprint(1)"
        "##]],
        );
    }

    #[test]
    fn long_texts_are_cut_at_blank_lines_and_before_they_grow_too_long() {
        let paragraph = "word ".repeat(60);
        check(
            "a.txt",
            &format!("{paragraph}\n\n").repeat(6),
            expect![[r#"
            1-5 [] "<901 bytes>"
            7-11 [] "<901 bytes>"
        "#]],
        );
        check(
            "a.txt",
            &format!("{paragraph}\n").repeat(12),
            expect![[r#"
            1-5 [] "<1499 bytes>"
            6-10 [] "<1499 bytes>"
            11-12 [] "<599 bytes>"
        "#]],
        );
        check(
            "a.txt",
            &"word ".repeat(1000),
            expect![[r#"
                1-1 [] "<1599 bytes>"
                1-1 [] "<1599 bytes>"
                1-1 [] "<1599 bytes>"
                1-1 [] "<199 bytes>"
            "#]],
        );
        check(
            "a.txt",
            &"é".repeat(2000),
            expect![[r#"
            1-1 [] "<1600 bytes>"
            1-1 [] "<1600 bytes>"
            1-1 [] "<800 bytes>"
        "#]],
        );
        check(
            "a.txt",
            "\u{feff}\n\n  \n\nonly\n\n",
            expect![[r#"
            5-5 [] "only"
        "#]],
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_lines_are_right(text in "([a-zé#` ]{0,30}\n){0,80}") {
            let passages = cut("a.md", &text);
            let lines: Vec<&str> = text.lines().collect();
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let all: Vec<_> = passages.iter().flat_map(|passage| words(&passage.text)).collect();
            prop_assert_eq!(all, words(&text));
            for passage in &passages {
                let range = passage.first_line as usize - 1..passage.last_line as usize;
                prop_assert_eq!(words(&passage.text), words(&lines[range].join("\n")));
                prop_assert!(passage.text.len() <= MAX + 40);
            }
        }
    }
}
