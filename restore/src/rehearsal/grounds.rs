//! Where drills leave their marks on this machine: the folder that they restore into, and a register in which every drill
//! that is under way holds a lock. What belongs to a drill whose lock is free has been left by a process that died.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lifeboat_core::private_folder;
use lifeboat_core::random::Entropy;
use lifeboat_docker::ownership::{MachineKey, RehearsalId};
use lifeboat_docker::scratch::disk;
use lifeboat_docker::{Engine, EngineError};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};

use super::tree_removal::remove_tree;

/// The folder of the register, in the state folder.
const REGISTER: &str = "drills";

/// The folder that drills restore into, in the state folder.
const FOLDERS: &str = "rehearsals";

/// The longest path that an entry of the register can hold.
const PATH_BYTES: u64 = 4096;

/// A folder of ours that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}", path.display())]
pub struct FolderError {
    /// What was tried.
    pub operation: &'static str,
    /// The folder or file.
    pub path: PathBuf,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError { operation, path, source }
}

/// Where drills work on this machine, and the key by which it knows what they made.
#[derive(Debug)]
pub struct Grounds {
    key: MachineKey,
    register: PathBuf,
    folders: PathBuf,
}

/// A drill's entry in the register. Its lock is held until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Berth {
    /// The folder that the drill may make.
    pub(super) folder: PathBuf,
    entry: PathBuf,
    _lock: File,
}

/// What was found of drills that have died, and removed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Swept {
    /// How many objects of the engine, and how many folders.
    pub removed: u64,
    /// What is still there.
    pub leftovers: Vec<String>,
    /// The drills that have died.
    pub dead: BTreeSet<RehearsalId>,
    /// What looks like a drill's and cannot be shown to be one's of this machine, with the reason. It stays.
    pub left_alone: Vec<String>,
}

struct Dead {
    id: RehearsalId,
    folder: PathBuf,
    entry: PathBuf,
    _lock: File,
}

impl Grounds {
    /// Opens the register and the key in the state folder `state`, made at the first use. Drills restore into a folder there,
    /// or into `folders`, which must exist then.
    ///
    /// # Errors
    /// When a folder cannot be made or is another user's, and those of [`MachineKey::in_folder`].
    pub fn open(state: &Path, folders: Option<&Path>, entropy: &dyn Entropy) -> Result<Self, GroundsError> {
        let register = state.join(REGISTER);
        own_folder(&register)?;
        let folders = if let Some(folders) = folders {
            folders.canonicalize().map_err(failed("look at", folders))?
        } else {
            let folders = state.join(FOLDERS);
            own_folder(&folders)?;
            folders
        };
        Ok(Self { key: MachineKey::in_folder(state, entropy)?, register, folders })
    }

    /// This machine's key.
    pub fn key(&self) -> &MachineKey {
        &self.key
    }

    /// The folder in which drills make theirs.
    pub fn folders(&self) -> &Path {
        &self.folders
    }

