//! The real Docker Engine: selection, reaching bytes, quiescing through a kill, isolation and clearing away.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_core::random::{Entropy, OsEntropy};
use lifeboat_core::{Fault, Kind};
use lifeboat_docker::definitions::Definitions;
use lifeboat_docker::quiesce::{Mode, QuiesceOptions, Quiesced};
use lifeboat_docker::selection::{Activity, Selection, Wanted};
use lifeboat_docker::{Engine, EngineError};
use lifeboat_tests::gate::{Missing, setting, trials_with};
use lifeboat_tests::repository::TestRepository;
use tokio_util::sync::CancellationToken;

use crate::BINARIES;

/// The variable that gives this program a job instead of running the tests.
pub(crate) const JOB: &str = "LIFEBOAT_TEST_JOB";

/// What the tests need from this machine.
#[derive(Clone)]
pub(crate) struct Docker {
    pub(crate) host: String,
    pub(crate) busybox: String,
}

impl Docker {
    pub(crate) fn find() -> Result<Self, Missing> {
        let found =
            Self { host: setting("LIFEBOAT_TEST_DOCKER")?, busybox: setting("LIFEBOAT_TEST_BUSYBOX_IMAGE")? };
        runtime().block_on(found.engine()).map_err(|error| Missing(error.to_string()))?;
        Ok(found)
    }

    pub(crate) async fn engine(&self) -> Result<Engine, EngineError> {
        Engine::connect(Some(&self.host)).await
    }

