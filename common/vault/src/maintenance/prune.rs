//! Pruning: condemns what no snapshot needs any more, and deletes it once no run can refer to it.
//!
//! There are no locks. A keeper (or the root) works out what is unneeded ([`plan`]), copies needed frames out of packs
//! that are mostly garbage, rewrites the index without what is unneeded, and signs a condemnation. Runs that begin
//! later do not refer to what it names. A later prune works everything out again, and deletes what was condemned long
//! enough ago and is still unneeded. All times are the storage's: a keeper's own clock plays no part.
//!
//! Nothing is deleted while the history has a hole, nor in a group while something damaged there may need what looks
//! unneeded: a part, an index object that says where frames are, a frame that is nowhere.
//!
//! A prune reads no content: a keeper has only the index keys.

mod evidence;
mod homes;
#[cfg(test)]
mod model;
mod needs;
mod objects;
mod plan;
mod runs;
mod sweep;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lifeboat_core::Context;
use lifeboat_core::progress::Unit;
use lifeboat_store::{Entry, PassedOver, StoreError};

use self::plan::GroupPlan;
use self::sweep::{Condemning, Unneeded, is_due, is_useless_of_removed, to_delete, to_lift};
use crate::error::VaultError;
use crate::format::authority::Word;
use crate::format::condemnation::{Condemnation, GRACE, GRACE_DAYS};
use crate::format::layout;
use crate::format::signed::Pen;
use crate::ids::Signer;
use crate::keys::GroupView;
use crate::repository::access::Session;
use crate::repository::condemnations::FoundCondemnation;
use crate::repository::listing;
use crate::repository::open::Repository;
use crate::snapshots::history::{History, Standing};

/// A staging file that was not written to for this long is considered abandoned.
const LONGEST_WRITE: Duration = Duration::from_hours(1);

/// The options of a prune.
#[derive(Debug, Clone, Copy)]
pub struct PruneOptions {
    /// How old a condemnation must be before what it names is deleted. Use less than the default only if nobody writes
    /// to the repository in the meantime: a run under way may refer to what is deleted, and then fails.
    pub grace: SignedDuration,
    /// Work everything out, change nothing.
    pub dry_run: bool,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self { grace: GRACE, dry_run: false }
    }
}

/// What a prune did, or would do.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// Snapshots that were asked to be forgotten, or whose writer was removed before they were taken.
    pub forgotten: u64,
    /// Snapshots that were asked to be forgotten and that the retention floor keeps.
    pub refused: u64,
    /// Objects that are condemned and will be deleted after the grace.
    pub condemned_objects: u64,
    /// Their bytes.
    pub condemned_bytes: u64,
    /// Objects that were deleted.
    pub deleted_objects: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Bytes of frames that were copied into new packs.
    pub repacked_bytes: u64,
    /// Bytes of unneeded frames in packs that are kept: not worth copying the rest yet.
    pub unreclaimed_bytes: u64,
    /// Bytes in packs that stay since runs under way have frames in them.
    pub under_way_bytes: u64,
    /// Who has runs under way. A run that never ends keeps what it stored for a lease.
    pub under_way: Vec<RunsUnderWay>,
    /// When the oldest waiting condemnation may be carried out.
    pub due: Option<Timestamp>,
    /// Groups that were left as they are, and why: something damaged in them may need what looks unneeded.
    pub held_back: Vec<String>,
    /// What was passed over.
    pub warnings: Vec<String>,
}

/// The runs under way of one host.
#[derive(Debug, Clone)]
pub struct RunsUnderWay {
    /// Who registered them; `None` where the registration is damaged.
    pub signer: Option<Signer>,
    /// How many there are.
    pub runs: u64,
    /// When the oldest of them was registered, by the storage's clock.
    pub since: Timestamp,
}

/// Everything that is listed of the store, by name.
pub(crate) type Listing = BTreeMap<String, Entry>;

/// The objects below a folder.
fn below<'a>(listing: &'a Listing, folder: &str) -> impl Iterator<Item = (&'a String, &'a Entry)> + use<'a> {
    let prefix = format!("{folder}/");
    let end = prefix.clone();
    listing.range(prefix..).take_while(move |(key, _)| key.starts_with(&end))
}

