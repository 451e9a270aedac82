//! The key by which this machine recognises what it has created itself.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use lifeboat_core::random::Entropy;
use rustix::fs::OFlags;

use crate::EngineError;
use crate::ownership::ScratchKind;

/// The file's name in the state folder.
const FILE: &str = "machine.key";

/// The purpose of the hash, so that the same key could also serve another.
const PURPOSE: &[u8] = b"lifeboat scratch object 1";

/// A secret of this machine, 32 random bytes in a file that only its user can read.
#[derive(Clone, PartialEq, Eq)]
pub struct MachineKey([u8; 32]);

impl fmt::Debug for MachineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MachineKey")
    }
}

impl MachineKey {
    /// A key that is stored nowhere.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(entropy.array())
    }

    /// The key in `folder`. Folder and key are created at the first use.
    ///
    /// # Errors
    ///
    /// [`EngineError::MachineKey`] if the file belongs to another user, can be read by others, or is malformed.
    pub fn in_folder(folder: &Path, entropy: &dyn Entropy) -> Result<Self, EngineError> {
        let path = folder.join(FILE);
        let failed = |operation: &'static str| {
            let path = path.clone();
            move |source: io::Error| EngineError::Io { operation, path, source }
        };
        if let Some(key) = read(&path).map_err(failed("read"))? {
            return key.map_err(|reason| EngineError::MachineKey { path: path.clone(), reason });
        }
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("create"))?;
        let draft = folder.join(format!("{FILE}.{}", hex::encode(entropy.array::<8>())));
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(&Self::random(entropy).0)?;
            file.sync_all()?;
            // Unlike a rename, a link never replaces a key that another process has created in the meantime.
            match fs::hard_link(&draft, &path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            }?;
            File::open(folder)?.sync_all()
        };
        let written = write();
        let _ = fs::remove_file(&draft);
        written.map_err(failed("create"))?;
        read(&path)
            .map_err(failed("read"))?
            .ok_or_else(|| failed("read")(io::ErrorKind::NotFound.into()))?
            .map_err(|reason| EngineError::MachineKey { path: path.clone(), reason })
    }

    /// The mark of an object with these properties.
    pub(crate) fn mark(&self, kind: ScratchKind, name: &str, id: &str, expires: &str) -> String {
        self.hash(kind, name, id, expires).to_hex().to_string()
    }

    /// Whether `mark` is that of an object with these properties.
    pub(crate) fn marked(&self, mark: &str, kind: ScratchKind, name: &str, id: &str, expires: &str) -> bool {
        // Hashes compare in constant time.
        blake3::Hash::from_hex(mark).is_ok_and(|mark| mark == self.hash(kind, name, id, expires))
    }

    fn hash(&self, kind: ScratchKind, name: &str, id: &str, expires: &str) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in [PURPOSE, kind.word().as_bytes(), name.as_bytes(), id.as_bytes(), expires.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize()
    }
}

/// The key at `path`, or why it cannot be used; `None` if the file does not exist.
fn read(path: &Path) -> io::Result<Option<Result<MachineKey, String>>> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Ok(Some(Err("it is a link".to_owned())));
        }
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Ok(Some(Err(format!("it belongs to user {}", found.uid()))));
    }
    if !found.is_file() || found.mode() & 0o077 != 0 {
        return Ok(Some(Err(format!("others can read it (mode {:o})", found.mode() & 0o7777))));
    }
    let mut bytes = Vec::new();
    file.take(64).read_to_end(&mut bytes)?;
    Ok(Some(match <[u8; 32]>::try_from(bytes) {
        Ok(bytes) => Ok(MachineKey(bytes)),
        Err(bytes) => Err(format!("it has {} bytes in place of 32", bytes.len())),
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use lifeboat_core::random::OsEntropy;

    use super::*;

    #[test]
    fn it_is_made_once_and_only_its_user_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let key = MachineKey::in_folder(&state, &OsEntropy).unwrap();
        assert_eq!(fs::metadata(state.join(FILE)).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, 0o700);
        assert!(MachineKey::in_folder(&state, &OsEntropy).unwrap() == key);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "the draft is gone");
    }

    #[test]
    fn a_key_that_is_not_a_secret_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let refused = || match MachineKey::in_folder(folder.path(), &OsEntropy) {
            Err(EngineError::MachineKey { reason, .. }) => reason,
            other => format!("{other:?}"),
        };
        fs::write(&path, [7; 32]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(refused().contains("others can read it"), "{}", refused());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(MachineKey::in_folder(folder.path(), &OsEntropy).is_ok());
        fs::write(&path, [7; 31]).unwrap();
        assert!(refused().contains("31 bytes"), "{}", refused());
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        symlink("elsewhere", &path).unwrap();
        assert!(refused().contains("link"), "{}", refused());
    }
}
