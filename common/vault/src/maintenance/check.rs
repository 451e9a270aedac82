//! Checks a repository: every object, and the consistency between objects.
//!
//! Reads the history first and makes one listing after it, so that what a manifest names was stored before the listing.
//! Then reads every object except packs, hashes it, checks its signature, and decodes its body if the key at hand opens
//! it (`objects`). The bodies are collected (`survey`): parts first, then locations in the order in which they were
//! stored, then contents, so that only data about frames that are needed or exist is kept. Packs are looked up, or read
//! whole, two at a time (`packs`). Claims about places are compared with the trailers of the packs (`claims`), and
//! everything is cross-checked (`relations`, `keyring`). Objects that seem to be missing may have been pruned in the
//! meantime, so everything except packs is read once more before anything is reported as missing.

pub(super) mod claims;
mod findings;
pub(crate) mod keyring;
mod known;
pub(crate) mod objects;
mod out_of_sight;
pub(crate) mod packs;
mod relations;
pub(super) mod replaced;
mod rosters;
mod scope;
pub(crate) mod survey;
#[cfg(test)]
mod tests;
mod verdicts;

use std::collections::HashMap;
use std::collections::hash_map;

use futures::StreamExt;
use lifeboat_core::progress::Unit;
use lifeboat_core::{Context, Sha256Digest};
use lifeboat_store::{Entry, StoreError};

use crate::error::VaultError;
use crate::format::frame_set::FrameSet;
use crate::format::index::FramePlace;
use crate::format::layout;
use crate::format::object_name::Name;
use crate::format::pack::MAX_PACK;
use crate::format::seal::SealKey;
use crate::ids::{FrameName, GroupId, RunId};
use crate::keys::GroupKeys;
use crate::keys::key_file::{RecoveryKey, WriterKey};
use crate::repository::access::Session;
use crate::repository::batch::batches;
use crate::repository::locate::FramePlaces;
use crate::repository::open::Repository;
use crate::repository::recovery_session::RecoverySession;
use crate::snapshots::history::History;

pub use findings::{Damage, DamageKind, Damages, Findings, Remedy, Unread};
pub use known::KnownDamage;
use objects::{Body, Objects, ReadFault};
use packs::{Opening, PackJob, PackReading, examine};
pub use scope::{NotAShard, ReadData, Sample, Shard};
use survey::Survey;

/// How many packs are read at once.
const PACK_READS: usize = 2;
/// How many objects with unknown names are listed individually.
const STRANGERS_TOLD: usize = 20;

/// Options of a check.
#[derive(Debug, Clone, Copy)]
pub struct CheckOptions {
    /// How much of the packs is read.
    pub read_data: ReadData,
    /// Which part of the repository is checked.
    pub shard: Shard,
}

/// Checks and repairs a repository, as far as its key opens it.
pub struct Maintenance {
    pub(crate) session: Session,
    pub(crate) restorer: Option<RecoverySession>,
    pub(crate) recovery: Option<RecoveryKey>,
    /// A writer's group; its keys can be sealed again.
    pub(crate) group: Option<GroupKeys>,
    pub(crate) context: Context,
}

/// The results of reading packs.
#[derive(Default)]
pub(crate) struct PacksRead {
    pub(crate) faults: Vec<(GroupId, Sha256Digest, PackReading)>,
    pub(crate) unread: Vec<(String, StoreError)>,
    count: u64,
    bytes: u64,
    opened: u64,
    /// The frames, by group, that were opened and contain what their packs list.
    pub(crate) proved: HashMap<GroupId, FrameSet>,
}

impl Maintenance {
    /// Maintenance with a writer's or keeper's key: checks hashes, signatures and the index.
    pub fn new(session: Session, context: Context) -> Self {
        Self { session, restorer: None, recovery: None, group: None, context }
    }

