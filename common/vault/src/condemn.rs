//! What writers must not lean on: frames that a keeper has condemned, and frames that a repair found lost.
//!
//! A condemnation is signed by a keeper (or the root) and sealed under the group's index key. What it names is deleted
//! no sooner than a day after the lease of any run that may not have seen it, and only what is then still unneeded.

use minicbor::{Decode, Encode};

use crate::VaultError;
use crate::frame_set::{FrameSet, RunFrames};
use crate::ids::{Signer, WriterId};
use crate::keys::GroupView;
use crate::layout;
use crate::repository::Repository;
use crate::seal::Purpose;

/// The seconds of a day, in which leases, graces and floors are counted.
pub(crate) const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;
/// How long a run may take, by the storage's clock, from its registration to its manifest.
pub const LEASE_DAYS: i64 = 7;
/// How long a condemnation stands before what it names is deleted, unless a prune is told otherwise.
pub const GRACE_DAYS: i64 = LEASE_DAYS + 1;

/// The body of a condemnation.
#[derive(Debug, Clone, Default, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Condemnation {
    /// Frames that no new snapshot may lean on.
    #[n(0)]
    pub(crate) frames: Vec<RunFrames>,
    /// The names of the objects that are to be deleted.
    #[n(1)]
    pub(crate) objects: Vec<String>,
}

/// The body of a loss: what a repair found damaged or missing.
#[derive(Debug, Clone, Default, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Loss {
    /// Frames that are nowhere whole.
    #[n(0)]
    pub(crate) frames: Vec<RunFrames>,
}

/// A condemnation as it was found.
#[derive(Debug)]
pub(crate) struct FoundCondemnation {
    pub(crate) key: String,
    /// When it was stored, by the storage's clock.
    pub(crate) stored: jiff::Timestamp,
    pub(crate) body: Condemnation,
}

impl Repository {
    /// Reads the condemnations of a group by those who may condemn today. What is damaged, or by someone who may not,
    /// comes as an error beside the others.
    pub(crate) async fn condemnations(
        &self,
        group: &GroupView,
    ) -> Result<(Vec<FoundCondemnation>, Vec<VaultError>), VaultError> {
        let (mut found, mut unusable) = (Vec::new(), Vec::new());
        for entry in self.store.list(layout::CONDEMNED).await? {
            let mut parts = entry.key.split('/').skip(1);
            let (Some(by), Some(of)) = (parts.next(), parts.next()) else { continue };
            if of != group.id.to_string() {
                continue;
            }
            let key_of = |signer: Signer| {
                let folder = layout::condemned(signer, group.id);
                let stands_there = entry.key.starts_with(&folder) && folder.contains(by);
                self.roster.pruning_key_of(signer).filter(|_| stands_there)
            };
            match self.read_signed::<Condemnation>(&entry.key, Purpose::Condemnation, group, key_of).await {
                Ok((_, body)) => {
                    found.push(FoundCondemnation { key: entry.key, stored: entry.modified, body });
                }
                Err(error @ VaultError::Store(_)) => return Err(error),
                // Swept between the listing and the reading.
                Err(VaultError::Missing { .. }) => {}
                Err(error) => unusable.push(error),
            }
        }
        Ok((found, unusable))
    }

    /// The frames of a group that a repair found lost.
    pub(crate) async fn losses(&self, group: &GroupView) -> Result<(FrameSet, Vec<VaultError>), VaultError> {
        let (mut lost, mut unusable) = (FrameSet::default(), Vec::new());
        for entry in self.store.list(&layout::losses(group.id)).await? {
            let key_of = |signer| self.roster.key_of(signer);
            match self.read_signed::<Loss>(&entry.key, Purpose::Loss, group, key_of).await {
                Ok((_, loss)) => lost.add_records(&loss.frames),
                Err(error @ VaultError::Store(_)) => return Err(error),
                Err(VaultError::Missing { .. }) => {}
                Err(error) => unusable.push(error),
            }
        }
        Ok((lost, unusable))
    }

    /// The frames of a group that a restore of `writer`'s snapshots takes for lost: by its own word, a keeper's or the
    /// root's. Another writer could call frames lost that are whole.
    pub(crate) async fn losses_for(
        &self,
        group: &GroupView,
        writer: WriterId,
    ) -> Result<FrameSet, VaultError> {
        let mut lost = FrameSet::default();
        for entry in self.store.list(&layout::losses(group.id)).await? {
            let key_of = |signer| match signer {
                Signer::Writer(id) if id == writer => self.roster.key_of(signer),
                signer => self.roster.pruning_key_of(signer),
            };
            match self.read_signed::<Loss>(&entry.key, Purpose::Loss, group, key_of).await {
                Ok((_, loss)) => lost.add_records(&loss.frames),
                Err(error @ VaultError::Store(_)) => return Err(error),
                Err(error) => tracing::info!("{error}"),
            }
        }
        Ok(lost)
    }

    /// The frames of a group that a new snapshot must not lean on.
    pub(crate) async fn excluded(
        &self,
        group: &GroupView,
    ) -> Result<(FrameSet, Vec<VaultError>), VaultError> {
        let (condemnations, mut unusable) = self.condemnations(group).await?;
        let (mut excluded, others) = self.losses(group).await?;
        unusable.extend(others);
        for condemnation in condemnations {
            excluded.add_records(&condemnation.body.frames);
        }
        Ok((excluded, unusable))
    }
}
