//! Cross-checks objects: the history, snapshots and their parts, frames and packs, runs and their keys.

use std::collections::HashMap;

use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::error::{ObjectError, VaultError};
use crate::format::frame_set::FrameSet;
use crate::format::index::FramePlace;
use crate::format::layout;
use crate::format::manifest::RunRecord;
use crate::format::object_name::Name;
use crate::format::pack::{MAX_HEADER, read_header};
use crate::format::roster::Roster;
use crate::ids::RunId;
use crate::maintenance::check::findings::{Damage, DamageKind, Findings, Remedy};
use crate::maintenance::check::out_of_sight::OutOfSight;
use crate::maintenance::check::packs::PackReading;
use crate::maintenance::check::replaced::{Search, find_in_trailers, replaced};
use crate::maintenance::check::scope::Shard;
use crate::maintenance::check::survey::{GroupSurvey, Needs, Survey};
use crate::maintenance::check::verdicts::{self, ManifestVerdict, Verdict};
use crate::maintenance::check::{Maintenance, PacksRead, keyring, rosters};
use crate::repository::locate::FramePlaces;
use crate::snapshots::history::Problem;

/// The cost of a damaged object, as far as its name reveals it, and what repairs it.
pub(crate) fn consequence(roster: &Roster, survey: &Survey, name: &Name) -> (Vec<String>, Remedy) {
    match name {
        Name::Part { group, hash } => match survey.snapshots_on(*group, hash) {
            snapshots if snapshots.is_empty() => (snapshots, Remedy::RepairByKeeper),
            snapshots => (snapshots, Remedy::GiveUp),
        },
        Name::Snapshot { writer, sequence } => (vec![format!("{writer}/{sequence}")], Remedy::GiveUp),
        Name::Key { folder, recipient, .. } => {
            let wanted = keyring::wanted(roster).into_iter();
            let mut of = wanted.filter(|wanted| {
                wanted.folder == *folder && wanted.recipient_id().as_ref() == Some(recipient)
            });
            (Vec::new(), of.next().map_or(Remedy::RepairByRoot, |wanted| wanted.remedy()))
        }
        Name::Roster(_) => (Vec::new(), Remedy::No),
        Name::Marker
        | Name::Run { .. }
        | Name::RunEnd { .. }
        | Name::Pack { .. }
        | Name::Contents { .. }
        | Name::Locations { .. }
        | Name::Countersignature { .. }
        | Name::Forget { .. }
        | Name::Condemnation { .. }
        | Name::Loss { .. } => (Vec::new(), Remedy::RepairByKeeper),
    }
}

impl Maintenance {
    /// Cross-checks everything.
    pub(crate) async fn relate(
        &self,
        survey: &mut Survey,
        packs: &PacksRead,
        shard: Shard,
        findings: &mut Findings,
    ) -> Result<(), VaultError> {
        findings.packs_read = packs.count;
        findings.read_bytes += packs.bytes;
        findings.frames_opened = packs.opened;
        for (key, error) in &packs.unread {
            findings.unread(key, error);
        }
        if !survey.has(layout::MARKER) && !survey.unread.covers(layout::MARKER) {
            findings.damage(
                shard,
                Damage {
                    key: layout::MARKER.to_owned(),
                    kind: DamageKind::Missing,
                    reason: "it does not exist; keys that name the repository can still open it".to_owned(),
                    snapshots: Vec::new(),
                    remedy: Remedy::Repair,
                },
            );
        }
        rosters::report(&self.session.repository().all_holes().await?, shard, findings);
        history(survey, shard, findings);
        if !survey.unread.is_any_below("keys") {
            keyring::check(&self.session.repository().roster, survey, shard, findings);
        }
        for (group, hash, reading) in &packs.faults {
            let Some(of) = survey.groups.iter_mut().find(|survey| survey.view.id == *group) else {
                closed_pack(layout::pack(*group, hash), reading, shard, findings);
                continue;
            };
            of.bad.extend(reading.faulty().map(|faulty| (*hash, faulty.name, faulty.offset)));
        }
        for number in 0..survey.groups.len() {
            self.stop_if_asked()?;
            if survey.is_index_unread(survey.groups[number].view.id) {
                let note = "not all of the index and packs could be read, so what is missing is unknown";
                findings.notes.push(note.to_owned());
                continue;
            }
            self.compare_claims(&mut survey.groups[number], shard, findings).await?;
            self.relate_group(&survey.groups[number], &survey.unread, packs, shard, findings).await?;
            self.name_snapshots(&survey.groups[number], findings).await?;
        }
        Ok(())
    }

