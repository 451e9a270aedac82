//! The key files that people keep: the writer key of a host, and recovery keys.
//!
//! Both are self-describing text. They are written once with mode 0600, and a file that others can read is refused.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::limits::{SMALL_FILE_BYTES, read_capped};
use lifeboat_trust::key::SigningKey;
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use crate::error::VaultError;
use crate::format::signed::Pen;
use crate::ids::{GroupId, RepositoryId, Signer, WriterId};
use crate::keys::{GroupKeys, Identity, IdentityFile, NoDialog, Passphrase, PluginDialog, Recipient};

/// The keys of a backup host: it can add snapshots and list them, but not read any back.
pub struct WriterKey {
    /// The repository.
    pub repository: RepositoryId,
    /// The writer's id.
    pub writer: WriterId,
    /// The signing key.
    pub(crate) signing_key: SigningKey,
    /// Its group's keys.
    pub(crate) group: GroupKeys,
    /// The recipient of run keys, and its epoch.
    pub(crate) data_recipient: Recipient,
    pub(crate) epoch: u32,
}

/// What a restore needs besides the location: a private key, and the repository that it belongs to.
pub struct RecoveryKey {
    /// The repository, if the file names one.
    pub repository: Option<RepositoryId>,
    /// The repository's location when the file was written, if the file names it.
    pub location: Option<String>,
    /// The private key.
    pub(crate) identity: Identity,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WriterKeyText {
    format: String,
    repository: RepositoryId,
    writer: WriterId,
    signing_key: Zeroizing<String>,
    epoch: u32,
    data_recipient: String,
    group: GroupText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupText {
    id: GroupId,
    chunk_id_key: Zeroizing<String>,
    chunker_seed: Zeroizing<String>,
    index_key: Zeroizing<String>,
}

const WRITER_KEY_FORMAT: &str = "lifeboat.writer-key/v0";
const REPOSITORY_COMMENT: &str = "# repository id: ";
const LOCATION_COMMENT: &str = "# repository: ";

impl WriterKey {
    /// The signer and its key.
    pub(crate) fn pen(&self) -> Pen<'_> {
        Pen { signer: Signer::Writer(self.writer), key: &self.signing_key }
    }

    /// The group that the writer deduplicates in.
    pub fn group_id(&self) -> GroupId {
        self.group.id
    }

    /// The file's text.
    pub fn to_text(&self) -> Zeroizing<String> {
        let secret = |bytes: &[u8]| Zeroizing::new(STANDARD.encode(bytes));
        Zeroizing::new(format!(
            "# Lifeboat writer key of one backup host.\n\
             # It can add snapshots and list them. It cannot read them back: that takes a recovery key.\n\
             # Keep it on this host only, readable by its owner only.\n\
             format = \"{WRITER_KEY_FORMAT}\"\n\
             repository = \"{}\"\n\
             writer = \"{}\"\n\
             signing_key = \"{}\"\n\
             epoch = {}\n\
             data_recipient = \"{}\"\n\
             \n\
             [group]\n\
             id = \"{}\"\n\
             chunk_id_key = \"{}\"\n\
             chunker_seed = \"{}\"\n\
             index_key = \"{}\"\n",
            self.repository,
            self.writer,
            *secret(&self.signing_key.to_pkcs8_der()),
            self.epoch,
            self.data_recipient.as_str(),
            self.group.id,
            *secret(&*self.group.chunk_id_key),
            *secret(&*self.group.chunker_seed),
            *secret(self.group.index_key.as_bytes()),
        ))
    }

    /// Parses the file's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        // The parser's message would quote the offending line, and a line may contain a key.
        let text: WriterKeyText = toml::from_str(text)
            .map_err(|error| format!("it is not a writer key file: {}", error.message()))?;
        if text.format != WRITER_KEY_FORMAT {
            return Err(format!("its format is `{}`, not `{WRITER_KEY_FORMAT}`", text.format));
        }
        let signing_key = SigningKey::from_pkcs8_der(&decode("signing_key", &text.signing_key)?)
            .map_err(|error| error.to_string())?;
        let group = GroupKeys::from_parts(
            text.group.id,
            decode_key("chunk_id_key", &text.group.chunk_id_key)?,
            decode_key("chunker_seed", &text.group.chunker_seed)?,
            &decode_key("index_key", &text.group.index_key)?,
        );
        let data_recipient = text.data_recipient.parse().map_err(|error: VaultError| error.to_string())?;
        Ok(Self {
            repository: text.repository,
            writer: text.writer,
            signing_key,
            group,
            data_recipient,
            epoch: text.epoch,
        })
    }

    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, VaultError> {
        let bytes = read_private(path)?;
        let bad = |reason| VaultError::KeyFile { path: path.to_owned(), reason };
        let text = std::str::from_utf8(&bytes).map_err(|_| bad("it is not text".to_owned()))?;
        Self::parse(text).map_err(bad)
    }
}

