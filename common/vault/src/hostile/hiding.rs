//! The true places of frames are hidden, or another's copy of them looks older: a prune neither accepts a claim as true
//! because it is the only one, nor treats a copy owned by someone else as equal to what a host stored itself.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;
use lifeboat_testkit::fault_store::{Fault, Gate, Operation, Rule};

use super::claims::{Scene, What, Who, attack, remove, scene};
use super::crafted::keeper_pen;
use super::{Member, back_up, files, located, noise};
use crate::format::condemnation::GRACE_DAYS;
use crate::format::frame::PackKind;
use crate::format::index::{FrameLocation, FramePlace};
use crate::format::layout;
use crate::format::pack::{PackBuilder, TrailerFrame, WrappedRunKey};
use crate::ids::{RunId, Signer};
use crate::maintenance::repair::RepairOptions;
use crate::repository::locate::PLACES_OF_A_MEMBER;

/// How the claims of the hosts themselves stop counting.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Hidden {
    /// Beside each pack is an object whose name ends in the same way.
    ByNamesakes,
    /// The storage lost the locations objects.
    ByLoss,
}

/// The names of the objects below a folder.
fn below(scene: &Scene, folder: &str) -> Vec<String> {
    let all = scene.crafted.faults.contents().into_keys();
    all.filter(|key| key.starts_with(&format!("{folder}/"))).collect()
}

/// Someone claims something about a pack of their own, while no object has the true places of the frames: no pack of a
/// host is deleted.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn an_only_claim_makes_no_prune_delete_a_pack() {
    for who in [Who::Neighbour, Who::Removed, Who::Stranger, Who::Keeper, Who::RemovedKeeper] {
        for what in [What::OneAfterTheOther, What::TrailerAgrees] {
            for hidden in [Hidden::ByNamesakes, Hidden::ByLoss] {
                let scene = scene(who).await;
                let Scene { crafted, committed, keeper, member, .. } = &scene;
                let packs = below(&scene, &layout::packs(member.view.id));
                let locations = below(&scene, &layout::locations_of(member.view.id));
                attack(&scene, what).await;
                for key in &packs {
                    let name = key.rsplit('/').next().unwrap();
                    if hidden == Hidden::ByNamesakes {
                        let namesake = format!("{}/zz/{name}", layout::packs(member.view.id));
                        crafted.faults.plant(&namesake, b"x".to_vec());
                    }
                }
                if hidden == Hidden::ByLoss {
                    for key in &locations {
                        crafted.faults.take_away(key);
                    }
                }
                remove(&scene, who).await;
                let when = format!("{who:?} {what:?} {hidden:?}");
                for prune in crafted.prune_to_the_end(keeper).await {
                    assert!(hidden == Hidden::ByLoss || prune.is_ok(), "{when}: {prune:?}");
                }
                let left = below(&scene, &layout::packs(member.view.id));
                assert!(packs.iter().all(|pack| left.contains(pack)), "{when}: packs are gone");
                if hidden == Hidden::ByLoss {
                    let maintenance = crafted.maintenance().await;
                    maintenance.repair(RepairOptions::default()).await.unwrap();
                }
                crafted.assert_all_come_back(committed, &when).await;
            }
        }
    }
}

/// Someone stores a true copy of all frames, which looks older than the packs of their hosts, and deletes it again once
/// prunes have run.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn a_true_copy_of_another_host_replaces_nothing() {
    for who in [Who::Neighbour, Who::Removed, Who::Stranger, Who::RemovedKeeper] {
        let scene = scene(who).await;
        let Scene { crafted, committed, keeper, member, .. } = &scene;
        let repository = crafted.open().await;
        let stored = crafted.faults.contents();
        let (mut bytes, mut listed, mut copies) = (Vec::new(), Vec::new(), Vec::new());
        for run in member.frames(crafted).await.into_keys() {
            let places = repository.places(&member.view, run, |_| true).await.unwrap();
            for (name, places) in places {
                let FramePlace { pack, frame, .. } = places[0];
                let (from, offset) = (usize::try_from(frame.offset).unwrap(), bytes.len() as u64);
                let pack = &stored[&layout::pack(member.view.id, &pack)];
                bytes.extend_from_slice(&pack[from..from + frame.length as usize]);
                copies.push((name.run, FrameLocation { offset, ..frame }));
                let FrameLocation { ordinal, length, hash, chunk_bytes, .. } = frame;
                let chunks = Vec::new();
                listed.push(TrailerFrame { run, ordinal, offset, length, hash, chunks, chunk_bytes });
            }
        }
        let pack = member.store_with_trailer(crafted, bytes, listed);
        let mut own = vec![layout::pack(member.view.id, &pack.0)];
        for run in member.frames(crafted).await.into_keys() {
            let of_run = copies.iter().filter(|(of, _)| *of == run).map(|(_, frame)| *frame).collect();
            own.push(member.say_where(crafted, &located(run, pack, of_run)));
        }
        for key in &own {
            crafted.faults.set_modified(key, jiff::Timestamp::UNIX_EPOCH);
        }
        remove(&scene, who).await;
        let when = format!("{who:?}");
        for prune in crafted.prune_to_the_end(keeper).await {
            prune.unwrap_or_else(|error| panic!("{when}: {error}"));
        }
        let is_there = |key: &&String| crafted.faults.contents().contains_key(*key);
        let left: Vec<String> = own.iter().filter(is_there).cloned().collect();
        for key in &left {
            crafted.faults.take_away(key);
        }
        crafted.assert_all_come_back(committed, &when).await;
    }
}

