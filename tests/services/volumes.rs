//! Volumes through the binaries: what a run leaves out of a real engine's volume.

use std::collections::BTreeMap;

use libtest_mimic::Trial;
use lifeboat_tests::command;
use lifeboat_tests::course::Course;
use lifeboat_tests::gate::trials_with;
use lifeboat_tests::repository::{Binaries, TestRepository};
use serde_json::Value;

use crate::docker::{Docker, Playground, docker, eventually};
use crate::loop_disk::LoopDisk;

const BINARIES: Binaries =
    Binaries { backup: env!("CARGO_BIN_EXE_tested-backup"), restore: env!("CARGO_BIN_EXE_tested-restore") };

pub(crate) fn trials() -> Vec<Trial> {
    let found = Docker::find();
    let test = trials_with(found);
    vec![
        test("volumes::patterns_and_caches_are_left_out_of_volumes_too", left_out),
        test("volumes::one_whose_mount_goes_with_its_user_is_read_whole_or_refused", held_mounts),
        test("volumes::whatever_uses_one_a_whole_snapshot_holds_what_was_in_it", any),
        test("volumes::what_wakes_while_one_is_read_is_noticed_and_nothing_is_promised", woken),
        test("volumes::folders_of_the_host_are_named_where_containers_are_asked_for", host_folders),
        test("volumes::one_that_is_empty_where_it_was_full_is_never_a_whole_snapshot", emptied),
    ]
}

fn left_out(parts: &Docker) {
    let play = Playground::new();
    let volume = play.volume("data");
    let mount = format!("{volume}:/data");
    let fill = "cd /data && mkdir -p keep cache && echo kept > keep/a && echo gone > keep/b.tmp && echo again > cache/x \
                && echo 'Signature: 8a477f597d28d172789f06886806bc55' > cache/CACHEDIR.TAG";
    docker(&["run", "--rm", "--volume", &mount, &parts.busybox, "sh", "-c", fill]);

    let repo = TestRepository::in_folder(BINARIES);
    let args = ["run", "--volume", &volume, "--exclude", "*.tmp", "--exclude-caches", "--json"];
    let said = command::run(repo.backup_command(args).env("DOCKER_HOST", &parts.host)).expect_code(0);
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(document["left_out"], serde_json::json!({"items": 1, "cache_folders": 1, "mount_points": 0}));

    let target = repo.path("target");
    repo.restore(["volume", "latest", &volume, "--to-dir", target.to_str().unwrap()]).expect_code(0);
    assert_eq!(std::fs::read_to_string(target.join("keep/a")).unwrap(), "kept\n");
    assert!(target.join("cache/CACHEDIR.TAG").exists());
    assert!(!target.join("keep/b.tmp").exists() && !target.join("cache/x").exists());
}

/// A volume that is unmounted with its last user.
fn with_options(play: &Playground, name: &str, options: &[&str]) -> String {
    let name = play.name(name);
    let mut args = vec!["volume", "create"];
    args.extend(options.iter().flat_map(|option| ["--opt", option]));
    args.push(&name);
    docker(&args)
}

const FILL: &str = "test -e /v/a || { mkdir -p /v/sub; echo one > /v/a; head -c 300000 /dev/urandom > /v/sub/b; ln -s a /v/l; }; \
                    touch /tmp/ready; trap 'exit 0' TERM; while true; do sleep 0.1; done";

/// Waits until a container has printed that it is ready.
fn ready(id: &str) {
    eventually("the container is ready", || {
        docker(&["exec", id, "sh", "-c", "test -e /tmp/ready && echo yes || true"]) == "yes"
    });
}

/// Starts users of a volume, the first of which fills it.
fn users(play: &Playground, parts: &Docker, volume: &str, others: &[&str]) {
    let start = |name: &str, how: &str| {
        let mount = format!("{volume}:/v{how}");
        play.run(&format!("{volume}-{name}"), &["-v", &mount, &parts.busybox, "sh", "-c", FILL]);
        let name = play.name(&format!("{volume}-{name}"));
        ready(&name);
    };
    start("first", "");
    for (number, how) in others.iter().enumerate() {
        start(&format!("other{number}"), how);
    }
}

/// The first user's view: every file with its hash.
fn seen(play: &Playground, volume: &str) -> String {
    let script = "cd /v && find . | sort && find . -type f | sort | xargs sha256sum";
    docker(&["exec", &play.name(&format!("{volume}-first")), "sh", "-c", script])
}

