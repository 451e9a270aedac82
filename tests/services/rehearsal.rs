//! A drill with the real engine: an application of two containers is captured, changed, and rehearsed from the capture.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use libtest_mimic::Trial;
use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_core::random::OsEntropy;
use lifeboat_core::{Fault, Kind};
use lifeboat_docker::Engine;
use lifeboat_docker::definitions::Definitions;
use lifeboat_docker::quiesce::Mode;
use lifeboat_docker::selection::Wanted;
use lifeboat_report::Report;
use lifeboat_report::drill::{DrillReport, Verdict};
use lifeboat_report::restore::DifferenceLine;
use lifeboat_restore::rehearsal::{
    DrillError, DrillOptions, Grounds, Plan, PointError, RecoveryPoint, RestoredVolume, SnapshotVolume,
    SourceKind, rehearse,
};
use lifeboat_tests::gate::{Missing, setting, trials_with};
use lifeboat_vault::Consistency;
use tokio_util::sync::CancellationToken;

use crate::docker::{Docker, Playground, docker, eventually, quiesce, runtime};
use crate::sandbox::scratch_objects;

#[derive(Clone)]
struct Parts {
    docker: Docker,
    postgres: String,
}

/// A snapshot that is a plain copy of folders.
struct Copied {
    taken_at: Timestamp,
    definitions: Option<Definitions>,
    volumes: Vec<(SnapshotVolume, PathBuf)>,
    /// Whether a restore writes more than the copy, as a snapshot that is not restored as it was.
    spoiled: bool,
}

fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Copied {
    fn of(&self, name: &str) -> &Path {
        &self.volumes.iter().find(|(volume, _)| volume.name == name).unwrap().1
    }
}

impl RecoveryPoint for Copied {
    fn snapshot_id(&self) -> String {
        "test-host/000001".to_owned()
    }

    fn taken_at(&self) -> Timestamp {
        self.taken_at
    }

    fn consistency(&self) -> Option<Consistency> {
        Some(Consistency::Stopped)
    }

    fn volumes(&self) -> Vec<SnapshotVolume> {
        self.volumes.iter().map(|(volume, _)| volume.clone()).collect()
    }

    fn definitions(&self) -> Result<Option<Definitions>, PointError> {
        Ok(self.definitions.clone())
    }

    fn restore_volume(
        &self,
        name: &str,
        to: &Path,
        _: &CancellationToken,
    ) -> Result<RestoredVolume, PointError> {
        shell(&format!("cp -a '{}/.' '{}'", self.of(name).display(), to.display()));
        if self.spoiled {
            std::fs::write(to.join("spoiled"), "x").unwrap();
        }
        let files = shell(&format!("find '{}' | wc -l", to.display())).trim().parse().unwrap();
        Ok(RestoredVolume { files, bytes: 1 })
    }

    fn compare_volume(
        &self,
        name: &str,
        at: &Path,
        _: &CancellationToken,
    ) -> Result<Vec<DifferenceLine>, PointError> {
        let said =
            shell(&format!("diff -r --no-dereference '{}' '{}'", self.of(name).display(), at.display()));
        let line = |said: &str| DifferenceLine {
            path: said.to_owned(),
            path_hex: None,
            what: "changed".to_owned(),
            aspects: Vec::new(),
        };
        Ok(said.lines().map(line).collect())
    }
}

pub(crate) fn trials() -> Vec<Trial> {
    let found: Result<Parts, Missing> = Docker::find()
        .and_then(|docker| Ok(Parts { docker, postgres: setting("LIFEBOAT_TEST_POSTGRES_IMAGE")? }));
    let test = trials_with(found);
    vec![
        test("rehearsal::a_database_answers_with_the_snapshots_number", database),
        test("rehearsal::a_check_that_fails_and_data_that_differs_fail_the_drill", failures),
        test("rehearsal::a_service_that_does_not_come_up_fails_with_its_last_words", not_up),
        test("rehearsal::without_checks_images_or_engine_nothing_is_verified", open),
        test("rehearsal::an_interrupted_drill_leaves_nothing", interrupted),
    ]
}

/// An application: a database with a table, and a service that needs it.
struct Application {
    play: Playground,
    store: tempfile::TempDir,
    journals: tempfile::TempDir,
    volume: String,
}

