//! Restores as other users, on disks that fill up, and while somebody exchanges files: tests that need root, or a
//! separate file system.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use lifeboat_tests::command::{Output, run};
use lifeboat_tests::gate::{Missing, trial};
use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::tree::is_root;

use crate::BINARIES;

/// A user without any rights, and another one.
const NOBODY: u32 = 65534;
const SOMEBODY: u32 = 1234;

type Test = fn() -> Result<(), Failed>;

pub(crate) fn trials() -> Vec<Trial> {
    let root = is_root().then_some(()).ok_or_else(|| Missing("only root gives files away".to_owned()));
    let own_mount = own_mount();
    let tests: [(&str, &Result<(), Missing>, Test); 5] = [
        ("programs_of_others_lose_their_set_ids", &root, set_ids),
        ("whoever_is_not_root_restores_what_then_belongs_to_them", &root, owners),
        ("a_target_of_somebody_else_is_refused", &root, foreign_target),
        ("nobody_exchanges_what_root_restores", &root, exchanged),
        ("a_full_disk_is_said_as_it_is", &own_mount, full_disk),
    ];
    let trials = tests
        .into_iter()
        .map(|(name, needed, test)| trial(&format!("restoring::{name}"), needed.clone(), move |()| test()));
    trials.collect()
}

/// Runs a script in separate namespaces, where it may mount.
fn in_own_namespace(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-ec", script]);
    command
}

fn own_mount() -> Result<(), Missing> {
    let said = in_own_namespace("mount -t tmpfs -o size=64k none /mnt").stderr(Stdio::null()).status();
    match said {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Missing("this user cannot mount in a namespace of its own".to_owned())),
    }
}

/// A repository that everybody may read, with a snapshot of a folder that `fill` fills.
fn repo(fill: impl FnOnce(&Path)) -> TestRepository {
    let repo = TestRepository::in_folder(BINARIES);
    let source = repo.path("source");
    fs::create_dir(&source).unwrap();
    fill(&source);
    repo.snapshot(&source).expect_code(0);
    repo
}

/// Restores as nobody, with a copy of the key and a separate home.
fn restore_as_nobody(repo: &TestRepository, to: &Path, more: &[&str]) -> Output {
    let home = repo.path("nobody");
    fs::create_dir_all(&home).unwrap();
    fs::copy(repo.path("one.key"), home.join("one.key")).unwrap();
    for path in [home.join("one.key"), home.clone()] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    fs::set_permissions(repo.path("."), fs::Permissions::from_mode(0o711)).unwrap();
    let opened = Command::new("chmod").args(["-R", "a+rX"]).arg(&repo.location).status().unwrap();
    assert!(opened.success());
    let mut command = repo.restore_command(["path", "latest", "--to", &to.display().to_string()]);
    command.args(more);
    command.env("LIFEBOAT_IDENTITY", home.join("one.key")).env("HOME", &home);
    command.env("XDG_CACHE_HOME", home.join("cache")).env("XDG_STATE_HOME", home.join("state"));
    run(command.uid(NOBODY).gid(NOBODY))
}

#[expect(clippy::unnecessary_wraps, reason = "a trial is a function that may fail")]
fn set_ids() -> Result<(), Failed> {
    let repo = repo(|source| {
        for (name, owner) in [("others", SOMEBODY), ("own", NOBODY)] {
            fs::write(source.join(name), "#!/bin/sh\n").unwrap();
            chown(source.join(name), Some(owner), Some(owner)).unwrap();
            fs::set_permissions(source.join(name), fs::Permissions::from_mode(0o6755)).unwrap();
        }
        chown(source, Some(NOBODY), Some(NOBODY)).unwrap();
    });
    let target = repo.path("nobody/target");
    let said = restore_as_nobody(&repo, &target, &[]).expect_code(3);
    let mode = |name: &str| fs::metadata(target.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("others"), mode("own")), (0o755, 0o6755), "{}", said.stdout);
    assert!(
        said.stdout.contains("set-user-ID, set-group-ID and capabilities were left out"),
        "{}",
        said.stdout
    );
    Ok(())
}

