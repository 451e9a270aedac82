//! The files of the workspace, as the checks see them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

/// Paths relative to the top, with `/` between their parts, and the text of each file.
#[derive(Debug, Default)]
pub(crate) struct Tree(BTreeMap<String, String>);

/// A fault that a check found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) path: String,
    /// From 1; `None` for the whole file.
    pub(crate) line: Option<usize>,
    pub(crate) what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.what),
            None => write!(f, "{}: {}", self.path, self.what),
        }
    }
}

impl Fault {
    pub(crate) fn of_file(path: &str, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, what: what.into() }
    }

    pub(crate) fn at(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), what: what.into() }
    }
}

impl Tree {
    /// The workspace that this test was built in, without version control and build output.
    pub(crate) fn of_workspace() -> Self {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut tree = Self::default();
        tree.add(&top, "");
        assert!(tree.text("Cargo.toml").is_some(), "{} is not a workspace", top.display());
        tree
    }

    fn add(&mut self, dir: &Path, prefix: &str) {
        let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        for entry in entries.map(|entry| entry.expect("a folder of the workspace can be listed")) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().expect("an entry of the workspace has a type");
            // Cargo marks its output as a cache; in a worktree, version control is behind a file.
            let is_output = name == ".git" || entry.path().join("CACHEDIR.TAG").exists();
            if is_output {
                continue;
            }
            if kind.is_dir() {
                self.add(&entry.path(), &format!("{path}/"));
            } else if kind.is_file() && !has_extension(&name, "profraw") {
                let bytes =
                    fs::read(entry.path()).unwrap_or_else(|error| panic!("{}: {error}", path.as_str()));
                self.0.insert(path, String::from_utf8_lossy(&bytes).into_owned());
            }
        }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Whether the path is a file or a folder that holds one.
    pub(crate) fn holds(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        self.0.contains_key(path) || self.0.keys().any(|file| file.starts_with(&folder))
    }

    /// A tree for a check's own tests.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect())
    }
}

pub(crate) fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}
