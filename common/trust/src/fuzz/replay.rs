//! Replays the corpus of the fuzz targets: nothing in it panics, hangs, or is believed.

use lifeboat_testkit::corpus::Corpus;

/// A target's name, its function, and the minimum number of its files that are accepted.
type Target = (&'static str, fn(&[u8]) -> bool, usize);

const TARGETS: &[Target] = &[
    ("bundle", super::bundle, 2),
    ("certificate", super::certificate, 2),
    ("envelope", super::envelope, 1),
    ("legacy", super::legacy, 3),
];

#[test]
fn every_file_of_the_corpus_is_replayed_and_nothing_in_it_is_believed() {
    for (target, read, least) in TARGETS {
        let replayed = Corpus::of_crate(env!("CARGO_MANIFEST_DIR")).replay(target, read);
        assert!(replayed.read.len() >= *least && !replayed.refused.is_empty(), "{target}: {replayed:?}");
    }
}

#[test]
fn every_target_is_built_and_has_a_corpus() {
    Corpus::of_crate(env!("CARGO_MANIFEST_DIR")).check_targets(&[
        ("bundle", "fuzz::bundle"),
        ("certificate", "fuzz::certificate"),
        ("envelope", "fuzz::envelope"),
        ("legacy", "fuzz::legacy"),
        ("manifest", "lifeboat_registry::check_manifest"),
    ]);
}
