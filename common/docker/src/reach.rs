//! Whether a folder of the host is a volume's, lies in it, or has it inside, whatever the paths are called: links, bind mounts
//! and volumes of one device lead to the same folder by many names.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::selection::Volume;

/// How a container reaches a volume that it does not mount by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It has the volume's folder, or one that lies in it.
    Into,
    /// It has a folder in which the volume's lies.
    Above,
}

/// A folder and those that it lies in, innermost first: their paths and, where they can be looked at, what tells each from every
/// other one.
#[derive(Debug, Clone)]
struct Place {
    path: PathBuf,
    ids: Vec<(u64, u64)>,
}

impl Place {
    fn of(path: &Path) -> Self {
        let resolved = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let id = |folder: &Path| std::fs::metadata(folder).ok().map(|found| (found.dev(), found.ino()));
        let ids = resolved.ancestors().map_while(id).collect();
        Self { path: resolved, ids }
    }

    /// Whether it is `other` or lies in it.
    fn lies_in(&self, other: &Self) -> bool {
        self.path.starts_with(&other.path) || other.ids.first().is_some_and(|id| self.ids.contains(id))
    }
}

/// Where volumes lie, for many questions.
#[derive(Debug)]
pub(crate) struct Places {
    /// Each volume's name with its folder, and the one that a bind option names.
    volumes: Vec<(String, Vec<Place>)>,
    /// Folders that were looked at before.
    known: HashMap<PathBuf, Place>,
}

impl Places {
    pub(crate) fn of<'v>(volumes: impl IntoIterator<Item = &'v Volume>) -> Self {
        let of_volume = |volume: &Volume| {
            let paths = std::iter::once(volume.mountpoint.clone()).chain(volume.bound_folder());
            let is_one = |path: &PathBuf| path.is_absolute();
            (volume.name.clone(), paths.filter(is_one).map(|path| Place::of(&path)).collect())
        };
        Self { volumes: volumes.into_iter().map(of_volume).collect(), known: HashMap::new() }
    }

    /// The volumes that `folder` reaches, by name.
    pub(crate) fn reached_by(&mut self, folder: &Path) -> Vec<(String, Reach)> {
        if !folder.is_absolute() {
            return Vec::new();
        }
        let place = self.known.entry(folder.to_owned()).or_insert_with(|| Place::of(folder)).clone();
        let reach = |places: &Vec<Place>| {
            if places.iter().any(|volume| place.lies_in(volume)) {
                return Some(Reach::Into);
            }
            places.iter().any(|volume| volume.lies_in(&place)).then_some(Reach::Above)
        };
        let found = self.volumes.iter().filter_map(|(name, places)| Some((name.clone(), reach(places)?)));
        found.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_reaches_a_volume_by_whatever_path() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        std::fs::create_dir_all(path("volumes/db/_data/sub")).unwrap();
        std::fs::create_dir_all(path("device/in")).unwrap();
        std::os::unix::fs::symlink(path("volumes/db/_data"), path("link")).unwrap();
        let volume = |name: &str, mountpoint: &Path, device: &Path| {
            Volume::from_document(serde_json::json!({
                "Name": name, "Driver": "local", "Mountpoint": mountpoint,
                "Options": {"type": "none", "o": "bind", "device": device},
            }))
        };
        let db = Volume::from_document(
            serde_json::json!({"Name": "db", "Driver": "local", "Mountpoint": path("volumes/db/_data")}),
        );
        let bound = volume("bound", &path("gone"), &path("device"));
        let mut places = Places::of([&db, &bound]);
        for (folder, expected) in [
            (path("volumes/db/_data"), vec![("db", Reach::Into)]),
            (path("volumes/db/_data/sub"), vec![("db", Reach::Into)]),
            (path("link"), vec![("db", Reach::Into)]),
            (path("volumes"), vec![("db", Reach::Above)]),
            (path("device/in"), vec![("bound", Reach::Into)]),
            (path("device"), vec![("bound", Reach::Into)]),
            (home.path().to_owned(), vec![("db", Reach::Above), ("bound", Reach::Above)]),
            (PathBuf::from("/"), vec![("db", Reach::Above), ("bound", Reach::Above)]),
            (path("volumes/other"), vec![]),
            (PathBuf::from("relative"), vec![]),
        ] {
            let found = places.reached_by(&folder);
            let found: Vec<(&str, Reach)> =
                found.iter().map(|(name, reach)| (name.as_str(), *reach)).collect();
            assert_eq!(found, expected, "{}", folder.display());
        }
    }

    #[test]
    fn folders_that_cannot_be_looked_at_are_told_by_their_paths() {
        let volume = Volume::from_document(
            serde_json::json!({"Name": "far", "Mountpoint": "/no/such/volumes/far/_data"}),
        );
        let mut places = Places::of([&volume]);
        let reach =
            |places: &mut Places, folder: &str| places.reached_by(Path::new(folder)).pop().map(|(_, r)| r);
        assert_eq!(reach(&mut places, "/no/such/volumes/far/_data/x"), Some(Reach::Into));
        assert_eq!(reach(&mut places, "/no/such"), Some(Reach::Above));
        assert_eq!(reach(&mut places, "/no/such/volumes/far2"), None);
    }
}
