//! Every tree from here is the one that the library gives.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::diagnostic::Problems;
use crate::parse::{Node, Review, library};

/// Tells whether the YAML of a text is ordinary. If it is, the library says the same.
fn is_ordinary(text: &str) -> bool {
    let Some(tree) = super::read(text) else { return false };
    let theirs = library::read(text, 0, &mut Problems::default());
    let theirs = theirs.unwrap_or_else(|| panic!("the library rejects {text:?}"));
    assert_eq!(reviewed(tree, text), reviewed(theirs, text), "{text:?}");
    true
}

fn reviewed(mut tree: Node, source: &str) -> String {
    let mut problems = Problems::default();
    let mut review =
        Review { shift: 0, problems: &mut problems, integer_keys: false, too_deep: false };
    review.node(&mut tree, 1);
    let found = (review.integer_keys, review.too_deep);
    format!("{tree:?} {found:?} {:?}", problems.finish(source, "f"))
}

fn files(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_definition = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "yaml" || extension == "json")
    };
    let mut paths: Vec<PathBuf> = paths.filter(is_definition).collect();
    paths.sort();
    let texts = paths.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    texts.filter(|text| text.len() < 20_000).collect()
}

static DEFINITIONS: LazyLock<Vec<String>> = LazyLock::new(|| {
    ["fixtures/valid", "fixtures/invalid", "catalog"].into_iter().flat_map(files).collect()
});

#[test]
fn the_library_agrees_on_every_definition() {
    let ordinary = DEFINITIONS.iter().filter(|text| is_ordinary(text)).count();
    let all = DEFINITIONS.len();
    assert!(ordinary * 4 > all * 3, "{ordinary} of {all} are ordinary");
}

#[test]
fn the_catalog_is_ordinary() {
    let odd: Vec<String> = files("catalog").into_iter().filter(|text| !is_ordinary(text)).collect();
    assert_eq!(odd, Vec::<String>::new());
}

#[test]
fn what_is_ordinary() {
    for text in [
        "a: b # remark\n# another\nc:\n  d: 'e''f'\n\n  g: \"h\\n\\u00e9\\\"\"",
        "a:\n- b\n- c: d\n  e:\n  - f\n-\n  - - g\n    - h: i\nj:\n  - k",
        "{\"a\":[1,-2.5e3,true,null],\n\"b\":{\"c\":\"d\"}, e: f-g, h: [ ] }\n",
        "a: |\n  b\n\n    c\n  # d\ne: >-\n  f\n  g\nh:\n- |-\n i\n",
        "a: ${{ inputs.b }} # c\n<<: ~\nb: d:e#f\nc: \"\"\nd: é\n",
    ] {
        assert!(is_ordinary(text), "{text:?}");
    }
    for text in [
        "",
        "# a",
        "a:",
        "a: b\n c",
        "a: &b c",
        "a: *b",
        "a: !!str b",
        "---\na: b",
        "%A\n---\na",
        "a:\tb",
        "a: b\r\n",
        "? a\n: b",
        "a : b",
        "1: a",
        "\"1\": a",
        "null: a",
        "a: [b, c,]",
        "a: [b c\n  d]",
        "a: {b}",
        "a: \"b\n  c\"",
        "a: [\nb]",
        "a: |2\n  b\n",
        "a: |\n  b",
        "a: >\n  b\n\n  c\n",
        "a: b: c",
        "a: 'b' c",
        "a:\n  b: c\n d: e",
        "- a\nb: c",
        "a: \u{feff}",
        "a: \"\\x41\"",
        "a: \"\\ud800\"",
        "a: @b",
        "a: [b]#c",
        "a: ~b\n...\n",
    ] {
        assert!(!is_ordinary(text), "{text:?}");
    }
}

static LONG: LazyLock<[String; 5]> = LazyLock::new(|| {
    let words = "of words ".repeat(150);
    let words = words.trim_end();
    [
        words.to_owned(),
        format!("\"{words}\""),
        format!("'{words}'"),
        format!("\"\\n{words}\""),
        "k".repeat(995),
    ]
});

/// Writes a value in ways that are chosen byte by byte.
struct Writer<'a> {
    choices: std::slice::Iter<'a, u8>,
    text: String,
}

