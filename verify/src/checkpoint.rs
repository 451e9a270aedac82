//! The newest snapshots seen so far, which must not disappear.

use std::fs;
use std::path::Path;

use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::{SMALL_FILE_BYTES, read_file_capped};
use lifeboat_shell::{Failure, write_output_file};
use lifeboat_vault::{ManifestChain, RepositoryId, SignedManifest, WriterId};
use serde::{Deserialize, Serialize};

const SCHEMA: &str = "lifeboat.checkpoint/v1";

/// The heads of a repository when they were last seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkpoint {
    schema: String,
    repository: RepositoryId,
    heads: Vec<Head>,
}

/// The newest snapshot of a writer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    writer: String,
    sequence: u64,
    id: Sha256Digest,
}

impl Checkpoint {
    /// The present heads.
    pub(crate) fn of(repository: RepositoryId, chain: &ManifestChain) -> Self {
        let heads = chain.heads().map(|manifest| Head {
            writer: manifest.writer().to_string(),
            sequence: manifest.sequence(),
            id: manifest.id(),
        });
        Self { schema: SCHEMA.to_owned(), repository, heads: heads.collect() }
    }

    /// Reads a checkpoint. A missing file says nothing.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let unusable = |reason: String| {
            let path = path.display();
            Failure::usage(
                format!("the checkpoint {path} cannot be used: {reason}"),
                "give a file that `lifeboat-verify snapshot --checkpoint` wrote, or a new name",
            )
        };
        let bytes = match read_file_capped(path, SMALL_FILE_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(error.to_string())),
        };
        let checkpoint: Self = serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
        if checkpoint.schema == SCHEMA {
            Ok(Some(checkpoint))
        } else {
            Err(unusable(format!("its schema is `{}`", checkpoint.schema.escape_default())))
        }
    }

    /// Checks that the repository was not rolled back behind this checkpoint.
    pub(crate) fn check(&self, repository: RepositoryId, chain: &ManifestChain) -> Result<(), String> {
        if self.repository != repository {
            return Err(format!(
                "the checkpoint is of repository {}, and this is {repository}",
                self.repository
            ));
        }
        for Head { writer, sequence, id } in &self.heads {
            let writer: WriterId = writer.parse().map_err(|error| format!("the checkpoint: {error}"))?;
            let newest = chain.heads().find(|head| head.writer() == writer).map(SignedManifest::sequence);
            if newest.is_none_or(|newest| newest < *sequence) {
                return Err(format!("snapshot {sequence} of writer {writer} was seen before, and is gone"));
            }
            // A snapshot that was forgotten properly is missing, and has newer ones after it.
            if let Some(found) = chain.at(writer, *sequence)
                && found.id() != *id
            {
                return Err(format!(
                    "snapshot {sequence} of writer {writer} was {id} when it was seen before, and is {} now",
                    found.id()
                ));
            }
        }
        Ok(())
    }

    /// Writes the checkpoint atomically.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let json = serde_json::to_vec_pretty(self).expect("strings and numbers always serialise");
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(folder)?;
            write_output_file(path, &json, 0o600)
        };
        write().map_err(|error| {
            let path = path.display();
            Failure::refused(
                format!("the checkpoint {path} cannot be written: {error}"),
                "choose another file",
            )
        })
    }
}