/// Prunes.
pub async fn prune(
    session: &Session,
    options: &PruneOptions,
    context: &Context,
) -> Result<Pruned, VaultError> {
    let pen = session.pruning_pen()?;
    let repository = session.repository();
    let progress = &*context.progress;
    let began = context.clock.now();
    progress.phase("reading the history", Unit::Items, None);
    // The time comes before the history, so that what is committed after that was read never looks old.
    let now =
        if options.dry_run { None } else { Some(repository.storage_time(context.entropy.array()).await??) };
    let mut history = History::read(repository).await?;
    if let Some(hole) = repository.holes.above.first() {
        // It may say who was removed since.
        return Err(VaultError::NotWhole { first: hole.error.to_string(), others: 0 });
    }
    see_that_any_group_is_whole(session, &history)?;
    let mut listed = listing::listing(&repository.store, "").await?;
    let entries = std::mem::take(&mut listed.entries);
    let listing: Listing = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
    let latest = listing.values().map(|entry| entry.modified).max();
    if now.is_some() && latest > now {
        // Something is dated ahead: it must not let a request reach below the floor.
        history = History::read_until(repository, now).await?;
        see_that_any_group_is_whole(session, &history)?;
    }
    let now = now.or(latest).unwrap_or(Timestamp::UNIX_EPOCH);
    let standing = |wanted: &[Standing]| {
        history.snapshots.iter().filter(|recorded| wanted.contains(&recorded.standing)).count() as u64
    };
    let mut pruned = Pruned {
        forgotten: standing(&[Standing::Forgotten, Standing::Revoked]),
        refused: standing(&[Standing::Refused]),
        ..Pruned::default()
    };
    pruned.held_back.extend(session.closed.iter().map(|(group, reason)| format!("group {group}: {reason}")));
    for group in &session.groups {
        if let Some(reason) = history.holds_back(group.id) {
            pruned.held_back.push(format!("group {}: {}", group.id, reason.first_reason()));
            continue;
        }
        let folders = repository.folders_of(group.id);
        if let Some(gap) = folders.iter().find_map(|folder| listed.gap_in(folder)) {
            let PassedOver { place, obstacle } = gap;
            let reason = format!("`{place}` {obstacle}, and may hide what the group needs");
            pruned.held_back.push(format!("group {}: {reason}", group.id));
            continue;
        }
        progress.phase("working out what is needed", Unit::Items, None);
        let is_there = |key: &str| listing.contains_key(key);
        let (found, unusable) = repository.condemnations(group, Word::CondemnedToPrune, is_there).await?;
        pruned.warnings.extend(unusable.iter().map(ToString::to_string));
        let condemned = found.iter().flat_map(|found| &found.body.objects).map(String::as_str).collect();
        let round = Round { repository, group, pen, options, now, listing: &listing, context, began };
        let plan = GroupPlan::work_out(&round, &history, condemned);
        let outcome = match plan.await {
            Ok(plan) => {
                pruned.warnings.extend(plan.warnings.iter().cloned());
                round.carry_out(plan, found, &mut pruned).await
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {}
            // Unreachable storage, a new roster or an interruption concerns no group in particular.
            Err(
                error @ (VaultError::Store(_)
                | VaultError::RosterReplaced { .. }
                | VaultError::PruneTooLong { .. }
                | VaultError::Interrupted
                | VaultError::Internal(_)),
            ) => {
                return Err(error);
            }
            // One host's damage is not a reason to keep what another one does not need.
            Err(VaultError::NotWhole { first, .. }) => {
                pruned.held_back.push(format!("group {}: {first}", group.id));
            }
            Err(error) => pruned.held_back.push(format!("group {}: {error}", group.id)),
        }
    }
    if !options.dry_run {
        // What dead processes were still writing into a folder: no listing shows it.
        let swept = repository.store.sweep_staging(LONGEST_WRITE).await?;
        pruned.deleted_objects += swept.files;
        pruned.deleted_bytes += swept.swept_bytes;
    }
    Ok(pruned)
}

/// If a group's history has a hole, nothing of the group may be deleted: what is missing may need what looks unneeded.
/// If that leaves no group to prune, the prune stops.
fn see_that_any_group_is_whole(session: &Session, history: &History) -> Result<(), VaultError> {
    let mut first = None;
    for group in &session.groups {
        match history.holds_back(group.id) {
            Some(reason) => first = first.or(Some(reason)),
            None => return Ok(()),
        }
    }
    first.map_or(Ok(()), Err)
}

/// After this many deletions, a prune looks whether its roster is still in force.
const DELETIONS_BY_ONE_ROSTER: usize = 256;
/// It also looks after this long.
const LONGEST_TRUST: SignedDuration = SignedDuration::from_mins(1);

/// A prune that goes on for longer than this deletes nothing more.
const LONGEST_PRUNE: SignedDuration = SignedDuration::from_hours(GRACE_DAYS * 24 / 2);

/// After this many objects that cannot be deleted, no others are tried.
const MOST_UNDELETED: usize = 16;

/// One group's part of a prune.
struct Round<'a> {
    repository: &'a Repository,
    group: &'a GroupView,
    pen: Pen<'a>,
    options: &'a PruneOptions,
    now: Timestamp,
    listing: &'a Listing,
    context: &'a Context,
    /// When the prune began, by this machine's clock.
    began: Timestamp,
}

