//! A drill's traces on this machine: the folder that it restores into, and a register in which every running drill
//! holds a lock. If a drill's lock is free, its process died, and its objects are leftovers.

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

/// One of our folders cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}", path.display())]
pub struct FolderError {
    /// The operation that failed.
    pub operation: &'static str,
    /// The folder or file.
    pub path: PathBuf,
    /// The operating system's error.
    #[source]
    pub source: io::Error,
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError { operation, path, source }
}

/// Where drills work on this machine, and the key by which it recognises their objects.
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

/// What was found of dead drills, and removed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Swept {
    /// How many objects of the engine, and how many folders.
    pub removed: u64,
    /// What could not be removed.
    pub leftovers: Vec<String>,
    /// The dead drills.
    pub dead: BTreeSet<RehearsalId>,
    /// What looks like a drill's object but is not provably from this machine, with the reason. It is left alone.
    pub left_alone: Vec<String>,
}

struct Dead {
    id: RehearsalId,
    folder: PathBuf,
    entry: PathBuf,
    _lock: File,
}

impl Grounds {
    /// Opens the register and the key in the state folder `state`, creating them if necessary. Drills restore into a
    /// folder there, or into `folders`, which must exist then.
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

    /// The folder in which drills make their own.
    pub fn folders(&self) -> &Path {
        &self.folders
    }

    /// Enters a drill into the register, before it creates anything.
    pub(super) fn enter(&self, id: &RehearsalId) -> Result<Berth, FolderError> {
        let folder = self.folders.join(folder_name(id));
        let entry = self.register.join(format!("{id}.lock"));
        loop {
            let write = || {
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&entry)?;
                flock(&file, FlockOperation::LockExclusive)?;
                // A clean-up may have taken the entry for a dead drill's in between.
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

    /// Removes leftovers of dead drills, and what has expired: containers, volumes, networks and images of `engine`,
    /// packet filter rules, control groups, folders. `also` names drills that are known to have died.
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
            // What may still be running goes first.
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
            // Without an engine we cannot know whether something of the drill is still running: keep the entry for the
            // next time.
            if engine.is_some() && !swept.leftovers.iter().any(|left| left.contains(&name)) {
                fs::remove_file(&dead.entry).map_err(failed("remove", &dead.entry))?;
            }
        }
        Ok(swept)
    }

    /// The entries whose lock was free. They are locked from now on.
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
                // It ended in the meantime.
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
            // A drill that died before it recorded its folder has not created one.
            let folder = if is_folder_of(&id, &said) { said } else { self.folders.join(folder_name(&id)) };
            dead.push(Dead { id, folder, entry, _lock: lock });
        }
        Ok(dead)
    }
}

impl Berth {
    /// Creates the drill's folder. Only this user can get below it, whatever the snapshot puts there.
    pub(super) fn make_folder(&self) -> Result<&Path, FolderError> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(failed("create", &self.folder)(error))
            }
            // The name is random and in the register, so an existing folder is ours.
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

    /// Removes the drill from the register: nothing of it is left.
    pub(super) fn leave(self) {
        if let Err(error) = fs::remove_file(&self.entry) {
            tracing::warn!("{} cannot be removed: {error}", self.entry.display());
        }
    }
}

/// Mounts the folder over itself with nosuid, nodev and noexec, whatever is restored there. Even without that mount
/// only this user gets in: if it cannot be set up, as for anyone but root, the folder's mode must do.
fn fence(folder: &Path) {
    let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let fenced = mount_bind(folder, folder).and_then(|()| mount_remount(folder, flags, c""));
    if let Err(errno) = fenced {
        tracing::debug!("{} gets no mount of its own: {errno}", folder.display());
    }
}

/// Removes such a folder, with the mounts over it and its disk's mount, which may also be on the folder under the
/// mount.
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

/// Whether the drill `id` can have made `path`; other paths in an entry are not trusted.
fn is_folder_of(id: &RehearsalId, path: &Path) -> bool {
    path.is_absolute() && path.file_name().is_some_and(|name| *name == *folder_name(id))
}

fn own_folder(path: &Path) -> Result<(), FolderError> {
    private_folder::own(path).map_err(failed("use", path))
}

/// Why the grounds cannot be used.
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
        // The process ended without cleaning up.
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
