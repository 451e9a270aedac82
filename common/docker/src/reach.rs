//! Decides whether a folder of the host is a volume's, is inside it, or contains it, whatever their paths: links, bind
//! mounts and volumes of one device lead to the same folder by many names.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::selection::Volume;

/// How a container reaches a volume that it does not mount by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It has the volume's folder, or one inside it.
    Into,
    /// It has a folder that contains the volume's.
    Above,
}

/// A folder and its parents, innermost first: their paths and, if they can be examined, their identities.
#[derive(Debug, Clone)]
struct Place {
    path: PathBuf,
    ids: Vec<(u64, u64)>,
}

impl Place {
    fn by_path(path: &Path) -> Self {
        Self { path: path.to_owned(), ids: Vec::new() }
    }

    /// Asks the file systems, which may block for ever.
    fn of(path: &Path) -> Self {
        let resolved = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let id = |folder: &Path| std::fs::metadata(folder).ok().map(|found| (found.dev(), found.ino()));
        let ids = resolved.ancestors().map_while(id).collect();
        Self { path: resolved, ids }
    }

    /// Whether it is `other` or inside it.
    fn lies_in(&self, other: &Self) -> bool {
        self.path.starts_with(&other.path) || other.ids.first().is_some_and(|id| self.ids.contains(id))
    }
}

/// How long all folders together have to answer. One may be on somebody else's mount that never does; then only its
/// path counts.
const PATIENCE: Duration = Duration::from_millis(500);

/// How many folders are examined at once; beyond that only the paths are compared.
const MOST_LOOKS: usize = 512;

/// Folders that were examined before, including those that did not answer: nothing waits twice for one of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownPlaces(Arc<Mutex<HashMap<PathBuf, Place>>>);

impl KnownPlaces {
    /// Examines the folders that are not known yet.
    async fn look_at(&self, folders: &[PathBuf]) {
        let known = |folder: &PathBuf| self.lock().contains_key(folder);
        let fresh: Vec<PathBuf> = folders.iter().filter(|folder| !known(folder)).cloned().collect();
        for (folder, place) in places_of(&fresh, Place::of).await {
            self.lock().insert(folder, place);
        }
    }

    fn place(&self, folder: &Path) -> Place {
        self.lock().get(folder).cloned().unwrap_or_else(|| Place::by_path(folder))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where folders are. A thread of its own examines them, which may never return.
async fn places_of(folders: &[PathBuf], look: fn(&Path) -> Place) -> Vec<(PathBuf, Place)> {
    let (found, mut finds) = tokio::sync::mpsc::unbounded_channel();
    for folder in folders.iter().take(MOST_LOOKS) {
        let (folder, found) = (folder.clone(), found.clone());
        // A folder that hangs must not block the others, the runtime or the end of the process.
        let look = move || {
            let place = look(&folder);
            // Nobody waits for a late answer.
            let _ = found.send((folder, place));
        };
        if std::thread::Builder::new().spawn(look).is_err() {
            break;
        }
    }
    drop(found);
    let mut places: HashMap<PathBuf, Place> = HashMap::new();
    let all = async {
        while let Some((folder, place)) = finds.recv().await {
            places.insert(folder, place);
        }
    };
    // For folders that did not answer, the path counts.
    let _ = tokio::time::timeout(PATIENCE, all).await;
    let of =
        |folder: &PathBuf| (folder.clone(), places.remove(folder).unwrap_or_else(|| Place::by_path(folder)));
    folders.iter().map(of).collect()
}

/// Where volumes are, for many queries.
#[derive(Debug)]
pub(crate) struct Places {
    /// Each volume's name with its folder, and the one in its bind option.
    volumes: Vec<(String, Vec<Place>)>,
    known: KnownPlaces,
}

impl Places {
    /// Examines the volumes, and `folders`, for later calls of [`Places::reached_by`].
    pub(crate) async fn of(volumes: &[&Volume], folders: &[PathBuf], known: &KnownPlaces) -> Self {
        known.look_at(folders).await;
        let paths = |volume: &Volume| -> Vec<PathBuf> {
            let paths = std::iter::once(volume.mountpoint.clone()).chain(volume.bound_folder());
            paths.filter(|path| path.is_absolute()).collect()
        };
        let all: Vec<PathBuf> = volumes.iter().flat_map(|volume| paths(volume)).collect();
        // The volumes are examined again even if they are known: a volume's folder depends on what is mounted there
        // now.
        let found: HashMap<PathBuf, Place> = places_of(&all, Place::of).await.into_iter().collect();
        let of_volume = |volume: &&Volume| {
            let places = paths(volume).iter().filter_map(|path| found.get(path).cloned()).collect();
            (volume.name.clone(), places)
        };
        Self { volumes: volumes.iter().map(of_volume).collect(), known: known.clone() }
    }

    /// The volumes that `folder` reaches, by name.
    pub(crate) fn reached_by(&self, folder: &Path) -> Vec<(String, Reach)> {
        if !folder.is_absolute() {
            return Vec::new();
        }
        let place = self.known.place(folder);
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

    #[tokio::test]
    async fn a_folder_reaches_a_volume_by_whatever_path() {
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
        let cases = [
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
        ];
        let folders: Vec<PathBuf> = cases.iter().map(|(folder, _)| folder.clone()).collect();
        let places = Places::of(&[&db, &bound], &folders, &KnownPlaces::default()).await;
        for (folder, expected) in cases {
            let found = places.reached_by(&folder);
            let found: Vec<(&str, Reach)> =
                found.iter().map(|(name, reach)| (name.as_str(), *reach)).collect();
            assert_eq!(found, expected, "{}", folder.display());
        }
    }

    #[tokio::test]
    async fn a_folder_that_never_answers_keeps_nobody_waiting() {
        fn look(folder: &Path) -> Place {
            while folder.ends_with("hung") {
                std::thread::park();
            }
            Place::of(folder)
        }
        let began = std::time::Instant::now();
        let folders = ["/", "/no/such/hung"].map(PathBuf::from);
        let places = places_of(&folders, look).await;
        assert!(began.elapsed() < 10 * PATIENCE, "{:?}", began.elapsed());
        let known: Vec<bool> = places.iter().map(|(_, place)| !place.ids.is_empty()).collect();
        assert_eq!(known, [true, false]);
        assert_eq!(places[1].1.path, folders[1]);
    }

    #[tokio::test]
    async fn folders_that_cannot_be_looked_at_are_told_by_their_paths() {
        let volume = Volume::from_document(
            serde_json::json!({"Name": "far", "Mountpoint": "/no/such/volumes/far/_data"}),
        );
        let places = Places::of(&[&volume], &[], &KnownPlaces::default()).await;
        let reach =
            |places: &Places, folder: &str| places.reached_by(Path::new(folder)).pop().map(|(_, r)| r);
        assert_eq!(reach(&places, "/no/such/volumes/far/_data/x"), Some(Reach::Into));
        assert_eq!(reach(&places, "/no/such"), Some(Reach::Above));
        assert_eq!(reach(&places, "/no/such/volumes/far2"), None);
    }
}
