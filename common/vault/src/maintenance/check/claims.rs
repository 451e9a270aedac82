//! Checks claims about places against the trailers of packs that are in doubt, and names the signers of claims that do
//! not hold.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::StreamExt;
use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::error::{ObjectError, VaultError};
use crate::format::authority::Word;
use crate::format::frame_set::FrameSet;
use crate::format::index::{ListedPlaces, Locations};
use crate::format::layout;
use crate::format::pack::TrailerFrame;
use crate::ids::{FrameName, Signer};
use crate::keys::GroupView;
use crate::maintenance::check::Maintenance;
use crate::maintenance::check::findings::{Damage, DamageKind, Findings, Remedy};
use crate::maintenance::check::scope::Shard;
use crate::maintenance::check::survey::{GroupSurvey, Located};
use crate::repository::batch::batches;
use crate::repository::open::Repository;

/// How many trailers are read at once.
const READS: usize = 4;

/// Claims that do not hold.
#[derive(Default)]
struct Untrue {
    /// Places that the packs' trailers refute.
    denied: HashSet<(Sha256Digest, FrameName, u64)>,
    /// Frames with two existing places that have different hashes.
    disputed: FrameSet,
    /// Packs with claims for more than they contain.
    is_any_overclaimed: bool,
}

impl Untrue {
    fn is_empty(&self) -> bool {
        self.denied.is_empty() && self.disputed.is_empty() && !self.is_any_overclaimed
    }
}

impl Maintenance {
    /// Reads the trailers of packs with claims for more than they contain: the first claim may be the wrong one.
    /// Damaged trailers are reported by [`compare_claims`](Self::compare_claims).
    pub(crate) async fn hear_trailers(
        &self,
        survey: &mut GroupSurvey,
        findings: &mut Findings,
    ) -> Result<(), VaultError> {
        let repository = self.session.repository();
        for pack in survey.overclaimed.clone() {
            self.stop_if_asked()?;
            let Some(size) = survey.packs.get(&pack).copied() else { continue };
            match repository.pack_trailer(&survey.view, &pack, size).await {
                Ok(Ok(trailer)) => survey.hear(pack, &trailer),
                Ok(Err(_)) => {}
                Err(error) => findings.unread(&layout::pack(survey.view.id, &pack), &error),
            }
        }
        Ok(())
    }

    /// Reads the trailers of packs with doubtful claims: those with a needed frame that also has another place, those
    /// claimed by a signer unrelated to the run, and those claimed to contain more than they can. Refuted places count
    /// as bad from then on. Each object with claims that do not hold is reported with its signer.
    pub(crate) async fn compare_claims(
        &self,
        survey: &mut GroupSurvey,
        shard: Shard,
        findings: &mut Findings,
    ) -> Result<(), VaultError> {
        let repository = self.session.repository();
        let doubtful = doubtful_packs(survey);
        let view = survey.view.clone();
        let sized: Vec<_> =
            doubtful.iter().filter_map(|pack| Some((*pack, *survey.packs.get(pack)?))).collect();
        let mut untrue = Untrue { is_any_overclaimed: !survey.overclaimed.is_empty(), ..Untrue::default() };
        let read = |(pack, size)| {
            let view = &view;
            async move { (pack, repository.pack_trailer(view, &pack, size).await) }
        };
        let mut trailers = std::pin::pin!(futures::stream::iter(sized).map(read).buffered(READS));
        while let Some((pack, trailer)) = trailers.next().await {
            self.stop_if_asked()?;
            let located = survey.located.get(&pack).map_or(&[][..], Vec::as_slice);
            match trailer {
                Ok(Ok(frames)) => {
                    let denied = denied_by(&frames, located).map(|l| (pack, l.name, l.place.offset));
                    untrue.denied.extend(denied);
                }
                Err(error) => findings.unread(&layout::pack(view.id, &pack), &error),
                Ok(Err(error @ ObjectError::OutOfReach { .. })) => {
                    findings.unread(&layout::pack(view.id, &pack), &error);
                }
                Ok(Err(error)) => {
                    let (kind, remedy) = (DamageKind::Altered, Remedy::RepairByKeeper);
                    let key = layout::pack(view.id, &pack);
                    let reason = format!("{error}; locations objects make contradictory claims about it");
                    findings.damage(shard, Damage { key, kind, reason, snapshots: Vec::new(), remedy });
                }
            }
        }
        survey.bad.extend(untrue.denied.iter().copied());
        survey.denied.extend(untrue.denied.iter().copied());
        untrue.disputed = disputed(survey);
        if !untrue.is_empty() {
            self.name_signers(survey, &untrue, shard, findings).await?;
        }
        Ok(())
    }

    /// Reads the locations objects once more to find the signers of the claims that do not hold.
    async fn name_signers(
        &self,
        survey: &GroupSurvey,
        untrue: &Untrue,
        shard: Shard,
        findings: &mut Findings,
    ) -> Result<(), VaultError> {
        let repository = self.session.repository();
        let mut entries = repository.store.list(&layout::locations_of(survey.view.id)).await?;
        entries.sort_by_key(|entry| entry.modified);
        let mut hashes: HashMap<FrameName, (Sha256Digest, String)> = HashMap::new();
        for batch in batches(entries, |entry| entry.size) {
            self.stop_if_asked()?;
            let read = batch
                .iter()
                .map(|entry| repository.read_signed::<Locations>(&entry.key, &survey.view, Word::Places));
            for (read, entry) in futures::future::join_all(read).await.into_iter().zip(&batch) {
                // The survey has already reported the other faults.
                let Ok((signer, locations)) = read? else { continue };
                if let Some(reason) = indict(&locations, signer, untrue, survey, &mut hashes, &entry.key) {
                    let (key, kind, remedy) = (entry.key.clone(), DamageKind::Index, Remedy::RepairByKeeper);
                    findings.damage(shard, Damage { key, kind, reason, snapshots: Vec::new(), remedy });
                }
            }
        }
        Ok(())
    }
}

