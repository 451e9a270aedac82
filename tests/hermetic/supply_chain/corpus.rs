//! The corpus of the fuzz targets, replayed: nothing in it panics, hangs, or is believed.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fs;
use std::path::Path;

use lifeboat_core::Sha256Digest;
use lifeboat_trust::bundle::Bundle;
use lifeboat_trust::certificate::Claims;
use lifeboat_trust::dsse::Envelope;
use lifeboat_trust::judge::{File, judge_file};
use lifeboat_trust::policy::Policy;
use lifeboat_trust::statement::Statement;

/// Calls `read` with every file of a target's corpus, and says how many of them it could read.
fn replay(target: &str, read: impl Fn(&[u8]) -> bool) -> (usize, usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../common/trust/fuzz/corpus").join(target);
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let results: Vec<bool> = files.map(|bytes| read(&bytes)).collect();
    (results.iter().filter(|good| **good).count(), results.len())
}

#[test]
fn bundles() {
    let (good, all) = replay("bundle", |bytes| {
        let file = File { digest: Sha256Digest::of(b""), content: Some(b""), predicate_type: None };
        assert!(judge_file(bytes, file, &Policy::default()).is_err());
        Bundle::parse(bytes).is_ok()
    });
    assert!(good >= 2 && all > good, "{good} of {all}");
}

#[test]
fn envelopes() {
    let (good, all) = replay("envelope", |bytes| {
        let _ = Statement::parse(bytes);
        let envelope = Envelope::from_json(bytes);
        envelope.is_ok_and(|envelope| Statement::parse(&envelope.payload).is_ok())
    });
    assert!(good >= 1 && all > good, "{good} of {all}");
}

#[test]
fn certificates() {
    let (good, all) = replay("certificate", |bytes| Claims::read(bytes).is_ok());
    assert!(good >= 2 && all > good, "{good} of {all}");
}

#[test]
fn manifests() {
    let (good, all) = replay("manifest", |bytes| lifeboat_registry::check_manifest(bytes).is_ok());
    assert!(good >= 2 && all > good, "{good} of {all}");
}