impl Round<'_> {
    async fn carry_out(
        &self,
        mut plan: GroupPlan,
        found: Vec<FoundCondemnation>,
        pruned: &mut Pruned,
    ) -> Result<(), VaultError> {
        pruned.unreclaimed_bytes += plan.unreclaimed_bytes;
        pruned.under_way_bytes += plan.under_way_bytes;
        pruned.under_way.append(&mut plan.under_way);
        pruned.repacked_bytes +=
            plan.moves.values().flatten().map(|(_, place)| u64::from(place.frame.length)).sum::<u64>();
        let size = |keys: &BTreeSet<String>| {
            keys.iter().filter_map(|key| self.listing.get(key)).map(|entry| entry.size).sum::<u64>()
        };
        if self.options.dry_run {
            pruned.condemned_objects += plan.dead.len() as u64;
            pruned.condemned_bytes += size(&plan.dead);
            return Ok(());
        }
        self.write_what_replaces(&mut plan).await?;
        let condemnations = self.condemn(&plan, found).await?;
        let (now, grace) = (self.now, self.options.grace);
        let deletable = plan.dead.difference(&plan.evidence);
        // Nobody has read the copies of what was moved just now, so that stays unless nothing is to stay.
        let moved: HashSet<String> = if grace.is_zero() {
            HashSet::new()
        } else {
            plan.moves.keys().map(|pack| layout::pack(self.group.id, pack)).collect()
        };
        let listed = deletable.filter(|key| self.listing.contains_key(*key) && !moved.contains(*key));
        let due = to_delete(&condemnations, listed, now, grace);
        self.sweep(&due, pruned).await?;
        let due: HashSet<&String> = due.into_iter().collect();
        let is_left = |key: &String| self.listing.contains_key(key) && !due.contains(key);
        self.lift(to_lift(&condemnations, is_left, now, grace), pruned).await?;
        let left: BTreeSet<String> = plan.dead.iter().filter(|key| !due.contains(key)).cloned().collect();
        pruned.condemned_objects += left.len() as u64;
        pruned.condemned_bytes += size(&left);
        if !left.is_empty() {
            let names_any =
                |found: &&FoundCondemnation| found.body.objects.iter().any(|key| left.contains(key));
            let deleting = condemnations.iter().filter(|found| found.body.deletes()).filter(names_any);
            let waiting = deleting.map(|found| found.stored).filter(|at| !is_due(*at, now, grace));
            let due = waiting.min().map(|stored| stored.saturating_add(grace));
            let due = due.and_then(Result::ok);
            pruned.due = [pruned.due, due].into_iter().flatten().min();
        }
        Ok(())
    }

    /// Writes new packs, then locations, then contents: a reader that finds the new index finds what it names.
    async fn write_what_replaces(&self, plan: &mut GroupPlan) -> Result<(), VaultError> {
        self.context.progress.phase("repacking", Unit::Items, Some(plan.moves.len() as u64));
        let moved = self.repository.move_frames(self.group, &plan.moves, None).await??;
        for pack in &moved {
            plan.rehome(self.group, pack);
        }
        self.repository.write_locations(self.group, self.pen, &plan.new_locations()).await?;
        for contents in &plan.new_contents {
            self.repository.store_signed(self.group, self.pen, contents).await?;
        }
        Ok(())
    }

    /// Condemns what is unneeded and not yet condemned, and replaces what names something needed. Returns the
    /// condemnations that count from now on.
    async fn condemn(
        &self,
        plan: &GroupPlan,
        found: Vec<FoundCondemnation>,
    ) -> Result<Vec<FoundCondemnation>, VaultError> {
        self.see_that_it_is_young()?;
        let unneeded = Unneeded { objects: &plan.dead, frames: &plan.dead_frames, needed: &plan.live };
        let Condemning { mut standing, replaced, new } = unneeded.condemn(found);
        for body in new {
            standing.push(self.sign_condemnation(body).await?);
        }
        for found in &replaced {
            match self.repository.store.delete(&found.key).await {
                Ok(()) | Err(StoreError::NotFound { .. } | StoreError::NotAnObject { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(standing)
    }

    /// Refuses to go on long after the beginning: what was worked out then is too old to delete by. What another prune
    /// found needed meanwhile is avoided by runs for a grace, and no longer.
    fn see_that_it_is_young(&self) -> Result<(), VaultError> {
        if self.context.clock.now().duration_since(self.began).abs() > LONGEST_PRUNE {
            return Err(VaultError::PruneTooLong { days: LONGEST_PRUNE.as_hours() / 24 });
        }
        Ok(())
    }

    async fn sign_condemnation(&self, body: Condemnation) -> Result<FoundCondemnation, VaultError> {
        let key = self.repository.store_signed(self.group, self.pen, &body).await?.name;
        let entry = self.repository.store.entry(&key).await?;
        let stored = entry.map_or(self.now, |entry| entry.modified);
        Ok(FoundCondemnation { key, stored, body })
    }

    /// Deletes objects, in this order.
    async fn sweep(&self, objects: &[&String], pruned: &mut Pruned) -> Result<(), VaultError> {
        self.context.progress.phase("deleting", Unit::Items, Some(objects.len() as u64));
        let (mut deleted, mut undeleted) = (0_u64, Vec::new());
        let mut looked: Option<Timestamp> = None;
        for (number, key) in objects.iter().enumerate() {
            // A machine that slept meanwhile looks again.
            self.see_that_it_is_young()?;
            let now = self.context.clock.now();
            let is_recent = looked.is_some_and(|at| now.duration_since(at).abs() < LONGEST_TRUST);
            if number % DELETIONS_BY_ONE_ROSTER == 0 || !is_recent {
                self.repository.see_that_a_prune_may_go_on(self.pen.signer).await?;
                looked = Some(now);
            }
            match self.repository.store.delete(key).await {
                Ok(()) => {
                    deleted += 1;
                    pruned.deleted_bytes += self.listing.get(*key).map_or(0, |entry| entry.size);
                }
                Err(StoreError::NotFound { .. }) => {}
                // One folder that this user may not change is not a reason to leave everything else as it is.
                Err(error @ (StoreError::NotAnObject { .. } | StoreError::Denied { .. })) => {
                    undeleted.push(error);
                    if undeleted.len() >= MOST_UNDELETED {
                        break;
                    }
                }
                Err(error) => return Err(error.into()),
            }
            self.context.progress.advance(1);
        }
        pruned.deleted_objects += deleted;
        let others = undeleted.len().saturating_sub(1);
        match undeleted.into_iter().next() {
            // If nothing at all may be deleted, these are the wrong credentials.
            Some(error @ StoreError::Denied { .. }) if deleted == 0 => Err(error.into()),
            Some(error) => Err(VaultError::NotWhole {
                first: format!("not all of it could be deleted: {error}"),
                others,
            }),
            None => Ok(()),
        }
    }

    /// Deletes the condemnations that have become useless: these, and those of removed keepers.
    async fn lift(
        &self,
        useless: impl Iterator<Item = &FoundCondemnation>,
        pruned: &mut Pruned,
    ) -> Result<(), VaultError> {
        for served in useless {
            self.repository.store.delete(&served.key).await?;
        }
        let roster = self.listing.get(&layout::roster(self.repository.roster.number()));
        let removed = roster.map_or(self.now, |roster| roster.modified);
        let of_removed = below(self.listing, layout::CONDEMNED)
            .filter(|(key, _)| self.repository.is_condemned_by_removed(key, self.group.id))
            .filter(|(_, entry)| is_useless_of_removed(entry.modified, removed, self.now));
        for (key, _) in of_removed {
            match self.repository.store.delete(key).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(error @ (StoreError::NotAnObject { .. } | StoreError::Denied { .. })) => {
                    pruned.warnings.push(format!("`{key}`, by a keeper that was removed, stays: {error}"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
