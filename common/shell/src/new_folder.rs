//! Folders that a command creates, and removes again if it fails.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders on the way to a path that did not exist before, the deepest first.
#[derive(Debug)]
pub struct NewFolders(Vec<PathBuf>);

impl NewFolders {
    /// Finds out which folders do not exist yet.
    pub(crate) fn on_the_way_to(path: &Path) -> Self {
        let is_absent = |folder: &&Path| !folder.as_os_str().is_empty() && folder.symlink_metadata().is_err();
        Self(path.ancestors().take_while(is_absent).map(Path::to_owned).collect())
    }

    /// No folders, for a repository that is not in a folder.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Removes those that are empty, or contain only empty folders: nothing that somebody put there is removed.
    pub fn take_away(&self) {
        let [deepest, above @ ..] = &self.0[..] else { return };
        remove_empty(deepest);
        for folder in above {
            // A folder that contains something stays, and so do those above it.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

fn remove_empty(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_and_what_holds_something_stays() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        fs::create_dir(home.join("there")).unwrap();
        for (path, with_file, left) in [
            ("new", None, vec!["there"]),
            ("a/b/c", None, vec!["there"]),
            ("there", None, vec!["there"]),
            ("there/d", None, vec!["there"]),
            ("a/b", Some("a/file"), vec!["a", "a/file", "there"]),
            ("e", Some("e/keys/file"), vec!["a", "a/file", "e", "e/keys", "e/keys/file", "there"]),
        ] {
            let new = NewFolders::on_the_way_to(&home.join(path));
            fs::create_dir_all(home.join(path).join("keys")).unwrap();
            if let Some(file) = with_file {
                fs::write(home.join(file), "x").unwrap();
            }
            if path == "there" {
                fs::remove_dir(home.join("there/keys")).unwrap();
            }
            new.take_away();
            assert_eq!(all(home, home), left, "{path}");
        }
    }

    fn all(home: &Path, folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(home).unwrap().display().to_string());
            if path.is_dir() {
                found.extend(all(home, &path));
            }
        }
        found.sort();
        found
    }
}
