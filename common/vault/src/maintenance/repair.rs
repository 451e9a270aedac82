//! Repairs a repository: rebuilds what a check found damaged from what is whole, and marks what is lost, so that the
//! next backup stores it again if it still exists.
//!
//! Works in the order of every writer: what others refer to first. Rebuilds index objects from the trailers of packs
//! (`index`), registers runs again from the keys in pack headers, marks lost frames, wraps sealed keys again (`keys`),
//! and moves whole frames out of damaged packs (`salvage`). Only then does it delete what was replaced, if its key may
//! delete. Changes nothing while anything could not be read: an unreachable object is not lost.

mod decisions;
mod files;
mod index;
mod keys;
mod requests;
pub(crate) mod salvage;

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;

use crate::error::VaultError;
use crate::format::condemnation::Loss;
use crate::format::layout;
use crate::format::object_name::Name;
use crate::format::pack::MAX_PACK;
use crate::format::signed::{Body, Pen, SignedObject};
use crate::ids::{RunId, Signer, WriterId};
use crate::keys::GroupView;
use crate::maintenance::check::claims::is_all_denied;
use crate::maintenance::check::objects::{Objects, ReadFault};
use crate::maintenance::check::survey::{GroupSurvey, Survey};
use crate::maintenance::check::{
    CheckOptions, Damage, DamageKind, Findings, Maintenance, ReadData, Shard, Unread,
};
use crate::repository::objects::check_size;
use crate::repository::open::{Repository, marker_of};

pub use files::{AffectedFile, AffectedSnapshot};

/// Options of a repair.
#[derive(Debug, Clone, Copy, Default)]
pub struct RepairOptions {
    /// Report what would be done, but do nothing.
    pub dry_run: bool,
    /// Give up snapshots that cannot be repaired, so that prune can continue.
    pub forget_damaged: bool,
}

/// The results of a repair.
#[derive(Debug, Default)]
pub struct Repaired {
    /// What was done, or would be done, in order.
    pub actions: Vec<Action>,
    /// How many frames were newly marked as lost.
    pub marked_frames: u64,
    /// The snapshots that need frames which are not stored whole anywhere, and the known cost.
    pub affected: Vec<AffectedSnapshot>,
    /// What is still damaged.
    pub remaining: Vec<Damage>,
    /// What could not be read. If anything cannot be read before the repair begins, it changes nothing.
    pub unread: Vec<Unread>,
}

/// One action of a repair.
#[derive(Debug, Clone)]
pub struct Action {
    /// The object.
    pub key: String,
    /// What happens to it and why.
    pub what: String,
}

/// Writes and removes objects, or only notes what it would do.
pub(crate) struct Repairer<'a> {
    repository: &'a Repository,
    dry_run: bool,
    may_remove: bool,
    pen: Pen<'a>,
    now: Timestamp,
    actions: Vec<Action>,
}

