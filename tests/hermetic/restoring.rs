//! Restores from the command line: names, private targets, files with several names.

use std::fs;
use std::os::unix::fs::MetadataExt;

use lifeboat_tests::repository::Yard;

use crate::BINARIES;

#[test]
fn a_run_refuses_what_no_reader_would_take_before_it_stores_anything() {
    let yard = Yard::in_folder(BINARIES);
    let long = "n".repeat(256);
    for name in
        ["", ".", "..", "a/b", "/srv/x.service.d", "a\nb", "a\u{1b}[2Kb", "a\u{202e}b", "a\u{200b}b", &long]
    {
        let said = yard.backup(["run", "--stdin", name]).expect_code(2);
        assert!(said.stderr.contains("cannot be a file's name"), "{name:?}: {}", said.stderr);
        assert!(!said.stderr.trim_end().contains(|c: char| c.is_control() && c != '\n'), "{:?}", said.stderr);
    }
    let long = "t".repeat(1025);
    for option in ["--tag", "--host"] {
        let said = yard.backup(["run", "--stdin", "name", option, &long]).expect_code(2);
        assert!(said.stderr.contains("1025 bytes"), "{option}: {}", said.stderr);
    }
    for folder in ["snapshots", "runs"] {
        assert!(!std::path::Path::new(&yard.location).join(folder).exists(), "{folder}");
    }
}

#[test]
fn several_folders_come_below_a_target_that_nobody_else_can_look_into() {
    let yard = Yard::in_folder(BINARIES);
    let (one, two) = (yard.path("one/files\n"), yard.path("two/files\n"));
    for folder in [&one, &two] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("file"), "content").unwrap();
    }
    let args = ["run", "--path", one.to_str().unwrap(), "--path", two.to_str().unwrap()];
    yard.backup(args).expect_code(0);
    let target = yard.path("target");
    yard.restore(["path", "latest", "--to", target.to_str().unwrap()]).expect_code(0);
    for name in ["files\u{fffd}", "files\u{fffd}-2"] {
        assert_eq!(fs::read(target.join(name).join("file")).unwrap(), b"content");
    }
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o700);
    for folder in ["state", "cache"] {
        let mode = fs::metadata(yard.path(folder)).unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o700, "{folder}");
    }
}

#[test]
fn no_name_of_a_damaged_file_is_left_and_all_are_listed() {
    let yard = Yard::in_folder(BINARIES);
    let source = yard.path("source");
    fs::create_dir(&source).unwrap();
    let noise: Vec<u8> = (0_u32..100_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(source.join("a.db"), noise).unwrap();
    fs::hard_link(source.join("a.db"), source.join("b.db")).unwrap();
    yard.snapshot(&source).expect_code(0);
    let packs = yard.objects("packs");
    let pack = packs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(pack, bytes).unwrap();
    let target = yard.path("target");
    let said = yard.restore(["path", "latest", "--to", target.to_str().unwrap(), "--json"]).expect_code(1);
    let report = said.json();
    assert_eq!(report["targets"][0]["damaged"].as_array().unwrap().len(), 2, "{}", said.stdout);
    assert_eq!(report["targets"][0]["items"], 1);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
}
