//! Pins: the newest roster and snapshots that this machine has seen, stored in its state folder. Storage that shows
//! less has been rolled back, or withholds something.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::read_file_capped;
use lifeboat_core::private_folder;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::VaultError;
use crate::format::roster::Head;
use crate::ids::{RepositoryId, WriterId};

/// The largest file of pins that is read, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// What was seen of one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pins {
    pub(crate) roster: Option<PinnedRoster>,
    pub(crate) heads: BTreeMap<WriterId, Head>,
}

/// The newest roster that was seen: its number and the hash of its stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PinnedRoster {
    pub(crate) number: u64,
    pub(crate) hash: Sha256Digest,
}

impl Pins {
    /// Reads the file's text.
    pub(crate) fn from_json(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    /// Takes over what is newer than what was seen so far.
    pub(crate) fn advance(&mut self, seen: &Self) {
        if let Some(roster) = seen.roster
            && self.roster.is_none_or(|pinned| pinned.number < roster.number)
        {
            self.roster = Some(roster);
        }
        for (writer, head) in &seen.heads {
            let pinned = self.heads.entry(*writer).or_insert(*head);
            if pinned.sequence < head.sequence {
                *pinned = *head;
            }
        }
    }
}

/// The file in which this machine stores the pins of a repository.
#[derive(Debug, Clone)]
pub struct PinFile {
    path: Option<PathBuf>,
}

impl PinFile {
    /// The pins of `repository` below the state folder.
    pub fn in_state_folder(folder: &Path, repository: &RepositoryId) -> Self {
        Self { path: Some(folder.join("pins").join(format!("{repository}.json"))) }
    }

    /// Pins that are not stored: for a machine that sees the repository once.
    pub fn none() -> Self {
        Self { path: None }
    }

    /// The file, if there is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub(crate) fn read(&self) -> Result<Pins, VaultError> {
        let Some(path) = &self.path else { return Ok(Pins::default()) };
        let failed = |source| VaultError::Local { path: path.clone(), action: "read", source };
        match read_file_capped(path, MAX_FILE) {
            Ok(bytes) => Pins::from_json(&bytes).map_err(|error| failed(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Pins::default()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Moves the pins forward, never back. If they cannot be written, for example on a disk that is full or read-only,
    /// that is reported: the only consequence is that a later rollback of the storage may go unnoticed.
    pub(crate) fn advance(&self, seen: &Pins) -> Result<(), VaultError> {
        let Some(path) = &self.path else { return Ok(()) };
        // Unreadable pins are a different case: then it is unknown what was seen.
        let known = self.read()?;
        let mut advanced = known.clone();
        advanced.advance(seen);
        if advanced == known && path.exists() {
            return Ok(());
        }
        if let Err(error) = self.move_on(seen) {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(
                "{error} ({cause}): if the storage is rolled back to before now, this machine will not notice; name a \
                 folder that can be written with --state-dir"
            );
        }
        Ok(())
    }

    /// Another process may move the pins at the same time: the furthest ones stay.
    fn move_on(&self, seen: &Pins) -> Result<(), VaultError> {
        let Some(path) = &self.path else { return Ok(()) };
        let failed = |source| VaultError::Local { path: path.clone(), action: "written", source };
        let folder = path.parent().unwrap_or(Path::new("."));
        private_folder::make(folder).map_err(failed)?;
        let _turn = Self::take_turn(path).map_err(failed)?;
        let mut pins = self.read()?;
        pins.advance(seen);
        let write = || -> io::Result<()> {
            let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
            file.write_all(&serde_json::to_vec_pretty(&pins)?)?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(failed)
    }

    /// Waits until no other process is between reading and writing these pins. The turn ends when the file is closed.
    /// File systems without locks let everyone in at once: then the slower of two writers wins.
    fn take_turn(path: &Path) -> io::Result<fs::File> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.with_extension("lock"))?;
        match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK | Errno::INVAL) => Ok(file),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_that_many_move_at_once_lose_nothing_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let file = PinFile::in_state_folder(&state, &Sha256Digest::of(b"r"));
        std::thread::scope(|scope| {
            for number in 0..16 {
                let file = file.clone();
                scope.spawn(move || {
                    let head = Head { sequence: 1, id: Sha256Digest::of(b"s") };
                    let heads = BTreeMap::from([(WriterId::from_bytes([number; 16]), head)]);
                    file.advance(&Pins { roster: None, heads }).unwrap();
                });
            }
        });
        assert_eq!(file.read().unwrap().heads.len(), 16);
        let left: Vec<_> =
            fs::read_dir(state.join("pins")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        for path in [state.clone(), state.join("pins")] {
            let mode = fs::metadata(&path).unwrap().permissions();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o7777, 0o700, "{}", path.display());
        }
    }

    #[test]
    fn pins_move_forward_only_and_are_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = PinFile::in_state_folder(folder.path(), &Sha256Digest::of(b"r"));
        assert_eq!(file.read().unwrap(), Pins::default());
        let writer = WriterId::from_bytes([7; 16]);
        let pins = |number: u64, sequence| Pins {
            roster: Some(PinnedRoster { number, hash: Sha256Digest::of(&number.to_le_bytes()) }),
            heads: BTreeMap::from([(writer, Head { sequence, id: Sha256Digest::of(b"s") })]),
        };
        file.advance(&pins(3, 9)).unwrap();
        file.advance(&pins(2, 10)).unwrap();
        let found = file.read().unwrap();
        assert_eq!(found.roster.unwrap().number, 3);
        assert_eq!(found.heads[&writer].sequence, 10);
        fs::write(folder.path().join("pins").join(format!("{}.json", Sha256Digest::of(b"r"))), b"{").unwrap();
        file.read().unwrap_err();
        file.advance(&pins(4, 11)).unwrap_err();
    }

    #[test]
    fn pins_that_cannot_be_written_stop_nobody() {
        // A folder that not even root can create.
        let file = PinFile::in_state_folder(Path::new("/proc/self"), &Sha256Digest::of(b"r"));
        let seen = Pins {
            roster: Some(PinnedRoster { number: 1, hash: Sha256Digest::of(b"x") }),
            ..Pins::default()
        };
        file.move_on(&seen).unwrap_err();
        file.advance(&seen).unwrap();
    }
}
