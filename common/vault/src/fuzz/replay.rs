//! The corpus of the fuzz targets, replayed: nothing in it panics or hangs, and what is whole in it is still read.

use std::fs;
use std::path::{Path, PathBuf};

/// Says whether it read the bytes.
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

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn names_in(name: &str) -> Vec<String> {
    let entries = fs::read_dir(folder(name)).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_file_of_the_corpus_is_replayed_and_the_whole_ones_are_read() {
    for (target, read) in TARGETS {
        let files = names_in(&format!("corpus/{target}"));
        let (good, bad): (Vec<_>, Vec<_>) =
            files.iter().partition(|file| read(&fs::read(folder("corpus").join(target).join(file)).unwrap()));
        assert!(!good.is_empty() && !bad.is_empty(), "{target}: {good:?} are read, {bad:?} are not");
    }
}

#[test]
fn every_target_is_built_and_has_a_corpus() {
    let names: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names_in("corpus"), names);
    assert_eq!(names_in("fuzz_targets"), names.iter().map(|name| format!("{name}.rs")).collect::<Vec<_>>());
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for name in &names {
        let text = fs::read_to_string(folder("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(text.contains(&format!("fuzz::{name}(bytes)")), "{name} calls its own function");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is built");
    }
}
