//! The files of the checkout.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the checkout.
pub(crate) struct File {
    /// Its path from the root, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

/// Returns the root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the tests lie one folder below the root").to_path_buf()
}

/// Returns every readable text file below the root whose name ends in `ending`, sorted.
pub(crate) fn files(ending: &str) -> Vec<File> {
    let mut found = Vec::new();
    visit(&root(), ending, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no file ends in {ending}: the walk is broken");
    found
}

fn visit(folder: &Path, ending: &str, found: &mut Vec<File>) {
    let entries = fs::read_dir(folder).expect("folders of the checkout can be read");
    for entry in entries {
        let path = entry.expect("entries can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                visit(&path, ending, found);
            }
        } else if name.ends_with(ending)
            && let Ok(text) = fs::read_to_string(&path)
        {
            let path = path.strip_prefix(root()).expect("it lies below the root");
            found.push(File { path: path.to_string_lossy().replace('\\', "/"), text });
        }
    }
}
