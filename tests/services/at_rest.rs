//! Which containers are stopped while volumes are read, and how they are started again: those that depend on others,
//! those that live in another's network, and those that cannot be stopped at all.

use libtest_mimic::Trial;
use lifeboat_core::clock::{Clock as _, SystemClock};
use lifeboat_core::random::OsEntropy;
use lifeboat_docker::Engine;
use lifeboat_docker::quiesce::{Mode, QuiesceOptions, RestPlan};
use lifeboat_docker::selection::Wanted;
use lifeboat_tests::gate::trials_with;
use lifeboat_tests::repository::TestRepository;
use tokio_util::sync::CancellationToken;

use crate::docker::{Docker, Playground, docker, eventually, quiesce, runtime, state};

pub(crate) fn trials() -> Vec<Trial> {
    let test = trials_with(Docker::find());
    vec![
        test("at_rest::what_needs_a_healthy_service_starts_when_it_is", healthy),
        test("at_rest::what_does_not_stay_up_is_said_and_the_snapshot_stored", falling),
        test("at_rest::what_lives_in_the_network_of_another_comes_back_with_it", sharing),
        test("at_rest::who_comes_to_live_in_one_that_is_being_stopped_comes_back_with_it", late_sharers),
        test("at_rest::who_comes_while_a_run_ends_comes_back_too", late_sharers_of_a_run_that_ends),
        test("at_rest::what_fails_by_itself_is_not_started", others_failures),
        test("at_rest::what_others_stop_stays_and_what_is_done_is_not_done_twice", stopped_by_others),
        test("at_rest::writers_that_come_early_or_by_another_path_are_seen", unseen_writers),
        test("at_rest::what_cannot_be_stopped_is_left_running_and_said", left_running),
        test("at_rest::what_falls_because_another_stops_comes_back_with_it", falls_with_another),
        test("at_rest::what_does_not_come_back_is_said_whatever_else_fails", swallowed),
        test("at_rest::what_calls_another_by_a_link_starts_after_it", linked),
        test("at_rest::what_is_frozen_or_ends_again_and_again_is_said", odd_states),
        test("at_rest::two_runs_leave_each_other_what_shares_a_network", two_runs),
        test("at_rest::who_writes_for_a_moment_is_heard", heard),
    ]
}

/// A database that becomes ready a while after its start, with a health check, and a program that ends if it is started
/// earlier. `condition` is the one in the Compose file.
fn database_and_program(found: &Docker, play: &Playground, condition: &str) -> (String, String) {
    let (volume, prefix) = (play.volume("data"), &play.prefix);
    let mount = format!("{volume}:/data");
    let compose = |service: &str, more: &str| {
        let labels = [
            format!("com.docker.compose.project={prefix}"),
            format!("com.docker.compose.service={service}"),
            format!("com.docker.compose.depends_on={more}"),
        ];
        labels.into_iter().flat_map(|label| ["--label".to_owned(), label]).collect::<Vec<_>>()
    };
    let run = |name: &str, labels: &[String], options: &[&str], script: &str| {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let container = ["--volume", &mount, &found.busybox, "sh", "-c", script];
        play.run(name, &[&labels[..], options, &container].concat())
    };
    let database = run(
        "db",
        &compose("db", ""),
        &["--health-cmd", "test -e /data/ready", "--health-interval", "500ms", "--health-retries", "30"],
        "trap 'rm /data/ready; exit 0' TERM; touch /data/kept; sleep 2; touch /data/ready; while true; do sleep 0.1; done",
    );
    let health = || docker(&["inspect", "--format", "{{.State.Health.Status}}", &database]);
    eventually("the database is healthy", || health() == "healthy");
    let program = run(
        "app",
        &compose("app", &format!("db:{condition}:false")),
        &[],
        "test -e /data/ready || exit 7; trap 'exit 0' TERM; while true; do sleep 0.1; done",
    );
    eventually("the program runs", || state(&program) == "running");
    (database, program)
}

fn healthy(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    let (database, program) = database_and_program(found, &play, "service_healthy");
    let said = repo.backup(["run", "--project", &play.prefix, "--dry-run"]).expect_code(0);
    let would = format!("would be at rest: {}, {}", play.name("app"), play.name("db"));
    assert!(said.stdout.contains(&would), "{said:?}");
    let said = repo.backup(["run", "--project", &play.prefix]).expect_code(0);
    assert!(!said.stderr.contains("warning: "), "{said:?}");
    assert_eq!((state(&database).as_str(), state(&program).as_str()), ("running", "running"));
}