impl Writer<'_> {
    fn choose<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[usize::from(self.choices.next().copied().unwrap_or_default()) % of.len()]
    }

    /// Chooses, rarely, what is longer than a key may be.
    fn long(&mut self) -> Option<&'static str> {
        LONG.get(usize::from(self.choices.next().copied().unwrap_or(u8::MAX))).map(String::as_str)
    }

    fn write(&mut self, of: &[&str]) {
        let chosen = self.choose(of);
        self.text += chosen;
    }

    fn scalar(&mut self) {
        if let Some(long) = self.long() {
            return self.text += long;
        }
        self.write(&[
            "a",
            "b c",
            "1",
            "-2",
            "0x1F",
            "1.5",
            ".5",
            "true",
            "No",
            "null",
            "~",
            "Null",
            "nan",
            "${{ a.b }}",
            "\"a\"",
            "'b'",
            "''",
            "\"c\\n\\t\\\\d\"",
            "'it''s'",
            "\"\\u00e9 \\/\"",
            "a#b",
            "a:b",
            "é",
            "日本 語",
            "+1",
            "-.inf",
            ".NaN",
            "1_000",
            "017",
            "a\"b",
            "(c)",
            "/d",
            "<e",
            "=f",
            "_g",
            "a\u{a0}",
            "10%",
            "2s",
            "x-1",
            "-a",
            "'1'",
            "\"# c\"",
            "a  b",
        ]);
    }

    fn key(&mut self) {
        if let Some(long) = self.long() {
            return self.text += long;
        }
        self.write(&["a", "b", "c d", "'e'", "\"f\"", "é", "g-1", "_h", "a", "<<", "x", "y", "no"]);
    }

    fn new_line(&mut self, indent: usize) {
        self.write(&["", "", "", " # r", "  "]);
        self.text += "\n";
        self.write(&["", "", "", "\n", "   \n", "# r\n", "    # r\n"]);
        self.text += &" ".repeat(indent);
    }

    fn block(&mut self, indent: usize, depth: usize) {
        let count = self.choose(&["1", "2", "3"]).len() + self.choose(&["", "+", "++"]).len();
        match self.choose(&["map", "map", "list", "flow", "scalar"]) {
            "map" if depth < 6 => {
                for nth in 0..count {
                    if nth > 0 {
                        self.new_line(indent);
                    }
                    self.key();
                    self.text += ":";
                    self.value(indent, depth);
                }
            }
            "list" if depth < 6 => {
                for nth in 0..count {
                    if nth > 0 {
                        self.new_line(indent);
                    }
                    let dash = self.choose(&["- ", "-   ", "- "]);
                    self.text += dash;
                    self.block(indent + dash.len(), depth + 1);
                }
            }
            "flow" => self.flow(indent, depth),
            _ => self.scalar(),
        }
    }

    fn value(&mut self, indent: usize, depth: usize) {
        match self.choose(&[" ", "\n", "lines", "same"]) {
            " " => {
                self.write(&[" ", "  "]);
                if self.choose(&["scalar", "flow"]) == "flow" {
                    self.flow(indent + 1, depth);
                } else {
                    self.scalar();
                }
            }
            "\n" => {
                let further = indent + self.choose(&["12", "1", "1234"]).len();
                self.new_line(further);
                self.block(further, depth + 1);
            }
            "lines" => self.lines(indent),
            _ => {
                self.new_line(indent);
                self.block(indent, depth + 1);
            }
        }
    }

    fn lines(&mut self, indent: usize) {
        self.write(&[" |", " >", " |-", " >-"]);
        let further = indent + self.choose(&["12", "1", "1234"]).len();
        for _ in 0..self.choose(&["1", "12", "123"]).len() {
            self.text += "\n";
            self.text += &" ".repeat(further);
            self.write(&["a", "b: c", "# d", "- e", "é", "", " f", "g ", "\"", "\n"]);
        }
    }

    fn flow(&mut self, indent: usize, depth: usize) {
        let kind = self.choose(&["list", "map", "scalar", "[]", "{}"]);
        if depth > 6 || kind == "scalar" {
            return self.scalar();
        }
        let (open, close) = if matches!(kind, "list" | "[]") { ("[", "]") } else { ("{", "}") };
        self.text += open;
        if kind.len() > 2 {
            for nth in 0..self.choose(&["1", "12", "123"]).len() {
                if nth > 0 {
                    self.write(&[",", ", ", " , "]);
                }
                self.flow_gap(indent);
                if kind == "map" {
                    self.key();
                    self.write(&[": ", ": ", ":", ":  "]);
                }
                self.flow(indent, depth + 1);
                self.flow_gap(indent);
            }
        }
        self.text += close;
    }

    fn flow_gap(&mut self, indent: usize) {
        if self.choose(&["", "", "", "\n"]) == "\n" {
            self.new_line(indent);
        } else {
            self.write(&["", "", " "]);
        }
    }
}

fn written(choices: &[u8]) -> String {
    let mut writer = Writer { choices: choices.iter(), text: String::new() };
    writer.block(0, 1);
    writer.text += if choices.len().is_multiple_of(4) { "" } else { "\n" };
    writer.text
}

const PIECES: &[&str] = &[
    "\n", " ", "  ", "\n  ", ":", ": ", "- ", "-", "{", "}", "[", "]", ",", "\"", "'", "#", " #",
    "&a", "*a", "!", "|", ">", "%", "@", "`", "\\", "\t", "\r", "~", "a", "1", "<<: ", "? ", "---",
    "...", "\u{a0}", "\u{85}", "\u{2028}", "\u{feff}", "é", ".", "+", "null", "''", "\n\n", "0x",
    "b: ", "\n- ", "{a: ", "[b, ", "\n    ", "|\n  ", ">-\n  ", " # c\n", "1", "b: ", "\n- ",
];

fn edited(mut text: String, edits: &[(Index, Index, bool)]) -> String {
    for (at, piece, removes) in edits {
        let mut at = at.index(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        match text[at..].chars().next() {
            Some(there) if *removes => text.replace_range(at..at + there.len_utf8(), ""),
            _ => text.insert_str(at, piece.get::<&str>(PIECES)),
        }
    }
    text
}

fn edits() -> impl Strategy<Value = Vec<(Index, Index, bool)>> {
    prop::collection::vec(any::<(Index, Index, bool)>(), 0..4)
}

proptest! {
    #[test]
    fn the_library_agrees_on_pieces(pieces in prop::collection::vec(any::<Index>(), 0..30)) {
        is_ordinary(&pieces.iter().map(|piece| *piece.get(PIECES)).collect::<String>());
    }

    #[test]
    fn the_library_agrees_on_what_is_written(
        choices in prop::collection::vec(any::<u8>(), 0..120),
        edits in edits(),
    ) {
        is_ordinary(&edited(written(&choices), &edits));
    }

    #[test]
    fn the_library_agrees_on_edited_definitions(which: Index, edits in edits()) {
        is_ordinary(&edited(which.get(&DEFINITIONS).clone(), &edits));
    }
}