impl Repairer<'_> {
    /// Writes an object, unless it is larger than readers accept.
    pub(crate) async fn write(
        &mut self,
        key: String,
        bytes: impl Into<Bytes>,
        what: String,
    ) -> Result<(), VaultError> {
        let bytes = bytes.into();
        let name = Name::parse(&key).ok_or(VaultError::Internal("a repair writes objects of the format"))?;
        check_size(&key, &bytes, name.cap())?;
        if !self.dry_run {
            self.repository.store.create(&key, bytes).await?;
        }
        self.actions.push(Action { key, what });
        Ok(())
    }

    /// Signs an object of a group. A hostile member's pack may list what readers refuse: such an object is skipped, and
    /// everything else can still be repaired.
    pub(crate) fn sign<T: Body>(
        &self,
        group: &GroupView,
        body: &T,
    ) -> Result<Option<SignedObject>, VaultError> {
        match self.repository.sign(group, self.pen, body) {
            Err(error @ VaultError::Unsound { .. }) => {
                tracing::warn!("{error}");
                Ok(None)
            }
            signed => signed.map(Some),
        }
    }

    /// Signs an object and writes it. Returns whether it was written.
    pub(crate) async fn write_signed<T: Body>(
        &mut self,
        group: &GroupView,
        body: &T,
        what: String,
    ) -> Result<bool, VaultError> {
        let Some(object) = self.sign(group, body)? else { return Ok(false) };
        self.write(object.name, object.bytes, what).await?;
        Ok(true)
    }

    /// Writes an object and compares it with what the storage returns, because what it replaces is about to be deleted.
    pub(crate) async fn write_and_read_back(
        &mut self,
        key: String,
        bytes: Vec<u8>,
        what: String,
    ) -> Result<(), VaultError> {
        let hash = Sha256Digest::of(&bytes);
        self.write(key.clone(), bytes, what).await?;
        if !self.dry_run {
            self.repository.read_hashed(&key, &hash, MAX_PACK).await??;
        }
        Ok(())
    }

    /// Removes an object that was replaced or is useless.
    pub(crate) async fn remove(&mut self, key: &str, why: &str) -> Result<(), VaultError> {
        if !self.dry_run {
            self.repository.store.delete(key).await?;
        }
        self.actions.push(Action { key: key.to_owned(), what: format!("removed: {why}") });
        Ok(())
    }
}

impl Maintenance {
    /// Repairs what can be repaired with this key.
    pub async fn repair(&self, options: RepairOptions) -> Result<Repaired, VaultError> {
        let repository = self.session.repository();
        let pen = self.session.pen()?;
        let everything = CheckOptions { read_data: ReadData::All, shard: Shard::WHOLE };
        let (mut survey, mut findings, mut packs) = self.examine(everything).await?;
        let mut repaired = Repaired::default();
        if !findings.unread.is_empty() {
            repaired.unread = findings.unread;
            repaired.remaining = findings.damage.into_iter().collect();
            return Ok(repaired);
        }
        let mut repairer = Repairer {
            repository,
            dry_run: options.dry_run,
            may_remove: !matches!(pen.signer, Signer::Writer(_)),
            pen,
            now: self.context.clock.now(),
            actions: Vec::new(),
        };
        self.repair_marker(&findings, &mut repairer).await?;
        for group in &mut survey.groups {
            self.rebuild_index(group, &findings, &mut repairer).await?;
        }
        for group in &survey.groups {
            self.stop_if_asked()?;
            self.register_runs(&survey, group, &findings, &mut repairer).await?;
            repaired.marked_frames += self.mark_lost(group, &mut repairer).await?;
        }
        for group in &mut survey.groups {
            self.salvage(group, &findings, &mut repairer).await?;
        }
        self.remove_worthless(&findings, &mut repairer).await?;
        self.repair_requests(&survey, &findings, options.forget_damaged, &mut repairer).await?;
        self.repair_keys(&survey, &findings, &mut repairer).await?;
        repaired.actions = repairer.actions;
        if !options.dry_run && !repaired.actions.is_empty() {
            (survey, findings) = self.survey(Shard::WHOLE).await?;
            packs.faults.retain(|(group, hash, _)| survey.has(&layout::pack(*group, hash)));
            self.relate(&mut survey, &packs, Shard::WHOLE, &mut findings).await?;
        }
        repaired.affected = self.affected_snapshots(&survey).await?;
        repaired.remaining = findings.damage.into_iter().collect();
        repaired.unread = findings.unread;
        Ok(repaired)
    }

    async fn repair_marker(
        &self,
        findings: &Findings,
        repairer: &mut Repairer<'_>,
    ) -> Result<(), VaultError> {
        let Some(damage) = findings.damage.of(layout::MARKER) else {
            return Ok(());
        };
        if damage.kind == DamageKind::Altered {
            if !repairer.may_remove {
                return Ok(());
            }
            repairer.remove(layout::MARKER, "it is damaged").await?;
        }
        let bytes = marker_of(&self.session.repository().id);
        repairer.write(layout::MARKER.to_owned(), bytes, "written again".to_owned()).await
    }

