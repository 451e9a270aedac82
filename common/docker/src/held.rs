//! Volumes that are unmounted with their last user. A volume with driver options (a bind, NFS, a disk, memory) is
//! mounted at its mountpoint only while a container uses it: when the last one stops, the engine unmounts it and leaves
//! an empty folder there. So the mount is held open before anything stops, and the volume is read through it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode as FileMode, OFlags};
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::EngineError;
use crate::engine::Engine;
use crate::selection::{Activity, Container, Selection, Volume};

/// File systems whose content is lost when they are unmounted.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// A volume's folder that stays readable, whatever the engine does to its mount.
#[derive(Debug)]
pub struct Held {
    /// Where the volume is mounted.
    mountpoint: PathBuf,
    /// The path for reading its bytes.
    readable: PathBuf,
    /// Whether it was not empty when it was taken.
    was_filled: bool,
    /// Our own mount, if the engine would unmount the volume; dropped with this value.
    _mount: Option<OwnedFd>,
}

impl Held {
    /// Where the volume is mounted, for people.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// The path for reading its bytes. Valid only as long as this value lives.
    pub fn readable(&self) -> &Path {
        &self.readable
    }

    /// Whether it was not empty when it was taken and is empty now.
    pub fn was_emptied(&self) -> bool {
        self.was_filled && !open(&self.readable).is_ok_and(|fd| holds_something(fd.as_fd()).unwrap_or(true))
    }
}

impl Engine {
    /// The folder on this host that holds the volume's bytes, held open if it is unmounted with its last user.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::volume_directory`].
    pub async fn hold_volume(&self, volume: &Volume) -> Result<Held, EngineError> {
        let mountpoint = self.volume_directory(volume).await?;
        let failed =
            |source: io::Error| EngineError::Io { operation: "hold open", path: mountpoint.clone(), source };
        let mount = if volume.options.is_empty() {
            None
        } else {
            let mount = clone_mount(&mountpoint).or_else(|_| open(&mountpoint)).map_err(failed)?;
            // Make sure that it was still mounted when it was taken; otherwise we hold the empty folder below it.
            self.volume_directory(volume).await?;
            Some(mount)
        };
        let readable = match &mount {
            Some(mount) => format!("/proc/self/fd/{}/.", mount.as_raw_fd()).into(),
            None => mountpoint.clone(),
        };
        let folder = open(&readable).map_err(failed)?;
        let was_filled = holds_something(folder.as_fd()).map_err(failed)?;
        Ok(Held { mountpoint: mountpoint.clone(), readable, was_filled, _mount: mount })
    }
}

/// A mount of our own of what is mounted at `path`, detached from the tree: it disappears when it is closed.
fn clone_mount(path: &Path) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(CWD, path, flags)?)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, FileMode::empty())?)
}

/// Whether a folder contains data, or anything that leads to it. Sockets and pipes disappear with the process that made
/// them.
fn holds_something(folder: BorrowedFd<'_>) -> io::Result<bool> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let passing = matches!(entry.file_type(), FileType::Socket | FileType::Fifo);
        if !passing && ![&b"."[..], b".."].contains(&entry.file_name().to_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the volume's content is lost when it is unmounted.
fn is_in_memory(volume: &Volume) -> bool {
    volume.options.get("type").is_some_and(|kind| IN_MEMORY.contains(&kind.as_str()))
}

/// The volumes in memory all of whose running users are among `stopped`: their content would be lost.
pub(crate) fn lost_volumes<'a>(
    selection: &'a Selection,
    stopped: &[&Container],
) -> impl Iterator<Item = &'a Volume> {
    let is_stopped = |user: &Container| stopped.iter().any(|container| container.id == user.id);
    let mut lost = Vec::new();
    for volume in selection.volumes.iter().filter(|volume| is_in_memory(volume)) {
        let mut users = selection
            .containers
            .iter()
            .filter(|c| c.activity != Activity::Stopped && c.mounts.iter().any(|m| m.volume == volume.name))
            .peekable();
        if users.peek().is_some() && users.all(is_stopped) {
            lost.push(volume);
        }
    }
    lost.into_iter()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use serde_json::json;

    use super::*;

    fn volume(name: &str, options: &serde_json::Value) -> Volume {
        Volume::from_document(json!({"Name": name, "Driver": "local", "Options": options}))
    }

    fn container(id: &str, running: bool, mounts: &[(&str, bool)]) -> Container {
        let mounts: Vec<_> = mounts
            .iter()
            .map(|(name, rw)| json!({"Type": "volume", "Name": name, "Destination": "/d", "RW": rw}))
            .collect();
        Container::from_document(
            &json!({"Id": id, "Name": format!("/{id}"), "State": {"Running": running}, "Mounts": mounts}),
            None,
        )
    }

    type Case = (Vec<Volume>, Vec<Container>, &'static [&'static str], bool);

    #[test]
    fn what_lies_in_memory_is_lost_with_its_last_user() {
        let memory = || volume("m", &json!({"type": "tmpfs", "device": "tmpfs"}));
        let bind = || volume("b", &json!({"type": "none", "o": "bind", "device": "/srv"}));
        let writer = || container("writer", true, &[("m", true), ("b", true)]);
        let other = || container("other", true, &[("m", true)]);
        let reader = || container("reader", true, &[("m", false)]);
        let idle = || container("idle", false, &[("m", true)]);
        // Volumes, containers, the stopped ones, and whether something is lost.
        let cases: [Case; 6] = [
            (vec![memory()], vec![writer()], &["writer"], true),
            (vec![memory()], vec![writer(), other()], &["writer", "other"], true),
            (vec![memory()], vec![writer(), idle()], &["writer"], true),
            (vec![memory()], vec![writer(), reader()], &["writer"], false),
            (vec![memory()], vec![reader()], &[], false),
            (vec![bind()], vec![writer()], &["writer"], false),
        ];
        for (volumes, containers, stopped, lost) in cases {
            let selection = Selection { volumes, containers, ..Selection::default() };
            let stopped: Vec<&Container> =
                selection.containers.iter().filter(|c| stopped.contains(&c.id.as_str())).collect();
            assert_eq!(lost_volumes(&selection, &stopped).next().is_some(), lost, "{selection:?}");
        }
    }

    #[test]
    fn sockets_alone_are_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let look = || holds_something(open(folder.path()).unwrap().as_fd()).unwrap();
        assert!(!look());
        let _socket = UnixListener::bind(folder.path().join("s")).unwrap();
        assert!(!look());
        fs::write(folder.path().join("f"), "x").unwrap();
        assert!(look());
    }
}