    /// Maintenance with a writer's key, which has its group's keys.
    pub fn with_writer_key(
        repository: Repository,
        key: &WriterKey,
        context: Context,
    ) -> Result<Self, VaultError> {
        let session = Session::for_writer(repository, key)?;
        Ok(Self { group: Some(key.group.clone()), ..Self::new(session, context) })
    }

    /// Maintenance with a recovery key, which opens every frame.
    pub fn with_recovery_key(restorer: RecoverySession, key: RecoveryKey, context: Context) -> Self {
        let session = restorer.session().clone();
        Self { restorer: Some(restorer), recovery: Some(key), ..Self::new(session, context) }
    }

    /// The repository's location.
    pub fn location(&self) -> &str {
        self.session.repository().location()
    }

    /// Checks the repository.
    pub async fn check(&self, options: CheckOptions) -> Result<Findings, VaultError> {
        self.examine(options).await.map(|(_, findings, _)| findings)
    }

    pub(crate) async fn examine(
        &self,
        options: CheckOptions,
    ) -> Result<(Survey, Findings, PacksRead), VaultError> {
        let shard = options.shard;
        let (mut survey, mut findings) = self.survey(shard).await?;
        let packs = self.read_packs(&survey, options).await?;
        let objects_only = findings.damage.len();
        self.relate(&mut survey, &packs, shard, &mut findings).await?;
        if findings.damage.len() > objects_only + packs.faults.len() {
            (survey, findings) = self.survey(shard).await?;
            self.relate(&mut survey, &packs, shard, &mut findings).await?;
        }
        Ok((survey, findings, packs))
    }

    pub(crate) fn stop_if_asked(&self) -> Result<(), VaultError> {
        if self.context.is_cancelled() { Err(VaultError::Interrupted) } else { Ok(()) }
    }

    /// Reads every object except packs.
    pub(crate) async fn survey(&self, shard: Shard) -> Result<(Survey, Findings), VaultError> {
        let repository = self.session.repository();
        let history = History::read(repository).await?;
        let listing = repository.store.listing("").await?;
        let entries = listing.entries;
        let mut survey = Survey::new(&self.session, history, entries.clone());
        let mut findings = Findings::default();
        let mut strangers = Vec::new();
        for passed in &listing.passed_over {
            let is_owned = shard.owns(&passed.place);
            if passed.obstacle.may_hide_objects() {
                // What it hides may be another shard's to check.
                survey.unread.add(&passed.place);
                if is_owned {
                    findings.hidden(&passed.place, passed.obstacle);
                }
            } else if is_owned {
                strangers.push(&passed.place);
            }
        }
        let mut wanted = Vec::new();
        for entry in &entries {
            let is_owned = shard.owns(&entry.key);
            findings.objects += u64::from(is_owned);
            let Some(name) = Name::parse(&entry.key) else {
                strangers.extend(is_owned.then_some(&entry.key));
                continue;
            };
            self.count_closed(&name, is_owned, &mut findings);
            if matches!(name, Name::Pack { .. }) {
                findings.packs += u64::from(is_owned);
            } else if is_owned || survey.is_told_by(&name) {
                wanted.push((entry, name));
            }
        }
        for key in strangers.iter().take(STRANGERS_TOLD) {
            findings.notes.push(format!("`{key}` is not a name of this format"));
        }
        if strangers.len() > STRANGERS_TOLD {
            let more = strangers.len() - STRANGERS_TOLD;
            findings.notes.push(format!("{more} more objects have names that are not of this format"));
        }
        let total = wanted.iter().map(|(entry, _)| entry.size).sum();
        self.context.progress.phase("checking objects", Unit::Bytes, Some(total));
        let objects = Objects {
            session: &self.session,
            restorer: self.restorer.as_ref(),
            recovery: self.recovery.as_ref(),
        };
        wanted.sort_by_key(|(entry, name)| (survey::turn_of(name), entry.modified));
        for batch in batches(wanted, |(entry, _)| entry.size) {
            self.stop_if_asked()?;
            let read = batch.iter().map(|(entry, name)| objects.read(entry, name));
            let outcomes = futures::future::join_all(read).await;
            for ((entry, name), outcome) in batch.into_iter().zip(outcomes) {
                self.take_in(entry, &name, outcome, shard, &mut survey, &mut findings);
            }
        }
        for group in &mut survey.groups {
            self.hear_trailers(group, &mut findings).await?;
        }
        Ok((survey, findings))
    }

