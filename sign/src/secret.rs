//! Private key files and their passphrases: where they come from, and how they are protected from other users.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use lifeboat_core::limits::{SMALL_FILE_BYTES, read_capped};
use lifeboat_core::{Fault, Kind};
use lifeboat_shell::Ui;
use lifeboat_trust::key_file::{self, KeyFileError, Passphrase};
use lifeboat_trust::private_key::PrivateKey;
use zeroize::Zeroizing;

/// The environment variable that holds the passphrase, the same as cosign's.
const PASSPHRASE_VARIABLE: &str = "COSIGN_PASSWORD";

/// Why a private key cannot be used or created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The file cannot be read.
    #[error("the key file {} cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The file is not a usable private key.
    #[error("the key file {} cannot be used", path.display())]
    File { path: PathBuf, source: KeyFileError },
    /// Other users may read or write the file.
    #[error("others can read the private key {} (mode {mode:04o}, expected 0600)", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    /// A key file already exists.
    #[error("{} is there already, and key files are never overwritten", path.display())]
    Exists { path: PathBuf },
    /// The file cannot be written.
    #[error("the key file {} cannot be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// There is nowhere to get the passphrase from.
    #[error(
        "the passphrase of the key is missing: {PASSPHRASE_VARIABLE} is not set, and there is no terminal to ask on"
    )]
    NoPassphrase,
    /// The terminal gave no passphrase.
    #[error("no passphrase could be read from the terminal")]
    Prompt(#[source] io::Error),
    /// The two entries differ.
    #[error("the two passphrases differ")]
    PassphrasesDiffer,
}

impl Fault for SecretError {
    fn kind(&self) -> Kind {
        match self {
            Self::Write { .. } => Kind::Refused,
            _ => Kind::Usage,
        }
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => {
                "give the private key's file to `--key`; `lifeboat-sign keygen PREFIX` makes one".to_owned()
            }
            Self::File { source, .. } => return source.advice(),
            Self::Exposed { path, .. } => format!(
                "run `chmod 600 {}`; if someone may have read it, make a new key instead and retire this one",
                path.display()
            ),
            Self::Exists { .. } => "choose another prefix, or move the old files away first".to_owned(),
            Self::Write { .. } => "check that the folder is there and can be written to".to_owned(),
            Self::NoPassphrase => {
                format!(
                    "set {PASSPHRASE_VARIABLE} (an empty value is an empty passphrase), or run it on a terminal"
                )
            }
            Self::Prompt(_) | Self::PassphrasesDiffer => "run the command again".to_owned(),
        })
    }
}

/// Reads the private key in `path`. Refuses it if other users can read it, and opens it with the passphrase from the
/// environment or the terminal.
pub(crate) fn open(path: &Path, ui: &Ui) -> Result<PrivateKey, SecretError> {
    let unusable = |source| SecretError::File { path: path.to_owned(), source };
    let content = read_private(path, key_file::check_private)?;
    let passphrase = match passphrase_from_environment() {
        Some(passphrase) => passphrase,
        None if ui.can_ask() => ask(&format!("Passphrase of {}: ", path.display()))?,
        None => return Err(SecretError::NoPassphrase),
    };
    key_file::open_private(&content, &passphrase).map_err(unusable)
}

/// Reads an unencrypted private key. Refuses it if other users can read it.
pub(crate) fn import(path: &Path) -> Result<PrivateKey, SecretError> {
    let content = read_private(path, |content| key_file::import_private(content).map(drop))?;
    key_file::import_private(&content).map_err(|source| SecretError::File { path: path.to_owned(), source })
}

/// Reads a file that `check` accepts as a private key, and that other users may not read.
fn read_private(
    path: &Path,
    check: impl Fn(&[u8]) -> Result<(), KeyFileError>,
) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let read = |source| SecretError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    if metadata.is_dir() {
        return Err(read(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let content = read_capped(file, SMALL_FILE_BYTES).map(Zeroizing::new).map_err(read)?;
    // Check first that this is a private key: a public key may well be readable.
    check(&content).map_err(|source| SecretError::File { path: path.to_owned(), source })?;
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode: metadata.mode() & 0o7777 });
    }
    Ok(content)
}

/// The passphrase of a new key: from the environment, or asked twice.
pub(crate) fn new_passphrase(ui: &Ui) -> Result<Passphrase, SecretError> {
    if let Some(passphrase) = passphrase_from_environment() {
        return Ok(passphrase);
    }
    if !ui.can_ask() {
        return Err(SecretError::NoPassphrase);
    }
    let first = ask("Passphrase of the new key: ")?;
    if ask("The same passphrase again: ")? != first {
        return Err(SecretError::PassphrasesDiffer);
    }
    Ok(first)
}

fn passphrase_from_environment() -> Option<Passphrase> {
    std::env::var_os(PASSPHRASE_VARIABLE).map(|value| Passphrase::new(value.into_vec()))
}

fn ask(prompt: &str) -> Result<Passphrase, SecretError> {
    rpassword::prompt_password(prompt)
        .map(|text| Passphrase::new(text.into_bytes()))
        .map_err(SecretError::Prompt)
}

/// Writes a new file that only its owner can read (`mode` 0600) or that all can (0644), and never overwrites one.
pub(crate) fn write_new(path: &Path, content: &str, mode: u32) -> Result<(), SecretError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                SecretError::Exists { path: path.to_owned() }
            } else {
                SecretError::Write { path: path.to_owned(), source }
            }
        })?;
    file.write_all(content.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|source| SecretError::Write { path: path.to_owned(), source })
}
