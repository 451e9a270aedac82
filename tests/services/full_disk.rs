//! A repository on a disk that fills up.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use lifeboat_tests::gate::{Missing, trials_with};
use lifeboat_tests::repository::Yard;

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
fn used(yard: &Yard) -> u64 {
    let found = rustix::fs::statvfs(&yard.location).unwrap();
    (found.f_blocks - found.f_bfree) * found.f_frsize
}

fn fills() {
    let disk = LoopDisk::new(80 << 20);
    let yard = Yard::without_repository(BINARIES);
    fs::create_dir_all(&yard.location).unwrap();
    disk.mount(yard.location.as_ref());
    // A new file system has a folder of its own.
    fs::remove_dir(Path::new(&yard.location).join("lost+found")).unwrap();
    yard.init().expect_code(0);
    let empty = used(&yard);
    let (large, small) = (yard.path("large"), yard.path("small"));
    for (folder, megabytes) in [(&large, 100), (&small, 50)] {
        fs::create_dir(folder).unwrap();
        noise(&folder.join("noise"), megabytes);
    }
    let keeper = yard.add_keeper();
    let prune = || yard.as_keeper(["prune", "--grace", "0s", "--keeper-key", &keeper]).expect_code(0);

    // More than the disk holds: this is reported as such, and all records of what was uploaded find room.
    let said = yard.snapshot(&large).expect_code(1);
    assert!(said.stderr.contains("full") || said.stderr.contains("space"), "{said:?}");
    assert!(used(&yard) > empty + (40 << 20), "something landed");
    yard.backup(["list"]).expect_code(0);
    let said = prune();
    assert!(used(&yard) < empty + (2 << 20), "{} bytes are left of {}: {said:?}", used(&yard) - empty, empty);

    // It would fit, but something else takes the room.
    let filler = Path::new(&yard.location).join("filler");
    noise(&filler, 40);
    yard.snapshot(&small).expect_code(1);
    let landed = used(&yard) - empty - (40 << 20);
    assert!(landed > 10 << 20, "{landed}");
    fs::remove_file(&filler).unwrap();
    let report = yard.backup(["run", "--json", "--path", small.to_str().unwrap()]).expect_code(0).json();
    let stored = report["stored_bytes"].as_u64().unwrap();
    assert!(stored < (51 << 20) - landed / 2, "{landed} bytes had landed, and {stored} were stored");
    yard.backup(["check", "--read-data"]).expect_code(0);
}