fn falling(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    // Compose was not told that it needs a healthy database: it ends when it is started too early, and is started once
    // more.
    let (database, program) = database_and_program(found, &play, "service_started");
    repo.backup(["run", "--project", &play.prefix]).expect_code(0);
    assert_eq!((state(&database).as_str(), state(&program).as_str()), ("running", "running"));
    docker(&["rm", "--force", &database, &program]);

    // One that cannot be started twice.
    let once =
        "test -e /data/once && exit 7; touch /data/once; trap 'exit 0' TERM; while true; do sleep 0.1; done";
    let volume = play.volume("once");
    let mount = format!("{volume}:/data");
    let fragile = play.run("fragile", &["--volume", &mount, &found.busybox, "sh", "-c", once]);
    eventually("it has written", || docker(&["exec", &fragile, "sh", "-c", "ls /data"]).contains("once"));
    let said = repo.backup(["run", "--volume", &volume, "--json"]).expect_code(3);
    assert_eq!(state(&fragile), "exited");
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let trouble = report["troubles"][0].as_str().unwrap();
    assert!(trouble.contains(&play.name("fragile")) && trouble.contains("exit code 7"), "{trouble}");
    assert!(said.stderr.contains("does not stay up"), "{said:?}");
    repo.backup(["show", "latest"]).expect_code(0);

    // A container that the engine keeps restarting is not up either, at any moment.
    docker(&["rm", "--force", &database, &program]);
    let volume = play.volume("other");
    let script =
        "test -e /data/once && exit 7; touch /data/once; trap 'exit 0' TERM; while true; do sleep 0.1; done";
    let mount = format!("{volume}:/data");
    let options = ["--restart", "always", "--volume", &mount, &found.busybox, "sh", "-c", script];
    let looping = play.run("looping", &options);
    eventually("it has written", || docker(&["exec", &looping, "sh", "-c", "ls /data"]).contains("once"));
    let said = repo.backup(["run", "--volume", &volume]).expect_code(3);
    assert!(said.stderr.contains("again and again") || said.stderr.contains("exit code 7"), "{said:?}");
}

fn sharing(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    let volume = play.volume("data");
    let provider = play.run_writer(found, "vpn", &volume, &[]);
    let sharer = play.run(
        "behind",
        &[
            "--network",
            &format!("container:{provider}"),
            &found.busybox,
            "sh",
            "-c",
            "trap 'exit 0' TERM; while true; do sleep 0.1; done",
        ],
    );
    let has_network = || docker(&["exec", &sharer, "cat", "/proc/net/dev"]).contains("eth0");
    assert!(has_network());
    let said = repo.backup(["run", "--volume", &volume]).expect_code(0);
    assert!(said.stdout.contains(&format!("{}, {}", play.name("behind"), play.name("vpn"))), "{said:?}");
    assert!(has_network(), "it lives in the network that its provider has now");
    // A paused container keeps its network.
    let started = || docker(&["inspect", "--format", "{{.State.StartedAt}}", &sharer]);
    let before = started();
    repo.backup(["run", "--volume", &volume, "--mode", "pause"]).expect_code(0);
    assert_eq!(started(), before);
}

/// Runs until it is stopped.
const LOOP: &str = "trap 'exit 0' TERM; while true; do sleep 0.1; done";
/// It is slow to stop.
const SLOW: &str = "trap 'sleep 3; exit 0' TERM; while true; do sleep 0.1; done";

/// Starts a container that lives in another one, according to `options`.
fn start(found: &Docker, play: &Playground, name: &str, options: &[&str], script: &str) -> String {
    play.run(name, &[options, &[found.busybox.as_str(), "sh", "-c", script]].concat())
}

/// The containers that a run would stop to read a volume now.
async fn planned(found: &Docker, volume: &str) -> (Engine, RestPlan) {
    let engine = found.engine().await.unwrap();
    let wanted = Wanted { volumes: vec![volume.to_owned()], ..Wanted::default() };
    let selected = engine.select(&wanted).await.unwrap();
    let plan = engine.plan_rest(&selected, Mode::Stop).await.unwrap();
    (engine, plan)
}

