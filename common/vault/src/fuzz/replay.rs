//! Replays the corpus of the fuzz targets: nothing in it panics or hangs, and what is whole in it is still read.

use lifeboat_testkit::corpus::Corpus;

/// Returns whether it read the bytes.
type Target = fn(&[u8]) -> bool;

/// The targets by name.
const TARGETS: &[(&str, Target)] = &[
    ("condemnation", super::condemnation),
    ("contents", super::contents),
    ("frame", super::frame),
    ("group_keys", super::group_keys),
    ("items", super::items),
    ("keeper_key", super::keeper_key),
    ("locations", super::locations),
    ("loss", super::loss),
    ("manifest", super::manifest),
    ("marker", super::marker),
    ("memory", super::memory),
    ("name", super::name),
    ("pack", super::pack),
    ("part", super::part),
    ("patterns", super::patterns),
    ("pins", super::pins),
    ("recipient", super::recipient),
    ("recovery_key", super::recovery_key),
    ("registration", super::registration),
    ("request", super::request),
    ("roster", super::roster),
    ("signed_object", super::signed_object),
    ("wrapped", super::wrapped),
    ("writer_key", super::writer_key),
];

fn corpus() -> Corpus {
    Corpus::of_crate(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_file_of_the_corpus_is_replayed_and_the_whole_ones_are_read() {
    for (target, read) in TARGETS {
        let replayed = corpus().replay(target, read);
        assert!(!replayed.read.is_empty() && !replayed.refused.is_empty(), "{target}: {replayed:?}");
    }
}

#[test]
fn every_target_is_built_and_has_a_corpus() {
    let functions: Vec<String> = TARGETS.iter().map(|(name, _)| format!("fuzz::{name}")).collect();
    let names = TARGETS.iter().map(|(name, _)| *name);
    let targets: Vec<(&str, &str)> = names.zip(functions.iter().map(String::as_str)).collect();
    corpus().check_targets(&targets);
}