    /// Reads the parts of a group's snapshots once more to find which of them need what is lost. What each snapshot
    /// needs is not kept: that would take memory for every snapshot.
    async fn name_snapshots(&self, group: &GroupSurvey, findings: &mut Findings) -> Result<(), VaultError> {
        let lost_with = std::mem::take(&mut findings.lost_with);
        if lost_with.is_empty() {
            return Ok(());
        }
        let mut costs: HashMap<String, Vec<String>> = HashMap::new();
        for needs in &group.snapshots {
            self.stop_if_asked()?;
            let Some(frames) = self.frames_needed(group, needs).await? else { continue };
            for (key, _) in lost_with.iter().filter(|(_, lost)| frames.meets(lost)) {
                costs.entry(key.clone()).or_default().push(needs.id.to_string());
            }
        }
        for (key, snapshots) in costs {
            if let Some(damage) = findings.damage.of_mut(&key) {
                damage.snapshots = snapshots;
            }
        }
        Ok(())
    }

    /// The frames that a snapshot needs; `None` if its part was deleted or damaged since the survey.
    pub(crate) async fn frames_needed(
        &self,
        group: &GroupSurvey,
        needs: &Needs,
    ) -> Result<Option<FrameSet>, StoreError> {
        let repository = self.session.repository();
        let part = repository.part_named(&needs.part, needs.writer, &group.view).await?;
        Ok(part.ok().map(|part| part.needed_frames()))
    }

    async fn relate_group(
        &self,
        survey: &GroupSurvey,
        unread: &OutOfSight,
        packs: &PacksRead,
        shard: Shard,
        findings: &mut Findings,
    ) -> Result<(), VaultError> {
        let whole = survey.whole();
        let missing = survey.needed.minus(&whole);
        let marked = missing.and(&survey.marked);
        let proved = packs.proved.get(&survey.view.id);
        let replaced = replaced(self.session.repository(), survey, &whole, proved, &marked).await?;
        let lost = missing.minus(&replaced);
        if !replaced.is_empty() && shard.owns(&layout::losses(survey.view.id)) {
            let frames = replaced.len();
            findings
                .notes
                .push(format!("{frames} lost frames are replaced: their chunks are in other frames"));
        }
        for (group, hash, reading) in &packs.faults {
            if *group == survey.view.id {
                let faulty: FrameSet = reading.faulty().map(|faulty| faulty.name).collect();
                let facts = |name| survey.facts(name, &lost);
                let registrant = |run| survey.registered.get(&run).map(|(writer, _)| *writer);
                let verdict = verdicts::pack_read(reading, facts, registrant);
                findings.pass(shard, layout::pack(*group, hash), verdict, faulty.and(&lost));
            }
        }
        located_packs(survey, unread, (&missing, &lost), shard, findings);
        self.unplaced(survey, &lost, shard, findings).await?;
        unlisted(survey, &whole, shard, findings);
        listed_in_vain(survey, shard, findings);
        for run in survey.needed.runs() {
            if shard.owns(&layout::run(survey.view.id, run)) {
                self.stop_if_asked()?;
                self.run(survey, run, &lost, shard, findings).await?;
            }
        }
        if survey.damaged.is_empty() && lost.is_empty() {
            leftovers(survey, shard, findings);
        }
        Ok(())
    }

    /// Frames whose place is in no whole index object.
    async fn unplaced(
        &self,
        survey: &GroupSurvey,
        lost: &FrameSet,
        shard: Shard,
        findings: &mut Findings,
    ) -> Result<(), VaultError> {
        let placed: FrameSet = survey.located.values().flatten().map(|located| located.name).collect();
        let unplaced = lost.minus(&placed);
        if unplaced.is_empty() {
            return Ok(());
        }
        let (_, found) = find_in_trailers(self.session.repository(), survey, &unplaced, Search::Once).await?;
        for run in unplaced.runs() {
            let of_run: FrameSet = unplaced.iter().filter(|frame| frame.run == run).collect();
            let key = layout::locations(survey.view.id, run);
            // A damaged object of the run explains it.
            let told = findings.damage.beginning(&format!("{key}/")).next().map(|told| told.key.clone());
            if let Some(told) = told {
                findings.costs(told, of_run);
                continue;
            }
            let verdict = verdicts::unplaced_frames(of_run.len(), of_run.minus(&found).is_empty());
            findings.pass(shard, key, verdict, of_run);
        }
        Ok(())
    }

