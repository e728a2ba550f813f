//! Hostile inputs as files, one case each, and the table of their causes.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use expect_test::expect_file;

/// What is expected of the files of a folder lies in it under this name.
const CAUSES: &str = "causes.txt";
/// No cause is longer, in bytes: it is read by people.
const LONGEST: usize = 4 * 1024;

/// One hostile input.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// Its kind and the name of its file.
    pub(crate) name: String,
    /// What is sent.
    pub(crate) bytes: Vec<u8>,
}

impl Case {
    /// Returns the name of its file without the ending.
    pub(crate) fn stem(&self) -> &str {
        let file = self.name.rsplit('/').next().unwrap_or_default();
        file.split('.').next().unwrap_or_default()
    }

    /// Returns the same case with something put in where the file leaves it open.
    pub(crate) fn filled(mut self, open: &str, with: &str) -> Self {
        if let Ok(text) = str::from_utf8(&self.bytes)
            && text.contains(open)
        {
            self.bytes = text.replace(open, with).into_bytes();
        }
        self
    }
}

fn folder(kind: &str) -> PathBuf {
    skep_tests::root().join("tests/hostile").join(kind)
}

/// Returns the cases of one kind, by name.
pub(crate) fn cases(kind: &str) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder(kind)).with_context(|| format!("no cases of {kind}"))? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() || file == CAUSES {
            continue;
        }
        let name = format!("{kind}/{file}");
        let mut bytes = fs::read(&path)?;
        if file.ends_with(".recipe") {
            let recipe = str::from_utf8(&bytes).context("a recipe is text")?;
            bytes = expand(recipe).with_context(|| name.clone())?;
        }
        cases.push(Case { name, bytes });
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

/// Makes what is too large, or too odd, to be kept. Each line is a text in JSON, or `COUNT x` and a
/// text that is repeated, in which `{n}` counts and `{n+1}` is the next one, or `hex` and bytes;
/// one that begins with `#` is a remark.
fn expand(recipe: &str) -> Result<Vec<u8>> {
    let mut made = Vec::new();
    for line in recipe.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(bytes) = line.strip_prefix("hex ") {
            for byte in bytes.split(' ') {
                made.push(u8::from_str_radix(byte, 16)?);
            }
            continue;
        }
        let (count, text) = match line.split_once(" x ") {
            Some((count, text)) if !line.starts_with('"') => (count.parse::<usize>()?, text),
            _ => (1, line),
        };
        let text: String = serde_json::from_str(text).with_context(|| format!("in `{line}`"))?;
        if !text.contains("{n") {
            made.extend(text.as_bytes().repeat(count));
            continue;
        }
        for n in 0..count {
            let next = (n + 1) % count;
            let text = text.replace("{n}", &n.to_string()).replace("{n+1}", &next.to_string());
            made.extend(text.as_bytes());
        }
    }
    Ok(made)
}

/// Holds the causes of a kind against the table that lies beside its files; `UPDATE_EXPECT=1`
/// writes it.
pub(crate) fn compare(kind: &str, causes: &[(Case, String)]) -> Result<()> {
    let (mut table, mut long) = (String::new(), Vec::new());
    for (case, cause) in causes {
        if cause.len() > LONGEST {
            long.push(format!("{}: {} bytes: {cause:.200}", case.name, cause.len()));
        }
        let file = case.name.rsplit('/').next().unwrap_or_default();
        table.push_str(&format!("{file}\n"));
        table.extend(cause.lines().map(|line| format!("    {}\n", shown(line))));
    }
    ensure!(long.is_empty(), "causes are too long:\n{}", long.join("\n"));
    expect_file![folder(kind).join(CAUSES)].assert_eq(&table);
    Ok(())
}

/// What cannot be seen is written out: a table is read as text. The names that would have been
/// known are left out, because they become more.
fn shown(line: &str) -> String {
    if let Some((before, after)) = line.split_once("expected one of `") {
        let place = after.rsplit_once("` at line ").map_or("", |(_, place)| place);
        return format!("{}expected one of … at line {place}", shown(before));
    }
    let plain = |c: char| matches!(c, '"' | '\'' | '\\');
    line.chars()
        .map(|c| if plain(c) { c.to_string() } else { c.escape_debug().to_string() })
        .collect()
}

#[test]
fn recipes_repeat_and_count() -> Result<()> {
    let recipe = "# a ring\n\"a\\n\"\n3 x \"{n}>{n+1} \"\n2 x \"--\"\nhex ff 00\n";
    let expected = b"a\n0>1 1>2 2>0 ----\xff\0";
    ensure!(expand(recipe)? == expected, "{:?}", expand(recipe)?.escape_ascii());
    ensure!(expand("two x \"a\"").is_err(), "a count that is none was taken");
    Ok(())
}
