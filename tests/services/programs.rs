//! The programs with the real engine, from the command line to the containers, as on a user's host.

use std::fs;
use std::io::Write;
use std::path::Path;

use libtest_mimic::Trial;
use lifeboat_tests::command::run;
use lifeboat_tests::gate::{Missing, trials_with};
use lifeboat_tests::repository::TestRepository;

use crate::docker::{Docker, Playground, docker, eventually, state};
use crate::sandbox::scratch_objects;

pub(crate) fn trials() -> Vec<Trial> {
    let found = Docker::find().and_then(|docker| {
        if lifeboat_tests::tree::is_root() {
            Ok(docker)
        } else {
            Err(Missing("volumes lie in root's folders, and this is another user".to_owned()))
        }
    });
    let test = trials_with(found);
    vec![
        test("programs::a_volume_goes_into_a_snapshot_and_comes_back_as_a_new_one", round_trip),
        test("programs::what_the_engine_does_not_have_is_named", unknown),
        test("programs::a_run_killed_while_containers_rest_is_made_good_by_doctor", killed_then_doctor),
        test("programs::a_run_killed_while_containers_rest_is_made_good_by_the_next", killed_then_run),
        test("programs::an_interrupted_run_brings_containers_back_itself", interrupted),
        test("programs::whoever_interrupts_twice_is_told_what_is_left", interrupted_twice),
        test("programs::what_was_read_is_stored_though_its_container_does_not_start_again", unstartable),
        test("programs::a_snapshot_is_rehearsed_and_the_page_written", rehearsed),
    ]
}

fn round_trip(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    let volume = play.volume("data");
    let container = play.run_writer(found, "writer", &volume, &[]);
    let started = || docker(&["inspect", "--format", "{{.State.StartedAt}}", &container]);
    let before = started();

    let said = repo.backup(["run", "--volume", &volume, "--dry-run"]).expect_code(0);
    assert!(!said.stdout.contains("stopped"), "{}", said.stdout);
    assert_eq!(started(), before, "a dry run stops nothing");
    for (mode, consistency) in [("none", "live"), ("pause", "paused"), ("stop", "stopped")] {
        repo.backup(["run", "--volume", &volume, "--mode", mode]).expect_code(0);
        let shown = repo.backup(["show", "latest"]).expect_code(0).stdout;
        assert!(shown.contains(consistency), "{shown}");
        assert_eq!(state(&container), "running", "{mode}");
    }
    assert_ne!(started(), before, "it was stopped and started again");

    let copy = play.name("copy");
    repo.restore(["volume", "latest", &volume, "--to", &copy]).expect_code(0);
    let mount = format!("{copy}:/data");
    assert_eq!(docker(&["run", "--rm", "-v", &mount, &found.busybox, "cat", "/data/said"]), "here");
    let again = repo.restore(["volume", "latest", &volume, "--to", &copy]);
    assert_eq!(again.code, Some(2), "what is there is not overwritten: {again:?}");
    let folder = repo.path("folder");
    repo.restore(["volume", "latest", &volume, "--to-dir", folder.to_str().unwrap()]).expect_code(0);
    assert_eq!(fs::read_to_string(folder.join("said")).unwrap(), "here\n");
}

fn unknown(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    let volume = play.volume("pgdata");
    let told = |args: &[&str]| {
        let said = repo.backup(args);
        let text = repo.plain(&said.stderr).replace(&play.prefix, "PLAY");
        format!("exit code {:?}\n{text}", said.code)
    };
    insta::assert_snapshot!("unknown_volume", told(&["run", "--volume", "nothing-like-any-other-volume"]));
    let typo = volume.replace("pgdata", "pgdta");
    insta::assert_snapshot!("mistyped_volume", told(&["run", "--volume", &typo]));
    insta::assert_snapshot!("unknown_container", told(&["run", "--container", "nothing-like-any-other"]));
    insta::assert_snapshot!("unknown_project", told(&["run", "--project", "nothing-like-any-other"]));
    assert!(!Path::new(&repo.location).join("runs").exists(), "nothing was stored");
    assert_eq!(docker(&["volume", "ls", "--quiet", "--filter", &format!("name={typo}")]), "");
}

/// Starts a run of a volume that takes a while to read, and waits until the journal shows that its writer is stopped.
fn run_at_rest(
    found: &Docker,
    play: &Playground,
    repo: &TestRepository,
) -> (std::process::Child, String, String) {
    let volume = play.volume("data");
    let container = play.run_writer(found, "writer", &volume, &[]);
    let folder = docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume]);
    let mut noise = fs::File::create(Path::new(&folder).join("noise")).unwrap();
    let mut megabyte = vec![0_u8; 1 << 20];
    for number in 0..192_u32 {
        megabyte.iter_mut().zip(0_u32..).for_each(|(byte, n)| {
            *byte = (n.wrapping_add(number << 20).wrapping_mul(2_654_435_761) >> 24) as u8;
        });
        noise.write_all(&megabyte).unwrap();
    }
    let mut command = repo.backup_command(["run", "--volume", &volume]);
    let child =
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let journals = repo.path("state/lifeboat/at-rest");
    eventually("the journal says that the container is at rest", || {
        let entries = fs::read_dir(&journals).into_iter().flatten().flatten();
        entries
            .map(|entry| fs::read_to_string(entry.path()).unwrap_or_default())
            .any(|journal| journal.contains("\"held\""))
    });
    (child, container, volume)
}

fn kill_at_rest(found: &Docker, play: &Playground, repo: &TestRepository) -> (String, String) {
    let (mut child, container, volume) = run_at_rest(found, play, repo);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(state(&container), "exited", "nobody is there to start it");
    (container, volume)
}

