//! A repository on a disk that fills up.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use lifeboat_tests::gate::{Missing, trials_with};
use lifeboat_tests::repository::TestRepository;

use crate::BINARIES;
use crate::loop_disk::LoopDisk;

pub(crate) fn trials() -> Vec<Trial> {
    let found = lifeboat_tests::tree::is_root()
        .then_some(())
        .ok_or_else(|| Missing("disks are made by root, and this is another user".to_owned()));
    let test = trials_with(found);
    vec![test("full_disk::what_landed_is_used_and_what_ended_runs_left_is_freed", |()| fills())]
}

fn noise(path: &Path, megabytes: u32) {
    let filled = Command::new("head")
        .args(["-c", &format!("{megabytes}M"), "/dev/urandom"])
        .stdout(fs::File::create(path).unwrap())
        .status()
        .unwrap();
    assert!(filled.success());
}

/// Bytes that are used on the disk that holds the repository.
fn used(repo: &TestRepository) -> u64 {
    let found = rustix::fs::statvfs(&repo.location).unwrap();
    (found.f_blocks - found.f_bfree) * found.f_frsize
}

fn fills() {
    let disk = LoopDisk::new(80 << 20);
    let repo = TestRepository::without_repository(BINARIES);
    fs::create_dir_all(&repo.location).unwrap();
    disk.mount(repo.location.as_ref());
    // A new file system has a folder of its own.
    fs::remove_dir(Path::new(&repo.location).join("lost+found")).unwrap();
    repo.init().expect_code(0);
    let empty = used(&repo);
    let (large, small) = (repo.path("large"), repo.path("small"));
    for (folder, megabytes) in [(&large, 100), (&small, 50)] {
        fs::create_dir(folder).unwrap();
        noise(&folder.join("noise"), megabytes);
    }
    let keeper = repo.add_keeper();
    let prune = || repo.as_keeper(["prune", "--grace", "0s", "--keeper-key", &keeper]).expect_code(0);

    // More than the disk holds: this is reported as such, and all records of what was uploaded find room.
    let said = repo.snapshot(&large).expect_code(1);
    assert!(said.stderr.contains("full") || said.stderr.contains("space"), "{said:?}");
    assert!(used(&repo) > empty + (40 << 20), "something landed");
    repo.backup(["list"]).expect_code(0);
    let said = prune();
    assert!(used(&repo) < empty + (2 << 20), "{} bytes are left of {}: {said:?}", used(&repo) - empty, empty);

    // It would fit, but something else takes the room.
    let filler = Path::new(&repo.location).join("filler");
    noise(&filler, 40);
    repo.snapshot(&small).expect_code(1);
    let landed = used(&repo) - empty - (40 << 20);
    assert!(landed > 10 << 20, "{landed}");
    fs::remove_file(&filler).unwrap();
    let report = repo.backup(["run", "--json", "--path", small.to_str().unwrap()]).expect_code(0).json();
    let stored = report["stored_bytes"].as_u64().unwrap();
    assert!(stored < (51 << 20) - landed / 2, "{landed} bytes had landed, and {stored} were stored");
    repo.backup(["check", "--read-data"]).expect_code(0);
}