impl std::fmt::Debug for WriterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WriterKey({} of {}, redacted)", self.writer, self.repository)
    }
}

/// A parsed recovery key file, possibly still locked by a passphrase.
#[derive(Debug)]
pub struct RecoveryKeyFile {
    path: PathBuf,
    file: IdentityFile,
}

impl RecoveryKeyFile {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, VaultError> {
        Self::parse(path, &read_private(path)?)
    }

    /// Parses the bytes of the file at `path`.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, VaultError> {
        let file = IdentityFile::parse(bytes)
            .map_err(|reason| VaultError::KeyFile { path: path.to_owned(), reason })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Whether a passphrase is needed to open it.
    pub fn is_locked(&self) -> bool {
        self.file.is_locked()
    }

    /// Opens it with its passphrase. An unlocked file is returned unchanged.
    pub fn unlock(self, passphrase: &Passphrase) -> Result<Self, VaultError> {
        let Self { path, file } = self;
        match file.unlock(passphrase) {
            Ok(file) => Ok(Self { path, file }),
            Err(reason) => Err(VaultError::KeyFile { path, reason }),
        }
    }

    /// The key in it. Plugins reach the user through `dialog`.
    pub fn key(&self, dialog: &Arc<dyn PluginDialog>) -> Result<RecoveryKey, VaultError> {
        let bad = |reason| VaultError::KeyFile { path: self.path.clone(), reason };
        let repository = match self.file.lines() {
            Some(lines) => repository_of(lines).map_err(bad)?,
            None => None,
        };
        let location = self.file.lines().and_then(location_of);
        Ok(RecoveryKey { repository, location, identity: self.file.identity(dialog).map_err(bad)? })
    }
}

impl RecoveryKey {
    /// The recovery key of a passphrase. It names no repository.
    pub fn of_passphrase(passphrase: &Passphrase) -> Self {
        Self { repository: None, location: None, identity: Identity::of_passphrase(passphrase) }
    }

    /// Reads the file at `path`, which must not be locked by a passphrase.
    pub fn read(path: &Path) -> Result<Self, VaultError> {
        let nobody: Arc<dyn PluginDialog> = Arc::new(NoDialog);
        RecoveryKeyFile::read(path)?.key(&nobody)
    }
}

/// The repository in a comment of a recovery key file.
fn repository_of(lines: &[u8]) -> Result<Option<RepositoryId>, String> {
    let comment =
        lines.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(REPOSITORY_COMMENT.as_bytes()));
    let Some(id) = comment else { return Ok(None) };
    let id = std::str::from_utf8(id).map_err(|_| "its repository id is not text".to_owned())?;
    id.trim().parse().map(Some).map_err(|error| format!("its repository id: {error}"))
}

/// The location in a comment of a recovery key file.
fn location_of(lines: &[u8]) -> Option<String> {
    let comment =
        lines.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(LOCATION_COMMENT.as_bytes()))?;
    let location = std::str::from_utf8(comment).ok()?.trim();
    (!location.is_empty()).then(|| location.to_owned())
}

/// The text of a recovery key file.
pub(crate) fn recovery_key_text(
    secret: &str,
    recipient: &str,
    repository: &RepositoryId,
    location: &str,
    created: jiff::Timestamp,
) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(1024));
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "# Lifeboat recovery key. Whoever holds this file can read every backup in the repository.\n\
         # Lose this file, and the others like it, and lose everything: nobody can make it again.\n\
         # Keep it off the hosts that it is to save, in two places.\n\
         {LOCATION_COMMENT}{location}\n\
         {REPOSITORY_COMMENT}{repository}\n\
         # created: {created:.0}\n\
         # public key: {recipient}\n\
         {secret}\n"
    );
    text
}

