//! Claims about the places of frames: a prune deletes nothing based on them, and a check names the signers of those
//! that do not hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lifeboat_core::Sha256Digest;
use lifeboat_core::random::OsEntropy;
use lifeboat_testkit::context;

use super::{Files, Member, files, located, noise};
use crate::backup::register::register;
use crate::format::condemnation::GRACE_DAYS;
use crate::format::floor::Floor;
use crate::format::frame::MIN_SEALED_FRAME;
use crate::format::index::{FrameLocation, Locations, PackLocations};
use crate::format::layout;
use crate::format::manifest::RunRecord;
use crate::format::pack::TrailerFrame;
use crate::format::run_end::RunEnd;
use crate::format::seal::Purpose;
use crate::format::signed::{self, Pen, Place};
use crate::hostile::crafted::{Crafted, Taken, keeper_pen};
use crate::ids::{RunId, Signer};
use crate::keys::GroupView;
use crate::keys::keeper_key::KeeperKey;
use crate::keys::key_file::WriterKey;
use crate::maintenance::check::{CheckOptions, DamageKind, ReadData, Shard};
use crate::maintenance::repair::RepairOptions;
use crate::restore::open::OpenSnapshot;
use crate::snapshots::snapshot::Listing;

/// The claimants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Who {
    /// The host whose frames they are.
    Itself,
    /// Another host of the group.
    Neighbour,
    /// A host of the group that was removed.
    Removed,
    /// A host of another group, which knows this group's index key.
    Stranger,
    /// A keeper other than the one that prunes.
    Keeper,
    /// A keeper that was removed.
    RemovedKeeper,
}

/// The claims about a pack of the attacker's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum What {
    /// All frames of a run begin at its first byte, one object per run.
    AllAtTheStart,
    /// The same, one object per frame, so that no object overlaps itself.
    OneObjectAFrame,
    /// One frame after the other. The pack is noise.
    OneAfterTheOther,
    /// One after the other, and the pack's own trailer agrees.
    TrailerAgrees,
    /// The same with the hashes of the noise.
    TrailerAgreesOnOtherHashes,
}

pub(super) struct Scene {
    pub(super) crafted: Crafted,
    pub(super) committed: BTreeMap<Sha256Digest, super::Files>,
    pub(super) keeper: KeeperKey,
    pub(super) member: Member,
    pub(super) neighbour: WriterKey,
    /// The neighbour's snapshot.
    pub(super) of_neighbour: Sha256Digest,
}

pub(super) async fn scene(who: Who) -> Scene {
    let crafted = Crafted::with_floor(Floor { days: 30, snapshots: 1 }).await;
    let host = &crafted.writer;
    let neighbour = crafted.add_neighbour().await;
    let stranger = crafted.add_writer().await;
    let (keeper, other_keeper) = (crafted.add_keeper().await, crafted.add_keeper().await);
    let mut committed = BTreeMap::new();
    for seed in 0..2 {
        committed.insert(crafted.back_up(host, &files(seed)).await.unwrap(), files(seed));
    }
    let of_neighbour = crafted.back_up(&neighbour, &files(7)).await.unwrap();
    committed.insert(of_neighbour, files(7));
    let view = GroupView::from(&host.group);
    let of = |key: &WriterKey| Member::writer(key).for_group(&view);
    let member = match who {
        Who::Itself => of(host),
        Who::Neighbour | Who::Removed => of(&neighbour),
        Who::Stranger => of(&stranger),
        Who::Keeper | Who::RemovedKeeper => Member::keeper(&other_keeper, &view),
    };
    Scene { crafted, committed, keeper, member, neighbour, of_neighbour }
}