fn killed_then_doctor(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    let (container, _) = kill_at_rest(found, &play, &repo);
    let said = repo.backup(["doctor"]).expect_code(0);
    assert!(said.stdout.contains(&play.name("writer")), "{}", said.stdout);
    assert_eq!(state(&container), "running");
    let again = repo.backup(["doctor"]).expect_code(0);
    assert!(again.stdout.contains("no container was left at rest"), "{}", again.stdout);
}

fn killed_then_run(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    // Another volume, or a folder: the next run also settles what does not concern it.
    let other = play.volume("other");
    let folder = repo.path("folder");
    fs::create_dir(&folder).unwrap();
    let (first, _) = kill_at_rest(found, &play, &repo);
    let said = repo.backup(["run", "--path", folder.to_str().unwrap()]).expect_code(0);
    assert!(said.stderr.contains("an earlier run was killed"), "{}", said.stderr);
    assert_eq!(state(&first), "running");
    docker(&["rm", "--force", &first]);
    let (container, volume) = kill_at_rest(found, &play, &repo);
    let said = repo.backup(["run", "--volume", &other]).expect_code(0);
    assert!(said.stderr.contains("an earlier run was killed"), "{}", said.stderr);
    assert_eq!(state(&container), "running");
    repo.backup(["run", "--volume", &volume]).expect_code(0);
    assert_eq!(state(&container), "running");
    assert_eq!(
        repo.backup(["list"]).expect_code(0).stdout.lines().count(),
        4,
        "three snapshots under a heading"
    );
}

fn interrupted(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::HUP] {
        let (mut child, container, _) = run_at_rest(found, &play, &repo);
        let pid = rustix::process::Pid::from_child(&child);
        // As `timeout` does it: first the process, and at once its group.
        rustix::process::kill_process(pid, signal).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_eq!(state(&container), "running", "a program that is asked to stop restores what it changed");
        let journals = fs::read_dir(repo.path("state/lifeboat/at-rest")).unwrap();
        assert_eq!(journals.count(), 0, "and leaves no journal");
        docker(&["rm", "--force", &container]);
    }
}

/// A user who interrupts twice is told what is left.
fn interrupted_twice(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    let volume = play.volume("data");
    let mount = format!("{volume}:/data");
    let script = "trap 'sleep 5; exit 0' TERM; while true; do sleep 0.1; done";
    let slow = play.run("slow", &["--volume", &mount, &found.busybox, "sh", "-c", script]);
    let mut command = repo.backup_command(["run", "--volume", &volume]);
    let child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let journals = repo.path("state/lifeboat/at-rest");
    eventually("the container is being stopped", || {
        let entries = fs::read_dir(&journals).into_iter().flatten().flatten();
        let mut journals = entries.map(|entry| fs::read_to_string(entry.path()).unwrap_or_default());
        journals.any(|journal| journal.contains("\"asked\""))
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    // A second request, not an echo of the first.
    std::thread::sleep(std::time::Duration::from_secs(1));
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("containers may be left at rest") && said.contains("doctor"), "{said}");
    repo.backup(["doctor"]).expect_code(0);
    assert_eq!(state(&slow), "running");
}

fn unstartable(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    let volume = play.volume("data");
    // It stops, and a file that it needs to start is gone by then.
    let gone = repo.path("gone");
    fs::write(&gone, "").unwrap();
    let bind = format!("type=bind,src={},dst=/gone", gone.display());
    let id = play.run_writer(found, "writer", &volume, &["--mount", &bind]);
    fs::remove_file(&gone).unwrap();
    let said = repo.backup(["run", "--volume", &volume]).expect_code(1);
    assert!(said.stdout.contains("snapshot"), "{said:?}");
    for word in ["the snapshot is stored", &play.name("writer"), "doctor"] {
        assert!(said.stderr.contains(word), "{word}: {said:?}");
    }
    assert_eq!(state(&id), "exited");
    assert_eq!(repo.restore(["dump", "latest", "said"]).expect_code(0).stdout, "here\n");
    // Once it can start, the stopped container is started again.
    fs::write(&gone, "").unwrap();
    repo.backup(["doctor"]).expect_code(0);
    assert_eq!(state(&id), "running");
}

fn rehearsed(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    let volume = play.volume("data");
    play.run_writer(found, "writer", &volume, &[]);
    repo.backup(["run", "--volume", &volume]).expect_code(0);
    fs::write(
        repo.path("plan.toml"),
        format!(
            "version = 1\nstability = \"1s\"\n[[check]]\nname = \"it is there\"\nkind = \"exec\"\nservice = \"{}\"\n\
             command = [\"cat\", \"/data/said\"]\nequals = \"here\"\n",
            play.name("writer")
        ),
    )
    .unwrap();
    let (questions, reports) = (repo.path("plan.toml"), repo.path("reports"));
    let args = ["rehearse", "latest", "--plan", questions.to_str().unwrap(), "--json"];
    let said = repo.restore(args.into_iter().chain(["--report", reports.to_str().unwrap()])).expect_code(0);
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["verdict"], "verified", "{}", said.stdout);
    let id = report["rehearsal"].as_str().unwrap();
    assert_eq!(scratch_objects(id), "");
    let pages = fs::read_dir(&reports).unwrap().flatten().map(|entry| entry.path());
    let page = pages.into_iter().find(|path| path.extension().is_some_and(|e| e == "html")).unwrap();
    assert!(fs::read_to_string(page).unwrap().contains("it is there"));

    // Without the engine, data is restored and compared, but nothing is booted, so it is unknown whether it works.
    let said =
        run(repo.restore_command(["rehearse", "latest"]).env("DOCKER_HOST", "unix:///nowhere/docker.sock"));
    assert_eq!(said.code, Some(3), "{said:?}");
}