    /// Marks the frames that are not stored whole anywhere, so that no backup refers to them.
    async fn mark_lost(&self, survey: &GroupSurvey, repairer: &mut Repairer<'_>) -> Result<u64, VaultError> {
        let whole = survey.whole();
        // A host's mark does not let prunes go on.
        let marked = if repairer.may_remove { &survey.marked_for_prunes } else { &survey.marked };
        let lost = survey.needed.minus(&whole).minus(marked).in_proportion();
        if lost.is_empty() {
            return Ok(0);
        }
        let what = format!("marks {} frames as lost, so that backups store their chunks again", lost.len());
        let is_written =
            repairer.write_signed(&survey.view, &Loss { frames: lost.to_records() }, what).await?;
        Ok(if is_written { lost.len() } else { 0 })
    }

    /// Removes damaged objects that were replaced or that nobody needs. Each is read once more first.
    async fn remove_worthless(
        &self,
        findings: &Findings,
        repairer: &mut Repairer<'_>,
    ) -> Result<(), VaultError> {
        if !repairer.may_remove {
            return Ok(());
        }
        for damage in findings.damage.iter() {
            let Some(name) = Name::parse(&damage.key) else { continue };
            if let Name::Locations { group, .. } = &name
                && damage.kind == DamageKind::Index
                && let Some(view) = self.session.group(*group)
                && is_all_denied(self.session.repository(), view, &damage.key).await?
            {
                repairer.remove(&damage.key, "trailers of packs refute all its claims").await?;
            }
            if decisions::is_worthless(&name, damage) && self.is_still_altered(&damage.key).await? {
                repairer
                    .remove(&damage.key, "it is damaged, and what was whole in it is stored elsewhere")
                    .await?;
            }
        }
        Ok(())
    }

    /// Reads a damaged object again: an object that was altered only once, in transit or in memory, must not be
    /// removed.
    pub(crate) async fn is_still_altered(&self, key: &str) -> Result<bool, VaultError> {
        let (Some(entry), Some(name)) = (self.session.repository().store.entry(key).await?, Name::parse(key))
        else {
            return Ok(false);
        };
        let objects = Objects {
            session: &self.session,
            restorer: self.restorer.as_ref(),
            recovery: self.recovery.as_ref(),
        };
        match objects.read(&entry, &name).await {
            Err(ReadFault::Altered(_)) => Ok(true),
            Err(ReadFault::Unread(error)) => Err(error),
            Ok(_) | Err(ReadFault::Gone) => Ok(false),
        }
    }
}

/// The packs of a group that differ from what was stored.
pub(crate) fn damaged_packs(survey: &GroupSurvey, findings: &Findings) -> BTreeSet<Sha256Digest> {
    let is_damaged = |pack: &Sha256Digest| {
        let key = layout::pack(survey.view.id, pack);
        let altered = |kind| matches!(kind, DamageKind::Altered | DamageKind::Size);
        findings.damage.of(&key).is_some_and(|damage| altered(damage.kind))
    };
    survey.packs.keys().copied().filter(is_damaged).collect()
}

impl Maintenance {
    /// The writer of a run: the first signer of locations of its frames, or else the writer of the oldest snapshot that
    /// needs it.
    pub(crate) async fn writer_of_run(
        &self,
        survey: &Survey,
        group: &GroupSurvey,
        run: RunId,
    ) -> Result<Option<WriterId>, VaultError> {
        if let Some(Signer::Writer(writer)) = group.authors.get(&run) {
            return Ok(Some(*writer));
        }
        let mut needing = BTreeSet::new();
        for needs in &group.snapshots {
            if self.frames_needed(group, needs).await?.is_some_and(|frames| frames.has_run(run)) {
                needing.insert(needs.id);
            }
        }
        let of = survey.history.snapshots.iter().filter(|recorded| {
            recorded.manifest.as_ref().is_ok_and(|manifest| needing.contains(&manifest.id))
        });
        Ok(of.min_by_key(|recorded| recorded.stored).map(|recorded| recorded.writer))
    }
}