/// Whether a run has asked the engine to stop a container.
fn asked(repo: &TestRepository) -> bool {
    let entries = std::fs::read_dir(repo.path("state/lifeboat/at-rest")).into_iter().flatten().flatten();
    let mut journals = entries.map(|entry| std::fs::read_to_string(entry.path()).unwrap_or_default());
    journals.any(|journal| journal.contains("\"asked\""))
}

/// The namespace of a running container's network.
fn network_of(id: &str) -> std::path::PathBuf {
    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", id]);
    std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap()
}

fn late_sharers(found: &Docker) {
    let play = Playground::new();
    let volume = play.volume("data");
    let provider = play.run_writer(found, "db", &volume, &[]);
    let of_provider = format!("container:{provider}");
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (engine, plan) = planned(found, &volume).await;
        let cancel = CancellationToken::new();
        // When a container stops, the engine kills whatever lives in its process namespace; what lives in its network
        // goes on without it.
        let network = start(found, &play, "network", &["--network", &of_provider], SLOW);
        let processes = start(found, &play, "processes", &["--pid", &of_provider], LOOP);
        let far = start(found, &play, "far", &["--network", &format!("container:{network}")], LOOP);
        let fleeting = start(found, &play, "fleeting", &["--rm", "--network", &of_provider], LOOP);
        // Others come to live in one that came late itself, while it is being stopped.
        let slow = network.clone();
        let later = std::thread::spawn({
            let (name, image) = (play.name("later"), found.busybox.clone());
            move || {
                let since = docker(&["inspect", "--format", "{{.Created}}", &slow]);
                let kills = ["--since", &since, "--filter", "event=kill", "--filter"];
                let of = format!("container={slow}");
                eventually("it is being stopped", || {
                    let now = SystemClock.now().to_string();
                    let args = [&["events"][..], &kills, &[&of, "--until", &now]].concat();
                    !docker(&args).is_empty()
                });
                let network = format!("container:{slow}");
                let container = ["run", "--detach", "--name", &name, "--network", &network];
                docker(&[&container[..], &[&image, "sh", "-c", LOOP]].concat())
            }
        });
        let options =
            QuiesceOptions { journal_folder: folder.path(), clock: &SystemClock, entropy: &OsEntropy };
        let held = engine.quiesce(&plan, &options, &cancel).await.unwrap();
        let later = later.join().unwrap();
        let all = [&provider, &network, &processes, &far, &later];
        assert_eq!(all.map(|id| state(id)), ["exited"; 5]);
        assert_eq!(held.rested().len(), 5, "{:?}", held.rested());
        let (released, all_back) = held.release(&SystemClock, &cancel).await;
        all_back.unwrap();
        let [lost] = &released.lost[..] else { panic!("{:?}", released.lost) };
        assert!(lost.contains(&play.name("fleeting")) && lost.contains("--rm"), "{lost}");
        assert_eq!(all.map(|id| state(id)), ["running"; 5]);
        for id in [&network, &far, &later] {
            assert_eq!(network_of(id), network_of(&provider), "it has a network again");
        }
        assert_eq!(state(&fleeting), "running");
    });
}

/// Containers that the engine refused to start, or that failed by themselves, have lost nothing, and are not started.
fn others_failures(found: &Docker) {
    let play = Playground::new();
    let volume = play.volume("data");
    let provider = play.run_writer(found, "db", &volume, &[]);
    let of_provider = format!("container:{provider}");
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (engine, plan) = planned(found, &volume).await;
        let cancel = CancellationToken::new();
        let failed = start(found, &play, "failed", &["--network", &of_provider], "exit 1");
        eventually("it has failed", || state(&failed) == "exited");
        let started = |id: &str| docker(&["inspect", "--format", "{{.State.StartedAt}}", id]);
        let before = started(&failed);
        // Longer ago than the limit for ending together.
        let ended: jiff::Timestamp =
            docker(&["inspect", "--format", "{{.State.FinishedAt}}", &failed]).parse().unwrap();
        eventually("it is a while ago", || SystemClock.now().duration_since(ended).as_secs() >= 2);
        let options =
            QuiesceOptions { journal_folder: folder.path(), clock: &SystemClock, entropy: &OsEntropy };
        let held = engine.quiesce(&plan, &options, &cancel).await.unwrap();
        let name = play.name("refused");
        let mut refused = std::process::Command::new("docker");
        refused.args(["run", "--detach", "--name", &name, "--network", &of_provider, &found.busybox, "true"]);
        assert!(!refused.output().unwrap().status.success());
        let (released, all_back) = held.release(&SystemClock, &cancel).await;
        all_back.unwrap();
        assert_eq!(released.back.len(), 1, "{released:?}");
        assert_eq!((state(&name).as_str(), started(&failed)), ("created", before));
        docker(&["rm", "--force", &name]);
    });
}

