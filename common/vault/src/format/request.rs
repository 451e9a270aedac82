//! Requests to forget a snapshot: signed by its writer, by a keeper, or by the root.
//!
//! A request stays after the snapshot is gone: it explains the gap in the writer's sequence, which would otherwise mean
//! that someone withholds a snapshot.

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_trust::dsse::Envelope;
use lifeboat_trust::key::SigningKey;
use serde::{Deserialize, Serialize};

use crate::format::FORMAT_VERSION;
use crate::format::roster::Roster;
use crate::ids::{KeeperId, RepositoryId, Signer, WriterId};

pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.lifeboat.forget.v0+json";

/// The contents of a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) format: u8,
    pub(crate) repository: RepositoryId,
    pub(crate) writer: WriterId,
    pub(crate) sequence: u64,
    /// The snapshot's id; absent if its manifest could not be read any more.
    pub(crate) snapshot: Option<Sha256Digest>,
    pub(crate) by: By,
    /// When it was made, by the signer's clock.
    pub(crate) time: Timestamp,
}

/// The signer of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    Writer(WriterId),
    Keeper(KeeperId),
    Root,
}

impl From<Signer> for By {
    fn from(signer: Signer) -> Self {
        match signer {
            Signer::Writer(id) => Self::Writer(id),
            Signer::Keeper(id) => Self::Keeper(id),
            Signer::Root => Self::Root,
        }
    }
}

impl From<By> for Signer {
    fn from(by: By) -> Self {
        match by {
            By::Writer(id) => Self::Writer(id),
            By::Keeper(id) => Self::Keeper(id),
            By::Root => Self::Root,
        }
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("{0}")]
    Envelope(String),
    #[error("it does not decode: {0}")]
    Malformed(String),
    #[error("it belongs elsewhere")]
    OtherPlace,
    #[error("it is signed by {0}, who may not make this request")]
    NotAllowed(Signer),
}

impl Request {
    pub(crate) fn new(
        repository: &RepositoryId,
        writer: WriterId,
        sequence: u64,
        snapshot: Option<Sha256Digest>,
        by: Signer,
        time: Timestamp,
    ) -> Self {
        let by = by.into();
        Self { format: FORMAT_VERSION, repository: *repository, writer, sequence, snapshot, by, time }
    }

    /// The stored bytes.
    pub(crate) fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let payload = serde_json::to_vec(self).expect("a request is strings and numbers");
        Envelope::sign(PAYLOAD_TYPE, payload, key).to_json()
    }

    /// Checks a request that is stored at `writer`, `sequence`. Its signer may have been removed since: the caller
    /// decides whether it still counts.
    pub(crate) fn verify(
        bytes: &[u8],
        roster: &Roster,
        writer: WriterId,
        sequence: u64,
    ) -> Result<Self, RequestError> {
        let envelope =
            Envelope::from_json(bytes).map_err(|error| RequestError::Envelope(error.to_string()))?;
        let claimed: Self = serde_json::from_slice(&envelope.payload)
            .map_err(|error| RequestError::Malformed(error.to_string()))?;
        let signer = Signer::from(claimed.by);
        let may_ask = match signer {
            Signer::Writer(by) => by == writer,
            Signer::Keeper(_) | Signer::Root => true,
        };
        let key = roster.key_of(signer).filter(|_| may_ask).ok_or(RequestError::NotAllowed(signer))?;
        envelope.verify(PAYLOAD_TYPE, &key).map_err(|error| RequestError::Envelope(error.to_string()))?;
        let here = claimed.format == FORMAT_VERSION
            && claimed.repository == roster.repository
            && claimed.writer == writer
            && claimed.sequence == sequence;
        if here { Ok(claimed) } else { Err(RequestError::OtherPlace) }
    }

    /// Whether its signer may still have snapshots forgotten.
    pub(crate) fn counts(&self, roster: &Roster) -> bool {
        match self.by {
            By::Writer(id) => roster.writer(id).is_some_and(|writer| writer.revoked.is_none()),
            By::Keeper(id) => roster.keeper(id).is_some_and(|keeper| keeper.removed.is_none()),
            By::Root => true,
        }
    }
}