    /// Adds the results of reading one object.
    fn take_in(
        &self,
        entry: &Entry,
        name: &Name,
        outcome: Result<Body, ReadFault>,
        shard: Shard,
        survey: &mut Survey,
        findings: &mut Findings,
    ) {
        let roster = &self.session.repository().roster;
        self.context.progress.advance(entry.size);
        let is_owned = shard.owns(&entry.key);
        if is_owned {
            findings.read_bytes += entry.size;
        }
        let altered = match outcome {
            Ok(body) => survey.add(name, body, roster).err(),
            Err(ReadFault::Altered(reason)) => {
                survey.add_damaged(name, &entry.key);
                Some(reason)
            }
            Err(ReadFault::Gone) => None,
            Err(ReadFault::Unread(error)) => {
                findings.unread(&entry.key, &error);
                survey.unread.add(&entry.key);
                None
            }
        };
        if let (Some(reason), Name::Part { group, hash }) = (&altered, name)
            && survey.is_of_forgotten(*group, hash)
        {
            if is_owned {
                let key = &entry.key;
                findings
                    .notes
                    .push(format!("`{key}` is damaged and belongs to a forgotten snapshot: {reason}"));
            }
        } else if let Some(reason) = altered {
            let (snapshots, remedy) = relations::consequence(roster, survey, name);
            let (key, kind) = (entry.key.clone(), DamageKind::Altered);
            findings.damage(shard, Damage { key, kind, reason, snapshots, remedy });
        }
    }

    fn count_closed(&self, name: &Name, is_owned: bool, findings: &mut Findings) {
        let group = match name {
            Name::Run { group, .. }
            | Name::RunEnd { group, .. }
            | Name::Pack { group, .. }
            | Name::Contents { group, .. }
            | Name::Locations { group, .. }
            | Name::Part { group, .. }
            | Name::Condemnation { group, .. }
            | Name::Loss { group, .. } => *group,
            _ => return,
        };
        if self.session.group(group).is_none() {
            *findings.closed.entry(group).or_default() += u64::from(is_owned);
        }
    }

    /// Reads the packs that the options cover.
    async fn read_packs(&self, survey: &Survey, options: CheckOptions) -> Result<PacksRead, VaultError> {
        let mut read = PacksRead::default();
        let covered = |entry: &&Entry| options.shard.owns(&entry.key) && options.read_data.covers(&entry.key);
        let wanted: Vec<_> = survey
            .entries()
            .iter()
            .filter_map(|entry| match Name::parse(&entry.key) {
                Some(Name::Pack { group, hash }) => Some((entry, group, hash)),
                _ => None,
            })
            .filter(|(entry, ..)| covered(entry))
            .collect();
        if wanted.is_empty() {
            return Ok(read);
        }
        let total = wanted.iter().map(|(entry, ..)| entry.size).sum();
        self.context.progress.phase("reading packs", Unit::Bytes, Some(total));
        let keyring = tokio::sync::Mutex::new(HashMap::new());
        let keyring = &keyring;
        let one = |(entry, group, hash): (&Entry, GroupId, Sha256Digest)| {
            let entry = entry.clone();
            async move {
                let outcome = self.read_pack(survey, &entry, group, hash, keyring).await;
                (entry, group, hash, outcome)
            }
        };
        let mut packs = std::pin::pin!(futures::stream::iter(wanted).map(one).buffer_unordered(PACK_READS));
        while let Some((entry, group, hash, outcome)) = packs.next().await {
            self.stop_if_asked()?;
            self.context.progress.advance(entry.size);
            match outcome? {
                Ok(reading) => {
                    read.count += 1;
                    read.bytes += entry.size;
                    read.opened += reading.opened;
                    read.proved.entry(group).or_default().extend(&reading.proved);
                    if !reading.is_clean() {
                        read.faults.push((group, hash, reading));
                    }
                }
                // Swept since it was listed; if it is needed, the next listing finds that.
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => read.unread.push((entry.key, error)),
            }
        }
        Ok(read)
    }