impl Application {
    fn start(parts: &Parts, rows: u32) -> Self {
        let play = Playground::new();
        let volume = play.volume("pgdata");
        let network = docker(&["network", "create", &play.name("net")]);
        let project = format!("com.docker.compose.project={}", play.prefix);
        let database = play.run(
            "db",
            &[
                "--label",
                &project,
                "--label",
                "com.docker.compose.service=db",
                "--network",
                &network,
                "--network-alias",
                "db",
                "--volume",
                &format!("{volume}:/var/lib/postgresql/data"),
                "--env",
                "SECRET=correct-horse-battery",
                "--publish",
                "127.0.0.1::5432",
                &parts.postgres,
            ],
        );
        eventually("the database is up", || {
            docker(&["inspect", "--format", "{{.State.Health.Status}}", &database]) == "healthy"
        });
        play.run(
            "web",
            &[
                "--label",
                &project,
                "--label",
                "com.docker.compose.service=web",
                "--label",
                "com.docker.compose.depends_on=db:service_healthy:false",
                "--network",
                &network,
                "--volume",
                "/etc/hostname:/host-name:ro",
                "--volume",
                &format!("{volume}:/pg:ro"),
                &parts.docker.busybox,
                "sh",
                "-c",
                "nc -w 3 db 5432 </dev/null || exit 3; httpd -p 8080 -h /; exec sleep 600",
            ],
        );
        let app = Self {
            play,
            store: tempfile::tempdir().unwrap(),
            journals: tempfile::tempdir().unwrap(),
            volume,
        };
        app.sql(&format!("create table orders as select n from generate_series(1, {rows}) n"));
        app
    }

    fn sql(&self, query: &str) -> String {
        docker(&[
            "exec",
            &self.play.name("db"),
            "psql",
            "--no-align",
            "--tuples-only",
            "--username=postgres",
            "--command",
            query,
        ])
    }

    /// Stops the application, copies its volume, and starts it again.
    async fn snapshot(&self, engine: &Engine) -> Copied {
        let wanted = Wanted { projects: vec![self.play.prefix.clone()], ..Default::default() };
        let selection = engine.select(&wanted).await.unwrap();
        let definitions = engine.capture(&selection, SystemClock.now()).await.unwrap();
        let journals = self.journals.path();
        let held =
            quiesce(engine, &selection, Mode::Stop, journals, &CancellationToken::new()).await.unwrap();
        let taken_at = SystemClock.now();
        let mut volumes = Vec::new();
        for volume in &selection.volumes {
            let copy = self.store.path().join(&volume.name);
            let from = engine.volume_directory(volume).await.unwrap();
            shell(&format!("cp -a '{}' '{}'", from.display(), copy.display()));
            let described = SnapshotVolume {
                name: volume.name.clone(),
                kind: SourceKind::Volume,
                files: 1,
                bytes: 1 << 20,
            };
            volumes.push((described, copy));
        }
        held.release(&SystemClock, &CancellationToken::new()).await.1.unwrap();
        Copied { taken_at, definitions: Some(definitions), volumes, spoiled: false }
    }
}

fn plan(checks: &str) -> Plan {
    Plan::parse(&format!(
        "version = 1\nstability = \"1s\"\ntimeout = \"60s\"\n[targets]\nrto = \"10m\"\nrpo = \"1h\"\n{checks}"
    ))
    .unwrap()
}

const COUNT: &str = r#"
[[check]]
name = "all orders"
kind = "sql"
service = "db"
engine = "postgres"
query = "select count(*) from orders"
expect = 100000
timeout = "20s"
[[check]]
name = "the shop answers"
kind = "tcp"
service = "web"
port = 8080
[[check]]
name = "the web service sees the data"
kind = "exec"
service = "web"
command = ["cat", "/pg/PG_VERSION"]
equals = "15"
"#;

async fn drill(engine: Result<&Engine, &str>, point: Copied, plan: &Plan) -> DrillReport {
    let folder = tempfile::tempdir().unwrap();
    let report = drill_in(engine, point, plan, folder.path(), &CancellationToken::new()).await.unwrap();
    assert!(report.leftovers.is_empty(), "{:?}", report.leftovers);
    for name in ["rehearsals", "drills"] {
        assert_eq!(std::fs::read_dir(folder.path().join(name)).unwrap().count(), 0, "{name} is as it was");
    }
    assert_eq!(scratch_objects(&report.rehearsal), "");
    assert!(!report.html().contains("correct-horse") && !report.json().unwrap().contains("correct-horse"));
    report
}

async fn drill_in(
    engine: Result<&Engine, &str>,
    point: Copied,
    plan: &Plan,
    folder: &Path,
    cancel: &CancellationToken,
) -> Result<DrillReport, DrillError> {
    let grounds = Grounds::open(folder, None, &OsEntropy).unwrap();
    let options = DrillOptions {
        plan,
        engine,
        grounds: &grounds,
        context: &lifeboat_core::Context { cancel: cancel.clone(), ..lifeboat_testkit::context() },
    };
    rehearse(Arc::new(point), &options).await
}