/// An ordinary user can set no owner: that is reported, not a failure, and no program runs as somebody else.
#[expect(clippy::unnecessary_wraps, reason = "a trial is a function that may fail")]
fn owners() -> Result<(), Failed> {
    let repo = repo(|source| {
        for (name, mode, owner) in [("plain", 0o640, SOMEBODY), ("program", 0o6755, SOMEBODY)] {
            fs::write(source.join(name), name).unwrap();
            chown(source.join(name), Some(owner), Some(owner)).unwrap();
            fs::set_permissions(source.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    });
    let facts = |folder: &Path| {
        ["plain", "program"].map(|name| {
            let found = fs::metadata(folder.join(name)).unwrap();
            (found.mode() & 0o7777, found.uid())
        })
    };
    // Root can, unless told not to; missing parent folders are created.
    let (with, without) = (repo.path("a/b/with"), repo.path("without"));
    let said = repo.restore(["path", "latest", "--to", with.to_str().unwrap()]).expect_code(0);
    assert!(!said.stdout.contains("owners"), "{said:?}");
    assert_eq!(facts(&with), [(0o640, SOMEBODY), (0o6755, SOMEBODY)]);
    let said =
        repo.restore(["path", "latest", "--no-owner", "--to", without.to_str().unwrap()]).expect_code(0);
    assert!(said.stdout.contains("owners were not set on 3 items"), "{said:?}");
    assert!(said.stdout.contains("1 item lost set-user-ID"), "{said:?}");
    assert_eq!(facts(&without), [(0o640, 0), (0o755, 0)]);

    let (back, again) = (repo.path("nobody/back"), repo.path("nobody/again"));
    let said = restore_as_nobody(&repo, &back, &[]).expect_code(3);
    assert!(said.stdout.contains("owners were not set on 2 items"), "{said:?}");
    assert!(said.stdout.contains("program: its owner cannot be set"), "{said:?}");
    assert!(!said.stdout.contains("plain: "), "{said:?}");
    restore_as_nobody(&repo, &again, &["--no-owner"]).expect_code(0);
    for folder in [&back, &again] {
        assert_eq!(facts(folder), [(0o640, NOBODY), (0o755, NOBODY)], "{}", folder.display());
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "a trial is a function that may fail")]
fn foreign_target() -> Result<(), Failed> {
    let repo = repo(|source| fs::write(source.join("file"), "content").unwrap());
    let target = repo.path("target");
    fs::create_dir(&target).unwrap();
    chown(&target, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o777)).unwrap();
    let said = restore_as_nobody(&repo, &target, &[]).expect_code(2);
    assert!(said.stderr.contains("belongs to user 1234"), "{}", said.stderr);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    let meta = fs::metadata(&target).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (SOMEBODY, 0o777));
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "a trial is a function that may fail")]
fn exchanged() -> Result<(), Failed> {
    let repo = repo(|source| {
        for number in 0..200 {
            fs::write(source.join(format!("file-{number}")), "").unwrap();
            let mode = fs::Permissions::from_mode(0o666);
            fs::set_permissions(source.join(format!("file-{number}")), mode).unwrap();
        }
    });
    let (target, secret) = (repo.path("target"), repo.path("secret"));
    fs::write(&secret, "only root").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(repo.path("."), fs::Permissions::from_mode(0o711)).unwrap();
    fs::create_dir(&target).unwrap();
    chown(&target, Some(NOBODY), Some(NOBODY)).unwrap();
    let script = "while :; do for f in \"$0\"/*; do rm -f \"$f\" && ln -s \"$1\" \"$f\"; done; done";
    let mut hostile = Command::new("sh");
    hostile.args(["-c", script]).arg(&target).arg(&secret).stderr(Stdio::null()).uid(NOBODY).gid(NOBODY);
    let mut hostile = hostile.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let said = repo.restore(["path", "latest", "--to", &target.display().to_string()]);
    hostile.kill().unwrap();
    hostile.wait().unwrap();
    assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o7777, 0o600);
    // The exchanger may have been first: then the target was not empty, and nothing was restored into it.
    if said.code == Some(0) {
        let all_files = fs::read_dir(&target).unwrap().all(|e| e.unwrap().file_type().unwrap().is_file());
        assert!(all_files, "nothing was exchanged");
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "a trial is a function that may fail")]
fn full_disk() -> Result<(), Failed> {
    let noise: Vec<u8> =
        (0_u32..1_000_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let repo = repo(|source| {
        fs::write(source.join("a"), "small").unwrap();
        fs::write(source.join("b"), &noise).unwrap();
    });
    let mount = repo.path("mount");
    fs::create_dir(&mount).unwrap();
    let command = repo.restore_command(["path", "latest", "--to", &mount.join("to").display().to_string()]);
    let script = "mount -t tmpfs -o size=1m none \"$0\"; \"$@\" || code=$?; ls \"$0/to\"; exit ${code:-0}";
    let mut inside = in_own_namespace(script);
    inside.arg(&mount).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => inside.env(name, value),
            None => inside.env_remove(name),
        };
    }
    let said = run(&mut inside).expect_code(1);
    assert!(said.stderr.contains("No space left on device"), "{}", said.stderr);
    assert!(said.stderr.contains("make room there"), "{}", said.stderr);
    assert!(!format!("{}{}", said.stdout, said.stderr).contains("DAMAGED"), "{said:?}");
    let left: Vec<&str> = said.stdout.lines().filter(|line| *line != "a").collect();
    assert!(left.is_empty(), "what is not whole does not stay: {left:?}");
    Ok(())
}