    /// Reads and checks one pack. The inner error is the store's failure to read it or what opens it.
    async fn read_pack(
        &self,
        survey: &Survey,
        entry: &Entry,
        group: GroupId,
        hash: Sha256Digest,
        keyring: &tokio::sync::Mutex<HashMap<RunId, Vec<SealKey>>>,
    ) -> Result<Result<PackReading, StoreError>, VaultError> {
        let repository = self.session.repository();
        let bytes = match repository.store.read(&entry.key, MAX_PACK).await {
            Ok(bytes) => bytes,
            Err(StoreError::TooLarge { found, cap, .. }) => {
                let altered = Some(format!("it has {found} bytes, more than the maximum of {cap}"));
                return Ok(Ok(PackReading { altered, ..PackReading::default() }));
            }
            Err(error) => return Ok(Err(error)),
        };
        let group_survey = survey.groups.iter().find(|survey| survey.view.id == group);
        let located = group_survey.and_then(|s| s.located.get(&hash)).cloned().unwrap_or_default();
        let listed = |name: &FrameName| Some((*name, *group_survey?.listed.get(name)?));
        let mut job = PackJob {
            repository: repository.id,
            group,
            hash,
            view: group_survey.map(|survey| survey.view.clone()),
            listed: located.iter().filter_map(|located| listed(&located.name)).collect(),
            located,
            opening: None,
        };
        if let (Some(restorer), Some(survey)) = (&self.restorer, group_survey) {
            let keys = restorer.group(group)?;
            let mut run_keys = HashMap::new();
            for run in job.located.iter().map(|located| located.name.run) {
                if let hash_map::Entry::Vacant(unopened) = run_keys.entry(run) {
                    match self.run_keys(restorer, survey, run, &job, keyring).await {
                        Ok(keys) => unopened.insert(keys),
                        Err(error) => return Ok(Err(error)),
                    };
                }
            }
            job.opening = Some(Opening { chunk_id_key: keys.chunk_id_key.clone(), run_keys });
        }
        let examined = tokio::task::spawn_blocking(move || examine(&job, &bytes)).await;
        examined.map(Ok).map_err(|_| VaultError::Internal("a checking thread panicked"))
    }

    /// The keys of a run: the one that its snapshots commit to and any that the contents index commits to.
    async fn run_keys(
        &self,
        restorer: &RecoverySession,
        survey: &survey::GroupSurvey,
        run: RunId,
        job: &PackJob,
        keyring: &tokio::sync::Mutex<HashMap<RunId, Vec<SealKey>>>,
    ) -> Result<Vec<SealKey>, StoreError> {
        if let Some(keys) = keyring.lock().await.get(&run) {
            return Ok(keys.clone());
        }
        let mut places = FramePlaces::new();
        for located in job.located.iter().filter(|located| located.name.run == run).take(1) {
            let place = FramePlace { pack: job.hash, size: located.size, frame: located.place };
            places.insert(located.name, vec![place]);
        }
        let mut keys = Vec::new();
        for commitment in survey.commitments(run) {
            match restorer.run_key(&survey.view, run, &commitment, &places).await? {
                Ok(key) => keys.push(key),
                Err(error) => {
                    tracing::info!("{}: {error}", layout::run(survey.view.id, run));
                }
            }
        }
        keyring.lock().await.insert(run, keys.clone());
        Ok(keys)
    }
}

impl std::fmt::Debug for Maintenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Maintenance({:?})", self.session)
    }
}
