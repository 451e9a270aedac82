//! The bodies of signed objects, as a holder of the group's index key can write them.

use std::collections::HashMap;

use super::decoded;
use super::stage::{GROUP, RUN, STAGE, WRITER};
use crate::format::compression::compress;
use crate::format::condemnation::{Condemnation, Loss};
use crate::format::frame::FRAME_SLOTS;
use crate::format::frame_set::{FrameSet, MAX_FRAMES, RunFrames};
use crate::format::index::{Contents, ContentsIndex, Locations};
use crate::format::manifest::Part;
use crate::format::registration::Registration;
use crate::format::seal::Purpose;
use crate::format::signed::{self, Body, Pen, Place, SignedObjectError};
use crate::ids::Signer;
use crate::repository::locate::Collector;

/// A whole signed object of every kind; and, under a valid seal and signature, its compressed body.
pub fn signed_object(bytes: &[u8]) -> bool {
    let key_of = |_| Some(STAGE.key.verification_key().clone());
    let place = Place { purpose: Purpose::Part, repository: &STAGE.repository, group: GROUP };
    let pen = Pen { signer: Signer::Writer(WRITER), key: &STAGE.key };
    let _ = signed::read::<Part>(&STAGE.repository, GROUP, &STAGE.group.index_key, key_of, bytes);
    let object = signed::seal(place, pen, &STAGE.group.index_key, bytes);
    let read = signed::read::<Part>(&STAGE.repository, GROUP, &STAGE.group.index_key, key_of, &object);
    let elsewhere = Place { purpose: Purpose::Contents, ..place };
    assert!(signed::verify(elsewhere, key_of, &object).is_err(), "an object is of one kind only");
    read.is_ok()
}

/// Reads a body as from storage, and compares that with decoding it alone.
fn body<T: Body>(cbor: &[u8]) -> Option<T> {
    let place = Place { purpose: T::PURPOSE, repository: &STAGE.repository, group: GROUP };
    let pen = Pen { signer: Signer::Writer(WRITER), key: &STAGE.key };
    let value = decoded::<T>(cbor)?;
    let object = signed::seal(place, pen, &STAGE.group.index_key, &compress(cbor));
    let key_of = |signer| STAGE.roster.key_of(signer);
    let read = signed::read::<T>(&STAGE.repository, GROUP, &STAGE.group.index_key, key_of, &object);
    if value.check_stored(object.len()).is_err() {
        assert!(matches!(read, Err(SignedObjectError::Unsound(..))), "an invalid body is refused");
        return None;
    }
    assert!(read.is_ok_and(|(signer, _)| signer == pen.signer), "what decodes alone is read from storage");
    Some(value)
}

/// A run's registration.
pub fn registration(cbor: &[u8]) -> bool {
    let Some(registration) = body::<Registration>(cbor) else { return false };
    let _ = STAGE.identity.unwrap(&registration.wrapped_key);
    true
}

/// A contents object.
pub fn contents(cbor: &[u8]) -> bool {
    let Some(contents) = body::<Contents>(cbor) else { return false };
    let frames = contents
        .runs
        .iter()
        .flat_map(|run| run.frames.iter().map(|frame| (run.run.frame(frame.ordinal), frame)));
    let used: HashMap<_, _> =
        frames.clone().map(|(name, frame)| (name, frame.ordinal.to_le_bytes()[0].into())).collect();
    let excluded: FrameSet = frames.clone().take(1).map(|(name, _)| name).collect();
    let ids: Vec<_> = frames.flat_map(|(_, frame)| &frame.chunks).copied().collect();
    let mut index = ContentsIndex::default();
    index.add(contents, |name| !excluded.contains(name), &used);
    index.sort();
    for id in ids {
        let Some(place) = index.find(&id) else { continue };
        assert!(!excluded.contains(place.frame), "an excluded frame is not referred to");
        assert!(index.commitment(place.frame.run).is_some());
        let chunks = index.chunk_count(place.frame).expect("a frame with a known chunk is known");
        assert!(place.slot < chunks && chunks as usize <= FRAME_SLOTS);
    }
    true
}

/// A locations object.
pub fn locations(cbor: &[u8]) -> bool {
    let Some(locations) = body::<Locations>(cbor) else { return false };
    let mut collected = Collector::new(|_| true);
    collected.add(Signer::Root, 64, &locations);
    for (name, places) in collected.stated {
        assert!(name.run == locations.run && name.ordinal < MAX_FRAMES && !places.is_empty());
        for (_, place) in places {
            assert!(place.frame.offset + u64::from(place.frame.length) <= place.size);
            let _ = place.check(b"another frame");
        }
    }
    true
}

/// What the group can read of a snapshot.
pub fn part(cbor: &[u8]) -> bool {
    let Some(part) = body::<Part>(cbor) else { return false };
    if part.check().is_err() {
        return false;
    }
    let contents =
        part.streams.iter().map(|s| &s.items).chain(part.documents.iter().map(|document| &document.content));
    for content in contents {
        let bytes = content.extents.iter().map(|extent| {
            let _ = content.frame(extent);
            u128::from(extent.bytes)
        });
        assert_eq!(bytes.sum::<u128>(), u128::from(content.bytes()));
    }
    let mut needed = FrameSet::default();
    for record in &part.runs {
        needed.insert_bitmap(record.run, &record.frames);
        for (frame, _) in record.needed().zip(&record.used) {
            assert!(frame.ordinal < MAX_FRAMES && record.needs(frame.ordinal));
        }
    }
    survives(&needed);
    true
}

/// A keeper's condemnation.
pub fn condemnation(cbor: &[u8]) -> bool {
    let Some(condemnation) = body::<Condemnation>(cbor) else { return false };
    frames(&condemnation.frames);
    true
}

/// Frames that a repair found lost.
pub fn loss(cbor: &[u8]) -> bool {
    let Some(loss) = body::<Loss>(cbor) else { return false };
    frames(&loss.frames);
    true
}

fn frames(records: &[RunFrames]) {
    let mut set = FrameSet::default();
    set.add_records(records);
    assert!(set.iter().all(|frame| frame.ordinal < MAX_FRAMES && set.contains(frame)));
    let _ = set.has_run(RUN);
    survives(&set);
}

fn survives(set: &FrameSet) {
    let mut again = FrameSet::default();
    again.add_records(&set.to_records());
    assert!(set.minus(&again).is_empty() && again.minus(set).is_empty(), "a set survives its stored form");
}
