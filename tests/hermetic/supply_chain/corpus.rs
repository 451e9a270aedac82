//! Replays the corpus of the manifest fuzz target; the other targets' corpora are replayed in their own crate.

use lifeboat_testkit::corpus::Corpus;

#[test]
fn manifests() {
    let corpus = Corpus::of_crate(concat!(env!("CARGO_MANIFEST_DIR"), "/../common/trust"));
    let replayed = corpus.replay("manifest", |bytes| lifeboat_registry::check_manifest(bytes).is_ok());
    assert!(replayed.read.len() >= 2 && !replayed.refused.is_empty(), "{replayed:?}");
}