fn database(parts: &Parts) {
    let app = Application::start(parts, 100_000);
    runtime().block_on(async {
        let engine = parts.docker.engine().await.unwrap();
        let point = app.snapshot(&engine).await;
        eventually("the database is back", || {
            docker(&["inspect", "--format", "{{.State.Health.Status}}", &app.play.name("db")]) == "healthy"
        });
        app.sql("delete from orders where n > 5");
        let before = docker(&["inspect", "--format", "{{.State.StartedAt}}", &app.play.name("db")]);
        let report = drill(Ok(&engine), point, &plan(COUNT)).await;
        assert_eq!(report.verdict, Verdict::Verified, "{}", report.text());
        assert_eq!(report.checks[0].output.as_deref(), Some("100000\n"));
        assert_eq!(
            report.services.iter().map(|s| s.state.as_str()).collect::<Vec<_>>(),
            ["healthy", "running"]
        );
        assert_eq!(report.volumes[0].differences.as_deref(), Some(&[][..]));
        let isolation = report.isolation.as_ref().unwrap();
        assert!(isolation.proven);
        assert_eq!(isolation.shown, ["before the boot", "after the boot", "at the end"]);
        assert!(report.rto.measured_seconds.is_some() && report.rto.met == Some(true), "{:?}", report.rto);
        assert_eq!(report.rpo.met, Some(true));
        assert!(report.images.iter().all(|image| image.digest.is_some()), "{:?}", report.images);
        for line in ["published port 5432/tcp", "/etc/hostname"] {
            assert!(
                report.not_tested.iter().any(|said| said.contains(line)),
                "{line}: {:?}",
                report.not_tested
            );
        }
        assert!(report.limits.iter().any(|line| line.contains("host of the application")));
        // The application itself noticed nothing.
        assert_eq!(app.sql("select count(*) from orders"), "5");
        assert_eq!(docker(&["inspect", "--format", "{{.State.StartedAt}}", &app.play.name("db")]), before);
        if let Some(folder) = std::env::var_os("LIFEBOAT_WRITE_PAGES") {
            std::fs::write(Path::new(&folder).join("drill.html"), report.html()).unwrap();
        }
    });
}

fn failures(parts: &Parts) {
    let app = Application::start(parts, 10);
    runtime().block_on(async {
        let engine = parts.docker.engine().await.unwrap();
        let short = COUNT.replace("20s", "4s");
        let report = drill(Ok(&engine), app.snapshot(&engine).await, &plan(&short)).await;
        assert_eq!(report.verdict, Verdict::Failed, "{}", report.text());
        assert!(report.reason.contains("1 of 3 checks failed: all orders"), "{}", report.reason);
        assert!(report.checks[0].problem.as_ref().unwrap().contains("“10”"), "{:?}", report.checks[0]);
        assert!(report.checks[0].attempts > 1 && report.checks[1].passed && report.checks[2].passed);

        shell(&format!("rm -r '{}'", app.store.path().join(&app.volume).display()));
        let mut point = app.snapshot(&engine).await;
        point.spoiled = true;
        let report = drill(Ok(&engine), point, &plan(COUNT)).await;
        assert_eq!(report.verdict, Verdict::Failed);
        assert!(report.reason.contains("differs from the snapshot"), "{}", report.reason);
        assert!(report.volumes[0].differences.as_ref().unwrap()[0].path.contains("spoiled"));
        assert!(!report.booted && report.isolation.is_none(), "what differs is not started");
    });
}

fn not_up(parts: &Parts) {
    let play = Playground::new();
    let volume = play.volume("data");
    play.run("app", &[
        "--volume", &format!("{volume}:/data"), "--env", "TOKEN=correct-horse-battery", &parts.docker.busybox, "sh", "-c",
        "test -e /data/started && { echo my token is $TOKEN; exit 7; }; touch /data/started; exec sleep 600",
    ]);
    runtime().block_on(async {
        let engine = parts.docker.engine().await.unwrap();
        let store = tempfile::tempdir().unwrap();
        let selection =
            engine.select(&Wanted { volumes: vec![volume.clone()], ..Default::default() }).await.unwrap();
        let directory = engine.volume_directory(&selection.volumes[0]).await.unwrap();
        eventually("the application has started", || directory.join("started").exists());
        let definitions = engine.capture(&selection, SystemClock.now()).await.unwrap();
        let copy = store.path().join("copy");
        shell(&format!("cp -a '{}' '{}'", directory.display(), copy.display()));
        let described = SnapshotVolume { name: volume.clone(), kind: SourceKind::Volume, files: 1, bytes: 1 };
        let point = Copied {
            taken_at: SystemClock.now(),
            definitions: Some(definitions),
            volumes: vec![(described, copy)],
            spoiled: false,
        };
        let report = drill(Ok(&engine), point, &plan("")).await;
        assert_eq!(report.verdict, Verdict::Failed, "{}", report.text());
        let service = &report.services[0];
        assert!(service.problem.as_ref().unwrap().contains("exit code 7"), "{service:?}");
        assert_eq!(service.log.as_deref().map(str::trim), Some("my token is [redacted]"));
    });
}

