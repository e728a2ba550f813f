//! Figures and what they were taken under, as a text that people read, too.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Error, Result, bail, ensure};

/// What was measured in one go.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sheet {
    pub(super) settings: Settings,
    pub(super) figures: Vec<Figure>,
}

/// Where it was measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub(super) processor: String,
    pub(super) cores: String,
    pub(super) compiler: String,
    /// Nanoseconds for a piece of work that never changes: tells a fast machine from a slow one.
    pub(super) yardstick: f64,
}

/// What one benchmark came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) name: String,
    /// What the numbers are for: one step, a million records.
    pub(super) each: String,
    pub(super) nanoseconds: f64,
    /// Known where valgrind is installed.
    pub(super) instructions: Option<f64>,
}

const NOT_COUNTED: &str = "-";

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { processor, cores, compiler, yardstick } = &self.settings;
        writeln!(
            f,
            "# Written by `cargo xtask bench --save`; runtime/PERFORMANCE.md explains it."
        )?;
        writeln!(f, "processor: {processor}\ncores: {cores}\ncompiler: {compiler}")?;
        writeln!(f, "yardstick: {yardstick:.0}\n")?;
        writeln!(f, "# name | each | nanoseconds | instructions")?;
        for Figure { name, each, nanoseconds, instructions } in &self.figures {
            let counted = instructions.map(|number| format!("{number:.0}"));
            let counted = counted.as_deref().unwrap_or(NOT_COUNTED);
            writeln!(f, "{name} | {each} | {nanoseconds:.0} | {counted}")?;
        }
        Ok(())
    }
}

impl FromStr for Sheet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let said = |key: &str| {
            let mut values = text.lines().filter_map(|line| line.strip_prefix(key));
            values.next().map(|value| value.trim().to_owned()).with_context(|| format!("no {key}"))
        };
        let settings = Settings {
            processor: said("processor:")?,
            cores: said("cores:")?,
            compiler: said("compiler:")?,
            yardstick: number(&said("yardstick:")?)?,
        };
        let lines = text.lines().filter(|line| line.contains(" | ") && !line.starts_with('#'));
        let figures = lines.map(|line| figure(line).with_context(|| format!("line `{line}`")));
        Ok(Self { settings, figures: figures.collect::<Result<_>>()? })
    }
}

fn figure(line: &str) -> Result<Figure> {
    let parts: Vec<&str> = line.split(" | ").map(str::trim).collect();
    let [name, each, nanoseconds, instructions] = parts[..] else { bail!("not four columns") };
    let instructions = (instructions != NOT_COUNTED).then(|| number(instructions)).transpose()?;
    let (name, each) = (name.to_owned(), each.to_owned());
    Ok(Figure { name, each, nanoseconds: number(nanoseconds)?, instructions })
}

/// Reads a measured number, which is never zero.
pub(super) fn number(text: &str) -> Result<f64> {
    let number: f64 = text.parse().with_context(|| format!("`{text}` is no number"))?;
    ensure!(number.is_finite() && number > 0.0, "`{text}` cannot have been measured");
    Ok(number)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn sheet(yardstick: f64, figures: &[(&str, f64, Option<f64>)]) -> Sheet {
        let figures = figures.iter().map(|(name, nanoseconds, instructions)| Figure {
            name: (*name).to_owned(),
            each: "step".to_owned(),
            nanoseconds: *nanoseconds,
            instructions: *instructions,
        });
        let settings = Settings {
            processor: "Z80".to_owned(),
            cores: "1".to_owned(),
            compiler: "rustc 1.95.0".to_owned(),
            yardstick,
        };
        Sheet { settings, figures: figures.collect() }
    }

    #[test]
    fn what_was_saved_is_read() {
        let saved = sheet(81_234.0, &[("a/read it", 1_200.0, Some(17.0)), ("b", 3e9, None)]);
        let text = saved.to_string();
        assert_eq!(text.parse::<Sheet>().unwrap(), saved, "{text}");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let red = |line: &str, expected: &str| {
            let text = sheet(1.0, &[]).to_string() + line;
            let error = text.parse::<Sheet>().unwrap_err();
            assert_eq!(format!("{error:#}"), format!("line `{line}`: {expected}"));
        };
        red("a | step | 7", "not four columns");
        red("a | step | x | 7", "`x` is no number: invalid float literal");
        red("a | step | 7 | 0", "`0` cannot have been measured");
        red("a | step | NaN | -", "`NaN` cannot have been measured");
        let without = sheet(1.0, &[]).to_string().replace("cores: 1\n", "");
        assert_eq!(without.parse::<Sheet>().unwrap_err().to_string(), "no cores:");
    }
}
