//! Sub-workflows of a run without a cluster: their definitions lie beside the file.

use std::path::{Path, PathBuf};

use skep_workflow::Workflow;

use crate::definition;
use crate::error::{Error, Exit};

/// What the file of a sub-workflow may end with.
const ENDINGS: [&str; 3] = ["skep.yaml", "skep.yml", "skep.json"];

/// A definition and the file it was read from.
struct Found {
    file: String,
    workflow: Workflow,
}

/// Reads the definitions of all sub-workflows that lie beside `file` as `NAME.skep.yaml`, those of
/// sub-workflows included; the callers come after what they call. One that is nowhere is an error:
/// without a cluster nobody else has it.
pub(crate) fn beside(file: &str, workflow: &Workflow) -> Result<Vec<Workflow>, Error> {
    let folder = Path::new(file).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut found = vec![Found { file: file.to_owned(), workflow: workflow.clone() }];
    let mut next = 0;
    while let Some(caller) = found.get(next).map(|found| found.workflow.clone()) {
        next += 1;
        for (name, version) in caller.referenced_workflows() {
            let place = found.iter().position(|known| known.workflow.name() == name);
            let place = match place {
                Some(place) => place,
                None => {
                    found.push(read(&folder, name, &caller)?);
                    found.len() - 1
                }
            };
            if let Some(version) = version {
                has_version(&found[place], version, &caller)?;
            }
        }
    }
    Ok(found.into_iter().skip(1).rev().map(|found| found.workflow).collect())
}

fn read(folder: &Path, name: &str, caller: &Workflow) -> Result<Found, Error> {
    let caller = caller.name();
    let places = ENDINGS.iter().map(|ending| folder.join(format!("{name}.{ending}")));
    let there: Vec<PathBuf> = places.filter(|path| path.exists()).collect();
    let files: Vec<String> = there.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let file = match &*files {
        [] => {
            let message = format!("`{caller}` uses the workflow `{name}`, which is not there");
            return Err(Error::new(Exit::NotFound, message)
                .help(format!("put its definition beside the file, as {name}.skep.yaml")));
        }
        [one] => one.clone(),
        many => {
            let files = many.join(" and ");
            let message = format!("`{caller}` uses the workflow `{name}`, and there are {files}");
            return Err(Error::usage(message).help("keep one of them"));
        }
    };
    let workflow = definition::load_to_run(&file)?;
    if workflow.name() == name {
        return Ok(Found { file, workflow });
    }
    let other = workflow.name();
    let message = format!("`{caller}` uses the workflow `{name}`, but {file} defines `{other}`");
    Err(Error::new(Exit::InvalidDefinition, message)
        .help(format!("write `name: {name}` in {file}")))
}

fn has_version(found: &Found, wanted: &str, caller: &Workflow) -> Result<(), Error> {
    let (Found { file, workflow }, caller) = (found, caller.name());
    let name = workflow.name();
    let has = match workflow.version() {
        Some(version) if version == wanted => return Ok(()),
        Some(version) => format!("has version {version}"),
        None => "has no `version`".to_owned(),
    };
    let message = format!("`{caller}` uses `{name}@{wanted}`, but {file} {has}");
    let help =
        format!("write `version: \"{wanted}\"` in {file}, or `workflow: {name}` in `{caller}`");
    Err(Error::new(Exit::NotFound, message).help(help))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use expect_test::{Expect, expect};

    use super::*;

    fn check(call: &str, files: &[(&str, &str)], expected: &Expect) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("parent.skep.yaml");
        let text = format!("name: parent\nversion: '1'\nsteps:\n  call: {{ workflow: {call} }}\n");
        fs::write(&file, text).unwrap();
        for (name, head) in files {
            let text = format!("{head}\nsteps: {{ a: {{ wait: 1s }} }}\n");
            fs::write(folder.path().join(name), text).unwrap();
        }
        let file = file.to_string_lossy();
        let told = match beside(&file, &definition::load(&file).unwrap()) {
            Ok(called) => {
                let names = called.iter().map(|one| one.name().to_string());
                format!("found {}\n", names.collect::<Vec<_>>().join(", "))
            }
            Err(error) => {
                let exit = error.exit().number();
                format!("{exit}: {error}\n  help: {}\n", error.advice().join("\n  help: "))
            }
        };
        let here = format!("{}/", folder.path().display());
        expected.assert_eq(&told.replace(&here, ""));
    }

    #[test]
    fn a_sub_workflow_has_the_name_of_its_file() {
        check(
            "child",
            &[("child.skep.yml", "name: child")],
            &expect![[r#"
            found child
        "#]],
        );
        check(
            "child",
            &[],
            &expect![[r#"
            4: `parent` uses the workflow `child`, which is not there
              help: put its definition beside the file, as child.skep.yaml
        "#]],
        );
        check(
            "child",
            &[("child.skep.yaml", "name: kid")],
            &expect![[r#"
            3: `parent` uses the workflow `child`, but child.skep.yaml defines `kid`
              help: write `name: child` in child.skep.yaml
        "#]],
        );
    }

    #[test]
    fn of_two_files_none_is_taken() {
        let both = [("child.skep.yaml", "name: child"), ("child.skep.yml", "name: child")];
        check(
            "child",
            &both,
            &expect![[r#"
            2: `parent` uses the workflow `child`, and there are child.skep.yaml and child.skep.yml
              help: keep one of them
        "#]],
        );
    }

    #[test]
    fn a_sub_workflow_has_the_version_that_is_asked_for() {
        check(
            "child@1",
            &[("child.skep.yaml", "name: child\nversion: '1'")],
            &expect![[r#"
            found child
        "#]],
        );
        check(
            "child@1",
            &[("child.skep.yaml", "name: child\nversion: '2'")],
            &expect![[r#"
            4: `parent` uses `child@1`, but child.skep.yaml has version 2
              help: write `version: "1"` in child.skep.yaml, or `workflow: child` in `parent`
        "#]],
        );
        check(
            "child@1",
            &[("child.skep.yaml", "name: child")],
            &expect![[r#"
            4: `parent` uses `child@1`, but child.skep.yaml has no `version`
              help: write `version: "1"` in child.skep.yaml, or `workflow: child` in `parent`
        "#]],
        );
    }

    #[test]
    fn a_workflow_may_call_itself() {
        check(
            "parent@1, if: false",
            &[],
            &expect![[r#"
            found 
        "#]],
        );
        check(
            "parent@2, if: false",
            &[],
            &expect![[r#"
            4: `parent` uses `parent@2`, but parent.skep.yaml has version 1
              help: write `version: "2"` in parent.skep.yaml, or `workflow: parent` in `parent`
        "#]],
        );
    }
}