fn open(parts: &Parts) {
    let app = Application::start(parts, 10);
    runtime().block_on(async {
        let engine = parts.docker.engine().await.unwrap();
        let point = app.snapshot(&engine).await;
        let again = || Copied {
            taken_at: point.taken_at,
            definitions: point.definitions.clone(),
            volumes: point.volumes.clone(),
            spoiled: false,
        };
        let report =
            drill(Ok(&engine), again(), &Plan { stability: Duration::from_secs(1), ..Plan::default() }).await;
        assert_eq!(report.verdict, Verdict::CouldNotVerify, "{}", report.text());
        assert!(report.booted && report.reason.contains("no check"), "{}", report.reason);

        let report = drill(Err("the Docker Engine does not answer"), again(), &plan(COUNT)).await;
        assert_eq!(report.verdict, Verdict::CouldNotVerify);
        assert!(!report.booted && report.volumes[0].differences.as_deref() == Some(&[][..]));
        assert!(
            report.not_tested.iter().any(|line| line.contains("does not answer")),
            "{:?}",
            report.not_tested
        );

        let mut folders = again();
        folders.definitions = None;
        let report = drill(Ok(&engine), folders, &plan(COUNT)).await;
        assert_eq!((report.verdict, report.booted), (Verdict::CouldNotVerify, false));

        // A plan that names a service that does not exist is refused before anything is restored.
        let (mistyped, folder) = (plan(&COUNT.replace("\"web\"", "\"wbe\"")), tempfile::tempdir().unwrap());
        let never = CancellationToken::new();
        let error = drill_in(Ok(&engine), again(), &mistyped, folder.path(), &never).await.unwrap_err();
        assert!(error.kind() == Kind::Usage && error.to_string().contains("wbe"), "{error}");

        // An image that this host does not have is never looked for by its tag.
        let mut strange = again();
        let definitions = strange.definitions.as_mut().unwrap();
        for container in &mut definitions.containers {
            container["Image"] = format!("sha256:{}", "0".repeat(64)).into();
        }
        let report = drill(Ok(&engine), strange, &plan(COUNT)).await;
        assert_eq!(report.verdict, Verdict::CouldNotVerify);
        assert_eq!(
            report.volumes[0].differences.as_deref(),
            Some(&[][..]),
            "the data is compared all the same"
        );
        let said = report.not_tested.join("\n");
        assert!(said.contains("is not on this host") && said.contains("docker load"), "{said}");
    });
}

fn interrupted(parts: &Parts) {
    let app = Application::start(parts, 10);
    runtime().block_on(async {
        let engine = parts.docker.engine().await.unwrap();
        let point = app.snapshot(&engine).await;
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(&COUNT.replace("20s", "90s"));
        let cancel = CancellationToken::new();
        let watch = {
            let cancel = cancel.clone();
            let prefix = app.play.prefix.clone();
            tokio::task::spawn_blocking(move || {
                // The scratch copy of the second service is running: the drill is at the check that fails.
                eventually("the drill has started the application", || {
                    let running =
                        docker(&["ps", "--format", "{{.Names}}", "--filter", "label=io.lifeboat.rehearsal"]);
                    running.lines().any(|name| name.contains(&prefix) && name.ends_with("-web"))
                });
                cancel.cancel();
            })
        };
        let error = drill_in(Ok(&engine), point, &plan, folder.path(), &cancel).await.unwrap_err();
        watch.await.unwrap();
        assert_eq!(error.kind(), Kind::Interrupted);
        assert!(matches!(&error, DrillError::Interrupted { leftovers } if leftovers.is_empty()), "{error}");
        let running =
            docker(&["ps", "--all", "--format", "{{.Names}}", "--filter", "label=io.lifeboat.rehearsal"]);
        assert!(!running.contains(&app.play.prefix), "{running}");
        assert_eq!(app.sql("select count(*) from orders"), "10");
    });
}