    /// The key of a run that live snapshots need.
    async fn run(
        &self,
        survey: &GroupSurvey,
        run: RunId,
        lost: &FrameSet,
        shard: Shard,
        findings: &mut Findings,
    ) -> Result<(), VaultError> {
        let key = layout::run(survey.view.id, run);
        let is_registered = survey.registered.contains_key(&run);
        let frames: FrameSet = survey.needed.iter().filter(|frame| frame.run == run).collect();
        if !is_registered {
            let is_in_header = self.is_in_a_header(survey, run).await?;
            let costs = if is_in_header { FrameSet::default() } else { frames.minus(lost) };
            if let Some(told) = findings.damage.of_mut(&key) {
                if !is_in_header {
                    told.remedy = Remedy::No;
                }
                findings.costs(key, costs);
            } else {
                findings.pass(shard, key, verdicts::unregistered_run(is_in_header), costs);
            }
            return Ok(());
        }
        let commitments = survey.commitments_of_snapshots(run);
        let Some(restorer) = self.restorer.as_ref().filter(|_| !commitments.is_empty()) else {
            return Ok(());
        };
        let places = places_of(survey, run);
        let mut false_ones = Vec::new();
        for commitment in &commitments {
            match restorer.run_key(&survey.view, run, commitment, &places).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => false_ones.push((*commitment, error)),
                Err(error) => findings.unread(&key, &error),
            }
        }
        let errors: Vec<_> = false_ones.iter().map(|(_, error)| error).collect();
        let verdict = verdicts::run_key(commitments.len(), &errors);
        let Verdict::Damaged(kind, reason, remedy) = verdict else { return Ok(()) };
        if !verdicts::is_disputed(commitments.len(), false_ones.len()) {
            let snapshots = Vec::new();
            findings.damage_with(shard, Damage { key, kind, reason, snapshots, remedy }, frames);
            return Ok(());
        }
        let is_false = |record: &RunRecord| {
            record.run == run && false_ones.iter().any(|(commitment, _)| *commitment == record.commitment)
        };
        let mut snapshots = Vec::new();
        for needs in &survey.snapshots {
            let repository = self.session.repository();
            let part = repository.part_named(&needs.part, needs.writer, &survey.view).await?;
            if part.is_ok_and(|part| part.runs.iter().any(is_false)) {
                snapshots.push(needs.id.to_string());
            }
        }
        findings.damage(shard, Damage { key, kind, reason, snapshots, remedy });
        Ok(())
    }

    /// Whether the header of any pack with the run's frames contains the run's wrapped key.
    async fn is_in_a_header(&self, survey: &GroupSurvey, run: RunId) -> Result<bool, StoreError> {
        let repository = self.session.repository();
        for place in places_of(survey, run).values().flatten() {
            let Some(size) = survey.packs.get(&place.pack) else { continue };
            let range = 0..(*size).min(MAX_HEADER);
            let beginning = repository.pack_range(survey.view.id, &place.pack, range).await?;
            let Ok(beginning) = beginning else { continue };
            if let Ok((_, keys)) = read_header(&beginning, &repository.id, survey.view.id)
                && keys.iter().any(|key| key.run == run)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Each pack that contains frames of a run, once.
pub(crate) fn places_of(survey: &GroupSurvey, run: RunId) -> FramePlaces {
    let mut places = FramePlaces::new();
    for (pack, frames) in &survey.located {
        if let Some(located) = frames.iter().find(|located| located.name.run == run) {
            let place = FramePlace { pack: *pack, size: located.size, frame: located.place };
            places.entry(located.name).or_default().push(place);
        }
    }
    places
}

/// What is missing from the history, and snapshots that cannot be read.
fn history(survey: &Survey, shard: Shard, findings: &mut Findings) {
    let history = &survey.history;
    let is_read = |problem: &&Problem| match &problem.error {
        VaultError::Object(ObjectError::OutOfReach { .. }) => false,
        VaultError::Withheld { writer, .. } | VaultError::Claimed { writer, .. } => {
            let folders = [layout::snapshots_of(*writer), layout::forget_of(*writer)];
            !folders.iter().any(|folder| survey.unread.is_any_below(folder))
        }
        _ => true,
    };
    for problem in history.problems.iter().filter(is_read) {
        findings.damage(shard, verdicts::problem_of_history(problem));
    }
    for ((writer, sequence), why) in &history.void {
        let key = layout::forget(*writer, *sequence);
        if shard.owns(&key) {
            findings.notes.push(format!("`{key}` has no effect: {why}"));
        }
    }
    let mut given_up = 0;
    for recorded in &history.snapshots {
        findings.snapshots += u64::from(recorded.is_live());
        let key = layout::snapshot(recorded.writer, recorded.sequence);
        if survey.unread.covers(&key) {
            continue;
        }
        match verdicts::manifest(recorded.standing, recorded.manifest.as_ref().err()) {
            ManifestVerdict::Sound => {}
            ManifestVerdict::DoesNotCount => {
                findings.damage.retract(&key);
                if shard.owns(&key) {
                    let note = format!("`{key}` came after its writer was removed and does not count");
                    findings.notes.push(note);
                }
            }
            ManifestVerdict::GivenUp => {
                findings.damage.retract(&key);
                given_up += u64::from(shard.owns(&key));
            }
            ManifestVerdict::Damaged(reason) => {
                let snapshots = vec![format!("{}/{}", recorded.writer, recorded.sequence)];
                let (kind, remedy) = (DamageKind::Altered, Remedy::GiveUp);
                findings.damage(shard, Damage { key, kind, reason, snapshots, remedy });
            }
        }
    }
    for recorded in history.snapshots.iter().filter(|recorded| recorded.is_live()) {
        let Ok(manifest) = &recorded.manifest else { continue };
        let Some(signer) = survey.misnamed.get(&manifest.id) else { continue };
        let key = layout::snapshot(recorded.writer, recorded.sequence);
        let reason = format!("it names a part that {signer} signed, so it cannot be restored");
        let (kind, snapshots) = (DamageKind::Altered, vec![manifest.id.to_string()]);
        findings.damage(shard, Damage { key, kind, reason, snapshots, remedy: Remedy::GiveUp });
    }
    if given_up > 0 {
        findings.notes.push(format!("{given_up} damaged snapshots were given up; prune deletes them"));
    }
    for (key, group, part) in survey.parts_without_whole() {
        if survey.unread.is_any_below(&layout::parts(group)) {
            continue;
        }
        let snapshots = survey.snapshots_on(group, &part);
        let reason = "the part of a snapshot does not exist".to_owned();
        let (kind, remedy) = (DamageKind::Missing, Remedy::GiveUp);
        findings.damage(shard, Damage { key, kind, reason, snapshots, remedy });
    }
}

/// A damaged pack of a group whose index this key does not open.
fn closed_pack(key: String, reading: &PackReading, shard: Shard, findings: &mut Findings) {
    let reason = reading.altered.clone().unwrap_or_default();
    let (kind, remedy) = (DamageKind::Altered, Remedy::NextBackup);
    findings.damage(shard, Damage { key, kind, reason, snapshots: Vec::new(), remedy });
}

/// Packs that the index names but that do not exist, or are shorter or longer.
fn located_packs(
    survey: &GroupSurvey,
    unread: &OutOfSight,
    (missing, lost): (&FrameSet, &FrameSet),
    shard: Shard,
    findings: &mut Findings,
) {
    let is_in_sight = |pack: &Sha256Digest| !unread.covers(&layout::pack(survey.view.id, pack));
    for (pack, located) in survey.located.iter().filter(|(pack, _)| is_in_sight(pack)) {
        let frames = survey.frames_in(pack);
        let costs = frames.and(lost);
        let stated: Vec<u64> = located.iter().map(|located| located.size).collect();
        let size = survey.packs.get(pack).copied();
        let verdict = verdicts::located_pack(size, &stated, costs.len(), frames.and(missing).len());
        let key = layout::pack(survey.view.id, pack);
        findings.pass(shard, key, verdict, costs);
    }
}

/// Frames that no whole contents object lists: restores do not need that, and backups store their chunks again.
fn unlisted(survey: &GroupSurvey, whole: &FrameSet, shard: Shard, findings: &mut Findings) {
    let listed: FrameSet = survey.listed.keys().copied().collect();
    let unlisted = survey.needed.minus(&listed).and(whole);
    let key = layout::contents(survey.view.id);
    let is_told = findings.damage.beginning(&format!("{key}/")).next().is_some();
    if !unlisted.is_empty() && !is_told {
        let reason = format!(
            "no contents object lists {} frames that snapshots need; backups would store their chunks again",
            unlisted.len()
        );
        let (kind, remedy) = (DamageKind::Index, Remedy::Repair);
        findings.damage(shard, Damage { key, kind, reason, snapshots: Vec::new(), remedy });
    }
}

/// Frames that the contents index lists but that are stored nowhere: backups do not refer to them.
fn listed_in_vain(survey: &GroupSurvey, shard: Shard, findings: &mut Findings) {
    let key = layout::contents(survey.view.id);
    if survey.listed_in_vain > 0 && shard.owns(&key) {
        let count = survey.listed_in_vain;
        findings
            .notes
            .push(format!("`{key}` lists {count} frames that are stored nowhere; no snapshot needs them"));
    }
}

/// Leftovers of runs that did not finish.
fn leftovers(survey: &GroupSurvey, shard: Shard, findings: &mut Findings) {
    if !shard.owns(&layout::runs(survey.view.id)) {
        return;
    }
    let in_index = |pack: &Sha256Digest| survey.located.contains_key(pack);
    let unnamed = survey.packs.iter().filter(|(pack, _)| !in_index(pack)).map(|(_, size)| *size);
    let with_frames: FrameSet = survey.located.values().flatten().map(|located| located.name).collect();
    let empty = survey.registered.keys().filter(|run| !with_frames.has_run(**run)).count();
    findings.notes.extend(verdicts::leftovers(&unnamed.collect::<Vec<_>>(), empty));
}