/// What is wrong with the claims of one object, with its signer; `None` if nothing is. `hashes` contains the first hash
/// that each disputed frame was given, and by which object.
fn indict(
    locations: &Locations,
    signer: Signer,
    untrue: &Untrue,
    survey: &GroupSurvey,
    hashes: &mut HashMap<FrameName, (Sha256Digest, String)>,
    key: &str,
) -> Option<String> {
    let (mut denied, mut first_denied, mut contradicted) = (0_u64, None, None);
    let mut claims_too_much = None;
    for pack in &locations.packs {
        let trailer = survey.trailers.get(&pack.pack);
        if trailer.is_none() && survey.overclaimed.contains(&pack.pack) {
            claims_too_much = Some(pack.pack);
        }
        for frame in &pack.frames {
            let name = locations.run.frame(frame.ordinal);
            let is_denied = trailer.is_some_and(|trailer| !trailer.has(name, frame));
            if is_denied || untrue.denied.contains(&(pack.pack, name, frame.offset)) {
                denied += 1;
                first_denied.get_or_insert((frame.ordinal, pack.pack));
            } else if untrue.disputed.contains(name) && survey.packs.contains_key(&pack.pack) {
                let (hash, by) = hashes.entry(name).or_insert_with(|| (frame.hash, key.to_owned()));
                if *hash != frame.hash {
                    contradicted.get_or_insert_with(|| (frame.ordinal, by.clone()));
                }
            }
        }
    }
    let of = |pack: &Sha256Digest| layout::pack(survey.view.id, pack);
    let run = locations.run;
    if let Some((ordinal, pack)) = first_denied {
        return Some(format!(
            "{signer} signed it, and it places {denied} frames where the packs' own trailers do not: first, frame \
             {ordinal} of run {run} in `{}`",
            of(&pack)
        ));
    }
    if let Some((ordinal, by)) = contradicted {
        return Some(format!(
            "{signer} signed it, and it gives frame {ordinal} of run {run} another hash than `{by}` does"
        ));
    }
    let pack = claims_too_much?;
    Some(format!(
        "{signer} signed it, and with others it claims more bytes of `{}` than it has; the pack's trailer \
         cannot be read",
        of(&pack)
    ))
}

/// The packs whose trailers must be read.
fn doubtful_packs(survey: &GroupSurvey) -> BTreeSet<Sha256Digest> {
    let (mut once, mut more) = (FrameSet::default(), FrameSet::default());
    for (_, located) in survey.located.iter().filter(|(pack, _)| survey.packs.contains_key(*pack)) {
        for located in located.iter().filter(|located| survey.needed.contains(located.name)) {
            if !once.insert(located.name) {
                more.insert(located.name);
            }
        }
    }
    let is_contested = |located: &Vec<Located>| located.iter().any(|located| more.contains(located.name));
    let contested = survey.located.iter().filter(|(_, located)| is_contested(located)).map(|(pack, _)| *pack);
    let mut packs: BTreeSet<_> = contested.collect();
    packs.extend(&survey.foreign);
    packs.extend(survey.overclaimed.iter().filter(|pack| !survey.trailers.contains_key(*pack)));
    packs
}

/// The claims about a pack that its trailer refutes.
fn denied_by<'a>(frames: &[TrailerFrame], located: &'a [Located]) -> impl Iterator<Item = &'a Located> {
    let listed = ListedPlaces::new(frames);
    located.iter().filter(move |located| !listed.has(located.name, &located.place))
}

/// The needed frames that are claimed to be in existing packs with different hashes, where no trailer decides.
fn disputed(survey: &GroupSurvey) -> FrameSet {
    let mut seen: HashMap<FrameName, (Sha256Digest, u32)> = HashMap::new();
    let mut disputed = FrameSet::default();
    for (pack, located) in survey.located.iter().filter(|(pack, _)| survey.packs.contains_key(*pack)) {
        for located in located.iter().filter(|located| survey.needed.contains(located.name)) {
            let Located { name, place, .. } = located;
            if survey.bad.contains(&(*pack, *name, place.offset)) {
                continue;
            }
            let known = seen.entry(*name).or_insert((place.hash, place.length));
            if *known != (place.hash, place.length) {
                disputed.insert(*name);
            }
        }
    }
    disputed
}

/// Whether no claim of a locations object holds: trailers refute every claim about existing packs, and it makes none
/// about others.
pub(crate) async fn is_all_denied(
    repository: &Repository,
    view: &GroupView,
    key: &str,
) -> Result<bool, StoreError> {
    let read = repository.read_signed::<Locations>(key, view, Word::Places).await?;
    let Ok((_, locations)) = read else { return Ok(false) };
    for pack in &locations.packs {
        let name = layout::pack(view.id, &pack.pack);
        let Some(entry) = repository.store.entry(&name).await? else { return Ok(false) };
        let trailer = repository.pack_trailer(view, &pack.pack, entry.size).await?;
        let Ok(trailer) = trailer else { return Ok(false) };
        let located: Vec<_> = pack
            .frames
            .iter()
            .map(|place| Located { name: locations.run.frame(place.ordinal), size: pack.size, place: *place })
            .collect();
        if denied_by(&trailer, &located).count() != located.len() {
            return Ok(false);
        }
    }
    Ok(true)
}