/// The same for a restored folder.
fn restored(folder: &std::path::Path) -> String {
    let script = "find . | sort && find . -type f | sort | xargs sha256sum";
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .env("LC_ALL", "C")
        .current_dir(folder)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The number of cases, and the number for `scripts/test --long`.
const CASES: (usize, usize) = (12, 100);

/// Volumes of every kind, with users of every kind, in every mode: a complete snapshot holds what was in the volume
/// when the run began, and the volume still holds it afterwards.
fn any(parts: &Docker) {
    let mut course = Course::new(41);
    let mut ends = BTreeMap::<i32, usize>::new();
    let cases = if std::env::var_os("LIFEBOAT_LONG").is_some() { CASES.1 } else { CASES.0 };
    for number in 0..cases {
        let play = Playground::new();
        let repo = parts.repo();
        let folder = tempfile::tempdir().unwrap();
        let disk = LoopDisk::new(16 << 20);
        let options: &[&str] = match course.below(4) {
            0 => &[],
            1 => &["type=none", "o=bind", &format!("device={}", folder.path().display())],
            2 => &["type=tmpfs", "device=tmpfs", "o=size=8m"],
            _ => &["type=ext4", &format!("device={}", disk.device())],
        };
        let volume = with_options(&play, "v", options);
        let empties = course.below(4) == 0;
        let last = if empties { "rm -rf /v/*" } else { "true" };
        let fill = format!(
            "test -e /v/d/b || {{ head -c {} /dev/urandom > /v/a; mkdir /v/d; echo x > /v/d/b; }}; touch /tmp/ready; trap '{last}; exit 0' TERM; \
             while true; do sleep 0.1; done",
            course.below(3_000_000)
        );
        let first = play.run("v-first", &["-v", &format!("{volume}:/v"), &parts.busybox, "sh", "-c", &fill]);
        ready(&first);
        let others = course.below(3);
        for other in 0..others {
            let how = ["", ":ro"][course.below(2)];
            let mount = format!("{volume}:/v{how}");
            let rest = [&parts.busybox, "sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done"];
            let id = play.run(&format!("other{other}"), &[&["-v", &mount][..], &rest].concat());
            match course.below(4) {
                0 => drop(docker(&["pause", &id])),
                1 => drop(docker(&["stop", "--time", "1", &id])),
                _ => {}
            }
        }
        let before = seen(&play, "v");
        let mode = ["stop", "pause", "none"][course.below(3)];
        let what = format!("{number}: {options:?}, {others} others, {mode}, empties: {empties}");
        let args = ["run", "--volume", &volume, "--mode", mode, "--json"];
        let said = repo.backup(args);
        let code = said.code.unwrap();
        *ends.entry(code).or_default() += 1;
        match code {
            0 => {
                assert_eq!(said.json()["incomplete"], false, "{what}");
                let target = repo.path("target");
                let target = target.to_str().unwrap();
                repo.restore(["volume", "latest", &volume, "--to-dir", target]).expect_code(0);
                assert_eq!(restored(target.as_ref()), before, "{what}");
            }
            // Refused before anything was stopped, or reported as incomplete.
            2 => assert_eq!(seen(&play, "v"), before, "{what}"),
            3 => assert!(empties && mode == "stop", "{what}: {}{}", said.stdout, said.stderr),
            other => panic!("{what}: {other}: {}{}", said.stdout, said.stderr),
        }
        assert_eq!(crate::docker::state(&first), "running", "{what}");
        if !empties {
            assert_eq!(seen(&play, "v"), before, "{what}: the live data is as it was");
        }
    }
    assert!(ends[&0] > cases / 3 && ends.len() > 1, "{ends:?}");
}

type Case<'c> = (&'c str, &'c [&'c str], &'c [&'c str], &'c [&'c str]);

fn held_mounts(parts: &Docker) {
    let play = Playground::new();
    let repo = TestRepository::in_folder(BINARIES);
    let run = |volume: &str, mode: &str| {
        let args = ["run", "--volume", volume, "--mode", mode, "--json"];
        command::run(repo.backup_command(args).env("DOCKER_HOST", &parts.host))
    };
    let memory: &[&str] = &["type=tmpfs", "device=tmpfs", "o=size=8m"];
    let folders: Vec<tempfile::TempDir> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let binds: Vec<String> = folders.iter().map(|f| format!("device={}", f.path().display())).collect();
    let bind = |place: usize| ["type=none", "o=bind", binds[place].as_str()];
    // A volume, its other users, and the modes in which it is refused.
    let disk = LoopDisk::new(16 << 20);
    let disk = ["type=ext4", &format!("device={}", disk.device())];
    let cases: [Case<'_>; 6] = [
        ("disk-one", &disk, &[], &[]),
        ("bind-one", &bind(0), &[], &[]),
        ("bind-two", &bind(1), &[""], &[]),
        ("memory-one", memory, &[], &["stop"]),
        ("memory-two", memory, &[""], &["stop"]),
        ("memory-reader", memory, &[":ro"], &[]),
    ];
    for (name, options, others, refused) in cases {
        let volume = with_options(&play, name, options);
        users(&play, parts, &volume, others);
        let before = seen(&play, &volume);
        for mode in ["stop", "pause", "none"] {
            let said = run(&volume, mode);
            if refused.contains(&mode) {
                let said = said.expect_code(2);
                assert!(said.stdout.contains("lies in memory"), "{name} {mode}: {}", said.stdout);
            } else {
                let document = said.expect_code(0).json();
                assert_eq!(document["incomplete"], false, "{name} {mode}: {document}");
                let target = repo.path(&format!("{name}-{mode}"));
                repo.restore(["volume", "latest", &volume, "--to-dir", target.to_str().unwrap()])
                    .expect_code(0);
                assert_eq!(restored(&target), before, "{name} {mode}");
            }
            assert_eq!(seen(&play, &volume), before, "{name} {mode}: the live data is as it was");
        }
    }
}