    /// An empty repository, with programs that use this engine.
    pub(crate) fn repo(&self) -> TestRepository {
        let mut repo = TestRepository::without_repository(BINARIES);
        repo.variables = vec![("DOCKER_HOST".to_owned(), self.host.clone())];
        repo.init().expect_code(0);
        repo
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs the `docker` client; returns its trimmed output.
pub(crate) fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("the docker client runs");
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A prefix for this test's objects, which are removed with it.
pub(crate) struct Playground {
    pub(crate) prefix: String,
}

impl Playground {
    pub(crate) fn new() -> Self {
        let id: &dyn Entropy = &OsEntropy;
        Self { prefix: format!("lbt{:016x}", u64::from_le_bytes(id.array::<8>())) }
    }

    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Runs a container of ours in the background; returns its id.
    pub(crate) fn run(&self, name: &str, args: &[&str]) -> String {
        let name = self.name(name);
        let mut all = vec!["run", "--detach", "--name", &name];
        all.extend_from_slice(args);
        docker(&all)
    }

    /// Runs a container that has written `said` to `volume`, and that stops at once when asked to; returns its id.
    /// `more` are further arguments of `docker run`.
    pub(crate) fn run_writer(&self, found: &Docker, name: &str, volume: &str, more: &[&str]) -> String {
        let mount = format!("{volume}:/data");
        let script = "trap 'exit 0' TERM; echo here > /data/said; while true; do sleep 0.1; done";
        let container = ["--volume", &mount, &found.busybox, "sh", "-c", script];
        let id = self.run(name, &[more, &container].concat());
        eventually("the container has written", || {
            docker(&["exec", &id, "sh", "-c", "test -e /data/said && echo yes || true"]) == "yes"
        });
        id
    }

    pub(crate) fn volume(&self, name: &str) -> String {
        docker(&["volume", "create", &self.name(name)])
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        let filter = format!("name={}", self.prefix);
        for id in docker(&["ps", "--all", "--quiet", "--filter", &filter]).lines() {
            docker(&["rm", "--force", "--volumes", id]);
        }
        for id in docker(&["volume", "ls", "--quiet", "--filter", &filter]).lines() {
            docker(&["volume", "rm", id]);
        }
        for id in docker(&["network", "ls", "--quiet", "--filter", &filter]).lines() {
            docker(&["network", "rm", id]);
        }
    }
}

/// Waits until something happens; the test fails if it does not.
pub(crate) fn eventually(what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !there() {
        assert!(Instant::now() < deadline, "{what} did not happen within 30 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn state(container: &str) -> String {
    docker(&["inspect", "--format", "{{.State.Status}}", container])
}

pub(crate) fn trials() -> Vec<Trial> {
    let found = Docker::find();
    let test = trials_with(found);
    vec![
        test("docker::volumes_and_their_users_are_found_and_typos_are_met_with_names", selection),
        test("docker::a_project_is_its_containers_and_their_volumes", project),
        test("docker::bytes_are_reached_in_place_and_options_are_refused", reaching),
        test("docker::definitions_hold_what_a_rehearsal_needs", definitions),
        test("docker::stop_and_pause_come_back_and_readers_are_left_alone", quiescing),
        test("docker::a_process_killed_while_it_holds_containers_is_made_good", killed_while_holding),
        test("docker::a_process_killed_during_a_stop_is_made_good", killed_during_stop),
        test("docker::what_someone_else_restarted_is_left_alone", taken_over),
        test("docker::a_fresh_volume_is_made_or_refused_and_goes_again", fresh_volume),
    ]
}

fn selection(found: &Docker) {
    let play = Playground::new();
    let (one, two) = (play.volume("one"), play.volume("two"));
    play.run(
        "writer",
        &["-v", &format!("{one}:/one"), "-v", &format!("{two}:/two:ro"), &found.busybox, "sleep", "600"],
    );
    play.run("reader", &["-v", &format!("{two}:/two:ro"), &found.busybox, "sleep", "600"]);
    runtime().block_on(async {
        let engine = found.engine().await.unwrap();
        let wanted = Wanted { volumes: vec![one.clone()], ..Default::default() };
        let selected = engine.select(&wanted).await.unwrap();
        assert_eq!(selected.volumes.len(), 1);
        assert_eq!(names(&selected), [play.name("writer")]);
        let other = engine.volume(&two).await.unwrap();
        assert!(selected.containers[0].writes_to(&selected.volumes[0]));
        assert!(!selected.containers[0].writes_to(&other), "it may only read it");

        let wanted = Wanted { containers: vec![play.name("reader")], ..Default::default() };
        let selected = engine.select(&wanted).await.unwrap();
        assert_eq!(selected.volumes[0].name, two);
        assert_eq!(names(&selected), [play.name("reader"), play.name("writer")]);

        let wanted = Wanted { volumes: vec![format!("{}x", one)], ..Default::default() };
        let error = engine.select(&wanted).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.advice().unwrap().contains(&one), "{:?}", error.advice());
        let there = docker(&["volume", "ls", "--quiet"]);
        assert!(!there.lines().any(|name| name == format!("{one}x")), "asking creates nothing");

        let all = engine.select(&Wanted { all: true, ..Default::default() }).await.unwrap();
        let all: BTreeSet<&str> = all.volumes.iter().map(|v| v.name.as_str()).collect();
        assert!(all.contains(one.as_str()) && all.contains(two.as_str()));
    });
}

fn names(selection: &Selection) -> Vec<String> {
    selection.containers.iter().map(|c| c.name.clone()).collect()
}

fn project(found: &Docker) {
    let play = Playground::new();
    let (data, other) = (play.volume("data"), play.volume("other"));
    let labels = [
        "--label".to_owned(),
        format!("com.docker.compose.project={}", play.prefix),
        "--label".to_owned(),
        "com.docker.compose.service=db".to_owned(),
    ];
    let mut args: Vec<&str> = labels.iter().map(String::as_str).collect();
    let mount = format!("{data}:/data");
    args.extend(["-v", &mount, &found.busybox, "sleep", "600"]);
    play.run("db", &args);
    runtime().block_on(async {
        let engine = found.engine().await.unwrap();
        let wanted = Wanted { projects: vec![play.prefix.clone()], ..Default::default() };
        let selected = engine.select(&wanted).await.unwrap();
        assert_eq!(selected.volumes.iter().map(|v| v.name.clone()).collect::<Vec<_>>(), [data]);
        assert_eq!(selected.containers[0].service.as_ref().unwrap().service, "db");
        assert!(!names(&selected).contains(&other));
        let wanted = Wanted { projects: vec![format!("{}x", play.prefix)], ..Default::default() };
        let error = engine.select(&wanted).await.unwrap_err();
        assert!(matches!(&error, EngineError::NotFound { thing: "project", near, .. } if near[..] == [play.prefix.clone()]), "{error:?}");
    });
}

fn reaching(found: &Docker) {
    let play = Playground::new();
    let plain = play.volume("plain");
    let elsewhere = play.name("elsewhere");
    docker(&["volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", &elsewhere]);
    play.run(
        "writer",
        &["-v", &format!("{plain}:/v"), &found.busybox, "sh", "-c", "echo hello > /v/said; sleep 600"],
    );
    runtime().block_on(async {
        let engine = found.engine().await.unwrap();
        let volume = engine.volume(&plain).await.unwrap();
        let directory = engine.volume_directory(&volume).await.unwrap();
        eventually("the container writes its file", || directory.join("said").exists());
        // A mountpoint that is not the engine's folder: the time does not match.
        let mut foreign = volume.clone();
        foreign.mountpoint = "/proc".into();
        let error = engine.volume_directory(&foreign).await.unwrap_err();
        assert!(matches!(error, EngineError::VolumeOutOfReach { .. }), "{error:?}");

        let volume = engine.volume(&elsewhere).await.unwrap();
        let error = engine.volume_directory(&volume).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains("not mounted now"), "{error}");
        play.run(
            "mounter",
            &["-v", &format!("{elsewhere}:/v"), &found.busybox, "sh", "-c", "echo x > /v/x; sleep 600"],
        );
        let directory = engine.volume_directory(&volume).await.unwrap();
        eventually("the mounted volume shows its file", || directory.join("x").exists());
    });
}

fn definitions(found: &Docker) {
    let play = Playground::new();
    let data = play.volume("data");
    let network = docker(&["network", "create", &play.name("net")]);
    play.run(
        "app",
        &[
            "-v",
            &format!("{data}:/data"),
            "--network",
            &network,
            "--network-alias",
            "store",
            "--env",
            "TOKEN=s3cretvalue",
            "--user",
            "65534",
            &found.busybox,
            "sleep",
            "600",
        ],
    );
    runtime().block_on(async {
        let engine = found.engine().await.unwrap();
        let wanted = Wanted { volumes: vec![data.clone()], ..Default::default() };
        let selected = engine.select(&wanted).await.unwrap();
        let captured = engine.capture(&selected, SystemClock.now()).await.unwrap();
        let read = Definitions::from_bytes(&captured.to_bytes()).unwrap();
        assert_eq!(read, captured);
        assert_eq!((read.containers.len(), read.images.len(), read.volumes.len()), (1, 1, 1));
        assert_eq!(read.networks[0]["Id"], network.as_str());
        let parts = &read.container_parts().unwrap()[0];
        assert_eq!(parts.user, "65534");
        assert!(parts.networks.values().any(|n| n.aliases == ["store"]));
        let image = read.image_parts(&parts.image_id);
        assert!(parts.secret_values(image.as_ref()).contains(&"s3cretvalue".to_owned()));
        assert!(!format!("{read:?}{parts:?}").contains("s3cretvalue"));
    });
}

/// Stops the writers of `selection`, with the journal in `folder`.
pub(crate) async fn quiesce(
    engine: &Engine,
    selection: &Selection,
    mode: Mode,
    folder: &Path,
    cancel: &CancellationToken,
) -> Result<Quiesced, EngineError> {
    let options = QuiesceOptions { journal_folder: folder, clock: &SystemClock, entropy: &OsEntropy };
    let plan = engine.plan_rest(selection, mode).await?;
    engine.quiesce(&plan, &options, cancel).await
}

fn quiescing(found: &Docker) {
    let play = Playground::new();
    let data = play.volume("data");
    let writer = play
        .run("writer", &["--stop-timeout", "1", "-v", &format!("{data}:/d"), &found.busybox, "sleep", "600"]);
    let reader = play.run("reader", &["-v", &format!("{data}:/d:ro"), &found.busybox, "sleep", "600"]);
    let idle = play.run("idle", &["-v", &format!("{data}:/d"), &found.busybox, "true"]);
    let fleeting = play.name("fleeting");
    eventually("the idle container ends", || state(&idle) == "exited");
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let engine = found.engine().await.unwrap();
        let wanted = Wanted { volumes: vec![data.clone()], ..Default::default() };
        for (mode, at_rest) in [(Mode::Stop, "exited"), (Mode::Pause, "paused"), (Mode::None, "running")] {
            let selected = engine.select(&wanted).await.unwrap();
            let cancel = CancellationToken::new();
            let held = quiesce(&engine, &selected, mode, folder.path(), &cancel).await.unwrap();
            assert_eq!((state(&writer).as_str(), state(&reader).as_str()), (at_rest, "running"), "{mode:?}");
            assert_eq!(held.rested().len(), usize::from(mode != Mode::None));
            if mode == Mode::Stop {
                // Another run must neither take the same container nor settle the journal of a running one.
                let again =
                    engine.settle(folder.path(), &SystemClock, &CancellationToken::new()).await.unwrap();
                assert!(again.brought_back.is_empty());
                assert_eq!(state(&writer), "exited");
            }
            held.release(&SystemClock, &CancellationToken::new()).await.1.unwrap();
            assert_eq!((state(&writer).as_str(), state(&idle).as_str()), ("running", "exited"), "{mode:?}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the journal is gone");
        }
        // A cancelled run leaves nothing stopped.
        let selected = engine.select(&wanted).await.unwrap();
        let cancel = CancellationToken::new();
        cancel.cancel();
        let error = quiesce(&engine, &selected, Mode::Stop, folder.path(), &cancel).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
        assert_eq!(state(&writer), "running");
        // Stopping a container that the engine would then remove is refused before anything is touched.
        docker(&[
            "run",
            "--rm",
            "--detach",
            "--name",
            &fleeting,
            "-v",
            &format!("{data}:/d"),
            &found.busybox,
            "sleep",
            "600",
        ]);
        let selected = engine.select(&wanted).await.unwrap();
        let cancel = CancellationToken::new();
        let error = quiesce(&engine, &selected, Mode::Stop, folder.path(), &cancel).await.unwrap_err();
        assert!(matches!(error, EngineError::CannotQuiesce { .. }), "{error:?}");
        assert_eq!((state(&writer).as_str(), state(&fleeting).as_str()), ("running", "running"));
    });
}

