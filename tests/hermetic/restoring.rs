//! Restores from the command line: names, private targets, files with several names.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use lifeboat_tests::repository::TestRepository;

use crate::BINARIES;

#[test]
fn a_run_refuses_what_no_reader_would_take_before_it_stores_anything() {
    let repo = TestRepository::in_folder(BINARIES);
    let long = "n".repeat(256);
    for name in
        ["", ".", "..", "a/b", "/srv/x.service.d", "a\nb", "a\u{1b}[2Kb", "a\u{202e}b", "a\u{200b}b", &long]
    {
        let said = repo.backup(["run", "--stdin", name]).expect_code(2);
        assert!(said.stderr.contains("cannot be a file's name"), "{name:?}: {}", said.stderr);
        assert!(!said.stderr.trim_end().contains(|c: char| c.is_control() && c != '\n'), "{:?}", said.stderr);
    }
    let long = "t".repeat(1025);
    for option in ["--tag", "--host"] {
        let said = repo.backup(["run", "--stdin", "name", option, &long]).expect_code(2);
        assert!(said.stderr.contains("1025 bytes"), "{option}: {}", said.stderr);
    }
    for folder in ["snapshots", "runs"] {
        assert!(!std::path::Path::new(&repo.location).join(folder).exists(), "{folder}");
    }
}

#[test]
fn several_folders_come_below_a_target_that_nobody_else_can_look_into() {
    let repo = TestRepository::in_folder(BINARIES);
    let (one, two) = (repo.path("one/files\n"), repo.path("two/files\n"));
    for folder in [&one, &two] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("file"), "content").unwrap();
    }
    let args = ["run", "--path", one.to_str().unwrap(), "--path", two.to_str().unwrap()];
    repo.backup(args).expect_code(0);
    let target = repo.path("target");
    repo.restore(["path", "latest", "--to", target.to_str().unwrap()]).expect_code(0);
    for name in ["files\u{fffd}", "files\u{fffd}-2"] {
        assert_eq!(fs::read(target.join(name).join("file")).unwrap(), b"content");
    }
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o700);
    for folder in ["state", "cache"] {
        let mode = fs::metadata(repo.path(folder)).unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o700, "{folder}");
    }
}

#[test]
fn no_name_of_a_damaged_file_is_left_and_all_are_listed() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    let noise: Vec<u8> = (0_u32..100_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let odd = OsStr::from_bytes(b"a\xff.db");
    fs::write(source.join(odd), noise).unwrap();
    fs::hard_link(source.join(odd), source.join("b.db")).unwrap();
    repo.snapshot(&source).expect_code(0);
    let packs = repo.objects("packs");
    let pack = packs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(pack, bytes).unwrap();
    let target = repo.path("target");
    let said = repo.restore(["path", "latest", "--to", target.to_str().unwrap(), "--json"]).expect_code(1);
    let report = said.json();
    let damaged = report["targets"][0]["damaged"].as_array().unwrap();
    assert_eq!(damaged.len(), 2, "{}", said.stdout);
    let place = target.join(odd);
    let hex: Vec<_> = place.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(damaged[0]["path_hex"], hex.concat());
    assert_eq!(damaged[0]["path"], format!("{}/a\u{fffd}.db", target.display()));
    assert_eq!(damaged[1]["path"], target.join("b.db").display().to_string());
    let pack = pack.file_name().unwrap().to_str().unwrap();
    for line in damaged {
        let reason = line["reason"].as_str().unwrap();
        assert!(reason.contains(pack) && !reason.contains(target.to_str().unwrap()), "{line}");
    }
    assert!(damaged[1].get("path_hex").is_none(), "{report}");
    assert!(
        damaged[1]["reason"].as_str().unwrap().starts_with(r"it is another name of a\xff.db: "),
        "{report}"
    );
    assert_eq!(report["targets"][0]["items"], 1);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    // The text shows the path in the form that commands accept.
    let said = repo.restore(["path", "latest", "--to", target.to_str().unwrap()]).expect_code(1).stdout;
    assert!(said.contains(&format!("\n  {}/a\\xff.db: ", target.display())), "{said}");
}