fn emptied(parts: &Docker) {
    let play = Playground::new();
    let repo = TestRepository::in_folder(BINARIES);
    // An application that deletes everything when it stops, as if it had been unmounted.
    let volume = play.volume("data");
    let script =
        "echo x > /v/a; touch /tmp/ready; trap 'rm /v/a; exit 0' TERM; while true; do sleep 0.1; done";
    let mount = format!("{volume}:/v");
    let id = play.run("app", &["-v", &mount, &parts.busybox, "sh", "-c", script]);
    ready(&id);
    let said =
        command::run(repo.backup_command(["run", "--volume", &volume]).env("DOCKER_HOST", &parts.host));
    let said = said.expect_code(3);
    assert!(
        said.stderr.contains("THE SNAPSHOT LACKS IT") && said.stderr.contains(&volume),
        "{}",
        said.stderr
    );
    assert!(said.stdout.contains("INCOMPLETE"), "{}", said.stdout);
    // A volume that was always empty is complete.
    let empty = play.volume("empty");
    command::run(repo.backup_command(["run", "--volume", &empty]).env("DOCKER_HOST", &parts.host))
        .expect_code(0);
}

/// Somebody starts the writer while its volume is being read, as restart policies and deploy tools do.
fn woken(parts: &Docker) {
    let play = Playground::new();
    let repo = parts.repo();
    let volume = play.volume("data");
    let fill = "test -e /v/big || head -c 600000000 /dev/urandom > /v/big; touch /tmp/ready; trap 'exit 0' TERM; \
                while true; do sleep 0.1; done";
    let id = play.run("app", &["-v", &format!("{volume}:/v"), &parts.busybox, "sh", "-c", fill]);
    ready(&id);
    let said = std::thread::scope(|scope| {
        let run = scope.spawn(|| repo.backup(["run", "--volume", &volume, "--json"]));
        eventually("the container is at rest", || crate::docker::state(&id) == "exited");
        docker(&["start", &id]);
        run.join().unwrap()
    });
    let said = said.expect_code(3);
    assert!(said.stderr.contains("could write to the volume"), "{said:?}");
    assert_eq!(said.json()["streams"][0]["consistency"], "live", "{said:?}");
    let shown = repo.backup(["show", "latest", "--json"]).expect_code(0).json();
    assert_eq!(shown["streams"][0]["consistency"], "live", "{shown}");
}

fn host_folders(parts: &Docker) {
    let play = Playground::new();
    let repo = parts.repo();
    let volume = play.volume("data");
    let folder = repo.path("photos");
    std::fs::create_dir(&folder).unwrap();
    let folder = folder.display().to_string();
    let bind = format!("{folder}:/photos");
    let wait = [&parts.busybox, "sleep", "600"];
    play.run("both", &[&["-v", &format!("{volume}:/v"), "-v", &bind][..], &wait].concat());
    play.run("bind", &[&["-v", &bind][..], &wait].concat());
    let run = |args: &[&str]| repo.backup([&["run", "--mode", "pause"][..], args].concat());
    let advice = format!("--path {folder} takes it");
    let said = run(&["--container", &play.name("both")]).expect_code(0);
    assert!(said.stderr.contains("not in the snapshot") && said.stderr.contains(&advice), "{said:?}");
    let said = run(&["--container", &play.name("bind")]).expect_code(2);
    assert!(said.stderr.contains("no volume to back up") && said.stderr.contains(&advice), "{said:?}");
    let said = run(&["--container", &play.name("both"), "--path", &folder]).expect_code(0);
    assert!(!said.stderr.contains("not in the snapshot"), "{said:?}");
}
