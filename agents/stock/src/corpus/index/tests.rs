//! An index with few files.

use super::*;
use crate::corpus::passages::cut;

fn index(files: &[(&str, &str)]) -> (tempfile::TempDir, Index) {
    let home = tempfile::tempdir().unwrap();
    let mut index = Index::create(&home.path().join("i.sqlite")).unwrap();
    for (file, text) in files {
        index.put(file, text, &cut(file, text)).unwrap();
    }
    (home, index)
}

fn found(index: &Index, question: &str) -> Vec<String> {
    let show = |found: Found| format!("{}:{}", found.file, found.first_line);
    index.search(question, 10).unwrap().passages.into_iter().map(show).collect()
}

const FILES: [(&str, &str); 4] = [
    ("a.md", "# Bees\nA skep is a woven hive.\n\n# Wasps\nThey build nests of paper.\n"),
    ("b.md", "# Boats\nA boat floats.\n"),
    ("c.md", "# Bees\nA skep is a woven hive.\n"),
    ("d.md", "# Weaving\nBaskets and hives were woven of straw.\n"),
];

#[test]
fn the_best_passages_come_first_and_texts_once() {
    let (_home, index) = index(&FILES);
    assert_eq!(found(&index, "What is a woven hive?"), ["a.md:1", "d.md:1"]);
    assert_eq!(found(&index, "nest"), ["a.md:4"], "stems meet");
    assert_eq!(found(&index, "submarine"), Vec::<String>::new());
    assert_eq!(found(&index, "?"), Vec::<String>::new());
    assert_eq!(index.search("woven hive", 1).unwrap().passages.len(), 1);
    let terms = index.search("boats or hives", 1).unwrap().terms;
    assert!(terms["boats"] > terms["hives"], "{terms:?}");
}

#[test]
fn the_order_of_arrival_changes_nothing() {
    let (_first, forwards) = index(&FILES);
    let mut reversed = FILES;
    reversed.reverse();
    let (_second, backwards) = index(&reversed);
    for question in ["woven hive", "a skep", "paper boats"] {
        let search = forwards.search(question, 10).unwrap();
        assert_eq!(search, backwards.search(question, 10).unwrap());
    }
}

#[test]
fn a_file_that_comes_again_replaces_itself() {
    let (_home, mut index) = index(&FILES);
    let before = index.search("woven hive", 10).unwrap();
    let (file, text) = FILES[0];
    let again = index.put(file, text, &cut(file, text)).unwrap();
    assert_eq!((again.passages, again.bytes), (2, text.len() as u64));
    assert_eq!(index.search("woven hive", 10).unwrap(), before);

    index.put(file, "Only ships.\n", &cut(file, "Only ships.\n")).unwrap();
    assert_eq!(found(&index, "ships"), ["a.md:1"]);
    assert_eq!(found(&index, "nests"), Vec::<String>::new());
    assert_eq!(index.files().unwrap().len(), 4);
}

#[test]
fn bad_files_are_remembered_until_they_are_good() {
    let (_home, mut index) = index(&[]);
    index.put_bad("x", "empty_file").unwrap();
    index.put_bad("x", "binary_file").unwrap();
    let bad = index.bad().unwrap();
    assert_eq!(bad, BTreeMap::from([("x".to_owned(), "binary_file".to_owned())]));
    index.put("x", "text", &cut("x", "text")).unwrap();
    assert_eq!(index.bad().unwrap(), BTreeMap::new());
}

#[test]
fn a_file_that_becomes_bad_is_found_no_more() {
    let (_home, mut index) = index(&FILES);
    index.put_bad("d.md", "empty_file").unwrap();
    assert_eq!(found(&index, "baskets"), Vec::<String>::new());
    assert_eq!(found(&index, "woven"), ["a.md:1"]);
    assert!(!index.files().unwrap().contains("d.md"));
    let (file, text) = FILES[3];
    index.put(file, text, &cut(file, text)).unwrap();
    assert_eq!(found(&index, "baskets"), ["d.md:1"]);
}

#[test]
fn questions_are_never_read_as_queries() {
    let (_home, index) = index(&FILES);
    for question in ["\"", "a OR", "NEAR(", "heading:x", "*", "^", "x AND NOT", "'; DROP TABLE"] {
        index.search(question, 10).unwrap();
    }
}

#[test]
fn long_work_ends_when_it_is_told_to() {
    let (_home, mut index) = index(&FILES);
    let text = "# A\nwoven\n".repeat(2_000);
    let stop = CancellationToken::new();
    index.stop_on(stop.clone()).unwrap();
    index.put("long.md", &text, &cut("long.md", &text)).unwrap();
    stop.cancel();
    index.search("woven", 10).unwrap_err();
    let again = text.replace("woven", "wooden");
    index.put("long.md", &again, &cut("long.md", &again)).unwrap_err();
    index.stop_on(CancellationToken::new()).unwrap();
    assert_eq!(found(&index, "wooden"), Vec::<String>::new(), "it is put whole or not at all");
    assert_eq!(found(&index, "woven")[0], "long.md:1");
}

#[test]
fn only_an_index_that_is_there_is_opened() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("missing.sqlite");
    assert!(Index::open(&path).is_err());
    assert!(!path.exists());
}