    /// Enters a drill, before it makes anything.
    pub(super) fn enter(&self, id: &RehearsalId) -> Result<Berth, FolderError> {
        let folder = self.folders.join(folder_name(id));
        let entry = self.register.join(format!("{id}.lock"));
        loop {
            let write = || {
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&entry)?;
                flock(&file, FlockOperation::LockExclusive)?;
                // A clean-up may have taken the entry for a dead one's in between.
                if file.metadata()?.nlink() == 0 {
                    return Ok(None);
                }
                file.write_all(folder.as_os_str().as_bytes())?;
                file.sync_all()?;
                Ok(Some(file))
            };
            if let Some(lock) = write().map_err(failed("write", &entry))? {
                return Ok(Berth { folder, entry, _lock: lock });
            }
        }
    }

    /// Removes what dead drills have left, and what has expired: containers, volumes, networks and images of `engine`, rules
    /// of the packet filter, control groups, folders. `also` names drills that are known to have died.
    ///
    /// # Errors
    /// When the register cannot be read or the engine does not answer. What cannot be removed is named, not an error.
    pub async fn sweep(
        &self,
        engine: Option<&Engine>,
        now: Timestamp,
        also: &BTreeSet<RehearsalId>,
    ) -> Result<Swept, GroundsError> {
        let dead = self.dead()?;
        let ids: BTreeSet<RehearsalId> = dead.iter().map(|dead| &dead.id).chain(also).cloned().collect();
        let mut swept = Swept { dead: ids.clone(), ..Swept::default() };
        if let Some(engine) = engine {
            // What may still run goes first.
            let collected = engine.gc(&self.key, now, &ids).await?;
            swept.removed = collected.removed_objects;
            swept.leftovers = collected.leftovers;
            swept.left_alone = collected.left_alone;
        }
        for dead in dead {
            let there = fs::symlink_metadata(&dead.folder).is_ok();
            let folder = dead.folder.clone();
            let removed = tokio::task::spawn_blocking(move || take_down(&folder)).await;
            if !matches!(removed, Ok(Ok(()))) {
                swept.leftovers.push(format!("folder {}", dead.folder.display()));
                continue;
            }
            swept.removed += u64::from(there);
            let name = format!("lifeboat-{}", dead.id);
            // Without an engine nobody knows whether something of the drill still runs: the entry stays for the next time.
            if engine.is_some() && !swept.leftovers.iter().any(|left| left.contains(&name)) {
                fs::remove_file(&dead.entry).map_err(failed("remove", &dead.entry))?;
            }
        }
        Ok(swept)
    }

    /// The entries whose lock is free. Each is locked from now on.
    fn dead(&self) -> Result<Vec<Dead>, FolderError> {
        let mut dead = Vec::new();
        let entries = fs::read_dir(&self.register).map_err(failed("read", &self.register))?;
        for entry in entries {
            let entry = entry.map_err(failed("read", &self.register))?.path();
            let stem = entry.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let Some(id) = RehearsalId::parse(&stem) else { continue };
            let open = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(&entry);
            let lock = match open {
                Ok(lock) => lock,
                // It ended while we looked.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("open", &entry)(error)),
            };
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => continue,
                Err(errno) => return Err(failed("lock", &entry)(errno.into())),
            }
            if lock.metadata().map_err(failed("look at", &entry))?.nlink() == 0 {
                continue;
            }
            let mut said = Vec::new();
            (&lock).take(PATH_BYTES).read_to_end(&mut said).map_err(failed("read", &entry))?;
            let said = PathBuf::from(std::ffi::OsString::from_vec(said));
            // A drill that died before it had written where its folder would be has made none.
            let folder = if is_folder_of(&id, &said) { said } else { self.folders.join(folder_name(&id)) };
            dead.push(Dead { id, folder, entry, _lock: lock });
        }
        Ok(dead)
    }
}

impl Berth {
    /// Makes the drill's folder: nobody but this user gets below it, whatever the snapshot puts there.
    pub(super) fn make_folder(&self) -> Result<&Path, FolderError> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(failed("create", &self.folder)(error))
            }
            // It is named after a random number and in the register: what is there is ours.
            made => {
                if made.is_err() {
                    own_folder(&self.folder)?;
                }
                fence(&self.folder);
                Ok(&self.folder)
            }
        }
    }

    /// Removes the drill's folder.
    pub(super) fn remove_folder(&self) -> io::Result<()> {
        take_down(&self.folder)
    }

    /// Takes the drill out of the register: nothing of it is left.
    pub(super) fn leave(self) {
        if let Err(error) = fs::remove_file(&self.entry) {
            tracing::warn!("{} cannot be removed: {error}", self.entry.display());
        }
    }
}

/// Puts a mount of its own over a folder, on which no program wins rights, no device can be opened and nothing is run,
/// whatever is restored there. Nobody but this user gets there without it, too: where it cannot be set, as by one who is not
/// root, the folder's mode must do.
fn fence(folder: &Path) {
    let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let fenced = mount_bind(folder, folder).and_then(|()| mount_remount(folder, flags, c""));
    if let Err(errno) = fenced {
        tracing::debug!("{} gets no mount of its own: {errno}", folder.display());
    }
}

/// Takes such a folder down, with the mounts over it and that of its disk, which the folder under the mount may have, too.
fn take_down(folder: &Path) -> io::Result<()> {
    let disk = folder.join(disk::VOLUMES);
    for mounted in [&disk, folder, &disk] {
        while unmount(mounted, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH).is_ok() {}
    }
    remove_tree(folder)
}

