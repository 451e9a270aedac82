//! Whose word counts: the public keys that the user names.

use std::io;
use std::path::PathBuf;

use lifeboat_core::limits::{SMALL_FILE_BYTES, read_file_capped};
use lifeboat_core::{Fault, Kind};
use lifeboat_trust::judge::{Policy, Signer};
use lifeboat_trust::key_file::{self, KeyFileError};

/// Why a public key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignersError {
    /// The file cannot be read.
    #[error("the key file {} cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The file is no public key.
    #[error("the key file {} cannot be used", path.display())]
    File { path: PathBuf, source: KeyFileError },
}

impl Fault for SignersError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Read { .. } => Some("give the signer's .pub file to `--key`".to_owned()),
            Self::File { source, .. } => source.advice(),
        }
    }
}

/// Reads every key; one that cannot be used fails the whole call, so that nobody believes it counted.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Policy, SignersError> {
    let mut policy = Policy::default();
    for path in paths {
        let file = read_file_capped(path, SMALL_FILE_BYTES)
            .map_err(|source| SignersError::Read { path: path.clone(), source })?;
        let key = key_file::read_public(&file)
            .map_err(|source| SignersError::File { path: path.clone(), source })?;
        policy.signers.push(Signer::Key { name: path.display().to_string(), key });
    }
    Ok(policy)
}