/// A neighbour states newer places, in a sound pack of its own and with a wrong size in the host's, for frames that a
/// prune condemns under a run: the run goes by the word of the host that registered their run. If the registrations are
/// lost, it keeps one copy for each signer.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn false_places_of_a_neighbour_are_not_all_that_a_run_rescues() {
    for is_registered in [true, false] {
        let scene = scene(Who::Neighbour).await;
        let Scene { crafted, keeper, member, neighbour, .. } = &scene;
        let (writer, other) = (&crafted.writer, crafted.add_neighbour().await);
        // Several whole frames that only the snapshot with number 2 needs.
        let captured = BTreeMap::from([("large".to_owned(), noise(50, 4_000_000))]);
        let forgotten = crafted.back_up(writer, &captured).await.unwrap();
        crafted.back_up(writer, &files(3)).await.unwrap();
        crafted.pass(31);
        let ended = below(&scene, &layout::runs(member.view.id));
        let gate = Gate::new();
        crafted.faults.script(Rule::new(Fault::wait(&gate)).on(Operation::Put).below("parts/"));
        let meanwhile = async {
            gate.arrivals(1).await;
            crafted.ask(keeper_pen(keeper), writer.writer, 2, Some(forgotten));
            crafted.prune(keeper, GRACE_DAYS).await.unwrap();
            let repository = crafted.open().await;
            let condemned = repository.excluded(&member.view).await.unwrap().packs;
            crafted.pass(1);
            let (id, group) = (&member.repository, member.view.id);
            let other = Member::writer(&other).for_group(&member.view);
            let frames = member.frames(crafted).await;
            let runs: Vec<_> = frames.keys().copied().collect();
            for run in &runs {
                let places = repository.places(&member.view, *run, |_| true).await.unwrap();
                for FramePlace { pack, size, frame } in places.into_values().flatten() {
                    other.say_where(crafted, &located(*run, (pack, size + 1), vec![frame]));
                }
                if !is_registered && ended.contains(&layout::run(group, *run)) {
                    crafted.faults.take_away(&layout::run(group, *run));
                }
            }
            // More than readers remember of one signer.
            for copy in 0..5 {
                // Their headers name a key of the neighbour's own for each run.
                let wrapped = neighbour.data_recipient.wrap(&[7; 32]).unwrap();
                let key = |run: &RunId| WrappedRunKey { run: *run, wrapped: wrapped.clone().into() };
                let keys = runs.iter().map(key).collect();
                let mut pack = PackBuilder::new(id, group, PackKind::Data, keys, 1000);
                for (run, frames) in &frames {
                    for FrameLocation { ordinal, length, chunk_bytes, .. } in frames.iter().copied() {
                        let sealed = noise(99 + copy, length as usize);
                        let (offset, hash, chunks) = (0, Sha256Digest::of(&sealed), Vec::new());
                        let frame =
                            TrailerFrame { run: *run, ordinal, offset, length, hash, chunks, chunk_bytes };
                        pack.push_sealed(&frame, &sealed);
                    }
                }
                let pack = pack.finish(&member.view.index_key, id, group);
                let stored = member.store_pack(crafted, pack.bytes);
                for run in &runs {
                    let of_run =
                        pack.frames.iter().filter(|frame| frame.run == *run).map(FrameLocation::from);
                    member.say_where(crafted, &located(*run, stored, of_run.collect()));
                }
            }
            gate.open();
            condemned
        };
        let context = crafted.context();
        let running = back_up(crafted.open().await, writer, &captured, &context);
        let (done, condemned) = tokio::join!(running, meanwhile);
        crafted.faults.clear_script();
        let rescued = BTreeMap::from([(done.unwrap().id.unwrap(), captured.clone())]);
        let mut copies: BTreeMap<(RunId, u32), usize> = BTreeMap::new();
        for entry in crafted.faults.open().list(&layout::locations_of(member.view.id)).await.unwrap() {
            let run: RunId = entry.key.split('/').nth(2).unwrap().parse().unwrap();
            let repository = crafted.open().await;
            let read = repository.locations_object(&member.view, run, &entry.key).await.unwrap().unwrap();
            if read.0 == Signer::Writer(writer.writer) {
                read.1
                    .places()
                    .for_each(|(name, _)| *copies.entry((name.run, name.ordinal)).or_default() += 1);
            }
        }
        // Its own first place, and what it rescued.
        let most = copies.into_values().max().unwrap();
        assert!(most <= if is_registered { 2 } else { 1 + PLACES_OF_A_MEMBER }, "{most} places");
        crafted.assert_all_come_back(&rescued, "while the condemned packs are there").await;
        // As a prune without a grace does.
        assert!(!condemned.is_empty());
        for pack in condemned {
            crafted.faults.take_away(&layout::pack(member.view.id, &pack));
        }
        crafted.assert_all_come_back(&rescued, "after the prune").await;
    }
}
