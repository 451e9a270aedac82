//! What anyone can read: the marker, signed JSON, the names of objects; and this machine's pins.

use lifeboat_core::Sha256Digest;
use lifeboat_trust::dsse::{Envelope, IN_TOTO};

use super::same_in_json;
use super::stage::{GROUP, STAGE, WRITER};
use crate::format::layout;
use crate::format::manifest::{self, Place};
use crate::format::object_name::Name;
use crate::format::request::{self, Request};
use crate::format::roster::{self, Roster};
use crate::ids::Signer;
use crate::maintenance::members::Members;
use crate::repository::objects::hash_of;
use crate::repository::open::{marker_of, read_marker};
use crate::repository::pins::Pins;

/// `lifeboat.json`.
pub fn marker(bytes: &[u8]) -> bool {
    let Ok((_, repository)) = read_marker(bytes) else { return false };
    let (format, again) = read_marker(&marker_of(&repository)).expect("what was written is read");
    assert_eq!((format, again), (crate::format::FORMAT_VERSION.into(), repository));
    true
}

/// The payload of a first roster, under a valid signature; and the same bytes as a whole envelope.
pub fn roster(payload: &[u8]) -> bool {
    let _ = Roster::verify(payload, &STAGE.repository, 0);
    let envelope = Envelope::sign(roster::PAYLOAD_TYPE, payload.to_owned(), &STAGE.key).to_json();
    let Ok(roster) = Roster::verify(&envelope, &STAGE.repository, 0) else { return false };
    same_in_json(&roster);
    let again = Roster::verify(&roster.sign(&STAGE.key), &STAGE.repository, 0);
    assert_eq!(again.map(|again| again.number).ok(), Some(0));
    assert!(roster.key_of(Signer::Root).is_some_and(|root| root.id() == STAGE.repository));
    assert_eq!(Members::of(&roster).writers.len(), roster.writers.len());
    for writer in &roster.writers {
        let key = roster.key_of(Signer::Writer(writer.id));
        assert!(key.is_some(), "every member of a parsed roster has a key");
    }
    for keeper in &roster.keepers {
        let key = roster.key_of(Signer::Keeper(keeper.id));
        assert!(key.is_some(), "every member of a parsed roster has a key");
        let group = crate::ids::GroupId::from_bytes([0; 16]);
        let may_condemn = roster.believes(
            crate::format::authority::Word::CondemnedToPrune,
            group,
            Signer::Keeper(keeper.id),
        );
        assert!(keeper.removed.is_none() || may_condemn.is_none());
    }
    true
}

/// The payload of a manifest, under its writer's signature; and the same bytes as a whole envelope.
pub fn manifest(payload: &[u8]) -> bool {
    let place = Place { repository: STAGE.repository, writer: WRITER, group: GROUP, sequence: 7 };
    let key = STAGE.key.verification_key();
    let _ = manifest::verify(payload, key, &place);
    let envelope = Envelope::sign(IN_TOTO, payload.to_owned(), &STAGE.key).to_json();
    let Ok(manifest) = manifest::verify(&envelope, key, &place) else { return false };
    assert_eq!(manifest.id, Sha256Digest::of(payload), "a snapshot is named by the payload's bytes");
    same_in_json(&manifest.predicate);
    let (again, _) = manifest::sign(manifest.predicate.clone(), &manifest.part, &STAGE.key);
    let again = manifest::verify(&again, key, &place).expect("what was signed verifies");
    assert_eq!((again.part, again.predicate.sequence), (manifest.part, place.sequence));
    true
}

/// The payload of a request to forget, under a valid signature; and the same bytes as a whole envelope.
pub fn request(payload: &[u8]) -> bool {
    let _ = Request::verify(payload, &STAGE.roster, WRITER, 7);
    let envelope = Envelope::sign(request::PAYLOAD_TYPE, payload.to_owned(), &STAGE.key).to_json();
    let Ok(request) = Request::verify(&envelope, &STAGE.roster, WRITER, 7) else { return false };
    same_in_json(&request);
    assert!(request.counts(&STAGE.roster), "nobody on the stage was removed");
    assert!(Request::verify(&envelope, &STAGE.roster, WRITER, 8).is_err(), "it counts in its place only");
    true
}

/// The name of an object.
pub fn name(bytes: &[u8]) -> bool {
    let Ok(key) = std::str::from_utf8(bytes) else { return false };
    let (sequence, hash) = (layout::sequence_of(key), hash_of(key));
    let Some(name) = Name::parse(key) else { return false };
    assert!(name.cap() > 0);
    match &name {
        Name::Snapshot { sequence: named, .. } | Name::Forget { sequence: named, .. } => {
            assert_eq!(sequence, Some(*named), "histories use the same names");
        }
        Name::Key { hash, .. } => assert!(key.ends_with(&format!("-{hash}.age"))),
        name => assert!(name.hash().is_none_or(|named| Some(*named) == hash)),
    }
    true
}

/// The file of this machine's pins.
pub fn pins(bytes: &[u8]) -> bool {
    let Ok(pins) = Pins::from_json(bytes) else { return false };
    same_in_json(&pins);
    let mut moved = Pins::default();
    moved.advance(&pins);
    assert_eq!(moved, pins, "the first pins are all that was seen");
    moved.advance(&Pins::default());
    assert_eq!(moved, pins, "pins never move back");
    true
}