/// A run that is killed, or asked to stop, while it stops others: containers that came in the meantime are also started
/// again.
fn late_sharers_of_a_run_that_ends(found: &Docker) {
    for signal in [rustix::process::Signal::KILL, rustix::process::Signal::TERM] {
        let (play, repo) = (Playground::new(), found.repo());
        let volume = play.volume("data");
        let mount = format!("{volume}:/data");
        let provider = start(found, &play, "db", &["--volume", &mount], SLOW);
        let mut run = repo.backup_command(["run", "--volume", &volume]).spawn().unwrap();
        eventually("it is being stopped", || asked(&repo));
        let of_provider = format!("container:{provider}");
        let network = start(found, &play, "network", &["--network", &of_provider], LOOP);
        let processes = start(found, &play, "processes", &["--pid", &of_provider], LOOP);
        rustix::process::kill_process(rustix::process::Pid::from_child(&run), signal).unwrap();
        run.wait().unwrap();
        let said = repo.backup(["doctor"]);
        let all = [&provider, &network, &processes];
        assert_eq!(all.map(|id| state(id)), ["running"; 3], "{signal:?}: {said:?}");
        assert_eq!(network_of(&network), network_of(&provider), "{signal:?}");
    }
}

/// A container that its owner stops in the meantime stays stopped, and one that is done is not run twice.
fn stopped_by_others(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    let volume = play.volume("data");
    let mount = format!("{volume}:/data");
    let slow = start(found, &play, "zdb", &["--volume", &mount], SLOW);
    let other = start(found, &play, "app", &["--volume", &mount], "while true; do sleep 0.1; done");
    let mut run = repo.backup_command(["run", "--volume", &volume]).spawn().unwrap();
    let since = docker(&["inspect", "--format", "{{.Created}}", &other]);
    let of = format!("container={slow}");
    eventually("the first is being stopped", || {
        let now = SystemClock.now().to_string();
        let events =
            ["events", "--since", &since, "--until", &now, "--filter", "event=kill", "--filter", &of];
        !docker(&events).is_empty()
    });
    docker(&["kill", &other]);
    run.wait().unwrap();
    assert_eq!([&slow, &other].map(|id| state(id)), ["running", "exited"]);
    docker(&["rm", "--force", &slow, &other]);

    let job = "echo x >> /data/runs; test -e /data/2 || { touch /data/2; sleep 600; }; exit 0";
    let job = start(found, &play, "job", &["--stop-timeout", "1", "--volume", &mount], job);
    eventually("it runs", || docker(&["exec", &job, "ls", "/data"]).contains("runs"));
    let said = repo.backup(["run", "--volume", &volume]).expect_code(3);
    assert!(said.stderr.contains("exit code 0"), "{said:?}");
    let runs = ["run", "--rm", "--volume", &mount, &found.busybox, "wc", "-l", "/data/runs"];
    assert!(docker(&runs).starts_with("2 "), "{}", docker(&runs));
}

