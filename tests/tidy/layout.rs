//! The layout of the files: what is at the top, how long they are, and their names.

use std::path::Path;

use crate::tree::{Fault, Tree, has_extension};

const MAX_MAIN_LINES: usize = 10;
const MAX_FILE_LINES: usize = 600;

/// Long files, each with the reason why it still has one job.
const LONG_FILES: &[(&str, &str)] = &[];

/// What may be at the top, besides files whose name starts with a dot.
const TOP_FOLDERS: &[&str] = &["backup", "common", "docs", "restore", "scripts", "sign", "tests", "verify"];
const TOP_FILES: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "deny.toml",
    "rustfmt.toml",
];

/// Names that mean nothing, and so collect everything.
const JUNK_DRAWERS: &[&str] = &["helper", "helpers", "misc", "util", "utils"];

pub(crate) fn strangers_at_the_top(tree: &Tree) -> Vec<Fault> {
    let mut strangers: Vec<Fault> = tree
        .files()
        .filter_map(|(path, _)| {
            let (name, is_allowed) = match path.split_once('/') {
                Some((folder, _)) => (folder, TOP_FOLDERS.contains(&folder)),
                None => (path, TOP_FILES.contains(&path)),
            };
            let is_fine = is_allowed || name.starts_with('.');
            (!is_fine).then(|| Fault::of_file(name, "does not belong at the top of the workspace"))
        })
        .collect();
    strangers.dedup();
    strangers
}

/// A binary's `main.rs` only calls its library: the length of its code shows whether it does more.
pub(crate) fn long_mains(tree: &Tree) -> Vec<Fault> {
    let mains = tree.files().filter(|(path, _)| path.ends_with("src/main.rs") || is_small_binary(path));
    mains
        .filter_map(|(path, text)| {
            let lines =
                text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
            let count = lines.count();
            (count > MAX_MAIN_LINES).then(|| {
                Fault::of_file(path, format!("has {count} lines of code, more than {MAX_MAIN_LINES}"))
            })
        })
        .collect()
}

fn is_small_binary(path: &str) -> bool {
    path.starts_with("tests/bins/") || path.contains("src/bin/")
}

pub(crate) fn long_files(tree: &Tree) -> Vec<Fault> {
    long_files_except(tree, LONG_FILES)
}

fn long_files_except(tree: &Tree, exceptions: &[(&str, &str)]) -> Vec<Fault> {
    let is_source = |path: &str| ["rs", "go", "css", "sh"].iter().any(|kind| has_extension(path, kind));
    let lines = |text: &str| text.lines().count();
    let is_excepted = |path: &str| exceptions.iter().any(|(excepted, _)| *excepted == path);
    let long = tree
        .files()
        .filter(|&(path, text)| is_source(path) && lines(text) > MAX_FILE_LINES && !is_excepted(path))
        .map(|(path, text)| {
            let what =
                format!("has {} lines, more than {MAX_FILE_LINES}: does it still have one job?", lines(text));
            Fault::of_file(path, what)
        });
    // An exception that is not needed any more would hide the next long file with that name.
    let needless = exceptions
        .iter()
        .filter(|(path, _)| tree.text(path).is_none_or(|text| lines(text) <= MAX_FILE_LINES))
        .map(|(path, _)| Fault::of_file(path, "is not long, and is still listed as an exception"));
    long.chain(needless).collect()
}

pub(crate) fn junk_drawers(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in tree.files() {
        let path_parts = Path::new(path);
        let stem = path_parts.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let folders = path_parts.parent().into_iter().flat_map(Path::iter).map(|part| part.to_string_lossy());
        let is_drawer = |name: &str| JUNK_DRAWERS.contains(&name);
        if folders.into_iter().any(|folder| is_drawer(&folder)) || is_drawer(&stem) || stem == "common" {
            faults.push(Fault::of_file(path, "has a name that says nothing about what is in it"));
        }
        for (number, line) in text.lines().enumerate().filter(|_| has_extension(path, "rs")) {
            let Some((_, name)) = line.trim_end_matches([';', '{', ' ', '}']).rsplit_once("mod ") else {
                continue;
            };
            if is_drawer(name) || name == "common" {
                faults.push(Fault::at(path, number + 1, format!("the module name `{name}` says nothing")));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(faults: &[Fault]) -> Vec<&str> {
        faults.iter().map(|fault| fault.path.as_str()).collect()
    }

    #[test]
    fn a_stranger_at_the_top_is_found_once() {
        let tree = Tree::of(&[
            ("Cargo.toml", ""),
            (".gitignore", ""),
            (".ci/run", ""),
            ("common/core/src/lib.rs", ""),
            ("notes.txt", ""),
            ("tools/one.sh", ""),
            ("tools/two.sh", ""),
        ]);
        assert_eq!(paths(&strangers_at_the_top(&tree)), ["notes.txt", "tools"]);
    }

    #[test]
    fn a_main_that_does_more_is_found() {
        let short = "//! The binary.\n\nfn main() {\n    lib::main()\n}\n";
        let long = format!("fn main() {{\n{}}}\n", "    work();\n".repeat(10));
        let tree = Tree::of(&[
            ("backup/src/main.rs", short),
            ("sign/src/main.rs", &long),
            ("tests/bins/sign.rs", &long),
            ("tests/services/main.rs", &long),
        ]);
        assert_eq!(paths(&long_mains(&tree)), ["sign/src/main.rs", "tests/bins/sign.rs"]);
    }

    #[test]
    fn a_long_file_is_found_unless_it_has_a_reason() {
        let long = "// a line\n".repeat(MAX_FILE_LINES + 1);
        let tree =
            Tree::of(&[("a.rs", &long), ("b.rs", &long), ("c.rs", "// short\n"), ("Cargo.lock", &long)]);
        assert_eq!(paths(&long_files_except(&tree, &[("b.rs", "one table")])), ["a.rs"]);
    }

    #[test]
    fn an_exception_must_be_needed() {
        let tree = Tree::of(&[("c.rs", "// short\n")]);
        let exceptions = [("c.rs", "was long"), ("gone.rs", "was there")];
        assert_eq!(paths(&long_files_except(&tree, &exceptions)), ["c.rs", "gone.rs"]);
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        let tree = Tree::of(&[
            ("common/core/src/lib.rs", "mod digest;\npub(crate) mod util {\n}\nmod utility;\n"),
            ("common/core/src/helpers.rs", ""),
            ("common/vault/src/misc/parts.rs", ""),
            ("tests/hermetic/common.rs", ""),
            ("common/vault/src/common/mod.rs", ""),
        ]);
        let faults = junk_drawers(&tree);
        assert_eq!(
            paths(&faults),
            [
                "common/core/src/helpers.rs",
                "common/core/src/lib.rs",
                "common/vault/src/misc/parts.rs",
                "tests/hermetic/common.rs",
            ]
        );
        assert_eq!(faults[1].line, Some(2));
    }
}
