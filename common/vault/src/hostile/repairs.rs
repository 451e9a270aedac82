//! What a hostile member stores makes no repair lose what others need.

use lifeboat_core::Sha256Digest;
use lifeboat_testkit::context;

use super::claims::{self, Who};
use super::located;
use crate::format::authority::Word;
use crate::format::frame::PackKind;
use crate::format::index::{Contents, FrameContents, FrameLocation, RunContents};
use crate::format::layout;
use crate::format::pack::{PackBuilder, TrailerFrame, WrappedRunKey};
use crate::format::seal::{Purpose, SealKey};
use crate::ids::{ChunkId, Signer};
use crate::maintenance::check::Maintenance;
use crate::maintenance::repair::RepairOptions;

/// A neighbour's pack lists a frame of each run of the group that is shorter than any frame: locations with it are
/// unsound, so the whole object is left out, with the honest frames in it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn a_pack_that_lists_an_impossible_frame_stops_no_repair_of_others() {
    for is_attacked in [false, true] {
        let scene = claims::scene(Who::Neighbour).await;
        let claims::Scene { crafted, committed, member, .. } = &scene;
        let frames = member.frames(crafted).await;
        if is_attacked {
            let (id, group) = (&member.repository, member.view.id);
            let mut pack = PackBuilder::new(id, group, PackKind::Data, Vec::new(), 1000);
            for (run, frames) in &frames {
                let (sealed, ordinal) = (*b"impossible", frames[0].ordinal);
                let hash = Sha256Digest::of(&sealed);
                let (offset, length, chunks, chunk_bytes) = (0, 10, Vec::new(), 1);
                let frame = TrailerFrame { run: *run, ordinal, offset, length, hash, chunks, chunk_bytes };
                pack.push_sealed(&frame, &sealed);
            }
            let pack = pack.finish(&member.view.index_key, id, group);
            member.store_pack(crafted, pack.bytes);
        }
        crafted.lose(&layout::locations_of(member.view.id));
        let maintenance = crafted.maintenance().await;
        let repaired = maintenance.repair(RepairOptions::default()).await.unwrap();
        assert_eq!(repaired.marked_frames, 0, "attacked: {is_attacked}: whole frames are marked as lost");
        crafted.assert_all_come_back(committed, &format!("attacked: {is_attacked}")).await;
    }
}

/// A neighbour's packs list one frame more often than locations may place it, so an object with all of them is unsound,
/// and honest places are in it. A recovery key tells which places are true; a keeper states more of them than a member
/// may.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn packs_that_list_one_frame_very_often_stop_no_repair_of_others() {
    for (packs, is_keeper) in [(4_u32, false), (2, true)] {
        let scene = claims::scene(Who::Neighbour).await;
        let claims::Scene { crafted, committed, member, keeper, .. } = &scene;
        let frames = member.frames(crafted).await;
        for copy in 0..packs {
            let (id, group) = (&member.repository, member.view.id);
            let mut pack = PackBuilder::new(id, group, PackKind::Data, Vec::new(), 1000);
            for (run, frames) in &frames {
                for number in 0..30_u32 {
                    let sealed: Vec<u8> =
                        [copy, number].iter().flat_map(|n| n.to_le_bytes()).cycle().take(200).collect();
                    let (ordinal, hash) = (frames[0].ordinal, Sha256Digest::of(&sealed));
                    let (offset, length, chunks, chunk_bytes) = (0, 200, Vec::new(), 1);
                    let frame =
                        TrailerFrame { run: *run, ordinal, offset, length, hash, chunks, chunk_bytes };
                    pack.push_sealed(&frame, &sealed);
                }
            }
            let pack = pack.finish(&member.view.index_key, id, group);
            member.store_pack(crafted, pack.bytes);
        }
        crafted.lose(&layout::locations_of(member.view.id));
        let maintenance = if is_keeper {
            Maintenance::new(crafted.as_keeper(keeper).await, context())
        } else {
            crafted.maintenance().await
        };
        let repaired = maintenance.repair(RepairOptions::default()).await.unwrap();
        let when = format!("by a keeper: {is_keeper}");
        assert_eq!(repaired.marked_frames, 0, "{when}: whole frames are marked as lost");
        crafted.assert_all_come_back(committed, &when).await;
    }
}

