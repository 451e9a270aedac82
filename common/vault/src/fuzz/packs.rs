//! Packs and the frames in them.

use std::collections::HashMap;

use lifeboat_core::Sha256Digest;

use super::decoded;
use super::stage::{GROUP, RUN, STAGE};
use crate::format::compression::compress;
use crate::format::frame::{
    FRAME_SLOTS, MAX_BODY, MAX_SEALED_FRAME, OpenedFrame, PackKind, RawFrame, binding, context,
};
use crate::format::pack::{
    PACK_BYTES, PackBuilder, Trailer, TrailerFrame, read_header, read_trailer, seal_trailer,
};
use crate::ids::ChunkId;
use crate::keys::GroupView;
use crate::maintenance::check::packs::{Opening, PackJob, examine};
use crate::maintenance::check::survey::Located;
use crate::maintenance::repair::salvage::whole_frames;

/// A whole pack as in storage; and one whose trailer, under a valid seal, is what follows the first `LBPE`.
pub fn pack(bytes: &[u8]) -> bool {
    let plain = bytes.windows(4).position(|window| window == b"LBPE");
    let (body, trailer) = plain.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 4..]));
    let mut pack = body.to_owned();
    seal_trailer(&mut pack, &compress(trailer), &STAGE.group.index_key, &STAGE.repository, GROUP);
    let _ = decoded::<Trailer>(trailer);
    let header = read_header(&pack, &STAGE.repository, GROUP);
    let frames = read_trailer(&pack, &STAGE.group.index_key, &STAGE.repository, GROUP);
    examine_all(bytes, &[]);
    examine_all(&pack, frames.as_deref().unwrap_or_default());
    let (Ok((kind, run_keys)), Ok(frames)) = (header, frames) else { return false };
    let located: Vec<_> = frames.iter().map(|frame| located(frame, pack.len())).collect();
    let whole = whole_frames(&located, |_| false, &pack);
    let mut builder = PackBuilder::new(&STAGE.repository, GROUP, kind, run_keys, PACK_BYTES);
    for frame in &whole {
        let sealed = slice(&pack, frame).expect("a whole frame is within its pack");
        assert_eq!(Sha256Digest::of(sealed), frame.hash);
        builder.push_sealed(frame, sealed);
    }
    let moved = builder.finish(&STAGE.group.index_key, &STAGE.repository, GROUP);
    let again = read_trailer(&moved.bytes, &STAGE.group.index_key, &STAGE.repository, GROUP)
        .expect("what was moved is read");
    assert_eq!(again.len(), whole.len());
    for frame in &again {
        assert_eq!(slice(&moved.bytes, frame).map(Sha256Digest::of), Some(frame.hash));
    }
    true
}

fn slice<'p>(pack: &'p [u8], frame: &TrailerFrame) -> Option<&'p [u8]> {
    let start = usize::try_from(frame.offset).ok()?;
    pack.get(start..start.checked_add(frame.length as usize)?)
}

fn located(frame: &TrailerFrame, pack: usize) -> Located {
    Located { name: frame.name(), size: pack as u64, place: frame.into() }
}

/// Checks a pack like `check --read-data` with a recovery key.
fn examine_all(pack: &[u8], frames: &[TrailerFrame]) {
    let job = PackJob {
        repository: STAGE.repository,
        group: GROUP,
        hash: Sha256Digest::of(pack),
        view: Some(GroupView::from(&STAGE.group)),
        located: frames.iter().map(|frame| located(frame, pack.len())).collect(),
        listed: HashMap::new(),
        opening: Some(Opening {
            chunk_id_key: STAGE.group.chunk_id_key.clone(),
            run_keys: HashMap::from([(RUN, vec![STAGE.run_key.clone()])]),
        }),
    };
    let reading = examine(&job, pack);
    assert!(reading.index_faults.is_empty(), "the index agrees with the trailer");
}

/// The plaintext of a frame, under a valid seal.
pub fn frame(plaintext: &[u8]) -> bool {
    let name = RUN.frame(5);
    let mut sealed = Vec::new();
    STAGE.run_key.seal(&binding(&STAGE.repository, &context(name)), plaintext, &mut sealed);
    if sealed.len() as u64 > MAX_SEALED_FRAME {
        return false;
    }
    let Ok(opened) = OpenedFrame::open(&sealed, &STAGE.run_key, &STAGE.repository, name) else {
        return false;
    };
    let chunks: Vec<&[u8]> = (0..).map_while(|slot| opened.chunk(slot)).collect();
    let bytes: usize = chunks.iter().map(|chunk| chunk.len()).sum();
    assert!(chunks.len() <= FRAME_SLOTS && bytes <= MAX_BODY);
    let mut again = RawFrame::new(name.ordinal, PackKind::Data);
    for chunk in &chunks {
        again.push(ChunkId([0; 32]), chunk);
    }
    let mut compressor = zstd::bulk::Compressor::new(1).expect("there is memory for a compressor");
    let again = again.seal(&STAGE.run_key, &STAGE.repository, RUN, &mut compressor);
    let again =
        OpenedFrame::open(&again.bytes, &STAGE.run_key, &STAGE.repository, name).expect("it was sealed");
    assert!((0..).map_while(|slot| again.chunk(slot)).eq(chunks), "the chunks are the same");
    true
}