/// A job that starts while others are being stopped, and one that has the volume's folder by another path.
fn unseen_writers(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    let volume = play.volume("data");
    let mount = format!("{volume}:/data");
    start(found, &play, "db", &["--volume", &mount], SLOW);
    let mut command = repo.backup_command(["run", "--volume", &volume, "--json"]);
    let run =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    eventually("it is being stopped", || asked(&repo));
    let writer = "while true; do date > /data/late; sleep 0.05; done";
    let job = start(found, &play, "job", &["--rm", "--volume", &mount], writer);
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&play.name("job")), "{said}");
    docker(&["rm", "--force", &job]);

    // Binds of the same folder: directly, through a link, and through a second volume of one device.
    let mountpoint = docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume]);
    let link = repo.path("link");
    std::os::unix::fs::symlink(&mountpoint, &link).unwrap();
    let device = repo.path("device");
    std::fs::create_dir(&device).unwrap();
    let bound = |name: &str| {
        let name = play.name(name);
        let device = format!("device={}", device.display());
        docker(&["volume", "create", "--opt", "type=none", "--opt", "o=bind", "--opt", &device, &name])
    };
    let (one, two) = (bound("one"), bound("two"));
    start(found, &play, "user", &["--volume", &format!("{one}:/x")], LOOP);
    for (selected, mount) in [
        (&volume, format!("{mountpoint}:/x")),
        (&volume, format!("{}:/x", link.display())),
        (&one, format!("{two}:/x")),
        (&one, format!("{}:/x", device.display())),
    ] {
        let writer = start(found, &play, "writer", &["--volume", &mount], LOOP);
        let started = || docker(&["inspect", "--format", "{{.State.StartedAt}}", &writer]);
        let before = started();
        repo.backup(["run", "--volume", selected]).expect_code(0);
        assert_ne!(started(), before, "it was stopped: {mount}");
        docker(&["rm", "--force", &writer]);
    }
    // A container that sees the whole host is named, and left alone.
    let above = std::path::Path::new(&mountpoint).parent().unwrap().display().to_string();
    let agent = start(found, &play, "agent", &["--volume", &format!("{above}:/x")], LOOP);
    let before = docker(&["inspect", "--format", "{{.State.StartedAt}}", &agent]);
    let said = repo.backup(["run", "--volume", &volume]).expect_code(0);
    assert!(said.stderr.contains(&play.name("agent")), "{said:?}");
    // It is not part of the snapshot.
    assert!(!said.stderr.contains("is not in the snapshot"), "{said:?}");
    runtime().block_on(async {
        let wanted = Wanted { volumes: vec![volume.clone()], ..Wanted::default() };
        let selected = found.engine().await.unwrap().select(&wanted).await.unwrap();
        assert!(selected.containers.iter().all(|container| container.id != agent), "{selected:?}");
        assert_eq!(selected.above[&play.name("agent")], *std::slice::from_ref(&volume));
    });
    assert_eq!(docker(&["inspect", "--format", "{{.State.StartedAt}}", &agent]), before);
}

fn left_running(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    let (kept, lost) = (play.volume("a"), play.volume("b"));
    let ordinary = play.run_writer(found, "ordinary", &kept, &[]);
    let orchestrated = play.run_writer(found, "task", &lost, &["--label", "com.docker.swarm.task.id=x"]);
    let fleeting = play.run_writer(found, "fleeting", &lost, &["--rm"]);
    let started = |id: &str| docker(&["inspect", "--format", "{{.State.StartedAt}}", id]);
    let before = [&ordinary, &orchestrated, &fleeting].map(|id| started(id));
    let said = repo.backup(["run", "--volume", &kept, "--volume", &lost, "--json"]).expect_code(3);
    let after = [&ordinary, &orchestrated, &fleeting].map(|id| started(id));
    assert_eq!(before.iter().zip(&after).map(|(b, a)| b == a).collect::<Vec<_>>(), [false, true, true]);
    for word in [&play.name("task"), &play.name("fleeting"), "--mode pause"] {
        assert!(said.stderr.contains(word), "{word}: {said:?}");
    }
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let consistencies: Vec<_> =
        report["streams"].as_array().unwrap().iter().map(|s| s["consistency"].as_str().unwrap()).collect();
    assert_eq!(consistencies, ["stopped", "live"]);
    assert_eq!(report["left_running"].as_array().unwrap().len(), 2);
    // If no volume could be read at rest, nothing is done at all.
    let said = repo.backup(["run", "--volume", &lost]).expect_code(2);
    assert!(said.stderr.contains("cannot be stopped"), "{said:?}");
    assert_eq!(after, [&ordinary, &orchestrated, &fleeting].map(|id| started(id)));
}

