//! The committed corpus of a crate's fuzz targets: ordinary tests replay it, and check that targets and corpus match.

use std::fs;
use std::path::{Path, PathBuf};

/// A crate's folder `fuzz`, as cargo-fuzz lays it out.
#[derive(Debug)]
pub struct Corpus(PathBuf);

/// The files of a target's corpus, by result.
#[derive(Debug)]
pub struct Replayed {
    /// Accepted files.
    pub read: Vec<String>,
    /// Refused files.
    pub refused: Vec<String>,
}

impl Corpus {
    /// The corpus of the crate with its manifest in this folder: `env!("CARGO_MANIFEST_DIR")`.
    pub fn of_crate(folder: &str) -> Self {
        Self(Path::new(folder).join("fuzz"))
    }

    /// Calls `read` with every file of a target's corpus.
    ///
    /// # Panics
    ///
    /// If the corpus cannot be read.
    pub fn replay(&self, target: &str, read: impl Fn(&[u8]) -> bool) -> Replayed {
        let folder = Path::new("corpus").join(target);
        let bytes =
            |name: &String| fs::read(self.0.join(&folder).join(name)).expect("a listed file is there");
        let (read, refused) = self.names_in(&folder).into_iter().partition(|name| read(&bytes(name)));
        Replayed { read, refused }
    }

    /// Checks that these targets, sorted by name, are all that exist, that each is built and calls the function named
    /// next to it, and that each has a corpus.
    ///
    /// # Panics
    ///
    /// If that is not so.
    pub fn check_targets(&self, targets: &[(&str, &str)]) {
        let names: Vec<&str> = targets.iter().map(|(name, _)| *name).collect();
        assert_eq!(self.names_in(Path::new("corpus")), names);
        let sources: Vec<String> = names.iter().map(|name| format!("{name}.rs")).collect();
        assert_eq!(self.names_in(Path::new("fuzz_targets")), sources);
        let manifest = fs::read_to_string(self.0.join("Cargo.toml")).expect("the targets have a manifest");
        for ((name, function), source) in targets.iter().zip(sources) {
            let text = fs::read_to_string(self.0.join("fuzz_targets").join(&source)).expect("it was listed");
            assert!(text.contains(&format!("{function}(bytes)")), "{name} calls {function}");
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{source}\"")), "{name} is built");
        }
    }

    fn names_in(&self, folder: &Path) -> Vec<String> {
        let folder = self.0.join(folder);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("a folder can be read").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}
