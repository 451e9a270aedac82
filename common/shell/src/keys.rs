//! The flags that name keys, and what the keys open.

use std::path::PathBuf;

use clap::Args;
use lifeboat_vault::{
    KeeperKey, NotARepositoryId, PinFile, RecoveryKey, Repository, RepositoryId, Restorer, Viewer, WriterKey,
};

use crate::{Failure, RepositoryFlags, state_folder};

/// The key to list snapshots with: whichever there is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Keys")]
pub struct ViewerFlags {
    /// This host's writer key
    #[arg(long, value_name = "FILE", env = "LIFEBOAT_WRITER_KEY", hide_env_values = true)]
    pub writer_key: Option<PathBuf>,
    /// A keeper key
    #[arg(long, value_name = "FILE", env = "LIFEBOAT_KEEPER_KEY", hide_env_values = true)]
    pub keeper_key: Option<PathBuf>,
    /// A recovery key, where this is not a backup host
    #[arg(long, value_name = "FILE", env = "LIFEBOAT_IDENTITY", hide_env_values = true)]
    pub identity: Option<PathBuf>,
}

/// The key to read snapshots with.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Keys")]
pub struct RecoveryFlags {
    /// A recovery key, as `lifeboat-backup init` wrote it
    #[arg(long, value_name = "FILE", env = "LIFEBOAT_IDENTITY", hide_env_values = true)]
    pub identity: Option<PathBuf>,
    /// The repository's id, where the recovery key does not name it
    #[arg(long, value_name = "ID")]
    pub root: Option<String>,
}

impl ViewerFlags {
    /// Opens a repository. Of several keys at hand the one that sees most is taken: the recovery key, then the keeper
    /// key.
    pub async fn open(&self, repository: &RepositoryFlags) -> Result<Viewer, Failure> {
        match (&self.identity, &self.keeper_key, &self.writer_key) {
            (Some(identity), _, _) => {
                let key = RecoveryKey::read(identity)?;
                let restorer = Restorer::open(repository.open().await?, &key, None, pins_of).await?;
                Ok(restorer.viewer().clone())
            }
            (None, Some(keeper_key), _) => {
                let key = KeeperKey::read(keeper_key)?;
                let repository = open_repository(repository, &key.repository).await?;
                Ok(Viewer::for_keeper(repository, &key).await?)
            }
            (None, None, Some(writer_key)) => {
                let key = WriterKey::read(writer_key)?;
                let repository = open_repository(repository, &key.repository).await?;
                Ok(Viewer::for_writer(repository, &key)?)
            }
            (None, None, None) => Err(Failure::usage(
                "no key was given",
                "give --writer-key, --keeper-key or --identity FILE (or LIFEBOAT_WRITER_KEY, LIFEBOAT_KEEPER_KEY, \
                 LIFEBOAT_IDENTITY)",
            )),
        }
    }
}

impl RecoveryFlags {
    /// Opens a repository to read everything in it.
    pub async fn open(&self, repository: &RepositoryFlags) -> Result<Restorer, Failure> {
        let Some(identity) = &self.identity else {
            return Err(Failure::usage(
                "no recovery key was given; a writer key cannot read backups back",
                "give --identity FILE (or LIFEBOAT_IDENTITY), a recovery key that `lifeboat-backup init` wrote",
            ));
        };
        let root = match &self.root {
            Some(text) => Some(text.parse().map_err(NotARepositoryId)?),
            None => None,
        };
        let key = RecoveryKey::read(identity)?;
        Ok(Restorer::open(repository.open().await?, &key, root, pins_of).await?)
    }
}

/// What this machine has seen of a repository lies in its state folder.
fn pins_of(repository: &RepositoryId) -> PinFile {
    PinFile::in_state_folder(&state_folder(), repository)
}

/// Opens the repository that a key names.
pub async fn open_repository(
    flags: &RepositoryFlags,
    expected: &RepositoryId,
) -> Result<Repository, Failure> {
    Ok(Repository::open(flags.open().await?, expected, pins_of(expected)).await?)
}
