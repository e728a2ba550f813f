//! Runs the benchmarks: once for the time, and once under valgrind, which counts instructions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context as _, Result, bail};

use super::sheet::{Figure, Settings, Sheet, number};
use crate::{cargo, cargo_path, root, say};

const BENCH: [&str; 5] = ["bench", "--package", "skep-benches", "--bench", "micro"];

/// Measures whatever has `filter` in its name.
pub(super) fn measure(filter: Option<&str>) -> Result<Sheet> {
    cargo(&[&BENCH[..], &["--no-run"]].concat(), &[])?;
    say("taking the time, for about a minute");
    let mut arguments = vec!["--quiet", "--"];
    arguments.extend(filter);
    arguments.push("--quiet");
    let timed = output(&arguments)?;
    let counted = match has_valgrind() {
        true => count(filter.unwrap_or_default())?,
        false => {
            say("valgrind is not installed: instructions are not counted, the time decides");
            BTreeMap::new()
        }
    };
    sheet(&timed, &counted)
}

/// Returns how many instructions each benchmark takes.
fn count(filter: &str) -> Result<BTreeMap<String, f64>> {
    say("counting instructions, for one or two minutes");
    let folder = root().join("target/xtask-bench");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("cannot clean up")?;
    }
    fs::create_dir_all(&folder).context("cannot create a folder")?;
    let runner = format!(
        "target.'cfg(all())'.runner = ['valgrind', '--tool=callgrind', '--quiet', \
         '--collect-atstart=no', '--toggle-collect=*counted_work*', '--dump-before=*next_case*', \
         '--callgrind-out-file={}']",
        folder.join("out").display()
    );
    let printed = output(&["--quiet", "--config", &runner, "--", "--count", filter])?;
    counts(&printed, |part| {
        let path = folder.join(format!("out.{part}"));
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    })
}

/// Reads what was printed and, for each benchmark, what the profiler wrote down.
fn counts(
    printed: &str,
    profile: impl Fn(usize) -> Result<String>,
) -> Result<BTreeMap<String, f64>> {
    let mut counts = BTreeMap::new();
    for (index, columns) in lines(printed, "counted").enumerate() {
        let [name, _, times] = columns[..] else { bail!("no counted benchmark: {columns:?}") };
        let profile = profile(index + 1)?;
        let total = profile.lines().find_map(|line| line.strip_prefix("summary:"));
        let total = number(total.context("the profile has no summary")?.trim());
        let total = total.with_context(|| format!("nothing was counted for {name}"))?;
        counts.insert(name.to_owned(), total / number(times)?);
    }
    Ok(counts)
}

fn sheet(timed: &str, counted: &BTreeMap<String, f64>) -> Result<Sheet> {
    let figures = lines(timed, "time").map(|columns| {
        let [name, each, nanoseconds] = columns[..] else { bail!("no timed one: {columns:?}") };
        Ok(Figure {
            name: name.to_owned(),
            each: each.to_owned(),
            nanoseconds: number(nanoseconds)?,
            instructions: counted.get(name).copied(),
        })
    });
    let figures = figures.collect::<Result<_>>()?;
    let yardstick = lines(timed, "yardstick").next().and_then(|columns| columns.first().copied());
    let yardstick = yardstick.map_or(Ok(1.0), number)?;
    Ok(Sheet { settings: settings(yardstick)?, figures })
}

/// Returns the columns of the lines that begin with a word.
fn lines<'a>(printed: &'a str, word: &str) -> impl Iterator<Item = Vec<&'a str>> {
    let lines = printed.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    lines.filter(move |columns| columns[0] == word).map(|columns| columns[1..].to_vec())
}

fn settings(yardstick: f64) -> Result<Settings> {
    let version = Command::new("rustc").arg("--version").current_dir(root()).output();
    let compiler = version.context("cannot ask rustc for its version")?.stdout;
    let compiler = String::from_utf8_lossy(&compiler).trim().to_owned();
    let cores = available_parallelism().map_or(1, usize::from).to_string();
    Ok(Settings { processor: processor(), cores, compiler, yardstick })
}

fn processor() -> String {
    let info = fs::read_to_string(Path::new("/proc/cpuinfo")).unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or(std::env::consts::ARCH, |(_, name)| name.trim()).to_owned()
}

fn has_valgrind() -> bool {
    let probe = Command::new("valgrind").arg("--version").output();
    probe.is_ok_and(|output| output.status.success())
}

/// Runs the benchmarks and returns what they print.
fn output(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(cargo_path());
    command.args(BENCH).args(arguments).current_dir(root());
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the benchmarks failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("the benchmarks print no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_and_what_was_counted_belong_together() {
        let printed = "noise\ncounted\ta/b\tstep\t10\ncounted\tc\trun\t2\n";
        let profile = |part| Ok(format!("version: 1\nsummary: {}\n\n", part * 100));
        let counted = counts(printed, profile).unwrap();
        let timed = "a/b   time: [1 µs]\ntime\ta/b\tstep\t7.5\ntime\td\trun\t8\nyardstick\t9\n";
        let found = sheet(timed, &counted).unwrap();
        assert_eq!(found.settings.yardstick, 9.0);
        let figures: Vec<_> =
            found.figures.iter().map(|it| (it.nanoseconds, it.instructions)).collect();
        assert_eq!(figures, [(7.5, Some(10.0)), (8.0, None)]);
        assert_eq!(counted["c"], 100.0);
    }

    #[test]
    fn a_count_that_is_missing_is_told() {
        let printed = "counted\ta\tstep\t10\n";
        let error = counts(printed, |_| Ok("summary: 0\n".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "nothing was counted for a");
        let error = counts(printed, |_| Ok("events: Ir\n".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "the profile has no summary");
    }
}