/// A run's registration is lost and its packs are damaged. A neighbour's pack names another key for the run: a keeper's
/// repair registers that one, gives it to the packs that replace the damaged ones, and removes those, with the true
/// key.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn a_repair_keeps_the_keys_in_the_headers_of_the_packs_that_it_replaces() {
    for is_attacked in [false, true] {
        let scene = claims::scene(Who::Neighbour).await;
        let claims::Scene { crafted, committed, member, keeper, neighbour, .. } = &scene;
        let (id, group) = (&member.repository, member.view.id);
        let frames = member.frames(crafted).await;
        let packs = layout::packs(group);
        let honest: Vec<String> =
            crafted.faults.contents().into_keys().filter(|key| key.starts_with(&packs)).collect();
        let repository = crafted.open().await;
        for run in frames.keys() {
            let key = layout::run(group, *run);
            let registration = repository.registration(&member.view, *run, Word::RunKey);
            let (signer, _) = registration.await.unwrap().unwrap();
            if signer == Signer::Writer(neighbour.writer) {
                continue;
            }
            crafted.faults.take_away(&key);
            if is_attacked {
                let wrapped = neighbour.data_recipient.wrap(&[7; 32]).unwrap();
                let run_keys = vec![WrappedRunKey { run: *run, wrapped: wrapped.into() }];
                let mut pack = PackBuilder::new(id, group, PackKind::Data, run_keys, 1000);
                let sealed = vec![3; 100];
                let hash = Sha256Digest::of(&sealed);
                let (ordinal, chunks) = (100_000, Vec::new());
                let frame =
                    TrailerFrame { run: *run, ordinal, offset: 0, length: 100, hash, chunks, chunk_bytes: 1 };
                pack.push_sealed(&frame, &sealed);
                let pack = pack.finish(&member.view.index_key, id, group);
                let frame = FrameLocation::from(&pack.frames[0]);
                let stored = member.store_pack(crafted, pack.bytes);
                member.say_where(crafted, &located(*run, stored, vec![frame]));
            }
        }
        // One byte of each trailer of the host's packs.
        for key in &honest {
            let mut bytes = crafted.faults.contents()[key].to_vec();
            let at = bytes.len() - 30;
            bytes[at] ^= 1;
            crafted.faults.plant(key, bytes);
        }
        let maintenance = Maintenance::new(crafted.as_keeper(keeper).await, context());
        maintenance.repair(RepairOptions::default()).await.unwrap();
        crafted.assert_all_come_back(committed, &format!("attacked: {is_attacked}")).await;
    }
}

/// The locations and registrations are lost. A neighbour's pack lists the frames under a key of its own, which it names
/// in the header and commits to: a repair with a recovery key leaves out no true place for that.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn a_false_key_in_a_header_makes_no_repair_leave_out_true_places() {
    let scene = claims::scene(Who::Neighbour).await;
    let claims::Scene { crafted, committed, member, neighbour, .. } = &scene;
    let (id, group) = (&member.repository, member.view.id);
    let frames = member.frames(crafted).await;
    let key = [7; 32];
    let wrapped = neighbour.data_recipient.wrap(&key).unwrap();
    let keys =
        frames.keys().map(|run| WrappedRunKey { run: *run, wrapped: wrapped.clone().into() }).collect();
    let mut pack = PackBuilder::new(id, group, PackKind::Data, keys, 1000);
    let mut runs = Vec::new();
    for (run, frames) in &frames {
        let mut listed = Vec::new();
        for FrameLocation { ordinal, .. } in frames.iter().copied() {
            let sealed = vec![9; 200];
            let (offset, hash, chunks) = (0, Sha256Digest::of(&sealed), vec![ChunkId([5; 32])]);
            let frame =
                TrailerFrame { run: *run, ordinal, offset, length: 200, hash, chunks, chunk_bytes: 1 };
            pack.push_sealed(&frame, &sealed);
            listed.push(FrameContents { ordinal, chunks: vec![ChunkId([5; 32])] });
        }
        let commitment = SealKey::from_bytes(&key).commitment();
        runs.push(RunContents { run: *run, frames: listed, commitment });
    }
    let pack = pack.finish(&member.view.index_key, id, group);
    member.store_pack(crafted, pack.bytes);
    let signed = member.sign(Purpose::Contents, &Contents { runs });
    crafted.faults.plant(&layout::contents_object(group, &Sha256Digest::of(&signed)), signed);
    crafted.lose(&layout::locations_of(group));
    crafted.lose(&layout::runs(group));
    let maintenance = crafted.maintenance().await;
    let repaired = maintenance.repair(RepairOptions::default()).await.unwrap();
    assert_eq!(repaired.marked_frames, 0, "whole frames are marked as lost");
    crafted.assert_all_come_back(committed, "after the repair").await;
}
