//! The flags that name keys, and what the keys open.

use std::path::PathBuf;

use clap::Args;
use lifeboat_vault::{NotARepositoryId, RecoveryKey, Repository, Restorer, Viewer, WriterKey};

use crate::{Failure, RepositoryFlags};

/// The key to list snapshots with: whichever there is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Keys")]
pub struct ViewerFlags {
    /// This host's writer key
    #[arg(long, value_name = "FILE", env = "LIFEBOAT_WRITER_KEY", hide_env_values = true)]
    pub writer_key: Option<PathBuf>,
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
    /// Opens a repository to list its snapshots. With both keys at hand the recovery key is taken: it sees more.
    pub async fn open(&self, repository: &RepositoryFlags) -> Result<Viewer, Failure> {
        match (&self.identity, &self.writer_key) {
            (Some(identity), _) => {
                let key = RecoveryKey::read(identity)?;
                let restorer = Restorer::open(repository.open().await?, &key, None).await?;
                Ok(restorer.viewer().clone())
            }
            (None, Some(writer_key)) => {
                let key = WriterKey::read(writer_key)?;
                let repository = Repository::open(repository.open().await?, &key.repository).await?;
                Ok(Viewer::for_writer(repository, &key)?)
            }
            (None, None) => Err(Failure::usage(
                "no key was given",
                "give --writer-key FILE or --identity FILE (or LIFEBOAT_WRITER_KEY, LIFEBOAT_IDENTITY)",
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
        Ok(Restorer::open(repository.open().await?, &key, root).await?)
    }
}