/// Runs while the container `other` answers `ping`; then fails.
fn dependant(found: &Docker, play: &Playground, volume: &str, network: &str, more: &[&str]) -> String {
    let mount = format!("{volume}:/data");
    let script = format!(
        "trap 'exit 0' TERM; trap '' HUP; touch /data/app; while ping -c 1 -W 1 {} > /dev/null 2>&1; do sleep 0.1; done; exit 3",
        play.name("zdb")
    );
    let container = ["--network", network, "--volume", &mount, &found.busybox, "sh", "-c", &script];
    let id = play.run("app", &[more, &container].concat());
    eventually("it has found the other", || docker(&["exec", &id, "sh", "-c", "ls /data"]).contains("app"));
    id
}

fn falls_with_another(found: &Docker) {
    for restart in ["no", "always"] {
        let (play, repo) = (Playground::new(), found.repo());
        let volume = play.volume("data");
        let network = docker(&["network", "create", &play.name("net")]);
        let database = play.run_writer(found, "zdb", &volume, &["--network", &network]);
        // It is slow to stop, so that the container that needs the database notices before its own turn.
        let mount = format!("{volume}:/data");
        let slow = "trap 'sleep 4; exit 0' TERM; while true; do sleep 0.1; done";
        let slow = play.run("mid", &["--volume", &mount, &found.busybox, "sh", "-c", slow]);
        let program = dependant(found, &play, &volume, &network, &["--restart", restart]);
        let mut run = repo.backup_command(["run", "--volume", &volume]).spawn().unwrap();
        eventually("the first is being stopped", || asked(&repo));
        // A signal that makes it reload its settings has not stopped it.
        docker(&["kill", "--signal", "HUP", &program]);
        let code = run.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 3)), "{restart}: {code:?}");
        eventually("all are back", || {
            [&database, &slow, &program].map(|id| state(id)) == ["running", "running", "running"]
        });
        assert!(repo.backup(["show", "latest"]).expect_code(0).stdout.contains("stopped"), "{restart}");
    }
}

fn swallowed(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    let volume = play.volume("data");
    let gone = repo.path("gone");
    std::fs::write(&gone, "").unwrap();
    let bind = format!("type=bind,src={},dst=/gone", gone.display());
    let id = play.run_writer(found, "writer", &volume, &["--mount", &bind]);
    std::fs::remove_file(&gone).unwrap();
    let run = ["run", "-q", "--volume", &volume, "--stdin-from-command", "x", "--", "sh", "-c", "exit 4"];
    let said = repo.backup(run).expect_code(1);
    assert!(said.stderr.contains("did not come back"), "{said:?}");
    assert!(said.stderr.contains(&play.name("writer")), "{said:?}");
    assert!(said.stderr.contains("nothing was stored"), "{said:?}");
    // The next run stores what is there, and again reports who is missing.
    let said = repo.backup(["run", "-q", "--volume", &volume]).expect_code(3);
    assert!(said.stderr.contains(&play.name("writer")), "{said:?}");
    std::fs::write(&gone, "").unwrap();
    repo.backup(["run", "--volume", &volume]).expect_code(0);
    assert_eq!(state(&id), "running");
}

fn linked(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    let volume = play.volume("data");
    let database = play.run_writer(found, "zdb", &volume, &[]);
    let link = format!("{}:db", play.name("zdb"));
    let program = play.run_writer(found, "app", &volume, &["--link", &link]);
    repo.backup(["run", "--volume", &volume]).expect_code(0);
    assert_eq!([&database, &program].map(|id| state(id)), ["running", "running"]);
}