#[test]
fn a_part_of_a_folder_comes_back_with_what_its_links_lead_to() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir_all(source.join("a")).unwrap();
    fs::create_dir_all(source.join("b/deep")).unwrap();
    fs::write(source.join("a/first"), "shared").unwrap();
    fs::write(source.join("b/own"), "own").unwrap();
    for name in ["b/one", "b/deep/two"] {
        fs::hard_link(source.join("a/first"), source.join(name)).unwrap();
    }
    fs::hard_link(source.join("b/own"), source.join("b/deep/own")).unwrap();
    std::os::unix::fs::symlink("../own", source.join("b/deep/link")).unwrap();
    fs::set_permissions(source.join("b"), std::os::unix::fs::PermissionsExt::from_mode(0o751)).unwrap();
    repo.snapshot(&source).expect_code(0);
    let to = repo.path("to");
    let restored = |address: &str, code: i32| {
        let _ = fs::remove_dir_all(&to);
        repo.restore(["path", address, "--to", to.to_str().unwrap()]).expect_code(code)
    };
    restored("latest:source/b", 0);
    assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o751);
    for (name, content) in
        [("one", "shared"), ("deep/two", "shared"), ("own", "own"), ("deep/own", "own"), ("deep/link", "own")]
    {
        assert_eq!(fs::read_to_string(to.join(name)).unwrap(), content, "{name}");
    }
    let inode = |name: &str| fs::metadata(to.join(name)).unwrap().ino();
    assert_eq!(inode("one"), inode("deep/two"));
    assert_eq!(inode("own"), inode("deep/own"));
    // A file, and another name of a file whose first name is elsewhere.
    for (address, name, content) in
        [("latest:source/b/own", "own", "own"), ("latest:source/b/deep/two", "two", "shared")]
    {
        restored(address, 0);
        assert_eq!(fs::read_to_string(to.join(name)).unwrap(), content);
        assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
    }
    // A missing item creates no folder.
    let said = restored("latest:source/c", 2);
    assert!(said.stderr.contains("`source/c`") && !to.exists(), "{said:?}");
    restored("latest:path/b", 2);
    assert!(!to.exists());
}

#[test]
fn folders_are_shown_with_their_paths_on_the_host_and_compared_by_them() {
    let repo = TestRepository::in_folder(BINARIES);
    let (one, two) = (repo.path("one/data"), repo.path("two/data"));
    for folder in [&one, &two] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("of"), folder.display().to_string()).unwrap();
    }
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    let said = repo.backup(["run", "--json", "--path", one, "--path", two]).expect_code(0).json();
    assert_eq!(said["streams"][1]["source"], two);
    // In the opposite order each is still the same folder.
    repo.backup(["run", "--path", two, "--path", one]).expect_code(0);
    let ids = repo.backup(["list", "--json"]).expect_code(0).json();
    let id = |n: usize| ids["snapshots"][n]["id"].as_str().unwrap().to_owned();
    let identity = repo.path("one.key").display().to_string();
    let differs =
        repo.backup(["diff", &id(0), &id(1), "--json", "--identity", &identity]).expect_code(0).json();
    assert_eq!(
        (&differs["changed"], &differs["added"], &differs["removed"]),
        (&0.into(), &0.into(), &0.into()),
        "{differs}"
    );
    let shown = repo.backup(["show", "latest", "--identity", &identity]).expect_code(0).stdout;
    assert!(shown.contains(&format!("from {one}")) && shown.contains(&format!("from {two}")), "{shown}");
    // A key that cannot read the snapshot sees no paths.
    let shown = repo.backup(["show", "latest"]).expect_code(0).stdout;
    assert!(!shown.contains("from "), "{shown}");
    let listed = repo.restore(["ls", "latest"]).expect_code(0).stdout;
    assert!(listed.contains(&format!("data, from {two}:")), "{listed}");
    let to = repo.path("to");
    let said = repo.restore(["path", "latest", "--to", to.to_str().unwrap(), "--json"]).expect_code(0).json();
    assert_eq!(said["targets"][0]["source"], two);
}

/// A restore reports what the snapshot lacks, and which rights programs have lost.
#[test]
fn what_is_missing_and_what_is_left_out_is_told() {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("program"), "x").unwrap();
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let flags = rustix::fs::XattrFlags::empty();
    let set = rustix::fs::setxattr(source.join("program"), "security.capability", &capability, flags);
    repo.snapshot(&source).expect_code(0);
    let to = repo.path("to").display().to_string();
    let said = repo.restore(["path", "latest", "--to", &to, "--no-owner"]).expect_code(0);
    let is_told = said.stdout.contains("1 item lost set-user-ID, set-group-ID or capabilities");
    assert_eq!(is_told, set.is_ok(), "{said:?} {set:?}");
    assert!(!said.stderr.contains("incomplete"), "{said:?}");
}