/// Stores a pack and the claims about it.
pub(super) async fn attack(scene: &Scene, what: What) -> Vec<String> {
    let Scene { crafted, member, .. } = scene;
    let frames = member.frames(crafted).await;
    let total: usize = frames.values().flatten().map(|frame| frame.length as usize).sum();
    let bytes = noise(99, total + 1000);
    let mut at = 0_usize;
    let mut next = |length: u32| {
        at += length as usize;
        at - length as usize
    };
    let mut said: Vec<(RunId, FrameLocation)> = Vec::new();
    for (run, frames) in &frames {
        for frame in frames {
            let offset = match what {
                What::AllAtTheStart | What::OneObjectAFrame => 0,
                _ => next(frame.length),
            };
            let hash = match what {
                What::TrailerAgreesOnOtherHashes => {
                    Sha256Digest::of(&bytes[offset..offset + frame.length as usize])
                }
                _ => frame.hash,
            };
            said.push((*run, FrameLocation { offset: offset as u64, hash, ..*frame }));
        }
    }
    let listed = said.iter().map(|(run, frame)| TrailerFrame {
        run: *run,
        ordinal: frame.ordinal,
        offset: frame.offset,
        length: frame.length,
        hash: frame.hash,
        chunks: Vec::new(),
        chunk_bytes: frame.chunk_bytes,
    });
    let pack = match what {
        What::TrailerAgrees | What::TrailerAgreesOnOtherHashes => {
            member.store_with_trailer(crafted, bytes, listed.collect())
        }
        _ => member.store_pack(crafted, bytes),
    };
    let mut objects = Vec::new();
    if what == What::OneObjectAFrame {
        for (run, frame) in said {
            objects.push(member.say_where(crafted, &located(run, pack, vec![frame])));
        }
    } else {
        for run in frames.keys() {
            let of_run = said.iter().filter(|(of, _)| of == run).map(|(_, frame)| *frame).collect();
            objects.push(member.say_where(crafted, &located(*run, pack, of_run)));
        }
    }
    objects
}

pub(super) async fn remove(scene: &Scene, who: Who) {
    let restorer = scene.crafted.restorer().await;
    let id = match scene.member.signer {
        Signer::Writer(id) => id.to_string(),
        Signer::Keeper(id) => id.to_string(),
        Signer::Root => return,
    };
    if matches!(who, Who::Removed | Who::RemovedKeeper) {
        scene.crafted.remove(&restorer, &id).await;
    }
}

/// Whatever a member claims about a pack of its own, three prunes with the grace between them delete nothing that a
/// snapshot needs, and everything can be restored.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn no_claim_makes_a_prune_delete_what_a_snapshot_needs() {
    let everyone =
        [Who::Itself, Who::Neighbour, Who::Removed, Who::Stranger, Who::Keeper, Who::RemovedKeeper];
    let everything = [
        What::AllAtTheStart,
        What::OneObjectAFrame,
        What::OneAfterTheOther,
        What::TrailerAgrees,
        What::TrailerAgreesOnOtherHashes,
    ];
    for who in everyone {
        for what in everything {
            let scene = scene(who).await;
            let objects = attack(&scene, what).await;
            remove(&scene, who).await;
            let when = format!("{who:?} {what:?}");
            let view = scene.crafted.as_keeper(&scene.keeper).await;
            let findings = scene.crafted.check(view, ReadData::Sizes).await.unwrap();
            let named = findings.damage.iter().find(|damage| objects.contains(&damage.key));
            if what == What::TrailerAgrees {
                // Only the bytes contradict it.
            } else {
                let named = named.unwrap_or_else(|| {
                    let packs = findings.damage.iter().filter(|damage| damage.key.starts_with("packs/"));
                    packs.into_iter().next().unwrap_or_else(|| panic!("{when}: {:?}", findings.damage))
                });
                let is_of_signer = named.reason.contains(&scene.member.signer.to_string());
                let is_of_pack = named.key.starts_with("packs/") && named.kind == DamageKind::Altered;
                assert!(is_of_signer || is_of_pack, "{when}: {}", named.reason);
            }
            let prunes = scene.crafted.prune_to_the_end(&scene.keeper).await;
            for prune in &prunes {
                assert!(prune.is_ok(), "{when}: {prune:?}");
            }
            scene.crafted.assert_all_come_back(&scene.committed, &when).await;
            // A backup that runs now can also be fully restored.
            let again = scene.crafted.back_up(&scene.crafted.writer, &files(0)).await.unwrap();
            let committed = BTreeMap::from([(again, files(0))]);
            scene.crafted.assert_all_come_back(&committed, &when).await;
        }
    }
}

