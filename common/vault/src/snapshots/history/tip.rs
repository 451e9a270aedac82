//! The end of a writer's chain, for the run that continues it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::error::{ObjectError, VaultError};
use crate::format::layout;
use crate::format::manifest::Manifest;
use crate::format::roster::Writer;
use crate::repository::open::Repository;

/// The end of a writer's chain.
#[derive(Debug)]
pub(crate) struct Tip {
    /// The first sequence that was never used.
    pub(crate) next: u64,
    /// The id of the snapshot before, if it is known.
    pub(crate) previous: Option<Sha256Digest>,
    /// The newest manifest, if it can be read.
    pub(crate) newest: Option<Manifest>,
}

impl Tip {
    /// The newest manifest of a writer, or `None` if it has none. The inner error means that the manifest is not whole
    /// or may be out of reach, or that there is less than this machine has seen before.
    pub(crate) async fn newest(
        repository: &Repository,
        writer: &Writer,
    ) -> Result<Result<Option<Manifest>, VaultError>, StoreError> {
        let (entries, gap) = repository.numbered_and_gap(&layout::snapshots_of(writer.id)).await?;
        if let Some(gap) = gap {
            return Ok(Err(gap.into()));
        }
        let newest = entries.iter().filter_map(|entry| layout::sequence_of(&entry.key)).max();
        let head = match newest {
            Some(sequence) => match repository.manifest(writer, sequence).await? {
                Ok(manifest) => Some(manifest),
                Err(error) => return Ok(Err(error.into())),
            },
            None => None,
        };
        let Some(pinned) = repository.pinned.heads.get(&writer.id) else { return Ok(Ok(head)) };
        Ok(match &head {
            Some(found) if found.predicate.sequence > pinned.sequence => Ok(head),
            Some(found) if found.predicate.sequence == pinned.sequence => {
                if found.id == pinned.id {
                    Ok(head)
                } else {
                    let key = layout::snapshot(writer.id, pinned.sequence);
                    let reason = format!("snapshot {} was seen in its place before", pinned.id);
                    Err(ObjectError::damaged(key, reason).into())
                }
            }
            _ => {
                let first = head.as_ref().map_or(0, |head| head.predicate.sequence + 1);
                Err(VaultError::Withheld { writer: writer.id, first, last: pinned.sequence })
            }
        })
    }

    /// The end of a writer's chain. A damaged newest snapshot does not stop its host from backing up if this machine
    /// knows its id, and neither do snapshots that were given up: their places are not used again.
    pub(crate) async fn of(repository: &Repository, writer: &Writer) -> Result<Self, VaultError> {
        let (newest, damage) = match Self::newest(repository, writer).await? {
            Ok(newest) => (newest, None),
            // It existed when it was listed.
            Err(error @ VaultError::Object(ObjectError::Missing { .. })) => return Err(error),
            Err(error) => (None, Some(error)),
        };
        let pinned = repository.pinned.heads.get(&writer.id).copied();
        let (requests, gap) = repository.numbered_and_gap(&layout::forget_of(writer.id)).await?;
        if let Some(gap) = gap {
            // A snapshot with the number of a hidden request would be forgotten at once.
            return Err(gap.into());
        }
        let requests: BTreeSet<u64> =
            requests.iter().filter_map(|entry| layout::sequence_of(&entry.key)).collect();
        let mut used = newest.as_ref().map(|newest| newest.predicate.sequence);
        if let Some(damage) = damage {
            let entries = repository.objects_below(&layout::snapshots_of(writer.id)).await?;
            let listed = entries.iter().filter_map(|entry| layout::sequence_of(&entry.key)).max();
            let is_explained = match (&damage, listed) {
                (VaultError::Withheld { first, last, .. }, _) => {
                    are_requested(repository, writer, *first..=*last, &requests).await?
                }
                (_, Some(listed)) if pinned.is_some_and(|pinned| pinned.sequence == listed) => true,
                (_, Some(listed)) => are_requested(repository, writer, listed..=listed, &requests).await?,
                (_, None) => false,
            };
            if !is_explained {
                return Err(damage);
            }
            tracing::warn!("{damage}");
            used = used.max(listed).max(pinned.map(|pinned| pinned.sequence));
        }
        let mut next = used.map_or(0, |used| used + 1);
        // A place that was given up is not used again. Requests further on are for snapshots that do not exist: someone
        // who may store one must not be able to choose the writer's next number.
        while are_requested(repository, writer, next..=next, &requests).await? {
            next += 1;
        }
        if next > layout::MOST_NUMBER {
            return Err(VaultError::NoMoreNumbers { writer: writer.id });
        }
        let of_pin = pinned.filter(|pinned| pinned.sequence + 1 == next).map(|pinned| pinned.id);
        Ok(Self { next, previous: of_pin.or(newest.as_ref().map(|newest| newest.id)), newest })
    }
}

/// Whether there is a request that can be trusted for each of these sequences.
async fn are_requested(
    repository: &Repository,
    writer: &Writer,
    sequences: RangeInclusive<u64>,
    listed: &BTreeSet<u64>,
) -> Result<bool, StoreError> {
    if !sequences.clone().all(|sequence| listed.contains(&sequence)) {
        return Ok(false);
    }
    for sequence in sequences {
        if repository.request(writer, sequence).await?.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}