/// Writes a new key file with mode 0600. Never overwrites an existing file.
pub fn write_private(path: &Path, text: &str) -> Result<(), VaultError> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(
        |error| match error.kind() {
            io::ErrorKind::AlreadyExists => VaultError::KeyFile {
                path: path.to_owned(),
                reason: "it already exists, and key files are never overwritten".to_owned(),
            },
            _ => VaultError::Local { path: path.to_owned(), action: "written", source: error },
        },
    )?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    written.and_then(|()| fs::File::open(folder)?.sync_all()).map_err(|source| VaultError::Local {
        path: path.to_owned(),
        action: "written",
        source,
    })
}

/// Reads a key file that only its owner can read, and that belongs to this user or to root. The check uses the open
/// file, so nobody can exchange it between the check and the reading.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let bad = |reason: String| VaultError::KeyFile { path: path.to_owned(), reason };
    // Opening a pipe would wait for a writer.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let open = OpenOptions::new().read(true).custom_flags(nonblocking).open(path);
    let file = open.map_err(|error| bad(error.to_string()))?;
    let meta = file.metadata().map_err(|error| bad(error.to_string()))?;
    let user = rustix::process::geteuid().as_raw();
    is_private(meta.is_file(), meta.mode(), meta.uid(), user).map_err(bad)?;
    read_capped(file, SMALL_FILE_BYTES).map(Zeroizing::new).map_err(|error| bad(error.to_string()))
}

/// Whether a key file with this mode and owner is this user's own.
fn is_private(is_file: bool, mode: u32, owner: u32, user: u32) -> Result<(), String> {
    if !is_file {
        return Err("it is not a file".to_owned());
    }
    if mode & 0o077 != 0 {
        return Err(format!("others can read it, its mode is {:04o}; chmod 600 it", mode & 0o777));
    }
    if owner != user && owner != 0 {
        return Err(format!(
            "it belongs to user {owner}, who could exchange it, and not to user {user} or root; chown it, or give a \
             copy of your own"
        ));
    }
    Ok(())
}

pub(crate) fn decode(name: &str, text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    STANDARD.decode(text).map(Zeroizing::new).map_err(|_| format!("`{name}` is not base64"))
}

fn decode_key(name: &str, text: &str) -> Result<Zeroizing<[u8; 32]>, String> {
    let bytes = decode(name, text)?;
    let mut key = Zeroizing::new([0; 32]);
    if bytes.len() != key.len() {
        return Err(format!("`{name}` has {} bytes, not 32", bytes.len()));
    }
    key.copy_from_slice(&bytes);
    let mut bytes = bytes;
    bytes.zeroize();
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_file_belongs_to_its_user_and_is_closed_to_others() {
        for (is_file, mode, owner, user, said) in [
            (true, 0o600, 1000, 1000, None),
            (true, 0o400, 0, 1000, None),
            (true, 0o600, 0, 0, None),
            (false, 0o600, 1000, 1000, Some("not a file")),
            (true, 0o640, 1000, 1000, Some("others can read it")),
            (true, 0o604, 0, 0, Some("others can read it")),
            (true, 0o600, 1000, 0, Some("belongs to user 1000")),
            (true, 0o600, 1001, 1000, Some("belongs to user 1001")),
        ] {
            let found = is_private(is_file, mode, owner, user);
            match said {
                None => assert_eq!(found, Ok(())),
                Some(said) => assert!(found.clone().unwrap_err().contains(said), "{found:?}"),
            }
        }
    }

    #[test]
    fn anything_but_a_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let file = folder.path().join("file");
        write_private(&file, "secret").unwrap();
        assert_eq!(&read_private(&file).unwrap()[..], b"secret");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        for path in [&pipe, folder.path(), &file] {
            assert!(matches!(read_private(path), Err(VaultError::KeyFile { .. })), "{}", path.display());
        }
    }
}