/// Claims that all bytes of all packs of the group are frames of a run of its own, before the packs' writers have
/// claimed their contents. One more claim, about a pack of its own, is true.
fn fill_all_packs(scene: &Scene) -> [String; 2] {
    const MOST: u64 = 1 << 20;
    let Scene { crafted, member, .. } = scene;
    let run = RunId::from_bytes([7; 16]);
    let (folder, locations) = (layout::packs(member.view.id), layout::locations_of(member.view.id));
    let contents = crafted.faults.contents();
    let mut ordinals = 1..;
    let mut frame = |offset: u64, length: u64, hash| FrameLocation {
        ordinal: ordinals.next().unwrap(),
        offset,
        length: u32::try_from(length).unwrap(),
        hash,
        chunk_bytes: 1,
    };
    let mut packs = Vec::new();
    for (key, bytes) in contents.iter().filter(|(key, _)| key.starts_with(&folder)) {
        let (mut frames, mut at, size) = (Vec::new(), 0, bytes.len() as u64);
        while size - at >= MIN_SEALED_FRAME.into() {
            let length = (size - at).min(MOST);
            frames.push(frame(at, length, Sha256Digest::of(&at.to_le_bytes())));
            at += length;
        }
        packs.push(PackLocations { pack: key.rsplit('/').next().unwrap().parse().unwrap(), frames, size });
    }
    let own = noise(55, 1000);
    let place = frame(0, 1000, Sha256Digest::of(&own));
    let FrameLocation { ordinal, offset, length, hash, chunk_bytes } = place;
    let listed = TrailerFrame { run, ordinal, offset, length, hash, chunks: Vec::new(), chunk_bytes };
    let (pack, size) = member.store_with_trailer(crafted, own, vec![listed]);
    packs.push(PackLocations { pack, frames: vec![place], size });
    let key = member.say_where(crafted, &Locations { run, packs });
    for (key, bytes) in contents.into_iter().filter(|(key, _)| key.starts_with(&locations)) {
        crafted.faults.plant(&key, bytes);
    }
    crafted.faults.advance(Duration::from_mins(1));
    [key, layout::pack(member.view.id, &pack)]
}

/// A member claims the bytes of others' packs first: a check names only that object, a repair marks nothing as lost,
/// and prunes delete nothing that a snapshot needs.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn no_claim_that_comes_first_pushes_out_what_packs_hold() {
    for who in [Who::Itself, Who::Neighbour, Who::Removed, Who::Stranger, Who::Keeper, Who::RemovedKeeper] {
        let scene = scene(who).await;
        let Scene { crafted, committed, keeper, .. } = &scene;
        let own = fill_all_packs(&scene);
        remove(&scene, who).await;
        let when = format!("{who:?}");
        let findings = crafted.check(crafted.as_keeper(keeper).await, ReadData::All).await.unwrap();
        let named: Vec<_> = findings.damage.iter().filter(|damage| !own.contains(&damage.key)).collect();
        assert!(named.is_empty(), "{when}: others are named: {named:?}");
        crafted.prune(keeper, GRACE_DAYS).await.unwrap();
        let maintenance = crafted.maintenance().await;
        let repaired = maintenance.repair(RepairOptions::default()).await.unwrap();
        assert_eq!(repaired.marked_frames, 0, "{when}: {:?}", repaired.actions);
        for prune in crafted.prune_to_the_end(keeper).await {
            prune.unwrap_or_else(|error| panic!("{when}: {error}"));
        }
        crafted.assert_all_come_back(committed, &when).await;
        let again = crafted.back_up(&crafted.writer, &files(0)).await.unwrap();
        crafted.assert_all_come_back(&BTreeMap::from([(again, files(0))]), &when).await;
    }
}

