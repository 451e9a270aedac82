//! Pins: the newest roster and snapshots that this machine has seen, kept in its state folder. Storage that shows less
//! than that has been rolled back, or withholds something.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::read_file_capped;
use serde::{Deserialize, Serialize};

use crate::VaultError;
use crate::ids::{RepositoryId, WriterId};
use crate::roster::Head;

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

    /// Takes over what is further than what was seen so far.
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

/// Where this machine keeps the pins of a repository.
#[derive(Debug, Clone)]
pub struct PinFile {
    path: Option<PathBuf>,
}

impl PinFile {
    /// The pins of `repository` below the state folder.
    pub fn in_state_folder(folder: &Path, repository: &RepositoryId) -> Self {
        Self { path: Some(folder.join("pins").join(format!("{repository}.json"))) }
    }

    /// Remembers nothing: for a machine that sees the repository once.
    pub fn none() -> Self {
        Self { path: None }
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

    /// Moves the pins forward, never back. Another process may move them at the same time: the furthest ones stay.
    pub(crate) fn advance(&self, seen: &Pins) -> Result<(), VaultError> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut pins = self.read()?;
        let before = pins.clone();
        pins.advance(seen);
        if pins == before && path.exists() {
            return Ok(());
        }
        let write = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder)?;
            let mut file = tempfile_in(folder)?;
            file.1.write_all(&serde_json::to_vec_pretty(&pins)?)?;
            file.1.sync_all()?;
            fs::rename(&file.0, path)
        };
        write().map_err(|source| VaultError::Local { path: path.clone(), action: "written", source })
    }
}

/// A new file that no other process writes to.
fn tempfile_in(folder: &Path) -> io::Result<(PathBuf, fs::File)> {
    let path = folder.join(format!(".new-{}", std::process::id()));
    Ok((path.clone(), fs::File::create(&path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