fn odd_states(found: &Docker) {
    let (play, repo) = (Playground::new(), found.repo());
    let (volume, other) = (play.volume("a"), play.volume("b"));
    // A container that keeps restarting cannot be paused; the other volume is read as requested.
    let mount = format!("{other}:/data");
    play.run("looping", &["--restart", "always", "--volume", &mount, &found.busybox, "sh", "-c", "exit 7"]);
    let provider = play.run_writer(found, "vpn", &volume, &[]);
    let restarting =
        || docker(&["inspect", "--format", "{{.State.Restarting}}", &play.name("looping")]) == "true";
    eventually("the engine waits before it starts it again", restarting);
    let said = repo.backup(["run", "--volume", &volume, "--volume", &other, "--mode", "pause"]);
    // It runs for a moment now and then, and may be paused in it.
    assert!(matches!(said.code, Some(0 | 3)), "{said:?}");
    repo.backup(["show", "latest"]).expect_code(0);
    docker(&["rm", "--force", &play.name("looping")]);

    // A container that lives in its network is paused: otherwise it would lose its network.
    let network = format!("container:{provider}");
    let sharer = play.run("behind", &["--network", &network, &found.busybox, "sleep", "600"]);
    docker(&["pause", &sharer]);
    let said = repo.backup(["run", "--volume", &volume]).expect_code(2);
    assert!(said.stderr.contains("frozen") && said.stderr.contains(&play.name("behind")), "{said:?}");
    docker(&["unpause", &sharer]);
    assert!(docker(&["exec", &sharer, "cat", "/proc/net/dev"]).contains("eth0"));
    docker(&["rm", "--force", &sharer]);

    // A writer that its owner has paused is not idle.
    docker(&["pause", &provider]);
    repo.backup(["run", "--volume", &volume]).expect_code(0);
    assert!(repo.backup(["show", "latest"]).expect_code(0).stdout.contains("paused"));
    assert_eq!(state(&provider), "paused");
    docker(&["unpause", &provider]);
}

fn two_runs(found: &Docker) {
    let play = Playground::new();
    let (one, two) = (play.volume("one"), play.volume("two"));
    let provider = play.run_writer(found, "vpn", &one, &[]);
    let network = format!("container:{provider}");
    let sharer = play.run_writer(found, "behind", &two, &["--network", &network]);
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (engine, cancel) = (found.engine().await.unwrap(), CancellationToken::new());
        let select = |volume: &str| Wanted { volumes: vec![volume.to_owned()], ..Wanted::default() };
        let of_sharer = engine.select(&select(&two)).await.unwrap();
        let of_provider = engine.select(&select(&one)).await.unwrap();
        let held = quiesce(&engine, &of_sharer, Mode::Stop, folder.path(), &cancel).await.unwrap();
        let error = quiesce(&engine, &of_provider, Mode::Stop, folder.path(), &cancel).await.unwrap_err();
        assert!(error.to_string().contains(&play.name("behind")), "{error}");
        assert_eq!([&provider, &sharer].map(|id| state(id)), ["running", "exited"]);
        held.release(&SystemClock, &cancel).await.1.unwrap();
        assert_eq!(state(&sharer), "running");
    });
}

fn heard(found: &Docker) {
    let play = Playground::new();
    let volume = play.volume("data");
    let writer = play.run_writer(found, "writer", &volume, &[]);
    let (write, read) = (format!("{volume}:/data"), format!("{volume}:/data:ro"));
    let job = |mount: &str| docker(&["run", "--rm", "--volume", mount, &found.busybox, "true"]);
    let nothing = || ();
    let jobs = || _ = job(&write);
    let bind = docker(&["volume", "inspect", "--format", "{{.Mountpoint}}:/data", &volume]);
    let binds = || _ = job(&bind);
    let readers = || _ = job(&read);
    let thaw = || {
        docker(&["unpause", &writer]);
        docker(&["pause", &writer]);
    };
    // What happens while the volume is read, and whether it is noticed.
    let cases: [(Mode, &dyn Fn(), bool); 7] = [
        (Mode::Stop, &nothing, false),
        (Mode::Stop, &jobs, true),
        (Mode::Stop, &readers, false),
        (Mode::Stop, &binds, true),
        (Mode::Pause, &nothing, false),
        (Mode::Pause, &thaw, true),
        (Mode::Pause, &jobs, true),
    ];
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (engine, cancel) = (found.engine().await.unwrap(), CancellationToken::new());
        for (number, (mode, happens, is_heard)) in cases.into_iter().enumerate() {
            let wanted = Wanted { volumes: vec![volume.clone()], ..Wanted::default() };
            let selected = engine.select(&wanted).await.unwrap();
            let held = quiesce(&engine, &selected, mode, folder.path(), &cancel).await.unwrap();
            let watch = engine.watch(&SystemClock);
            tokio::task::block_in_place(happens);
            let found = engine.overheard(watch, &selected, &held.rested(), &SystemClock).await.unwrap();
            assert_eq!(!found.is_empty(), is_heard, "case {number}, {mode:?}: {found:?}");
            held.release(&SystemClock, &cancel).await.1.unwrap();
        }
    });
}