/// Snapshots of a group commit to different keys of one run, in either order: a check with a recovery key names the
/// wrong ones.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn a_snapshot_that_commits_to_another_key_of_a_run_is_named() {
    for wrong_first in [true, false] {
        let scene = scene(Who::Neighbour).await;
        let crafted = &scene.crafted;
        let restorer = crafted.restorer().await;
        let listing = Listing::read(restorer.session()).await.unwrap();
        let opened = OpenSnapshot::open(&restorer, listing.snapshots[0].clone()).await.unwrap();
        let right = opened.part().runs[0].clone();
        let wrong = RunRecord { commitment: [9; 32], ..right.clone() };
        let mut previous = scene.of_neighbour;
        let mut ids = Vec::new();
        let records = if wrong_first { [&wrong, &right] } else { [&right, &wrong] };
        for (sequence, record) in (1..).zip(records) {
            previous = crafted.take(&scene.neighbour, Taken::at(sequence, Some(previous)).needing(record));
            ids.push(previous.to_string());
        }
        let maintenance = crafted.maintenance().await;
        let everything = CheckOptions { read_data: ReadData::All, shard: Shard::WHOLE };
        let findings = maintenance.check(everything).await.unwrap();
        let expected = &ids[usize::from(!wrong_first)];
        let named: Vec<_> = findings.damage.iter().flat_map(|damage| &damage.snapshots).collect();
        assert_eq!(named, [expected], "{:?}", findings.damage);
    }
}

/// A run that is registered and never ends names every pack of the group: what nothing else needs is deleted all the
/// same, and the prune reports whose runs are under way and what stays because of them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn a_run_that_never_ends_keeps_no_pack_without_its_frames() {
    let Scene { crafted, mut committed, keeper, member, neighbour, .. } = scene(Who::Neighbour).await;
    let large = Files::from([("large".to_owned(), noise(50, 4_000_000))]);
    let garbage = crafted.back_up(&crafted.writer, &large).await.unwrap();
    committed.insert(crafted.back_up(&crafted.writer, &files(2)).await.unwrap(), files(2));
    crafted.pass(31);
    crafted.ask(keeper_pen(&keeper), crafted.writer.writer, 2, Some(garbage));
    let repository = crafted.open().await;
    let neighbour = Arc::new(neighbour);
    let keys = register(&repository, &neighbour, RunId::random(&OsEntropy), false, &context()).await.unwrap();
    let any = member.frames(&crafted).await.into_values().flatten().next().unwrap();
    let frame = FrameLocation { offset: 0, length: MIN_SEALED_FRAME, ..any };
    for (key, bytes) in crafted.faults.contents() {
        if let Some(pack) = key.strip_prefix(&format!("{}/", layout::packs(member.view.id))) {
            let pack: Sha256Digest = pack.rsplit('/').next().unwrap().parse().unwrap();
            member.say_where(&crafted, &located(keys.run, (pack, bytes.len() as u64), vec![frame]));
        }
    }
    // Marks that it is over do not count, unless they are its own.
    let mark = layout::run_end(member.view.id, keys.run);
    let end = RunEnd { run: keys.run };
    let own = member.sign(Purpose::RunEnd, &end);
    let group = &crafted.writer.group;
    let place = Place { purpose: Purpose::RunEnd, repository: &crafted.writer.repository, group: group.id };
    let forger = Pen { signer: Signer::Writer(crafted.writer.writer), key: &crafted.writer.signing_key };
    let (signer, key) = keeper_pen(&keeper);
    for pen in [Pen { signer, key }, forger] {
        crafted.faults.plant(&mark, signed::write(place, pen, &group.index_key, &end));
        let pruned = crafted.prune(&keeper, GRACE_DAYS).await.unwrap();
        assert_eq!(pruned.under_way.len(), 1, "{:?}: {pruned:?}", pen.signer);
    }
    crafted.faults.plant(&mark, b"garbage".to_vec());
    let pruned = crafted.prune(&keeper, GRACE_DAYS).await.unwrap();
    assert!(pruned.condemned_bytes > 3_000_000, "what the forgotten snapshot alone needed: {pruned:?}");
    let [under_way] = &pruned.under_way[..] else { panic!("{:?}", pruned.under_way) };
    assert_eq!((under_way.signer, under_way.runs), (Some(member.signer), 1));
    assert_eq!(pruned.under_way_bytes, 0, "nothing stays for it");
    crafted.faults.plant(&mark, own);
    let pruned = crafted.prune(&keeper, GRACE_DAYS).await.unwrap();
    assert!(pruned.under_way.is_empty(), "its own mark ends it: {pruned:?}");
    crafted.assert_all_come_back(&committed, "a run without end").await;
}