/// The job of the process that is killed: it quiesces the volume named in its environment, reports that, and waits for
/// its end.
#[expect(clippy::print_stdout, reason = "the test that started this process waits for the line")]
pub(crate) fn work(job: &str) {
    let (volume, folder) = job.split_once(' ').expect("a volume and a folder");
    runtime().block_on(async {
        let engine = Engine::connect(std::env::var("LIFEBOAT_TEST_DOCKER").ok().as_deref()).await.unwrap();
        let wanted = Wanted { volumes: vec![volume.to_owned()], ..Default::default() };
        let selected = engine.select(&wanted).await.unwrap();
        let cancel = CancellationToken::new();
        let _held = quiesce(&engine, &selected, Mode::Stop, Path::new(folder), &cancel).await.unwrap();
        println!("held");
        std::future::pending::<()>().await;
    });
}

fn child(volume: &str, folder: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .env(JOB, format!("{volume} {}", folder.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn killed_while_holding(found: &Docker) {
    let play = Playground::new();
    let data = play.volume("data");
    let writer = play
        .run("writer", &["--stop-timeout", "1", "-v", &format!("{data}:/d"), &found.busybox, "sleep", "600"]);
    let folder = tempfile::tempdir().unwrap();
    let mut child = child(&data, folder.path());
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "held");
    assert_eq!(state(&writer), "exited");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(state(&writer), "exited", "nobody is there to start it");
    runtime().block_on(async {
        let engine = found.engine().await.unwrap();
        let settled = engine.settle(folder.path(), &SystemClock, &CancellationToken::new()).await.unwrap();
        assert_eq!(settled.brought_back, [play.name("writer")]);
        assert_eq!(state(&writer), "running");
        let again = engine.settle(folder.path(), &SystemClock, &CancellationToken::new()).await.unwrap();
        assert_eq!(again, lifeboat_docker::quiesce::Settled::default());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    });
}

fn killed_during_stop(found: &Docker) {
    let play = Playground::new();
    let data = play.volume("data");
    // The shell ignores SIGTERM, so the stop takes its four seconds.
    let writer = play
        .run("writer", &["--stop-timeout", "4", "-v", &format!("{data}:/d"), &found.busybox, "sleep", "600"]);
    let folder = tempfile::tempdir().unwrap();
    let mut child = child(&data, folder.path());
    eventually("the journal says that the stop was asked for", || {
        std::fs::read_dir(folder.path())
            .unwrap()
            .flatten()
            .any(|entry| std::fs::read_to_string(entry.path()).unwrap_or_default().contains("\"asked\""))
    });
    // Nothing would be stopped before the request has left the process; the engine logs the signal as an event.
    eventually("the engine sends the signal", || {
        let events = docker(&[
            "events",
            "--since",
            "60s",
            "--until",
            "0s",
            "--filter",
            &format!("container={writer}"),
            "--filter",
            "event=kill",
        ]);
        !events.is_empty()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(state(&writer), "running", "the engine is still at it");
    runtime().block_on(async {
        let engine = found.engine().await.unwrap();
        let settled = engine.settle(folder.path(), &SystemClock, &CancellationToken::new()).await.unwrap();
        assert_eq!(settled.brought_back, [play.name("writer")]);
        assert_eq!(state(&writer), "running");
        assert_eq!(engine.container(&writer).await.unwrap().activity, Activity::Running);
    });
}

fn taken_over(found: &Docker) {
    let play = Playground::new();
    let data = play.volume("data");
    let writer = play
        .run("writer", &["--stop-timeout", "1", "-v", &format!("{data}:/d"), &found.busybox, "sleep", "600"]);
    let folder = tempfile::tempdir().unwrap();
    let mut child = child(&data, folder.path());
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    docker(&["start", &writer]);
    docker(&["stop", "--time", "1", &writer]);
    runtime().block_on(async {
        let engine = found.engine().await.unwrap();
        let settled = engine.settle(folder.path(), &SystemClock, &CancellationToken::new()).await.unwrap();
        assert!(settled.brought_back.is_empty(), "{settled:?}");
        assert_eq!(settled.journals.len(), 1);
        assert_eq!(state(&writer), "exited", "its owner stopped it on purpose");
    });
}

fn fresh_volume(found: &Docker) {
    let play = Playground::new();
    let name = play.name("fresh");
    runtime().block_on(async {
        let engine = found.engine().await.unwrap();
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let fresh = engine.fresh_volume(&name, &labels).await.unwrap();
        assert!(fresh.directory().is_dir());
        fresh.discard().await.unwrap();
        assert!(engine.volume(&name).await.unwrap_err().is_absent(), "a failed restore leaves no volume");

        let fresh = engine.fresh_volume(&name, &labels).await.unwrap();
        std::fs::write(fresh.directory().join("x"), "x").unwrap();
        fresh.keep();
        assert_eq!(engine.volume(&name).await.unwrap().labels, labels);
        let error = engine.fresh_volume(&name, &labels).await.unwrap_err();
        assert!(
            matches!(&error, EngineError::VolumeTaken { reason, .. } if reason.contains("not empty")),
            "{error:?}"
        );
        let used = play.volume("used");
        play.run("user", &["-v", &format!("{used}:/d"), &found.busybox, "sleep", "600"]);
        let error = engine.fresh_volume(&used, &labels).await.unwrap_err();
        assert!(error.to_string().contains(&play.name("user")), "{error}");
    });
}
