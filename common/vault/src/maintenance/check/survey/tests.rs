use lifeboat_core::random::OsEntropy;

use super::*;
use crate::format::index::{PackLocations, RunContents};
use crate::format::seal::SealKey;

#[test]
fn the_commitment_of_a_runs_own_writer_counts_in_any_order() {
    let view = GroupView { id: GroupId::from_bytes([1; 16]), index_key: SealKey::random(&OsEntropy) };
    let (run, writer) = (RunId::from_bytes([2; 16]), WriterId::from_bytes([3; 16]));
    let (own, other) = (Signer::Writer(writer), Signer::Writer(WriterId::from_bytes([4; 16])));
    let frame = run.frame(0);
    let says = |signer| {
        let said = if signer == own { 1 } else { 2 };
        let frames = vec![FrameContents { ordinal: 0, chunks: vec![ChunkId([said; 32])] }];
        Contents { runs: vec![RunContents { run, frames, commitment: [said; 32] }] }
    };
    for registrar in [own, Signer::Root] {
        for order in [[own, other], [other, own]] {
            let mut survey = GroupSurvey::new(&view);
            survey.registered.insert(run, (writer, registrar));
            survey.needed.insert(frame);
            for signer in order {
                survey.add_contents(signer, says(signer), &FrameSet::default());
            }
            assert_eq!(survey.listed[&frame], digest_of(&[ChunkId([1; 32])]), "{registrar:?} {order:?}");
            assert_eq!(survey.own_commitment(run), Some([1; 32]), "{registrar:?} {order:?}");
        }
    }
    let mut nobodys = GroupSurvey::new(&view);
    nobodys.needed.insert(frame);
    nobodys.add_contents(own, says(own), &FrameSet::default());
    assert_eq!(nobodys.own_commitment(run), Some([1; 32]));
    nobodys.add_contents(other, says(other), &FrameSet::default());
    assert_eq!(nobodys.own_commitment(run), None, "the commitments differ");
}

#[test]
fn a_pack_with_very_many_frames_is_added_fast() {
    const MANY: u32 = 400_000;
    let view = GroupView { id: GroupId::from_bytes([1; 16]), index_key: SealKey::random(&OsEntropy) };
    let mut survey = GroupSurvey::new(&view);
    let (pack, hash) = (Sha256Digest::of(b"pack"), Sha256Digest::of(b""));
    survey.packs.insert(pack, 1);
    let place = |ordinal| FrameLocation { ordinal, offset: 0, length: 0, hash, chunk_bytes: 0 };
    let halves = [0..MANY / 2, MANY / 2..MANY].map(|ordinals| PackLocations {
        pack,
        frames: ordinals.map(place).collect(),
        size: 1,
    });
    let locations = Locations { run: RunId::from_bytes([2; 16]), packs: halves.to_vec() };
    survey.add_locations(&locations, false);
    survey.add_locations(&locations, false);
    assert_eq!(survey.located[&pack].len(), MANY as usize);
}