fn folder_name(id: &RehearsalId) -> String {
    format!("lifeboat-rehearsal-{id}")
}

/// Whether `path` is one that the drill `id` can have made: what an entry says is followed no further.
fn is_folder_of(id: &RehearsalId, path: &Path) -> bool {
    path.is_absolute() && path.file_name().is_some_and(|name| *name == *folder_name(id))
}

fn own_folder(path: &Path) -> Result<(), FolderError> {
    private_folder::own(path).map_err(failed("use", path))
}

/// The grounds that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GroundsError {
    /// A folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The key, or the engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl lifeboat_core::Fault for GroundsError {
    fn kind(&self) -> lifeboat_core::Kind {
        match self {
            Self::Folder(_) => lifeboat_core::Kind::Usage,
            Self::Engine(error) => error.kind(),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Folder(_) => {
                Some("give a folder on a disk with enough space that this user may write to".to_owned())
            }
            Self::Engine(error) => error.advice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use lifeboat_core::random::OsEntropy;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn what_a_dead_drill_left_goes_and_what_a_living_one_has_stays() {
        let state = tempfile::tempdir().unwrap();
        let state = state.path().join("state");
        let grounds = Grounds::open(&state, None, &OsEntropy).unwrap();
        let ids = [RehearsalId::random(&OsEntropy), RehearsalId::random(&OsEntropy)];
        let [alive, dead] = ids.map(|id| grounds.enter(&id).unwrap());
        for berth in [&alive, &dead] {
            let folder = berth.make_folder().unwrap();
            fs::write(folder.join("rootme"), "x").unwrap();
            fs::set_permissions(folder.join("rootme"), fs::Permissions::from_mode(0o6755)).unwrap();
            assert_eq!((mode(folder), mode(folder.parent().unwrap())), (0o700, 0o700));
        }
        let left = dead.folder.clone();
        // The process ended without clearing away.
        drop(dead);
        let swept = grounds.sweep(None, Timestamp::UNIX_EPOCH, &BTreeSet::new()).await.unwrap();
        assert_eq!((swept.removed, swept.leftovers.len()), (1, 0), "{swept:?}");
        assert!(!left.exists() && alive.folder.join("rootme").exists());
        alive.remove_folder().unwrap();
        alive.leave();
        assert_eq!(
            fs::read_dir(state.join(REGISTER)).unwrap().count(),
            1,
            "the dead one's waits for an engine"
        );
        assert_eq!(mode(&state.join(REGISTER)), 0o700);
    }

    #[tokio::test]
    async fn an_entry_leads_to_no_other_folder() {
        let state = tempfile::tempdir().unwrap();
        let grounds = Grounds::open(state.path(), None, &OsEntropy).unwrap();
        let precious = state.path().join("precious");
        fs::create_dir(&precious).unwrap();
        let id = RehearsalId::random(&OsEntropy);
        fs::write(state.path().join(REGISTER).join(format!("{id}.lock")), precious.as_os_str().as_bytes())
            .unwrap();
        grounds.sweep(None, Timestamp::UNIX_EPOCH, &BTreeSet::new()).await.unwrap();
        assert!(precious.exists());
        assert!(is_folder_of(&id, Path::new(&format!("/tmp/lifeboat-rehearsal-{id}"))));
        assert!(!is_folder_of(&id, Path::new("/tmp/lifeboat-rehearsal-ffffffffffffffff")));
        assert!(!is_folder_of(&id, Path::new(&format!("lifeboat-rehearsal-{id}"))));
    }

    #[test]
    fn a_folder_that_others_can_look_into_is_closed() {
        let state = tempfile::tempdir().unwrap();
        fs::create_dir(state.path().join(FOLDERS)).unwrap();
        fs::set_permissions(state.path().join(FOLDERS), fs::Permissions::from_mode(0o755)).unwrap();
        let grounds = Grounds::open(state.path(), None, &OsEntropy).unwrap();
        assert_eq!(mode(grounds.folders()), 0o700);
    }
}
